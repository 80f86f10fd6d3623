"""Worlds of many payload types whose truth is known: generators of the validation protocol (optimizer.md 9)."""

from dataclasses import dataclass

import numpy as np

from optimizer.answers import ACCEPTED, ESCALATED, Table
from optimizer.replay import Answers, Floats, Ints


def sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))


@dataclass(frozen=True)
class Seen:
    """What a log shows of a world.

    Attributes:
        table: Calls with answers of two tiers.
        cells: All calls, shape ``(n_types, n_groups, 2)``.
        truth: True extra wrong rate of the cheap tier alone in place of the dear one, shape ``(n_types,)``.
        calls: Calls per type.
    """

    table: Table
    cells: Floats
    truth: Floats
    calls: Ints


def two_tier_table(
    kind: Ints,
    confidence: Floats,
    wrong: Floats,
    escalated: np.ndarray,
    shadow_rate: Floats | float,
    label_propensity: Floats | None = None,
) -> Table:
    """Return the table of calls that began on the cheap tier; all have both answers.

    Args:
        kind: Payload type of each call.
        confidence: Of its cheap answer.
        wrong: Of both answers, shape ``(n_calls, 2)``; nan = not labelled.
        escalated: Whether it went up; if not, the dear answer is a shadow's.
        shadow_rate: Chance with which that shadow was drawn.
        label_propensity: Chance of the labels; None = all were to be labelled.
    """
    n = kind.size
    shadow = np.zeros((n, 2), dtype=np.bool_)
    shadow[:, 1] = ~escalated
    chance = np.ones((n, 2))
    chance[:, 1] = np.where(escalated, 1.0, shadow_rate)
    return Table(
        answers=Answers(
            answered=np.ones((n, 2), dtype=np.bool_),
            valid=np.ones((n, 2), dtype=np.bool_),
            confidence=np.column_stack((confidence, np.full(n, 0.95))),
            cost_usd=np.tile((0.001, 0.03), (n, 1)),
            latency_ms=np.tile((400.0, 1200.0), (n, 1)),
        ),
        type=kind,
        group=np.zeros(n, dtype=np.int64),
        stratum=np.where(escalated, ESCALATED, ACCEPTED).astype(np.int64),
        is_shadow=shadow,
        propensity=chance,
        wrong_low=wrong,
        wrong_high=wrong,
        transferred=np.zeros((n, 2), dtype=np.bool_),
        label_propensity=np.ones((n, 2)) if label_propensity is None else label_propensity,
        chance_known=np.ones(n, dtype=np.bool_),
        differs=np.full(n, np.nan),
        weight=np.ones(n),
    )


def difficulty_world(seed: int, shadow_rate: float, n_types: int = 300, weeks: int = 4, theta: float = 0.75) -> Seen:
    """Return G1: hard calls escalate, accepted ones have a shadow with a small chance, every answer is labelled."""
    rng = np.random.default_rng(seed)
    calls = (np.clip(rng.lognormal(5.5, 1.3, n_types), 20, 20_000) * weeks).astype(np.int64)
    middle = rng.normal(0.5, 0.9, n_types)
    kind = np.repeat(np.arange(n_types), calls)
    d = rng.normal(middle[kind], 1.0)
    wrong = np.column_stack((rng.random(d.size) > sigmoid(2.2 - 1.3 * d), rng.random(d.size) > sigmoid(3.4 - d)))
    confidence = sigmoid(2.2 - 1.3 * d + rng.standard_normal(d.size))
    escalated = confidence < theta
    seen = escalated | (rng.random(d.size) < shadow_rate)
    cells = np.zeros((n_types, 3, 2))
    cells[:, 0, ESCALATED] = np.bincount(kind, weights=escalated, minlength=n_types)
    cells[:, 0, ACCEPTED] = calls - cells[:, 0, ESCALATED]
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    x = middle[:, None] + nodes
    truth = ((sigmoid(3.4 - x) - sigmoid(2.2 - 1.3 * x)) * weights).sum(axis=1) / weights.sum()
    table = two_tier_table(kind[seen], confidence[seen], wrong[seen].astype(np.float64), escalated[seen], shadow_rate)
    return Seen(table=table, cells=cells, truth=truth, calls=calls)


@dataclass(frozen=True)
class Weekly:
    """G2: payload types on the dear tier, shadowed by the cheap one week after week; arrays over types.

    Attributes:
        change: True change of the wrong rate from dear to cheap, by week: shape ``(n_weeks, n_types)``.
        discordance: Share of calls on which one is right and the other wrong.
        both_wrong: Share on which both are wrong.
        saving_usd: Saving per call.
        price_usd: Price of a wrong answer.
        calls: Calls per week.
        pairs: Shadows per week.
        begins: Week in which the type begins.
        is_safe: Whether it was drawn as one that loses nothing.
    """

    change: Floats
    discordance: Floats
    both_wrong: Floats
    saving_usd: Floats
    price_usd: Floats
    calls: Floats
    pairs: Ints
    begins: Ints
    is_safe: np.ndarray

    def net_usd(self, week: int) -> Floats:
        """True net of moving down, USD per call, if the world stays as it is in that week."""
        return self.saving_usd - self.price_usd * self.change[week]


def weekly_world(
    seed: int,
    n_types: int = 300,
    weeks: int = 12,
    *,
    shadow_rate: float = 0.05,
    all_harmful: bool = False,
    drift_at: int | None = None,
    newcomers: bool = False,
    dominating: bool = False,
) -> Weekly:
    """Return a world in which half of the types could move down without loss, and the others not."""
    rng = np.random.default_rng(seed)
    safe = np.zeros(n_types, dtype=np.bool_) if all_harmful else rng.random(n_types) < 0.5
    change = np.where(safe, rng.normal(0, 0.004, n_types), rng.gamma(2, 0.03, n_types) + 0.02)
    discordance = np.minimum(np.maximum(np.abs(change) + 0.005, rng.beta(2, 20, n_types)), 0.9)
    calls = np.clip(rng.lognormal(5.5, 1.3, n_types), 20, 20_000)
    if dominating:
        calls[0] = 0.8 * calls.sum() / 0.2
    by_week = np.tile(change, (weeks, 1))
    if drift_at is not None:
        by_week[drift_at:] += 0.05
        discordance = np.minimum(discordance + 0.05, 0.95)
    return Weekly(
        change=by_week,
        discordance=np.maximum(discordance, np.abs(by_week).max(axis=0) + 0.001),
        both_wrong=np.full(n_types, 0.02),
        saving_usd=rng.lognormal(-5, 0.7, n_types),
        price_usd=rng.lognormal(-1.2, 1, n_types),
        calls=calls,
        pairs=np.minimum(np.maximum(shadow_rate * calls, 5), 200).astype(np.int64),
        begins=rng.integers(0, weeks, n_types) if newcomers else np.zeros(n_types, dtype=np.int64),
        is_safe=safe,
    )
