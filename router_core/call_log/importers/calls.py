"""Imported rows → attempts and calls: linked, set against what the log holds already, and written as spool lines.

Tables and views of the connection: ``imported`` (one row per usable source row), ``identified`` (the same with their
ids), ``known`` (ids in the log), ``fresh`` (what is new, each with its call). Calls are made of new rows only: a call
that is in the log is never rewritten.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from router_core.call_log.home import Home
from router_core.call_log.read import reading
from router_core.call_log.schema import ATTEMPT_COLUMNS, CALL_COLUMNS, OUTCOME_COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# columns of an attempt that no row of a source fills
_MADE_HERE: Final = frozenset({
    "attempt_id", "request_id", "call_id", "n", "config_version", "critical", "role", "about_attempt_id", "propensity",
    "confidence_source", "calibration", "checks", "answer_match", "source",
})  # fmt: skip
_FILLED: Final = {name: kind for name, kind in ATTEMPT_COLUMNS.items() if name not in _MADE_HERE}
_PASSED_ON: Final = tuple(name for name in _FILLED if name != "extra")
# of these every row has a value
_ALWAYS_THERE: Final = frozenset({"started_at", "payload_type", "request_model", "cost_status", "status"})
_COLUMNS: Final[dict[str, str]] = {
    "place": "BIGINT",
    "row_key": "VARCHAR",
    "has_id": "BOOLEAN",
    "chain": "VARCHAR",
    "computed_nusd": "BIGINT",
    **{name: "BIGINT" if kind == "TIMESTAMP" else kind for name, kind in _FILLED.items()},
    **{name: CALL_COLUMNS[name] for name in ("step", "cache_hit", "tags")},
    **{name: OUTCOME_COLUMNS[name] for name in ("correct", "error_nusd")},
}
_DAY_US: Final = 86_400_000_000
_NOTHING_KNOWN: Final = "CREATE TABLE known (id VARCHAR, tier VARCHAR, cost_nusd BIGINT)"
# of rows with an id the first counts; rows without one are told apart by their order among equal ones. Only keys that
# occur again are ever sorted, and all steps work on few columns: so memory stays flat while the rows lie on disk
_TWINS: Final = """
    CREATE TABLE twins AS
    SELECT r, row_number() OVER (PARTITION BY row_key ORDER BY place, r) AS twin
    FROM (SELECT rowid AS r, place, row_key, hash(row_key) AS h FROM imported)
    SEMI JOIN (SELECT hash(row_key) AS h FROM imported GROUP BY 1 HAVING count(*) > 1) USING (h)"""
_IDENTIFIED: Final = """
    CREATE VIEW identified AS
    SELECT i.*, i.rowid AS r,
           CASE WHEN has_id OR coalesce(twin, 1) = 1 THEN row_key ELSE row_key || '-' || twin END AS attempt_id,
           has_id AND coalesce(twin, 1) > 1 AS is_repeated
    FROM imported AS i LEFT JOIN twins ON twins.r = i.rowid"""
_OLD: Final = """
    CREATE TABLE old_rows AS
    SELECT r FROM identified SEMI JOIN known ON known.id = attempt_id
    UNION SELECT r FROM identified WHERE is_repeated"""
# one answer's requests follow each other; the first success ends them, and a cache's answer was no request
_LINKED: Final = """
    CREATE TABLE linked AS
    WITH requests AS (
        SELECT r, attempt_id, chain, payload_type, started_at, status, request_model, hash(chain) AS h
        FROM identified ANTI JOIN old_rows USING (r) WHERE chain IS NOT NULL AND NOT coalesce(cache_hit, false)
    ),
    candidates AS (
        SELECT * FROM requests SEMI JOIN (SELECT h FROM requests GROUP BY h HAVING count(*) > 1) USING (h)
    ),
    split AS (
        SELECT *, CASE WHEN $links_failures THEN coalesce(sum(CAST(status = 'ok' AS INTEGER)) OVER (
            PARTITION BY chain, payload_type ORDER BY started_at, attempt_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) ELSE 0 END AS part,
            CASE WHEN $links_failures THEN payload_type END AS kind
        FROM candidates
    )
    SELECT r, first_value(attempt_id) OVER answers AS call_id, row_number() OVER answers AS n,
           lag(request_model) OVER answers AS model_before,
           count(*) OVER (PARTITION BY chain, kind, part) AS size
    FROM split WINDOW answers AS (PARTITION BY chain, kind, part ORDER BY started_at, attempt_id)"""
_FRESH: Final = """
    CREATE VIEW fresh AS
    SELECT i.*, coalesce(l.call_id, i.attempt_id) AS call_id, coalesce(l.n, 1) AS n, l.model_before,
           coalesce(l.size, 1) AS size
    FROM identified AS i ANTI JOIN old_rows USING (r) LEFT JOIN linked AS l USING (r)"""
_ROLE: Final = """CASE WHEN n = 1 THEN 'serve' WHEN model_before = request_model THEN 'retry' ELSE 'fallback' END"""
# ours is kept where the source's cost counts and says something else
_EXTRA: Final = """CASE WHEN computed_nusd <> cost_nusd AND cost_status = 'provider'
    THEN json_merge_patch(coalesce(extra, '{{}}'::JSON), json_object('cost_computed_nusd', computed_nusd))
    ELSE extra END"""
_CONFIDENCE_SOURCE: Final = "CASE WHEN confidence IS NULL THEN 'none' ELSE 'caller' END"
_IS_SERVED: Final = "status = 'ok'"
_IN_SLICE: Final = "started_at >= {since} AND started_at < {until}"
_ROWS_PER_SLICE: Final = 100_000
_LINES: Final[dict[str, str]] = {
    "attempts": f"""
        SELECT 'attempt' AS k, attempt_id, attempt_id AS request_id, call_id, n, false AS critical, {_ROLE} AS role,
               1.0 AS propensity, {", ".join(_PASSED_ON)}, {_CONFIDENCE_SOURCE} AS confidence_source,
               'import' AS source, {_EXTRA} AS extra
        FROM fresh WHERE NOT coalesce(cache_hit, false) AND {_IN_SLICE} ORDER BY started_at, attempt_id""",
    "calls": f"""
        SELECT 'call' AS k, call_id, started_at AS ts, run, step, payload_type,
               CASE WHEN {_IS_SERVED} AND NOT coalesce(cache_hit, false) THEN attempt_id END AS served_attempt_id,
               tier AS tier_planned, CASE WHEN {_IS_SERVED} THEN tier END AS tier_served,
               CASE WHEN {_IS_SERVED} THEN request_model END AS model_served, 'imported' AS reason, false AS critical,
               false AS degraded, 0 AS escalations, 0 AS fallbacks,
               CASE WHEN {_IS_SERVED} THEN confidence END AS confidence,
               CASE WHEN {_IS_SERVED} AND confidence IS NOT NULL THEN 'caller' ELSE 'none' END AS confidence_source,
               coalesce(cost_nusd, 0) AS cost_nusd, CASE WHEN cache_hit THEN 0 ELSE 1 END AS attempts, latency_ms,
               CASE WHEN {_IS_SERVED} THEN 'ok' ELSE 'failed' END AS status,
               CASE WHEN NOT {_IS_SERVED} THEN error_type END AS error_type,
               coalesce(cache_hit, false) AS cache_hit, tags, 'import' AS source
        FROM fresh WHERE size = 1 AND {_IN_SLICE} ORDER BY ts, call_id""",
    "outcomes": f"""
        SELECT 'outcome' AS k, call_id, CASE WHEN NOT coalesce(cache_hit, false) THEN attempt_id END AS attempt_id,
               correct, error_nusd, 'user' AS source, 1.0 AS label_propensity,
               coalesce(ended_at, started_at) AS received_at
        FROM fresh WHERE correct IS NOT NULL AND {_IN_SLICE} ORDER BY call_id, attempt_id""",
}
# column of a line → column of the rows that fills it
_MAY_BE_EMPTY: Final[dict[str, dict[str, str]]] = {
    "attempts": {name: name for name in _PASSED_ON if name not in _ALWAYS_THERE},
    "calls": {
        **{name: name for name in ("run", "step", "confidence", "latency_ms", "error_type", "tags")},
        **dict.fromkeys(("tier_planned", "tier_served"), "tier"),
    },
    "outcomes": {"error_nusd": "error_nusd"},
}
_LINKED_CALLS: Final = f"""
    SELECT 'call' AS k, call_id, min(started_at) AS ts, any_value(run) AS run, any_value(step) AS step,
           first(payload_type ORDER BY n) AS payload_type,
           max_by(attempt_id, n) FILTER ({_IS_SERVED}) AS served_attempt_id,
           first(tier ORDER BY n) AS tier_planned, max_by(tier, n) FILTER ({_IS_SERVED}) AS tier_served,
           max_by(request_model, n) FILTER ({_IS_SERVED}) AS model_served, 'imported' AS reason, false AS critical,
           false AS degraded, 0 AS escalations,
           CAST(count(*) FILTER (model_before <> request_model) AS INTEGER) AS fallbacks,
           max_by(confidence, n) FILTER ({_IS_SERVED}) AS confidence,
           CASE WHEN count(confidence) FILTER ({_IS_SERVED}) > 0 THEN 'caller' ELSE 'none' END AS confidence_source,
           CAST(coalesce(sum(cost_nusd), 0) AS BIGINT) AS cost_nusd, CAST(count(*) AS INTEGER) AS attempts,
           (max(coalesce(ended_at, started_at)) - min(started_at)) / 1000 AS latency_ms,
           CASE WHEN bool_or({_IS_SERVED}) THEN 'ok' ELSE 'failed' END AS status,
           CASE WHEN NOT bool_or({_IS_SERVED}) THEN max_by(error_type, n) END AS error_type,
           false AS cache_hit, any_value(tags) AS tags, 'import' AS source
    FROM fresh WHERE size > 1 AND hash(call_id) % {{parts}} = {{part}} GROUP BY call_id ORDER BY ts, call_id"""


def load_rows(con: "DuckDBPyConnection", rows: Sequence[Path]) -> None:
    """Make ``imported`` and ``identified`` from files of rows, one JSON object per line."""
    struct = ", ".join(f"'{name}': '{kind}'" for name, kind in _COLUMNS.items())
    con.execute(
        "CREATE TABLE imported AS SELECT * FROM read_json($path, format = 'newline_delimited',"
        f" columns = {{{struct}}}, maximum_object_size = 1048576)",
        {"path": [str(path) for path in rows]},
    )
    con.execute(_TWINS)
    con.execute(_IDENTIFIED)


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
                SELECT attempt_id AS id, tier, cost_nusd FROM attempts
                WHERE source IN ('import', 'logger') AND started_at {bounds}
                UNION ALL
                SELECT call_id, tier_served, cost_nusd FROM calls
                WHERE source IN ('import', 'logger') AND cache_hit AND ts {bounds}
            ) TO '{target}' (FORMAT parquet)"""
        )
    con.execute(f"CREATE TABLE known AS SELECT * FROM read_parquet('{target}')")


