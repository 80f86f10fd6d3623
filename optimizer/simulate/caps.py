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


def sweep(calls: Calls, limits: Sequence[Limit]) -> Sweep:
    """Return what each limit would have done to the calls.

    Raises:
        ValueError: A limit or a reserve is negative or above ``UNLIMITED_NUSD``.
    """
    for limit in limits:
        if min(limit.limit_nusd, limit.critical_reserve_nusd) < 0:
            raise ValueError(f"limit {limit.name}: a limit and its reserve are not negative")
        if max(limit.limit_nusd, limit.critical_reserve_nusd) > UNLIMITED_NUSD:
            raise ValueError(f"limit {limit.name}: above {UNLIMITED_NUSD} nano-dollars")
    edges = np.searchsorted(calls.day, np.arange(calls.n_days + 1)).astype(np.int64)
    spend = calls.cost_nusd + calls.shadow_nusd
    movable = ~(calls.critical | calls.degraded)
    capped = np.where(movable, calls.cheapest_nusd, calls.cost_nusd)
    before, after = _running(spend), _running(capped)
    switch = _switches(calls, spend, edges, limits)
    first_degraded = _first_of_day(calls.degraded, edges)
    left = (first_degraded < edges[1:]) & (switch > first_degraded)
    switch = np.where(left, edges[1:], switch)
    tripped = switch < edges[1:]
    at_us = np.append(calls.at_us, NEVER)
    moved, already, by_basis, saved = _sums_by_kind(calls, spend - capped, movable, switch, edges, limits)
    return Sweep(
        limits=tuple(limits),
        actual_nusd=np.diff(before[edges]),
        critical_nusd=np.diff(_running(np.where(calls.critical, calls.cost_nusd, 0))[edges]),
        capped_nusd=before[switch] - before[edges[:-1]] + after[edges[1:]] - after[switch],
        trip_us=np.where(tripped, at_us[np.where(tripped, switch, -1)], NEVER),
        left=left,
        moved=moved,
        already=already,
        moved_by_basis=by_basis,
        saved_nusd=saved,
    )


def _running(values: Ints) -> Ints:
    """Return the sums of all values before each index, shape ``(n + 1,)``."""
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _first_of_day(flags: Flags, edges: Ints) -> Ints:
    """Return the index of each day's first set flag, the day's end where none is, shape ``(n_days,)``."""
    set_at = np.append(np.flatnonzero(flags), len(flags))
    return np.minimum(set_at[np.searchsorted(set_at, edges[:-1])], edges[1:])


def _switches(calls: Calls, spend: Ints, edges: Ints, limits: Sequence[Limit]) -> Ints:
    """Return the index of the first call of each day that finds each limit reached, the day's end where none does."""
    noncritical = _running(np.where(calls.critical, 0, spend))
    critical = _running(np.where(calls.critical, spend, 0))
    switch = np.empty((len(limits), calls.n_days), dtype=np.int64)
    for reserve, places in _by_reserve(limits):
        bounds = np.array([limits[place].limit_nusd for place in places], dtype=np.int64)
        for day in range(calls.n_days):
            begin, end = int(edges[day]), int(edges[day + 1])
            found = noncritical[begin:end] - noncritical[begin]
            found += np.maximum(critical[begin:end] - critical[begin], reserve)
            # a limit latches: once reached it stays reached, also where a refund lowers the sum again
            np.maximum.accumulate(found, out=found)
            switch[places, day] = begin + np.searchsorted(found, bounds)
    return switch


def _by_reserve(limits: Sequence[Limit]) -> Iterator[tuple[int, list[int]]]:
    """Yield each reserve with the places of its limits, lowest limit first."""
    order = sorted(range(len(limits)), key=lambda place: limits[place].limit_nusd)
    for reserve in sorted({limit.critical_reserve_nusd for limit in limits}):
        yield reserve, [place for place in order if limits[place].critical_reserve_nusd == reserve]


def _sums_by_kind(
    calls: Calls, saving: Ints, movable: Flags, switch: Ints, edges: Ints, limits: Sequence[Limit]
) -> tuple[Ints, Ints, Ints, Ints]:
    """Return moved, already moved and saved per limit and kind, and moved per limit and basis (third)."""
    moved, already, saved = (np.zeros((len(limits), calls.n_kinds), dtype=np.int64) for _ in range(3))
    by_basis = np.zeros((len(limits), BASES), dtype=np.int64)
    again = calls.degraded & ~calls.critical
    for _, places in _by_reserve(limits):
        # a lower limit is reached no later, so the limits that have moved a call are the first ones: how many?
        hit = _how_many(switch[places], calls.day, edges)
        by_kind, size = hit * calls.n_kinds + calls.kind, (len(places) + 1) * calls.n_kinds
        moved[places] = _from_the_top(np.bincount(by_kind[movable], minlength=size), len(places), calls.n_kinds)
        already[places] = _from_the_top(np.bincount(by_kind[again], minlength=size), len(places), calls.n_kinds)
        of_basis = hit[movable] * BASES + calls.basis[movable]
        by_basis[places] = _from_the_top(np.bincount(of_basis, minlength=(len(places) + 1) * BASES), len(places), BASES)
        sums = np.zeros(size, dtype=np.int64)
        np.add.at(sums, by_kind, saving)
        saved[places] = _from_the_top(sums, len(places), calls.n_kinds)
    return moved, already, by_basis, saved


def _how_many(switch: Ints, day: Small, edges: Ints) -> Ints:
    """Return how many limits are reached by each call or earlier on its day, shape ``(n_calls,)``."""
    reached = _running(np.bincount(switch[switch < edges[1:]], minlength=len(day)))
    return reached[1:] - reached[edges[:-1]][day]


def _from_the_top(sums: Ints, n_limits: int, width: int) -> Ints:
    """Return sums by number of limits as sums by limit: limit i has what more than i limits have."""
    table = sums.reshape(n_limits + 1, width)
    return np.cumsum(table[::-1], axis=0)[::-1][1:].astype(np.int64)
