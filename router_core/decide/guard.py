"""Limits + spend → verdict of the spend guardrail. The one place where this is decided."""

import datetime as dt
from dataclasses import dataclass

from router_core.types import GuardState


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One daily spend limit.

    Attributes:
        name: The budget's name.
        limit_nusd: Spend of a local day at which non-critical calls move to the cheapest target, nano-dollars.
        critical_reserve_nusd: Part of the limit kept for critical calls, nano-dollars.
    """

    name: str
    limit_nusd: int
    critical_reserve_nusd: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Settled plus reserved spend of one period, nano-dollars.

    Attributes:
        noncritical_nusd: Of calls that a limit may degrade.
        critical_nusd: Of critical calls.
        latched: Whether the limit was already reached in this period.
    """

    noncritical_nusd: int
    critical_nusd: int
    latched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a limit says to a call.

    Attributes:
        state: ``normal`` or ``capped``.
        budget: Name of the budget that says so; None = no budget.
        remaining_nusd: What is left before the limit, nano-dollars, never negative; None = no budget.
    """

    state: GuardState
    budget: str | None = None
    remaining_nusd: int | None = None


NO_LIMIT = Verdict(state="normal")


def judge(limit: Limit, spend: Spend) -> Verdict:
    """Return the verdict: capped from N + C >= limit on, where C is at least the critical reserve.

    N is the settled and reserved spend of non-critical calls, C = max(critical settled + reserved, critical reserve). A
    latched limit stays capped whatever the spend.
    """
    critical = max(spend.critical_nusd, limit.critical_reserve_nusd)
    remaining = limit.limit_nusd - spend.noncritical_nusd - critical
    capped = spend.latched or remaining <= 0
    return Verdict(state="capped" if capped else "normal", budget=limit.name, remaining_nusd=max(remaining, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One local day as an interval of instants.

    Attributes:
        key: ISO date in the zone.
        start_us: First instant, microseconds since the epoch.
        end_us: First instant of the next day; 23 or 25 hours later where the zone changes its clocks.
    """

    key: str
    start_us: int
    end_us: int


def local_day(at_us: int, zone: dt.tzinfo) -> Day:
    """Return the local day that contains the instant."""
    date = dt.datetime.fromtimestamp(at_us / 1e6, zone).date()
    return Day(key=date.isoformat(), start_us=midnight_us(date, zone), end_us=midnight_us(date + dt.timedelta(1), zone))


def midnight_us(date: dt.date, zone: dt.tzinfo) -> int:
    """Return the first instant of a local day, microseconds since the epoch: where limits and reports begin it."""
    # the round trip through UTC lands on the first existing instant where midnight itself is skipped
    midnight = dt.datetime.combine(date, dt.time(), zone).astimezone(dt.UTC)
    return round(midnight.timestamp() * 1e6)
