"""Spend so far → what the month will cost, on which days a daily limit will be reached, when a month's budget is.

Everything is counted on draws of the days ahead (``simulate.daily``): a band is their quantiles, a probability the
share of them. A daily limit is reached on a drawn day when non-critical spend + max(critical spend, reserve) >= limit,
the rule of ``router_core.decide.guard``; how much of a day is critical is drawn from the days that were.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.simulate.daily import Floats, Ints, draw_days, fit
from router_core.decide.guard import Limit, Spend, judge
from router_core.types import NANO

FEWEST_DAYS: Final = 14
"""Full days from which there are bands; below, there is a plain rate."""
AHEAD: Final = 28
"""Days ahead that are forecast at least."""
BACKTEST_AHEAD: Final = 7
_DRAWS, _BACKTEST_DRAWS = 4_000, 400
_MOST_ORIGINS: Final = 60
_SHARES_OF: Final = 28
_LEVELS: Final = (0.025, 0.1, 0.5, 0.9, 0.975)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """Spend per local day, and of today so far.

    Attributes:
        days: The full days, in order and without gaps, the last one yesterday.
        spend_nusd: All their spend, nano-dollars, shape ``(n_days,)``.
        critical_nusd: The part of critical calls, same shape.
        demand_nusd: Their spend had no limit been at work: ``spend_nusd`` where none was.
        today: The day that is not over.
        today_nusd: Its spend so far.
        today_critical_nusd: The part of critical calls.
        passed: Share of a day's spend that there usually is by now, 0..1.
    """

    days: tuple[dt.date, ...]
    spend_nusd: Ints
    critical_nusd: Ints
    demand_nusd: Ints
    today: dt.date
    today_nusd: int
    today_critical_nusd: int
    passed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Quantiles of a sum of USD: the median, and around it bands of 80 and 95 %."""

    median: float
    low_80: float
    high_80: float
    low_95: float
    high_95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAhead:
    """A day to come, today included.

    Attributes:
        day: The local day.
        spend_usd: Its whole spend.
        trip_probability: Probability that the daily limit is reached on it, 0..1; None without a limit.
    """

    day: dt.date
    spend_usd: Band
    trip_probability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """When a month's budget is used up.

    Attributes:
        budget_nusd: The budget.
        probability: Probability that it is used up this month, 0..1; 1 when it is already.
        day: Median day among the draws that cross it; None where none does, or it is crossed already.
        first: The day that 10 % of these come before ...
        last: ... and the one that 10 % come after.
    """

    budget_nusd: int
    probability: float
    day: dt.date | None
    first: dt.date | None
    last: dt.date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """What the same forecast would have said on earlier days, against what came.

    Attributes:
        origins: Days it was made on, each from what was known before it.
        days: Days ahead that it was held against, ``BACKTEST_AHEAD`` per origin where there are so many.
        in_80: Share of them inside the day's band of 80 %.
        in_95: Share inside that of 95 %.
        weeks: Sums of ``BACKTEST_AHEAD`` days that it was held against.
        weeks_in_80: Share of them inside their band of 80 %; None without any.
        trips: Days ahead on which the limit was reached; None without a limit.
        brier: Mean squared error of the trip probability; None without a limit.
        brier_climatology: That of always giving the share of days before on which it was reached.
    """

    origins: int
    days: int
    in_80: float
    in_95: float
    weeks: int
    weeks_in_80: float | None
    trips: int | None
    brier: float | None
    brier_climatology: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is to come.

    Attributes:
        full_days: Days it rests on.
        month_end: Last day of the month.
        month_so_far_nusd: Spend of the month up to now.
        rate_usd_day: Mean spend of the full days, USD per day; None without any.
        month_usd: Spend of the month at its end; None below ``FEWEST_DAYS`` full days.
        month_at_rate_usd: The same at the plain rate; None without full days.
        ahead_usd: Spend of the next ``AHEAD`` days, from tomorrow on.
        days: The days ahead, today first; empty below ``FEWEST_DAYS``.
        crossing: When the month's budget is used up; None without one, and below ``FEWEST_DAYS``.
        backtest: How the forecast did on earlier days; None with too few of them.
    """

    full_days: int
    month_end: dt.date
    month_so_far_nusd: int
    rate_usd_day: float | None
    month_usd: Band | None
    month_at_rate_usd: float | None
    ahead_usd: Band | None
    days: tuple[DayAhead, ...]
    crossing: Crossing | None
    backtest: Backtest | None


def forecast(
    history: History,
    rng: np.random.Generator,
    *,
    limit: Limit | None = None,
    month_budget_nusd: int | None = None,
) -> Outlook:
    """Return what is to come.

    Args:
        history: What was.
        rng: Source of all draws.
        limit: A daily limit.
        month_budget_nusd: A budget of a calendar month, nano-dollars.
    """
    end = _month_end(history.today)
    this_month = [day.replace(day=1) == history.today.replace(day=1) for day in history.days]
    so_far = int(history.spend_nusd[np.array(this_month, dtype=np.bool_)].sum()) + history.today_nusd
    n_days, left = len(history.days), (end - history.today).days
    rate = float(history.spend_nusd.mean()) / NANO if n_days else None
    at_rate = None if rate is None else so_far / NANO + rate * (left + 1.0 - history.passed)
    if n_days < FEWEST_DAYS:
        return Outlook(
            full_days=n_days,
            month_end=end,
            month_so_far_nusd=so_far,
            rate_usd_day=rate,
            month_usd=None,
            month_at_rate_usd=at_rate,
            ahead_usd=None,
            days=(),
            crossing=None,
            backtest=None,
        )
    dates = [history.today + dt.timedelta(number) for number in range(max(AHEAD, left) + 1)]
    drawn = _ahead(history.days, history.spend_nusd, dates, _DRAWS, rng)
    demand = drawn.copy()
    if limit is not None and not _same(history):
        demand = _ahead(history.days, history.demand_nusd, dates, _DRAWS, rng)
    drawn[:, 0] = history.today_nusd / NANO + drawn[:, 0] * (1.0 - history.passed)
    month = (so_far - history.today_nusd) / NANO + np.cumsum(drawn[:, : left + 1], axis=1)
    chances = None if limit is None else _chances(history, demand, limit, rng)
    return Outlook(
        full_days=n_days,
        month_end=end,
        month_so_far_nusd=so_far,
        rate_usd_day=rate,
        month_usd=_band(month[:, -1]),
        month_at_rate_usd=at_rate,
        ahead_usd=_band(drawn[:, 1 : AHEAD + 1].sum(axis=1)),
        days=tuple(
            DayAhead(
                day=day,
                spend_usd=_band(drawn[:, place]),
                trip_probability=None if chances is None else float(chances[place]),
            )
            for place, day in enumerate(dates)
        ),
        crossing=None if month_budget_nusd is None else _crossing(month_budget_nusd, month, so_far, dates),
        backtest=backtest(history, limit, rng),
    )


def backtest(history: History, limit: Limit | None, rng: np.random.Generator) -> Backtest | None:
    """Return how the forecast would have done from every earlier day on, or None with too few of them."""
    n_days = len(history.days)
    origins = range(max(FEWEST_DAYS, n_days - _MOST_ORIGINS), n_days)
    if not origins:
        return None
    came, wanted = history.spend_nusd / NANO, history.demand_nusd / NANO
    critical = _critical_share(history)
    tripped = None if limit is None else _tripped(wanted * (1.0 - critical), wanted * critical, limit)
    inside_80, inside_95, weeks = (list[float]() for _ in range(3))
    missed, missed_by_rate = list[float](), list[float]()
    for origin in origins:
        dates = history.days[origin : origin + BACKTEST_AHEAD]
        rows = slice(origin, origin + len(dates))
        drawn = _ahead(history.days[:origin], history.spend_nusd[:origin], dates, _BACKTEST_DRAWS, rng)
        low_95, low, _, high, high_95 = np.quantile(drawn, _LEVELS, axis=0)
        inside_80 += [*((low <= came[rows]) & (came[rows] <= high)).astype(float)]
        inside_95 += [*((low_95 <= came[rows]) & (came[rows] <= high_95)).astype(float)]
        if len(dates) == BACKTEST_AHEAD:
            low, high = np.quantile(drawn.sum(axis=1), (0.1, 0.9))
            weeks.append(float(low <= came[rows].sum() <= high))
        if limit is not None and tripped is not None:
            again = drawn
            if not _same(history):
                again = _ahead(history.days[:origin], history.demand_nusd[:origin], dates, _BACKTEST_DRAWS, rng)
            shares = rng.choice(critical[max(origin - _SHARES_OF, 0) : origin], again.shape)
            chance = _tripped(again * (1.0 - shares), again * shares, limit).mean(axis=0)
            usual = (tripped[:origin].sum() + 0.5) / (origin + 1.0)
            missed += [*(chance - tripped[rows]) ** 2]
            missed_by_rate += [*(usual - tripped[rows]) ** 2]
    return Backtest(
        origins=len(origins),
        days=len(inside_80),
        in_80=float(np.mean(inside_80)),
        in_95=float(np.mean(inside_95)),
        weeks=len(weeks),
        weeks_in_80=float(np.mean(weeks)) if weeks else None,
        trips=None if tripped is None else int(tripped[origins.start :].sum()),
        brier=float(np.mean(missed)) if missed else None,
        brier_climatology=float(np.mean(missed_by_rate)) if missed else None,
    )


def _same(history: History) -> bool:
    return bool((history.demand_nusd == history.spend_nusd).all())


def _weekdays(days: Sequence[dt.date]) -> Ints:
    return np.array([day.weekday() for day in days], dtype=np.int64)


def _ahead(
    days: Sequence[dt.date], values_nusd: Ints, dates: Sequence[dt.date], n_draws: int, rng: np.random.Generator
) -> Floats:
    """Return drawn sums of the days ahead, USD; nothing where nothing was ever spent."""
    # a refund may leave a day below zero
    spent = np.maximum(values_nusd, 0) / NANO
    if not spent.any():
        return np.zeros((n_draws, len(dates)))
    return draw_days(fit(spent, _weekdays(days)), _weekdays(dates), n_draws, rng)


def _chances(history: History, whole: Floats, limit: Limit, rng: np.random.Generator) -> Floats:
    """Return the probability that the limit is reached, per day ahead, from draws of whole days without limits."""
    shares = rng.choice(_critical_share(history)[-_SHARES_OF:], whole.shape)
    chances = _tripped(whole * (1.0 - shares), whole * shares, limit).mean(axis=0)
    noncritical, critical = history.today_nusd - history.today_critical_nusd, history.today_critical_nusd
    if judge(limit, Spend(noncritical_nusd=noncritical, critical_nusd=critical)).state == "capped":
        chances[0] = 1.0
        return chances
    rest = whole[:, 0] * (1.0 - history.passed)
    today = noncritical / NANO + rest * (1.0 - shares[:, 0]), critical / NANO + rest * shares[:, 0]
    chances[0] = _tripped(*today, limit).mean()
    return chances


def _critical_share(history: History) -> Floats:
    spend = np.maximum(history.spend_nusd, 0).astype(np.float64)
    share = np.divide(history.critical_nusd, spend, out=np.zeros_like(spend), where=spend > 0)
    return np.clip(share, 0.0, 1.0)


def _tripped(noncritical_usd: Floats, critical_usd: Floats, limit: Limit) -> Floats:
    """Return 1.0 where a day of this spend reaches the limit: ``guard.judge`` for whole arrays."""
    critical = np.maximum(critical_usd, limit.critical_reserve_nusd / NANO)
    return (noncritical_usd + critical >= limit.limit_nusd / NANO).astype(np.float64)


def _crossing(budget_nusd: int, month: Floats, so_far: int, dates: list[dt.date]) -> Crossing:
    if so_far >= budget_nusd:
        return Crossing(budget_nusd=budget_nusd, probability=1.0, day=None, first=None, last=None)
    over = month >= budget_nusd / NANO
    crosses = over.any(axis=1)
    if not crosses.any():
        return Crossing(budget_nusd=budget_nusd, probability=0.0, day=None, first=None, last=None)
    first, middle, last = np.quantile(over[crosses].argmax(axis=1), (0.1, 0.5, 0.9), method="inverted_cdf").astype(int)
    return Crossing(
        budget_nusd=budget_nusd,
        probability=float(crosses.mean()),
        day=dates[middle],
        first=dates[first],
        last=dates[last],
    )


def _band(draws: Floats) -> Band:
    low_95, low_80, median, high_80, high_95 = (float(each) for each in np.quantile(draws, _LEVELS))
    return Band(median=median, low_80=low_80, high_80=high_80, low_95=low_95, high_95=high_95)


def _month_end(day: dt.date) -> dt.date:
    return (day.replace(day=1) + dt.timedelta(32)).replace(day=1) - dt.timedelta(1)
