"""Which price of a model holds in which half hours, asked as seldom as possible: a list answers in 60 µs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from router_core.prices import SLOT_US

if TYPE_CHECKING:
    from router_core.types import Price

PER_DAY: Final = 86_400_000_000 // SLOT_US

Ints = npt.NDArray[np.int64]
PriceAt = Callable[[int], "Price | None"]
"""Gets a half hour, counted from the epoch."""


def prices_by_slot(price_at: PriceAt, slots: Ints) -> dict["Price", list[int]]:
    """Return each price with the indices of the half hours in which it holds; where there is none, none is named.

    Lists change prices with the date, and a few with the hour of the day. Where the first and the last day have one
    price each, no hour matters: a day then has one price if it begins and ends with the same.

    Args:
        price_at: The model's price at a half hour.
        slots: Half hours, ascending.
    """
    found: dict[Price, list[int]] = {}
    if not len(slots):
        return found
    days = slots // PER_DAY
    hour_matters = any(
        len({price_at(int(day) * PER_DAY + number) for number in range(PER_DAY)}) > 1 for day in (days[0], days[-1])
    )
    for day in np.unique(days):
        places = np.flatnonzero(days == day).tolist()
        begin = int(day) * PER_DAY
        if hour_matters or price_at(begin) != price_at(begin + PER_DAY):
            for place in places:
                _add(found, price_at(int(slots[place])), [place])
        else:
            _add(found, price_at(begin), places)
    return found


def _add(found: dict["Price", list[int]], price: "Price | None", places: list[int]) -> None:
    if price is not None:
        found.setdefault(price, []).extend(places)
