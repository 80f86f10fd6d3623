"""Limits + spend → verdict of the spend guardrail. The one place where this is decided."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from router_core.record import maker, record
from router_core.types import GuardState

Per = Literal["day", "week", "month", "rolling"]

LEASE_PART: Final = 500
"""A process books at most this part of a limit before all others know of it: 1/500."""
TASK_ALLOWANCE_PART: Final = 10
"""Running jobs keep their models for at most this part of a limit beyond it, with ``switch_at: task``: 1/10."""
# where a rolling window comes back when the config names no taper
_RETURN_AT: Final = (4, 5)
_SEVERITY: Final[Mapping[GuardState, int]] = {"normal": 0, "taper": 1, "capped": 2, "stopped": 3}


class Counted(Protocol):
    """What a limit looks at in a call."""

    @property
    def payload_type(self) -> str:
        """Its payload type."""
        ...

    @property
    def run(self) -> str | None:
        """The caller's job."""
        ...

    @property
    def tags(self) -> Mapping[str, str] | None:
        """The caller's tags."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which calls a limit counts; with the defaults all of them.

    Attributes:
        identity: What tells this scope from others, the same for as long as it means the same; "" = everything.
        payload_types: Types that count; None = all.
        named: Types with a section of their own in the config, where types without one count as well; else None.
        tags: Tags that a call must have, ``(name, value)`` each.
        each_run: Whether each run is counted by itself; calls without a run are not counted then.
    """

    identity: str = ""
    payload_types: frozenset[str] | None = None
    named: frozenset[str] | None = None
    tags: tuple[tuple[str, str], ...] = ()
    each_run: bool = False

    def key_of(self, call: Counted) -> str | None:
        """Return what a call is counted under; None = it is not counted."""
        if self.payload_types is not None and not self._has(call.payload_type):
            return None
        if self.tags:
            own = call.tags or {}
            if any(own.get(name) != value for name, value in self.tags):
                return None
        if not self.each_run:
            return self.identity
        return None if call.run is None else f"{self.identity}run:{call.run}"

    def _has(self, payload_type: str) -> bool:
        if self.payload_types is None or payload_type in self.payload_types:
            return True
        return self.named is not None and payload_type not in self.named


