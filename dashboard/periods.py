"""Periods of whole local days, and the days, weeks or months a chart cuts them into."""

import datetime as dt
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal
from zoneinfo import ZoneInfo

from router_core.decide.guard import midnight_us

PRESET_DAYS: Final = {"7d": 7, "30d": 30, "90d": 90}
_LONGEST_BY_DAY = 120
_LONGEST_BY_WEEK = 840
Grain = Literal["day", "week", "month"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Whole days in a reporting zone.

    Attributes:
        first: First local day.
        until: The day after the last one.
        zone: IANA name of the reporting zone.
    """

    first: dt.date
    until: dt.date
    zone: str

    @property
    def days(self) -> int:
        """How many local days it has."""
        return (self.until - self.first).days

    @property
    def last(self) -> dt.date:
        """Its last local day."""
        return self.until - dt.timedelta(days=1)

    @property
    def start(self) -> dt.datetime:
        """Its first instant, UTC."""
        return midnight(self.first, self.zone)

    @property
    def end(self) -> dt.datetime:
        """The first instant after it, UTC."""
        return midnight(self.until, self.zone)

    @property
    def grain(self) -> Grain:
        """What a chart of it shows one mark for."""
        if self.days <= _LONGEST_BY_DAY:
            return "day"
        return "week" if self.days <= _LONGEST_BY_WEEK else "month"

    def before(self) -> "Period":
        """Return the period of as many days that ends where this one begins."""
        return Period(first=self.first - (self.until - self.first), until=self.first, zone=self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One day, week or month of a period.

    Attributes:
        first: Its first local day.
        start: Its first instant, UTC.
        end: The first instant after it, UTC.
        hours: How long it is: 23 or 25 for the days on which clocks change.
        cut: Whether the period's edge leaves part of its week or month out.
    """

    first: dt.date
    start: dt.datetime
    end: dt.datetime
    hours: float
    cut: bool


def midnight(day: dt.date, zone: str) -> dt.datetime:
    """Return the instant, UTC, at which a local day begins."""
    return dt.datetime.fromtimestamp(midnight_us(day, ZoneInfo(zone)) / 1e6, dt.UTC)


def local_day(moment: dt.datetime, zone: str) -> dt.date:
    """Return the local day of an aware instant."""
    return moment.astimezone(ZoneInfo(zone)).date()


def preset(name: str, *, first: dt.date, last: dt.date, zone: str) -> Period:
    """Return the last days of the data (``7d``, ``30d``, ``90d``), or all of them (any other name).

    It ends with the data's last day, which need not be today, and may begin before the data's first day.
    """
    until = last + dt.timedelta(days=1)
    days = PRESET_DAYS.get(name)
    return Period(first=until - dt.timedelta(days=days) if days else first, until=until, zone=zone)


def slices(period: Period) -> tuple[Slice, ...]:
    """Return the period cut at its grain, in order and without gaps."""
    edges = [period.first]
    while edges[-1] < period.until:
        edges.append(min(_next_edge(edges[-1], period.grain), period.until))
    found: list[Slice] = []
    for first, until in pairwise(edges):
        start, end = midnight(first, period.zone), midnight(until, period.zone)
        whole = until == _next_edge(first, period.grain) and first == _edge_of(first, period.grain)
        found.append(
            Slice(first=first, start=start, end=end, hours=(end - start).total_seconds() / 3600, cut=not whole)
        )
    return tuple(found)


def _edge_of(day: dt.date, grain: Grain) -> dt.date:
    if grain == "day":
        return day
    return day - dt.timedelta(days=day.weekday()) if grain == "week" else day.replace(day=1)


def _next_edge(day: dt.date, grain: Grain) -> dt.date:
    edge = _edge_of(day, grain)
    if grain == "month":
        return _edge_of(edge + dt.timedelta(days=31), "month")
    return edge + dt.timedelta(days=1 if grain == "day" else 7)
