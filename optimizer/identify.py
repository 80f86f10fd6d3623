"""What labels say where they are not a fair sample: tests, bounds and corrections.

* Mistakes get labelled more often than right answers: a rate of 5 % looks like 13.6 % when 60 % of mistakes and 20 % of
  the rest are labelled. Labels drawn with a known chance are weighted by it and stay right. Of the others it can be
  seen whether they were chosen: calls on which two tiers say different things hold the mistakes, so labels that are a
  fair sample are as frequent there as elsewhere (Mantel & Haenszel 1959).
* Without a fair sample a rate is only bounded (Manski 1990), but how much more often one tier is wrong than the other,
  as a ratio of odds, is still known if the choice of labels does not look at the tier (case-control).
* A judge's verdicts are no outcomes: their mean is corrected by what the judge gets wrong on answers with both
  (prediction-powered inference, Angelopoulos et al. 2023).
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.answers import Table
from optimizer.replay import Flags, Floats, Ints

_CERTAIN: Final = 4.0
_ALIKE: Final = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How labels were chosen, as far as that can be seen.

    Attributes:
        ratio: How much more often calls are labelled on which tiers differ, within payload types; 1 = not chosen.
        z: The same in standard deviations of a fair sample.
    """

    ratio: float
    z: float

    @property
    def is_fair(self) -> bool:
        """Whether nothing speaks against a fair sample: a certain, but small difference does not."""
        return abs(self.z) < _CERTAIN or 1 / _ALIKE < self.ratio < _ALIKE


def choice_of(kind: Ints, labelled: Flags, differs: Floats) -> Choice:
    """Return whether labels prefer calls on which tiers differ, payload types as strata.

    Args:
        kind: Payload type of each call, shape ``(n_calls,)``.
        labelled: Whether the call has a label.
        differs: 1 = tiers differ, 0 = they say the same, nan = it is not known; those are left out.
    """
    known = ~np.isnan(differs)
    if not known.any():
        return Choice(ratio=1.0, z=0.0)
    strata = kind[known]
    size = int(strata.max()) + 1
    n = np.bincount(strata, minlength=size).astype(np.float64)
    differ = np.bincount(strata, weights=differs[known], minlength=size)
    label = np.bincount(strata, weights=labelled[known], minlength=size)
    both = np.bincount(strata, weights=labelled[known] * differs[known], minlength=size)
    some = n > 1
    n, differ, label, both = (each[some] for each in (n, differ, label, both))
    # of a stratum with given margins the count is hypergeometric
    expected = differ * label / n
    variance = differ * (n - differ) * label * (n - label) / (n**2 * (n - 1))
    total = float(variance.sum())
    if total <= 0:
        return Choice(ratio=1.0, z=0.0)
    above = float((both * (n - differ) / n).sum())
    below = float(((label - both) * differ / n).sum())
    return Choice(ratio=above / below if below > 0 else np.inf, z=float((both - expected).sum() / total**0.5))


def fair_labels(table: Table) -> tuple[Table, Choice]:
    """Return the table without labels that were chosen, and how they were.

    Labels with a known chance stay: they are weighted by it. Those with an unknown one stay as long as nothing speaks
    against them.
    """
    unknown = ~table.chance_known
    labelled = ~np.isnan(table.wrong_low).any(axis=1) if table.wrong_low.size else np.zeros(0, dtype=np.bool_)
    drawn = labelled & ~unknown
    # the calls whose label came by chance take no part in how the others were chosen
    rest = ~drawn
    found = choice_of(table.type[rest], (labelled & unknown)[rest], table.differs[rest])
    if found.is_fair:
        return table, found
    gone = unknown[:, None]
    return (
        replace(
            table,
            wrong_low=np.where(gone, np.nan, table.wrong_low),
            wrong_high=np.where(gone, np.nan, table.wrong_high),
        ),
        found,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A mean and its sampling variance."""

    mean: float
    variance: float


def judged_mean(judge: Floats, both_judge: Floats, both_label: Floats) -> Measured:
    """Return what outcomes would say on average, from a judge's verdicts on many answers and labels on a few.

    ``mean_N(judge) + mean_n(label - judge)``, variance ``s^2_judge / N + s^2_resid / n``.

    Args:
        judge: Verdicts on answers without a label, shape ``(N,)``.
        both_judge: Verdicts on answers with one, shape ``(n,)``, n >= 2.
        both_label: Their labels.
    """
    residual = both_label - both_judge
    everything = np.concatenate((judge, both_judge))
    return Measured(
        mean=float(everything.mean() + residual.mean()),
        variance=float(everything.var(ddof=1) / everything.size + residual.var(ddof=1) / residual.size),
    )


def bounds(rate: float, labelled: float) -> tuple[float, float]:
    """Return the least and the largest wrong rate that labels leave open, whatever the rest is.

    Args:
        rate: Wrong rate among labelled answers, 0..1.
        labelled: Share of answers that are labelled, 0..1.
    """
    return rate * labelled, rate * labelled + (1.0 - labelled)


def log_odds_ratio(worse: float, better: float) -> Measured:
    """Return by how much more often one tier is wrong than another, as a log ratio of odds, from discordant pairs.

    Half a pair is added to each side (Haldane 1956). It does not depend on how often mistakes are labelled, as long as
    that looks at neither tier.

    Args:
        worse: Pairs on which only the first tier is wrong.
        better: Pairs on which only the second is.
    """
    a, b = worse + 0.5, better + 0.5
    return Measured(mean=float(np.log(a / b)), variance=1.0 / a + 1.0 / b)
