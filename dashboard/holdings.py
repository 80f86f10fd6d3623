"""What a home's log holds and where it came from: rows, sources, imports, what was refused, what the guard said."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import duckdb

TABLES: Final = ("calls", "attempts", "outcomes", "events", "quarantine")
_IMPORT_EVENTS: Final = ("import", "log_import")
MOST_EVENTS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceShare:
    """Calls of one source: ``router``, ``import`` or ``logger``.

    Attributes:
        source: Its name.
        calls: Calls from there.
        first: The hour of the first, UTC; None = undated.
        last: The hour of the last, UTC; None = undated.
    """

    source: str
    calls: int
    first: dt.datetime | None
    last: dt.datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import, as the log remembers it.

    Attributes:
        at: When, UTC.
        format: What the file was taken for.
        file: Its name.
        rows: Calls or rows that it brought, as far as the log says.
    """

    at: dt.datetime
    format: str
    file: str
    rows: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What a log holds.

    Attributes:
        rows: Rows of each table.
        sources: Calls by where they came from.
        imports: Imports, newest first.
        refused: Lines that could not be used, by reason, most first.
        outcomes_as_of: Up to when outcome sums are complete, UTC.
        segments: Files of lines that were taken in.
    """

    rows: Mapping[str, int]
    sources: tuple[SourceShare, ...]
    imports: tuple[Import, ...]
    refused: tuple[tuple[str, int], ...]
    outcomes_as_of: dt.datetime | None
    segments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One thing that happened outside a call.

    Attributes:
        at: When, UTC.
        event: What kind of thing.
        details: What the log says of it.
    """

    at: dt.datetime
    event: str
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_holdings(connection: "duckdb.DuckDBPyConnection") -> Holdings:
    """Return what the log holds; raw tables are counted, never read."""
    counted = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
    counts = connection.execute(f"SELECT {counted}, (SELECT count(*) FROM ledger)").fetchone() or (0,) * 6
    shares = connection.execute(
        """SELECT coalesce(source, ''), sum(n)::BIGINT, min(hour), max(hour) FROM rollup_calls
           GROUP BY ALL ORDER BY 2 DESC, 1"""
    ).fetchall()
    refused = connection.execute(
        "SELECT reason, count(*) FROM quarantine GROUP BY reason ORDER BY count(*) DESC, reason LIMIT 50"
    ).fetchall()
    complete = connection.execute("SELECT max(p.at) FROM progress AS p WHERE name = 'outcomes'").fetchone()
    return Holdings(
        rows=dict(zip(TABLES, counts, strict=False)),
        sources=tuple(
            SourceShare(source=source, calls=calls, first=_aware(first), last=_aware(last))
            for source, calls, first, last in shares
        ),
        imports=tuple(_import(event) for event in read_events(connection, _IMPORT_EVENTS)),
        refused=tuple(refused),
        outcomes_as_of=_aware(complete[0] if complete else None),
        segments=counts[len(TABLES)],
    )


def read_events(
    connection: "duckdb.DuckDBPyConnection", events: tuple[str, ...], limit: int = MOST_EVENTS
) -> tuple[LogEvent, ...]:
    """Return events of some kinds, newest first."""
    rows = connection.execute(
        """SELECT e."at", event, details FROM events AS e WHERE list_contains($events, event)
           ORDER BY 1 DESC LIMIT $limit""",
        {"events": list(events), "limit": limit},
    ).fetchall()
    return tuple(
        LogEvent(at=at.replace(tzinfo=dt.UTC), event=event, details=_mapping(details)) for at, event, details in rows
    )


def _import(event: LogEvent) -> Import:
    details = event.details
    rows = next((details[key] for key in ("calls_new", "rows_new", "calls") if isinstance(details.get(key), int)), None)
    return Import(at=event.at, format=str(details.get("format", "")), file=str(details.get("file", "")), rows=rows)


def _mapping(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _aware(moment: dt.datetime | None) -> dt.datetime | None:
    return None if moment is None else moment.replace(tzinfo=dt.UTC)
