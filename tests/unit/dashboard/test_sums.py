"""Rates, intervals and costs from sums."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.sums import NO_NAME, LogState, Sums, tier_order, wilson

NOW = dt.datetime(2026, 11, 23, 14, 2, tzinfo=dt.UTC)


def state(**changes: object) -> LogState:
    known: dict[str, object] = {"exists": True, "demo": False, "zone": "UTC", "tiers": (), "now": NOW}
    return LogState(**(known | changes))  # pyright: ignore[reportArgumentType]


def test_wilsons_interval_has_its_published_value() -> None:
    # Agresti & Coull 1998, The American Statistician 52, example of 9 successes in 10 trials
    low, high = wilson(9, 10) or (0, 0)
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982)


@given(st.integers(1, 10**7), st.floats(0, 1))
def test_wilsons_interval_holds_the_share_and_stays_a_share(trials: int, share: float) -> None:
    low, high = wilson(share * trials, trials) or (2, 2)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


def test_nothing_labelled_has_no_rate_and_no_interval() -> None:
    empty = Sums()
    assert empty.wrong_rate is None
    assert empty.wrong_interval is None
    assert empty.cost_per_1k_nusd is None
    assert empty.coverage is None
    assert empty.failed_rate is None


def test_cost_per_1k_is_spend_over_calls() -> None:
    assert Sums(calls=500, spend_nusd=2_000_000_000).cost_per_1k_nusd == 4_000_000_000


def test_coverage_is_over_answered_calls() -> None:
    assert Sums(calls=110, unanswered=10, labelled=25).coverage == 0.25


def test_wrong_answers_without_a_price_count_only_at_the_analysts_figure() -> None:
    sums = Sums(labelled=10, wrong=3, wrong_unpriced=1.5, impact_nusd=100)
    assert sums.impact_with(None) == 100
    assert sums.impact_with(2_000) == 3_100


@pytest.mark.parametrize(
    ("configured", "in_log", "order"),
    [
        (("small", "large"), ("large", "small"), ("small", "large")),
        (("small", "large"), ("large",), ("small", "large")),
        ((), ("top", "cheap"), ("cheap", "mid", "top")),
        ((), ("b", "a"), ("a", "b")),
        (("small",), ("old", "small", NO_NAME), ("small", "old", NO_NAME)),
        ((), (NO_NAME,), (NO_NAME,)),
    ],
)
def test_tiers_keep_one_order(configured: tuple[str, ...], in_log: tuple[str, ...], order: tuple[str, ...]) -> None:
    assert tier_order(configured, in_log) == order


def test_a_log_is_stale_only_when_lines_wait() -> None:
    old = NOW - dt.timedelta(days=3)
    assert not state(as_of=old, backlog_bytes=0).stale
    assert state(as_of=old, backlog_bytes=10).stale
    assert not state(as_of=NOW - dt.timedelta(seconds=5), backlog_bytes=10).stale
    assert state(as_of=None, backlog_bytes=10).stale
