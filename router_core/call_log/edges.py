"""Hourly sums where a day begins inside an hour: that hour's sums are taken from the raw rows, in two parts.

Zones such as Asia/Kolkata (+5:30) and Asia/Kathmandu (+5:45) cut a UTC hour in two at each midnight.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from router_core.call_log.ddl import ROLLUPS
from router_core.call_log.rollups import delta_query, outcomes_query, source_of
from router_core.call_log.schema import ROLLUP_OUTCOMES_COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_HOUR: Final = dt.timedelta(hours=1)
_OUTCOMES: Final = "rollup_outcomes"
# which seconds of an hour it is cut at → the hours so cut; mostly there is one such group
_Cuts = Mapping[tuple[int, ...], list[dt.datetime]]


def rollups_cut_at(con: "DuckDBPyConnection", instants: Collection[dt.datetime]) -> Mapping[str, str]:
    """Return what to read in place of each rollup, so that none of its rows lies on both sides of an instant.

    A row's ``hour`` is then the beginning of the hour, or of the part of an hour that begins at an instant.

    Args:
        con: The log, open for reading; temporary tables are made in it.
        instants: Where to cut, UTC (naive).

    Returns:
        For each rollup its own name, or a subquery with its columns.
    """
    inside: dict[dt.datetime, set[int]] = {}
    for instant in instants:
        hour = instant.replace(minute=0, second=0, microsecond=0)
        if instant != hour:
            inside.setdefault(hour, set()).add((instant - hour).seconds)
    cuts: dict[tuple[int, ...], list[dt.datetime]] = {}
    for hour, seconds in sorted(inside.items()):
        cuts.setdefault(tuple(sorted(seconds)), []).append(hour)
    if not cuts:
        return {name: name for name in (*ROLLUPS, _OUTCOMES)}
    return {name: _replaced(con, name, cuts) for name in (*ROLLUPS, _OUTCOMES)}


def _replaced(con: "DuckDBPyConnection", rollup: str, cuts: _Cuts) -> str:
    """Sum the raw rows of the hours that are cut up, and return the subquery that has these sums in their place."""
    if rollup == _OUTCOMES:
        columns = ", ".join(ROLLUP_OUTCOMES_COLUMNS)
        # materialised: it stands in the query twice, and the calls are to be read once
        parts = f"""WITH answered AS MATERIALIZED (
                SELECT call_id, part AS hour, source, payload_type, tier_served, model_served, served_attempt_id,
                       error_cost_nusd
                FROM {_rows("calls", "ts", cuts)} WHERE status = 'ok')
            {outcomes_query("answered", "outcomes")}"""
    else:
        keys, measures = ROLLUPS[rollup]
        columns = ", ".join((*keys, *measures))
        parts = delta_query(rollup, _rows(*source_of(rollup), cuts), hour="part", sums="HUGEINT")
    con.execute(f"CREATE OR REPLACE TEMP TABLE edge_{rollup} AS {parts}")
    return f"""(SELECT {columns} FROM {rollup} WHERE hour IS NULL OR hour NOT IN ({_listed(_hours(cuts))})
                UNION ALL SELECT {columns} FROM edge_{rollup})"""


def _rows(table: str, instant: str, cuts: _Cuts) -> str:
    """Return the subquery of the raw rows in hours that are cut up, with the ``part`` of the hour they lie in."""
    hours = _hours(cuts)
    hour = f"date_trunc('hour', {instant})"
    # midnights lie at one or two hours of the day: telling that first is many times as quick as the list alone
    of_day = sorted({each.hour for each in hours})
    days = (max(hours).date() - min(hours).date()).days + 1
    listed = "" if len(hours) == days * len(of_day) else f"AND list_contains([{_listed(hours)}], {hour})"
    whens = [
        f"WHEN {instant} >= {hour} + INTERVAL {cut} SECOND{among} THEN {hour} + INTERVAL {cut} SECOND"
        for seconds, cut_hours in cuts.items()
        for among in ("" if len(cuts) == 1 else f" AND {hour} IN ({_listed(cut_hours)})",)
        for cut in reversed(seconds)
    ]
    return f"""(SELECT *, CASE {" ".join(whens)} ELSE {hour} END AS part FROM {table}
        WHERE {instant} >= {_literal(min(hours))} AND {instant} < {_literal(max(hours) + _HOUR)}
          AND hour({instant}) IN ({", ".join(map(str, of_day))}) {listed})"""


def _hours(cuts: _Cuts) -> list[dt.datetime]:
    return [hour for hours in cuts.values() for hour in hours]


def _listed(hours: Iterable[dt.datetime]) -> str:
    return ", ".join(_literal(hour) for hour in hours)


def _literal(instant: dt.datetime) -> str:
    return f"TIMESTAMP '{instant:%Y-%m-%d %H:%M:%S}'"
