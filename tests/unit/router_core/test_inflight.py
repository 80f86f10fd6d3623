from dataclasses import fields, replace
from typing import Any

import pytest

from router_core.decide.plan import Plan, PlanTarget
from router_core.inflight import receipt_of_failure, record_of, unpaid
from router_core.lines import Ended, Sent
from router_core.task import Task, make_request
from router_core.types import AttemptRecord, Price, Receipt, Request, Response, Usage

PRICE = Price(
    input_nusd_per_m=10**9,
    cached_nusd_per_m=10**9,
    write_5m_nusd_per_m=10**9,
    write_1h_nusd_per_m=10**9,
    output_nusd_per_m=10**9,
    source="override",
    date="",
)
SENT = Sent(
    attempt_id="a-1",
    n=1,
    role="serve",
    tier="cheap",
    target=PlanTarget(model="a/b"),
    started_us=0,
    reserved_nusd=300_600,
    step=0,
    target_index=0,
)


def test_failure_that_was_certainly_not_charged_costs_nothing() -> None:
    got = receipt_of_failure(False, PRICE, SENT)
    assert (got.cost_nusd, got.cost_status) == (0, "exact")


@pytest.mark.parametrize("billed", [None, True])
def test_failure_that_may_have_been_charged_counts_at_its_reservation(billed: bool | None) -> None:
    got = receipt_of_failure(billed, PRICE, SENT)
    assert (got.cost_nusd, got.cost_status) == (300_600, "unknown")


def test_failure_without_a_price_is_unknown_and_not_zero() -> None:
    got = receipt_of_failure(None, None, replace(SENT, reserved_nusd=0))
    assert (got.cost_nusd, got.cost_status) == (None, "unknown")


def unset(made: Any) -> list[str]:
    return [each.name for each in fields(made) if not hasattr(made, each.name)]


def test_records_that_are_set_field_by_field_lack_none() -> None:
    in_flight = unpaid(SENT, Response(text="yes", usage=Usage(output_tokens=3)))
    ended = in_flight.ended("ok", None, None)
    request = make_request(
        Task(payload_type="x", messages=[]), Plan(payload_type="x", config_version="v"), "a", SENT, 1.0
    )
    record = record_of(in_flight, ended)
    assert [unset(each) for each in (ended, request, record)] == [[], [], []]
    assert ended == Ended(
        ended_us=0,
        status="ok",
        receipt=Receipt(cost_nusd=0, cost_status="exact"),
        usage=Usage(output_tokens=3),
        confidence=in_flight.confidence,
    )
    assert request == Request(
        request_id="a-1",
        call_id="a",
        payload_type="x",
        model="a/b",
        messages=[],
        timeout_s=1.0,
        logprobs=True,
        only_known_logprobs=True,
    )
    assert record == AttemptRecord(
        attempt_id="a-1",
        request_id="a-1",
        n=1,
        role="serve",
        tier="cheap",
        model="a/b",
        status="ok",
        error_type=None,
        message=None,
        confidence=in_flight.confidence,
        checks=(),
        receipt=ended.receipt,
        latency_ms=0.0,
        text="yes",
    )
