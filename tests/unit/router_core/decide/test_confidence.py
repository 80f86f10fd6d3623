"""Where confidence comes from, and that a missing one stays missing."""

from types import SimpleNamespace
from typing import Any

import pytest

from router_core.decide.confidence import measure
from router_core.types import NO_CONFIDENCE


def take(source: str, **signals: Any) -> tuple[float | None, str]:
    given: dict[str, Any] = {"caller": None, "parsed": None, "field": "confidence", "token_logprobs": ()}
    confidence = measure(source, **(given | signals))
    return confidence.value, confidence.source


def test_auto_takes_the_callers_word_first_then_the_field_then_the_tokens() -> None:
    signals: dict[str, Any] = {"caller": 0.1, "parsed": {"confidence": 0.2}, "token_logprobs": (0.0,)}
    assert take("auto", **signals) == (0.1, "caller")
    assert take("auto", **(signals | {"caller": None})) == (0.2, "field")
    assert take("auto", **(signals | {"caller": None, "parsed": {}})) == (1.0, "logprob")


def test_named_source_takes_no_other() -> None:
    assert take("field", caller=0.9, token_logprobs=(0.0,)) == (None, "none")
    assert take("none", caller=0.9) == (None, "none")


def test_field_is_read_from_models_and_mappings() -> None:
    assert take("field", parsed=SimpleNamespace(confidence=0.4)) == (0.4, "field")
    assert take("field", parsed={"sure": 0.4}, field="sure") == (0.4, "field")


@pytest.mark.parametrize("value", [None, "0.9", True, 1.2, -0.1, float("nan"), float("inf"), [0.9]])
def test_what_is_no_fraction_is_no_confidence(value: Any) -> None:
    assert take("field", parsed={"confidence": value}) == (None, "none")


@pytest.mark.parametrize("logprobs", [(), (float("nan"),), (0.5,)])
def test_unusable_logprobs_are_no_confidence(logprobs: tuple[float, ...]) -> None:
    assert take("logprob", token_logprobs=logprobs) == (None, "none")


def test_no_signal_is_none_never_a_constant() -> None:
    assert measure("auto", caller=None, parsed="text", field="confidence", token_logprobs=()) == NO_CONFIDENCE
