from dataclasses import replace
from typing import Any

import pytest

from router_core.decide.trail import decisions, opening
from router_core.types import CheckResult
from tests.builders import make_plan

PLAN = make_plan(("sim/small", "sim/other"), ("sim/large",))


def make_call(**columns: Any) -> dict[str, Any]:
    plain = {"status": "ok", "reason": "accepted", "served_attempt_id": "a-1", "degraded": False, "extra": {}}
    return {**plain, "guard_state": "normal", "budget_scope": None, "tier_planned": "t0", **columns}


def make_row(n: int = 1, **columns: Any) -> dict[str, Any]:
    plain = {"attempt_id": f"a-{n}", "n": n, "role": "serve", "tier": "t0", "request_model": "sim/small"}
    ended = {
        "status": "ok",
        "error_type": None,
        "confidence": 0.9,
        "confidence_source": "field",
        "calibration": None,
        "checks": (),
        "extra": {},
    }
    return {**plain, **ended, **columns}


def told(call: dict[str, Any], *rows: dict[str, Any]) -> list[str]:
    return [text for _, text in decisions(PLAN, call, rows)]


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("retry", "asked sim/small (t0) again"),
        ("fallback", "sim/small (t0) was asked instead, in the same tier"),
        ("escalate", "up to sim/small (t0)"),
        ("correct", "sim/small (t0) corrects what it was not sure of"),
    ],
)
def test_next_attempt_is_told_by_its_role(role: str, words: str) -> None:
    failed = make_row(status="failed", error_type="timeout", confidence=None)
    call = make_call(served_attempt_id="a-2")
    assert told(call, failed, make_row(2, role=role)) == [
        f"failed (timeout): {words}",
        "confidence 0.900 reaches 0.8: served",
    ]


def test_failed_checks_are_named() -> None:
    checks = (CheckResult(name="format", ms=0, verdict="passed"), CheckResult(name="total", ms=0, verdict="error"))
    row = make_row(status="invalid", error_type="invalid", confidence=None, checks=checks)
    call = make_call(status="failed", reason="no_valid_answer", served_attempt_id=None)
    assert told(call, row) == ["invalid (failed total); nobody is left to ask: no answer"]


def test_earlier_answer_that_is_served_after_all_is_named() -> None:
    call = make_call(reason="escalation_failed")
    rows = make_row(confidence=0.5), make_row(2, role="escalate", tier="t1", status="failed", error_type="server")
    assert told(call, *rows)[1] == "failed (server); no higher step gave a valid answer: #1 is served"


def test_targets_that_were_left_out_are_named_with_the_reason() -> None:
    row = make_row(confidence=0.5, extra={"facts": {"down": ["sim/other"], "unaffordable": ["sim/large"]}})
    assert told(make_call(reason="limits"), row) == [
        "confidence 0.500 is below 0.8; the call's own limits (attempts, time, cost) leave no room for another request"
        ": served (cooling down: sim/other; dearer than the call may still spend: sim/large)"
    ]


def test_judged_answer_is_told_with_what_the_judge_made_of_it() -> None:
    verdict = {"role": "judge", "tier": "top", "request_model": "b/large", "about_attempt_id": "a-1"}
    judged = make_row(2, confidence=0.5, confidence_source="judge", **verdict)
    assert told(
        make_call(served_attempt_id="a-3"), make_row(confidence=None), judged, make_row(3, role="escalate", tier="t1")
    ) == [
        "valid: b/large (top) was asked whether it is right",
        "confidence 0.500 of #1 is below 0.8: up to sim/small (t1)",
        "confidence 0.900 reaches 0.8: served",
    ]


def test_judge_that_told_nothing_is_told_so() -> None:
    about = {"role": "judge", "about_attempt_id": "a-1", "confidence": None}
    failed = make_row(2, status="failed", error_type="timeout", **about)
    call = make_call(reason="accepted_unscored")
    assert told(call, make_row(confidence=None), failed)[1].startswith("failed (timeout), so it tells nothing; ")
    unreadable = make_row(2, status="invalid", error_type="invalid", **about)
    assert told(call, make_row(confidence=None), unreadable)[1].startswith("no usable verdict on the answer of #1")


def test_samples_are_told_one_by_one_and_the_answer_is_what_is_served() -> None:
    rows = [make_row(n, role="sample", about_attempt_id="a-1", confidence=value) for n, value in ((2, 1.0), (3, 0.5))]
    assert told(make_call(reason="last_step"), make_row(confidence=None), *rows)[1:] == [
        "confidence 1.000 of #1 reaches 0.8: sim/small (t0) was asked the same once more",
        "confidence 0.500 of #1 is below 0.8; valid, and no step is higher: #1 is served",
    ]


def test_value_off_the_calibrated_scale_is_compared_with_the_bound_for_such_values() -> None:
    plan = replace(PLAN, is_calibrated=True, accept_uncalibrated_at=0.95)
    ((_, text),) = decisions(plan, make_call(), [make_row()])
    assert text == "confidence 0.900 is below 0.95: served"


def test_shadows_decide_nothing() -> None:
    assert len(told(make_call(), make_row(), make_row(2, role="shadow"))) == 1


def test_answer_without_a_confidence_says_so() -> None:
    row = make_row(confidence=None)
    assert told(make_call(reason="accepted_unscored"), row) == [
        "no confidence; valid, without a confidence, which the config accepts: served"
    ]


@pytest.mark.parametrize("status", ["cancelled", "unknown"])
def test_attempt_without_an_end_leaves_its_cost_open(status: str) -> None:
    call = make_call(status="interrupted", reason=None, served_attempt_id=None)
    assert told(call, make_row(status=status))[0].endswith("what the provider charged is not known")


def test_call_without_attempts_has_no_decisions() -> None:
    assert told(make_call(status="failed", reason="limits")) == []


def test_opening_names_the_path_else_the_tier() -> None:
    assert opening(PLAN, make_call()) == "path t0 → t1"
    assert opening(None, make_call()) == "planned for tier t0"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("degraded", "one step on the cheapest allowed target"),
        ("degraded_no_target", "no other target could take the call: its own first step runs"),
    ],
)
def test_opening_of_a_degraded_call_names_its_budget(reason: str, words: str) -> None:
    call = make_call(degraded=True, reason=reason, guard_state="capped", budget_scope="daily")
    assert opening(PLAN, call) == f"budget daily was at its limit (capped): {words}"


def test_endless_logged_text_is_cut() -> None:
    text = told(make_call(), make_row(status="failed", error_type="x" * 9_000))[0]
    assert len(text) < 200
