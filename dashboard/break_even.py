"""How many more wrong answers a cheaper tier may give before it costs more than it saves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from dashboard.sums import Sums

Side = Literal["cheaper pays", "dearer pays", "not proven", "no labels", "no error price"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Two tiers of one payload type, compared.

    Attributes:
        cheaper: The cheaper tier.
        dearer: The dearer tier.
        saved_nusd: What an attempt saves at the cheaper tier, nano-dollars.
        price_nusd: Price of a wrong answer; None = not known.
        difference: Wrong rate of answers served by the cheaper tier less that of the dearer one; None without labels.
        interval: Its 95 % interval.
        labels: Labels at the cheaper and at the dearer tier.
    """

    cheaper: str
    dearer: str
    saved_nusd: float
    price_nusd: float | None
    difference: float | None
    interval: tuple[float, float] | None
    labels: tuple[int, int]

    @property
    def point(self) -> float | None:
        """Extra wrong rate at which the cheaper tier's saving is used up; None without a price of a wrong answer."""
        return self.saved_nusd / self.price_nusd if self.price_nusd else None

    @property
    def side(self) -> Side:
        """Which tier the answers served so far speak for."""
        if self.point is None:
            return "no error price"
        if self.interval is None:
            return "no labels"
        if self.interval[1] < self.point:
            return "cheaper pays"
        return "dearer pays" if self.interval[0] > self.point else "not proven"


def break_evens(by_tier: Mapping[str, Sums], order: Sequence[str], price_nusd: float | None) -> tuple[BreakEven, ...]:
    """Return the comparison of each two neighbouring tiers in use, cheapest first.

    Args:
        by_tier: Sums of one payload type by tier.
        order: All tiers, cheapest first.
        price_nusd: Price of a wrong answer; None = not known.
    """
    in_use = [(tier, by_tier[tier]) for tier in order if tier in by_tier and by_tier[tier].priced]
    found: list[BreakEven] = []
    for (cheaper, low), (dearer, high) in pairwise(in_use):
        saved = (high.cost_per_1k_attempts_nusd or 0.0) - (low.cost_per_1k_attempts_nusd or 0.0)
        rates = low.wrong_rate, high.wrong_rate
        found.append(
            BreakEven(
                cheaper=cheaper,
                dearer=dearer,
                saved_nusd=saved / 1000,
                price_nusd=price_nusd,
                difference=None if rates[0] is None or rates[1] is None else rates[0] - rates[1],
                interval=_newcombe(low, high),
                labels=(low.labelled, high.labelled),
            )
        )
    return tuple(found)


def _newcombe(one: Sums, other: Sums) -> tuple[float, float] | None:
    """Return the 95 % interval of a difference of shares, made of both Wilson intervals.

    Newcombe, R. G. (1998), Statistics in Medicine 17, 873-890, method 10.
    """
    p, q, a, b = one.wrong_rate, other.wrong_rate, one.wrong_interval, other.wrong_interval
    if p is None or q is None or a is None or b is None:
        return None
    low = p - q - math.hypot(p - a[0], b[1] - q)
    high = p - q + math.hypot(a[1] - p, q - b[0])
    return low, high
