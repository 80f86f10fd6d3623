import pytest

from router_core.backends.keys import can_go_without, goes_to, key_state


def test_key_of_a_known_provider_is_found_by_name() -> None:
    assert key_state("openai/gpt-5-nano", None, {"OPENAI_API_KEY": "x"}).present is True


def test_empty_key_is_missing() -> None:
    assert key_state("openai/gpt-5-nano", None, {"OPENAI_API_KEY": ""}).present is False


def test_alternative_variable_counts() -> None:
    assert key_state("gemini/gemini-2.5-flash", None, {"GOOGLE_API_KEY": "x"}).present is True


def test_variable_named_by_the_config_replaces_the_usual_one() -> None:
    state = key_state("openai/llama", "LOCAL_KEY", {"OPENAI_API_KEY": "x"})
    assert (state.variables, state.present) == (("LOCAL_KEY",), False)


@pytest.mark.parametrize("model", ["simulated/cheap", "ollama/llama3"])
def test_local_targets_need_no_key(model: str) -> None:
    assert key_state(model, None, {}).present is True


@pytest.mark.parametrize("model", ["someone/model", "model-without-provider"])
def test_key_of_an_unknown_provider_is_not_judged(model: str) -> None:
    assert key_state(model, None, {}).present is None


def test_state_never_holds_a_value() -> None:
    assert "sk-secret" not in repr(key_state("openai/gpt-5", None, {"OPENAI_API_KEY": "sk-secret"}))


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("openai/gpt-5", None),
        ("openai/gpt-5", "https://api.openai.com/v1"),
        ("openai/gpt-5", "https://EU.api.openai.com:443/v1/"),
        ("azure/gpt-4o", "https://mine.openai.azure.com"),
        ("bedrock/anthropic.claude", "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com"),
        ("hosted_vllm/llama", "http://10.0.0.7:8000/v1"),
        ("litellm_proxy/group", "http://proxy.internal:4000"),
    ],
)
def test_usual_key_goes_to_the_providers_own_addresses(model: str, address: str | None) -> None:
    assert goes_to(model, address)


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("openai/gpt-5", "http://api.openai.com/v1"),  # readable on the way
        ("openai/gpt-5", "https://api.openai.com.evil.example/v1"),
        ("openai/gpt-5", "https://notopenai.com/v1"),
        ("openai/gpt-5", "https://api.openai.com@evil.example/v1"),
        ("openai/gpt-5", "https://evil.example\\@api.openai.com/v1"),
        ("openai/gpt-5", "https://evil.example/@api.openai.com"),
        ("openai/gpt-5", "https://evil.example#.openai.com"),
        ("openai/gpt-5", "https://api.openai.com\n.evil.example/v1"),
        ("openai/llama", "http://localhost:8000/v1"),
        ("openai/llama", "https://api.groq.com/openai/v1"),
        ("azure/gpt-4o", "https://gateway.example/azure"),
        ("someone/model", "https://someone.example"),
    ],
)
def test_usual_key_goes_nowhere_else(model: str, address: str) -> None:
    state = key_state(model, None, {"OPENAI_API_KEY": "x"}, address)
    assert (goes_to(model, address), state.variables, state.is_withheld) == (False, (), True)


def test_key_that_the_config_names_goes_where_the_config_says() -> None:
    state = key_state("openai/llama", "LOCAL_KEY", {"LOCAL_KEY": "x"}, "http://localhost:8000/v1")
    assert (state.variables, state.present, state.is_withheld) == (("LOCAL_KEY",), True, False)


def test_credentials_that_no_other_key_can_replace_are_known() -> None:
    assert not can_go_without("vertex_ai/gemini-2.5-flash")
    assert can_go_without("openai/gpt-5")
