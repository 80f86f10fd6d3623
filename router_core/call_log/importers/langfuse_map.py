"""Column map of Langfuse's exports of observations: its own table view, and the files for blob storage.

Only generations (and embeddings) are requests to a model. The parts of ``usage_details`` are disjoint: the input is the
sum of all of them that are input. Times without a zone are UTC, durations are seconds.
"""

from collections.abc import Iterator
from typing import Any, Final

from router_core.call_log.importers.maps import Broken, LogMap, RawRecord, kind_of_value
from router_core.call_log.importers.values import to_count, to_mapping

_USAGE_COLUMNS: Final = ("usage_details", "usageDetails")
_NO_USAGE: Final[tuple[object, ...]] = (None, "", "null", "{}", {}, [], 0)
_MAX_KEY: Final = 60
# Gemini's own names, as they come where nobody has translated them. Unlike Langfuse's they are not disjoint: the prompt
# holds what came from the cache. Thoughts are beside the candidates, and so is what tools put into the prompt
_GEMINI: Final[dict[str, tuple[str, ...]]] = {
    "prompttokencount": ("$input",),
    "cachedcontenttokencount": ("$cached",),
    "tooluseprompttokencount": ("$input",),
    "candidatestokencount": ("$output",),
    "responsetokencount": ("$output",),
    "thoughtstokencount": ("$output", "$reasoning"),
    "generatedtokencount": ("$output",),
}
_MODEL_REQUESTS: Final = frozenset({"GENERATION", "EMBEDDING"})


def _both(*names: str) -> tuple[str, ...]:
    """Return the names as they are in files, and as they are in the table view."""
    return tuple(spelling for name in names for spelling in dict.fromkeys((name, _camel(name))))


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _with_usage(record: RawRecord) -> Iterator[RawRecord | Broken]:
    """Yield the record with the sums of its usage beside it."""
    column, given = _usage(record)
    usage = to_mapping(given)
    if not usage:
        if given in _NO_USAGE or _reason(record) is not None:
            yield record
        else:
            yield Broken(f"{column} is {kind_of_value(given)}, not an object")
        return
    sums: dict[str, Any] = {}
    for key, value in usage.items():
        for name in _classes(key):
            sums[name] = _plus(sums.get(name, 0), value)
    yield {**record, **sums}


def _usage(record: RawRecord) -> tuple[str, Any]:
    """Return the column of the usage, and what it holds."""
    column = next((name for name in _USAGE_COLUMNS if record.get(name)), _USAGE_COLUMNS[0])
    return column, record.get(column)


def _unknown_usage(record: RawRecord) -> Iterator[str]:
    """Yield the parts of the usage that count into no sum."""
    column, given = _usage(record)
    for key, value in to_mapping(given).items():
        if isinstance(value, dict):
            yield f"{column}.{key[:_MAX_KEY]} is an object, not a number of tokens"
        elif value and not _classes(key) and not _is_repetition(key):
            yield f"{column}.{key[:_MAX_KEY]} is no class of tokens that is known"


def _is_repetition(key: str) -> bool:
    """Return whether a part of the usage only says again, in sum or in detail, what others say."""
    return "total" in key.lower() or _plain(key).endswith("details")


def _plain(key: str) -> str:
    return key.lower().replace("_", "")


def _classes(given: str) -> tuple[str, ...]:
    """Return which sums a part of the usage counts into."""
    if _is_repetition(given):
        return ()
    if (gemini := _GEMINI.get(_plain(given))) is not None:
        return gemini
    key = _plain(given)
    if "output" in key or "completion" in key:
        return ("$output", "$reasoning") if "reasoning" in key else ("$output",)
    if "cachecreation" in key or "cachewrite" in key:
        return ("$input", "$written", "$written_1h") if "1h" in key else ("$input", "$written")
    if "cacheread" in key or "cached" in key:
        return ("$input", "$cached")
    return ("$input",) if "input" in key or "prompt" in key else ()


def _plus(whole: Any, part: Any) -> Any:
    """Return the sum; what is no number stays in its place and is refused where the sum is used."""
    if part is None:
        return whole
    try:
        return to_count(whole) + to_count(part)
    except ValueError:
        return part


def _reason(record: RawRecord) -> str | None:
    kind = record.get("type")
    if not kind or str(kind).upper() in _MODEL_REQUESTS:
        return None
    return "no request to a model (its type is not GENERATION)"


LANGFUSE: Final = LogMap(
    name="langfuse",
    title="Langfuse observations",
    prefix="langfuse",
    signature=(
        frozenset({"id", "trace_id", "start_time", "provided_model_name"}),
        frozenset({"id", "trace_id", "type", "start_time", "usage_details"}),
        frozenset({"id", "traceId", "startTime", "usageDetails"}),
        frozenset({"id", "traceId", "startTime", "level", "model"}),
        frozenset({"id", "traceId", "startTime", "providedModelName"}),
    ),
    places={
        "id": ("id",),
        "run": _both("trace_id"),
        "step": ("name",),
        "started_at": _both("start_time"),
        "ended_at": _both("end_time"),
        "first_token_at": _both("completion_start_time"),
        "latency_s": ("latency",),
        "ttft_s": _both("time_to_first_token"),
        "model": (*_both("provided_model_name"), "model", *_both("internal_model_id")),
        "input_tokens": ("$input", *_both("input_usage", "input_tokens", "prompt_tokens")),
        "cached_tokens": ("$cached",),
        "cache_write_tokens": ("$written",),
        "cache_write_1h_tokens": ("$written_1h",),
        "output_tokens": ("$output", *_both("output_usage", "output_tokens", "completion_tokens")),
        "reasoning_tokens": ("$reasoning",),
        "cost_usd": (*_both("total_cost", "calculated_total_cost"), "cost_details.total", "costDetails.total"),
        "status": ("level",),
        "tags.user": _both("user_id"),
        "tags.session": _both("session_id"),
        "tags.environment": ("environment",),
        "size.input": ("input",),
        "size.output": ("output",),
    },
    payload_type=(
        "tag:payload_type",
        "tag:task",
        "tag:type",
        "tag:feature",
        "metadata.payload_type",
        "metadata.task",
        *_both("trace_name"),
        "name",
        "tag:*",
    ),
    tags=("tags",),
    json_columns=("usage_details", "usageDetails", "tags"),
    expand=_with_usage,
    leave_out=_reason,
    note=_unknown_usage,
)
