"""Hourly sums beside the raw rows: deltas per commit, queries that compute them, latency quantiles.

The writer's connection has the log attached as ``log`` and stages new rows in tables named ``stage_<kind>``.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from router_core.call_log.ddl import IMPACT, ROLLUPS, call_labels
from router_core.call_log.schema import LATENCY_BUCKET_RATIO, TABLES
from router_core.call_log.weeks import Week

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MOST: Final = 2**63 - 1
# of so many rows, whose values keep within their limits, a sum always fits its column
_ROWS_PER_SUM: Final = 5_000
# beyond nine billion dollars an hour, this one is not exact: it must not keep the sums of other hours from being made
_IMPACTS: Final = f"CAST(least(greatest(coalesce(sum({IMPACT}), 0), -{_MOST}), {_MOST}) AS BIGINT)"
_SOURCES: Final = {"rollup_calls": "call", "rollup_attempts": "attempt", "rollup_latency": "call"}
_INSTANT: Final = {"call": "ts", "attempt": "started_at"}
# latencies of a microsecond and less share the lowest bucket: the logarithm of zero does not exist
_BUCKET: Final = f"CAST(floor(ln(greatest(latency_ms, 0.001)) / ln({LATENCY_BUCKET_RATIO})) AS INTEGER)"


def source_of(rollup: str) -> tuple[str, str]:
    """Return the table of raw rows that a rollup sums, and its column that tells the hour."""
    kind = _SOURCES[rollup]
    return TABLES[kind], _INSTANT[kind]


def delta_query(rollup: str, rows: str, hour: str | None = None, sums: str = "BIGINT", also: str = "") -> str:
    """Return the SELECT of one rollup's rows over a table of raw rows.

    Args:
        rollup: Name of the rollup.
        rows: The table, or a subquery.
        hour: What to take as a row's hour; None = the hour of its instant.
        sums: Type of the sums; as BIGINT, 5,000 rows always fit, as HUGEINT any number of them.
        also: What to group by beside the keys, with a comma behind it.
    """
    keys, measures = ROLLUPS[rollup]
    hour = hour or f"date_trunc('hour', {_INSTANT[_SOURCES[rollup]]})"
    computed = {"hour": f"{hour} AS hour", "bucket": f"{_BUCKET} AS bucket"}
    selected = [computed.get(key, key) for key in keys]
    selected += [f"CAST({expression} AS {sums}) AS {name}" for name, expression in measures.items()]
    where = "WHERE latency_ms IS NOT NULL" if "bucket" in keys else ""
    return f"SELECT {also}{', '.join(selected)} FROM {rows} {where} GROUP BY ALL"


def compute_deltas(con: "DuckDBPyConnection", kinds: set[str]) -> list[str]:
    """Compute the rollup rows of what is staged; return the rollups that have any."""
    touched = [rollup for rollup, kind in _SOURCES.items() if kind in kinds]
    for rollup in touched:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE delta_{rollup} AS {delta_query(rollup, f'stage_{_SOURCES[rollup]}')}"
        )
    return touched


def append_deltas(con: "DuckDBPyConnection", touched: list[str]) -> None:
    """Append the computed rollup rows to the log."""
    for rollup in touched:
        con.execute(f"INSERT INTO log.{rollup} SELECT * FROM delta_{rollup}")


def outcomes_query(calls: str, outcomes: str) -> str:
    """Return the SELECT of the outcome rollup's rows.

    Args:
        calls: Answered calls: call_id, hour, source, payload_type, tier_served, model_served, served_attempt_id and
            error_cost_nusd.
        outcomes: The table of labels.
    """
    return f"""
        SELECT c.hour, c.source, c.payload_type, c.tier_served, c.model_served, count(*) AS n_labelled,
               coalesce(sum(1 - o.correct), 0) AS wrong, {_IMPACTS} AS impact_nusd,
               coalesce(sum(1 - o.correct) FILTER ({IMPACT} IS NULL), 0) AS wrong_unpriced
        FROM {calls} AS c JOIN ({call_labels(calls, outcomes)}) AS o USING (call_id)
        GROUP BY c.hour, c.source, c.payload_type, c.tier_served, c.model_served"""


def recompute(con: "DuckDBPyConnection", rollup: str, week: Week) -> None:
    """Compute a rollup's sums of one week anew from the raw rows, in a transaction."""
    table, instant = source_of(rollup)
    rows = f"(SELECT *, rowid // {_ROWS_PER_SUM} AS block FROM log.{table} WHERE {week.holds(instant)})"
    keys, measures = ROLLUPS[rollup]
    whole = delta_query(rollup, rows, sums="HUGEINT")
    con.execute(f"CREATE OR REPLACE TEMP TABLE delta_{rollup} AS {whole}", week.values())
    is_large = " OR ".join(f"abs({name}) > {_MOST}" for name in measures)
    if con.execute(f"SELECT count(*) FROM delta_{rollup} WHERE {is_large}").fetchone() != (0,):
        # as when the rows came in: the sums of some rows each, which always fit
        parts = delta_query(rollup, rows, also="block, ")
        columns = ", ".join((*keys, *measures))
        con.execute(f"CREATE OR REPLACE TEMP TABLE delta_{rollup} AS SELECT {columns} FROM ({parts})", week.values())
    con.execute("BEGIN")
    con.execute(f"DELETE FROM log.{rollup} WHERE {week.holds('hour')}", week.values())
    con.execute(f"INSERT INTO log.{rollup} SELECT * FROM delta_{rollup}")
    con.execute("COMMIT")


def bucket_quantile(counts: Mapping[int, int], q: float) -> float | None:
    """Return a quantile of latencies from their bucket counts, ms; None when there are none.

    The value of rank ceil(q n) lies in the bucket found, whose geometric middle is within 2.47 % of it: sqrt(1.05) - 1.

    Args:
        counts: Calls per bucket b, which holds latencies in [1.05^b, 1.05^(b+1)) ms.
        q: 0..1.
    """
    total = sum(counts.values())
    if not total:
        return None
    rank = max(1, math.ceil(q * total))
    for bucket in sorted(counts):
        rank -= counts[bucket]
        if rank <= 0:
            return LATENCY_BUCKET_RATIO ** (bucket + 0.5)
    return None
