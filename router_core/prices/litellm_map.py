"""Rows of litellm's model map, which has service tiers and batches but no dates: litellm's version dates a row."""

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from router_core.prices.rates import Rates, Sizes, of_tier, row_of, with_steps

if TYPE_CHECKING:
    from router_core.types import Capability, Price

FILE: Final = "model_prices_and_context_window_backup.json"
_PER_MILLION: Final = 1_000_000
_KEYS: Final = {
    "input": "input_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "write_5m": "cache_creation_input_token_cost",
    "write_1h": "cache_creation_input_token_cost_above_1hr",
    "output": "output_cost_per_token",
    "reasoning": "output_cost_per_reasoning_token",
}
_MEDIA: Final = {
    f"{way}_cost_per_{kind}_token": f"{way}_cost_per_token"
    for way in ("input", "output")
    for kind in ("audio", "image", "video")
}
# service tier -> how the map's keys for it end, where that is not its own name
_SUFFIXES: Final = {"batch": "batches"}
_ABOVE: Final = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
# what the map is kept for; its other two hundred keys would only cost memory
_KEPT: Final = re.compile(
    rf"({'|'.join(_KEYS.values())})(_above_\d+k_tokens)?(_[a-z]+)?|{'|'.join(_MEDIA)}"
    "|litellm_provider|max_input_tokens|max_output_tokens"
    "|supports_function_calling|supports_vision|supports_response_schema"
)
# an entry that tells of any ability tells of these two if the model has them; schemas it mostly leaves out, and of
# log-probabilities it never tells
_TOLD: Final[Mapping[str, "Capability"]] = {"supports_function_calling": "tools", "supports_vision": "vision"}
_SCHEMA: Final = "supports_response_schema"
_CHAT_MODES: Final = frozenset({"chat", "completion", "responses", None})

Entry = Mapping[str, Any]


def from_litellm(model: str, service_tier: str | None) -> "Price | None":
    """Return the row of a model, or None when the map has none.

    Args:
        model: ``provider/model``.
        service_tier: A provider's service tier, ``batch`` included; then only a row for just that tier counts.
    """
    entry = _entry(model)
    ending = "" if service_tier is None else f"_{_SUFFIXES.get(service_tier, service_tier)}"
    if ending and not any(_KEYS[name] + ending in entry for name in ("input", "output")):
        return None
    is_text_only = any(entry.get(key) not in (None, entry.get(of)) for key, of in _MEDIA.items())

    def row(step: str) -> "Price | None":
        rates = _rates(entry, [step, ""])
        # a tier that has no price for long requests costs what they cost in the standard one, as far as anyone knows
        is_stand_in = bool(ending) and f"{_KEYS['input']}{step}{ending}" not in entry
        if ending:
            rates = of_tier(_rates(entry, [step + ending]), rates)
        found = row_of(
            rates, source="litellm", date=f"litellm {_version()}", sizes=_sizes(entry), is_text_only=is_text_only
        )
        return replace(found, is_stand_in=True) if found is not None and is_stand_in else found

    base = row("")
    if base is None:
        return None
    found = [match for match in map(_ABOVE.fullmatch, entry) if match]
    return with_steps(base, [(int(m[1]) * 1000, row(f"_above_{m[1]}k_tokens")) for m in found])


def sizes_of(model: str) -> Sizes:
    """Return the model's largest completion and largest input, as far as the map knows them."""
    return _sizes(_entry(model))


def lacks_of(model: str) -> "frozenset[Capability]":
    """Return what the map knows a model not to be able to do."""
    entry = _entry(model)
    if not any(key in entry for key in (*_TOLD, _SCHEMA)):
        return frozenset()
    lacks: set[Capability] = {name for key, name in _TOLD.items() if not entry.get(key)}
    if entry.get(_SCHEMA) is False:
        lacks.add("schema")
    return frozenset(lacks)


def _rates(entry: Entry, endings: Sequence[str]) -> Rates:
    """Return the rates in USD per million, each under the first of these endings that its key has."""
    rates: dict[str, Decimal | None] = {}
    for name, key in _KEYS.items():
        values = [entry[key + ending] for ending in endings if isinstance(entry.get(key + ending), int | float)]
        # the shortest decimal that means the same float is what the list's authors wrote
        rates[name] = Decimal(repr(values[0])) * _PER_MILLION if values else None
    return rates


def _entry(model: str) -> Entry:
    """Return the map's entry under the full name, else under the bare one if the provider is the same, else nothing."""
    entries = _map()
    if model in entries:
        return entries[model]
    provider, slash, name = model.partition("/")
    entry = entries.get(name) if slash else None
    if entry is None:
        return {}
    owner = str(entry.get("litellm_provider"))
    return entry if owner == provider or owner.startswith((f"{provider}_", f"{provider}-")) else {}


def _sizes(entry: Entry) -> Sizes:
    return _size(entry, "max_output_tokens"), _size(entry, "max_input_tokens")


def _size(entry: Entry, key: str) -> int | None:
    value = entry.get(key)
    return int(value) if isinstance(value, int | float) and value > 0 else None


@cache
def _version() -> str:
    return importlib.metadata.version("litellm")


@cache
def _map() -> Mapping[str, Entry]:
    """Return litellm's bundled map of chat models, read as a file: importing litellm would take seconds."""
    import orjson

    spec = importlib.util.find_spec("litellm")
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(folders[0]) / FILE if folders else None
    if path is None or not path.is_file():
        return {}
    entries = cast("dict[str, dict[str, Any]]", orjson.loads(path.read_bytes()))
    return {
        model: {key: value for key, value in (_stepped(entry) | entry).items() if _KEPT.fullmatch(key)}
        for model, entry in entries.items()
        if entry.get("mode") in _CHAT_MODES
    }


def _stepped(entry: Entry) -> dict[str, Any]:
    """Return the steps of ``tiered_pricing`` under the keys that other entries have for the same thing."""
    steps = cast("list[dict[str, Any]]", entry.get("tiered_pricing") or [])
    return {
        key if start == 0 else f"{key}_above_{start // 1000}k_tokens": rate
        for step in steps
        for start in [int(step["range"][0])]
        for key, rate in step.items()
        if key != "range" and start % 1000 == 0
    }
