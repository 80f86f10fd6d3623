"""Sums of pairs → what a change of path does per call, with joint draws over the payload types.

Post-stratified pairs and covariate empirical Bayes (optimizer.md 2.2): ``delta_k = r_k delta_k^up + (1 - r_k)
delta_k^kept``, with ``r_k`` the share of calls that go up by themselves. Both parts are shrunk by themselves
(``pooling``): calls that went up have both answers always, the others only where a shadow was drawn, and what is known
of the former, the share and the confidences explain most of how types differ in the latter. With few comparable types
the spread between them cannot be told; then ``delta_k ~ N(0, weak_prior_sd^2)``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.answers import ACCEPTED, ESCALATED
from optimizer.evidence import Comparison
from optimizer.pooling import pool
from optimizer.replay import Flags, Floats, Ints
from optimizer.rules import Rules

_LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """What pairs say of each stratum, from the group of calls of a type that says most; the last axis is the stratum.

    Attributes:
        calls: Calls of the group, shape ``(n_types,)``.
        share: Share of the calls, shape ``(n_types, 2)``.
        wrong: Change of the wrong rate.
        wrong_var: Its sampling variance.
        confidence: Mean logit of the confidence of the cheaper path's first answer; nan = not scored.
        rest: Change of the wrong rate by all other groups of calls, shape ``(n_types,)``; nan = there are none.
        rest_var: Its sampling variance.
    """

    calls: Floats
    share: Floats
    wrong: Floats
    wrong_var: Floats
    confidence: Floats
    rest: Floats
    rest_var: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What the pairs of each payload type say by themselves; shapes ``(n_types,)``.

    Attributes:
        seen: Whether every stratum that matters has labelled pairs: the change of the wrong rate is identified.
        wrong: Change of the wrong rate, unknown labels taken against the proposed path; nan where not seen.
        wrong_var: Its sampling variance.
        wrong_call_var: Variance of one call's D.
        slack: By how much the change could be lower for labels that are only bounded.
        discordance: Share of calls on which one path is right and the other wrong.
        costed: Whether the change of cost is measured in every stratum that matters.
        cost: Change of cost per call, USD; nan where not costed.
        cost_var: Its sampling variance.
        cost_call_var: Variance of one call's change of cost.
        escalated: Share of calls that escalate by themselves.
        strata: The same by stratum; None = it is not known.
    """

    seen: Flags
    wrong: Floats
    wrong_var: Floats
    wrong_call_var: Floats
    slack: Floats
    discordance: Floats
    costed: Flags
    cost: Floats
    cost_var: Floats
    cost_call_var: Floats
    escalated: Floats
    strata: Strata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Joint draws of the change of the wrong rate.

    Attributes:
        draws: Shape ``(n_draws, n_types)``; where nothing is seen, draws of the prior alone.
        prior_weight: Share of each type's estimate that comes from the other types or the weak prior, 0..1.
    """

    draws: Floats
    prior_weight: Floats


def effects_of(found: Comparison, calls: Floats, rules: Rules) -> Effects:
    """Return each type's own estimate from its pairs.

    Args:
        found: Sums over its pairs.
        calls: Calls of each cell, paired or not, shape ``(n_types, n_groups, 2)``.
        rules: Constants.
    """
    share, in_group = _shares(calls, rules)
    covered = (found.weight > 0) & (found.weight >= rules.min_coverage * found.started)
    same_only = found.weight_differ == 0
    labelled = covered & (same_only | (found.pair_weight > 0))
    costed = covered & (found.cost_weight > 0)
    differ = _over(found.weight_differ, found.weight)
    n_pairs, n_calls = _effective(found.pair_weight, found.pair_weight_sq), _effective(found.weight, found.weight_sq)
    mean_d = _over(found.pair_d, found.pair_weight)
    spread = _smoothed(found, n_pairs, mean_d, rules)
    mean_var = _over(spread, n_pairs)
    cell_var = differ**2 * mean_var + mean_d**2 * differ * (1 - differ) * _over(1.0, n_calls)
    second = differ * (spread + mean_d**2)
    wrong, wrong_var, seen = _pooled(differ * mean_d, cell_var, share, in_group, labelled)
    second_moment, _, _ = _pooled(second, cell_var, share, in_group, labelled)
    slack, _, _ = _pooled(differ * _over(found.pair_slack, found.pair_weight), cell_var, share, in_group, labelled)
    cost_mean = _over(found.cost_d, found.cost_weight)
    n_costed = _effective(found.cost_weight, found.cost_weight_sq)
    cost_spread = np.maximum(_over(found.cost_d_sq, found.cost_weight) - cost_mean**2, 0.0)
    # a single call tells nothing of its spread: as uncertain as the change itself
    cost_spread = np.where(n_costed > 1, cost_spread * _over(n_costed, n_costed - 1), cost_mean**2)
    cost_cell_var = _over(cost_spread, n_costed)
    cost, cost_var, has_cost = _pooled(cost_mean, cost_cell_var, share, in_group, costed)
    cost_second, _, _ = _pooled(cost_spread + cost_mean**2, cost_cell_var, share, in_group, costed)
    return Effects(
        seen=seen,
        wrong=wrong,
        wrong_var=wrong_var,
        wrong_call_var=np.maximum(second_moment - wrong**2, 0.0),
        slack=slack,
        discordance=second_moment,
        costed=has_cost,
        cost=cost,
        cost_var=cost_var,
        cost_call_var=np.maximum(cost_second - cost**2, 0.0),
        escalated=_over(calls[:, :, 1].sum(axis=1), calls.sum(axis=(1, 2))),
        strata=_strata(found, differ * mean_d, cell_var, share, in_group, labelled),
    )


def posterior_of(effects: Effects, pairs: Floats, rng: np.random.Generator, rules: Rules) -> Posterior:
    """Return joint draws of the change of the wrong rate, shrunk across the types of one comparison.

    Args:
        effects: Each type's own estimate.
        pairs: Its labelled pairs, shape ``(n_types,)``; few of them widen the draws.
        rng: Source of the draws.
        rules: Constants.
    """
    seen = np.flatnonzero(effects.seen)
    size = (rules.n_draws, effects.wrong.size)
    draws = rng.normal(0.0, rules.weak_prior_sd, size)
    weight = np.ones(effects.wrong.size)
    if seen.size:
        d, v = effects.wrong[seen], np.maximum(effects.wrong_var[seen], 1e-12)
        if seen.size < rules.few_types:
            weight[seen] = v / (v + rules.weak_prior_sd**2)
            sd = np.sqrt(v * (1 - weight[seen]))
            drawn = rng.normal((1 - weight[seen]) * d, sd, (rules.n_draws, seen.size))
        elif effects.strata is None:
            pooled = pool(d, v, effects.escalated[seen, None])
            drawn, weight[seen] = pooled.draws(rng, rules.n_draws), pooled.prior_weight
        else:
            drawn, weight[seen] = _stratified(effects.strata, seen, rng, rules)
        centre = drawn.mean(axis=0)
        widen = np.where(pairs[seen] < rules.widen_below, rules.widen_by, 1.0)
        draws[:, seen] = centre + (drawn - centre) * widen
    return Posterior(draws=np.clip(draws, -1.0, 1.0), prior_weight=weight)


def _stratified(strata: Strata, seen: Ints, rng: np.random.Generator, rules: Rules) -> tuple[Floats, Floats]:
    """Return joint draws of the types that were seen, shape ``(n_draws, n_seen)``, and the prior's share in each.

    Calls that went up come first: they have the most pairs, and what they say helps with the others.
    """
    share = strata.share[seen]
    drawn = np.zeros((rules.n_draws, seen.size))
    # the share itself is only as well known as the calls are many
    up = share[:, ESCALATED]
    up_sd = np.sqrt(up * (1 - up) / np.maximum(strata.calls[seen], 1.0))
    drawn_up = np.clip(up + up_sd * rng.standard_normal(drawn.shape), 0.0, 1.0)
    prior, total = np.zeros(seen.size), np.zeros(seen.size)
    known = share[:, ESCALATED, None]
    for stratum in (ESCALATED, ACCEPTED):
        there = np.flatnonzero(share[:, stratum] > 0)
        if not there.size:
            continue
        rows = seen[there]
        d, v = strata.wrong[rows, stratum], np.maximum(strata.wrong_var[rows, stratum], _LEAST)
        x = np.column_stack((known[there], _filled(strata.confidence[rows, stratum])))
        if there.size < rules.few_types:
            alone = v / (v + rules.weak_prior_sd**2)
            part = rng.normal((1 - alone) * d, np.sqrt(v * (1 - alone)), (rules.n_draws, there.size))
            mean = (1 - alone) * d
        else:
            pooled = pool(d, v, x)
            part, alone, mean = pooled.draws(rng, rules.n_draws), pooled.prior_weight, pooled.mean
        of_type = share[there, stratum]
        drawn_share = drawn_up if stratum == ESCALATED else 1 - drawn_up
        drawn[:, there] += drawn_share[:, there] * part
        # how much each stratum has to say in what is uncertain of the whole
        prior[there] += of_type**2 * v * alone
        total[there] += of_type**2 * v
        if stratum == ESCALATED:
            column = np.full(seen.size, float(mean.mean()))
            column[there] = mean
            known = np.column_stack((known, column))
    weight = _over(prior, total)
    return _updated(drawn, strata.rest[seen], strata.rest_var[seen], rng), weight


def _updated(drawn: Floats, rest: Floats, rest_var: Floats, rng: np.random.Generator) -> Floats:
    """Return draws given independent measurements too: each moves by its gain (Evensen 1994)."""
    measured = np.flatnonzero(~np.isnan(rest))
    if not measured.size:
        return drawn
    out = drawn.copy()
    variance = drawn[:, measured].var(axis=0)
    gain = variance / (variance + np.maximum(rest_var[measured], _LEAST))
    noise = rng.standard_normal((drawn.shape[0], measured.size)) * np.sqrt(rest_var[measured])
    out[:, measured] += gain * (rest[measured] + noise - drawn[:, measured])
    return out


def _filled(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return np.where(known, values, values[known].mean() if known.any() else 0.0)


def _strata(
    found: Comparison, mean: Floats, variance: Floats, share: Floats, in_group: Floats, covered: Flags
) -> Strata:
    """Return each type's strata in the group whose pairs say most, and what all its other groups say together."""
    usable = (in_group > 0) & (covered | (share == 0)).all(axis=2)
    group_mean = (share * np.where(share > 0, mean, 0.0)).sum(axis=2)
    group_var = (share**2 * np.where(share > 0, variance, 0.0)).sum(axis=2)
    precision = np.where(usable, 1.0 / np.maximum(group_var, 1e-18), 0.0)
    first = precision.argmax(axis=1)
    rows = np.arange(first.size)
    others = precision.copy()
    others[rows, first] = 0.0
    left = others.sum(axis=1)
    with_confidence = found.confidence_weight[rows, first]
    return Strata(
        calls=in_group[rows, first],
        share=share[rows, first],
        wrong=mean[rows, first],
        wrong_var=variance[rows, first],
        confidence=np.where(with_confidence > 0, _over(found.confidence[rows, first], with_confidence), np.nan),
        rest=np.where(left > 0, _over((others * np.where(usable, group_mean, 0.0)).sum(axis=1), left), np.nan),
        rest_var=_over(1.0, left),
    )


