"""What wrong answers cost beyond those that labels told of: an estimate, kept apart from what was observed."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dashboard.sums import Cell, Sums

_Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Error impact of all answered calls, as far as labels and prices say.

    Attributes:
        mean_nusd: Observed impact, plus what is expected among the answers without a label.
        low_nusd: Low end of its 95 % interval; never below what was observed.
        high_nusd: High end of it.
        observed_nusd: The part that was observed.
        answered: Answered calls.
        labelled: Those of them with a label.
        unknown: Answered calls of payload types and tiers without any label, or without a price of a wrong answer:
            they are in none of these amounts.
    """

    mean_nusd: float
    low_nusd: float
    high_nusd: float
    observed_nusd: int
    answered: int
    labelled: int
    unknown: int

    @property
    def says_anything(self) -> bool:
        """Whether any answered call is in it."""
        return self.answered > self.unknown


def estimate(
    cells: Iterable[Cell], price_nusd: int | None = None, listed: Mapping[str, int] = MappingProxyType({})
) -> Estimate:
    """Return the estimated impact of some payload types in some tiers.

    Labels count as a random sample of their payload type and tier. Of N answered calls there, n are labelled and w of
    these wrong at a mean price m; the N - n others are expected to cost (N - n) m w/n. Their number of wrong answers
    is beta-binomial under Jeffreys' prior Beta(w + 1/2, n - w + 1/2), and the interval is 1.96 standard deviations of
    the sum over cells. Uncertainty about m is left out.

    Args:
        cells: Sums by payload type and tier.
        price_nusd: The reader's price of a wrong answer that carries none, nano-dollars; None = they stay out.
        listed: The config's price of a wrong answer by payload type, nano-dollars, for those of which no wrong answer
            is known yet.
    """
    mean = variance = 0.0
    observed = answered = labelled = unknown = 0
    for cell in cells:
        sums = cell.sums
        observed += sums.impact_with(price_nusd)
        answered += sums.answered
        labelled += sums.labelled
        loss = _price(sums, price_nusd, listed.get(cell.payload_type))
        if not sums.labelled or loss is None:
            unknown += max(0, sums.answered - sums.labelled) if sums.labelled else sums.answered
            continue
        rest = max(0, sums.answered - sums.labelled)
        mean += rest * loss * sums.wrong / sums.labelled
        variance += _variance(rest, sums.wrong, sums.labelled) * loss * loss
    half = _Z_95 * math.sqrt(variance)
    return Estimate(
        mean_nusd=observed + mean,
        low_nusd=observed + max(0.0, mean - half),
        high_nusd=observed + mean + half,
        observed_nusd=observed,
        answered=answered,
        labelled=labelled,
        unknown=unknown,
    )


def _price(sums: Sums, price_nusd: int | None, listed_nusd: int | None) -> float | None:
    """Return the mean price of a wrong answer: as labels tell it, else the reader's, else the config's."""
    if price_nusd is not None and sums.wrong > 0:
        return sums.impact_with(price_nusd) / sums.wrong
    priced = sums.wrong - sums.wrong_unpriced
    if priced > 0:
        # the others are taken to cost what these do
        return sums.impact_nusd / priced
    return price_nusd if price_nusd is not None else listed_nusd


def _variance(rest: int, wrong: float, labelled: int) -> float:
    a, b = wrong + 0.5, max(0.0, labelled - wrong) + 0.5
    whole = a + b
    return rest * a * b * (whole + rest) / (whole * whole * (whole + 1))
