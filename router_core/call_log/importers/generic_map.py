"""The column map of a log of unknown make, guessed from its columns' names."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final

from router_core.call_log.importers.maps import LogMap

# spellings are compared without case and punctuation
_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "id": (
        "request_id", "attempt_id", "generation_id", "completion_id", "span_id", "log_id", "event_id", "uuid", "id",
    ),
    "call": ("call_id",),
    "run": ("run", "run_id", "trace_id", "session_id", "job_id", "workflow_id", "conversation_id", "thread_id"),
    "step": ("step", "step_id", "step_name"),
    "payload_type": (
        "payload_type", "task_type", "task", "use_case", "request_type", "feature", "prompt_name", "category",
        "operation", "endpoint", "name",
    ),
    "started_at": (
        "started_at", "start_time", "start", "timestamp", "ts", "time", "created_at", "created", "request_time",
        "datetime", "date_time", "date", "logged_at",
    ),
    "ended_at": ("ended_at", "end_time", "end", "finished_at", "completed_at"),
    "latency_s": ("latency_s", "duration_s", "latency_seconds", "duration_seconds", "response_time_s", "elapsed_s"),
    "latency_ms": ("latency_ms", "duration_ms", "response_time_ms", "elapsed_ms", "latency_milliseconds", "delay_ms"),
    "ttft_s": ("ttft_s", "time_to_first_token_s"),
    "ttft_ms": ("ttft_ms", "time_to_first_token_ms"),
    "model": ("request_model", "model", "model_name", "model_id", "llm", "engine", "deployment"),
    "response_model": ("response_model", "served_model"),
    "provider": ("provider", "provider_name", "vendor", "custom_llm_provider"),
    "service_tier": ("service_tier",),
    "tier": ("tier",),
    "input_tokens": (
        "input_tokens", "prompt_tokens", "tokens_in", "tokens_prompt", "n_context_tokens_total", "num_input_tokens",
        "input_token_count", "prompt_token_count",
    ),
    "cached_tokens": (
        "cached_tokens", "cache_read_input_tokens", "cached_input_tokens", "cache_read_tokens", "input_cached_tokens",
        "prompt_cache_read_tokens", "native_tokens_cached",
    ),
    "cache_write_tokens": (
        "cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens", "prompt_cache_write_tokens",
    ),
    "cache_write_1h_tokens": ("cache_write_1h_tokens",),
    "output_tokens": (
        "output_tokens", "completion_tokens", "tokens_out", "tokens_completion", "n_generated_tokens_total",
        "num_output_tokens", "output_token_count", "completion_token_count", "candidates_token_count",
    ),
    "reasoning_tokens": ("reasoning_tokens", "thinking_tokens", "native_tokens_reasoning"),
    "cost_usd": (
        "cost_usd", "usd", "total_cost_usd", "total_cost", "cost", "spend", "spend_usd", "cost_total", "price_usd",
    ),
    "status": ("status", "outcome", "result", "success", "ok", "status_code", "http_status", "state"),
    "error_type": ("error_type", "error_class", "error_code", "exception"),
    "cache_hit": ("cache_hit", "from_cache"),
    "confidence": ("confidence",),
    "correct": ("correct", "is_correct"),
    "error_usd": ("error_usd", "error_cost_usd"),
    "prompt_hash": ("prompt_hash",),
    "tags.user": ("user", "user_id", "end_user", "customer_id", "customer"),
    "tags.team": ("team", "team_id", "department"),
    "tags.project": ("project", "project_id", "app", "app_name", "application"),
    "tags.environment": ("environment", "env"),
}  # fmt: skip
NEEDED: Final = ("started_at", "model")


def guess(columns: Sequence[str], samples: Sequence[Mapping[str, Any]] = ()) -> LogMap:
    """Return a map for these columns; fields that no column's name tells are left out.

    Args:
        columns: The log's columns.
        samples: Some of its records; a column that holds objects or lists is no field's.
    """
    plain = {_plain(name): name for name in reversed(columns) if not _is_nested(name, samples)}
    taken: set[str] = set()
    places: dict[str, tuple[str, ...]] = {}
    for field, spellings in _ALIASES.items():
        found = next((plain[key] for key in map(_plain, spellings) if key in plain and plain[key] not in taken), None)
        if found is not None:
            places[field] = (found,)
            taken.add(found)
    types = places.pop("payload_type", ())
    return LogMap(
        name="table",
        title="a table of requests",
        prefix="row",
        places=places,
        payload_type=types,
        # an id that is only a number says nothing about whose it is
        keyed_by_time=True,
    )


def missing(log_map: LogMap) -> list[str]:
    """Return the fields that a log cannot do without and that the map has no place for."""
    return [name for name in NEEDED if name not in log_map.places]


def unread(log_map: LogMap, columns: Sequence[str]) -> list[str]:
    """Return the columns that the map has no use for."""
    places = [*chain(*log_map.places.values()), *log_map.payload_type, *log_map.tags]
    # a place may lead into a column: metadata.task
    used = {*places, *(place.partition(".")[0] for place in places)}
    return [name for name in columns if name not in used]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_nested(name: str, samples: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a column holds objects or lists and nothing else."""
    held = [value for sample in samples if (value := sample.get(name)) not in (None, "")]
    return bool(held) and all(isinstance(value, dict | list) for value in held)
