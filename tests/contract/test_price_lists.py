"""What the installed price lists say, and what is made of it."""

import datetime as dt
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from router_core.config import PriceOverride
from router_core.prices import SLOT_US, PriceBook
from router_core.types import Price


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp() * 1_000_000)


NOW_US = at("2026-11-23T12:00")


def priced(model: str, at_us: int = NOW_US, **options: str) -> Price:
    price = PriceBook().price(model, at_us, **options)
    assert price is not None, model
    return price


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("openai/gpt-4o-mini", (0.15, 0.075, 0.15, 0.15, 0.6)),
        ("anthropic/claude-opus-4-5", (5, 0.5, 6.25, 10, 25)),
        ("gemini/gemini-2.5-flash-lite", (0.1, 0.01, 0.1, 0.1, 0.4)),
        ("bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0", (3, 0.3, 3.75, 3.75, 15)),
        ("openrouter/openai/gpt-4o-mini", (0.15, 0.075, 0.15, 0.15, 0.6)),
        ("gpt-4o", (2.5, 1.25, 2.5, 2.5, 10)),
    ],
)
def test_known_model_costs_what_its_provider_publishes(model: str, usd: tuple[float, ...]) -> None:
    price = priced(model)
    rates = (
        price.input_nusd_per_m,
        price.cached_nusd_per_m,
        price.write_5m_nusd_per_m,
        price.write_1h_nusd_per_m,
        price.output_nusd_per_m,
    )
    assert (rates, price.source) == (tuple(round(rate * 1_000_000_000) for rate in usd), "genai-prices")


def test_price_is_the_one_of_the_time_of_the_call() -> None:
    before, after = priced("openai/o3", at("2025-05-01")), priced("openai/o3", at("2026-01-01"))
    assert (before.input_nusd_per_m, after.input_nusd_per_m) == (10_000_000_000, 2_000_000_000)
    assert after.date == "2025-06-10"


def test_override_comes_before_both_lists_at_any_time() -> None:
    own = PriceOverride(input=Decimal(7), output=Decimal(9))
    book = PriceBook({"openai/o3": own, "dashscope/qwen-max": own}, version="cfg")
    found = [
        book.price(model, at(day))
        for model in ("openai/o3", "dashscope/qwen-max")
        for day in ("2025-05-01", "2026-01-01")
    ]
    assert [price and (price.source, price.date, price.input_nusd_per_m) for price in found] == [
        ("override", "cfg", 7_000_000_000)
    ] * 4


def test_price_by_time_of_day_is_the_one_of_the_calls_hour() -> None:
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import TimeOfDateConstraint

    provider, model, step = next(
        (provider.id, model.id, step)
        for provider in get_snapshot().providers
        for model in provider.models
        if isinstance(model.prices, list)
        for step in model.prices
        if isinstance(step.constraint, TimeOfDateConstraint)
    )
    constraint = step.constraint
    assert isinstance(constraint, TimeOfDateConstraint)
    begins = dt.datetime.combine(dt.date(2026, 11, 20), constraint.start_time.replace(tzinfo=dt.UTC))
    start_us = round(begins.timestamp() * 1_000_000)
    inside, before = priced(f"{provider}/{model}", start_us), priced(f"{provider}/{model}", start_us - 1)
    assert step.prices.input_mtok == Decimal(inside.input_nusd_per_m) / 1_000_000_000
    assert before.input_nusd_per_m != inside.input_nusd_per_m


def test_price_changes_at_midnight_utc() -> None:
    last, first = priced("openai/o3", at("2025-06-09T23:59")), priced("openai/o3", at("2025-06-10T00:00"))
    assert last.input_nusd_per_m > first.input_nusd_per_m


def test_prices_by_time_of_day_change_on_the_slots_that_prices_are_kept_for() -> None:
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import TimeOfDateConstraint

    constraints = [
        step.constraint
        for provider in get_snapshot().providers
        for model in provider.models
        if isinstance(model.prices, list)
        for step in model.prices
        if isinstance(step.constraint, TimeOfDateConstraint)
    ]
    moments = [moment for one in constraints for moment in (one.start_time, one.end_time)]
    assert moments
    for moment in moments:
        second = dt.timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second).total_seconds()
        assert second * 1_000_000 % SLOT_US == 0


