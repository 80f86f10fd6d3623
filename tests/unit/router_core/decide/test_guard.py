"""The spend guardrail's rule and its days."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.decide.guard import Limit, Spend, judge, local_day

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/Santiago", "Asia/Kolkata", "America/St_Johns")
AMOUNT = st.integers(0, 10**13)


def limit(usd: int = 100, reserve: int = 0) -> Limit:
    return Limit(name="daily", limit_nusd=usd, critical_reserve_nusd=reserve)


def instant(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("noncritical", "critical", "reserve", "state"),
    [
        (99, 0, 0, "normal"),
        (100, 0, 0, "capped"),
        (60, 40, 0, "capped"),
        (60, 39, 0, "normal"),
        (80, 0, 20, "capped"),  # the reserve counts as if it were spent
        (79, 0, 20, "normal"),
        (79, 21, 20, "capped"),  # critical spend beyond the reserve counts itself
    ],
)
def test_limit_is_reached_by_noncritical_spend_and_what_is_kept_for_critical_calls(
    noncritical: int, critical: int, reserve: int, state: str
) -> None:
    spend = Spend(noncritical_nusd=noncritical, critical_nusd=critical)
    assert judge(limit(reserve=reserve), spend).state == state


def test_reached_limit_stays_reached_whatever_the_spend() -> None:
    assert judge(limit(), Spend(noncritical_nusd=0, critical_nusd=0, latched=True)).state == "capped"


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT)
def test_more_spend_never_lifts_a_limit(usd: int, noncritical: int, critical: int, more: int) -> None:
    before = judge(limit(usd), Spend(noncritical_nusd=noncritical, critical_nusd=critical))
    after = judge(limit(usd), Spend(noncritical_nusd=noncritical + more, critical_nusd=critical))
    assert (before.state, after.state) != ("capped", "normal")
    assert (after.remaining_nusd or 0) <= (before.remaining_nusd or 0)


@pytest.mark.parametrize(
    ("at", "key", "hours"),
    [
        ("2026-11-23T12:00+00:00", "2026-11-23", 24),
        ("2026-11-22T23:00+00:00", "2026-11-23", 24),  # midnight in Berlin
        ("2026-11-22T22:59:59+00:00", "2026-11-22", 24),
        ("2026-10-25T12:00+00:00", "2026-10-25", 25),
        ("2026-03-29T12:00+00:00", "2026-03-29", 23),
    ],
)
def test_day_is_the_local_one_and_as_long_as_its_clock_says(at: str, key: str, hours: int) -> None:
    day = local_day(instant(at), BERLIN)
    assert (day.key, (day.end_us - day.start_us) / 3.6e9) == (key, hours)


@given(st.integers(946_684_800, 2_840_140_800), st.sampled_from(ZONES))
def test_days_follow_each_other_without_a_gap(at_s: int, zone: str) -> None:
    day = local_day(at_s * 1_000_000, ZoneInfo(zone))
    assert day.start_us <= at_s * 1_000_000 < day.end_us
    assert local_day(day.end_us, ZoneInfo(zone)).start_us == day.end_us
