"""Corrections through the real router: only doubtful fields go up; what comes back is merged, checked and logged."""

from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.receipts import find_calls, receipt_of
from router_core.call_log.trails import trail_of
from router_core.config import parse
from router_core.testing import reply
from router_core.types import Response
from tests.routers import ROUTING, Bench, open_bench
from tests.wide import run

CORRECT: Final = ROUTING.replace("error_cost_usd: 0.5}", "error_cost_usd: 0.5, escalation: correct}")
NAMES: Final = ("number", "date", "total", "vat")
MESSAGES: Final = [
    {"role": "system", "content": "Extract."},
    {"role": "user", "content": "Invoice 4711 of 2026-11-23."},
]


class Sure(BaseModel):
    number: float
    date: float
    total: float
    vat: float


class Invoice(BaseModel):
    number: str
    date: str
    total: float
    vat: float
    confidence: Sure


DRAFT: Final = {"number": "4711", "date": "2026-11-23", "total": 911.0, "vat": 19.0}


def said(values: dict[str, Any], **confidence: float) -> Response:
    return reply({**values, "confidence": {**dict.fromkeys(values, 0.95), **confidence}})


def extract(bench: Bench, **more: Any) -> Any:
    return bench.router.complete("x.extract", messages=MESSAGES, response_format=Invoice, **more)


def replays(bench: Bench, call_id: str) -> bool:
    """Whether the logged facts of a call decide the same again."""
    home = Home(bench.home)
    ingest_once(home)
    with reading(home) as log:
        receipt = receipt_of(log, find_calls(log, call_id)[0])
    config = parse((bench.home.parent / "routing.yaml").read_bytes(), source="x")
    trail = trail_of(receipt, config)
    return bool(trail.replays)


def test_only_doubtful_fields_go_up_and_the_merged_answer_says_where_each_comes_from(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path, {"a/small": said(DRAFT, total=0.3), "a/medium": said({"total": 119.0}, total=0.9)}, CORRECT
    )
    answer = extract(bench)
    first, second = answer.attempts
    assert answer.parsed == Invoice.model_validate(
        {**DRAFT, "total": 119.0, "confidence": {**dict.fromkeys(DRAFT, 0.95), "total": 0.9}}
    )
    assert {field.name: (field.tier, field.confidence) for field in answer.fields} == {
        "number": ("cheap", 0.95),
        "date": ("cheap", 0.95),
        "total": ("mid", 0.9),
        "vat": ("cheap", 0.95),
    }
    assert (answer.tier, answer.reason, answer.confidence.value, second.role) == ("mid", "accepted", 0.9, "correct")
    assert dict(answer.confidence.fields)["total"] == 0.9
    sent = bench.backend.requests[1]
    assert list(sent.response_format["properties"]) == ["total", "confidence"]
    assert list(sent.messages[:-1]) == MESSAGES
    (call,) = bench.lines("call")
    row = bench.lines("attempt")[1]
    assert (call["served_attempt_id"], call["tier_served"], call["escalations"]) == (row["attempt_id"], "mid", 1)
    assert row["role"] == "correct"
    assert row["extra"]["correction"] == {"draft": 1, "asked": 1, "corrected": 1}
    assert call["cost_nusd"] == first.receipt.cost_nusd + second.receipt.cost_nusd
    assert replays(bench, answer.call_id)


def test_corrections_that_touch_what_is_settled_are_refused_and_the_next_step_is_asked(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path,
        {
            "a/small": said(DRAFT, total=0.3),
            "a/medium": said({"total": 119.0, "number": "4712"}),
            "b/large": said({"total": 119.0}, total=0.99),
        },
        CORRECT,
    )
    answer = extract(bench)
    assert [(made.role, made.status) for made in answer.attempts] == [
        ("serve", "ok"),
        ("correct", "invalid"),
        ("correct", "ok"),
    ]
    assert (answer.tier, answer.parsed.number, answer.parsed.total) == ("top", "4711", 119.0)
    assert bench.lines("attempt")[1]["extra"]["correction"]["refused"] == "changes a settled field"
    assert replays(bench, answer.call_id)


def test_merged_answer_must_pass_the_format_and_the_checks(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path,
        {
            "a/small": said(DRAFT, total=0.3),
            "a/medium": said({"total": "much"}, total=0.9),  # no number
            "b/large": said({"total": -1.0}, total=0.9),  # fails the caller's check
        },
        CORRECT,
    )
    answer = extract(bench, checks=[lambda invoice: invoice.total > 0])
    assert (answer.tier, answer.reason, answer.parsed.total) == ("cheap", "escalation_failed", 911.0)
    assert [made.status for made in answer.attempts] == ["ok", "invalid", "invalid"]
    assert answer.fields == ()
    assert replays(bench, answer.call_id)


