"""Confidences and labels → how often answers of a confidence are right, per payload type.

One model of one source: ``logit P(right) = a + b u + (a_k + b_k u)``, ``u`` the standardised logit of the confidence.
The globals are as good as free; what payload type k adds is shrunk towards 0 by a ridge, ``a_k ~ N(0, s_a^2)`` and
``b_k ~ N(0, s_b^2)``, whose two sizes are integrated over a grid (Laplace's approximation of the likelihood). A global
monotone curve cannot change which answers of a tier are surer than others; what the type adds does (optimizer.md 4).

The fit is Newton's on the whole problem: one 2 x 2 block per type and the two globals, so that thousands of types take
as long as their labels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit, logit
from scipy.stats import rankdata

from optimizer.replay import Flags, Floats, Ints
from router_core.decide.calibration import EDGE

_STEPS: Final = 40
_CLOSE: Final = 1e-8
# sizes of what a type adds, in units of the logit at one standard deviation of u
_SIZES: Final = (0.05, 0.2, 0.4, 0.6, 0.8, 1.1, 1.5, 2.2)
_SLOPE_SIZES: Final = (0.05, 0.25, 0.45)
_GLOBAL_SD: Final = 5.0
_FLATTEST: Final = 0.02
_FEWEST_IN_FAMILY: Final = 5
_MOST_FAMILIES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Labelled answers; shapes ``(n,)``.

    Attributes:
        confidence: Raw, 0..1.
        correct: Share right, 0..1.
        kind: Index of the payload type.
        weight: 1 / chance of being labelled, and of being there at all.
    """

    confidence: Floats
    correct: Floats
    kind: Ints
    weight: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """``p = logistic(slope_k logit(confidence) + intercept_k)``; shapes ``(n_kinds,)``.

    Attributes:
        slope: On the logit of the raw confidence.
        intercept: The same.
        labels: Labels of each payload type.
        sizes: Mean sizes of what a type adds: to the intercept and to the slope, standardised.
    """

    slope: Floats
    intercept: Floats
    labels: Floats
    sizes: tuple[float, float]

    def apply(self, confidence: Floats, kind: Ints) -> Floats:
        """Return how often answers of these confidences are right."""
        return expit(self.slope[kind] * logits(confidence) + self.intercept[kind])


def logits(confidence: Floats) -> Floats:
    """Return the logit of confidences, cut where the router cuts them."""
    return logit(np.clip(confidence, EDGE, 1 - EDGE))


def fit(
    labels: Labels,
    n_kinds: int,
    *,
    context: Floats | None = None,
    rising: bool = True,
    sizes: tuple[float, float] | None = None,
) -> Curves:
    """Return the curves of all payload types; one without labels has the global curve.

    Args:
        labels: Labelled answers of one model and source, not empty.
        n_kinds: Number of payload types.
        context: What may explain how types differ, known without labels, shape ``(n_kinds, n_covariates)``.
        sizes: Of what a type adds, to intercept and slope, where they are known already; None = they are integrated.
        rising: Whether surer answers must not be less often right, as a calibration must have it.
    """
    z = logits(labels.confidence)
    # weights tell how much an answer stands for, not how many were seen
    weight = labels.weight * labels.weight.sum() / (labels.weight**2).sum()
    middle = float(np.average(z, weights=weight))
    scale = float(np.sqrt(np.average((z - middle) ** 2, weights=weight)))
    scale = scale if scale > _CLOSE else 1.0
    columns = _standardised(context, n_kinds)
    problem = _Problem(
        u=(z - middle) / scale, y=labels.correct, kind=labels.kind, w=weight, n_kinds=n_kinds, context=columns
    )
    if sizes is None:
        best, sizes = _integrated(problem)
    else:
        best = _newton(problem, *sizes, None)
    a = best.common[0] + best.own[:, 0] + columns @ best.common[2:]
    b = best.common[1] + best.own[:, 1]
    if rising:
        b = np.maximum(b, _FLATTEST)
    return Curves(
        slope=b / scale,
        intercept=a - b * middle / scale,
        labels=np.bincount(labels.kind, minlength=n_kinds).astype(np.float64),
        sizes=sizes,
    )


def _standardised(context: Floats | None, n_kinds: int) -> Floats:
    if context is None or n_kinds < 2:  # noqa: PLR2004 - one type explains nothing
        return np.zeros((n_kinds, 0))
    sd = context.std(axis=0)
    return (context - context.mean(axis=0))[:, sd > _CLOSE] / sd[sd > _CLOSE]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    u: Floats
    y: Floats
    kind: Ints
    w: Floats
    n_kinds: int
    context: Floats

    def eta(self, common: Floats, own: Floats) -> Floats:
        """Return the logit of what is expected of each label."""
        of_kind = common[0] + own[:, 0] + self.context @ common[2:]
        return of_kind[self.kind] + (common[1] + own[:, 1])[self.kind] * self.u

    def sums(self, values: Floats) -> Floats:
        return np.bincount(self.kind, weights=values, minlength=self.n_kinds).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """A fit: ``common`` (intercept, slope, context), ``own`` of shape ``(n_kinds, 2)``, log marginal likelihood."""

    common: Floats
    own: Floats
    evidence: float


