"""The log's time cut into weeks, so that work over all of it needs little memory and lets others in between."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_WEEK: Final = dt.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Week:
    """Seven days that begin at a full hour, UTC (naive, as DuckDB gives them); without a beginning, all undated rows.

    Attributes:
        first: Its first instant.
        until: The first instant after it.
    """

    first: dt.datetime | None
    until: dt.datetime | None

    def holds(self, column: str) -> str:
        """Return the SQL condition that an instant lies in it."""
        return f"{column} IS NULL" if self.first is None else f"{column} >= $first AND {column} < $until"

    def values(self) -> dict[str, dt.datetime | None]:
        """Return the condition's values."""
        return {} if self.first is None else {"first": self.first, "until": self.until}


def weeks(con: "DuckDBPyConnection", database: str = "") -> list[Week]:
    """Return the weeks of a log that hold anything, and before them the undated rows.

    Args:
        con: A connection that sees the log.
        database: ``log.`` on the writer's connection.
    """
    return [Week(None, None), *_dated(con, database)]


def _dated(con: "DuckDBPyConnection", database: str) -> Iterator[Week]:
    sources = {"calls": "ts", "attempts": "started_at", "rollup_calls": "hour", "rollup_attempts": "hour"}
    sources |= {"rollup_latency": "hour", "rollup_outcomes": "hour"}
    ends = " UNION ALL ".join(
        f"SELECT min({column}) AS low, max({column}) AS high FROM {database}{table}"
        for table, column in sources.items()
    )
    row = con.execute(f"SELECT date_trunc('hour', min(low)), max(high) FROM ({ends})").fetchone()
    first, last = row if row is not None else (None, None)
    while first is not None and first <= last:
        until = first + _WEEK
        if any(_has_any(con, f"{database}{table}", column, first, until) for table, column in sources.items()):
            yield Week(first, until)
        first = until


def _has_any(con: "DuckDBPyConnection", table: str, column: str, first: dt.datetime, until: dt.datetime) -> bool:
    query = f"SELECT 1 FROM {table} WHERE {column} >= ? AND {column} < ? LIMIT 1"
    return con.execute(query, [first, until]).fetchone() is not None
