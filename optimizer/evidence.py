"""Answers and labels → what they say about taking one path instead of another.

Both paths are replayed on the answers at hand, so it does not matter which of them was served. ``D`` of a call is
wrong(proposed) - wrong(present), within -1..1.

Calls are post-stratified (Cochran, Sampling Techniques, 5A.9): those that went up by themselves keep both answers
always, those whose first answer was served have a second one only where a shadow was drawn. Within a stratum, calls on
which both paths serve the same answer have D = 0 and need no label; the others are weighted by 1 / propensity of the
shadow and of the label (Hajek).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from optimizer.answers import ACCEPTED, Table
from optimizer.replay import NOBODY, Flags, Floats, Served, Way, replay
from router_core.decide.calibration import EDGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Sums over the pairs of one comparison of paths.

    Cells have shape ``(n_types, n_groups, 2)``, the last axis being the stratum; counts have shape ``(n_types,)``.

    Attributes:
        calls: Calls on which both paths can be replayed.
        started: Weights of the calls that have an answer of the proposed path's first tier: those that can be replayed
            represent all of them, if their own weights come to the same.
        weight: Their weights, by shadow propensity.
        weight_differ: The weights of those on which the paths serve different answers.
        weight_sq: Sum of squared weights.
        pair_calls: Of those that differ, the ones with both labels.
        pair_weight: Their weights, by shadow and label propensity.
        pair_weight_sq: Sum of their squared weights.
        pair_d: Weighted sum of D, every unknown label taken against the proposed path.
        pair_d_sq: Weighted sum of D squared.
        pair_slack: Weighted sum of how far D could be lower for what is unknown.
        cost_calls: Calls on which both costs are known.
        cost_weight: Their weights, by shadow propensity.
        cost_weight_sq: Sum of their squared weights.
        cost_d: Weighted sum of cost(proposed) - cost(present), USD.
        cost_d_sq: Weighted sum of its square.
        confidence: Weighted sum of the logit of the confidence of the cheaper path's first answer.
        confidence_weight: Weights of the calls that have one.
        pairs: Calls labelled on both paths, those with the same answer included.
        pairs_accepted: Those of them that had not escalated.
        worse: Pairs on which the proposed path is more wrong.
        better: Pairs on which it is less wrong.
        with_shadow: Pairs that rest on a shadow.
        transferred: Pairs with a label carried over.
        unknown: Pairs with a label that is only bounded.
        p95_ms: p95 of latency on the proposed path; nan = not known.
    """

    calls: Floats
    started: Floats
    weight: Floats
    weight_differ: Floats
    weight_sq: Floats
    pair_calls: Floats
    pair_weight: Floats
    pair_weight_sq: Floats
    pair_d: Floats
    pair_d_sq: Floats
    pair_slack: Floats
    cost_calls: Floats
    cost_weight: Floats
    cost_weight_sq: Floats
    cost_d: Floats
    cost_d_sq: Floats
    confidence: Floats
    confidence_weight: Floats
    pairs: Floats
    pairs_accepted: Floats
    worse: Floats
    better: Floats
    with_shadow: Floats
    transferred: Floats
    unknown: Floats
    p95_ms: Floats


