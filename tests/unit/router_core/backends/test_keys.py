import pytest

from router_core.backends.keys import key_state


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
