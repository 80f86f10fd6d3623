"""Instants → the period of a limit that they belong to, and the quarter hours that spend is kept in.

Every zone's offset is a whole number of quarter hours, so a local day, week or month is a whole number of them too: 92,
96 or 100 in a day. Spend that is kept in quarter hours can be summed for any period, in any zone, also in one that the
config names only later.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from router_core.decide.guard import Limit, local_day, midnight_us

SLICE_US: Final = 900_000_000
"""A quarter of an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One period as an interval of instants.

    Attributes:
        key: What it is called: ``2026-11-23``, ``2026-W48``, ``2026-11``, ``rolling``.
        start_us: First instant, microseconds since the epoch.
        end_us: First instant after it.
    """

    key: str
    start_us: int
    end_us: int


def slice_of(at_us: int) -> int:
    """Return the beginning of an instant's quarter hour."""
    return at_us - at_us % SLICE_US


def period_of(limit: Limit, at_us: int, zone: dt.tzinfo) -> Period:
    """Return the period of a limit that an instant belongs to.

    A rolling window ends with the quarter hour in hand and moves on by whole ones: it covers its length and up to a
    quarter hour more, never less.
    """
    if limit.per == "rolling":
        now_us = slice_of(at_us)
        return Period(key="rolling", start_us=slice_of(now_us - limit.window_us), end_us=now_us + SLICE_US)
    day = local_day(at_us, zone)
    date = dt.date.fromisoformat(day.key)
    if limit.per == "day":
        return Period(key=day.key, start_us=day.start_us, end_us=day.end_us)
    if limit.per == "week":
        first = date - dt.timedelta(days=date.weekday())
        year, week, _ = date.isocalendar()
        return _between(f"{year}-W{week:02}", first, first + dt.timedelta(days=7), zone)
    first = date.replace(day=1)
    after = (first + dt.timedelta(days=32)).replace(day=1)
    return _between(f"{first:%Y-%m}", first, after, zone)


def _between(key: str, first: dt.date, after: dt.date, zone: dt.tzinfo) -> Period:
    return Period(key=key, start_us=midnight_us(first, zone), end_us=midnight_us(after, zone))