def _integrated(problem: _Problem) -> tuple[_Fit, tuple[float, float]]:
    """Return the mean fit over both sizes, each pair weighted by its marginal likelihood, and the mean sizes."""
    fit_ = _newton(problem, 0.0, 0.0, None)
    if np.unique(problem.kind).size < 2:  # noqa: PLR2004 - one type tells nothing of what types differ by
        return fit_, (0.0, 0.0)
    sizes = [(size, slope) for size in _SIZES for slope in _SLOPE_SIZES]
    fits: list[_Fit] = []
    for size, slope in sizes:
        fit_ = _newton(problem, size, slope, fit_)
        fits.append(fit_)
    evidence = np.array([each.evidence for each in fits])
    weight = np.exp(evidence - evidence.max())
    weight /= weight.sum()
    common = np.einsum("f,fi->i", weight, np.array([each.common for each in fits]))
    own = np.einsum("f,fki->ki", weight, np.array([each.own for each in fits]))
    of_intercept, of_slope = weight @ np.array(sizes)
    return _Fit(common=common, own=own, evidence=float(evidence.max())), (float(of_intercept), float(of_slope))


def _newton(problem: _Problem, size: float, slope_size: float, start: _Fit | None) -> _Fit:
    """Return the most likely fit under a ridge, by Newton's method with halved steps.

    The Hessian is an arrow: a 2 x 2 block per type, the globals' block, and what couples them. Types are eliminated
    first (Schur complement).
    """
    penalty = np.array([1 / max(size, 1e-4) ** 2, 1 / max(slope_size, 1e-4) ** 2])
    n_common = 2 + problem.context.shape[1]
    common = np.zeros(n_common) if start is None else start.common
    # of each type: how its own two move with the globals
    share = np.zeros((problem.n_kinds, 2, n_common))
    share[:, 0, 0] = share[:, 1, 1] = 1.0
    share[:, 0, 2:] = problem.context
    own = np.zeros((problem.n_kinds, 2)) if start is None else start.own * (np.array([size, slope_size]) > 0)
    value = _objective(problem, common, own, penalty)
    blocks = np.empty((problem.n_kinds, 2, 2))
    for _ in range(_STEPS):
        gradient, blocks = _derivatives(problem, common, own)
        inner = blocks + np.diag(penalty)
        inverse = _inverted(inner)
        own_gradient = gradient - own * penalty
        # eliminate the types
        crossed = blocks @ share
        remaining = crossed - blocks @ inverse @ crossed
        outer = np.einsum("kij,kil->jl", share, remaining) + np.eye(n_common) / _GLOBAL_SD**2
        left_over = gradient - np.einsum("kij,kj->ki", blocks @ inverse, own_gradient)
        step = np.linalg.solve(outer, np.einsum("kij,ki->j", share, left_over) - common / _GLOBAL_SD**2)
        own_step = np.einsum("kij,kj->ki", inverse, own_gradient - crossed @ step)
        length = 1.0
        while length > 1e-4:  # noqa: PLR2004 - shorter steps change nothing
            moved = _objective(problem, common + length * step, own + length * own_step, penalty)
            if moved >= value - _CLOSE:
                break
            length /= 2
        else:
            break
        common, own = common + length * step, own + length * own_step
        gain, value = moved - value, moved
        if gain < _CLOSE * (1 + abs(value)):
            break
    # Laplace: what is integrated out is what the types add
    spread = np.linalg.slogdet(np.eye(2) + blocks / penalty[None, :, None])[1].sum()
    return _Fit(common=common, own=own, evidence=value - 0.5 * float(spread))


def _objective(problem: _Problem, common: Floats, own: Floats, penalty: Floats) -> float:
    eta = problem.eta(common, own)
    likelihood = float((problem.w * (problem.y * eta - np.logaddexp(0.0, eta))).sum())
    return likelihood - 0.5 * float((own**2 * penalty).sum()) - 0.5 * float((common**2).sum()) / _GLOBAL_SD**2


def _derivatives(problem: _Problem, common: Floats, own: Floats) -> tuple[Floats, Floats]:
    """Return per type the gradient of the likelihood, shape ``(n_kinds, 2)``, and its negative Hessian."""
    p = expit(problem.eta(common, own))
    residual, curvature = problem.w * (problem.y - p), problem.w * p * (1 - p)
    gradient = np.column_stack((problem.sums(residual), problem.sums(residual * problem.u)))
    blocks = np.empty((problem.n_kinds, 2, 2))
    blocks[:, 0, 0] = problem.sums(curvature)
    blocks[:, 0, 1] = blocks[:, 1, 0] = problem.sums(curvature * problem.u)
    blocks[:, 1, 1] = problem.sums(curvature * problem.u**2)
    return gradient, blocks