def compare(table: Table, now: Way, then: Way, shape: tuple[int, int], served: Served | None = None) -> Comparison:
    """Return what the calls of a table say about taking path ``then`` instead of ``now``.

    Args:
        table: The calls.
        now: The present path of each call's payload type.
        then: The proposed one.
        shape: Number of payload types and of groups.
        served: What was served in fact, to compare with that; None = what ``now`` would have served.
    """
    present = replay(table.answers, now) if served is None else served
    proposed = replay(table.answers, then)
    cells = _Cells(table, shape)
    usable = present.known & proposed.known & (present.tier != NOBODY) & (proposed.tier != NOBODY)
    weight = np.where(usable, table.weight / joint_propensity(table, present, proposed), 0.0)
    first = then.tiers[0]
    begun = present.known & (present.tier != NOBODY) & table.answers.answered[:, first]
    begun_weight = table.weight / (
        np.where(present.asked, table.propensity, 1.0).prod(axis=1) * _alone(table, present, first)
    )
    differ = usable & (present.tier != proposed.tier)
    low_now, high_now, chance_now, moved_now = _labels(table, present)
    low_then, high_then, chance_then, moved_then = _labels(table, proposed)
    labelled = usable & ~np.isnan(low_now) & ~np.isnan(low_then)
    pair = labelled & differ
    d = np.where(pair, high_then - low_now, 0.0)
    slack = np.where(pair, d - (low_then - high_now), 0.0)
    pair_weight = np.where(pair, weight / np.minimum(chance_now, chance_then), 0.0)
    cost = proposed.cost_usd - present.cost_usd
    costed = usable & ~np.isnan(cost)
    cost = np.where(costed, cost, 0.0)
    cost_weight = np.where(costed, weight, 0.0)
    surety = _surety(table, min(now.tiers[0], first))
    sure_weight = np.where(usable & ~np.isnan(surety), weight, 0.0)
    shadowed = (table.is_shadow & (present.asked | proposed.asked)).any(axis=1)
    return Comparison(
        calls=cells.sums(usable),
        started=cells.sums(np.where(begun, begun_weight, 0.0)),
        weight=cells.sums(weight),
        weight_differ=cells.sums(np.where(differ, weight, 0.0)),
        weight_sq=cells.sums(weight**2),
        pair_calls=cells.sums(pair),
        pair_weight=cells.sums(pair_weight),
        pair_weight_sq=cells.sums(pair_weight**2),
        pair_d=cells.sums(pair_weight * d),
        pair_d_sq=cells.sums(pair_weight * d**2),
        pair_slack=cells.sums(pair_weight * slack),
        cost_calls=cells.sums(costed),
        cost_weight=cells.sums(cost_weight),
        cost_weight_sq=cells.sums(cost_weight**2),
        cost_d=cells.sums(cost_weight * cost),
        cost_d_sq=cells.sums(cost_weight * cost**2),
        confidence=cells.sums(sure_weight * np.nan_to_num(surety)),
        confidence_weight=cells.sums(sure_weight),
        pairs=cells.by_type(labelled),
        pairs_accepted=cells.by_type(labelled & (table.stratum == ACCEPTED)),
        worse=cells.by_type(d > 0),
        better=cells.by_type(d < 0),
        with_shadow=cells.by_type(labelled & shadowed),
        transferred=cells.by_type(pair & (moved_now | moved_then)),
        unknown=cells.by_type(slack > 0),
        p95_ms=cells.quantile(proposed.latency_ms, weight, 0.95),
    )


def _surety(table: Table, tier: int) -> Floats:
    """Return the logit of the confidence of a tier's answers, cut where the router cuts it; nan = not scored."""
    return logit(np.clip(table.answers.confidence[:, tier], EDGE, 1 - EDGE))


def _alone(table: Table, present: Served, first: int) -> Floats:
    """Return the chance of a tier's answer apart from those that the present path asks for."""
    return np.where(present.asked[:, first], 1.0, table.propensity[:, first])


def joint_propensity(table: Table, present: Served, proposed: Served) -> Floats:
    """Return the chance that all the shadows were drawn that the two paths need, shape ``(n_calls,)``."""
    return np.where(present.asked | proposed.asked, table.propensity, 1.0).prod(axis=1)


def _labels(table: Table, served: Served) -> tuple[Floats, Floats, Floats, Flags]:
    """Return bounds of wrongness, label propensity and whether it was carried over, of the answers a path serves."""
    rows, column = np.arange(served.tier.size), np.maximum(served.tier, 0)
    return (
        table.wrong_low[rows, column],
        table.wrong_high[rows, column],
        table.label_propensity[rows, column],
        table.transferred[rows, column],
    )


class _Cells:
    """Sums over calls by payload type, group and stratum."""

    def __init__(self, table: Table, shape: tuple[int, int]) -> None:
        self._table = table
        self._shape = (*shape, 2)
        self._cell = (table.type * shape[1] + table.group) * 2 + table.stratum

    def sums(self, values: Flags | Floats) -> Floats:
        size = int(np.prod(self._shape))
        return (
            np.bincount(self._cell, weights=values.astype(np.float64), minlength=size)
            .astype(np.float64)
            .reshape(self._shape)
        )

    def by_type(self, values: Flags) -> Floats:
        return np.bincount(self._table.type, weights=values.astype(np.float64), minlength=self._shape[0]).astype(
            np.float64
        )

    def quantile(self, values: Floats, weights: Floats, share: float) -> Floats:
        """Return a weighted quantile per payload type: the least value that ``share`` of the weight does not exceed."""
        keep = (weights > 0) & ~np.isnan(values)
        kinds, values, weights = self._table.type[keep], values[keep], weights[keep]
        order = np.lexsort((values, kinds))
        kinds, values, weights = kinds[order], values[order], weights[order]
        out = np.full(self._shape[0], np.nan)
        if kinds.size == 0:
            return out
        starts = np.flatnonzero(np.r_[True, kinds[1:] != kinds[:-1]])
        total = np.cumsum(weights)
        before = np.r_[0.0, total][starts]
        ends = np.r_[starts[1:], kinds.size]
        goals = before + share * (total[ends - 1] - before)
        places = np.minimum(np.searchsorted(total, goals, side="left"), ends - 1)
        out[kinds[starts]] = values[places]
        return out
