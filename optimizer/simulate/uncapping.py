"""What calls that a limit had degraded would have cost without it: the repricing of a limit, in reverse.

A degraded call's cost on its cheapest target is in the log. Of its payload type, calls that no limit touched tell what
a call costs as a multiple of that: the ratio of sums over them of cost / cost on the cheapest target. A type without
such calls stays unknown.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.simulate.caps import OWN, UNKNOWN, Calls, Flags, Ints
from optimizer.simulate.rehearsal import Traffic, Uncapped

_GOLDEN: Final = 0.6180339887498949
FEWEST_NORMAL: Final = 20
"""Calls of a type that no limit touched from which its ratio is used."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demand:
    """What degraded calls would have cost.

    Attributes:
        modelled: Calls whose cost without a limit is modelled, shape ``(n_calls,)``.
        unknown: Degraded calls of which it is not known, same shape.
        cost_nusd: What each call would have cost: modelled ones by their ratio, all others what they did, same shape.
        extra_nusd: By how much a day's spend is higher so, shape ``(n_days,)``.
    """

    modelled: Flags
    unknown: Flags
    cost_nusd: Ints
    extra_nusd: Ints


def demand_of(calls: Calls, type_of_kind: Ints) -> Demand:
    """Return what calls would have cost had no limit been at work.

    Args:
        calls: The calls as they were.
        type_of_kind: Index of the payload type of each kind, shape ``(n_kinds,)``.
    """
    degraded = calls.degraded & ~calls.critical
    if not degraded.any():
        nothing = np.zeros(calls.n_days, dtype=np.int64)
        return Demand(modelled=degraded, unknown=degraded, cost_nusd=calls.cost_nusd, extra_nusd=nothing)
    kind = type_of_kind[calls.kind]
    n_types = int(type_of_kind.max()) + 1
    normal = ~calls.degraded & ~calls.critical & (calls.basis != UNKNOWN) & (calls.cheapest_nusd > 0)
    number = np.bincount(kind[normal], minlength=n_types)
    cost = np.bincount(kind[normal], calls.cost_nusd[normal].astype(np.float64), n_types)
    cheapest = np.bincount(kind[normal], calls.cheapest_nusd[normal].astype(np.float64), n_types)
    ratio = np.divide(cost, cheapest, out=np.full(n_types, np.nan), where=number >= FEWEST_NORMAL)
    modelled = degraded & ~np.isnan(ratio[kind])
    would = np.rint(calls.cost_nusd * np.nan_to_num(ratio[kind], nan=1.0)).astype(np.int64)
    cost_nusd = np.where(modelled, would, calls.cost_nusd)
    extra = np.zeros(calls.n_days, dtype=np.int64)
    np.add.at(extra, calls.day, cost_nusd - calls.cost_nusd)
    return Demand(modelled=modelled, unknown=degraded & ~modelled, cost_nusd=cost_nusd, extra_nusd=extra)


def uncapped(traffic: Traffic) -> Traffic:
    """Return traffic whose degraded calls are what they would have been without a limit, as far as that is known.

    Such a call costs what is modelled, its alternative is what it did cost, and it counts among the calls that a limit
    may move. Its kind, which tier would have served it, is drawn evenly from those of its payload type as often as they
    are among calls that no limit touched. Calls of which the cost is not known stay degraded.
    """
    calls = traffic.calls
    demand = demand_of(calls, traffic.type_of_kind)
    if not demand.modelled.any():
        return traffic
    rows = demand.modelled
    kind = calls.kind.copy()
    kind[rows] = _kinds_of(calls, rows, traffic.type_of_kind)
    cheapest, basis = calls.cheapest_nusd.copy(), calls.basis.copy()
    cheapest[rows], basis[rows] = calls.cost_nusd[rows], OWN
    return replace(
        traffic,
        calls=replace(
            calls,
            kind=kind,
            degraded=calls.degraded & ~rows,
            cost_nusd=demand.cost_nusd,
            cheapest_nusd=cheapest,
            basis=basis,
            taper_nusd=None if calls.taper_nusd is None else np.where(rows, demand.cost_nusd, calls.taper_nusd),
        ),
        uncapped=Uncapped(
            days=tuple(traffic.days[int(day)] for day in np.unique(calls.day[rows])),
            calls=int(rows.sum()),
            extra_nusd=demand.extra_nusd,
        ),
    )


def _kinds_of(calls: Calls, rows: Flags, type_of_kind: Ints) -> Ints:
    """Return a kind for each of some calls: of the right payload type, each as often as it normally is."""
    normal = np.bincount(calls.kind[~calls.degraded], minlength=len(type_of_kind)).astype(np.float64)
    of_type = type_of_kind[calls.kind[rows]]
    found = np.zeros(len(of_type), dtype=np.int64)
    for each in np.unique(of_type):
        kinds = np.flatnonzero(type_of_kind == each)
        own = of_type == each
        # multiples of the golden section fill 0..1 evenly, whatever their number
        even = np.arange(1, own.sum() + 1) * _GOLDEN % 1.0
        share = np.cumsum(normal[kinds]) / normal[kinds].sum()
        found[own] = kinds[np.minimum(np.searchsorted(share, even, side="right"), len(kinds) - 1)]
    return found
