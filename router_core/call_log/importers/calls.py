"""Imported rows → attempts and calls: linked, set against what the log holds already, and written as spool lines.

Tables of the connection: ``imported`` (one row per usable source row), ``known`` (ids in the log), ``fresh`` (what is
new, each with its call). Calls are made of new rows only: a call that is in the log is never rewritten.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from router_core.call_log.home import Home
from router_core.call_log.read import reading

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COLUMNS: Final[dict[str, str]] = {
    "place": "BIGINT",
    "row_key": "VARCHAR",
    "has_id": "BOOLEAN",
    "chain": "VARCHAR",
    "started_at": "BIGINT",
    "ended_at": "BIGINT",
    "payload_type": "VARCHAR",
    "run": "VARCHAR",
    "step": "VARCHAR",
    "tier": "VARCHAR",
    "provider_name": "VARCHAR",
    "request_model": "VARCHAR",
    "response_model": "VARCHAR",
    "prompt_hash": "VARCHAR",
    "service_tier": "VARCHAR",
    "input_tokens": "BIGINT",
    "cached_tokens": "BIGINT",
    "cache_write_5m_tokens": "BIGINT",
    "cache_write_1h_tokens": "BIGINT",
    "output_tokens": "BIGINT",
    "reasoning_tokens": "BIGINT",
    "price_in": "BIGINT",
    "price_cached": "BIGINT",
    "price_write": "BIGINT",
    "price_out": "BIGINT",
    "price_source": "VARCHAR",
    "price_date": "VARCHAR",
    "cost_nusd": "BIGINT",
    "cost_source_nusd": "BIGINT",
    "computed_nusd": "BIGINT",
    "cost_status": "VARCHAR",
    "latency_ms": "DOUBLE",
    "ttft_ms": "DOUBLE",
    "status": "VARCHAR",
    "error_type": "VARCHAR",
    "confidence": "DOUBLE",
    "cache_hit": "BOOLEAN",
    "correct": "DOUBLE",
    "error_nusd": "BIGINT",
    "tags": "JSON",
    "extra": "JSON",
}
_DAY_US: Final = 86_400_000_000
_NOTHING_KNOWN: Final = "CREATE TABLE known (id VARCHAR, tier VARCHAR, cost_nusd BIGINT)"
# of rows with an id the first counts; rows without one are told apart by their order among equal ones
_IDENTIFIED: Final = """
    CREATE TABLE identified AS
    SELECT * EXCLUDE (twin), CASE WHEN has_id OR twin = 1 THEN row_key ELSE row_key || '-' || twin END AS attempt_id,
           has_id AND twin > 1 AS is_repeated
    FROM (SELECT *, row_number() OVER (PARTITION BY row_key ORDER BY place) AS twin FROM imported)"""
# one answer's requests follow each other; the first success ends them, and a cache's answer was no request
_FRESH: Final = """
    CREATE TABLE fresh AS
    WITH new_rows AS (SELECT * FROM identified ANTI JOIN known ON known.id = attempt_id WHERE NOT is_repeated),
    split AS (
        SELECT *, CASE WHEN $links_failures THEN coalesce(sum(CAST(status = 'ok' AS INTEGER)) OVER (
            PARTITION BY chain, payload_type ORDER BY started_at, attempt_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) ELSE 0 END AS part
        FROM new_rows
    ),
    grouped AS (
        SELECT *, CASE WHEN chain IS NULL OR coalesce(cache_hit, false) THEN attempt_id
            ELSE concat(length(chain), ':', chain, ':', part, ':', CASE WHEN $links_failures THEN payload_type END) END
            AS answer
        FROM split
    )
    SELECT * EXCLUDE (part, answer),
           first_value(attempt_id) OVER answers AS call_id,
           row_number() OVER answers AS n,
           lag(request_model) OVER answers AS model_before
    FROM grouped WINDOW answers AS (PARTITION BY answer ORDER BY started_at, attempt_id)"""
_ROLE: Final = """CASE WHEN n = 1 THEN 'serve' WHEN model_before = request_model THEN 'retry' ELSE 'fallback' END"""
# ours is kept where the source's cost counts and says something else
_EXTRA: Final = """CASE WHEN computed_nusd <> cost_nusd AND cost_status = 'provider'
    THEN json_merge_patch(coalesce(extra, '{}'::JSON), json_object('cost_computed_nusd', computed_nusd))
    ELSE extra END"""
_CONFIDENCE_SOURCE: Final = "CASE WHEN confidence IS NULL THEN 'none' ELSE 'caller' END"
_IS_SERVED: Final = "status = 'ok'"
_LINES: Final[dict[str, str]] = {
    "attempts": f"""
        SELECT 'attempt' AS k, attempt_id, attempt_id AS request_id, call_id, n, started_at, ended_at, payload_type,
               run, false AS critical, {_ROLE} AS role, 1.0 AS propensity, tier, provider_name, request_model,
               response_model, prompt_hash, service_tier, input_tokens, cached_tokens, cache_write_5m_tokens,
               cache_write_1h_tokens, output_tokens, reasoning_tokens, price_in, price_cached, price_write, price_out,
               price_source, price_date, cost_nusd, cost_source_nusd, cost_status, latency_ms, ttft_ms, status,
               error_type, confidence, {_CONFIDENCE_SOURCE} AS confidence_source, 'import' AS source, {_EXTRA} AS extra
        FROM fresh WHERE NOT coalesce(cache_hit, false) ORDER BY started_at, attempt_id""",
    "calls": f"""
        SELECT 'call' AS k, call_id, min(started_at) AS ts, any_value(run) AS run, any_value(step) AS step,
               first(payload_type ORDER BY n) AS payload_type,
               max_by(attempt_id, n) FILTER ({_IS_SERVED} AND NOT coalesce(cache_hit, false)) AS served_attempt_id,
               first(tier ORDER BY n) AS tier_planned, max_by(tier, n) FILTER ({_IS_SERVED}) AS tier_served,
               max_by(request_model, n) FILTER ({_IS_SERVED}) AS model_served, 'imported' AS reason, false AS critical,
               false AS degraded, 0 AS escalations,
               CAST(count(*) FILTER (n > 1 AND model_before <> request_model) AS INTEGER) AS fallbacks,
               max_by(confidence, n) FILTER ({_IS_SERVED}) AS confidence,
               CASE WHEN count(confidence) FILTER ({_IS_SERVED}) > 0 THEN 'caller' ELSE 'none' END AS confidence_source,
               CAST(coalesce(sum(cost_nusd), 0) AS BIGINT) AS cost_nusd,
               CAST(count(*) FILTER (NOT coalesce(cache_hit, false)) AS INTEGER) AS attempts,
               CASE WHEN count(*) = 1 THEN any_value(latency_ms)
                    ELSE (max(coalesce(ended_at, started_at)) - min(started_at)) / 1000 END AS latency_ms,
               CASE WHEN bool_or({_IS_SERVED}) THEN 'ok' ELSE 'failed' END AS status,
               CASE WHEN NOT bool_or({_IS_SERVED}) THEN max_by(error_type, n) END AS error_type,
               coalesce(bool_or(cache_hit), false) AS cache_hit, any_value(tags) AS tags, 'import' AS source
        FROM fresh GROUP BY call_id ORDER BY ts, call_id""",
    "outcomes": """
        SELECT 'outcome' AS k, call_id, CASE WHEN NOT coalesce(cache_hit, false) THEN attempt_id END AS attempt_id,
               correct, error_nusd, 'user' AS source, 1.0 AS label_propensity,
               coalesce(ended_at, started_at) AS received_at
        FROM fresh WHERE correct IS NOT NULL ORDER BY call_id, attempt_id""",
}


def load_rows(con: "DuckDBPyConnection", rows: Path) -> None:
    """Make ``imported`` and ``identified`` from a file of rows, one JSON object per line."""
    struct = ", ".join(f"'{name}': '{kind}'" for name, kind in _COLUMNS.items())
    con.execute(
        "CREATE TABLE imported AS SELECT * FROM read_json($path, format = 'newline_delimited',"
        f" columns = {{{struct}}}, maximum_object_size = 1048576)",
        {"path": str(rows)},
    )
    con.execute(_IDENTIFIED)
    con.execute("DROP TABLE imported")


def know_nothing(con: "DuckDBPyConnection") -> None:
    """Make ``known`` as for an empty log."""
    con.execute(_NOTHING_KNOWN)


def load_known(con: "DuckDBPyConnection", home: Home, folder: Path) -> None:
    """Make ``known`` from what the log holds of the rows' time, by way of a file in ``folder``."""
    span = con.execute("SELECT min(started_at), max(started_at) FROM identified").fetchone()
    if not home.log.exists() or span is None or span[0] is None:
        know_nothing(con)
        return
    target = folder / "known.parquet"
    # read in another zone, the same row has another time
    bounds = f"BETWEEN make_timestamp({int(span[0]) - _DAY_US}) AND make_timestamp({int(span[1]) + _DAY_US})"
    # the log is open for this copy only; comparing happens afterwards
    with reading(home) as log:
        log.execute(
            f"""COPY (
                SELECT attempt_id AS id, tier, cost_nusd FROM attempts WHERE source = 'import' AND started_at {bounds}
                UNION ALL
                SELECT call_id, tier_served, cost_nusd FROM calls
                WHERE source = 'import' AND cache_hit AND ts {bounds}
            ) TO '{target}' (FORMAT parquet)"""
        )
    con.execute(f"CREATE TABLE known AS SELECT * FROM read_parquet('{target}')")


def link(con: "DuckDBPyConnection", *, links_failures: bool) -> None:
    """Make ``fresh``: the rows that are new, each with its call and its number in it.

    Args:
        con: The connection.
        links_failures: Whether a chain may be longer than one answer, so that a success ends a call.
    """
    con.execute(_FRESH, {"links_failures": links_failures})


def write_lines(con: "DuckDBPyConnection", folder: Path) -> list[Path]:
    """Return files of spool lines: new attempts, new calls, new outcomes."""
    parts: list[Path] = []
    for name, query in _LINES.items():
        part = folder / f"{name}.jsonl"
        con.execute(f"COPY ({query}) TO '{part}' (FORMAT json)")
        parts.append(part)
    return parts
