"""Estimates of many payload types → each shrunk towards what the others say.

Covariate empirical Bayes (optimizer.md 2.2): what is seen of unit k is ``d_k ~ N(delta_k, v_k)``, and
``delta_k ~ N(x_k' beta, tau^2)``. The spread ``tau`` is integrated over a grid with a flat prior, ``beta`` has a flat
prior and is found by generalised least squares at each ``tau`` (Fay & Herriot 1979; Rubin 1981). Plugging one ``tau``
in would make intervals too narrow wherever few units tell it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from optimizer.replay import Floats
from optimizer.two_sorts import FEWEST, TwoSorts, preference, sort_out

_GRID: Final = 30
_LEAST_SPREAD: Final = 0.02
_LEAST_VARIANCE: Final = 1e-12
_LEAST_SD: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Posterior of every unit: a mixture of normals over the grid of spreads, and of two sorts where those fit better.

    Attributes:
        weight: Posterior weight of each spread, shape ``(n_spreads,)``.
        means: Posterior mean at each spread, shape ``(n_spreads, n_units)``.
        variances: Posterior variance at each, uncertainty of ``beta`` included, same shape.
        prior_weight: Share of each unit's estimate that comes from the others, 0..1, shape ``(n_units,)``.
        spread: Posterior mean of ``tau``.
        two_sorts: Probability that the units are of two sorts, 0..1.
    """

    weight: Floats
    means: Floats
    variances: Floats
    prior_weight: Floats
    spread: float
    two_sorts: float
    _parts: tuple["_Part", ...]
    _sorts: TwoSorts | None
    _fitted: Floats

    @property
    def mean(self) -> Floats:
        """Posterior mean, shape ``(n_units,)``."""
        one = self.weight @ self.means
        if self._sorts is None:
            return one
        two = self._fitted + (self._sorts.share * self._sorts.mean).sum(axis=0)
        return (1 - self.two_sorts) * one + self.two_sorts * two

    @property
    def sd(self) -> Floats:
        """Posterior standard deviation, shape ``(n_units,)``."""
        second = self.weight @ (self.variances + self.means**2)
        if self._sorts is not None:
            means, variances = self._of_sorts(self._sorts)
            second = (1 - self.two_sorts) * second + self.two_sorts * (self._sorts.share * (variances + means**2)).sum(
                axis=0
            )
        return np.sqrt(np.maximum(second - self.mean**2, 0.0))

    def p_above(self, limit: Floats | float) -> Floats:
        """Return the probability that each unit's truth is above a limit, shape ``(n_units,)``."""
        z = (self.means - limit) / np.sqrt(np.maximum(self.variances, _LEAST_VARIANCE))
        one = self.weight @ ndtr(z)
        if self._sorts is None:
            return one
        means, variances = self._of_sorts(self._sorts)
        z = (means - limit) / np.sqrt(np.maximum(variances, _LEAST_VARIANCE))
        return (1 - self.two_sorts) * one + self.two_sorts * (self._sorts.share * ndtr(z)).sum(axis=0)

    def _of_sorts(self, sorts: TwoSorts) -> tuple[Floats, Floats]:
        return self._fitted + sorts.mean, sorts.variance + (sorts.pull * sorts.centre_sd[:, None]) ** 2

    def draws(self, rng: np.random.Generator, n_draws: int) -> Floats:
        """Return joint draws, shape ``(n_draws, n_units)``, in random order: what units share moves them together."""
        parts: list[Floats] = []
        of_two = 0 if self._sorts is None else int(rng.binomial(n_draws, self.two_sorts))
        if self._sorts is not None and of_two:
            parts.append(self._fitted + self._sorts.draws(rng, of_two))
        for part, count in zip(self._parts, rng.multinomial(n_draws - of_two, self.weight), strict=True):
            if not count:
                continue
            centre = rng.multivariate_normal(part.beta, part.covariance, size=count, method="cholesky") @ part.x.T
            mean = part.share * centre + (1 - part.share) * part.d
            sd = np.sqrt(part.v * (1 - part.share))
            parts.append(mean + sd * rng.standard_normal(mean.shape))
        # draws of different comparisons are added up one by one
        return rng.permutation(np.concatenate(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The fit at one spread; ``share`` is the prior's share in each unit."""

    beta: Floats
    covariance: Floats
    share: Floats
    d: Floats
    v: Floats
    x: Floats


def pool(d: Floats, v: Floats, covariates: Floats | None = None) -> Pooled:
    """Return the posterior of every unit.

    Args:
        d: What is seen of each, shape ``(n_units,)``, at least two of them.
        v: Its sampling variance.
        covariates: What may explain the differences, shape ``(n_units, n_covariates)``; those that do not vary are left
            out, and with fewer than four units for each all of them are.
    """
    v = np.maximum(v, _LEAST_VARIANCE)
    x = design(d.size, covariates)
    spread = max(3.0 * float(np.std(d)), _LEAST_SPREAD * _scale(d))
    # the middles of equal steps: 0 itself would let one value of the grid end all doubt
    grid = (np.arange(_GRID) + 0.5) * spread / _GRID
    log_weight = np.empty(_GRID)
    parts: list[_Part] = []
    means, variances = np.empty((_GRID, d.size)), np.empty((_GRID, d.size))
    for index, tau in enumerate(grid):
        w = 1.0 / (v + tau**2)
        information = (x * w[:, None]).T @ x
        covariance = np.linalg.inv(information)
        beta = covariance @ ((x * w[:, None]).T @ d)
        residual = d - x @ beta
        log_weight[index] = 0.5 * (
            np.log(w).sum() - np.linalg.slogdet(information).logabsdet - float((w * residual**2).sum())
        )
        share = v / (v + tau**2)
        means[index] = share * (x @ beta) + (1 - share) * d
        variances[index] = v * (1 - share) + share**2 * np.einsum("ij,jk,ik->i", x, covariance, x)
        parts.append(_Part(beta=beta, covariance=covariance, share=share, d=d, v=v, x=x))
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    # what covariates explain is taken off first: the sorts are of what is left
    explained = (x[:, 1:] @ np.array([part.beta[1:] for part in parts]).T) @ weight
    sorts = sort_out(d - explained, v) if d.size >= FEWEST else None
    return Pooled(
        two_sorts=0.0
        if sorts is None
        else preference(sorts, max(_likelihood(part, tau) for part, tau in zip(parts, grid, strict=True))),
        _sorts=sorts,
        _fitted=explained,
        weight=weight,
        means=means,
        variances=variances,
        prior_weight=weight @ np.array([part.share for part in parts]),
        spread=float(weight @ grid),
        _parts=tuple(parts),
    )


def _likelihood(part: _Part, tau: float) -> float:
    """Return the log-likelihood of one normal prior with the best ``beta`` for its spread."""
    total = part.v + tau**2
    return float(-0.5 * (np.log(2 * np.pi * total) + (part.d - part.x @ part.beta) ** 2 / total).sum())


def design(n_units: int, covariates: Floats | None) -> Floats:
    """Return the columns of the regression: a constant, and the covariates that vary, standardised."""
    ones = np.ones((n_units, 1))
    if covariates is None or covariates.size == 0:
        return ones
    sd = covariates.std(axis=0)
    varies = sd > _LEAST_SD
    kept = (covariates[:, varies] - covariates[:, varies].mean(axis=0)) / sd[varies]
    x = np.column_stack((ones, kept))
    too_few = n_units < 4 * x.shape[1] or np.linalg.matrix_rank(x) < x.shape[1]
    return ones if too_few else x


def _scale(d: Floats) -> float:
    """Return 1 for shares; what is in dollars has another smallest spread."""
    return 1.0 if d.size == 0 else max(min(float(np.abs(d).max()), 1.0), 1e-12)
