"""What a limit of any period, scope and severity says to each call: ``router_core.decide.guard`` over whole logs.

A limit's states only ever get more severe within a period, so a period is at most four stretches: normal, taper,
capped, stopped. Within a stretch every call costs what it does in that state, so the next one begins where a running
sum crosses a bound. What is not so simple (rolling windows that come back, jobs that keep their models, refunds) is
walked call by call with the router's own functions; a property test holds both equal to that.
"""

import datetime as dt
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from optimizer.simulate.caps import Bytes, Calls, Flags, Ints
from router_core.decide.guard import Limit, Spend, is_back, judge, reached
from router_core.decide.periods import slice_of

NORMAL, TAPER, CAPPED, STOPPED = range(4)
_STATES: Final = {"normal": NORMAL, "taper": TAPER, "capped": CAPPED, "stopped": STOPPED}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Costs:
    """What each call costs in each state, and whether it is critical.

    Attributes:
        by_state: Shape ``(4, n_calls)``, nano-dollars: as it was with its shadows; without shadows, judges, samples and
            escalations for want of confidence; on its cheapest target; not at all. A critical call loses its shadows
            only.
        critical: Shape ``(n_calls,)``.
    """

    by_state: Ints
    critical: Flags


def costs_of(calls: Calls) -> Costs:
    """Return what each call costs in each state."""
    taper = calls.cost_nusd if calls.taper_nusd is None else calls.taper_nusd
    movable = ~(calls.critical | calls.degraded)
    return Costs(
        by_state=np.stack(
            [
                calls.cost_nusd + calls.shadow_nusd,
                np.where(movable, taper, calls.cost_nusd),
                np.where(movable, calls.cheapest_nusd, calls.cost_nusd),
                np.where(calls.critical, calls.cost_nusd, 0),
            ]
        ),
        critical=calls.critical,
    )


def states_of(calls: Calls, costs: Costs, limit: Limit, scope: Ints | None, days: Sequence[dt.date]) -> Bytes:
    """Return the state of a limit at each call, shape ``(n_calls,)``: what it says to the call, were it not critical.

    Args:
        calls: The calls, in the order in which their money counts.
        costs: What they cost in each state.
        limit: The limit.
        scope: Under which of its counts each call is counted, -1 = under none; None = all under one.
        days: The local days of the calls: they say which week or month each belongs to.
    """
    book = _books(calls, limit, scope, days)
    if limit.per == "rolling" or limit.switch_at == "task" or bool((costs.by_state < 0).any()):
        return _walked(calls, costs, limit, book)
    states = np.zeros(len(book), dtype=np.uint8)
    for rows in _groups(book):
        _stretch(states, rows, costs, limit)
    return states


def _books(calls: Calls, limit: Limit, scope: Ints | None, days: Sequence[dt.date]) -> Ints:
    """Return the index of the count and period that each call belongs to, -1 = it is not counted."""
    period = np.zeros(calls.n_days, dtype=np.int64)
    if limit.per == "day":
        period = np.arange(calls.n_days)
    elif limit.per != "rolling":
        names = [day.isocalendar()[:2] if limit.per == "week" else (day.year, day.month) for day in days]
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        period = np.array([places[name] for name in names], dtype=np.int64)
    of_call = period[calls.day] if calls.n_days else np.zeros(len(calls.day), dtype=np.int64)
    if scope is None:
        return of_call
    return np.where(scope < 0, -1, scope * (int(period.max(initial=0)) + 1) + of_call)


def _groups(book: Ints) -> Iterator[Ints]:
    """Yield the rows of each count and period, in their order."""
    order = np.argsort(book, kind="stable")
    ordered = book[order]
    edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])) if len(book) else []
    for begin, end in pairwise(edges):
        if ordered[begin] >= 0:
            yield order[begin:end]


def _stretch(states: Bytes, rows: Ints, costs: Costs, limit: Limit) -> None:
    """Write the states of one period."""
    by_state, critical = costs.by_state[:, rows], costs.critical[rows]
    begin, state, noncritical, of_critical = 0, NORMAL, 0, 0
    while begin < len(rows):
        spent = by_state[state, begin:]
        of_c = np.where(critical[begin:], spent, 0)
        n_before = noncritical + _before(spent - of_c)
        c_before = of_critical + _before(of_c)
        used = n_before + np.maximum(c_before, limit.critical_reserve_nusd)
        at, then = _next(state, n_before, used, limit)
        states[rows[begin : begin + at]] = state
        if at == len(used):
            return
        noncritical, of_critical = int(n_before[at]), int(c_before[at])
        begin, state = begin + at, then


