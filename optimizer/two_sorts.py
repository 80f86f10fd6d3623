"""Units of two sorts: those that hardly differ from each other, and the rest.

Moving to another tier often changes nothing at all for some payload types and a lot for others. One normal prior then
takes half of the types for better or worse than they are. ``delta_k ~ (1 - q) N(m_0, t_0^2) + q N(m_1, t_1^2)``, seen
as ``d_k ~ N(delta_k, v_k)``, fitted by expectation and maximisation (Dempster, Laird & Rubin 1977).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit

from optimizer.replay import Floats

FEWEST: Final = 30
"""Units from which two sorts can be told."""
_STEPS: Final = 300
_CLOSE: Final = 1e-6
_STARTS: Final = ((0.25, 0.75), (0.1, 0.5), (0.5, 0.9))
# as if two units of each sort had been seen, and each spread once at a tenth of the whole
_PSEUDO: Final = 2.0
_EXTRA_PARAMETERS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSorts:
    """The posterior under two sorts; arrays of shape ``(2, n_units)`` unless said otherwise.

    Attributes:
        share: Probability that a unit is of each sort.
        mean: Posterior mean of a unit if it is.
        variance: Posterior variance.
        pull: How much of that mean is the sort's own mean.
        centre_sd: Standard deviation of each sort's mean, shape ``(2,)``.
        log_likelihood: Of all units.
    """

    share: Floats
    mean: Floats
    variance: Floats
    pull: Floats
    centre_sd: Floats
    log_likelihood: float

    def draws(self, rng: np.random.Generator, n_draws: int) -> Floats:
        """Return joint draws, shape ``(n_draws, n_units)``: what a sort's mean is off by moves its units together."""
        second = rng.random((n_draws, self.share.shape[1])) < self.share[1]
        shift = self.centre_sd * rng.standard_normal((n_draws, 2))
        mean = np.where(second, self.mean[1] + self.pull[1] * shift[:, 1:], self.mean[0] + self.pull[0] * shift[:, :1])
        sd = np.where(second, np.sqrt(self.variance[1]), np.sqrt(self.variance[0]))
        return mean + sd * rng.standard_normal(mean.shape)


def sort_out(d: Floats, v: Floats) -> TwoSorts:
    """Return the likeliest fit of several starts.

    Args:
        d: What is seen of each unit, shape ``(n_units,)``.
        v: Its sampling variance.
    """
    return max((_fitted(d, v, ends) for ends in _STARTS), key=lambda each: each.log_likelihood)


def preference(found: TwoSorts, one_sort: float) -> float:
    """Return the probability of two sorts against one, 0..1, by Schwarz's criterion.

    Args:
        found: The fit.
        one_sort: Largest log-likelihood of a single normal prior.
    """
    penalty = 0.5 * _EXTRA_PARAMETERS * np.log(found.mean.shape[1])
    return float(expit(found.log_likelihood - one_sort - penalty))


def _fitted(d: Floats, v: Floats, ends: tuple[float, float]) -> TwoSorts:
    whole = max(float(d.var()), 1e-18)
    centre = np.quantile(d, ends)
    spread = np.full(2, whole / 4)
    portion = np.full(2, 0.5)
    previous = -np.inf
    for _ in range(_STEPS):
        total = v + spread[:, None]
        log = np.log(portion)[:, None] - 0.5 * np.log(2 * np.pi * total) - (d - centre[:, None]) ** 2 / (2 * total)
        each = np.logaddexp(log[0], log[1])
        share = np.exp(log - each)
        likelihood = float(each.sum())
        if likelihood - previous < _CLOSE * d.size:
            break
        previous = likelihood
        kept = spread[:, None] / total
        mean = kept * d + (1 - kept) * centre[:, None]
        variance = v * kept
        centre = (share / total * d).sum(axis=1) / np.maximum((share / total).sum(axis=1), 1e-300)
        of_sort = share.sum(axis=1)
        squares = (share * (variance + (mean - centre[:, None]) ** 2)).sum(axis=1)
        spread = (squares + 1e-2 * whole) / (of_sort + 1.0)
        portion = (of_sort + _PSEUDO) / (d.size + 2 * _PSEUDO)
    total = v + spread[:, None]
    log = np.log(portion)[:, None] - 0.5 * np.log(2 * np.pi * total) - (d - centre[:, None]) ** 2 / (2 * total)
    each = np.logaddexp(log[0], log[1])
    share = np.exp(log - each)
    kept = spread[:, None] / total
    return TwoSorts(
        share=share,
        mean=kept * d + (1 - kept) * centre[:, None],
        variance=v * kept,
        pull=1 - kept,
        centre_sd=1.0 / np.sqrt(np.maximum((share / total).sum(axis=1), 1e-300)),
        log_likelihood=float(each.sum()),
    )
