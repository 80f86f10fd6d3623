"""What an answer's confidence says of it and of the tiers above → when to stop, to go one step up, or to go to the top.

The marginal-value rule (optimizer.md 4): go up where what the next answer is worth exceeds what it costs,

    (P(next right | c) - P(this right | c)) x price of a wrong answer  >  cost of the next answer.

It is not ``1 - confidence``: hard tasks often fail on both tiers. Compiled into what a path's step can say: below
``straight_below`` the steps in between are left out, from ``accept_at`` on the answer is served.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.calibrate import Curves, Labels, fit, logits
from optimizer.replay import Floats, Ints

_POINTS: Final = 48
# calls of all types that stand beside a type's own when it is told which confidences are to be expected
_BORROWED: Final = 20.0
NEVER: Final = 0.0
ALWAYS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Calls with the answers of several tiers; columns are tiers, cheapest first.

    Attributes:
        kind: Index of the payload type, shape ``(n_calls,)``.
        confidence: Raw, shape ``(n_calls, n_tiers)``; nan = not scored or not asked.
        correct: Share right, same shape; nan = not labelled.
        weight: What each labelled answer stands for, same shape.
    """

    kind: Ints
    confidence: Floats
    correct: Floats
    weight: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """What was learned of some tiers in order; the last one's confidence does not matter.

    Attributes:
        points: Raw confidences at which the models are read, rising, shape ``(n_tiers, n_points)``.
        mass: Share of a type's calls near each point, shape ``(n_tiers, n_kinds, n_points)``.
        right: ``right[a, b, k, g]``: chance that tier b is right where tier a has confidence ``points[a, g]``; nan
            where b stands below a or it was never seen.
        cost_usd: Cost of an answer of each tier, shape ``(n_kinds, n_tiers)``.
    """

    points: Floats
    mass: Floats
    right: Floats
    cost_usd: Floats

    @property
    def n_tiers(self) -> int:
        """Number of tiers."""
        return self.cost_usd.shape[1]

    def only(self, tiers: tuple[int, ...]) -> "Ladder":
        """Return the ladder of some tiers, in their order."""
        keep = list(tiers)
        return Ladder(
            points=self.points[keep],
            mass=self.mass[keep],
            right=self.right[np.ix_(keep, keep)],
            cost_usd=self.cost_usd[:, keep],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What to do when calls start at one tier; shapes ``(n_kinds, n_tiers)``, nan below the start.

    Attributes:
        accept_at: Raw confidence from which a tier's answer is served; ``ALWAYS`` = never, ``NEVER`` = always.
        straight_below: Raw confidence below which the last tier is asked at once; 0 = never.
        cost_usd: Expected cost of a call, shape ``(n_kinds,)``.
        wrong: Expected share of wrong answers, same shape.
    """

    accept_at: Floats
    straight_below: Floats
    cost_usd: Floats
    wrong: Floats


def learn(sight: Sight, cost_usd: Floats, context: Floats | None = None) -> Ladder:
    """Return what calls with answers of several tiers say of when to go up.

    Args:
        sight: The calls.
        cost_usd: Cost of an answer, USD, shape ``(n_kinds, n_tiers)``.
        context: What may explain how types differ, shape ``(n_kinds, n_covariates)``; the mean confidence is added.
    """
    n_kinds, n_tiers = cost_usd.shape
    points = np.full((n_tiers, _POINTS), np.nan)
    mass = np.full((n_tiers, n_kinds, _POINTS), np.nan)
    right = np.full((n_tiers, n_tiers, n_kinds, _POINTS), np.nan)
    for a in range(n_tiers):
        scored = ~np.isnan(sight.confidence[:, a])
        if not scored.any():
            continue
        points[a], mass[a] = _spread(sight.confidence[scored, a], sight.kind[scored], n_kinds)
        known = _context(sight.confidence[scored, a], sight.kind[scored], n_kinds, context)
        for b in range(a, n_tiers):
            rows = scored & ~np.isnan(sight.correct[:, b])
            if rows.any():
                labels = Labels(
                    confidence=sight.confidence[rows, a],
                    correct=sight.correct[rows, b],
                    kind=sight.kind[rows],
                    weight=sight.weight[rows, b],
                )
                curves = fit(labels, n_kinds, context=known, rising=a == b)
                right[a, b] = _read(curves, points[a])
    return Ladder(points=points, mass=mass, right=right, cost_usd=cost_usd)


def start_at(ladder: Ladder, first: int, price_usd: Floats, last: int | None = None) -> Start:
    """Return the thresholds of calls that start at a tier, and what they are expected to cost and get wrong.

    Args:
        ladder: What was learned.
        first: Index of the tier that calls start at.
        price_usd: Price of a wrong answer, shape ``(n_kinds,)``.
        last: Index of the last tier that may be asked; None = the dearest.
    """
    last = ladder.n_tiers - 1 if last is None else last
    shape = ladder.cost_usd.shape
    accept, straight = np.full(shape, np.nan), np.full(shape, np.nan)
    accept[:, last], straight[:, last] = NEVER, NEVER
    # of calls that reach a tier: expected wrong and cost if they stay on it or go on from there
    for tier in range(last - 1, first - 1, -1):
        accept[:, tier], straight[:, tier] = _compiled(ladder, tier, last, price_usd)
    cost, wrong = _expected(ladder, first, last, accept, straight)
    return Start(accept_at=accept, straight_below=straight, cost_usd=cost, wrong=wrong)


def _compiled(ladder: Ladder, tier: int, last: int, price_usd: Floats) -> tuple[Floats, Floats]:
    """Return where a tier's answer is served and where the steps in between are left out, per payload type.

    Of all cuts ``straight <= accept`` the one of the largest expected value: running sums over rising confidence.
    """
    price = price_usd[:, None]
    stop = ladder.right[tier, tier] * price
    top = ladder.right[tier, last] * price - ladder.cost_usd[:, last, None]
    following = tier + 1
    up = ladder.right[tier, following] * price - ladder.cost_usd[:, following, None] if following < last else top
    mass = ladder.mass[tier]
    known = ~np.isnan(stop + up + top)
    stop, up, top = (np.where(known, each * mass, 0.0) for each in (stop, up, top))
    head = np.cumsum(_led(top - up), axis=1)
    best_head = np.maximum.accumulate(head, axis=1)
    value = best_head + np.cumsum(_led(up - stop), axis=1)
    cut = value.argmax(axis=1)
    rows = np.arange(cut.size)
    low = np.where(np.arange(head.shape[1]) <= cut[:, None], head, -np.inf).argmax(axis=1)
    edges = _edges(ladder.points[tier])
    return edges[cut], np.where(head[rows, low] > 0, edges[low], NEVER)


def _led(values: Floats) -> Floats:
    return np.concatenate((np.zeros((values.shape[0], 1)), values), axis=1)


def _edges(points: Floats) -> Floats:
    """Return the confidences between points: below all of them, halfway between two, above all."""
    z = logits(points)
    middle = 1 / (1 + np.exp(-(z[1:] + z[:-1]) / 2))
    return np.concatenate(([NEVER], middle, [ALWAYS]))


def _expected(ladder: Ladder, first: int, last: int, accept: Floats, straight: Floats) -> tuple[Floats, Floats]:
    """Return expected cost and share wrong per type; what is known of a later tier is what the first one's tells."""
    if first == last:
        seen = [ladder.right[a, last] for a in range(last + 1) if not np.isnan(ladder.right[a, last]).all()]
        mass = [ladder.mass[a] for a in range(last + 1) if not np.isnan(ladder.right[a, last]).all()]
        right = (seen[0] * mass[0]).sum(axis=1) if seen else np.full(accept.shape[0], np.nan)
        return ladder.cost_usd[:, last].copy(), 1.0 - right
    points, mass = ladder.points[first][None, :], ladder.mass[first]
    goes_top = points < straight[:, first, None]
    goes_up = ~goes_top & (points < accept[:, first, None])
    following = first + 1
    cost_up, gain_up = ladder.cost_usd[:, following], np.zeros_like(ladder.cost_usd[:, following])
    if following < last:
        on_cost, on_wrong = _expected(ladder, following, last, accept, straight)
        alone = 1.0 - (ladder.right[following, following] * ladder.mass[following]).sum(axis=1)
        cost_up, gain_up = on_cost, alone - on_wrong
    right = np.where(
        goes_top,
        ladder.right[first, last],
        np.where(goes_up, ladder.right[first, following] + gain_up[:, None], ladder.right[first, first]),
    )
    extra = np.where(goes_top, ladder.cost_usd[:, last, None], np.where(goes_up, cost_up[:, None], 0.0))
    cost = ladder.cost_usd[:, first] + (extra * mass).sum(axis=1)
    return cost, np.clip(1.0 - (right * mass).sum(axis=1), 0.0, 1.0)


def _spread(confidence: Floats, kind: Ints, n_kinds: int) -> tuple[Floats, Floats]:
    """Return the points, and how a type's calls lie around them: its own, and a few as all types have them."""
    points = np.unique(np.quantile(confidence, (np.arange(_POINTS) + 0.5) / _POINTS))
    points = np.concatenate((points, np.full(_POINTS - points.size, points[-1])))
    near = np.searchsorted((points[1:] + points[:-1]) / 2, confidence)
    own = np.zeros((n_kinds, _POINTS))
    np.add.at(own, (kind, near), 1.0)
    own += _BORROWED * own.sum(axis=0) / own.sum()
    return points, own / own.sum(axis=1, keepdims=True)


def _context(confidence: Floats, kind: Ints, n_kinds: int, context: Floats | None) -> Floats:
    """Return the mean logit of a type's confidences, beside what else is known of it."""
    z = logits(confidence)
    n = np.bincount(kind, minlength=n_kinds)
    middle = (np.bincount(kind, weights=z, minlength=n_kinds) + z.mean()) / (n + 1)
    return middle[:, None] if context is None else np.column_stack((middle, context))


def _read(curves: Curves, points: Floats) -> Floats:
    """Return the curves' values at the points, shape ``(n_kinds, n_points)``."""
    n_kinds = curves.slope.size
    kinds = np.repeat(np.arange(n_kinds), points.size)
    return curves.apply(np.tile(points, n_kinds), kinds).reshape(n_kinds, points.size)
