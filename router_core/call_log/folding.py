"""Folding of rollups: each commit appends its sums, so that an hour's keys have many rows until they are summed up."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from router_core.call_log.ddl import ROLLUPS
from router_core.call_log.lookup import Lookup, Question

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# a rollup is looked at when so many rows were added, or half as many again when it is small
_LOOK_AFTER_ROWS: Final = 50_000
_LOOK_AFTER_FIRST: Final = 20_000
_ROWS_PER_STEP: Final = 20_000
_HOURS_AT_ONCE: Final = 500


class Fold(NamedTuple):
    """Hours of one rollup to fold in one transaction.

    Attributes:
        rollup: Its table.
        hours: Microseconds since the epoch; None is the hour of what is undated.
    """

    rollup: str
    hours: list[int | None]


def rollups_to_fold(con: "DuckDBPyConnection") -> list[str]:
    """Return the rollups that have grown since they were last folded."""
    grown: list[str] = []
    for rollup in ROLLUPS:
        row = con.execute(
            f"""SELECT (SELECT count(*) FROM log.{rollup}),
                       (SELECT coalesce(max(folded_rows), 0) FROM log.rollup_state WHERE rollup = ?)""",
            [rollup],
        ).fetchone()
        rows, folded = row if row is not None else (0, 0)
        if rows - folded > min(_LOOK_AFTER_ROWS, max(_LOOK_AFTER_FIRST, folded)):
            grown.append(rollup)
    return grown


def plan_folds(lookup: Lookup, rollup: str) -> Iterator[Fold]:
    """Yield what to fold: hours with at least twice as many rows as keys, a bounded number of rows at a time."""
    keys = ", ".join(ROLLUPS[rollup][0])
    (found,) = lookup.ask(
        Question(
            f"""SELECT epoch_us(hour), count(*) AS n FROM log.{rollup} GROUP BY hour
                HAVING n >= 2 * count(DISTINCT hash({keys})) ORDER BY n DESC LIMIT {_HOURS_AT_ONCE}"""
        )
    )
    hours: list[int | None] = []
    rows = 0
    for hour, n in sorted(found, key=_by_hour):
        if hours and rows + n > _ROWS_PER_STEP:
            yield Fold(rollup, hours)
            hours, rows = [], 0
        hours, rows = [*hours, hour], rows + n
    if hours:
        yield Fold(rollup, hours)


def _by_hour(found: Sequence[Any]) -> tuple[bool, int]:
    return found[0] is not None, found[0] or 0


def fold(con: "DuckDBPyConnection", step: Fold) -> None:
    """Fold some hours of a rollup to one row per key, in a transaction; too large sums stay in parts."""
    keys, measures = ROLLUPS[step.rollup]
    sums = ", ".join(f"TRY_CAST(sum({name}) AS BIGINT) AS {name}" for name in measures)
    dated = [hour for hour in step.hours if hour is not None]
    chosen = f"hour IN ({', '.join(f'make_timestamp({hour})' for hour in dated)})" if dated else "false"
    if len(dated) < len(step.hours):
        chosen = f"({chosen} OR hour IS NULL)"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE folded AS
            SELECT {", ".join(keys)}, {sums} FROM log.{step.rollup} WHERE {chosen} GROUP BY ALL ORDER BY hour"""
    )
    if con.execute(f"SELECT count(*) FROM folded WHERE {' IS NULL OR '.join(measures)} IS NULL").fetchone() != (0,):
        return
    con.execute("BEGIN")
    con.execute(f"DELETE FROM log.{step.rollup} WHERE {chosen}")
    con.execute(f"INSERT INTO log.{step.rollup} SELECT * FROM folded")
    con.execute("COMMIT")


def record_folded(con: "DuckDBPyConnection", rollup: str) -> None:
    """Remember how many rows a rollup has, now that it is folded."""
    con.execute("BEGIN")
    con.execute("DELETE FROM log.rollup_state WHERE rollup = ?", [rollup])
    con.execute(f"INSERT INTO log.rollup_state SELECT ?, count(*) FROM log.{rollup}", [rollup])
    con.execute("COMMIT")
