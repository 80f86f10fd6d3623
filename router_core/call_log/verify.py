"""Proof that the hourly sums are the sums of the rows: both computed, week by week, and compared."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from router_core.call_log.access import BrokenLogError, LogUnavailableError, first_line
from router_core.call_log.ddl import ROLLUPS
from router_core.call_log.doctor import Finding
from router_core.call_log.home import Home
from router_core.call_log.read import NoLogError, reading
from router_core.call_log.receipt_sql import unexplained_requests
from router_core.call_log.rollups import delta_query, outcomes_query, source_of
from router_core.call_log.schema import ROLLUP_OUTCOMES_COLUMNS
from router_core.call_log.terminal import counted, safe
from router_core.call_log.weeks import Week, weeks

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY: Final = "512MB"
_MOST_UNEXPLAINED: Final = 1_000
_SHOWN: Final = 5
_OUTCOMES: Final = "rollup_outcomes"
_OUTCOME_KEYS: Final = 5
# a call ends within its deadline, which is far shorter
_NEAR: Final = "started_at >= $first - INTERVAL 1 DAY AND started_at < $until + INTERVAL 1 DAY"
_THESE: Final = "call_id IN (SELECT unnest($ids))"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What comparing one rollup with its rows has found.

    Attributes:
        rollup: Its table.
        rows: Raw rows looked at.
        sums: Keys compared, one per hour and combination of names.
        differing: How many are not what the rows add up to.
        first: The first hour with such a one, UTC; None without, or when it is undated.
    """

    rollup: str
    rows: int
    sums: int
    differing: int
    first: dt.datetime | None


def verify(home: Home, progress: Progress | None = None) -> list[Verified]:
    """Compare every rollup with the raw rows and return what was found, one result per rollup.

    The log is opened for one week of rows at a time, so that its writer does not wait for long, with a small limit of
    memory. Hours whose labels have just changed and wait for their sums are left out.

    Args:
        home: Whose log.
        progress: Called with weeks done and weeks to do.

    Raises:
        NoLogError: There is no log.
        LogBusyError: The log stayed locked.
    """
    with reading(home) as con:
        pieces = weeks(con)
    found: dict[str, list[Verified]] = {name: [] for name in (*ROLLUPS, _OUTCOMES)}
    for done, week in enumerate(pieces, start=1):
        with reading(home, timeout_s=60.0) as con:
            con.execute(f"SET memory_limit = '{_MEMORY}'")
            for name, results in found.items():
                results.append(_compare(con, name, week))
        if progress is not None:
            progress(done, len(pieces))
    return [_added(name, results) for name, results in found.items()]


def missing_numbers(home: Home) -> int:
    """Return how many calls are missing in the numbering of the processes that made them.

    A call that was being logged when its process was killed has left its number unused; more than a few of them say
    that lines were lost.
    """
    with reading(home, timeout_s=60.0) as con:
        con.execute(f"SET memory_limit = '{_MEMORY}'")
        row = con.execute(
            """SELECT coalesce(sum(greatest(newest - oldest + 1 - n, 0)), 0) FROM (
                   SELECT min(seq) AS oldest, max(seq) AS newest, count(*) AS n
                   FROM calls WHERE seq IS NOT NULL AND worker IS NOT NULL AND source = 'router'
                   GROUP BY worker)"""
        ).fetchone()
    return int(row[0]) if row is not None else 0


def unexplained(home: Home) -> list[str]:
    """Return requests whose cost does not follow from their own tokens and prices, at most some, week by week."""
    with reading(home) as con:
        pieces = weeks(con)
    found: list[str] = []
    for week in pieces:
        # items of a request have begun at the same instant
        with reading(home, timeout_s=60.0) as con:
            con.execute(f"SET memory_limit = '{_MEMORY}'")
            found += unexplained_requests(con, _MOST_UNEXPLAINED - len(found), week)
    return found


