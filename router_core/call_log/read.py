"""Reading the log: a read-only connection for the length of one use, and how fresh what it shows is."""

import random
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router_core.call_log import access
from router_core.call_log.access import LogBusyError, NoLogError
from router_core.call_log.backlog import read_offsets, unread, unread_bytes
from router_core.call_log.home import Home
from router_core.call_log.lines import parse_object
from router_core.call_log.schema import SCHEMA_VERSION
from router_core.call_log.segments import Segment, list_segments, read_lines

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Freshness", "LogBusyError", "NoLogError", "freshness", "reading"]

_COUNTED = ("attempts", "calls", "outcomes", "events", "quarantine")
_INSTANTS = ("at", "started_at", "ts", "received_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How far the log is behind the world.

    Attributes:
        ingested_us: When lines were last ingested, microseconds since the epoch; None = never.
        outcomes_us: Up to when the outcome sums are complete; None = never computed.
        newest_call_us: The latest call's instant; None without dated calls.
        rows: Row counts of ``attempts``, ``calls``, ``outcomes``, ``events`` and ``quarantine``.
        backlog_bytes: Bytes in the spool that are not in the log yet.
        backlog_since_us: Instant of the oldest line not in the log yet; None without a backlog.
        watched: Whether a process is ingesting now.
    """

    ingested_us: int | None
    outcomes_us: int | None
    newest_call_us: int | None
    rows: dict[str, int]
    backlog_bytes: int
    backlog_since_us: int | None
    watched: bool


@contextmanager
def reading(home: Home, *, timeout_s: float = 5.0) -> Generator["DuckDBPyConnection"]:
    """Open the log read-only for the length of one use; the writer waits meanwhile, so keep it short.

    Args:
        home: Whose log.
        timeout_s: How long to wait for the writer.

    Raises:
        NoLogError: There is no log yet.
        LogBusyError: The log stayed locked.
        LogUnavailableError: The file cannot be opened now.
        ConfigError: The file is not a log that this version can read.
    """
    con = _open(home, timeout_s)
    try:
        yield con
    finally:
        con.close()


def freshness(home: Home) -> Freshness:
    """Return how fresh the log is; a home without one has only a backlog."""
    offsets: dict[str, int] = {}
    rows: dict[str, int] = dict.fromkeys(_COUNTED, 0)
    progress: dict[str, int] = {}
    newest: int | None = None
    try:
        with reading(home) as con:
            offsets = read_offsets(con)
            progress = dict(con.execute("SELECT name, epoch_us(progress.at) FROM progress").fetchall())
            row = con.execute("SELECT epoch_us(max(ts)) FROM calls").fetchone()
            newest = row[0] if row is not None else None
            for table in rows:
                row = con.execute(f"SELECT count(*) FROM {table}").fetchone()
                rows[table] = row[0] if row is not None else 0
    except NoLogError:
        pass
    segments = list_segments(home.spool)
    return Freshness(
        ingested_us=progress.get("ingested"),
        outcomes_us=progress.get("outcomes"),
        newest_call_us=newest,
        rows=rows,
        backlog_bytes=unread_bytes(segments, offsets),
        backlog_since_us=_oldest_instant(segments, offsets),
        watched=access.is_watched(home),
    )


def _oldest_instant(segments: Iterable[Segment], offsets: Mapping[str, int]) -> int | None:
    found: list[int] = []
    for segment in unread(segments, offsets):
        try:
            first = next(read_lines(segment.path, offsets.get(segment.name, 0)), None)
        except FileNotFoundError:  # read to its end and moved away in this moment
            continue
        instant = _instant(first.data) if first is not None else None
        if instant is not None:
            found.append(instant)
    return min(found, default=None)


def _instant(data: bytes) -> int | None:
    try:
        line = parse_object(data)
    except ValueError:
        return None
    found = [line[name] for name in _INSTANTS if isinstance(line.get(name), int)]
    return found[0] if found else None


def _open(home: Home, timeout_s: float) -> "DuckDBPyConnection":
    opened: list[DuckDBPyConnection] = []

    def attempt() -> bool:
        con = _try_open(home)
        if con is not None:
            opened.append(con)
        return con is not None

    if not access.keep_trying(attempt, give_up_after_s=timeout_s, now_s=time.monotonic, pause=_pause):
        message = f"{home.log} stayed locked by another process for {timeout_s:g} s; try again"
        raise LogBusyError(message)
    return opened[0]


def _try_open(home: Home) -> "DuckDBPyConnection | None":
    """Return a connection, or None while a writer has the file or waits for it."""
    import duckdb

    if not home.log.exists() or home.log.stat().st_size == 0:
        raise _no_log(home)
    if not access.reader_may_pass(home):
        return None
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": access.MEMORY_LIMIT,
        "threads": access.THREADS,
    }
    try:
        con = duckdb.connect(str(home.log), read_only=True, config=settings)
    except duckdb.Error as error:
        if access.is_lock_error(error):
            return None
        raise access.unreadable(home.log, error) from error
    try:
        con.execute("SET enable_progress_bar = false")
        row = con.execute("SELECT max(version) FROM schema_version").fetchone()
    except duckdb.CatalogException as error:
        con.close()
        raise _no_log(home) from error
    version = int(row[0]) if row is not None and row[0] is not None else 0
    if version > SCHEMA_VERSION:
        con.close()
        raise access.newer_schema(home.log, version, SCHEMA_VERSION)
    return con


def _no_log(home: Home) -> NoLogError:
    message = f"no log in {home.root} yet; make calls with a router, or run `tierwise import FILE` or `tierwise demo`"
    return NoLogError(message)


def _pause() -> None:
    time.sleep(random.uniform(0.005, 0.020))
