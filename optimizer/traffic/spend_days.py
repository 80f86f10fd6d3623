"""Spend per local day, read from the log for a forecast."""

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from optimizer.simulate.forecast import History
from optimizer.traffic.reading import read_traffic
from router_core.decide.guard import midnight_us

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from router_core.config import RoutingConfig

_PROFILE_DAYS: Final = 28
_FULL: Final = 0.05
"""Share of a day's spend that may be missing from the log's first day for it to count as full."""

_DAYS: Final = """
SELECT timezone($zone, timezone('UTC', started_at))::DATE AS day, coalesce(sum(cost_nusd), 0)::BIGINT,
       coalesce(sum(cost_nusd) FILTER (critical), 0)::BIGINT
FROM attempts WHERE started_at >= $first AND started_at < $until GROUP BY day ORDER BY day"""
# how much of a day's spend comes before a time of day
_PASSED: Final = """
SELECT coalesce(sum(cost_nusd) FILTER (timezone($zone, timezone('UTC', started_at))::TIME < $moment), 0)::DOUBLE
       / nullif(sum(cost_nusd), 0)
FROM attempts WHERE started_at >= $first AND started_at < $until"""
_DEGRADED: Final = """
SELECT count(DISTINCT timezone($zone, timezone('UTC', ts))::DATE) FROM calls
WHERE ts >= $first AND ts < $until AND degraded"""
_BEGIN: Final = "SELECT epoch_us(min(started_at)) FROM attempts WHERE started_at >= $first AND started_at < $until"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpendDays:
    """What a forecast rests on.

    Attributes:
        history: The days.
        degraded_days: Full days on which a limit had degraded calls: their demand is modelled.
        partial_first: The log's first day where it began within it, so that it does not count; None otherwise.
    """

    history: History
    degraded_days: int
    partial_first: dt.date | None


def read_spend_days(
    connection: "DuckDBPyConnection", config: "RoutingConfig", first: dt.date, now: dt.datetime
) -> SpendDays:
    """Return the spend of local days up to now, whatever its source.

    Args:
        connection: The log, open for reading.
        config: Names the zone; its tiers and prices say what degraded calls would have cost.
        first: First local day that may count.
        now: The present instant, aware.
    """
    zone = ZoneInfo(config.timezone)
    today = now.astimezone(zone).date()
    until = now.astimezone(dt.UTC).replace(tzinfo=None)
    bound: dict[str, Any] = {"zone": config.timezone, "first": _instant(first, zone), "until": until}
    found = {day: (spend, critical) for day, spend, critical in connection.execute(_DAYS, bound).fetchall()}
    begun_us = _one(connection, _BEGIN, {name: bound[name] for name in ("first", "until")})
    if begun_us is None:
        return SpendDays(history=_history((), {}, today, 1.0), degraded_days=0, partial_first=None)
    begun = dt.datetime.fromtimestamp(begun_us / 1e6, zone)
    first = max(first, begun.date())
    partial = None
    passed_before = _passed(connection, zone, (first, today), begun.time())
    if first == begun.date() and first < today and passed_before > _FULL:
        partial, first = first, first + dt.timedelta(1)
    days = tuple(first + dt.timedelta(number) for number in range(max((today - first).days, 0)))
    profile = (max(first, today - dt.timedelta(_PROFILE_DAYS)), today)
    passed = _passed(connection, zone, profile, now.astimezone(zone).time())
    history = _history(days, found, today, passed)
    degraded = 0
    if days:
        window = bound | {"first": _instant(first, zone), "until": _instant(today, zone)}
        degraded = int(_one(connection, _DEGRADED, window))
    if degraded:
        put_back = read_traffic(connection, config, first, today).uncapped
        extra = None if put_back is None else put_back.extra_nusd
        history = _history(days, found, today, passed, extra)
    return SpendDays(history=history, degraded_days=degraded, partial_first=partial)


def _history(
    days: tuple[dt.date, ...],
    found: dict[dt.date, tuple[int, int]],
    today: dt.date,
    passed: float,
    extra: "np.ndarray | None" = None,
) -> History:
    spend = np.array([found.get(day, (0, 0))[0] for day in days], dtype=np.int64)
    today_nusd, today_critical = found.get(today, (0, 0))
    return History(
        days=days,
        spend_nusd=spend,
        critical_nusd=np.array([found.get(day, (0, 0))[1] for day in days], dtype=np.int64),
        demand_nusd=spend if extra is None else spend + extra,
        today=today,
        today_nusd=today_nusd,
        today_critical_nusd=today_critical,
        passed=passed,
    )


def _passed(connection: "DuckDBPyConnection", zone: ZoneInfo, days: tuple[dt.date, dt.date], moment: dt.time) -> float:
    """Return the share of the days' spend before a time of day; without spend, the share of the day itself."""
    bound = {"zone": zone.key, "first": _instant(days[0], zone), "until": _instant(days[1], zone), "moment": moment}
    share = _one(connection, _PASSED, bound) if days[0] < days[1] else None
    clock = (moment.hour * 60 + moment.minute) / 1440
    return clock if share is None else min(max(float(share), 0.0), 1.0)


def _one(connection: "DuckDBPyConnection", query: str, bound: dict[str, Any]) -> Any:
    row = connection.execute(query, bound).fetchone()
    return None if row is None else row[0]


def _instant(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    return dt.datetime.fromtimestamp(midnight_us(day, zone) / 1e6, dt.UTC).replace(tzinfo=None)
