"""A forecast: what it is sure of, what it says of limits and budgets, and how often its bands hold."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.simulate.forecast import FEWEST_DAYS, Outlook, _tripped, backtest, forecast
from router_core.decide.guard import Limit, Spend, judge
from router_core.types import NANO
from tests.spending import MONDAY, PATTERNS, make_history, make_spend


def ahead(usd: np.ndarray, **options: object) -> Outlook:
    names = {"limit", "month_budget_nusd"}
    made = make_history(usd, **{name: value for name, value in options.items() if name not in names})  # type: ignore[arg-type]
    asked = {name: value for name, value in options.items() if name in names}
    return forecast(made, np.random.default_rng(0), **asked)  # type: ignore[arg-type]


def limit(usd: float, reserve: float = 0.0) -> Limit:
    return Limit(name="daily", limit_nusd=round(usd * NANO), critical_reserve_nusd=round(reserve * NANO))


def test_bands_hold_as_often_as_they_say_and_trips_are_better_than_the_share_of_days_before() -> None:
    rng = np.random.default_rng(7)
    held, held_95, missed, usual = ([] for _ in range(4))
    for pattern in PATTERNS:
        for _ in range(2):
            usd = make_spend(pattern, rng, 42)
            found = backtest(make_history(usd), limit(float(np.quantile(usd, 0.7))), rng)
            assert found is not None
            held.append(found.in_80)
            held_95.append(found.in_95)
            missed.append(found.brier)
            usual.append(found.brier_climatology)
    assert 0.70 <= np.mean(held) <= 0.90
    assert 0.88 <= np.mean(held_95) <= 0.99
    assert np.mean(missed) < np.mean(usual)


def test_a_weekday_pattern_without_noise_goes_on() -> None:
    week = np.array([10.0, 11.0, 12.0, 11.0, 10.0, 2.0, 0.0])
    outlook = ahead(np.tile(week, 5))
    got = [day.spend_usd.median for day in outlook.days[:7]]
    assert got == pytest.approx(list(week), rel=0.1, abs=0.2)
    assert outlook.days[0].day.weekday() == 0
    assert outlook.ahead_usd is not None
    assert outlook.ahead_usd.low_95 <= outlook.ahead_usd.low_80 <= 4 * week.sum() <= outlook.ahead_usd.high_80


def test_one_odd_day_does_not_move_the_days_to_come() -> None:
    usd = make_spend("weekday", np.random.default_rng(3), 42)
    odd = usd.copy()
    odd[30] *= 20
    plain, moved = ahead(usd), ahead(odd)
    assert moved.days[2].spend_usd.median == pytest.approx(plain.days[2].spend_usd.median, rel=0.15)


def test_below_two_weeks_there_is_a_rate_and_no_band() -> None:
    outlook = ahead(np.full(FEWEST_DAYS - 1, 3.0), limit=limit(5))
    assert (outlook.month_usd, outlook.days, outlook.backtest) == (None, (), None)
    assert outlook.rate_usd_day == pytest.approx(3.0)
    # June has thirty days: thirteen passed, today has just begun
    assert outlook.month_at_rate_usd == pytest.approx(30 * 3.0)
    assert outlook.month_so_far_nusd == 13 * 3 * NANO


def test_without_any_spend_there_is_nothing_to_come() -> None:
    outlook = ahead(np.zeros(20), limit=limit(1))
    assert outlook.month_usd is not None
    assert outlook.month_usd.high_95 == 0
    assert {day.trip_probability for day in outlook.days} == {0.0}
    assert ahead(np.empty(0)).rate_usd_day is None


def test_spend_of_today_counts_and_only_its_rest_is_drawn() -> None:
    usd = np.full(21, 10.0)
    late = ahead(usd, today_usd=25.0, passed=1.0)
    assert late.days[0].spend_usd.low_95 == late.days[0].spend_usd.high_95 == pytest.approx(25.0)
    early = ahead(usd, today_usd=0.0, passed=0.0)
    assert early.month_usd is not None
    assert late.month_usd is not None
    assert late.month_usd.median - early.month_usd.median == pytest.approx(15.0, abs=3.0)


def test_a_month_that_ends_today_has_no_days_to_come() -> None:
    outlook = ahead(np.full(29, 10.0), today_usd=4.0, passed=1.0)
    assert outlook.month_end == MONDAY + dt.timedelta(29)
    assert outlook.month_usd is not None
    assert outlook.month_usd.low_95 == outlook.month_usd.high_95 == pytest.approx(294.0)


def test_trips_follow_the_limit() -> None:
    usd = make_spend("weekday", np.random.default_rng(2), 60)
    chances = [
        [day.trip_probability for day in ahead(usd, limit=limit(amount)).days] for amount in (0, 100, 130, 10_000)
    ]
    assert set(chances[0]) == {1.0}
    assert set(chances[3]) == {0.0}
    assert all((low or 0.0) >= (high or 0.0) for low, high in zip(chances[1], chances[2], strict=True))
    # the reserve is as good as spent
    assert ahead(usd, limit=limit(200, reserve=200)).days[0].trip_probability == 1.0


def test_a_limit_that_is_reached_today_is_reached() -> None:
    usd = np.full(20, 1.0)
    assert ahead(usd, limit=limit(50), today_usd=50.0, passed=1.0).days[0].trip_probability == 1.0
    assert ahead(usd, limit=limit(50), today_usd=49.0, passed=1.0).days[0].trip_probability == 0.0


def test_trips_are_forecast_from_what_calls_would_have_cost_without_the_limit() -> None:
    capped, wanted = np.full(30, 10.0), np.full(30, 20.0)
    outlook = ahead(capped, limit=limit(15), demand=wanted)
    assert outlook.days[3].spend_usd.high_95 < 15
    assert outlook.days[3].trip_probability == pytest.approx(1.0, abs=0.02)


def test_a_months_budget_is_crossed_on_a_day() -> None:
    usd = np.full(20, 10.0)  # the first twenty days of June
    crossing = ahead(usd, month_budget_nusd=250 * NANO).crossing
    assert crossing is not None
    assert crossing.probability == pytest.approx(1.0, abs=0.02)
    assert crossing.day == dt.date(2026, 6, 25)
    assert crossing.first is not None
    assert crossing.last is not None
    assert crossing.first <= dt.date(2026, 6, 25) <= crossing.last
    never = ahead(usd, month_budget_nusd=2_500 * NANO).crossing
    already = ahead(usd, month_budget_nusd=200 * NANO).crossing
    assert never is not None
    assert already is not None
    assert (never.probability, never.day) == (0.0, None)
    assert (already.probability, already.day) == (1.0, None)


def test_the_same_seed_gives_the_same_figures() -> None:
    usd = make_spend("drift", np.random.default_rng(1), 40)
    assert ahead(usd, limit=limit(100)) == ahead(usd, limit=limit(100))


amounts = st.integers(0, 60)


@settings(max_examples=200)
@given(noncritical=amounts, critical=amounts, bound=amounts, reserve=amounts)
def test_a_day_trips_exactly_when_the_routers_rule_says_so(
    noncritical: int, critical: int, bound: int, reserve: int
) -> None:
    of = Limit(name="daily", limit_nusd=bound * NANO, critical_reserve_nusd=reserve * NANO)
    spend = Spend(noncritical_nusd=noncritical * NANO, critical_nusd=critical * NANO)
    got = _tripped(np.array([float(noncritical)]), np.array([float(critical)]), of)
    assert bool(got[0]) == (judge(of, spend).state == "capped")
