"""Logs of other tools, imported and ingested: what becomes of their rows, once or not at all."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from router_core.call_log.home import Home
from router_core.call_log.importers.maps import MapEdits
from router_core.errors import ConfigError
from tests.log_sources import (
    NEW_NAMES,
    NOW_US,
    OLD_NAMES,
    at,
    bring,
    failed_spend_row,
    fetch,
    helicone_row,
    langfuse_row,
    otlp_line,
    payload_row,
    span,
    spend_row,
    table_row,
    us,
    write_csv,
    write_jsonl,
)

Rows = list[dict[str, Any]]
TOKENS = "input_tokens, cached_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens"
COSTS = "cost_nusd, cost_source_nusd, cost_status"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def naive(second: float) -> dt.datetime:
    return at(second).replace(tzinfo=None)


# --- LiteLLM's table


def test_spend_log_row_becomes_an_attempt_with_the_sources_cost_and_ours(home: Home, tmp_path: Path) -> None:
    usage = {"prompt_tokens_details": {"cached_tokens": 800}, "completion_tokens_details": {"reasoning_tokens": 40}}
    report = bring(home, write_csv(tmp_path / "spend.csv", [spend_row(usage=usage, spend=0.0017)]))
    assert report.format == "litellm-spend"
    assert fetch(home, f"SELECT {TOKENS}, {COSTS}, price_in, price_source FROM attempts") == [
        (1000, 800, None, None, 100, 40, 1_700_000, 1_700_000, "provider", 2_000_000_000, "override")
    ]
    # 200 fresh x 2000 + 800 cached x 500 + 100 out x 8000 nano-dollars
    ((extra,),) = fetch(home, "SELECT extra FROM attempts")
    assert json.loads(extra)["cost_computed_nusd"] == 1_600_000
    (drift, _) = report.drift
    assert (drift.rows, drift.source_nusd, drift.computed_nusd) == (1, 1_700_000, 1_600_000)
    assert drift.rate == pytest.approx(0.0625)


def test_spend_log_row_keeps_who_what_and_when(home: Home, tmp_path: Path) -> None:
    bring(home, write_csv(tmp_path / "spend.csv", [spend_row()]))
    assert fetch(
        home,
        "SELECT attempt_id, started_at, ended_at, payload_type, run, provider_name, request_model, latency_ms, ttft_ms,"
        " role, source FROM attempts",
    ) == [
        (
            "litellm:chatcmpl-0", naive(0), naive(1.5), "invoice.extract", "trace-0", "openai", "openai/gpt-5-mini",
            1500.0, None, "serve", "import",
        )
    ]  # fmt: skip
    ((tags,),) = fetch(home, "SELECT tags FROM calls")
    assert json.loads(tags) == {"task": "invoice.extract", "team": "ap", "user": "ada"}


def test_cache_writes_of_both_kinds_are_priced_apart(home: Home, tmp_path: Path) -> None:
    usage = {
        "cache_read_input_tokens": 400,
        "cache_creation_input_tokens": 500,
        "cache_creation": {"ephemeral_1h_input_tokens": 200},
    }
    bring(home, write_csv(tmp_path / "spend.csv", [spend_row(usage=usage, spend=None)]))
    # 100 x 2000 + 400 x 500 + 300 x 2500 + 200 x 4000 + 100 x 8000
    assert fetch(home, f"SELECT {TOKENS}, {COSTS} FROM attempts") == [
        (1000, 400, 300, 200, 100, None, 2_750_000, None, "exact")
    ]


def test_zero_for_used_tokens_is_no_price(home: Home, tmp_path: Path) -> None:
    rows = [spend_row(0, spend=0), spend_row(1, spend=0, model="nobody-knows", custom_llm_provider="")]
    report = bring(home, write_csv(tmp_path / "spend.csv", rows))
    assert fetch(home, f"SELECT {COSTS} FROM attempts ORDER BY started_at") == [
        (2_800_000, 0, "exact"),
        (None, 0, "unpriced"),
    ]
    assert report.unpriced == ("nobody-knows",)


def test_refused_request_cost_nothing_and_a_timeout_nobody_knows(home: Home, tmp_path: Path) -> None:
    rows = [
        failed_spend_row(0, "RateLimitError", "429"),
        failed_spend_row(1, "Timeout", "408"),
        failed_spend_row(2, "APIConnectionError", "500"),
    ]
    bring(home, write_csv(tmp_path / "spend.csv", rows))
    assert fetch(home, f"SELECT status, error_type, {COSTS} FROM attempts ORDER BY started_at") == [
        ("failed", "RateLimitError", 0, 0, "exact"),
        ("failed", "Timeout", None, 0, "unknown"),
        ("failed", "APIConnectionError", None, 0, "unknown"),
    ]


def test_requests_of_one_trace_are_one_call_up_to_its_first_success(home: Home, tmp_path: Path) -> None:
    trace = {"session_id": "t1"}
    rows = [
        failed_spend_row(0, "RateLimitError", "429", **trace),
        failed_spend_row(5, "RateLimitError", "429", **trace),
        spend_row(10, model="gpt-5", **trace),
        spend_row(60, **trace),
    ]
    report = bring(home, write_csv(tmp_path / "spend.csv", rows))
    assert (report.calls_new, report.linked) == (2, 2)
    assert fetch(home, "SELECT call_id, n, role, status FROM attempts ORDER BY started_at") == [
        ("litellm:chatcmpl-0", 1, "serve", "failed"),
        ("litellm:chatcmpl-0", 2, "retry", "failed"),
        ("litellm:chatcmpl-0", 3, "fallback", "ok"),
        ("litellm:chatcmpl-60", 1, "serve", "ok"),
    ]
    assert fetch(
        home,
        "SELECT served_attempt_id, model_served, attempts, fallbacks, status, cost_nusd, latency_ms FROM calls"
        " ORDER BY ts",
    ) == [
        ("litellm:chatcmpl-10", "openai/gpt-5", 3, 1, "ok", 1_600_000, 11_500.0),
        ("litellm:chatcmpl-60", "openai/gpt-5-mini", 1, 0, "ok", 1_600_000, 1500.0),
    ]


def test_cache_hit_is_a_call_without_a_request_or_a_cost(home: Home, tmp_path: Path) -> None:
    report = bring(home, write_csv(tmp_path / "spend.csv", [spend_row(), spend_row(3, cache_hit="True", spend=0)]))
    assert report.cache_hits == 1
    assert fetch(home, "SELECT count(*), sum(input_tokens) FROM attempts") == [(1, 1000)]
    assert fetch(home, "SELECT cache_hit, cost_nusd, attempts, served_attempt_id FROM calls ORDER BY ts") == [
        (False, 1_600_000, 1, "litellm:chatcmpl-0"),
        (True, 0, 0, None),
    ]


@pytest.mark.parametrize("written", ["1762164000.25", "1762164000250", "1762164000250000", "1762164000250000000"])
def test_epoch_times_are_told_apart_by_their_size(home: Home, tmp_path: Path, written: str) -> None:
    bring(home, write_csv(tmp_path / "spend.csv", [spend_row(startTime=written, endTime="")]))
    assert fetch(home, "SELECT started_at FROM attempts") == [
        (dt.datetime(2025, 11, 3, 10, 0, 0, 250_000, tzinfo=dt.UTC).replace(tzinfo=None),)
    ]


def test_times_without_a_zone_are_of_the_zone_that_is_said(home: Home, tmp_path: Path) -> None:
    report = bring(home, write_csv(tmp_path / "spend.csv", [spend_row()]), zone=ZoneInfo("Asia/Tokyo"))
    assert report.zoneless == 1
    assert fetch(home, "SELECT started_at FROM attempts") == [(naive(-9 * 3600),)]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({}, "invoice.extract"),
        ({"request_tags": ["batch", "payload_type=policy"]}, "policy"),
        ({"request_tags": [], "metadata": {"spend_logs_metadata": {"task": "triage"}}}, "triage"),
        ({"request_tags": ["batch"]}, "batch"),
        ({"request_tags": []}, "cheap-models"),
        ({"request_tags": None, "model_group": ""}, "imported"),
    ],
)
def test_payload_type_is_looked_for_in_a_stated_order(
    home: Home, tmp_path: Path, columns: dict[str, Any], found: str
) -> None:
    bring(home, write_csv(tmp_path / "spend.csv", [spend_row(**columns)]))
    assert fetch(home, "SELECT payload_type FROM attempts") == [(found,)]


def test_payload_type_is_where_the_user_says(home: Home, tmp_path: Path) -> None:
    rows = [spend_row(0, metadata={"kind": "memo"}), spend_row(1)]
    bring(home, write_csv(tmp_path / "s.csv", rows), edits=MapEdits(payload_type=("metadata.kind", "=rest")))
    assert fetch(home, "SELECT payload_type FROM attempts ORDER BY started_at") == [("memo",), ("rest",)]


# --- LiteLLM's callbacks


def test_logging_payload_counts_written_tokens_and_first_token(home: Home, tmp_path: Path) -> None:
    usage = {"prompt_tokens_details": {"cached_tokens": 300}, "cache_creation_input_tokens": 500}
    report = bring(home, write_jsonl(tmp_path / "p.jsonl", [payload_row(usage=usage, response_cost=None)]))
    assert report.format == "litellm-payload"
    # 200 x 2000 + 300 x 500 + 500 x 2500 + 100 x 8000
    assert fetch(home, f"SELECT request_model, ttft_ms, latency_ms, run, {TOKENS}, {COSTS} FROM attempts") == [
        ("anthropic/claude-sonnet-4-5", 500.0, 2000.0, "session-1", 1000, 300, 500, None, 100, None, 2_600_000, None,
         "exact")
    ]  # fmt: skip


def test_failed_payloads_with_the_id_of_their_call_are_all_kept(home: Home, tmp_path: Path) -> None:
    error = {"status": "failure", "error_information": {"error_class": "InternalServerError", "error_code": "500"}}
    rows = [payload_row(second, id="call-1", trace_id="t1", **error) for second in (0, 1)]
    report = bring(home, write_jsonl(tmp_path / "p.jsonl", [*rows, payload_row(2, trace_id="t1")]))
    assert (report.rows_new, report.calls_new, report.failed) == (3, 1, 2)


# --- Langfuse


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_langfuse_generation_sums_its_disjoint_usage(home: Home, tmp_path: Path, kind: str) -> None:
    write = write_csv if kind == "csv" else write_jsonl
    report = bring(home, write(tmp_path / f"obs.{kind}", [langfuse_row(), langfuse_row(1, type="SPAN")]))
    assert (report.format, report.rows_read, report.rows_kept) == ("langfuse", 2, 1)
    assert [(one.rows, one.is_bad) for one in report.skipped] == [(1, False)]
    found = f"SELECT request_model, payload_type, run, latency_ms, ttft_ms, {TOKENS}, {COSTS} FROM attempts"
    assert fetch(home, found) == [
        ("gpt-5-mini", "invoice.extract", "trace-7", 3000.0, 400.0, 1000, 800, None, None, 100, 40,
         1_600_000, 1_600_000, "provider")
    ]  # fmt: skip
    assert report.drift[0].rate == 0


def test_langfuse_table_view_is_the_same_log(home: Home, tmp_path: Path) -> None:
    row = langfuse_row(level="ERROR")
    names = {name: name.split("_")[0] + "".join(p.title() for p in name.split("_")[1:]) for name in row}
    report = bring(home, write_csv(tmp_path / "ui.csv", [{names[name]: value for name, value in row.items()}]))
    assert report.format == "langfuse"
    assert fetch(home, "SELECT attempt_id, status, error_type, input_tokens, cost_nusd FROM attempts") == [
        ("langfuse:obs-0", "failed", "unknown", 1000, 1_600_000)
    ]


# --- Helicone


def test_helicone_request_is_in_its_session_under_its_property(home: Home, tmp_path: Path) -> None:
    report = bring(home, write_jsonl(tmp_path / "h.jsonl", [helicone_row()]))
    assert report.format == "helicone"
    found = "SELECT request_model, response_model, payload_type, run, latency_ms, ttft_ms, input_tokens, cost_nusd"
    assert fetch(home, f"{found} FROM attempts") == [
        ("openai/gpt-5-mini", "gpt-5-mini-2025-08-07", "invoice.extract", "job-42", 1800.0, 300.0, 1000, 1_600_000)
    ]


@pytest.mark.parametrize("provider", ["ANTHROPIC", "OPENAI"])
def test_helicone_counts_cache_and_reasoning_beside_the_rest(home: Home, tmp_path: Path, provider: str) -> None:
    row = helicone_row(provider=provider, completion_tokens=60, reasoning_tokens=40, costUSD=None)
    bring(home, write_csv(tmp_path / "h.csv", [row]))
    assert fetch(home, f"SELECT {TOKENS}, {COSTS} FROM attempts") == [
        (1000, 800, None, None, 100, 40, 1_600_000, None, "exact")
    ]


def test_helicone_cache_and_status_are_understood(home: Home, tmp_path: Path) -> None:
    nothing = {"prompt_tokens": None, "prompt_cache_read_tokens": None, "completion_tokens": None}
    rows = [
        helicone_row(0, cache_reference_id="7d2f"),
        helicone_row(1, response_status=429, costUSD=0, **nothing),
        helicone_row(2, response_status=-3, costUSD=None, **nothing),
    ]
    report = bring(home, write_jsonl(tmp_path / "h.jsonl", rows))
    assert (report.cache_hits, report.failed) == (1, 2)
    assert fetch(home, f"SELECT status, error_type, {COSTS} FROM attempts ORDER BY started_at") == [
        ("failed", "http_429", 0, 0, "exact"),
        ("failed", "http_-3", None, None, "unknown"),
    ]


# --- OpenTelemetry


def test_spans_of_both_generations_of_names_are_read(home: Home, tmp_path: Path) -> None:
    lines = [
        otlp_line(span(0, NEW_NAMES), span(1, OLD_NAMES | {"gen_ai.operation.name": None})),
        otlp_line(span(2, NEW_NAMES | {"gen_ai.operation.name": "invoke_agent"}, name="invoke_agent")),
        otlp_line({"traceId": "a", "spanId": "b", "name": "GET /", "startTimeUnixNano": "1", "attributes": []}),
    ]
    report = bring(home, write_jsonl(tmp_path / "spans.jsonl", lines))
    assert (report.format, report.rows_read, report.rows_kept) == ("otel", 4, 2)
    found = "SELECT attempt_id, started_at, latency_ms, request_model, input_tokens, cached_tokens, cost_nusd"
    assert fetch(home, f"{found}, cost_status FROM attempts ORDER BY started_at") == [
        (f"otel:5b8efff798038103d269b633813fc60c/{0:016x}", naive(0), 1250.0, "bedrock/claude-sonnet-4-5", 1000, 800,
         1_600_000, "exact"),
        (f"otel:5b8efff798038103d269b633813fc60c/{10:016x}", naive(1), 1250.0, "bedrock/claude-sonnet-4-5", 1000, None,
         2_800_000, "exact"),
    ]  # fmt: skip


def test_failed_span_keeps_its_kind_of_error(home: Home, tmp_path: Path) -> None:
    line = otlp_line(span(0, {"error.type": "timeout", "gen_ai.prompt.name": "policy.decide"}, code=2))
    bring(home, write_jsonl(tmp_path / "spans.jsonl.gz", [line]))
    assert fetch(home, "SELECT status, error_type, payload_type, cost_status FROM attempts") == [
        ("failed", "timeout", "policy.decide", "unknown")
    ]


# --- a table of unknown make


def parquet(path: Path, rows: Rows) -> Path:
    source = write_jsonl(path.with_suffix(".src.jsonl"), rows)
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT * FROM read_json('{source}')) TO '{path}' (FORMAT parquet)")
    source.unlink()
    return path


def json_list(path: Path, rows: Rows) -> Path:
    path.write_text(json.dumps(rows, indent=1))
    return path


def zstd(path: Path, rows: Rows) -> Path:
    source = write_csv(path.with_suffix(".src.csv"), rows)
    with duckdb.connect() as con:
        con.execute(
            f"""COPY (SELECT * FROM read_csv('{source}', columns = {{'line': 'VARCHAR'}}, header = false, quote = '',
                escape = '', delim = '\x01', auto_detect = false)) TO '{path}'
                (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', COMPRESSION zstd)"""
        )
    source.unlink()
    return path


