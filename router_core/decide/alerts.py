"""How limits, calls and days stand → what somebody should be told. What has the same key is told once."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from router_core.decide.standing import LimitState
from router_core.types import NANO

SHARES: Final = (50, 80, 100)
"""Percent of a limit that are told of."""
UNUSUAL: Final = 3
"""A day is unusual from so many times the usual day on."""
FEWEST_DAYS: Final = 7
"""Days with spend before which nobody knows what is usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that somebody should be told, once.

    Attributes:
        key: What it is about, the same for the same event.
        kind: ``limit``, ``forecast``, ``call``, ``day``, ``store`` or ``backlog``.
        text: One sentence for a person.
        at_us: When it happened, microseconds since the epoch.
        facts: The same for a program; amounts in nano-dollars.
    """

    key: str
    kind: str
    text: str
    at_us: int
    facts: dict[str, object] = field(default_factory=dict[str, object])


def of_limit(standing: LimitState, now_us: int, clock: str | None) -> Iterator[Alert]:
    """Yield what to tell of one limit: the shares of it that are used, and that it will be reached.

    A share that is passed together with a higher one is not told of by itself. A rolling window is told of once a day.

    Args:
        standing: How it stands.
        now_us: The present instant.
        clock: When it will be reached, in words of the config's zone; None = it will not be.
    """
    limit, period = standing.limit, standing.period
    when = period.key if limit.per != "rolling" else f"rolling {_day(now_us)}"
    place = f"{limit.name}/{standing.scope}/{when}/{limit.limit_nusd}"
    named = f"budget {limit.name}{f' ({standing.scope})' if standing.scope else ''}, {when}"
    facts: dict[str, object] = {
        "budget": limit.name,
        "scope": standing.scope,
        "period": when,
        "limit_nusd": limit.limit_nusd,
        "used_nusd": standing.used_nusd,
    }
    passed = [share for share in SHARES if standing.used_nusd * 100 >= share * limit.limit_nusd]
    if standing.reached_us is not None:
        passed = list(SHARES)
    if passed:
        share = passed[-1]
        text = f"{named}: {share} % of {_usd(limit.limit_nusd)} are used ({_usd(standing.used_nusd)})"
        told = {**facts, "share": share}
        yield Alert(key=f"limit/{place}/{share}", kind="limit", text=text, at_us=now_us, facts=told)
    if clock is not None and standing.reached_us is None and standing.used_nusd < limit.limit_nusd:
        text = f"{named}: the limit of {_usd(limit.limit_nusd)} will be reached at about {clock}"
        told = {**facts, "forecast_us": standing.forecast.at_us, "end_nusd": standing.forecast.end_nusd}
        yield Alert(key=f"forecast/{place}", kind="forecast", text=text, at_us=now_us, facts=told)


def of_call(call_id: str, payload_type: str | None, cost_nusd: int, at_us: int, above_nusd: int) -> Alert:
    """Return what to tell of a call that cost more than somebody wants to hear of."""
    text = f"call {call_id} ({payload_type}) cost {_usd(cost_nusd)}, which is above {_usd(above_nusd)}"
    facts: dict[str, object] = {"call_id": call_id, "payload_type": payload_type, "cost_nusd": cost_nusd}
    return Alert(key=f"call/{call_id}", kind="call", text=text, at_us=at_us, facts=facts)


def of_day(day: str, spent_nusd: int, before_nusd: Sequence[int], now_us: int) -> Alert | None:
    """Return what to tell of a day; None when it is not unusual, or nobody knows what is usual.

    Args:
        day: The day, ISO date.
        spent_nusd: What it cost so far.
        before_nusd: What the days before it cost, those without any spend left out.
        now_us: The present instant.
    """
    if len(before_nusd) < FEWEST_DAYS:
        return None
    usual = round(median(before_nusd))
    if spent_nusd <= UNUSUAL * usual:
        return None
    text = f"{day}: {_usd(spent_nusd)} spent, more than {UNUSUAL} times the usual {_usd(usual)} a day"
    facts: dict[str, object] = {"day": day, "spent_nusd": spent_nusd, "usual_nusd": usual}
    return Alert(key=f"day/{day}", kind="day", text=text, at_us=now_us, facts=facts)


def of_store(at_us: int, worker: str) -> Alert:
    """Return what to tell of a budget store that a process could not use."""
    text = f"{worker} cannot use the budget store: limits act as on_store_failure says until it is back"
    facts: dict[str, object] = {"worker": worker}
    return Alert(key=f"store/{worker}/{at_us}", kind="store", text=text, at_us=at_us, facts=facts)


def of_backlog(waiting_bytes: int, now_us: int) -> Alert:
    """Return what to tell of a log that does not keep up; once an hour."""
    text = f"{waiting_bytes / 1e6:,.0f} MB wait to be taken into the log: pages and alerts are behind"
    key = f"backlog/{now_us // 3_600_000_000}"
    return Alert(key=key, kind="backlog", text=text, at_us=now_us, facts={"waiting_bytes": waiting_bytes})


def _day(at_us: int) -> str:
    return dt.datetime.fromtimestamp(at_us / 1e6, dt.UTC).date().isoformat()


def _usd(nusd: int) -> str:
    return f"${nusd / NANO:,.4f}" if nusd % (NANO // 100) else f"${nusd / NANO:,.2f}"
