from decimal import Decimal

import pytest

from router_core.config import Pessimistic, PriceOverride
from router_core.prices import PriceBook

AT_US = 1_795_392_000_000_000


def make_override(**fields: str) -> PriceOverride:
    return PriceOverride(**{key: Decimal(value) for key, value in ({"input": "3", "output": "15"} | fields).items()})


def test_override_wins_over_every_list() -> None:
    book = PriceBook({"openai/gpt-4o": make_override(input="1.25", output="7")}, version="cfg-1")
    price = book.price("openai/gpt-4o", AT_US)
    assert price is not None
    assert (price.input_nusd_per_m, price.output_nusd_per_m) == (1_250_000_000, 7_000_000_000)
    assert (price.source, price.date) == ("override", "cfg-1")


def test_classes_that_an_override_leaves_out_cost_the_input_price() -> None:
    price = PriceBook({"a/b": make_override()}).price("a/b", AT_US)
    assert price is not None
    assert {price.cached_nusd_per_m, price.write_5m_nusd_per_m, price.write_1h_nusd_per_m} == {3_000_000_000}


def test_one_hour_writes_follow_the_five_minute_price() -> None:
    price = PriceBook({"a/b": make_override(write_5m="3.75")}).price("a/b", AT_US)
    assert price is not None
    assert (price.write_5m_nusd_per_m, price.write_1h_nusd_per_m) == (3_750_000_000, 3_750_000_000)


def test_zero_of_an_override_holds() -> None:
    price = PriceBook({"a/b": make_override(cached="0")}).price("a/b", AT_US)
    assert price is not None
    assert price.cached_nusd_per_m == 0


def test_smallest_prices_stay_exact() -> None:
    price = PriceBook({"a/b": make_override(input="0.000000001")}).price("a/b", AT_US)
    assert price is not None
    assert price.input_nusd_per_m == 1


def test_unknown_model_has_no_price() -> None:
    assert PriceBook().price("someone/unheard-of", AT_US) is None


def test_unknown_model_counts_at_the_pessimistic_price_if_there_is_one() -> None:
    book = PriceBook(on_unpriced=Pessimistic(pessimistic=make_override(input="15", output="75")))
    price = book.price("someone/unheard-of", AT_US)
    assert price is not None
    assert (price.source, price.output_nusd_per_m) == ("pessimistic", 75_000_000_000)


@pytest.mark.parametrize("model", ["", "/", "gpt-4o/", "/gpt-4o", "a/b/c/d"])
def test_odd_names_are_unpriced_not_an_error(model: str) -> None:
    assert PriceBook().price(model, AT_US) is None
