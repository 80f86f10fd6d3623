"""How many more wrong answers degraded calls give, as far as labels tell, and what those cost."""

from dataclasses import dataclass
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
_Z_90: Final = 1.6448536269514722


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What degrading calls does to answers.

    Attributes:
        extra_wrong: Expected further wrong answers among ``judged`` calls, with the 90 % interval of the estimate.
        judged: Calls that labels speak for.
        same: Calls that keep the answer they had.
        unknown: Calls that no labels speak for; they are in no other number here.
        impact_usd: What the further wrong answers cost, where they have a price.
        unpriced: Judged calls whose wrong answers have no price.
    """

    extra_wrong: Interval
    judged: int
    same: int
    unknown: int
    impact_usd: Interval
    unpriced: int


def harm(moved: Ints, labels: Labels) -> Harm:
    """Return what moving so many calls of each kind, shape ``(n_kinds,)``, does to answers.

    extra = Σ m_s (w_cheap/n_cheap - w_now/n_now) over samples s with m_s moved calls. Each rate's variance is that of
    its posterior Beta(w + 1/2, n - w + 1/2), so that no rate is certain; rates count as independent, and one error of a
    sample's rates holds for all its calls. The interval is normal: ±1.645 standard deviations.
    """
    judged = labels.sample >= 0
    sample, calls = labels.sample[judged], moved[judged].astype(np.float64)
    price = labels.error_cost_nusd[judged] / NANO
    change, variance = _change(labels)
    by_sample, usd_by_sample = np.zeros_like(labels.cheap), np.zeros_like(labels.cheap)
    np.add.at(by_sample, sample, calls)
    np.add.at(usd_by_sample, sample, calls * np.nan_to_num(price))
    return Harm(
        extra_wrong=_interval(by_sample, change, variance),
        judged=int(moved[judged].sum()),
        same=int(moved[labels.sample == SAME].sum()),
        unknown=int(moved[labels.sample == NONE].sum()),
        impact_usd=_interval(usd_by_sample, change, variance),
        unpriced=int(moved[judged][np.isnan(price)].sum()),
    )


def _change(labels: Labels) -> tuple[Floats, Floats]:
    cheap, now = labels.cheap_wrong / labels.cheap, labels.now_wrong / labels.now
    variance = _beta_variance(labels.cheap_wrong, labels.cheap) + _beta_variance(labels.now_wrong, labels.now)
    return cheap - now, variance


def _beta_variance(wrong: Floats, labelled: Floats) -> Floats:
    mean = (wrong + 0.5) / (labelled + 1)
    return mean * (1 - mean) / (labelled + 2)


def _interval(weight: Floats, change: Floats, variance: Floats) -> Interval:
    mean, half = float(weight @ change), _Z_90 * float(np.sqrt(weight**2 @ variance))
    return Interval(mean=mean, low=mean - half, high=mean + half)
