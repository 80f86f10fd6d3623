"""Whether the log could be made anew: what it has read of the spool against what is still on disk."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from router_core.call_log.home import Home
from router_core.call_log.kept import list_kept
from router_core.call_log.schema import TABLES
from router_core.call_log.segments import is_import, list_segments

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FORGOTTEN: Final = "forgotten_segments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a log says about the segments it was made of.

    Attributes:
        offsets: How far each segment in its ledger is in it, bytes.
        lines: How many lines it has of each of them.
        forgotten: Segments that its ledger no longer names, as no file of them was left; lines of them.
        first: The first hour of a call that was not imported, UTC; None without any.
        rows: Calls and attempts in it.
        imported: Those of them that were imported.
        forgot_imports: Whether some of the forgotten segments were imports.
    """

    offsets: Mapping[str, int] = field(default_factory=dict[str, int])
    lines: Mapping[str, int] = field(default_factory=dict[str, int])
    forgotten: tuple[int, int] = (0, 0)
    first: dt.datetime | None = None
    rows: int = 0
    imported: int = 0
    forgot_imports: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What the log could be made anew from, and what it could not.

    Attributes:
        segments: Segments that are kept.
        disk_bytes: What they take.
        oldest: When the oldest of them was last written, UTC; None without any.
        newest: When the newest of them was.
        lacking: How many of them the log lacks.
        gone: Segments that the log has read and of which no file is left.
        gone_lines: Lines that it has of these.
        gone_imports: Whether rows of an import are among what is gone.
        first: The first hour of a call that was not imported, UTC; None without any.
        is_remembered: Whether the segments that the log remembers have lines enough for all of its rows.
    """

    segments: int
    disk_bytes: int
    oldest: dt.datetime | None
    newest: dt.datetime | None
    lacking: int
    gone: int
    gone_lines: int
    gone_imports: bool
    first: dt.datetime | None
    is_remembered: bool

    @property
    def is_short(self) -> bool:
        """Whether rows are older than all that is kept, of a log that forgot segments before it remembered any.

        A segment holds at most a day. But files tell when they were written here: not when they were copied, and
        not where calls were made on a virtual clock or brought back from an export. Hence the lines count first.
        """
        if self.first is None or self.is_remembered:
            return False
        return self.oldest is None or self.first <= self.oldest - dt.timedelta(days=1)

    @property
    def is_whole(self) -> bool:
        """Whether every row of the log could be made anew."""
        return not (self.gone or self.gone_imports or self.is_short)


def read_of(log: "DuckDBPyConnection") -> Read:
    """Return what a log, open for reading, says about the segments it was made of."""
    ledger = log.execute("SELECT segment, end_offset, lines FROM ledger").fetchall()
    # from the sums: over raw rows it would take long
    dates = log.execute("SELECT min(hour) FROM rollup_calls WHERE source IS DISTINCT FROM 'import'").fetchone()
    first = dates[0] if dates is not None else None
    counts = log.execute(
        """SELECT CAST(coalesce(sum(n), 0) AS BIGINT),
                  CAST(coalesce(sum(n) FILTER (source = 'import'), 0) AS BIGINT)
           FROM (SELECT source, n FROM rollup_calls UNION ALL SELECT source, n FROM rollup_attempts)"""
    ).fetchone()
    rows, imported = counts if counts is not None else (0, 0)
    segments, lines, forgot_imports = _forgotten(log)
    return Read(
        offsets={name: offset for name, offset, _ in ledger},
        lines={name: count for name, _, count in ledger},
        forgotten=(segments, lines),
        first=None if first is None else first.replace(tzinfo=dt.UTC),
        rows=rows,
        imported=imported,
        forgot_imports=forgot_imports,
    )


def _forgotten(log: "DuckDBPyConnection") -> tuple[int, int, bool]:
    is_there = "SELECT count(*) FROM duckdb_tables() WHERE table_name = ?"
    if log.execute(is_there, [_FORGOTTEN]).fetchone() == (0,):  # made before there was this table
        return 0, 0, False
    row = log.execute(
        f"""SELECT CAST(coalesce(sum(segments), 0) AS BIGINT), CAST(coalesce(sum(lines), 0) AS BIGINT),
                   coalesce(bool_or(is_import), false) FROM {_FORGOTTEN}"""
    ).fetchone()
    return row if row is not None else (0, 0, False)


def reach_of(home: Home, read: Read) -> Reach:
    """Return what a log could be made anew from, by the files there are.

    Args:
        home: Whose.
        read: What the log says, or nothing of what it cannot be asked.
    """
    # in this order: a segment that is put away in this moment is seen in one of the two
    waiting = {segment.name for segment in list_segments(home.spool)}
    kept = list_kept(home.spool)
    here = waiting | {each.name for each in kept}
    gone = read.offsets.keys() - here
    written = [dt.datetime.fromtimestamp(each.written_s, dt.UTC) for each in kept]
    # a log that was made before it remembered what it forgot may hold imports of which nothing else is left
    has_lost_imports = read.imported > 0 and not any(is_import(name) for name in here)
    return Reach(
        segments=len(kept),
        disk_bytes=sum(each.disk_bytes for each in kept),
        oldest=min(written, default=None),
        newest=max(written, default=None),
        lacking=sum(not each.is_in(read.offsets) for each in kept),
        gone=len(gone) + read.forgotten[0],
        gone_lines=sum(read.lines[name] for name in gone) + read.forgotten[1],
        gone_imports=has_lost_imports or read.forgot_imports or any(is_import(name) for name in gone),
        first=read.first,
        is_remembered=sum(read.lines.values()) + read.forgotten[1] >= read.rows,
    )


def count_rows(con: "DuckDBPyConnection", database: str = "") -> dict[str, int]:
    """Return how many rows each table of a log has that is made of lines.

    Args:
        con: A connection that sees the log.
        database: ``log.`` on the writer's connection.
    """
    counts = {table: con.execute(f"SELECT count(*) FROM {database}{table}").fetchone() for table in TABLES.values()}
    return {table: int(row[0]) if row is not None else 0 for table, row in counts.items()}
