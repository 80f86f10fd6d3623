"""Column maps of what LiteLLM writes: the proxy's table ``LiteLLM_SpendLogs``, and callbacks' logging payloads.

Both count cached and written tokens into ``prompt_tokens``. Retries and fallbacks of one answer share the trace id,
which callers may also use for more than one answer: a call ends with its first success.
"""

from typing import Final

from router_core.call_log.importers.maps import LogMap

_TYPE_NAMES: Final = ("payload_type", "task", "type", "feature")
_TYPE_TAGS: Final = tuple(f"tag:{name}" for name in _TYPE_NAMES)
_USAGE: Final = ("metadata.additional_usage_values", "metadata.usage_object")


def _usage(*tails: str) -> tuple[str, ...]:
    return tuple(f"{usage}.{tail}" for usage in _USAGE for tail in tails)


_USAGE_PLACES: Final[dict[str, tuple[str, ...]]] = {
    "input_tokens": ("prompt_tokens",),
    "output_tokens": ("completion_tokens",),
    "cached_tokens": _usage("cache_read_input_tokens", "prompt_tokens_details.cached_tokens"),
    "cache_write_tokens": _usage("cache_creation_input_tokens", "prompt_tokens_details.cache_creation_tokens"),
    "cache_write_1h_tokens": _usage(
        "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
    ),
    "reasoning_tokens": _usage("completion_tokens_details.reasoning_tokens"),
    "service_tier": _usage("service_tier"),
}

SPEND_LOGS: Final = LogMap(
    name="litellm-spend",
    title="LiteLLM_SpendLogs",
    prefix="litellm",
    signature=(frozenset({"request_id", "spend", "startTime", "model", "prompt_tokens"}),),
    json_columns=("metadata", "request_tags"),
    places={
        **_USAGE_PLACES,
        "id": ("request_id",),
        "call": ("session_id",),
        "run": ("session_id",),
        "started_at": ("startTime",),
        "ended_at": ("endTime",),
        "first_token_at": ("completionStartTime",),
        "latency_ms": ("request_duration_ms",),
        "model": ("model", "model_group"),
        "provider": ("custom_llm_provider",),
        "cost_usd": ("spend",),
        "status": ("status", "metadata.status"),
        "error_type": ("metadata.error_information.error_class",),
        "error_code": ("metadata.error_information.error_code",),
        "cache_hit": ("cache_hit",),
        "tags.user": ("end_user", "user"),
        "tags.team": ("team_id",),
        "tags.organization": ("organization_id",),
        "extra.model_group": ("model_group",),
        "extra.call_type": ("call_type",),
        "extra.attempted_retries": ("metadata.attempted_retries",),
        "extra.attempted_fallbacks": ("metadata.attempted_fallbacks",),
        "extra.original_model_group": ("metadata.original_model_group",),
        "size.messages": ("messages",),
        "size.response": ("response",),
    },
    payload_type=(
        *_TYPE_TAGS,
        *(f"metadata.spend_logs_metadata.{name}" for name in _TYPE_NAMES),
        "tag:*",
        "model_group",
    ),
    tags=("request_tags",),
    links_failures=True,
)

LOGGING_PAYLOAD: Final = LogMap(
    name="litellm-payload",
    title="LiteLLM StandardLoggingPayload",
    prefix="litellm",
    signature=(
        frozenset({"id", "response_cost", "startTime", "model"}),
        frozenset({"trace_id", "response_cost", "startTime"}),
    ),
    json_columns=("metadata", "request_tags", "error_information"),
    # a failed request has no id of its own but that of the call it was made for
    keyed_by_time=True,
    places={
        **_USAGE_PLACES,
        "id": ("id", "litellm_call_id"),
        "call": ("trace_id",),
        "run": ("session_id", "trace_id"),
        "started_at": ("startTime",),
        "ended_at": ("endTime",),
        "first_token_at": ("completionStartTime",),
        "latency_s": ("response_time",),
        "model": ("model", "model_group"),
        "provider": ("custom_llm_provider",),
        "cost_usd": ("response_cost",),
        "status": ("status",),
        "error_type": ("error_information.error_class",),
        "error_code": ("error_information.error_code",),
        "cache_hit": ("cache_hit",),
        "tags.user": ("end_user", "metadata.user_api_key_end_user_id", "metadata.user_api_key_user_id"),
        "tags.team": ("metadata.user_api_key_team_id", "metadata.team_id"),
        "extra.model_group": ("model_group",),
        "extra.call_type": ("call_type",),
        "size.messages": ("messages",),
        "size.response": ("response",),
    },
    payload_type=(
        *_TYPE_TAGS,
        *(f"metadata.spend_logs_metadata.{name}" for name in _TYPE_NAMES),
        *(f"metadata.requester_metadata.{name}" for name in _TYPE_NAMES),
        "tag:*",
        "model_group",
    ),
    tags=("request_tags",),
    links_failures=True,
)
