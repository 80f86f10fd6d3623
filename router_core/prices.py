"""The price book: user overrides > genai-prices (dated) > litellm's own map (its JSON file) > unpriced.

Two rules hold for every list. A class of tokens without a rate of its own costs the dearest plain alternative: cached
input and five-minute writes cost the input price, one-hour writes what five-minute writes cost. And a rate of 0 in a
list is not a price but a gap, because lists use it for what they do not know: only an override declares a model free.
"""

import datetime as dt
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from router_core.types import NANO, Price

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genai_prices.types import ModelInfo, ModelPrice

    from router_core.config import Pessimistic, PriceOverride

# time-of-day prices change on half hours at the finest
SLOT_US: Final = 30 * 60 * 1_000_000
LITELLM_MAP: Final = "model_prices_and_context_window_backup.json"
_CACHE_ROWS: Final = 10_000
_PER_MILLION: Final = 1_000_000
# litellm's provider -> genai-prices' provider, where the names differ. genai-prices' own matching is left out: it takes
# any name with "openai" in it for OpenAI, also one that means "something compatible at my own address"
_GENAI_PROVIDERS: Final = {
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
_STANDARD_TIERS: Final = frozenset({None, "auto", "default", "standard"})
_ABOVE: Final = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
# what the map is kept for; its other two hundred keys would only cost memory
_KEPT: Final = re.compile(
    r"(input_cost_per_token|output_cost_per_token|cache_read_input_token_cost|cache_creation_input_token_cost"
    r"(_above_1hr)?)(_above_\d+k_tokens)?(_flex|_priority)?|litellm_provider|max_input_tokens|max_output_tokens"
)
_CHAT_MODES: Final = frozenset({"chat", "completion", "responses", None})

Rates = Mapping[str, Decimal | None]


class PriceBook:
    """Dated prices of models, resolved once per model, half hour and service tier.

    Args:
        overrides: The user's own prices by ``provider/model``, USD per million tokens; they always win.
        on_unpriced: ``error`` leaves a model that no list knows without a price; else it gets this pessimistic one.
        version: What is written as the date of overrides and pessimistic prices, e.g. the config's hash.
    """

    def __init__(
        self,
        overrides: "Mapping[str, PriceOverride] | None" = None,
        on_unpriced: "Literal['error'] | Pessimistic" = "error",
        *,
        version: str = "",
    ) -> None:
        self._overrides = dict(overrides or {})
        self._pessimistic = None if on_unpriced == "error" else on_unpriced.pessimistic
        self._version = version
        self._rows: dict[tuple[str, int, str | None], Price | None] = {}

    def price(self, model: str, at_us: int, *, service_tier: str | None = None) -> Price | None:
        """Return the model's price row at an instant, or None when nobody knows it.

        Args:
            model: ``provider/model``.
            at_us: The instant, microseconds since the epoch, UTC.
            service_tier: The provider's service tier (``flex``, ``priority``); None = the standard one.
        """
        slot = at_us // SLOT_US
        key = (model, slot, service_tier)
        try:
            return self._rows[key]
        except KeyError:
            pass
        if len(self._rows) >= _CACHE_ROWS:
            self._rows = {}
        tier = None if service_tier in _STANDARD_TIERS else service_tier
        row = self._rows[key] = self._resolve(model, slot * SLOT_US, tier)
        return row

    def _resolve(self, model: str, at_us: int, service_tier: str | None) -> Price | None:
        override = self._overrides.get(model)
        if override is not None:
            return _from_override(override, "override", self._version, model)
        at = dt.datetime.fromtimestamp(at_us / 1_000_000, tz=dt.UTC)
        row = _from_genai(model, at, service_tier) or _from_litellm(model, service_tier)
        if row is None and self._pessimistic is not None:
            return _from_override(self._pessimistic, "pessimistic", self._version, model)
        return row


def _nusd_per_m(usd_per_m: Decimal) -> int:
    return int((usd_per_m * NANO).to_integral_value(rounding=ROUND_HALF_EVEN))


def _row(rates: Rates, *, source: str, date: str, sizes: tuple[int | None, int | None]) -> Price | None:
    """Return a row of a list from its rates in USD per million; None unless input and output have a price."""
    given = {name: rate for name, rate in rates.items() if rate}
    if "input" not in given or "output" not in given:
        return None
    write_5m = given.get("write_5m", given["input"])
    return Price(
        input_nusd_per_m=_nusd_per_m(given["input"]),
        cached_nusd_per_m=_nusd_per_m(given.get("cached", given["input"])),
        write_5m_nusd_per_m=_nusd_per_m(write_5m),
        write_1h_nusd_per_m=_nusd_per_m(given.get("write_1h", write_5m)),
        output_nusd_per_m=_nusd_per_m(given["output"]),
        source=source,
        date=date,
        max_output_tokens=sizes[0],
        context_tokens=sizes[1],
    )


def _with_steps(base: Price, steps: "Iterable[tuple[int, Price | None]]") -> Price:
    """Return the row with the rows for longer requests attached, lowest threshold outermost."""
    above: int | None = None
    long: Price | None = None
    for start, row in sorted(steps, key=lambda step: step[0], reverse=True):
        if row is not None:
            above, long = start, replace(row, long_above_tokens=above, long_price=long)
    return base if long is None else replace(base, long_above_tokens=above, long_price=long)


def _from_override(override: "PriceOverride", source: str, date: str, model: str) -> Price:
    entry = _litellm_entry(model)
    cached = override.input if override.cached is None else override.cached
    write_5m = override.input if override.write_5m is None else override.write_5m
    write_1h = write_5m if override.write_1h is None else override.write_1h
    return Price(
        input_nusd_per_m=_nusd_per_m(override.input),
        cached_nusd_per_m=_nusd_per_m(cached),
        write_5m_nusd_per_m=_nusd_per_m(write_5m),
        write_1h_nusd_per_m=_nusd_per_m(write_1h),
        output_nusd_per_m=_nusd_per_m(override.output),
        source=source,
        date=date,
        max_output_tokens=_size(entry, "max_output_tokens"),
        context_tokens=_size(entry, "max_input_tokens"),
    )


def _from_genai(model: str, at: dt.datetime, service_tier: str | None) -> Price | None:
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    provider, slash, name = model.partition("/")
    provider_id = _GENAI_PROVIDERS.get(provider, provider) if slash else None
    snapshot = get_snapshot()
    if slash and all(known.id != provider_id for known in snapshot.providers):
        return None
    try:
        _, info = snapshot.find_provider_model(name if slash else model, None, provider_id, None)
    except LookupError:
        return None
    prices = info.get_prices(at, None if service_tier is None else {"service_tier": service_tier})
    entry = _litellm_entry(model)
    sizes = (_size(entry, "max_output_tokens"), _size(entry, "max_input_tokens") or info.context_window)
    date = _genai_date(info, at) or f"genai-prices {genai_prices.__version__}"

    def row(input_tokens: int) -> Price | None:
        return _row(_genai_rates(prices, input_tokens), source="genai-prices", date=date, sizes=sizes)

    base = row(0)
    return None if base is None else _with_steps(base, [(start, row(start + 1)) for start in _genai_steps(prices)])


def _genai_rates(prices: "ModelPrice", input_tokens: int) -> Rates:
    """Return the rates that hold for a request of this input size, USD per million."""
    keys = {
        "input": prices.input_mtok,
        "cached": prices.cache_read_mtok,
        "write_5m": prices.cache_write_mtok,
        "write_1h": prices.cache_write_1h_mtok,
        "output": prices.output_mtok,
    }
    rates: dict[str, Decimal | None] = {}
    for name, rate in keys.items():
        if rate is None or isinstance(rate, Decimal):
            rates[name] = rate
        else:
            reached = [tier.price for tier in rate.tiers if input_tokens > tier.start]
            rates[name] = reached[-1] if reached else rate.base
    return rates


def _genai_steps(prices: "ModelPrice") -> frozenset[int]:
    rates = (prices.input_mtok, prices.output_mtok, prices.cache_read_mtok, prices.cache_write_mtok)
    tiered = [rate for rate in rates if rate is not None and not isinstance(rate, Decimal)]
    return frozenset(tier.start for rate in tiered for tier in rate.tiers)


def _genai_date(info: "ModelInfo", at: dt.datetime) -> str | None:
    """Return the ISO date from which the row in force holds; None when the list does not date it."""
    from genai_prices.types import StartDateConstraint

    conditional = [] if not isinstance(info.prices, list) else info.prices
    starts = [
        step.constraint.start_date
        for step in conditional
        if isinstance(step.constraint, StartDateConstraint) and step.constraint.active(at)
    ]
    return starts[-1].isoformat() if starts else None


def _from_litellm(model: str, service_tier: str | None) -> Price | None:
    entry = _litellm_entry(model)
    date = f"litellm {_version_of('litellm')}"
    sizes = (_size(entry, "max_output_tokens"), _size(entry, "max_input_tokens"))

    def row(step: str) -> Price | None:
        return _row(_litellm_rates(entry, step, service_tier), source="litellm", date=date, sizes=sizes)

    base = row("")
    if base is None:
        return None
    found = [match for match in map(_ABOVE.fullmatch, entry) if match]
    return _with_steps(base, [(int(m[1]) * 1000, row(f"_above_{m[1]}k_tokens")) for m in found])


def _litellm_rates(entry: Mapping[str, Any], step: str, service_tier: str | None) -> Rates:
    """Return the rates in USD per million; what a step or service tier does not name keeps its plain rate."""
    keys = {
        "input": "input_cost_per_token",
        "cached": "cache_read_input_token_cost",
        "write_5m": "cache_creation_input_token_cost",
        "write_1h": "cache_creation_input_token_cost_above_1hr",
        "output": "output_cost_per_token",
    }
    suffixes = [f"{step}_{service_tier}", step, ""] if service_tier else [step, ""]
    rates: dict[str, Decimal | None] = {}
    for name, key in keys.items():
        values = [entry[key + suffix] for suffix in suffixes if isinstance(entry.get(key + suffix), int | float)]
        # the shortest decimal that means the same float is what the list's authors wrote
        rates[name] = Decimal(repr(values[0])) * _PER_MILLION if values else None
    return rates


def _litellm_entry(model: str) -> Mapping[str, Any]:
    """Return the map's entry under the full name, else under the bare one if the provider is the same, else nothing."""
    entries = _litellm_map()
    if model in entries:
        return entries[model]
    provider, slash, name = model.partition("/")
    entry = entries.get(name) if slash else None
    if entry is None:
        return {}
    owner = str(entry.get("litellm_provider"))
    return entry if owner == provider or owner.startswith((f"{provider}_", f"{provider}-")) else {}


def _size(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return int(value) if isinstance(value, int | float) and value > 0 else None


@cache
def _version_of(distribution: str) -> str:
    return importlib.metadata.version(distribution)


@cache
def _litellm_map() -> Mapping[str, Mapping[str, Any]]:
    """Return litellm's bundled map of chat models, read as a file: importing litellm would take seconds."""
    import orjson

    spec = importlib.util.find_spec("litellm")
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(folders[0]) / LITELLM_MAP if folders else None
    if path is None or not path.is_file():
        return {}
    entries = cast("dict[str, dict[str, Any]]", orjson.loads(path.read_bytes()))
    return {
        model: {key: value for key, value in entry.items() if _KEPT.fullmatch(key)}
        for model, entry in entries.items()
        if entry.get("mode") in _CHAT_MODES
    }