EVERYTHING: Final = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One spend limit.

    Attributes:
        name: The budget's name.
        limit_nusd: Spend of a period at which non-critical calls move to the cheapest target, nano-dollars.
        critical_reserve_nusd: Part of the limit kept for critical calls, nano-dollars.
        per: Its period.
        window_us: Length of a rolling window, microseconds; 0 for other periods.
        taper_nusd: Non-critical spend from which optional spending stops; None = it never does before the limit.
        stop_nusd: Spend at which non-critical calls are rejected; None = never.
        on_limit: What the limit does to non-critical calls.
        on_store_failure: ``closed`` = they are served as capped while nobody can tell the spend, ``open`` = as normal.
        switch_at: ``task`` = runs that have begun before the limit is reached keep their models, within an allowance.
        scope: Which calls it counts.
    """

    name: str
    limit_nusd: int
    critical_reserve_nusd: int = 0
    per: Per = "day"
    window_us: int = 0
    taper_nusd: int | None = None
    stop_nusd: int | None = None
    on_limit: Literal["cheapest", "reject"] = "cheapest"
    on_store_failure: Literal["closed", "open"] = "closed"
    switch_at: Literal["call", "task"] = "call"
    scope: Scope = EVERYTHING

    @property
    def lease_nusd(self) -> int:
        """What one process may book before all others know of it, nano-dollars."""
        return self.limit_nusd // LEASE_PART

    @property
    def allowance_nusd(self) -> int:
        """How far beyond the limit running jobs may keep their models, nano-dollars."""
        return self.limit_nusd // TASK_ALLOWANCE_PART if self.switch_at == "task" else 0


@record
class Spend:
    """Settled plus reserved spend of one period, nano-dollars.

    Attributes:
        noncritical_nusd: Of calls that a limit may degrade.
        critical_nusd: Of critical calls.
        latched: Whether the limit was already reached in this period.
        stopped: Whether ``stop_nusd`` was.
    """

    noncritical_nusd: int
    critical_nusd: int
    latched: bool = False
    stopped: bool = False


@record
class Verdict:
    """What limits say to a call.

    Attributes:
        state: ``normal``, ``taper``, ``capped`` or ``stopped``.
        budget: Name of the budget that says so; None = no budget counts the call.
        remaining_nusd: What is left before that limit, nano-dollars, never negative; None = no budget.
    """

    state: GuardState
    budget: str | None = None
    remaining_nusd: int | None = None


NO_LIMIT: Final = Verdict(state="normal")
_make_verdict = maker(Verdict)


def used_nusd(limit: Limit, spend: Spend) -> int:
    """Return what counts against a limit: N + max(critical spend, critical reserve)."""
    return spend.noncritical_nusd + max(spend.critical_nusd, limit.critical_reserve_nusd)


def judge(limit: Limit, spend: Spend, *, is_running: bool = False) -> Verdict:
    """Return the verdict of one limit on a non-critical call.

    N is the settled and reserved spend of non-critical calls, C = max(critical settled + reserved, critical reserve).
    Capped (or stopped, with ``on_limit: reject``) from N + C >= limit on; stopped from N + C >= ``stop_nusd`` on; taper
    from N >= ``taper_nusd`` on. What was reached stays reached, whatever the spend.

    Args:
        limit: The limit.
        spend: What was spent of it.
        is_running: Whether the call's run had begun before the limit was reached. With ``switch_at: task`` it then
            keeps its models, without optional spending, until the allowance is spent too.
    """
    used = used_nusd(limit, spend)
    remaining = limit.limit_nusd - used
    state: GuardState = "normal"
    if spend.stopped or (limit.stop_nusd is not None and used >= limit.stop_nusd):
        state = "stopped"
    elif spend.latched or remaining <= 0:
        if is_running and used < limit.limit_nusd + limit.allowance_nusd:
            state = "taper"
        else:
            state = "capped" if limit.on_limit == "cheapest" else "stopped"
    elif limit.taper_nusd is not None and spend.noncritical_nusd >= limit.taper_nusd:
        state = "taper"
    return _make_verdict(state=state, budget=limit.name, remaining_nusd=remaining if remaining > 0 else 0)


def reached(limit: Limit, spend: Spend) -> Spend:
    """Return the spend with what it has reached noted: that is what latches."""
    used = used_nusd(limit, spend)
    return Spend(
        noncritical_nusd=spend.noncritical_nusd,
        critical_nusd=spend.critical_nusd,
        latched=spend.latched or used >= limit.limit_nusd,
        stopped=spend.stopped or (limit.stop_nusd is not None and used >= limit.stop_nusd),
    )


def is_back(limit: Limit, spend: Spend) -> bool:
    """Return whether a rolling window that had reached its limit is below its taper again."""
    if limit.per != "rolling":
        return False
    room = limit.limit_nusd - limit.critical_reserve_nusd
    numerator, denominator = _RETURN_AT
    taper = room * numerator // denominator if limit.taper_nusd is None else limit.taper_nusd
    return spend.noncritical_nusd < taper and used_nusd(limit, spend) < limit.limit_nusd


def tightest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that decides: the most severe one, of these the one with the least left, then the first."""
    found = NO_LIMIT
    for verdict in verdicts:
        if found is NO_LIMIT:
            found = verdict
            continue
        more = _SEVERITY[verdict.state] - _SEVERITY[found.state]
        if more > 0 or (more == 0 and (verdict.remaining_nusd or 0) < (found.remaining_nusd or 0)):
            found = verdict
    return found


def without_store(limit: Limit, spend: Spend) -> Verdict:
    """Return the verdict while nobody can tell what all processes have spent.

    Args:
        limit: The limit.
        spend: What this process knows.
    """
    known = judge(limit, spend)
    if limit.on_store_failure == "open" or _SEVERITY[known.state] >= _SEVERITY["capped"]:
        return known
    return Verdict(state="capped", budget=limit.name, remaining_nusd=known.remaining_nusd)


def lease_now_nusd(limit: Limit, used: int, processes: int) -> int:
    """Return what a process may book before it tells the others: less near the limit, nothing once it is reached.

    All leases together are at most a quarter of what is left.

    Args:
        limit: The limit.
        used: What is known to count against it, nano-dollars.
        processes: How many processes share it.
    """
    left = limit.limit_nusd - used
    return max(0, min(limit.lease_nusd, left // (4 * max(processes, 1))))


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
