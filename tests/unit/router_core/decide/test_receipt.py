from dataclasses import replace

import pytest

from router_core.decide.receipt import by_class, estimate, receipt, row_for, split_nusd, token_classes, worst_case
from router_core.types import Price, Usage

# claude-opus-4-5: $5 in, $0.50 cached, $6.25 and $10 cache writes, $25 out per million
OPUS = Price(
    input_nusd_per_m=5_000_000_000,
    cached_nusd_per_m=500_000_000,
    write_5m_nusd_per_m=6_250_000_000,
    write_1h_nusd_per_m=10_000_000_000,
    output_nusd_per_m=25_000_000_000,
    source="genai-prices",
    date="2025-11-24",
)
FREE = Price(
    input_nusd_per_m=0,
    cached_nusd_per_m=0,
    write_5m_nusd_per_m=0,
    write_1h_nusd_per_m=0,
    output_nusd_per_m=0,
    source="override",
    date="",
)
EVERYTHING = Usage(
    input_tokens=10_000,
    cached_tokens=6_000,
    cache_write_5m_tokens=1_000,
    cache_write_1h_tokens=500,
    output_tokens=200,
    reasoning_tokens=150,
)
# 2,500 x $5 + 6,000 x $0.50 + 1,000 x $6.25 + 500 x $10 + 200 x $25, per million = $0.03175
EVERYTHING_NUSD = 31_750_000


def test_every_class_is_charged_at_its_own_price() -> None:
    got = receipt(EVERYTHING, OPUS)
    assert (got.cost_nusd, got.cost_status, got.cost_source_nusd) == (EVERYTHING_NUSD, "exact", None)


def test_reasoning_is_part_of_the_output_and_not_charged_twice() -> None:
    assert receipt(replace(EVERYTHING, reasoning_tokens=0), OPUS).cost_nusd == EVERYTHING_NUSD


def test_reasoning_is_charged_at_its_own_price_where_it_has_one() -> None:
    # 150 x ($40 - $25) per million = $0.00225
    row = replace(OPUS, reasoning_nusd_per_m=40_000_000_000)
    assert receipt(EVERYTHING, row).cost_nusd == EVERYTHING_NUSD + 2_250_000


def test_openai_style_cached_tokens_are_taken_out_of_the_input() -> None:
    mini = replace(OPUS, input_nusd_per_m=150_000_000, cached_nusd_per_m=75_000_000, output_nusd_per_m=600_000_000)
    got = receipt(Usage(input_tokens=1000, cached_tokens=800, output_tokens=100), mini)
    assert got.cost_nusd == 30_000 + 60_000 + 60_000


@pytest.mark.parametrize(
    ("rate", "tokens", "nusd"),
    [(500_000, 1, 0), (500_000, 3, 2), (500_000, 5, 2), (1_500_000, 1, 2), (500_001, 1, 1), (499_999, 1, 0)],
)
def test_half_a_nano_dollar_rounds_to_even(rate: int, tokens: int, nusd: int) -> None:
    row = replace(OPUS, input_nusd_per_m=rate)
    assert receipt(Usage(input_tokens=tokens, output_tokens=0), row).cost_nusd == nusd


def test_cost_beyond_the_precision_of_floats_is_exact() -> None:
    row = replace(OPUS, input_nusd_per_m=1_000_000_000_001)
    got = receipt(Usage(input_tokens=90_000_000_000_000_001, output_tokens=0), row)
    assert got.cost_nusd == 90_000_000_000_090_001_000_000


def test_reported_cost_counts_and_both_are_kept() -> None:
    got = receipt(EVERYTHING, OPUS, reported_nusd=31_000_000)
    assert (got.cost_nusd, got.cost_source_nusd, got.cost_status, got.price) == (
        31_000_000,
        31_000_000,
        "provider",
        OPUS,
    )


def test_reported_zero_stays_zero() -> None:
    assert receipt(EVERYTHING, OPUS, reported_nusd=0).cost_nusd == 0


def test_model_without_a_price_has_no_cost() -> None:
    got = receipt(EVERYTHING, None)
    assert (got.cost_nusd, got.cost_status) == (None, "unpriced")


def test_model_declared_free_costs_exactly_nothing() -> None:
    got = receipt(EVERYTHING, FREE)
    assert (got.cost_nusd, got.cost_status) == (0, "exact")


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=5), Usage(output_tokens=5)])
def test_cost_without_token_counts_is_unknown(usage: Usage) -> None:
    got = receipt(usage, OPUS)
    assert (got.cost_nusd, got.cost_status) == (None, "unknown")


def test_pessimistic_price_gives_an_estimate() -> None:
    got = receipt(EVERYTHING, replace(OPUS, source="pessimistic"))
    assert (got.cost_nusd, got.cost_status) == (EVERYTHING_NUSD, "estimated")


def test_estimated_tokens_give_an_estimate() -> None:
    assert receipt(EVERYTHING, OPUS, estimated=True).cost_status == "estimated"


def test_more_cached_tokens_than_input_is_never_negative_and_an_estimate() -> None:
    got = receipt(Usage(input_tokens=100, cached_tokens=800, output_tokens=0), OPUS)
    assert (got.cost_nusd, got.cost_status) == (400_000, "estimated")


def test_more_reasoning_than_output_is_believed_and_an_estimate() -> None:
    got = receipt(Usage(input_tokens=0, output_tokens=10, reasoning_tokens=40), OPUS)
    assert (got.cost_nusd, got.cost_status) == (1_000_000, "estimated")


