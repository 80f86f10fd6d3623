from dataclasses import replace

import pytest

from router_core.decide.plan import PlanTarget
from router_core.inflight import receipt_of_failure
from router_core.lines import Sent
from router_core.types import Price

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
