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
    ended = {"status": "ok", "error_type": None, "confidence": 0.9, "checks": (), "extra": {}}
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


def test_judges_and_samples_decide_nothing_here() -> None:
    assert len(told(make_call(), make_row(), make_row(2, role="judge"), make_row(3, role="sample"))) == 1


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