def differing_calls(home: Home) -> list[str]:
    """Return calls whose own cost or number of attempts is not that of their attempts, at most some, week by week.

    Only finished calls of routers count: what others log need not have attempts of its own.
    """
    with reading(home) as con:
        pieces = weeks(con)
    found: list[str] = []
    for week in pieces:
        with reading(home, timeout_s=60.0) as con:
            con.execute(f"SET memory_limit = '{_MEMORY}'")
            near = con.execute(_differing(week, "true" if week.first is None else _NEAR), week.values()).fetchall()
            if near:
                # some of their attempts may lie further away
                values = {**week.values(), "ids": [call_id for (call_id,) in near]}
                rows = con.execute(_differing(week, _THESE), values).fetchall()
                found += [call_id for (call_id,) in rows[: _MOST_UNEXPLAINED - len(found)]]
    return found


def _differing(week: Week, attempts: str) -> str:
    return f"""
        WITH said AS (
            SELECT call_id, cost_nusd, attempts FROM calls
            WHERE source = 'router' AND status IN ('ok', 'failed', 'rejected') AND {week.holds("ts")}
        ),
        sums AS (
            SELECT call_id, CAST(sum(coalesce(cost_nusd, 0)) AS HUGEINT) AS cost_nusd, count(*) AS n FROM attempts
            WHERE role IS DISTINCT FROM 'shadow' AND {attempts} GROUP BY call_id
        )
        SELECT call_id FROM said LEFT JOIN sums USING (call_id)
        WHERE {"call_id IN (SELECT unnest($ids)) AND" if attempts == _THESE else ""}
              (said.cost_nusd IS DISTINCT FROM coalesce(sums.cost_nusd, 0)
               OR said.attempts IS DISTINCT FROM coalesce(sums.n, 0))
        ORDER BY call_id LIMIT {_MOST_UNEXPLAINED}"""


def prove(home: Home, progress: Progress | None = None) -> list[Finding]:
    """Return what all checks here have found, as the doctor says it; [] without a log.

    Raises:
        LogBusyError: The log stayed locked.
    """
    import duckdb

    try:
        return [
            *proofs(verify(home, progress), missing_numbers(home)),
            _receipts(unexplained(home)),
            _calls(differing_calls(home)),
        ]
    except NoLogError:
        return []
    except (BrokenLogError, LogUnavailableError, duckdb.Error) as error:
        reason = error.reason if isinstance(error, BrokenLogError) else first_line(error)
        text = f"nothing could be proven: {reason}"
        return [Finding(name="verify", state="wrong", text=text, mend="see log, above")]


def proofs(verified: list[Verified], missing: int) -> list[Finding]:
    """Return what was proven, as the doctor says it.

    Args:
        verified: Results of ``verify``.
        missing: Result of ``missing_numbers``.
    """
    found = [_proof(each) for each in verified]
    if not missing:
        return [*found, Finding(name="numbering", state="ok", text="no call is missing")]
    text = f"{counted(missing, 'call is', 'calls are')} missing in the numbering of the processes that made them"
    mend = "a few: processes were killed while they logged; many: lines were lost, see dropped and quarantine"
    return [*found, Finding(name="numbering", state="note", text=text, mend=mend)]


def _receipts(requests: list[str]) -> Finding:
    return _listed(
        "receipts",
        requests,
        well="every computed cost follows from its own tokens and prices",
        says=("request costs", "requests cost"),
        what="tokens and prices say",
        mend="they were changed, or another program wrote them; tierwise calls ID shows the arithmetic of their calls",
    )


def _calls(calls: list[str]) -> Finding:
    return _listed(
        "calls",
        calls,
        well="every call's cost and number of attempts are those of its attempts",
        says=("call says", "calls say"),
        what="attempts add up to",
        mend="spend, the sum over attempts, counts; attempts may have been lost: see dropped and quarantine, above",
    )


def _listed(name: str, found: list[str], *, well: str, says: tuple[str, str], what: str, mend: str) -> Finding:
    """Return that nothing was found wrong, or the first of what was."""
    if not found:
        return Finding(name=name, state="ok", text=well)
    many = "at least " if len(found) == _MOST_UNEXPLAINED else ""
    shown = ", ".join(safe(each) for each in found[:_SHOWN])
    whose = "its" if len(found) == 1 else "their"
    text = f"{many}{counted(len(found), *says)} something else than {whose} {what}: {shown}"
    text += ", ..." if len(found) > _SHOWN else ""
    return Finding(name=name, state="wrong", text=text, mend=mend)


