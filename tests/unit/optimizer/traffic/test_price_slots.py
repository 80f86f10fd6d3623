"""Which price holds when: dated changes, hours of the day, gaps; and how seldom the list is asked."""

from collections.abc import Callable

import numpy as np
import pytest

from optimizer.traffic.price_slots import PER_DAY, prices_by_slot
from router_core.types import Price

FIRST = 20_000 * PER_DAY


def price(rate: int) -> Price:
    return Price(
        input_nusd_per_m=rate, cached_nusd_per_m=0, write_5m_nusd_per_m=0, write_1h_nusd_per_m=0,
        output_nusd_per_m=rate, source="list", date="",
    )  # fmt: skip


def steady(_: int) -> Price | None:
    return price(1)


def cut_at_a_noon(slot: int) -> Price | None:
    return price(1 if slot < FIRST + 3 * PER_DAY + 24 else 2)


def cheap_at_night(slot: int) -> Price | None:
    return price(1 if slot % PER_DAY < 12 else 2)


def listed_late(slot: int) -> Price | None:
    return price(1) if slot >= FIRST + 2 * PER_DAY else None


@pytest.mark.parametrize("list_of_prices", [steady, cut_at_a_noon, cheap_at_night, listed_late])
@pytest.mark.parametrize("every", [1, 7])
def test_every_half_hour_has_the_price_that_the_list_gives_it(
    list_of_prices: Callable[[int], Price | None], every: int
) -> None:
    slots = np.arange(FIRST, FIRST + 6 * PER_DAY, every)
    found = prices_by_slot(list_of_prices, slots)
    given = {place: price for price, places in found.items() for place in places}
    assert [given.get(place) for place in range(len(slots))] == [list_of_prices(int(slot)) for slot in slots]


def test_a_steady_price_is_asked_for_a_few_times_a_day() -> None:
    asked: list[int] = []
    prices_by_slot(lambda slot: asked.append(slot) or price(1), np.arange(FIRST, FIRST + 90 * PER_DAY))
    assert len(asked) < 90 * 4 + 2 * PER_DAY


def test_no_half_hours_have_no_prices() -> None:
    assert prices_by_slot(steady, np.empty(0, dtype=np.int64)) == {}
