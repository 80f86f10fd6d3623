"""Daily spend whose pattern is known: weekdays, trends, level shifts, bursts."""

import datetime as dt
from typing import Final

import numpy as np

from optimizer.simulate.daily import Floats, Ints
from optimizer.simulate.forecast import History
from router_core.types import NANO

MONDAY: Final = dt.date(2026, 6, 1)
PATTERNS: Final = ("weekday", "flat", "trend", "decline", "shift", "drift", "burst", "closed weekends")
_WEEK: Final = np.array([1.1, 1.2, 1.15, 1.1, 1.0, 0.5, 0.45])


def make_spend(pattern: str, rng: np.random.Generator, n_days: int = 90) -> Floats:
    """Return USD per day from a Monday on, about 100, with correlated noise of 14 %."""
    days = np.arange(n_days)
    week = {"flat": np.ones(7), "closed weekends": np.where(_WEEK < 0.9, 0.0, _WEEK)}.get(pattern, _WEEK)
    noise, level = np.zeros(n_days), np.zeros(n_days)
    for day in days[1:]:
        noise[day] = 0.5 * noise[day - 1] + rng.normal(0, 0.12)
    match pattern:
        case "trend":
            level = 0.012 * days
        case "decline":
            level = -0.01 * days
        case "shift":
            level[rng.integers(10, n_days) :] = rng.choice([-1, 1]) * rng.uniform(0.3, 0.7)
        case "drift":
            level = np.cumsum(rng.normal(0, 0.04, n_days))
        case "burst":
            level = np.log(2) * (rng.random(n_days) < 0.1)
        case _:
            pass
    return 100 * np.exp(level + noise) * week[days % 7]


def make_history(
    usd: Floats, *, critical: float = 0.1, today_usd: float = 0.0, passed: float = 0.0, demand: Floats | None = None
) -> History:
    """Return the history of days from a Monday on, and of a day that has just begun."""
    spend = nusd(usd)
    return History(
        days=tuple(MONDAY + dt.timedelta(number) for number in range(len(usd))),
        spend_nusd=spend,
        critical_nusd=nusd(usd * critical),
        demand_nusd=spend if demand is None else nusd(demand),
        today=MONDAY + dt.timedelta(len(usd)),
        today_nusd=round(today_usd * NANO),
        today_critical_nusd=round(today_usd * critical * NANO),
        passed=passed,
    )


def nusd(usd: Floats) -> Ints:
    """Return USD as integer nano-dollars."""
    return np.rint(usd * NANO).astype(np.int64)
