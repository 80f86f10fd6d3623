"""Column map of Helicone's exports of requests.

Helicone takes prompt tokens apart: ``prompt_tokens`` leaves cached and written ones out, of every provider, so that
each class can be priced by itself (its OpenAI and Anthropic usage processors). Where it tells reasoning apart, the same
goes for ``completion_tokens``. Here they are put together again.
"""

from collections.abc import Iterator
from typing import Any, Final

from router_core.call_log.importers.maps import LogMap, RawRecord
from router_core.call_log.importers.values import to_count

_KINDS: Final = (
    ("$input", "prompt_tokens", "prompt_cache_read_tokens", "prompt_cache_write_tokens"),
    ("$output", "completion_tokens", "reasoning_tokens"),
)
_NO_CACHE: Final = "00000000-0000-0000-0000-000000000000"


def _whole(record: RawRecord) -> Iterator[RawRecord]:
    """Yield the record with all tokens of a kind as one number, and with whether a cache answered."""
    reference = record.get("cache_reference_id")
    more: dict[str, Any] = {"$cache_hit": reference not in (None, "", _NO_CACHE)}
    for name, whole, *parts in _KINDS:
        count = _count(record.get(whole))
        if count is not None:
            more[name] = count + sum(_count(record.get(part)) or 0 for part in parts)
    yield {**record, **more}


def _count(value: Any) -> int | None:
    try:
        return to_count(value) if value not in (None, "") else None
    except ValueError:
        return None


HELICONE: Final = LogMap(
    name="helicone",
    title="Helicone requests",
    prefix="helicone",
    signature=(
        frozenset({"request_id", "request_created_at", "response_status"}),
        frozenset({"request_id", "request_created_at", "prompt_tokens"}),
    ),
    places={
        "id": ("request_id",),
        "run": ("request_properties.Helicone-Session-Id", "properties.Helicone-Session-Id"),
        "step": ("request_properties.Helicone-Session-Path", "properties.Helicone-Session-Path"),
        "started_at": ("request_created_at",),
        "ended_at": ("response_created_at",),
        "latency_ms": ("delay_ms",),
        "ttft_ms": ("time_to_first_token",),
        "model": ("request_model", "model_override", "model", "response_model"),
        "response_model": ("response_model",),
        "provider": ("provider",),
        "input_tokens": ("$input", "prompt_tokens"),
        "cached_tokens": ("prompt_cache_read_tokens",),
        "cache_write_tokens": ("prompt_cache_write_tokens",),
        "output_tokens": ("$output", "completion_tokens"),
        "reasoning_tokens": ("reasoning_tokens",),
        "cost_usd": ("costUSD", "cost"),
        "status": ("response_status",),
        "cache_hit": ("$cache_hit",),
        "tags.user": ("request_user_id", "helicone_user"),
        "extra.prompt_id": ("prompt_id",),
        "extra.prompt_version": ("prompt_version",),
        "size.request": ("request_body",),
        "size.response": ("response_body",),
    },
    payload_type=(
        "tag:payload_type",
        "tag:PayloadType",
        "tag:task",
        "tag:Task",
        "tag:feature",
        "tag:Feature",
        "tag:Helicone-Session-Name",
        "tag:Helicone-Prompt-Id",
        "prompt_id",
    ),
    tags=("request_properties", "properties"),
    json_columns=("request_properties", "properties"),
    expand=_whole,
)
