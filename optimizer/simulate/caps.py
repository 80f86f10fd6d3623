"""A daily limit replayed over calls that were made: which calls it would have moved, and what that costs or saves.

The rule is that of ``router_core.decide.guard.judge``, and the result is the same to the nano-dollar as a loop over it:
within a local day the limit is reached by the first call that finds N + C >= limit, where N is the spend of
non-critical calls before it and C = max(spend of critical calls before it, critical reserve). From that call on every
non-critical call of the day runs once on its cheapest allowed target, no call makes a shadow, and critical calls stay
as they were. The call before it, which crossed the limit, stays as it was.

Before a limit is reached nothing differs from what happened, so a limit's effect on a day is one index: calls up to it
cost what they did, calls after it their alternative. With both as running sums all limits together take
O(n + days x limits x log n).

Money counts at the granularity of calls: all of a call's spend counts from its beginning, on the day of its beginning.
What was reserved for requests in flight, and then settled at another amount, is not replayed; nor is a limit that is
reached within a call, which forbids that call's further escalations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from router_core.decide.guard import Limit

Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

UNLIMITED_NUSD: Final = 2**62
"""Largest limit and largest reserve, nano-dollars: 4.6 billion USD."""
_EXACT_FLOATS: Final = 2.0**52
NEVER: Final = -1
"""Stands in ``Sweep.trip_us`` for a day on which the limit is not reached."""

# how the cost of a call on its cheapest target is known
OWN, SCALED, REPRICED, UNKNOWN = range(4)
BASES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calls:
    """Calls in the order in which their money counts. Every array has shape ``(n_calls,)``.

    Attributes:
        n_days: Number of local days.
        n_kinds: Number of kinds of calls.
        day: Index of the call's local day, 0..n_days-1, not decreasing.
        at_us: When its money begins to count, microseconds since the epoch.
        kind: Index of its kind, 0..n_kinds-1; counts are given per kind.
        critical: Whether limits leave it alone.
        degraded: Whether a limit had moved it already when it was made.
        cost_nusd: What it cost without shadows, nano-dollars.
        shadow_nusd: What its shadows cost, nano-dollars.
        cheapest_nusd: What it would have cost on its cheapest allowed target; of no account for critical and degraded
            calls, which a limit would not change.
        basis: How ``cheapest_nusd`` is known: ``OWN``, ``SCALED``, ``REPRICED`` or ``UNKNOWN``.
        taper_nusd: What it would have cost up to its first valid answer, without judges and samples; None = what it
            did cost.
        run: Index of the caller's job, -1 = it has none; None = none has one.
        ended_us: When it was answered, microseconds since the epoch; None = nobody asks.
    """

    n_days: int
    n_kinds: int
    day: Small
    at_us: Ints
    kind: Small
    critical: Flags
    degraded: Flags
    cost_nusd: Ints
    shadow_nusd: Ints
    cheapest_nusd: Ints
    basis: Bytes
    taper_nusd: Ints | None = None
    run: Ints | None = None
    ended_us: Ints | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sweep:
    """What each of several limits would have done. Exact integers.

    A day on which a limit had degraded calls already is replayed for limits that are reached before its first degraded
    call: up to there the log shows the traffic as it was. For other limits it is left as it was, because what its
    degraded calls would have cost otherwise is in no log.

    Attributes:
        limits: The limits, as given.
        actual_nusd: Spend per day as it happened, shadows included, shape ``(n_days,)``.
        critical_nusd: The part of critical calls without shadows, which no limit changes, shape ``(n_days,)``.
        capped_nusd: Spend per day under each limit, shape ``(n_limits, n_days)``.
        trip_us: When the limit is reached, ``NEVER`` where it is not, shape ``(n_limits, n_days)``.
        left: Whether the day is left as it was, shape ``(n_limits, n_days)``.
        moved: Calls that the limit moves and none had moved before, shape ``(n_limits, n_kinds)``.
        already: Calls that it moves and that a limit had moved before, shape ``(n_limits, n_kinds)``.
        moved_by_basis: ``moved`` by how the alternative's cost is known, shape ``(n_limits, BASES)``.
        saved_nusd: Spend as it happened minus spend under the limit, signed, shape ``(n_limits, n_kinds)``.
        rejected: Calls that a limit refuses, shape ``(n_limits, n_kinds)``.
        tapered: Calls whose answer is served where they had gone on for want of confidence, same shape.
        doubtful_nusd: What moved calls cost under the limit where that is ``SCALED`` and where it is ``REPRICED``,
            shape ``(n_limits, n_kinds, 2)``.
    """

    limits: tuple[Limit, ...]
    actual_nusd: Ints
    critical_nusd: Ints
    capped_nusd: Ints
    trip_us: Ints
    left: Flags
    moved: Ints
    already: Ints
    moved_by_basis: Ints
    saved_nusd: Ints
    rejected: Ints
    tapered: Ints
    doubtful_nusd: Ints


def sweep(calls: Calls, limits: Sequence[Limit]) -> Sweep:
    """Return what each limit would have done to the calls.

    Raises:
        ValueError: A limit or a reserve is negative or above ``UNLIMITED_NUSD``.
    """
    check(limits)
    found = _Found(calls, limits)
    edges = np.searchsorted(calls.day, np.arange(calls.n_days + 1))
    for day in range(calls.n_days):
        # one day at a time: what is worked on stays small, and in the processor's cache
        found.add(day, _Day(calls, slice(int(edges[day]), int(edges[day + 1]))))
    return found.sweep()


def check(limits: Sequence[Limit]) -> None:
    """Raise what is wrong with limits.

    Raises:
        ValueError: An amount is negative or above ``UNLIMITED_NUSD``.
    """
    for limit in limits:
        amounts = (limit.limit_nusd, limit.critical_reserve_nusd, limit.taper_nusd or 0, limit.stop_nusd or 0)
        if min(amounts) < 0:
            raise ValueError(f"limit {limit.name}: a limit and its reserve are not negative")
        if max(amounts) > UNLIMITED_NUSD:
            raise ValueError(f"limit {limit.name}: above {UNLIMITED_NUSD} nano-dollars")


class _Day:
    """The calls of one day, with the sums that every limit needs."""

    def __init__(self, calls: Calls, rows: slice) -> None:
        self.at_us, self.kind, self.basis = calls.at_us[rows], calls.kind[rows], calls.basis[rows]
        self.degraded = calls.degraded[rows]
        critical, cost = calls.critical[rows], calls.cost_nusd[rows]
        spend = cost + calls.shadow_nusd[rows]
        self.movable = ~(critical | self.degraded)
        self.again = self.degraded & ~critical
        self.capped = np.where(self.movable, calls.cheapest_nusd[rows], cost)
        self.saving = spend - self.capped
        self.before, self.after = _running(spend), _running(self.capped)
        self.of_critical = int(cost[critical].sum())
        of_critical = np.where(critical, spend, 0)
        self._noncritical, self._critical = _running(spend - of_critical)[:-1], _running(of_critical)[:-1]

    def switches(self, bounds: Ints, reserve: int) -> Ints:
        """Return the index of the first call that finds each limit reached, the number of calls where none does."""
        found = self._noncritical + np.maximum(self._critical, reserve)
        # a limit latches: once reached it stays reached, also where a refund lowers the sum again
        np.maximum.accumulate(found, out=found)
        return np.searchsorted(found, bounds)


class _Found:
    """Sums over the days so far."""

    def __init__(self, calls: Calls, limits: Sequence[Limit]) -> None:
        self._limits, self._n_kinds = tuple(limits), calls.n_kinds
        self._groups = [
            (reserve, np.array(places), np.array([limits[place].limit_nusd for place in places], dtype=np.int64))
            for reserve, places in _by_reserve(limits)
        ]
        table = (len(limits), calls.n_days)
        self._actual, self._critical = (np.zeros(calls.n_days, dtype=np.int64) for _ in range(2))
        self._capped, self._trip = np.zeros(table, dtype=np.int64), np.full(table, NEVER, dtype=np.int64)
        self._left = np.zeros(table, dtype=np.bool_)
        # by how many limits have moved a call, and its kind: see _from_the_top
        self._moved, self._already, self._saved, self._doubtful = (
            [np.zeros((len(places) + 1) * calls.n_kinds * width, dtype=np.int64) for _, places, _ in self._groups]
            for width in (1, 1, 1, 2)
        )
        self._basis = [np.zeros((len(places) + 1) * BASES, dtype=np.int64) for _, places, _ in self._groups]

    def add(self, day: int, of: _Day) -> None:
        """Take in a day."""
        n = len(of.kind)
        self._actual[day], self._critical[day] = of.before[-1], of.of_critical
        first_degraded = int(of.degraded.argmax()) if of.degraded.any() else n
        for number, (reserve, places, bounds) in enumerate(self._groups):
            switch = of.switches(bounds, reserve)
            left = (first_degraded < n) & (switch > first_degraded)
            switch = np.where(left, n, switch)
            tripped = np.flatnonzero(switch < n)
            self._left[places, day] = left
            self._trip[places[tripped], day] = of.at_us[switch[tripped]]
            self._capped[places, day] = of.before[switch] + of.after[-1] - of.after[switch]
            if tripped.size:
                self._count(number, of, switch)

    def _count(self, number: int, of: _Day, switch: Ints) -> None:
        # a lower limit is reached no later, so the limits that have moved a call are the first ones: how many?
        begin, n = int(switch.min()), len(of.kind)
        hit = np.cumsum(np.bincount(switch[switch < n] - begin, minlength=n - begin))
        movable, again = of.movable[begin:], of.again[begin:]
        by_kind = hit * self._n_kinds + of.kind[begin:]
        self._moved[number] += np.bincount(by_kind[movable], minlength=len(self._moved[number]))
        if again.any():
            self._already[number] += np.bincount(by_kind[again], minlength=len(self._already[number]))
        of_basis = hit[movable] * BASES + of.basis[begin:][movable]
        self._basis[number] += np.bincount(of_basis, minlength=len(self._basis[number]))
        add_exactly(self._saved[number], by_kind, of.saving[begin:])
        basis = of.basis[begin:]
        doubtful = movable & ((basis == SCALED) | (basis == REPRICED))
        if doubtful.any():
            cell = by_kind[doubtful] * 2 + (basis[doubtful] == REPRICED)
            add_exactly(self._doubtful[number], cell, of.capped[begin:][doubtful])

    def sweep(self) -> Sweep:
        """Return what came of all days."""
        n, kinds = len(self._limits), self._n_kinds
        moved, already, saved = (np.zeros((n, kinds), dtype=np.int64) for _ in range(3))
        by_basis, doubtful = np.zeros((n, BASES), dtype=np.int64), np.zeros((n, kinds * 2), dtype=np.int64)
        for number, (_, places, _) in enumerate(self._groups):
            moved[places] = _from_the_top(self._moved[number], len(places), kinds)
            already[places] = _from_the_top(self._already[number], len(places), kinds)
            saved[places] = _from_the_top(self._saved[number], len(places), kinds)
            doubtful[places] = _from_the_top(self._doubtful[number], len(places), kinds * 2)
            by_basis[places] = _from_the_top(self._basis[number], len(places), BASES)
        return Sweep(
            limits=self._limits,
            actual_nusd=self._actual,
            critical_nusd=self._critical,
            capped_nusd=self._capped,
            trip_us=self._trip,
            left=self._left,
            moved=moved,
            already=already,
            moved_by_basis=by_basis,
            saved_nusd=saved,
            rejected=np.zeros((n, kinds), dtype=np.int64),
            tapered=np.zeros((n, kinds), dtype=np.int64),
            doubtful_nusd=doubtful.reshape(n, kinds, 2),
        )


def _running(values: Ints) -> Ints:
    """Return the sums of all values before each index, shape ``(n + 1,)``."""
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _by_reserve(limits: Sequence[Limit]) -> Iterator[tuple[int, list[int]]]:
    """Yield each reserve with the places of its limits, lowest limit first."""
    order = sorted(range(len(limits)), key=lambda place: limits[place].limit_nusd)
    for reserve in sorted({limit.critical_reserve_nusd for limit in limits}):
        yield reserve, [place for place in order if limits[place].critical_reserve_nusd == reserve]


def add_exactly(sums: Ints, cell: Ints, values: Ints) -> None:
    """Add values to their cells; quicker by way of floats where these hold every sum exactly."""
    if float(np.abs(values).sum(dtype=np.float64)) < _EXACT_FLOATS:
        sums += np.rint(np.bincount(cell, values, len(sums))).astype(np.int64)
    else:
        np.add.at(sums, cell, values)


def _from_the_top(sums: Ints, n_limits: int, width: int) -> Ints:
    """Return sums by number of limits as sums by limit: limit i has what more than i limits have."""
    table = sums.reshape(n_limits + 1, width)
    return np.cumsum(table[::-1], axis=0)[::-1][1:].astype(np.int64)