def _next(state: int, noncritical: Ints, used: Ints, limit: Limit) -> tuple[int, int]:
    """Return where the next stretch begins, and its state; the number of calls where none does."""
    bounds: list[tuple[int, int]] = []
    if limit.stop_nusd is not None:
        bounds.append((int(np.searchsorted(used, limit.stop_nusd)), STOPPED))
    if state < CAPPED:
        severe = CAPPED if limit.on_limit == "cheapest" else STOPPED
        bounds.append((int(np.searchsorted(used, limit.limit_nusd)), severe))
    if state < TAPER and limit.taper_nusd is not None:
        bounds.append((int(np.searchsorted(noncritical, limit.taper_nusd)), TAPER))
    later = [(at, -then) for at, then in bounds if then > state]
    at, then = min(later, default=(len(used), 0))
    return at, -then


def _before(values: Ints) -> Ints:
    sums = np.zeros(len(values), dtype=np.int64)
    np.cumsum(values[:-1], out=sums[1:])
    return sums


@dataclass(slots=True)
class _Account:
    """One count of a limit in one period, as ``router_core.control`` keeps it, in one process and without requests."""

    noncritical_nusd: int = 0
    critical_nusd: int = 0
    latched: bool = False
    stopped: bool = False
    latched_us: int = 0
    spent: deque[tuple[int, int, bool]] = field(default_factory=deque[tuple[int, int, bool]])

    def spend(self) -> Spend:
        return Spend(
            noncritical_nusd=self.noncritical_nusd,
            critical_nusd=self.critical_nusd,
            latched=self.latched,
            stopped=self.stopped,
        )

    def turn(self, limit: Limit, at_us: int) -> None:
        """Take note of what is reached now, or of a rolling window that is back."""
        spend = self.spend()
        if (spend.latched or spend.stopped) and is_back(limit, spend):
            self.latched = self.stopped = False
            return
        now = reached(limit, spend)
        if now.latched and not self.latched:
            self.latched_us = at_us
        self.latched, self.stopped = now.latched, now.stopped

    def book(self, at_us: int, nusd: int, *, critical: bool) -> None:
        if critical:
            self.critical_nusd += nusd
        else:
            self.noncritical_nusd += nusd
        self.spent.append((at_us, nusd, critical))

    def forget(self, before_us: int) -> None:
        """Leave out what a rolling window has moved past."""
        while self.spent and self.spent[0][0] < before_us:
            _, nusd, critical = self.spent.popleft()
            if critical:
                self.critical_nusd -= nusd
            else:
                self.noncritical_nusd -= nusd


def _walked(calls: Calls, costs: Costs, limit: Limit, book: Ints) -> Bytes:
    """Return the states call by call, asking the router's own rule before each."""
    states = np.zeros(len(book), dtype=np.uint8)
    accounts: dict[int, _Account] = {}
    began: dict[int, int] = {}
    runs = np.full(len(book), -1, dtype=np.int64) if calls.run is None else calls.run
    rows = zip(book.tolist(), calls.at_us.tolist(), runs.tolist(), costs.critical.tolist(), strict=True)
    by_state = costs.by_state.T.tolist()
    for row, (place, at_us, run, critical) in enumerate(rows):
        if place < 0:
            continue
        account = accounts.setdefault(place, _Account())
        if limit.per == "rolling":
            account.forget(slice_of(slice_of(at_us) - limit.window_us))
        is_running = limit.switch_at == "task" and _is_running(began, run, at_us, account, critical=critical)
        account.turn(limit, at_us)
        state = _STATES[judge(limit, account.spend(), is_running=is_running).state]
        states[row] = state
        account.book(at_us, by_state[row][state], critical=critical)
    return states


def _is_running(began: dict[int, int], run: int, at_us: int, account: _Account, *, critical: bool) -> bool:
    """Return whether a call's run had begun before the limit was reached; take note of it when it begins."""
    if run < 0 or critical:
        return False
    if run not in began:
        began[run] = at_us
        return False
    return not account.latched or began[run] < account.latched_us
