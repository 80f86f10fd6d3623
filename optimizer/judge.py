"""One comparison of paths, for all payload types that share it → what the move does to each of them in a month.

All intervals are predictions of a coming month at a stated volume: the draws of what is unknown now, plus the chance
that a month of calls brings by itself.
"""

from dataclasses import dataclass, replace

import numpy as np

from optimizer.answers import Table
from optimizer.estimate import Effects, effects_of, posterior_of
from optimizer.evidence import Comparison, compare
from optimizer.paths import Option, Route
from optimizer.replay import Floats, Ints, Way
from optimizer.rules import Rules
from router_core.control.records import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One payload type of a comparison.

    Attributes:
        type: Index of the payload type.
        now: Its present path.
        option: The path it could take.
        accepts_missing: Whether an unscored answer is served.
        calls_per_month: Volume.
        error_cost_usd: Price of a wrong answer, USD.
    """

    type: int
    now: Route
    option: Option
    accepts_missing: bool
    calls_per_month: float
    error_cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Joint draws of a move per call, for totals over several payload types.

    Attributes:
        wrong: Change of the wrong rate, shape ``(n_draws,)``.
        cost_usd: Change of cost per call, USD, same shape.
        wrong_call_sd: Standard deviation of one call's change of wrongness.
        cost_call_sd: Standard deviation of one call's change of cost, USD.
        slack: By how much the change of the wrong rate could be lower for labels that are only bounded.
    """

    wrong: Floats
    cost_usd: Floats
    wrong_call_sd: float
    cost_call_sd: float
    slack: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a move would do to one payload type.

    Attributes:
        question: What was asked.
        seen: Whether the change of the wrong rate is identified; without, it is the prior alone.
        costed: Whether the change of cost is measured; without, the figures in USD mean nothing.
        pairs: Labelled pairs, and of these: ``accepted`` ones that had not escalated, ``worse``, ``better``,
            ``with_shadow``, ``transferred``, and ``unknown`` ones that are only bounded.
        prior_weight: Share of the estimate that is not the type's own, 0..1.
        discordance: Share of calls on which one path is right and the other wrong.
        wrong_change: Change of the wrong rate.
        saving_usd_month: Spend saved, USD per month.
        impact_usd_month: Change of error impact, USD per month.
        net_usd_month: Saving - impact.
        p_net_positive: Probability that the net is above 0.
        p_harm: Probability that the wrong rate rises by more than the rules' ``usual_margin``.
        p_inverted: Probability that the dearer path is worse by more than the rules' ``inversion_change``.
        p95_ms: p95 of latency on the proposed path; None = not known.
        samples: Draws behind it.
    """

    question: Question
    seen: bool
    costed: bool
    pairs: int
    accepted: int
    worse: int
    better: int
    with_shadow: int
    transferred: int
    unknown: int
    prior_weight: float
    discordance: float
    wrong_change: Interval
    saving_usd_month: Interval
    impact_usd_month: Interval
    net_usd_month: Interval
    p_net_positive: float
    p_harm: float
    p_inverted: float
    p95_ms: float | None
    samples: Samples


def judge(
    table: Table, calls: Floats, questions: tuple[Question, ...], rng: np.random.Generator, rules: Rules
) -> tuple[Judged, ...]:
    """Return the judgement of each question.

    Args:
        table: Answers of all payload types.
        calls: Calls of each type, group and stratum, shape ``(n_types, n_groups, 2)``.
        questions: Types whose present paths take the same tiers, and so do the proposed ones; ordered by type.
        rng: Source of all draws.
        rules: Constants.
    """
    kinds = np.array([question.type for question in questions], dtype=np.int64)
    place = np.full(calls.shape[0], -1, dtype=np.int64)
    place[kinds] = np.arange(kinds.size)
    rows = table.rows(place[table.type] >= 0)
    position = place[rows.type]
    rows = replace(rows, type=position)
    missing = np.array([question.accepts_missing for question in questions])[position]
    now = _way([question.now for question in questions], position, missing)
    then = _way([question.option.route for question in questions], position, missing)
    found = compare(rows, now, then, (kinds.size, calls.shape[1]))
    effects = effects_of(found, calls[kinds], rules)
    return judge_effects(questions, found, effects, rng, rules)


def _way(routes: list[Route], position: Ints, missing: np.ndarray) -> Way:
    accept = np.array([route.accept_at for route in routes], dtype=np.float64)
    straight = np.array(
        [[np.nan if value is None else value for value in route.straight_below] for route in routes], dtype=np.float64
    )
    return Way(
        tiers=routes[0].tiers,
        accept_at=accept[position],
        straight_below=straight[position],
        accepts_missing=missing,
        on_raw=routes[0].on_raw,
    )


def judge_effects(
    questions: tuple[Question, ...], found: Comparison, effects: Effects, rng: np.random.Generator, rules: Rules
) -> tuple[Judged, ...]:
    """Return the judgement of each question from what its pairs say, one type per question in their order."""
    posterior = posterior_of(effects, found.pairs, rng, rules)
    wrong = posterior.draws
    cost_sd = np.sqrt(np.where(effects.costed, effects.cost_var, 0.0))
    cost = np.where(effects.costed, effects.cost, 0.0) + cost_sd * rng.standard_normal(wrong.shape)
    volume = np.array([question.calls_per_month for question in questions])
    price = np.array([question.error_cost_usd for question in questions])
    wrong_sd = np.sqrt(np.where(effects.seen, effects.wrong_call_var, 0.0))
    cost_call_sd = np.sqrt(np.where(effects.costed, effects.cost_call_var, 0.0))
    root = np.sqrt(np.maximum(volume, 1.0))
    coming_wrong = wrong + wrong_sd / root * rng.standard_normal(wrong.shape)
    coming_cost = cost + cost_call_sd / root * rng.standard_normal(wrong.shape)
    net = -volume * (coming_cost + price * coming_wrong)
    slack = np.where(effects.seen, effects.slack, 0.0)
    wrong_ends, cost_ends, net_ends = (
        np.quantile(each, (0.05, 0.95), axis=0) for each in (coming_wrong, coming_cost, net)
    )
    wrong_mean, cost_mean = wrong.mean(axis=0), cost.mean(axis=0)
    net_mean = -volume * (cost_mean + price * wrong_mean)
    p_net = (net > 0).mean(axis=0)
    p_harm = (wrong > rules.usual_margin).mean(axis=0)
    dearer_worse = np.where(cost_mean < 0, -wrong, wrong) > rules.inversion_change
    p_inverted = np.where(effects.seen, dearer_worse.mean(axis=0), 0.0)
    judged: list[Judged] = []
    for k, question in enumerate(questions):
        low, high = float(wrong_ends[0, k] - slack[k]), float(wrong_ends[1, k])
        impact = float(volume[k] * price[k])
        judged.append(
            Judged(
                question=question,
                seen=bool(effects.seen[k]),
                costed=bool(effects.costed[k]),
                pairs=round(found.pairs[k]),
                accepted=round(found.pairs_accepted[k]),
                worse=round(found.worse[k]),
                better=round(found.better[k]),
                with_shadow=round(found.with_shadow[k]),
                transferred=round(found.transferred[k]),
                unknown=round(found.unknown[k]),
                prior_weight=float(posterior.prior_weight[k]),
                discordance=float(effects.discordance[k]) if effects.seen[k] else rules.assumed_discordance,
                wrong_change=Interval(mean=float(wrong_mean[k]), low=low, high=high),
                saving_usd_month=_interval(-volume[k] * cost_mean[k], -volume[k] * cost_ends[::-1, k]),
                impact_usd_month=Interval(mean=impact * float(wrong_mean[k]), low=impact * low, high=impact * high),
                net_usd_month=_interval(net_mean[k], net_ends[:, k] + (0.0, impact * slack[k])),
                p_net_positive=float(p_net[k]),
                p_harm=float(p_harm[k]),
                p_inverted=float(p_inverted[k]),
                p95_ms=None if np.isnan(found.p95_ms[k]) else float(found.p95_ms[k]),
                samples=Samples(
                    wrong=wrong[:, k],
                    cost_usd=cost[:, k],
                    wrong_call_sd=float(wrong_sd[k]),
                    cost_call_sd=float(cost_call_sd[k]),
                    slack=float(slack[k]),
                ),
            )
        )
    return tuple(judged)


def _interval(mean: float, ends: Floats) -> Interval:
    return Interval(mean=float(mean), low=float(ends[0]), high=float(ends[1]))
