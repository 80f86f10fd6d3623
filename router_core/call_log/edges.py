"""Hourly sums where a day begins inside an hour: that hour's sums are taken from the raw rows, in two parts.

Zones such as Asia/Kolkata (+5:30) and Asia/Kathmandu (+5:45) cut a UTC hour in two at each midnight.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from router_core.call_log.ddl import ROLLUPS
from router_core.call_log.rollups import delta_query, outcomes_query, source_of
from router_core.call_log.schema import ROLLUP_OUTCOMES_COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_HOUR: Final = dt.timedelta(hours=1)
_OUTCOMES: Final = "rollup_outcomes"
# what the rollups are computed from; other columns of the raw rows are not read
_CALL_COLUMNS: Final = (
    "call_id, source, payload_type, tier_planned, tier_served, model_served, status, critical, degraded, escalations,"
    " fallbacks, cache_hit, cost_nusd, latency_ms, served_attempt_id, error_cost_nusd"
)
_ATTEMPT_COLUMNS: Final = (
    "source, payload_type, tier, provider_name, request_model, role, status, cost_nusd, cost_status, input_tokens,"
    " cached_tokens, output_tokens, reasoning_tokens, latency_ms"
)


def rollups_cut_at(con: "DuckDBPyConnection", instants: Collection[dt.datetime]) -> Mapping[str, str]:
    """Return what to read in place of each rollup, so that none of its rows lies on both sides of an instant.

    A row's ``hour`` is then the beginning of the hour, or of the part of an hour that begins at an instant.

    Args:
        con: The log, open for reading; temporary tables are made in it.
        instants: Where to cut, UTC (naive).

    Returns:
        For each rollup its own name, or a subquery with its columns.
    """
    cuts: dict[dt.datetime, list[dt.datetime]] = {}
    for instant in sorted(set(instants)):
        hour = instant.replace(minute=0, second=0, microsecond=0)
        if instant != hour:
            cuts.setdefault(hour, []).append(instant)
    if not cuts:
        return {name: name for name in (*ROLLUPS, _OUTCOMES)}
    _take_rows(con, "edge_calls", "calls", "ts", _CALL_COLUMNS, cuts)
    _take_rows(con, "edge_attempts", "attempts", "started_at", _ATTEMPT_COLUMNS, cuts)
    return {name: _replaced(con, name, cuts) for name in (*ROLLUPS, _OUTCOMES)}


def _take_rows(
    con: "DuckDBPyConnection",
    name: str,
    table: str,
    instant: str,
    columns: str,
    cuts: Mapping[dt.datetime, list[dt.datetime]],
) -> None:
    # one branch for each hour: then only the blocks around that hour are read
    branches = (
        f"""SELECT {_part(hour, inside, instant)} AS part, {columns} FROM {table}
            WHERE {instant} >= {_literal(hour)} AND {instant} < {_literal(hour + _HOUR)}"""
        for hour, inside in cuts.items()
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {' UNION ALL '.join(branches)}")


def _part(hour: dt.datetime, inside: list[dt.datetime], instant: str) -> str:
    """Return the SQL for the beginning of the part of an hour that an instant lies in."""
    cases = " ".join(f"WHEN {instant} >= {_literal(cut)} THEN {_literal(cut)}" for cut in reversed(inside))
    return f"CASE {cases} ELSE {_literal(hour)} END"


def _replaced(con: "DuckDBPyConnection", rollup: str, cuts: Collection[dt.datetime]) -> str:
    if rollup == _OUTCOMES:
        columns = ", ".join(ROLLUP_OUTCOMES_COLUMNS)
        rows = "(SELECT *, part AS hour FROM edge_calls WHERE status = 'ok')"
        parts = outcomes_query(rows, "outcomes")
    else:
        keys, measures = ROLLUPS[rollup]
        columns = ", ".join((*keys, *measures))
        parts = delta_query(rollup, f"edge_{source_of(rollup)[0]}", hour="part")
    con.execute(f"CREATE OR REPLACE TEMP TABLE edge_{rollup} AS {parts}")
    listed = ", ".join(_literal(hour) for hour in cuts)
    return f"""(SELECT {columns} FROM {rollup} WHERE hour IS NULL OR hour NOT IN ({listed})
                UNION ALL SELECT {columns} FROM edge_{rollup})"""


def _literal(instant: dt.datetime) -> str:
    return f"TIMESTAMP '{instant:%Y-%m-%d %H:%M:%S}'"