def link(con: "DuckDBPyConnection", *, links_failures: bool) -> None:
    """Make ``fresh``: the rows that are new, each with its call and its number in it.

    Args:
        con: The connection.
        links_failures: Whether a chain may be longer than one answer, so that a success ends a call.
    """
    con.execute(_OLD)
    con.execute(_LINKED, {"links_failures": links_failures})
    con.execute(_FRESH)


def write_lines(con: "DuckDBPyConnection", folder: Path) -> list[Path]:
    """Return files of spool lines: new attempts, calls and outcomes, a slice of time after the other."""
    parts: list[Path] = []
    # a column that holds nothing would be in every line all the same, and be read there again
    queries = {name: f"SELECT * {_without_empty(con, name)} FROM ({query})" for name, query in _LINES.items()}
    for number, (since, until) in enumerate(_slices(con)):
        for name, query in queries.items():
            parts.append(folder / f"{name}-{number}.jsonl")
            con.execute(f"COPY ({query.format(since=since, until=until)}) TO '{parts[-1]}' (FORMAT json)")
    count = con.execute("SELECT count(*) FROM linked").fetchone()
    shares = -(-count[0] // _ROWS_PER_SLICE) if count is not None else 0
    for share in range(shares):
        parts.append(folder / f"linked-{share}.jsonl")
        query = _LINKED_CALLS.format(parts=shares, part=share)
        con.execute(f"COPY ({query}) TO '{parts[-1]}' (FORMAT json)")
    return parts


def _without_empty(con: "DuckDBPyConnection", name: str) -> str:
    """Return what leaves out of a line the columns that are empty in every row."""
    columns = _MAY_BE_EMPTY[name]
    counts = con.execute(f"SELECT {', '.join(f'count({source})' for source in columns.values())} FROM imported")
    empty = [column for column, count in zip(columns, counts.fetchone() or (), strict=True) if not count]
    return f"EXCLUDE ({', '.join(empty)})" if empty else ""


def _slices(con: "DuckDBPyConnection") -> list[tuple[int, int]]:
    """Return bounds of time between which there are about as many rows as can be sorted in memory."""
    row = con.execute("SELECT count(*), min(started_at), max(started_at) FROM imported").fetchone()
    if row is None or not row[0]:
        return []
    slices = -(-row[0] // _ROWS_PER_SLICE)
    shares = [number / slices for number in range(1, slices)]
    inner: list[int] = []
    if shares:
        found = con.execute(f"SELECT approx_quantile(started_at, {shares}) FROM imported").fetchone()
        inner = sorted(set(found[0])) if found is not None else []
    bounds = [row[1], *(bound for bound in inner if row[1] < bound <= row[2]), row[2] + 1]
    return list(pairwise(bounds))
