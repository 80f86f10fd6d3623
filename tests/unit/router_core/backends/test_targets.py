from typing import Any

from router_core.backends.targets import TargetState, target_states, targets_text
from router_core.prices import PriceBook
from tests.builders import START_US, make_config


def states(*targets: dict[str, Any]) -> tuple[TargetState, ...]:
    tiers = {"cheap": list(targets), "top": [{"model": "sim/large"}]}
    config = make_config(tiers=tiers, prices={target["model"]: {"input": 1, "output": 1} for target in targets})
    return target_states(config, PriceBook(config.prices), {"OPENAI_API_KEY": "x"}, START_US)[: len(targets)]


def test_address_that_no_key_is_sent_to_is_named_but_no_problem() -> None:
    (state,) = states({"model": "openai/llama", "api_base": "http://localhost:8000/v1"})
    assert state.problems() == []
    text = targets_text([state])
    assert "not sent" in text
    assert "tiers.cheap[0]: no key is sent to http://localhost:8000/v1" in text


def test_key_that_the_config_names_is_looked_for() -> None:
    (state,) = states({"model": "openai/llama", "api_base": "http://localhost:8000/v1", "api_key_env": "LOCAL_KEY"})
    assert [problem.message for problem in state.problems()] == [
        "openai/llama: no key; set the environment variable LOCAL_KEY"
    ]
    assert "no key is sent" not in targets_text([state])


def test_credentials_of_the_machine_that_would_go_to_a_foreign_address_are_a_problem() -> None:
    (state,) = states({"model": "vertex_ai/gemini-2.5-pro", "api_base": "https://proxy.example"})
    (problem,) = state.problems()
    assert "set api_key_env" in problem.message


def test_providers_own_address_gets_its_key() -> None:
    (state,) = states({"model": "openai/gpt-5", "api_base": "https://eu.api.openai.com/v1"})
    assert (state.key.variables, state.key.present, state.problems()) == (("OPENAI_API_KEY",), True, [])
