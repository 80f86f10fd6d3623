"""Small logs as other tools write them, made here, and what is needed to import them."""

import csv
import datetime as dt
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from router_core.call_log.home import Home
from router_core.call_log.importers import formats
from router_core.call_log.importers.log_report import LogImportReport
from router_core.call_log.importers.logs import import_log
from router_core.call_log.importers.maps import MapEdits, edited
from router_core.call_log.importers.reading import ImportRules, LogSource
from router_core.call_log.importers.records import open_records
from router_core.call_log.importers.tier_table import TierTable
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.types import Price

NOW_US = 1_795_435_200_000_000
# USD per million: input 2, cached 0.5, five-minute writes 2.5, one-hour writes 4, output 8
PRICE = Price(
    input_nusd_per_m=2_000_000_000,
    cached_nusd_per_m=500_000_000,
    write_5m_nusd_per_m=2_500_000_000,
    write_1h_nusd_per_m=4_000_000_000,
    output_nusd_per_m=8_000_000_000,
    source="override",
    date="test",
)


def price_of(model: str, _at_us: int, _service_tier: str | None) -> Price | None:
    """The same price for every model whose name does not say that nobody knows it."""
    return None if "nobody" in model else PRICE


def catch_up(home: Home) -> None:
    ingest_once(home)


def bring(
    home: Home,
    path: Path,
    *,
    log_format: str | None = None,
    edits: MapEdits | None = None,
    tiers: Iterable[tuple[str, str]] = (),
    zone: dt.tzinfo = dt.UTC,
    now_us: int = NOW_US,
    dry_run: bool = False,
    **rules: Any,
) -> LogImportReport:
    """Import a file as the command does, and ingest it."""
    found = formats.sample(path)
    log_map = edited(formats.map_of(log_format or formats.format_of(found), found), edits or MapEdits())
    formats.require_fields(path, log_map, found.columns)
    source = LogSource(
        name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), open=lambda: open_records(path)
    )
    report = import_log(
        home,
        source,
        log_map,
        ImportRules(zone=zone, price_of=price_of, tier_of=TierTable(tiers).tier_of, **rules),
        now_us=now_us,
        catch_up=catch_up,
        dry_run=dry_run,
    )
    if not dry_run:
        catch_up(home)
    return report


def fetch(home: Home, query: str) -> list[tuple[Any, ...]]:
    with reading(home) as log:
        return log.execute(query).fetchall()


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV, nested values as JSON text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(names)
        writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return path


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as JSON lines; packed where the path says so."""
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def at(second: float) -> dt.datetime:
    """An instant on 2026-11-03, UTC."""
    return dt.datetime(2026, 11, 3, 10, tzinfo=dt.UTC) + dt.timedelta(seconds=second)


def us(second: float) -> int:
    return round(at(second).timestamp() * 1e6)


def spend_row(second: float = 0, **columns: Any) -> dict[str, Any]:
    """A row of LiteLLM_SpendLogs; ``usage`` goes into its metadata."""
    usage, metadata = columns.pop("usage", {}), columns.pop("metadata", {})
    took_s = columns.pop("took_s", 1.5)
    return {
        "request_id": f"chatcmpl-{second}",
        "call_type": "acompletion",
        "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "spend": 0.0016,
        "total_tokens": 1100,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "startTime": f"{at(second):%Y-%m-%d %H:%M:%S.%f}",
        "endTime": f"{at(second + took_s):%Y-%m-%d %H:%M:%S.%f}",
        "completionStartTime": f"{at(second + took_s):%Y-%m-%d %H:%M:%S.%f}",
        "model": "gpt-5-mini",
        "model_group": "cheap-models",
        "custom_llm_provider": "openai",
        "metadata": {"additional_usage_values": usage, "status": "success", **metadata},
        "cache_hit": "False",
        "request_tags": ["task:invoice.extract", "User-Agent: python"],
        "team_id": "ap",
        "end_user": "ada",
        "messages": {"role": "user", "content": "the secret question"},
        "response": {"content": "the secret answer"},
        "session_id": f"trace-{second}",
        "status": "success",
        **columns,
    }


def failed_spend_row(second: float, error: str, code: str, **columns: Any) -> dict[str, Any]:
    """A request that LiteLLM logs as failed: without tokens, at no cost."""
    return spend_row(
        second,
        status="failure",
        spend=0,
        prompt_tokens=0,
        completion_tokens=0,
        metadata={"status": "failure", "error_information": {"error_class": error, "error_code": code}},
        **columns,
    )


def payload_row(second: float = 0, **columns: Any) -> dict[str, Any]:
    """A StandardLoggingPayload of LiteLLM's callbacks."""
    usage = columns.pop("usage", {})
    return {
        "id": f"chatcmpl-{second}",
        "trace_id": f"trace-{second}",
        "session_id": "session-1",
        "litellm_call_id": f"call-{second}",
        "call_type": "acompletion",
        "response_cost": 0.0016,
        "status": "success",
        "custom_llm_provider": "anthropic",
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "startTime": us(second) / 1e6,
        "endTime": us(second + 2) / 1e6,
        "completionStartTime": us(second + 0.5) / 1e6,
        "response_time": 2.0,
        "model": "claude-sonnet-4-5",
        "model_group": "top-models",
        "metadata": {"usage_object": usage, "user_api_key_team_id": "legal", "spend_logs_metadata": None},
        "cache_hit": None,
        "request_tags": [],
        "end_user": "",
        "messages": [{"role": "user", "content": "the secret question"}],
        "response": {"choices": []},
        "error_str": None,
        **columns,
    }


