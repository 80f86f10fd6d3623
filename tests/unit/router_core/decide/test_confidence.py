"""Where confidence comes from, and that a missing one stays missing."""

from types import SimpleNamespace
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from router_core.decide.confidence import LabelField, Signals, agreement, measure
from router_core.types import NO_CONFIDENCE, CheckResult, Confidence, Token


def take(source: str, **signals: Any) -> tuple[float | None, str]:
    confidence = measure(source, Signals(**signals), field="confidence")
    return confidence.value, confidence.source


def check(verdict: Literal["passed", "failed"] = "passed", grade: float | None = None) -> CheckResult:
    return CheckResult(name="check", ms=0.1, verdict=verdict, grade=grade)


def test_auto_takes_the_callers_word_first_then_grades_then_the_field_then_the_tokens() -> None:
    signals: dict[str, Any] = {
        "caller": 0.1,
        "checks": (check(grade=0.3),),
        "parsed": {"confidence": 0.2},
        "token_logprobs": (0.0,),
    }
    assert take("auto", **signals) == (0.1, "caller")
    assert take("auto", **(signals | {"caller": None})) == (0.3, "check")
    assert take("auto", **(signals | {"caller": None, "checks": (check(),)})) == (0.2, "field")
    assert take("auto", **(signals | {"caller": None, "checks": (), "parsed": {}})) == (1.0, "logprob")


def test_named_source_takes_no_other() -> None:
    assert take("field", caller=0.9, token_logprobs=(0.0,)) == (None, "none")
    assert take("none", caller=0.9) == (None, "none")


@pytest.mark.parametrize("source", ["judge", "agreement"])
def test_free_signals_never_stand_in_for_a_paid_source(source: str) -> None:
    signals: dict[str, Any] = {"caller": 0.9, "checks": (check(grade=1.0),), "parsed": {"confidence": 1.0}}
    assert take(source, token_logprobs=(0.0,), **signals) == (None, "none")


def test_check_is_the_share_that_passed_and_grades_count_as_they_are() -> None:
    assert take("check", checks=(check(), check(grade=0.5))) == (0.75, "check")
    assert take("check", checks=(check(), check())) == (1.0, "check")


def test_no_check_is_no_confidence() -> None:
    assert take("check", parsed={"confidence": 0.9}) == (None, "none")


def test_field_is_read_from_models_and_mappings() -> None:
    assert take("field", parsed=SimpleNamespace(confidence=0.4)) == (0.4, "field")
    assert measure("field", Signals(parsed={"sure": 0.4}), field="sure") == Confidence(value=0.4, source="field")


class Sure(BaseModel):
    total: float
    vendor: float


class Invoice(BaseModel):
    total: str
    confidence: Sure


@pytest.mark.parametrize(
    "parsed",
    [
        {"total": "5", "confidence": {"total": 0.9, "vendor": 0.4}},
        Invoice(total="5", confidence=Sure(total=0.9, vendor=0.4)),
    ],
    ids=["mapping", "model"],
)
def test_of_a_confidence_per_field_the_least_sure_one_counts_and_all_are_kept(parsed: Any) -> None:
    found = measure("auto", Signals(parsed=parsed), field="confidence")
    assert found == Confidence(value=0.4, source="field", fields=(("total", 0.9), ("vendor", 0.4)))


@pytest.mark.parametrize("said", [{}, {"total": 0.9, "vendor": "high"}, {"total": 0.9, "vendor": None}])
def test_confidence_per_field_with_a_hole_is_none(said: Any) -> None:
    assert take("field", parsed={"confidence": said}) == (None, "none")


@pytest.mark.parametrize("value", [None, "0.9", True, 1.2, -0.1, float("nan"), float("inf"), [0.9]])
def test_what_is_no_fraction_is_no_confidence(value: Any) -> None:
    assert take("field", parsed={"confidence": value}) == (None, "none")


@pytest.mark.parametrize("logprobs", [(), (float("nan"),), (0.5,)])
def test_unusable_logprobs_are_no_confidence(logprobs: tuple[float, ...]) -> None:
    assert take("logprob", token_logprobs=logprobs) == (None, "none")


def test_no_signal_is_none_never_a_constant() -> None:
    assert measure("auto", Signals(text="text"), field="confidence") == NO_CONFIDENCE


def test_label_goes_before_the_mean_over_the_tokens() -> None:
    tokens = (Token(text="spam", logprob=-0.1, others=(("spam", -0.1), ("ham", -2.4))),)
    signals: dict[str, Any] = {"text": "spam", "tokens": tokens, "token_logprobs": (-0.1,)}
    mean, _ = take("logprob", **signals)
    margin, source = take("logprob", label=lambda: LabelField(key=None, labels=("spam", "ham")), **signals)
    assert mean == pytest.approx(0.905, abs=1e-3)
    assert margin == pytest.approx((0.9048 - 0.0907) / (0.9048 + 0.0907), abs=1e-3)
    assert source == "logprob"


def test_agreement_is_the_share_of_further_samples_that_say_the_same() -> None:
    assert agreement([True, False, True, True]) == 0.75
    assert agreement([]) is None
