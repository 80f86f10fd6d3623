"""What spool lines mean: rows, what stays in flight, what is refused and why."""

from typing import Any

import orjson
import pytest

from router_core.call_log.lines import Batch, odd_values
from tests.builders import make_attempt_line, make_call_line, make_outcome_line, make_started_line


def _batch(*lines: dict[str, Any] | bytes, is_import: bool = False) -> Batch:
    batch = Batch()
    for place, line in enumerate(lines):
        data = line if isinstance(line, bytes) else orjson.dumps(line)
        batch.add("w-1.jsonl", "w", place * 1000, data, is_import=is_import)
    return batch


def test_finished_call_leaves_nothing_in_flight() -> None:
    batch = _batch(make_started_line(), make_attempt_line(), make_call_line())

    assert (batch.open_attempts(), batch.open_calls()) == ([], [])
    assert {kind: len(rows) for kind, rows in batch.rows.items()} == {"attempt": 1, "call": 1, "outcome": 0, "event": 0}


def test_started_item_without_an_attempt_line_is_in_flight_with_what_is_known() -> None:
    batch = _batch(make_started_line({"attempt_id": "a-7", "call_id": "c-7"}, at=123))

    (attempt,), (call,) = batch.open_attempts(), batch.open_calls()
    assert (attempt.attempt_id, attempt.worker) == ("a-7", "w")
    assert {"request_id": "r-1", "started_at": 123, "reserved_nusd": 150_000}.items() <= attempt.facts.items()
    assert (call.call_id, call.facts["ts"], call.facts["step"]) == ("c-7", 123, "step-1")


def test_attempt_line_without_a_started_line_opens_its_call() -> None:
    (call,) = _batch(make_attempt_line(run="run-9")).open_calls()

    assert call.facts == {
        "run": "run-9",
        "payload_type": "invoice.extract",
        "config_version": "v1",
        "critical": False,
        "source": "router",
        "ts": make_attempt_line()["started_at"],
    }


def test_shadow_never_opens_a_call() -> None:
    batch = _batch(
        make_call_line(),
        make_started_line({"attempt_id": "a-2", "role": "shadow"}),
        make_attempt_line(attempt_id="a-3", role="shadow"),
    )

    assert batch.open_calls() == []
    assert [attempt.attempt_id for attempt in batch.open_attempts()] == ["a-2"]


def test_imported_attempt_leaves_nothing_in_flight_and_may_repeat() -> None:
    batch = _batch(make_attempt_line(), is_import=True)

    assert batch.may_repeat
    assert batch.open_calls() == []


def test_unknown_keys_join_what_extra_holds() -> None:
    batch = _batch(make_call_line(colour="red", extra={"size": 3}))

    assert orjson.loads(batch.rows["call"][0].data)["extra"] == {"size": 3, "colour": "red"}


def test_extra_that_is_no_object_is_kept_too() -> None:
    batch = _batch(make_call_line(colour="red", extra=[1]))

    assert orjson.loads(batch.rows["call"][0].data)["extra"] == {"extra": [1], "colour": "red"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"k":"call","call_id":"c', "not a JSON object: unexpected end of data"),
        (b"[1]", "not a JSON object: it is a list"),
        (b'"\xff"', "not a JSON object"),
        (b"{}", "k is not one of started, attempt, call, outcome, event"),
        (b'{"k":["call"]}', "k is not one of started"),
        (b'{"k":"attempt","attempt_id":"a"}', "attempt line without call_id"),
        (b'{"k":"call","call_id":7}', "call line without call_id"),
        (b'{"k":"started","items":[{"attempt_id":"a"}]}', "needs items, each with attempt_id and call_id"),
        (b'{"k":"started"}', "needs items"),
    ],
)
def test_line_that_cannot_be_used_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    batch = _batch(make_call_line(), data)

    (bad,) = batch.bad
    assert reason in bad.reason
    assert (bad.segment, bad.offset) == ("w-1.jsonl", 1000)
    assert len(batch.rows["call"]) == 1


def test_refused_line_is_kept_as_far_as_it_can_be_shown() -> None:
    (bad,) = _batch(b"\x00\xff" + b"x" * 5000).bad

    assert bad.raw == "\ufffd\ufffd" + "x" * 1998


def test_empty_lines_are_nothing() -> None:
    assert _batch(b"", b"").n_lines == 0


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"cost_nusd": "much"}, "cost_nusd: 'much' is not a whole number"),
        ({"cost_nusd": 2**63}, "cost_nusd"),
        ({"cost_nusd": 0.5}, "cost_nusd"),
        ({"n": 2**31}, "n:"),
        ({"critical": "yes"}, "critical: 'yes' is not true or false"),
        ({"latency_ms": True}, "latency_ms: 'True' is not a number"),
        ({"started_at": 10**18}, "started_at: '1000000000000000000' is not microseconds since the epoch"),
        ({"tier": 3}, "tier: '3' is not text"),
    ],
)
def test_value_that_does_not_fit_its_column_is_named(columns: dict[str, Any], problem: str) -> None:
    (found,) = odd_values("attempt", orjson.dumps(make_attempt_line(**columns)))

    assert str(found).startswith(problem)


def test_null_and_absent_values_fit_every_column() -> None:
    line = dict.fromkeys(make_attempt_line()) | {"k": "attempt", "attempt_id": "a", "call_id": "c"}

    assert odd_values("attempt", orjson.dumps(line)) == []
    assert odd_values("outcome", orjson.dumps(make_outcome_line())) == []