def langfuse_row(second: float = 0, **columns: Any) -> dict[str, Any]:
    """An observation as Langfuse writes it into blob storage."""
    return {
        "id": f"obs-{second}",
        "trace_id": "trace-7",
        "type": "GENERATION",
        "name": "extract",
        "start_time": f"{at(second):%Y-%m-%d %H:%M:%S.%f}",
        "end_time": f"{at(second + 3):%Y-%m-%d %H:%M:%S.%f}",
        "provided_model_name": "gpt-5-mini",
        "usage_details": {
            "input": 200, "input_cached_tokens": 800, "output": 60, "output_reasoning_tokens": 40, "total": 1100,
        },
        "cost_details": {"total": 0.0016},
        "total_cost": 0.0016,
        "latency": 3.0,
        "time_to_first_token": 0.4,
        "level": "DEFAULT",
        "status_message": "the secret reason",
        "user_id": "ada",
        "session_id": "chat-1",
        "trace_name": "invoice.extract",
        "tags": ["prod"],
        "environment": "default",
        "input": "the secret question",
        "output": "the secret answer",
        **columns,
    }  # fmt: skip


def helicone_row(second: float = 0, **columns: Any) -> dict[str, Any]:
    """A request as Helicone exports it."""
    return {
        "request_id": f"8f1c-{second}",
        "request_created_at": at(second).isoformat(),
        "response_created_at": at(second + 2).isoformat(),
        "response_status": 200,
        "request_model": "gpt-5-mini",
        "response_model": "gpt-5-mini-2025-08-07",
        "provider": "OPENAI",
        "delay_ms": 1800,
        "time_to_first_token": 300,
        "prompt_tokens": 200,
        "prompt_cache_read_tokens": 800,
        "prompt_cache_write_tokens": 0,
        "completion_tokens": 100,
        "costUSD": 0.0016,
        "request_user_id": "ada",
        "request_properties": {"Task": "invoice.extract", "Helicone-Session-Id": "job-42"},
        "cache_reference_id": "00000000-0000-0000-0000-000000000000",
        "request_body": {"messages": [{"content": "the secret question"}]},
        "response_body": {"choices": []},
        **columns,
    }


NEW_NAMES = {
    "gen_ai.provider.name": "aws.bedrock",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 800,
}
OLD_NAMES = {"gen_ai.system": "aws.bedrock", "gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 100}


def span(second: float, attributes: Mapping[str, Any], *, name: str = "chat", code: int = 0) -> dict[str, Any]:
    """A GenAI span in OTLP JSON."""
    given = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "claude-sonnet-4-5", **attributes}
    return {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": f"{int(second * 10):016x}",
        "name": name,
        "kind": 3,
        "startTimeUnixNano": str(us(second) * 1000 + 321),
        "endTimeUnixNano": str(us(second + 1.25) * 1000),
        "attributes": [{"key": key, "value": _otlp(value)} for key, value in given.items() if value is not None],
        "status": {"code": code} if code else {},
    }


def _otlp(value: Any) -> dict[str, Any]:
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}


def otlp_line(*spans: Mapping[str, Any]) -> dict[str, Any]:
    """An export request with these spans."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "billing"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": list(spans)}]}]}


def table_row(second: float = 0, **columns: Any) -> dict[str, Any]:
    """A row of a table that somebody made by hand."""
    return {
        "Timestamp": at(second).isoformat(),
        "Task": "invoice.extract",
        "Model": "openai/gpt-5-mini",
        "Prompt Tokens": 1000,
        "Completion Tokens": 100,
        "Cost (USD)": 0.0028,
        "Latency_ms": 900,
        "question": "the secret question",
        **columns,
    }