FILES: dict[str, Callable[[Path, Rows], Path]] = {
    "x.csv": write_csv,
    "x.jsonl": write_jsonl,
    "x.jsonl.gz": write_jsonl,
    "x.json": json_list,
    "x.parquet": parquet,
    "x.csv.zst": zstd,
}


@pytest.mark.parametrize("name", FILES)
def test_table_is_read_the_same_from_every_kind_of_file(home: Home, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a*b[c] 'd'"
    folder.mkdir()
    report = bring(home, FILES[name](tmp_path / name, [table_row(0), table_row(1)]).rename(folder / name))
    assert (report.format, report.rows_new) == ("table", 2)
    found = f"SELECT payload_type, request_model, latency_ms, {COSTS} FROM attempts ORDER BY started_at"
    assert fetch(home, found) == [("invoice.extract", "openai/gpt-5-mini", 900.0, 2_800_000, 2_800_000, "provider")] * 2


def test_columns_get_the_fields_that_the_user_says(home: Home, tmp_path: Path) -> None:
    rows = [{"when": us(i) / 1e6, "llm_used": "m", "dept": "ap", "in": 10, "out": 1, "good": i % 2} for i in range(4)]
    edits = MapEdits(
        columns={
            "when": "started_at", "llm_used": "model", "dept": "tags.team", "in": "input_tokens",
            "out": "output_tokens", "good": "correct",
        }
    )  # fmt: skip
    bring(home, write_csv(tmp_path / "x.csv", rows), edits=edits)
    assert (
        fetch(home, "SELECT tags ->> 'team', input_tokens, calls.cost_nusd FROM attempts JOIN calls USING (call_id)")
        == [("ap", 10, 28_000)] * 4
    )
    assert fetch(home, "SELECT source, sum(correct), count(*) FROM outcomes GROUP BY 1") == [("user", 2.0, 4)]


def test_table_that_tells_no_start_says_how_to_name_it(home: Home, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no column tells started_at; say which one: --map COLUMN=started_at"):
        bring(home, write_csv(tmp_path / "x.csv", [{"model": "m", "moment": 5}]))


def test_equal_rows_without_an_id_are_all_kept_and_known_again(home: Home, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "x.csv", [table_row(), table_row(), table_row(1)])
    assert bring(home, file).rows_new == 3
    assert bring(home, file, now_us=NOW_US + 1).rows_new == 0
    assert fetch(home, "SELECT count(*), count(DISTINCT attempt_id) FROM attempts") == [(3, 3)]


def test_same_number_as_id_in_another_table_is_another_request(home: Home, tmp_path: Path) -> None:
    for second in (0, 1):
        bring(home, write_csv(tmp_path / f"{second}.csv", [table_row(second, id=1)]), now_us=NOW_US + second)
    assert fetch(home, "SELECT count(*) FROM attempts") == [(2,)]
