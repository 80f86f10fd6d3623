"""How many more wrong answers degraded calls give, as far as labels tell, and what those cost."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from router_core.control.records import Interval
from router_core.types import NANO

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SAME: Final = -1
"""Sample of kinds whose calls keep their answer: they were served where the limit would have moved them."""
NONE: Final = -2
"""Sample of kinds that no labels speak for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """What labels say about kinds of calls.

    Attributes:
        sample: Which sample speaks for each kind, ``SAME`` or ``NONE``, shape ``(n_kinds,)``.
        error_cost_nusd: Price of a wrong answer of each kind, nano-dollars, NaN where it has none, ``(n_kinds,)``.
        cheap: Labelled answers of the cheapest tier in each sample, shape ``(n_samples,)``.
        cheap_wrong: How many of them are wrong: sum of 1 - correct.
        now: Labelled answers that were served, in each sample.
        now_wrong: How many of them are wrong.
    """

    sample: Ints
    error_cost_nusd: Floats
    cheap: Floats
    cheap_wrong: Floats
    now: Floats
    now_wrong: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changes:
    """What is known of the change of the wrong rate in each sample: cheapest tier minus what was served.

    Attributes:
        mean: The change, shape ``(n_samples,)``.
        draws: Posterior draws of it around that mean, ``(n_draws, n_samples)``; one holds for all calls of a sample.
        call_variance: Variance that one call brings by chance, ``(n_samples,)``.
        noise: Standard normal draws for that chance, ``(n_draws,)``.
    """

    mean: Floats
    draws: Floats
    call_variance: Floats
    noise: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What degrading calls does to answers.

    Attributes:
        extra_wrong: Expected further wrong answers among ``judged`` calls, with its 90 % predictive interval.
        judged: Calls that labels speak for.
        same: Calls that keep the answer they had.
        unknown: Calls that no labels speak for; they are in no other number here.
        impact_usd: What the further wrong answers cost, where they have a price.
        unpriced: Judged calls whose wrong answers have no price.
        impact_draws: Draws behind ``impact_usd``, shape ``(n_draws,)``.
    """

    extra_wrong: Interval
    judged: int
    same: int
    unknown: int
    impact_usd: Interval
    unpriced: int
    impact_draws: Floats = field(compare=False, repr=False)


def draw_changes(labels: Labels, n_draws: int, rng: np.random.Generator) -> Changes:
    """Return what labels say of each sample's change of the wrong rate.

    Each rate is drawn from its posterior Beta(w + 1/2, n - w + 1/2), so that no rate is certain; the two rates of a
    sample, and those of different samples, are independent. By chance one call differs with the variance of two
    independent answers, which is the most it can be unless the two tiers fail on different calls.
    """
    size = (n_draws, len(labels.cheap))
    cheap, cheap_variance = _posterior(labels.cheap_wrong, labels.cheap, size, rng)
    now, now_variance = _posterior(labels.now_wrong, labels.now, size, rng)
    mean = labels.cheap_wrong / labels.cheap - labels.now_wrong / labels.now
    draws = cheap - now
    return Changes(
        mean=mean,
        draws=draws - draws.mean(axis=0) + mean if len(mean) else draws,
        call_variance=cheap_variance + now_variance,
        noise=rng.standard_normal(n_draws),
    )


def harm(moved: Ints, labels: Labels, changes: Changes) -> Harm:
    """Return what moving so many calls of each kind, shape ``(n_kinds,)``, does to answers.

    extra = Σ m_s change_s over samples s with m_s moved calls; the interval is that of the draws.
    """
    judged = labels.sample >= 0
    sample, calls = labels.sample[judged], moved[judged].astype(np.float64)
    price = labels.error_cost_nusd[judged] / NANO
    by_sample, usd_by_sample, usd_squared = (np.zeros_like(labels.cheap) for _ in range(3))
    np.add.at(by_sample, sample, calls)
    np.add.at(usd_by_sample, sample, calls * np.nan_to_num(price))
    np.add.at(usd_squared, sample, calls * np.nan_to_num(price) ** 2)
    extra = changes.draws @ by_sample + changes.noise * np.sqrt(by_sample @ changes.call_variance)
    impact = changes.draws @ usd_by_sample + changes.noise * np.sqrt(usd_squared @ changes.call_variance)
    return Harm(
        extra_wrong=interval_of(extra, float(by_sample @ changes.mean)),
        judged=int(moved[judged].sum()),
        same=int(moved[labels.sample == SAME].sum()),
        unknown=int(moved[labels.sample == NONE].sum()),
        impact_usd=interval_of(impact, float(usd_by_sample @ changes.mean)),
        unpriced=int(moved[judged][np.isnan(price)].sum()),
        impact_draws=impact,
    )


def interval_of(draws: Floats, mean: float) -> Interval:
    """Return the 90 % interval of draws, and a mean that is known better than by them."""
    low, high = (float(end) for end in np.quantile(draws, (0.05, 0.95)))
    return Interval(mean=mean, low=min(low, mean), high=max(high, mean))


def _posterior(
    wrong: Floats, labelled: Floats, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return draws of a rate, and the variance of one answer's wrongness."""
    right = np.maximum(labelled - wrong, 0.0)
    mean = (wrong + 0.5) / (labelled + 1)
    return rng.beta(wrong + 0.5, right + 0.5, size), mean * (1 - mean)