def _shares(calls: Floats, rules: Rules) -> tuple[Floats, Floats]:
    """Return each stratum's share of its group, tiny ones given to the other, and the group's calls."""
    in_group = calls.sum(axis=2, keepdims=True)
    share = _over(calls, in_group)
    share = np.where(share <= rules.ignored_share, 0.0, share)
    return _over(share, share.sum(axis=2, keepdims=True)), in_group[:, :, 0]


def _pooled(
    mean: Floats, variance: Floats, share: Floats, in_group: Floats, covered: Flags
) -> tuple[Floats, Floats, Flags]:
    """Return mean, variance and existence per type: strata weighted by their share, then groups by their precision."""
    usable = (in_group > 0) & (covered | (share == 0)).all(axis=2)
    group_mean = (share * np.where(share > 0, mean, 0.0)).sum(axis=2)
    group_var = (share**2 * np.where(share > 0, variance, 0.0)).sum(axis=2)
    precision = np.where(usable, 1.0 / np.maximum(group_var, 1e-18), 0.0)
    total = precision.sum(axis=1)
    exists = total > 0
    pooled = np.where(exists, _over((precision * np.where(usable, group_mean, 0.0)).sum(axis=1), total), np.nan)
    return pooled, np.where(exists, _over(1.0, total), np.nan), exists


def _smoothed(found: Comparison, n_pairs: Floats, mean_d: Floats, rules: Rules) -> Floats:
    """Return s^2 of D among the pairs that differ, smoothed by pairs at the pooled discordance."""
    pseudo = rules.pseudo_pairs
    second = _over(found.pair_d_sq, found.pair_weight)
    counted = (second * n_pairs).sum()
    pooled = (counted + pseudo * rules.assumed_discordance) / (n_pairs.sum() + pseudo)
    return np.maximum((second * n_pairs + pseudo * pooled - mean_d**2 * n_pairs) / (n_pairs + pseudo), 0.0)


def _effective(weight: Floats, weight_sq: Floats) -> Floats:
    """Return the effective number behind weighted sums (Kish): (sum w)^2 / sum w^2."""
    return _over(weight**2, weight_sq)


def _over(above: Floats | float, below: Floats) -> Floats:
    """Return above / below, 0 where there is nothing below."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)
