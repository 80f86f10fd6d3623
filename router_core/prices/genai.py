"""Rows of genai-prices: dated, by time of day, by input size and by service tier."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from router_core.prices.rates import Rates, Sizes, of_tier, row_of, with_steps

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TimeOfDateConstraint

    from router_core.types import Price

    Constraint = StartDateConstraint | TimeOfDateConstraint | None

# litellm's provider -> genai-prices' provider, where the names differ. genai-prices' own matching is left out: it takes
# any name with "openai" in it for OpenAI, also one that means "something compatible at my own address"
_PROVIDERS: Final = {
    "aiohttp_openai": "openai",
    "azure_ai": "azure",
    "bedrock": "aws",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "github_copilot": "github-copilot",
    "meta_llama": "meta",
    "moonshot": "moonshotai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai": "google",
    "xai": "x-ai",
}
DAY_US: Final = 86_400_000_000
# time-of-day prices change on half hours at the finest
SLOT_US: Final = 30 * 60 * 1_000_000
_KEYS: Final = {
    "input": "input_mtok",
    "cached": "cache_read_mtok",
    "write_5m": "cache_write_mtok",
    "write_1h": "cache_write_1h_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
}
_MEDIA: Final = {
    f"{way}_{kind}_mtok": f"{way}_mtok" for way in ("input", "output") for kind in ("audio", "image", "video")
}


def from_genai(model: str, at: dt.datetime, service_tier: str | None, sizes: Sizes) -> "Price | None":
    """Return the row of a model at an instant, or None when the list has none.

    Args:
        model: ``provider/model``.
        at: The instant, aware.
        service_tier: A provider's service tier, ``batch`` included; then only a row for just that tier counts.
        sizes: What another list knows of the model's sizes; it comes before what this one knows.
    """
    info = _model(model)
    if info is None:
        return None
    standard = info.get_prices(at)
    prices = standard
    if service_tier is not None:
        # one name for three kinds of tier: OpenAI's and Google's service tiers, batches, Anthropic's fast mode
        prices = info.get_prices(at, dict.fromkeys(("service_tier", "processing", "speed"), service_tier))
        if all(getattr(prices, key) == getattr(standard, key) for key in ("input_mtok", "output_mtok")):
            return None
    date = _date(info, at, service_tier) or f"genai-prices {_version()}"
    is_text_only = any(getattr(standard, key, None) not in (None, getattr(standard, of)) for key, of in _MEDIA.items())

    def row(input_tokens: int) -> "Price | None":
        rates = _rates(standard, input_tokens)
        if prices is not standard:
            rates = of_tier(_rates(prices, input_tokens, other_than=standard), rates)
        known = (sizes[0], sizes[1] or info.context_window)
        return row_of(rates, source="genai-prices", date=date, sizes=known, is_text_only=is_text_only)

    base = row(0)
    return None if base is None else with_steps(base, [(start, row(start + 1)) for start in _steps(prices)])


def steps_us(model: str) -> int:
    """Return the length of the times in which no price of a model can change, microseconds; 0 = none ever does."""
    info = _model(model)
    if info is None:
        return 0
    conditional = info.prices if isinstance(info.prices, list) else []
    constraints: list[Constraint] = [step.constraint for step in (*conditional, *(info.price_variants or []))]
    lengths = {_step_us(constraint) for constraint in constraints if constraint is not None}
    return min(lengths, default=0)


def _step_us(constraint: "StartDateConstraint | TimeOfDateConstraint") -> int:
    from genai_prices.types import StartDateConstraint

    return DAY_US if isinstance(constraint, StartDateConstraint) else SLOT_US


def _model(model: str) -> "ModelInfo | None":
    from genai_prices.data_snapshot import get_snapshot

    provider, slash, name = model.partition("/")
    provider_id = _PROVIDERS.get(provider, provider) if slash else None
    snapshot = get_snapshot()
    if slash and all(known.id != provider_id for known in snapshot.providers):
        return None
    try:
        _, info = snapshot.find_provider_model(name if slash else model, None, provider_id, None)
    except LookupError:
        return None
    return info


def _version() -> str:
    import genai_prices

    return genai_prices.__version__


def _rates(prices: "ModelPrice", input_tokens: int, other_than: "ModelPrice | None" = None) -> Rates:
    """Return the rates that hold for a request of this input size; of a variant only those it names itself."""
    rates: dict[str, Decimal | None] = {}
    for name, key in _KEYS.items():
        rate = getattr(prices, key)
        if other_than is not None and rate is getattr(other_than, key):
            rates[name] = None
        elif rate is None or isinstance(rate, Decimal):
            rates[name] = rate
        else:
            reached = [tier.price for tier in rate.tiers if input_tokens > tier.start]
            rates[name] = reached[-1] if reached else rate.base
    return rates


def _steps(prices: "ModelPrice") -> frozenset[int]:
    rates = [getattr(prices, key) for key in _KEYS.values()]
    tiered = [rate for rate in rates if rate is not None and not isinstance(rate, Decimal)]
    return frozenset(tier.start for rate in tiered for tier in rate.tiers)


def _date(info: "ModelInfo", at: dt.datetime, service_tier: str | None) -> str | None:
    """Return the ISO date from which the row in force holds; None when the list does not date it."""
    steps = info.prices if isinstance(info.prices, list) else []
    constraints: list[Constraint] = [step.constraint for step in steps]
    if service_tier is not None:
        variants = info.price_variants or []
        constraints += [variant.constraint for variant in variants if service_tier in variant.when.values()]
    starts = list(_starts(constraints, at))
    return max(starts).isoformat() if starts else None


def _starts(constraints: "Iterable[Constraint]", at: dt.datetime) -> "Iterable[dt.date]":
    from genai_prices.types import StartDateConstraint

    return (one.start_date for one in constraints if isinstance(one, StartDateConstraint) and one.active(at))
