"""Sums of outcomes per hour of their calls: hours whose labels have changed wait in a queue and are computed anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from router_core.call_log.lookup import Lookup, Question
from router_core.call_log.rollups import outcomes_query
from router_core.call_log.schema import ROLLUP_OUTCOMES_COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# a step looks at the calls of so many hours, and is then locked for the few rows that result
HOURS_PER_STEP: Final = 48
_UNPLACED: Final = "SELECT call_id FROM log.unplaced_outcomes ORDER BY rowid LIMIT 20000"
_UNPLACED_HOURS: Final = (
    f"SELECT DISTINCT epoch_us(date_trunc('hour', ts)) FROM log.calls WHERE call_id IN ({_UNPLACED})"
)
_QUEUED: Final = f"""
    SELECT DISTINCT epoch_us(hour) AS hour FROM log.outcome_queue ORDER BY hour NULLS FIRST LIMIT {HOURS_PER_STEP}"""
_COLUMNS: Final = ", ".join(ROLLUP_OUTCOMES_COLUMNS)


@dataclass(frozen=True, slots=True)
class Step:
    """Some queued hours and the rows that their sums have become. Hours are microseconds, None that of undated calls.

    Attributes:
        hours: Hours whose sums were computed.
        rows: Rows of the outcome rollup for them.
        placed: Calls of labels whose hours were looked up.
        later: Those of these hours that were not computed yet.
    """

    hours: list[int | None]
    rows: list[Sequence[Any]]
    placed: list[str]
    later: list[int | None]


def early_labels(con: "DuckDBPyConnection", kinds: set[str]) -> list[Question]:
    """Return what to ask the log about labels that came before their staged calls, for ``touched_hours``."""
    if "call" not in kinds:
        return []
    called = [call_id for (call_id,) in con.execute("SELECT DISTINCT call_id FROM stage_call").fetchall()]
    return [Question("SELECT DISTINCT call_id FROM log.outcomes WHERE call_id IN (SELECT unnest(?))", (called,))]


def touched_hours(con: "DuckDBPyConnection", answers: Sequence[Sequence[Sequence[Any]]]) -> list[int | None]:
    """Return the hours of staged calls whose labels came before them, as the answers to ``early_labels`` say."""
    meant = [call_id for rows in answers for (call_id,) in rows]
    if not meant:
        return []
    staged = "SELECT DISTINCT epoch_us(date_trunc('hour', ts)) FROM stage_call WHERE call_id IN (SELECT unnest(?))"
    return [hour for (hour,) in con.execute(staged, [meant]).fetchall()]


def queue_labels(con: "DuckDBPyConnection", kinds: set[str]) -> None:
    """Remember the calls of staged labels; the hours of these calls are looked up when their sums are computed."""
    if "outcome" in kinds:
        con.execute("INSERT INTO log.unplaced_outcomes SELECT DISTINCT call_id FROM stage_outcome")


def queue_hours(con: "DuckDBPyConnection", hours: Sequence[int | None]) -> None:
    """Remember hours whose sums are to be computed anew."""
    if hours:
        con.execute("INSERT INTO log.outcome_queue SELECT make_timestamp(unnest(?::BIGINT[]))", [list(hours)])


def queue_all_hours(con: "DuckDBPyConnection") -> None:
    """Have the sums of all hours computed anew."""
    con.execute(
        """INSERT INTO log.outcome_queue SELECT hour FROM log.rollup_outcomes
           UNION SELECT date_trunc('hour', ts) FROM log.calls"""
    )


def compute_step(lookup: Lookup) -> Step:
    """Compute the sums of the first queued hours from the raw rows; there are no hours when nothing is queued."""
    asked = (Question(_UNPLACED), Question(_UNPLACED_HOURS), Question(_QUEUED))
    placed, fresh, queued = ([value for (value,) in rows] for rows in lookup.ask(*asked))
    waiting = sorted({*fresh, *queued}, key=lambda hour: (hour is not None, hour or 0))
    hours, later = waiting[:HOURS_PER_STEP], waiting[HOURS_PER_STEP:]
    rows = _compute(lookup, hours)
    return Step(hours=hours, rows=rows, placed=placed, later=[hour for hour in later if hour in set(fresh)])


def _compute(lookup: Lookup, hours: Sequence[int | None]) -> list[Sequence[Any]]:
    dated = [hour for hour in hours if hour is not None]
    questions: list[Question] = []
    if dated:
        # the bounds let all other blocks be left out, the list then picks the hours
        of_hours = f"""
            c.ts >= make_timestamp({min(dated)}) AND c.ts < make_timestamp({max(dated) + 3_600_000_000})
            AND epoch_us(date_trunc('hour', c.ts)) IN ({", ".join(map(str, dated))})"""
        questions.append(Question(_sums(of_hours)))
    if len(dated) < len(hours):
        questions.append(Question(_sums("c.ts IS NULL")))
    answers = lookup.ask(*questions) if questions else []
    return [row for rows in answers for row in rows]


def apply_step(con: "DuckDBPyConnection", step: Step, as_of_us: int) -> bool:
    """Put computed sums in place of the old ones; return whether hours are left in the queue."""
    hours = [hour for hour in step.hours if hour is not None]
    touched = "hour IN (SELECT make_timestamp(unnest(?::BIGINT[])))"
    con.execute("BEGIN")
    for table in ("rollup_outcomes", "outcome_queue"):
        con.execute(f"DELETE FROM log.{table} WHERE {touched}", [hours])
        if len(hours) < len(step.hours):
            con.execute(f"DELETE FROM log.{table} WHERE hour IS NULL")
    if step.placed:
        con.execute("DELETE FROM log.unplaced_outcomes WHERE call_id IN (SELECT unnest(?))", [step.placed])
    queue_hours(con, step.later)
    if step.rows:
        unnested = ", ".join(
            f"make_timestamp(unnest(?::BIGINT[])) AS {name}"
            if kind == "TIMESTAMP"
            else f"unnest(?::{kind}[]) AS {name}"
            for name, kind in ROLLUP_OUTCOMES_COLUMNS.items()
        )
        columns = [list(column) for column in zip(*step.rows, strict=True)]
        con.execute(f"INSERT INTO log.rollup_outcomes ({_COLUMNS}) SELECT {unnested}", columns)
    queues = "SELECT (SELECT count(*) FROM log.outcome_queue) + (SELECT count(*) FROM log.unplaced_outcomes)"
    left = con.execute(queues).fetchone() != (0,)
    if not left:
        con.execute("DELETE FROM log.progress WHERE name = 'outcomes'")
        con.execute("INSERT INTO log.progress VALUES ('outcomes', make_timestamp(?))", [as_of_us])
    con.execute("COMMIT")
    return left


def _sums(of_hours: str) -> str:
    columns = ", ".join(f"epoch_us({name})" if name == "hour" else name for name in ROLLUP_OUTCOMES_COLUMNS)
    # materialised: it stands in the query twice, and the calls are to be read once
    return f"""
        WITH answered AS MATERIALIZED (
            SELECT c.call_id, date_trunc('hour', c.ts) AS hour, c.source, c.payload_type, c.tier_served, c.model_served,
                   c.served_attempt_id, c.error_cost_nusd
            FROM log.calls AS c WHERE c.status = 'ok' AND {of_hours}
        )
        SELECT {columns} FROM ({outcomes_query("answered", "log.outcomes")})"""