@pytest.mark.parametrize(
    ("usage", "row"),
    [
        (EVERYTHING, replace(OPUS, is_stand_in=True)),
        (replace(EVERYTHING, web_searches=1), OPUS),
        (replace(EVERYTHING, media_tokens=1), replace(OPUS, is_text_only=True)),
    ],
    ids=["tier without a price", "web search", "sound at the price of text"],
)
def test_what_the_row_has_no_price_for_makes_it_an_estimate(usage: Usage, row: Price) -> None:
    got = receipt(usage, row)
    assert (got.cost_nusd, got.cost_status) == (EVERYTHING_NUSD, "estimated")


def test_pictures_at_the_price_of_text_are_exact() -> None:
    assert receipt(replace(EVERYTHING, media_tokens=900), OPUS).cost_status == "exact"


def test_negative_counts_are_nothing_and_an_estimate() -> None:
    got = receipt(Usage(input_tokens=-5, cached_tokens=-1, output_tokens=-9), OPUS)
    assert (got.cost_nusd, got.cost_status) == (0, "estimated")


def test_classes_leave_fresh_input_as_the_rest() -> None:
    tokens = token_classes(EVERYTHING)
    assert (tokens.fresh, tokens.input, tokens.output, tokens.reasoning) == (2_500, 10_000, 50, 150)
    assert not tokens.contradictory


def test_printed_lines_name_the_classes_that_occur() -> None:
    lines = by_class(Usage(input_tokens=10, cached_tokens=4, output_tokens=2), OPUS)
    assert [(line.name, line.tokens, line.cost_nusd) for line in lines] == [
        ("input", 6, 30_000),
        ("cached", 4, 2_000),
        ("output", 2, 50_000),
    ]


def test_rounded_lines_still_add_up_to_the_cost() -> None:
    row = replace(OPUS, input_nusd_per_m=400_000, cached_nusd_per_m=400_000, output_nusd_per_m=400_000)
    usage = Usage(input_tokens=2, cached_tokens=1, output_tokens=1)
    assert [line.cost_nusd for line in by_class(usage, row)] == [1, 0, 0]
    assert receipt(usage, row).cost_nusd == 1


LONGER = replace(OPUS, input_nusd_per_m=10_000_000_000, output_nusd_per_m=40_000_000_000)
STEPPED = replace(OPUS, long_above_tokens=200_000, long_price=LONGER)


@pytest.mark.parametrize(("tokens", "row"), [(0, STEPPED), (200_000, STEPPED), (200_001, LONGER)])
def test_long_requests_have_their_own_row(tokens: int, row: Price) -> None:
    assert row_for(STEPPED, tokens) == row


def test_receipt_of_a_long_request_names_the_row_it_was_charged_at() -> None:
    got = receipt(Usage(input_tokens=300_000, output_tokens=10), STEPPED)
    assert (got.cost_nusd, got.price) == (3_000_400_000, LONGER)


def test_steps_may_be_stacked() -> None:
    highest = replace(LONGER, input_nusd_per_m=20_000_000_000)
    stacked = replace(STEPPED, long_price=replace(LONGER, long_above_tokens=500_000, long_price=highest))
    assert row_for(stacked, 600_000) == highest


def test_estimate_takes_every_input_token_as_fresh() -> None:
    assert estimate(1_000, 100, OPUS) == 7_500_000


def test_estimate_of_an_unpriced_model_is_unknown() -> None:
    assert estimate(1_000, 100, None) is None


def test_worst_case_takes_the_dearest_class_and_rounds_up() -> None:
    assert worst_case(1_000, 100, OPUS) == 12_500_000
    assert worst_case(1, 0, replace(FREE, input_nusd_per_m=1)) == 1


def test_worst_case_of_a_long_request_uses_its_row() -> None:
    assert worst_case(300_000, 0, STEPPED) == 3_000_000_000


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (100, [1, 1, 1], (34, 33, 33)),
        (100, [1, 2, 1], (25, 50, 25)),
        (10, [3, 3, 1], (4, 4, 2)),  # exactly 4.29, 4.29 and 1.43: the missing one goes to .43
        (5, [0, 0], (3, 2)),
        (0, [7, 1], (0, 0)),
        (7, [5], (7,)),
    ],
)
def test_shares_follow_the_weights_by_largest_remainder(total: int, weights: list[int], shares: tuple[int]) -> None:
    assert split_nusd(total, weights) == shares


@pytest.mark.parametrize(("total", "weights"), [(1, []), (-1, [1]), (1, [2, -1])])
def test_what_cannot_be_split_is_refused(total: int, weights: list[int]) -> None:
    with pytest.raises(ValueError, match="can be split"):
        split_nusd(total, weights)


def test_lines_of_a_packed_items_share_add_up_to_the_share() -> None:
    row = replace(OPUS, input_nusd_per_m=400_000, output_nusd_per_m=400_000)
    usage = Usage(input_tokens=1, output_tokens=1)  # exactly 0.8 nano-dollars: a share is 0 or 1
    assert [sum(line.cost_nusd for line in by_class(usage, row, share)) for share in (0, 1)] == [0, 1]


def test_lines_are_not_bent_to_a_cost_of_another_source() -> None:
    lines = by_class(EVERYTHING, OPUS, 31_000_000)
    assert sum(line.cost_nusd for line in lines) == EVERYTHING_NUSD
