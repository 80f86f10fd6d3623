"""What a look for moves costs on a big log. Prints figures beside their limits; never fails on time."""

import resource
import time
from pathlib import Path

import duckdb
import pytest

from optimizer.propose import propose
from router_core.call_log.ddl import create_tables, create_views
from router_core.call_log.home import Home
from router_core.call_log.schema import SCHEMA_VERSION
from router_core.config import parse

pytestmark = pytest.mark.bench

CALLS, TYPES = 1_000_000, 2_000
LIMIT_S = 20.0
END_US = 1_795_000_000_000_000
WINDOW_US = 56 * 86_400_000_000
# a type starts on cheap, mid or top by its number; cheap and mid escalate, every tenth accepted call has a shadow
_MADE = f"""
    CREATE TEMP TABLE made AS
    SELECT 'c' || lpad(CAST(i AS VARCHAR), 9, '0') AS call_id, 'type' || (hash(i) % {TYPES}) AS payload_type,
           CAST(hash(i) % {TYPES} % 3 AS INTEGER) AS start,
           make_timestamp({END_US} - CAST(random() * {WINDOW_US} AS BIGINT)) AS ts,
           random() < 0.12 AS unsure, random() < 0.10 AS shadowed, random() < 0.35 AS labelled,
           random() AS luck, random() AS other
    FROM range({CALLS}) AS t(i)"""
_ATTEMPT = """
    INSERT INTO attempts BY NAME
    SELECT call_id || '-{n}' AS attempt_id, call_id, {n} AS n, ts AS started_at, payload_type, '{role}' AS role,
           CASE WHEN '{role}' = 'shadow' THEN 0.1 ELSE 1.0 END AS propensity,
           ['cheap', 'mid', 'top'][1 + {tier}] AS tier, 1200 AS input_tokens, 90 AS output_tokens,
           CAST([80000, 400000, 4500000][1 + {tier}] * (0.9 + 0.2 * random()) AS BIGINT) AS cost_nusd,
           400 + 800 * random() AS latency_ms, 'ok' AS status, {confidence} AS confidence,
           'logprob' AS confidence_source, ['s/a', 's/b', 's/c'][1 + {tier}] AS request_model, 'router' AS source
    FROM made WHERE {where}"""


def _make_log(home: Home) -> None:
    con = duckdb.connect(str(home.create().log))
    for statement in (*create_tables(), *create_views()):
        con.execute(statement)
    con.execute(f"INSERT INTO schema_version VALUES ({SCHEMA_VERSION}, now())")
    con.execute("SELECT setseed(0.5)")
    con.execute(_MADE)
    escalates = "start < 2 AND unsure"
    shadowed = f"NOT ({escalates}) AND shadowed"
    con.execute(
        _ATTEMPT.format(
            n=1,
            role="serve",
            tier="start",
            where="true",
            confidence="CASE WHEN unsure THEN 0.2 + 0.6 * luck ELSE 0.8 + 0.2 * luck END",
        )
    )
    con.execute(
        _ATTEMPT.format(n=2, role="escalate", tier="(start + 1)", where=escalates, confidence="0.5 + 0.5 * other")
    )
    # shadows one tier up from cheap, one down from the others
    other = "CASE WHEN start = 0 THEN 1 ELSE start - 1 END"
    con.execute(_ATTEMPT.format(n=3, role="shadow", tier=f"({other})", where=shadowed, confidence="0.5 + 0.5 * other"))
    con.execute(
        f"""INSERT INTO calls BY NAME
        SELECT call_id, ts, payload_type, ['cheap', 'mid', 'top'][1 + start] AS tier_planned,
               call_id || CASE WHEN {escalates} THEN '-2' ELSE '-1' END AS served_attempt_id, false AS degraded,
               CAST({escalates} AS INTEGER) AS escalations, 500000 AS cost_nusd, 900 + 100 * random() AS latency_ms,
               'ok' AS status, false AS cache_hit, 'router' AS source FROM made"""
    )
    for n, chance in ((1, "luck"), (2, "other"), (3, "other")):
        where = {1: "true", 2: escalates, 3: shadowed}[n]
        con.execute(
            f"""INSERT INTO outcomes BY NAME
            SELECT call_id, call_id || '-{n}' AS attempt_id, ts AS received_at,
                   CAST({chance} > 0.05 AS DOUBLE) AS correct, 'user' AS source, 0.35 AS label_propensity
            FROM made WHERE labelled AND {where}"""
        )
    con.close()


def _config() -> bytes:
    paths = ("[cheap, mid]", "[mid, top]", "[top]")
    lines = ["version: 1", "tiers: {cheap: [{model: s/a}], mid: [{model: s/b}], top: [{model: s/c}]}", "payload_types:"]
    lines += [f"  type{i}: {{path: {paths[i % 3]}, error_cost_usd: 0.05}}" for i in range(TYPES)]
    return "\n".join(lines).encode()


def test_look_at_a_million_calls_of_two_thousand_types(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    _make_log(home)
    config = parse(_config(), source="routing.yaml")
    began, began_cpu = time.perf_counter(), time.process_time()
    sheet = propose(home, config, now_us=END_US)
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    verdicts = {verdict.verdict for verdict in sheet.verdicts}
    size, ratio = f"{CALLS:,} calls, {TYPES:,} types", took_s / LIMIT_S
    print(f"  propose, {size}: {took_s:.1f} s, limit {LIMIT_S:g} s, ratio {ratio:.2f}, {cpu_s:.1f} s of processor")
    print(f"  {len(sheet.drafts):,} drafts; verdicts {sorted(verdicts)}; peak memory {peak_mb:,.0f} MB")
    assert len(sheet.verdicts) == TYPES
