from decimal import Decimal

import pytest

from router_core.config import PriceOverride, parse
from router_core.errors import ConfigError
from router_core.prices import PriceBook
from router_core.prices.rates import of_tier, row_of
from tests.builders import make_config, make_config_bytes

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
    config = make_config(on_unpriced={"pessimistic": {"input": 15, "output": 75}})
    book = PriceBook(on_unpriced=config.on_unpriced)
    price = book.price("someone/unheard-of", AT_US)
    assert price is not None
    assert (price.source, price.output_nusd_per_m) == ("pessimistic", 75_000_000_000)


@pytest.mark.parametrize("model", ["", "/", "gpt-4o/", "/gpt-4o", "a/b/c/d"])
def test_odd_names_are_unpriced_not_an_error(model: str) -> None:
    assert PriceBook().price(model, AT_US) is None


@pytest.mark.parametrize("name", ["input", "output"])
def test_pessimistic_price_cannot_make_the_unknown_free(name: str) -> None:
    pessimistic = {"input": 15, "output": 75} | {name: 0}
    with pytest.raises(ConfigError, match="greater than 0"):
        parse(make_config_bytes(on_unpriced={"pessimistic": pessimistic}), source="routing.yaml")


@pytest.mark.parametrize("tier", ["batch", "flex", "priority", "something-new"])
def test_override_stands_in_for_every_service_tier_and_is_marked(tier: str) -> None:
    price = PriceBook({"a/b": make_override()}).price("a/b", AT_US, service_tier=tier)
    assert price is not None
    assert (price.source, price.input_nusd_per_m, price.is_stand_in) == ("override", 3_000_000_000, True)


@pytest.mark.parametrize("tier", [None, "default", "auto", "standard", "Standard", "on_demand"])
def test_standard_tier_by_any_name_needs_no_stand_in(tier: str | None) -> None:
    price = PriceBook({"a/b": make_override()}).price("a/b", AT_US, service_tier=tier)
    assert price is not None
    assert not price.is_stand_in


# --- rules for every list


def rates(**given: str | None) -> dict[str, Decimal | None]:
    names = ("input", "cached", "write_5m", "write_1h", "output", "reasoning")
    return {name: None if given.get(name) is None else Decimal(str(given[name])) for name in names}


@pytest.mark.parametrize("missing", [{"input": "0", "output": "2"}, {"input": "1", "output": "0"}, {"input": "1"}, {}])
def test_list_without_a_price_for_input_and_output_has_none(missing: dict[str, str]) -> None:
    assert row_of(rates(**missing), source="litellm", date="", sizes=(None, None)) is None


def test_zero_of_a_list_is_a_gap_and_costs_the_dearest_plain_alternative() -> None:
    row = row_of(rates(input="1", output="2", cached="0", write_5m="0"), source="litellm", date="", sizes=(None, None))
    assert row is not None
    assert (row.cached_nusd_per_m, row.write_5m_nusd_per_m, row.write_1h_nusd_per_m) == (10**9, 10**9, 10**9)


def test_reasoning_has_a_price_of_its_own_only_where_it_differs() -> None:
    prices = [
        row_of(rates(input="1", output="2", reasoning=own), source="litellm", date="", sizes=(None, None))
        for own in ("2", "3")
    ]
    assert [price and price.reasoning_nusd_per_m for price in prices] == [None, 3 * 10**9]


STANDARD = rates(input="2", cached="0.5", write_5m="2.5", output="8")


def test_cheaper_tier_keeps_the_standard_price_of_classes_it_does_not_name() -> None:
    assert of_tier(rates(input="1", output="4"), STANDARD) == rates(input="1", cached="0.5", write_5m="2.5", output="4")


def test_dearer_tier_is_never_understated() -> None:
    assert of_tier(rates(input="4", output="16"), STANDARD) == rates(input="4", output="16")