def _proof(result: Verified) -> Finding:
    text = f"{counted(result.sums, 'sum')} over {counted(result.rows, 'row')}"
    if not result.differing:
        return Finding(name=result.rollup, state="ok", text=f"{text}, all equal")
    since = "undated ones" if result.first is None else f"from {result.first:%Y-%m-%d %H:%M} UTC on"
    text = f"{result.differing:,} of {text} differ ({since})"
    return Finding(name=result.rollup, state="wrong", text=text, mend="tierwise ingest --sums computes them anew")


def _added(name: str, results: list[Verified]) -> Verified:
    return Verified(
        rollup=name,
        rows=sum(result.rows for result in results),
        sums=sum(result.sums for result in results),
        differing=sum(result.differing for result in results),
        first=min((result.first for result in results if result.first is not None), default=None),
    )


def _compare(con: "DuckDBPyConnection", rollup: str, week: Week) -> Verified:
    names, kept, computed, raw = _outcome_sums(week) if rollup == _OUTCOMES else _sums(rollup, week)
    row = con.execute(
        f"""WITH kept AS ({kept}), computed AS ({computed}),
                 odd AS ((FROM kept EXCEPT ALL FROM computed) UNION ALL (FROM computed EXCEPT ALL FROM kept))
            SELECT ({raw}), (SELECT count(*) FROM computed), (SELECT count(DISTINCT ({names})) FROM odd),
                   (SELECT min(hour) FROM odd)""",
        week.values(),
    ).fetchone()
    rows, sums, differing, first = row if row is not None else (0, 0, 0, None)
    aware = None if first is None else first.replace(tzinfo=dt.UTC)
    return Verified(rollup=rollup, rows=rows, sums=sums, differing=differing, first=aware)


def _sums(rollup: str, week: Week) -> tuple[str, str, str, str]:
    """Return the keys, and the queries of the sums kept, of the sums computed and of the number of rows."""
    keys, measures = ROLLUPS[rollup]
    names = ", ".join(keys)
    table, instant = source_of(rollup)
    summed = ", ".join(f"CAST(sum({name}) AS HUGEINT) AS {name}" for name in measures)
    rows = f"(SELECT * FROM {table} WHERE {week.holds(instant)})"
    return (
        names,
        f"SELECT {names}, {summed} FROM {rollup} WHERE {week.holds('hour')} GROUP BY ALL",
        delta_query(rollup, rows, sums="HUGEINT"),
        f"SELECT count(*) FROM {table} WHERE {week.holds(instant)}",
    )


def _outcome_sums(week: Week) -> tuple[str, str, str, str]:
    columns = list(ROLLUP_OUTCOMES_COLUMNS)
    # a sum of fractions depends on the order of adding
    selected = ", ".join(
        f"round({name}, 6) AS {name}" if kind == "DOUBLE" else name for name, kind in ROLLUP_OUTCOMES_COLUMNS.items()
    )
    settled = f"""NOT EXISTS (
        SELECT 1 FROM (FROM outcome_queue UNION ALL SELECT date_trunc('hour', ts) FROM calls
                       WHERE call_id IN (SELECT call_id FROM unplaced_outcomes) AND {week.holds("ts")}) AS q
        WHERE q.hour IS NOT DISTINCT FROM x.hour)"""
    labelled = f"""
        SELECT call_id, date_trunc('hour', ts) AS hour, source, payload_type, tier_served, model_served,
               served_attempt_id, error_cost_nusd
        FROM calls WHERE status = 'ok' AND {week.holds("ts")}"""
    return (
        ", ".join(columns[:_OUTCOME_KEYS]),
        f"SELECT {selected} FROM rollup_outcomes AS x WHERE {week.holds('hour')} AND {settled}",
        f"SELECT {selected} FROM ({outcomes_query(f'({labelled})', 'outcomes')}) AS x WHERE {settled}",
        f"SELECT count(*) FROM outcomes WHERE call_id IN (SELECT call_id FROM calls WHERE {week.holds('ts')})",
    )
