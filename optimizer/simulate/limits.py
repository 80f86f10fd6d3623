"""Limits of any kind on the same calls: a grid of plain daily ones is swept at once, all others one by one."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from optimizer.simulate.caps import (
    BASES,
    NEVER,
    REPRICED,
    SCALED,
    Bytes,
    Calls,
    Flags,
    Ints,
    Sweep,
    add_exactly,
    check,
    sweep,
)
from optimizer.simulate.states import CAPPED, STOPPED, TAPER, Costs, costs_of, states_of
from router_core.decide.guard import EVERYTHING, Limit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A limit and the calls that it counts.

    Attributes:
        limit: The limit.
        scope: Under which of its counts each call is counted, -1 = under none, shape ``(n_calls,)``; None = all under
            one.
    """

    limit: Limit
    scope: Ints | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is a daily limit on everything that does nothing but move calls."""
        plain = Limit(
            name=self.limit.name,
            limit_nusd=self.limit.limit_nusd,
            critical_reserve_nusd=self.limit.critical_reserve_nusd,
            on_store_failure=self.limit.on_store_failure,
            scope=self.limit.scope,
        )
        return self.scope is None and self.limit == plain and self.limit.scope == EVERYTHING


def sweep_all(calls: Calls, asked: Sequence[Asked], days: Sequence[dt.date]) -> Sweep:
    """Return what each limit would have done to the calls, in the order given.

    Args:
        calls: The calls.
        asked: The limits.
        days: The local days of the calls.

    Raises:
        ValueError: An amount is negative or above ``UNLIMITED_NUSD``.
    """
    check([one.limit for one in asked])
    plain = [place for place, one in enumerate(asked) if one.is_plain]
    swept = sweep(calls, [asked[place].limit for place in plain])
    if len(plain) == len(asked):
        return swept
    costs, edges = costs_of(calls), np.searchsorted(calls.day, np.arange(calls.n_days + 1)).astype(np.int64)
    others = {
        place: _one(calls, costs, edges, one.limit, states_of(calls, costs, one.limit, one.scope, days))
        for place, one in enumerate(asked)
        if not one.is_plain
    }
    return _put_together(swept, plain, others, [one.limit for one in asked])


def _one(calls: Calls, costs: Costs, edges: Ints, limit: Limit, states: Bytes) -> Sweep:
    """Return the sums of one limit, given its state at each call."""
    left = _left(calls, states, edges)
    states = np.where(left[calls.day], 0, states) if left.any() else states
    under = np.take_along_axis(costs.by_state, states[None].astype(np.int64), axis=0)[0]
    spend = costs.by_state[0]
    movable, noncritical = ~(calls.critical | calls.degraded), ~calls.critical
    saved = np.zeros(calls.n_kinds, dtype=np.int64)
    add_exactly(saved, calls.kind.astype(np.int64), spend - under)
    moved = movable & (states == CAPPED)
    known = (calls.basis == SCALED) | (calls.basis == REPRICED)
    doubtful = np.zeros(calls.n_kinds * 2, dtype=np.int64)
    cell = calls.kind[moved & known].astype(np.int64) * 2 + (calls.basis[moved & known] == REPRICED)
    add_exactly(doubtful, cell, calls.cheapest_nusd[moved & known])
    shortened = movable & (states == TAPER) & (costs.by_state[TAPER] != calls.cost_nusd)
    return Sweep(
        limits=(limit,),
        actual_nusd=_by_day(spend, edges),
        critical_nusd=_by_day(np.where(calls.critical, calls.cost_nusd, 0), edges),
        capped_nusd=_by_day(under, edges)[None],
        trip_us=_trips(calls, states >= CAPPED, edges)[None],
        left=left[None],
        moved=_count(calls, moved),
        already=_count(calls, calls.degraded & noncritical & (states == CAPPED)),
        moved_by_basis=np.bincount(calls.basis[moved], minlength=BASES)[None],
        saved_nusd=saved[None],
        rejected=_count(calls, noncritical & (states == STOPPED)),
        tapered=_count(calls, shortened),
        doubtful_nusd=doubtful.reshape(1, calls.n_kinds, 2),
    )


def _count(calls: Calls, rows: Flags) -> Ints:
    return np.bincount(calls.kind[rows], minlength=calls.n_kinds)[None].astype(np.int64)


def _by_day(values: Ints, edges: Ints) -> Ints:
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return np.diff(sums[edges])


def _trips(calls: Calls, severe: Flags, edges: Ints) -> Ints:
    """Return when each day's first call is met that the limit moves or refuses, ``NEVER`` where none is."""
    rows = np.append(np.flatnonzero(severe), len(severe))
    first = rows[np.searchsorted(rows, edges[:-1])]
    at_us = np.append(calls.at_us, NEVER)
    return np.where(first < edges[1:], at_us[first], NEVER)


def _left(calls: Calls, states: Bytes, edges: Ints) -> Flags:
    """Return the days that are left as they were: a limit had degraded calls before this one says anything."""
    left = np.zeros(calls.n_days, dtype=np.bool_)
    for day in np.unique(calls.day[calls.degraded]):
        rows = slice(int(edges[day]), int(edges[day + 1]))
        degraded, said = calls.degraded[rows], states[rows] > 0
        left[day] = not said[: int(degraded.argmax()) + 1].any()
    return left


def _put_together(swept: Sweep, plain: Sequence[int], others: dict[int, Sweep], limits: Sequence[Limit]) -> Sweep:
    table = dict(zip(plain, range(len(plain)), strict=True))

    def rows(name: str) -> Any:
        return np.stack(
            [
                getattr(swept, name)[table[place]] if place in table else getattr(others[place], name)[0]
                for place in range(len(limits))
            ]
        )

    once = ("limits", "actual_nusd", "critical_nusd")
    return replace(
        swept, limits=tuple(limits), **{each.name: rows(each.name) for each in fields(swept) if each.name not in once}
    )
