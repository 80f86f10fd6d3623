"""What the installed price lists say, and what is made of it."""

import datetime as dt
import subprocess
import sys

import pytest

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


def test_service_tier_has_its_own_price() -> None:
    flex, standard = priced("openai/gpt-5-nano", service_tier="flex"), priced("openai/gpt-5-nano")
    assert flex.input_nusd_per_m * 2 == standard.input_nusd_per_m


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
