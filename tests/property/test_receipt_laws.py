"""Laws of receipts: whatever a provider reports, the classes add up exactly and nothing is ever negative."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from router_core.decide.receipt import by_class, receipt, row_for, split_nusd, token_classes, worst_case
from router_core.types import Price, Usage

tokens = st.integers(min_value=-10, max_value=10_000_000)
rates = st.integers(min_value=0, max_value=10**12)
usages = st.builds(
    Usage,
    input_tokens=tokens,
    cached_tokens=tokens,
    cache_write_5m_tokens=tokens,
    cache_write_1h_tokens=tokens,
    output_tokens=tokens,
    reasoning_tokens=tokens,
)
plain = st.builds(
    Price,
    input_nusd_per_m=rates,
    cached_nusd_per_m=rates,
    write_5m_nusd_per_m=rates,
    write_1h_nusd_per_m=rates,
    output_nusd_per_m=rates,
    source=st.just("override"),
    date=st.just("2026-01-01"),
    reasoning_nusd_per_m=st.none() | rates,
)
stepped = st.builds(
    lambda base, above, long: replace(base, long_above_tokens=above, long_price=long),
    plain,
    st.integers(min_value=0, max_value=1_000_000),
    plain,
)
prices = plain | stepped


@given(usages, prices)
def test_lines_add_up_to_the_cost_exactly(usage: Usage, price: Price) -> None:
    lines = by_class(usage, price)
    assert sum(line.cost_nusd for line in lines) == receipt(usage, price).cost_nusd
    assert all(line.cost_nusd >= 0 and line.tokens > 0 for line in lines)


@given(usages, prices)
def test_cost_is_the_exact_sum_rounded_half_to_even(usage: Usage, price: Price) -> None:
    split = token_classes(usage)
    row = row_for(price, split.input)
    exact = Fraction(
        split.fresh * row.input_nusd_per_m
        + split.cached * row.cached_nusd_per_m
        + split.write_5m * row.write_5m_nusd_per_m
        + split.write_1h * row.write_1h_nusd_per_m
        + split.output * row.output_nusd_per_m
        + split.reasoning * (row.output_nusd_per_m if row.reasoning_nusd_per_m is None else row.reasoning_nusd_per_m),
        1_000_000,
    )
    assert receipt(usage, price).cost_nusd == round(exact)


@given(usages)
def test_classes_add_up_to_the_input_unless_the_usage_contradicts_itself(usage: Usage) -> None:
    split = token_classes(usage)
    assert min(split.fresh, split.cached, split.write_5m, split.write_1h, split.output, split.reasoning) >= 0
    assert split.contradictory or split.output + split.reasoning == (usage.output_tokens or 0)
    assert split.contradictory or split.input == usage.input_tokens
    assert split.input >= (usage.input_tokens or 0)


@given(usages, plain)
def test_no_request_costs_more_than_its_worst_case(usage: Usage, price: Price) -> None:
    split = token_classes(usage)
    cost = receipt(usage, price).cost_nusd
    most = worst_case(split.input, split.output + split.reasoning, price)
    assert cost is not None
    assert most is not None
    assert cost <= most


weights = st.lists(st.integers(min_value=0, max_value=10**15), min_size=1, max_size=50)
amounts = st.integers(min_value=0, max_value=10**18)


@given(amounts, weights)
def test_shares_add_up_exactly_and_none_is_off_by_a_whole_one(total: int, of: list[int]) -> None:
    shares = split_nusd(total, of)
    assert sum(shares) == total
    whole = sum(of)
    exact = [Fraction(total * weight, whole) if whole else Fraction(total, len(of)) for weight in of]
    assert all(abs(share - part) < 1 for share, part in zip(shares, exact, strict=True))


@given(amounts, weights)
def test_more_weight_never_means_a_smaller_share(total: int, of: list[int]) -> None:
    shares = split_nusd(total, of)
    ranked = sorted(zip(of, shares, strict=True), key=lambda pair: (pair[0], pair[1]))
    assert [share for _, share in ranked] == sorted(shares)


@given(st.lists(usages, min_size=1, max_size=20), plain)
def test_items_of_a_packed_request_have_lines_that_add_up_to_their_shares(items: list[Usage], price: Price) -> None:
    costs = [by_class_micro(usage, price) for usage in items]
    total = round(Fraction(sum(costs), 1_000_000))
    shares = split_nusd(total, costs)
    assert sum(shares) == total
    for usage, share, cost in zip(items, shares, costs, strict=True):
        lines = by_class(usage, price, share)
        assert abs(share - Fraction(cost, 1_000_000)) < Fraction(3, 2)
        assert sum(line.cost_nusd for line in lines) == share
        assert all(line.cost_nusd >= 0 for line in lines)


def by_class_micro(usage: Usage, price: Price) -> int:
    """The exact cost in millionths of a nano-dollar."""
    return sum(line.tokens * line.nusd_per_m for line in by_class(usage, price))
