"""Logs of a million and of ten million calls, made by SQL and brought in as the ingester does: ``make_log``.

A call has 1.14 attempts on average, with the columns a router fills: ids and hashes that do not compress, tokens,
prices, latencies, checks; one in ten calls has a label. Sixty days, in the order of time.
"""

import time
from typing import TYPE_CHECKING, Any

from router_core.call_log import commit, outcome_sums, rollups
from router_core.call_log.home import Home
from router_core.call_log.ingest import Ingester
from router_core.call_log.schema import LINE_COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DAYS = 60
# a Monday in September 2026
FIRST_US = 1_789_948_800_000_000
SPAN_US = DAYS * 86_400_000_000
_AT_ONCE = 250_000
_TYPES = "['invoice.extract', 'ticket.classify', 'policy.decide', 'report.summarise', 'mail.route', 'a', 'b', 'c']"
_MODELS = "['openai/gpt-5-nano', 'openai/gpt-5-mini', 'anthropic/claude-opus-4-5']"

# every column of a call and its attempt that a router fills; the rest is NULL
_BASE = f"""
    SELECT i, printf('%014x%012x', at_us, hash(i) >> 16) AS call_id, at_us, tier_index,
           make_timestamp(at_us) AS "at", {_TYPES}[1 + (hash(i * 7) % 8)::INTEGER] AS payload_type,
           ['cheap', 'mid', 'top'][1 + tier_index] AS tier, {_MODELS}[1 + tier_index] AS model,
           (50 + hash(i * 11) % 4000)::BIGINT AS input_tokens, (20 + hash(i * 13) % 900)::BIGINT AS output_tokens,
           round(exp(5.5 + tier_index / 2.0 + (hash(i * 17) % 1000) / 400.0), 3) AS latency_ms,
           round((hash(i * 19) % 10000) / 10000.0, 4) AS confidence, i % 100 < 2 AS failed, i % 7 = 0 AS escalated
    FROM (SELECT i, CAST({FIRST_US} + i * $step + hash(i * 23) % $step AS BIGINT) AS at_us,
                 ([0, 0, 0, 1, 1, 2])[1 + (hash(i * 29) % 6)::INTEGER] AS tier_index
          FROM range($first, $until) AS r(i))"""
_PRICE_IN = "[50000000, 250000000, 5000000000]"
_PRICE_OUT = "[400000000, 2000000000, 25000000000]"
_COST = f"""
    ((input_tokens * {_PRICE_IN}[1 + tier_index] + output_tokens * {_PRICE_OUT}[1 + tier_index])::BIGINT // 1000000)"""
_ATTEMPT = f"""
    SELECT call_id || '-' || n AS attempt_id, call_id || '-' || n AS request_id, call_id, n::INTEGER AS n,
           "at" + INTERVAL (n * 10) MILLISECOND AS started_at, "at" + INTERVAL 900 MILLISECOND AS ended_at,
           payload_type, 'run-' || (i // 500) AS run, '3f9c0a1b2c3d4e5f' AS config_version,
           payload_type = 'policy.decide' AS critical,
           CASE WHEN n = 1 THEN 'serve' ELSE 'escalate' END AS role, 1.0 AS propensity, tier,
           split_part(model, '/', 1) AS provider_name, model AS request_model, model AS response_model,
           printf('%016x', hash(i * 31)) AS prompt_hash, input_tokens, 0::BIGINT AS cached_tokens,
           0::BIGINT AS cache_write_5m_tokens, 0::BIGINT AS cache_write_1h_tokens, output_tokens,
           0::BIGINT AS reasoning_tokens, {_PRICE_IN}[1 + tier_index]::BIGINT AS price_in,
           {_PRICE_IN}[1 + tier_index]::BIGINT // 10 AS price_cached, {_PRICE_OUT}[1 + tier_index]::BIGINT AS price_out,
           'genai-prices' AS price_source, '2026-01-01' AS price_date,
           {_COST} AS cost_nusd, 'exact' AS cost_status, latency_ms,
           CASE WHEN failed THEN 'failed' WHEN n = 1 AND escalated THEN 'invalid' ELSE 'ok' END AS status, confidence,
           'logprob' AS confidence_source,
           '[{{"name":"totals_match","ms":' || (hash(i * 37) % 100) / 100.0 || ',"verdict":"passed"}}]' AS checks,
           'router' AS source
    FROM base, range(1, CASE WHEN escalated THEN 3 ELSE 2 END) AS a(n)"""
_CALL = f"""
    SELECT call_id, "at" AS ts, 'run-' || (i // 500) AS run, 'step-' || (i % 500) AS step, payload_type,
           '3f9c0a1b2c3d4e5f' AS config_version, call_id || '-' || (1 + escalated::INTEGER) AS served_attempt_id,
           tier AS tier_planned, tier AS tier_served, model AS model_served, 'first step accepted' AS reason,
           payload_type = 'policy.decide' AS critical, 'daily' AS budget_scope, 'normal' AS guard_state,
           false AS degraded, escalated::INTEGER AS escalations, 0 AS fallbacks, confidence,
           'logprob' AS confidence_source, {_COST} * (1 + escalated::INTEGER) AS cost_nusd,
           1 + escalated::INTEGER AS attempts,
           2500000000 AS error_cost_nusd, latency_ms, CASE WHEN failed THEN 'failed' ELSE 'ok' END AS status,
           false AS cache_hit, 'host-' || (i % 4) || '-0a1b2c3d' AS worker, i // 4 AS seq, 'router' AS source
    FROM base"""
_OUTCOME = """
    SELECT call_id, "at" + INTERVAL 2 HOUR AS received_at, (hash(i * 41) % 20 > 0)::INTEGER::DOUBLE AS correct,
           'user' AS source, 1.0 AS label_propensity
    FROM base WHERE i % 10 = 0"""


def make_log(home: Home, calls: int) -> float:
    """Make a log of so many calls; return the seconds it took."""
    began = time.perf_counter()
    now_us = FIRST_US + SPAN_US
    ingester = Ingester(home.create(), now_us=lambda: now_us)
    con = ingester._file.con
    for first in range(0, calls, _AT_ONCE):
        until = min(calls, first + _AT_ONCE)
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE base AS {_BASE} ORDER BY at_us",
            {"first": first, "until": until, "step": SPAN_US // calls},
        )
        _commit(ingester, con, now_us)
    con.execute("DROP TABLE base")
    ingester.tick()
    ingester.close()
    return time.perf_counter() - began


def _commit(ingester: Ingester, con: "DuckDBPyConnection", now_us: int) -> None:
    for kind, query in {"attempt": _ATTEMPT, "call": _CALL, "outcome": _OUTCOME}.items():
        columns: dict[str, Any] = LINE_COLUMNS[kind]
        listed = ", ".join(f'"{name}" {column}' for name, column in columns.items())
        con.execute(f"CREATE OR REPLACE TEMP TABLE stage_{kind} ({listed})")
        con.execute(f"INSERT INTO stage_{kind} BY NAME {query}")
    filled = {"attempt", "call", "outcome"}
    deltas = rollups.compute_deltas(con, filled)
    hours = outcome_sums.touched_hours(con, ingester._lookup.ask(*outcome_sums.early_labels(con, filled)))
    with ingester._file.attached(now_us):
        con.execute("BEGIN")
        commit.insert(con, filled, now_us)
        rollups.append_deltas(con, deltas)
        outcome_sums.queue_hours(con, hours)
        outcome_sums.queue_labels(con, filled)
        commit.record(con, {}, now_us)
        con.execute("COMMIT")
