"""Laws of receipts: whatever a provider reports, the classes add up exactly and nothing is ever negative."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from router_core.decide.receipt import by_class, receipt, row_for, token_classes, worst_case
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
)
stepped = st.builds(
    lambda base, above, long: Price(
        **{name: getattr(base, name) for name in ("source", "date")},
        input_nusd_per_m=base.input_nusd_per_m,
        cached_nusd_per_m=base.cached_nusd_per_m,
        write_5m_nusd_per_m=base.write_5m_nusd_per_m,
        write_1h_nusd_per_m=base.write_1h_nusd_per_m,
        output_nusd_per_m=base.output_nusd_per_m,
        long_above_tokens=above,
        long_price=long,
    ),
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
        + split.output * row.output_nusd_per_m,
        1_000_000,
    )
    assert receipt(usage, price).cost_nusd == round(exact)


@given(usages)
def test_classes_add_up_to_the_input_unless_the_usage_contradicts_itself(usage: Usage) -> None:
    split = token_classes(usage)
    assert min(split.fresh, split.cached, split.write_5m, split.write_1h, split.output) >= 0
    assert split.contradictory or split.input == usage.input_tokens
    assert split.input >= (usage.input_tokens or 0)


@given(usages, plain)
def test_no_request_costs_more_than_its_worst_case(usage: Usage, price: Price) -> None:
    split = token_classes(usage)
    cost = receipt(usage, price).cost_nusd
    most = worst_case(split.input, split.output, price)
    assert cost is not None
    assert most is not None
    assert cost <= most
