"""Column map of OpenTelemetry's GenAI spans, in OTLP JSON as the file exporter writes it: one export request per line.

Both generations of attribute names count. Spans of agents and tools are no requests to a model: what they report are
sums over their children's.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, cast

from router_core.call_log.importers.maps import Broken, LogMap, RawRecord, kind_of_value

_REQUESTS: Final = frozenset(
    {"", "chat", "completion", "text_completion", "generate_content", "embeddings", "responses"}
)
_MARKS: Final = (
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
)
_SPANS: Final = ("resourceSpans", "resource_spans")
_FAILED: Final = (2, "2", "STATUS_CODE_ERROR")
# the conventions' names of providers -> the model client's
_PROVIDERS: Final = {
    "aws.bedrock": "bedrock",
    "az.ai.inference": "azure_ai",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure_ai",
    "azure.ai.openai": "azure",
    "gcp.gemini": "gemini",
    "gcp.gen_ai": "gemini",
    "gcp.vertex_ai": "vertex_ai",
    "ibm.watsonx.ai": "watsonx",
    "mistral_ai": "mistral",
    "vertex_ai": "vertex_ai",
    "x_ai": "xai",
}


def _spans(record: RawRecord) -> Iterator[RawRecord | Broken]:
    """Yield the spans of an export request, each as one flat object of its attributes and of its own fields.

    What is of another type than OTLP has there is broken by itself, and takes no other span with it.
    """
    if not any(name in record for name in _SPANS):
        yield Broken("holds no spans", is_bad=False)
    for resource_spans in _objects(record, *_SPANS):
        if isinstance(resource_spans, Broken):
            yield resource_spans
            continue
        resource = _attributes(resource_spans.get("resource"), "resource")
        if isinstance(resource, Broken):
            yield resource
            resource = {}
        for scope_spans in _objects(resource_spans, "scopeSpans", "scope_spans", "instrumentationLibrarySpans"):
            if isinstance(scope_spans, Broken):
                yield scope_spans
                continue
            for span in _objects(scope_spans, "spans"):
                yield span if isinstance(span, Broken) else _flat(span, resource)


def _flat(span: dict[str, Any], resource: dict[str, Any]) -> RawRecord | Broken:
    flat = _attributes(span, "span")
    if isinstance(flat, Broken):
        return flat
    status = span.get("status")
    code = cast("dict[str, Any]", status).get("code") if isinstance(status, dict) else None
    trace_id, span_id = span.get("traceId", span.get("trace_id")), span.get("spanId", span.get("span_id"))
    provider = flat.get("gen_ai.provider.name") or flat.get("gen_ai.system")
    flat |= {
        "$id": f"{trace_id}/{span_id}" if trace_id and span_id else None,
        "$trace": trace_id,
        "$name": span.get("name"),
        "$start": span.get("startTimeUnixNano", span.get("start_time_unix_nano")),
        "$end": span.get("endTimeUnixNano", span.get("end_time_unix_nano")),
        "$status": "failure" if code in _FAILED or flat.get("error.type") else "success",
        "$service": resource.get("service.name"),
        "$provider": _PROVIDERS.get(str(provider), provider) if provider else None,
    }
    return flat


def _objects(holder: RawRecord, *names: str) -> Iterator[dict[str, Any] | Broken]:
    for name in names:
        value = holder.get(name)
        if value is None:
            continue
        if not isinstance(value, list):
            yield Broken(f"{name} is {kind_of_value(value)}, not a list")
            continue
        for item in cast("list[object]", value):
            if isinstance(item, dict):
                yield cast("dict[str, Any]", item)
            else:
                yield Broken(f"{name} holds {kind_of_value(item)} where an object should be")


def _attributes(holder: object, what: str) -> dict[str, Any] | Broken:
    if holder is None:
        return {}
    if not isinstance(holder, dict):
        return Broken(f"{what} is {kind_of_value(holder)}, not an object")
    found: dict[str, Any] = {}
    for pair in _objects(cast("dict[str, Any]", holder), "attributes"):
        if isinstance(pair, Broken):
            return Broken(f"{what}: {pair.reason}")
        key, value = pair.get("key"), pair.get("value")
        if not isinstance(key, str):
            return Broken(f"{what}: an attribute has no name")
        if isinstance(value, dict):
            # exactly one of stringValue, intValue, doubleValue, boolValue; lists and objects are no column's
            found[key] = next(iter(cast("dict[str, Any]", value).values()), None)
        elif value is not None and key in _READ:
            return Broken(f"{key} is {kind_of_value(value)}, not a value of OTLP ({{intValue: ...}})")
    return found


def _reason(span: RawRecord) -> str | None:
    operation = span.get("gen_ai.operation.name") or ""
    if operation in _REQUESTS and any(span.get(mark) is not None for mark in _MARKS):
        return None
    return "no request to a model (no GenAI span, or an agent's or tool's)"


OTEL: Final = LogMap(
    name="otel",
    title="OpenTelemetry GenAI spans (OTLP JSON)",
    prefix="otel",
    signature=(frozenset({"resourceSpans"}), frozenset({"resource_spans"})),
    places={
        "id": ("$id",),
        "run": ("gen_ai.conversation.id", "$trace"),
        "step": ("$name",),
        "started_at": ("$start",),
        "ended_at": ("$end",),
        "ttft_s": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
        "model": ("gen_ai.request.model", "gen_ai.response.model"),
        "response_model": ("gen_ai.response.model",),
        "provider": ("$provider",),
        "service_tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
        "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        "cached_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        "cache_write_tokens": (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
        ),
        "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        "reasoning_tokens": ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
        "cost_usd": ("litellm.cost.total", "gen_ai.cost.total_cost", "gen_ai.usage.cost", "gen_ai.usage.total_cost"),
        "status": ("$status",),
        "error_type": ("error.type",),
        "cache_hit": ("litellm.cache_hit",),
        "tags.user": ("litellm.end_user.id", "enduser.id", "user.id"),
        "tags.team": ("litellm.team.id",),
        "tags.service": ("$service",),
        "extra.response_id": ("gen_ai.response.id",),
    },
    payload_type=(
        "payload_type",
        "tierwise.payload_type",
        "gen_ai.prompt.name",
        "gen_ai.agent.name",
        "gen_ai.operation.name",
    ),
    expand=_spans,
    leave_out=_reason,
)
_READ: Final = frozenset((*chain(*OTEL.places.values()), *OTEL.payload_type, *_MARKS))