def test_what_stays_ambiguous_goes_on_to_the_last_step_alone(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path,
        {
            "a/small": said(DRAFT, total=0.3, date=0.2),
            "a/medium": said({"total": 119.0, "date": "2026-11-24"}, total=0.9, date=0.5),
            "b/large": said({"date": "2026-11-22"}, date=0.6),
        },
        CORRECT,
    )
    answer = extract(bench)
    assert list(bench.backend.requests[2].response_format["properties"]) == ["date", "confidence"]
    assert (answer.reason, answer.parsed.date, answer.parsed.total) == ("last_step", "2026-11-22", 119.0)
    assert {field.name: field.tier for field in answer.fields}["total"] == "mid"
    assert answer.confidence.value == 0.6
    assert replays(bench, answer.call_id)


@pytest.mark.parametrize("confidence", [0.3, dict.fromkeys(NAMES, 0.3)])
def test_answer_without_settled_fields_is_done_again(tmp_path: Path, confidence: Any) -> None:
    bench = open_bench(
        tmp_path, {"a/small": reply({**DRAFT, "confidence": confidence}), "a/medium": said(DRAFT)}, CORRECT
    )
    answer = bench.router.complete("x.extract", messages=MESSAGES, response_format={"type": "object"})
    assert [made.role for made in answer.attempts] == ["serve", "escalate"]
    assert list(bench.backend.requests[1].messages) == MESSAGES
    assert replays(bench, answer.call_id)


def test_failed_corrections_are_tried_again_as_corrections(tmp_path: Path) -> None:
    from router_core.testing import failure

    bench = open_bench(
        tmp_path, {"a/small": said(DRAFT, total=0.3), "a/medium": [failure(), said({"total": 119.0})]}, CORRECT
    )
    answer = extract(bench)
    assert [(made.role, made.status) for made in answer.attempts] == [
        ("serve", "ok"),
        ("correct", "failed"),
        ("correct", "ok"),
    ]
    assert (answer.parsed.total, bench.lines("call")[0]["escalations"]) == (119.0, 1)
    assert replays(bench, answer.call_id)


def test_merged_answer_is_taken_up_by_a_run_that_comes_later(tmp_path: Path) -> None:
    cached = CORRECT + "cache: {enabled: true}\n"
    replies = {"a/small": said(DRAFT, total=0.3), "a/medium": said({"total": 119.0}, total=0.9)}
    first = open_bench(tmp_path, replies, cached)
    paid = extract(first, run="job", step="1")
    first.router.close()
    bench = open_bench(tmp_path, {}, cached, first.clock.now_us() + 1_000_000)
    answer = extract(bench, run="job", step="1")
    assert (answer.text, answer.confidence, answer.tier, bench.asked) == (paid.text, paid.confidence, "mid", [])
    assert answer.cache_hit


def test_run_that_ended_with_its_draft_goes_on_with_the_corrections(tmp_path: Path) -> None:
    cached = CORRECT + "cache: {enabled: true}\n"
    broken: dict[str, Any] = {"a/medium": KeyboardInterrupt(), "a/small": said(DRAFT, total=0.3)}
    first = open_bench(tmp_path, broken, cached)
    with pytest.raises(KeyboardInterrupt):
        extract(first, run="job", step="1")
    first.router.close()
    bench = open_bench(tmp_path, {"a/medium": said({"total": 119.0})}, cached, first.clock.now_us() + 1_000_000)
    answer = extract(bench, run="job", step="1")
    assert (bench.asked, answer.parsed.total, answer.parsed.number) == (["a/medium"], 119.0, "4711")
    assert {field.tier for field in answer.fields} == {"cheap", "mid"}
    assert replays(bench, answer.call_id)


def test_streamed_call_is_never_corrected(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": said(DRAFT, total=0.3)}, CORRECT)
    with bench.router.stream("x.extract", messages=MESSAGES, response_format=Invoice) as stream:
        assert "".join(chunk.text for chunk in stream)
    assert bench.asked == ["a/small"]


def test_correcting_costs_a_quarter_of_doing_it_again_and_is_not_more_often_wrong(tmp_path: Path) -> None:
    again, wrong_again = run(tmp_path / "redo", "redo", 100)
    corrected, wrong_corrected = run(tmp_path / "correct", "correct", 100)
    assert corrected <= 0.25 * again
    assert wrong_corrected <= wrong_again + 1