def _inverted(blocks: Floats) -> Floats:
    """Return the inverses of 2 x 2 matrices."""
    determinant = blocks[:, 0, 0] * blocks[:, 1, 1] - blocks[:, 0, 1] ** 2
    inverse = np.empty_like(blocks)
    inverse[:, 0, 0], inverse[:, 1, 1] = blocks[:, 1, 1], blocks[:, 0, 0]
    inverse[:, 0, 1] = inverse[:, 1, 0] = -blocks[:, 0, 1]
    return inverse / determinant[:, None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers of like confidence: their mean confidence, the share right, and their number."""

    confidence: float
    correct: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well confidences say what is right.

    Attributes:
        n: Labelled answers.
        ece: Expected calibration error over bins of equal mass.
        ece_low: 5 % end of its bootstrap interval.
        ece_high: 95 % end.
        brier: Mean squared distance to what was right.
        auroc: Chance that a right answer is surer than a wrong one; None = there is only one sort.
        aurc: Mean share wrong among the surest answers, over all shares of answers (risk and coverage).
        reliability: The bins.
    """

    n: int
    ece: float
    ece_low: float
    ece_high: float
    brier: float
    auroc: float | None
    aurc: float
    reliability: tuple[Bin, ...]

    def is_off(self, limit: float = 0.05) -> bool:
        """Return whether it certainly is further off than a limit: then the value counts as uncalibrated."""
        return self.ece_low > limit


def quality(p: Floats, correct: Floats, rng: np.random.Generator, *, n_bins: int = 10, n_boot: int = 200) -> Quality:
    """Return how well probabilities fit what was right.

    Args:
        p: Probabilities, shape ``(n,)``, not empty.
        correct: Share right of each, 0..1.
        rng: Draws the bootstrap.
        n_bins: Bins of equal mass.
        n_boot: Bootstrap samples.
    """
    order = np.argsort(-p, kind="stable")
    wrong = 1.0 - correct[order]
    risks = np.cumsum(wrong) / np.arange(1, p.size + 1)
    sides = correct >= 0.5  # noqa: PLR2004 - a graded answer counts as what it is nearer to
    drawn = [rng.integers(0, p.size, p.size) for _ in range(n_boot)]
    eces = [_ece(_bins(p[rows], correct[rows], n_bins), p.size) for rows in drawn]
    bins = _bins(p, correct, n_bins)
    ece = _ece(bins, p.size)
    # the bootstrap's samples are further off than the sample they come from by about as much as that is than the truth
    low, high = (float(end) for end in np.quantile(2 * ece - np.array(eces), (0.05, 0.95))) if eces else (ece, ece)
    return Quality(
        n=int(p.size),
        ece=ece,
        ece_low=max(low, 0.0),
        ece_high=max(high, ece),
        brier=float(((p - correct) ** 2).mean()),
        auroc=_auroc(p, sides),
        aurc=float(risks.mean()),
        reliability=bins,
    )


def _auroc(p: Floats, right: Flags) -> float | None:
    """Return the area under the ROC curve from ranks (Mann & Whitney 1947); None when there is only one sort."""
    n_right = int(right.sum())
    n_wrong = right.size - n_right
    if not n_right or not n_wrong:
        return None
    ranks = rankdata(p)
    return float((ranks[right].sum() - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def _bins(p: Floats, correct: Floats, n_bins: int) -> tuple[Bin, ...]:
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, min(n_bins, p.size)) if part.size]
    return tuple(
        Bin(confidence=float(p[part].mean()), correct=float(correct[part].mean()), n=part.size) for part in parts
    )


def _ece(bins: Sequence[Bin], n: int) -> float:
    return sum(each.n * abs(each.confidence - each.correct) for each in bins) / max(n, 1)


def families(names: Sequence[str]) -> Floats:
    """Return which family each payload type belongs to, one column per family, shape ``(n_types, n_families)``.

    A family is what stands before the last dot or slash of a name; the eight largest of five types or more count.
    """
    heads = [name[: max(name.rfind("."), name.rfind("/"), 0)] for name in names]
    sizes = Counter(head for head in heads if head)
    kept = [head for head, n in sorted(sizes.items(), key=lambda item: (-item[1], item[0])) if n >= _FEWEST_IN_FAMILY]
    kept = kept[:_MOST_FAMILIES]
    return np.array([[float(head == each) for each in kept] for head in heads]).reshape(len(names), len(kept))