def test_price_does_not_change_inside_the_time_it_is_kept_for() -> None:
    from genai_prices.data_snapshot import get_snapshot

    dated = [
        f"{provider.id}/{model.id}"
        for provider in get_snapshot().providers
        for model in provider.models
        if isinstance(model.prices, list) or model.price_variants
    ]
    assert len(dated) > 10
    kept = PriceBook()
    hours = [1_735_689_600_000_000 + hour * 3_600_000_000 + 1_799_000_000 for hour in range(0, 24 * 500, 79)]
    for model in dated[:: max(1, len(dated) // 12)]:
        for at_us in hours:
            assert kept.price(model, at_us) == PriceBook()._resolve(model, at_us, None), (model, at_us)


def test_model_that_only_litellm_knows_is_priced_from_its_map() -> None:
    price = priced("dashscope/qwen-max")
    assert (price.source, price.input_nusd_per_m, price.output_nusd_per_m) == ("litellm", 1_600_000_000, 6_400_000_000)
    assert price.cached_nusd_per_m == price.input_nusd_per_m
    assert price.date.startswith("litellm ")


def test_long_prompts_have_their_own_price() -> None:
    price = priced("gemini/gemini-2.5-pro")
    assert price.long_above_tokens == 200_000
    assert price.long_price is not None
    assert (price.input_nusd_per_m, price.long_price.input_nusd_per_m) == (1_250_000_000, 2_500_000_000)


def test_sizes_come_along() -> None:
    price = priced("anthropic/claude-opus-4-5")
    assert (price.max_output_tokens, price.context_tokens) == (64_000, 200_000)


@pytest.mark.parametrize(
    ("model", "tier", "times"),
    [
        ("openai/gpt-5-nano", "flex", "0.5"),
        ("openai/gpt-5-nano", "batch", "0.5"),
        ("openai/gpt-5", "priority", "2"),
        ("openai/gpt-4.1", "fast", "1.75"),
        ("anthropic/claude-opus-4-5", "batch", "0.5"),
        ("gemini/gemini-2.5-flash", "batch", "0.5"),
    ],
)
def test_service_tier_has_its_own_price(model: str, tier: str, times: str) -> None:
    own, standard = priced(model, service_tier=tier), priced(model)
    assert own.input_nusd_per_m == standard.input_nusd_per_m * Fraction(times)
    assert own.output_nusd_per_m == standard.output_nusd_per_m * Fraction(times)
    assert (own.source, own.is_stand_in) == ("genai-prices", False)


def test_batch_of_a_time_that_one_list_does_not_date_yet_is_priced_from_the_other() -> None:
    # genai-prices dates this model's batch price from 2026-10-14; litellm's map has it without a date
    before, after = (priced("openai/gpt-5-nano", at(day), service_tier="batch") for day in ("2026-10-13", "2026-10-14"))
    assert (before.source, after.source, after.date) == ("litellm", "genai-prices", "2026-10-14")
    assert before.input_nusd_per_m == after.input_nusd_per_m == 25_000_000


@pytest.mark.parametrize("tier", ["priority", "inference_geo=us", "no such tier"])
def test_standard_row_stands_in_for_a_tier_that_no_list_has(tier: str) -> None:
    own, standard = priced("anthropic/claude-opus-4-5", service_tier=tier), priced("anthropic/claude-opus-4-5")
    assert own == replace(standard, is_stand_in=True)


def test_input_of_a_dearer_tier_is_never_cheaper_by_class_than_the_standard_one() -> None:
    for model in ("openai/gpt-5", "openai/gpt-4.1", "azure/gpt-5"):
        own, standard = priced(model, service_tier="priority"), priced(model)
        assert own.cached_nusd_per_m > standard.cached_nusd_per_m


def test_prices_by_input_size_that_a_list_has_as_steps_are_found() -> None:
    price: Price | None = priced("dashscope/qwen3-coder-plus")
    steps: list[tuple[int | None, int, int]] = []
    while price is not None:
        steps.append((price.long_above_tokens, price.input_nusd_per_m, price.cached_nusd_per_m))
        price = price.long_price
    million = 1_000_000
    assert steps == [
        (32_000, 1_000 * million, 100 * million),
        (128_000, 1_800 * million, 180 * million),
        (256_000, 3_000 * million, 300 * million),
        (None, 6_000 * million, 600 * million),
    ]


def test_reasoning_has_its_own_price_where_a_list_has_one() -> None:
    price = priced("dashscope/qwen-turbo")
    assert (price.output_nusd_per_m, price.reasoning_nusd_per_m) == (200_000_000, 500_000_000)
    assert priced("openai/o3").reasoning_nusd_per_m is None


@pytest.mark.parametrize(
    ("model", "is_text_only"),
    [("openai/gpt-audio", True), ("gemini/gemini-2.5-flash", True), ("openai/gpt-4o", False)],
)
def test_row_says_where_sound_or_pictures_have_prices_that_it_lacks(model: str, is_text_only: bool) -> None:
    assert priced(model).is_text_only == is_text_only


@pytest.mark.parametrize("tier", ["default", "auto", "standard"])
def test_standard_tier_by_any_name_has_the_plain_price(tier: str) -> None:
    assert priced("openai/gpt-5-nano", service_tier=tier) == priced("openai/gpt-5-nano")


@pytest.mark.parametrize(
    "model",
    [
        "anthropic/claude-sonnet-9",
        "openai/gpt-5.9-mini",
        "openai/my-own-model",
        "azure/my-deployment",
        "hosted_vllm/gpt-4o",
        "openai_like/gpt-4o",
        "litellm_proxy/gpt-4o",
        "ollama/llama3",
        "openrouter/deepseek/deepseek-r1:free",
        "gemini/gemma-3-27b-it",
    ],
)
def test_model_that_nobody_prices_is_never_guessed_nor_free(model: str) -> None:
    assert PriceBook().price(model, NOW_US) is None


def test_prices_need_no_litellm_import() -> None:
    code = (
        "import sys\n"
        "from router_core.prices import PriceBook\n"
        "assert 'genai_prices' not in sys.modules\n"
        "assert PriceBook().price('dashscope/qwen-max', 1_795_392_000_000_000).source == 'litellm'\n"
        "assert 'litellm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("model", "lacks"),
    [
        ("openai/gpt-4o", set()),
        ("openai/gpt-3.5-turbo", {"vision"}),
        ("deepseek/deepseek-chat", {"vision"}),
        ("anthropic/claude-opus-4-5", set()),
        ("hosted_vllm/some-model-of-ones-own", set()),
    ],
)
def test_what_a_model_cannot_do_is_known_from_litellms_map(model: str, lacks: set[str]) -> None:
    assert PriceBook().abilities(model, NOW_US).lacks == lacks


def test_window_of_a_model_is_known_with_its_price_and_without() -> None:
    free = PriceBook({"openai/gpt-4o": PriceOverride(input=Decimal(0), output=Decimal(0))})
    windows = {book.abilities("openai/gpt-4o", NOW_US).context_tokens for book in (PriceBook(), free)}
    assert windows == {128_000}
    assert PriceBook().abilities("hosted_vllm/some-model-of-ones-own", NOW_US).context_tokens is None
