"""What is wrong with a home, and how to mend it."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from router_core.call_log.access import (
    BrokenLogError,
    LogBusyError,
    NoLogError,
    first_line,
    is_disk_error,
    is_watched,
)
from router_core.call_log.anew import Reach, Read, reach_of, read_of
from router_core.call_log.backlog import unread, unread_bytes
from router_core.call_log.filesystems import filesystem_of, is_network
from router_core.call_log.holders import command_of, holders_of, read_holders
from router_core.call_log.home import HOME_VARIABLE, Home
from router_core.call_log.read import reading
from router_core.call_log.schema import SCHEMA_VERSION
from router_core.call_log.segments import list_segments, list_workers, lock_path
from router_core.call_log.spool import DROPPED_EVENT
from router_core.call_log.terminal import counted
from router_core.errors import ConfigError, RouterError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

State = Literal["ok", "note", "wrong"]
_LOW_DISK_BYTES: Final = 1 << 30
_OLD_BACKLOG_S: Final = 60.0
_REASONS_SHOWN: Final = 5
_SHOWN: Final = 8
_MEND_HOME: Final = f"choose a writable folder with --home or {HOME_VARIABLE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What was looked at.
        state: ``ok``, ``note`` (worth knowing) or ``wrong``.
        text: What was found.
        mend: What to do about it; empty when nothing is needed.
    """

    name: str
    state: State
    text: str
    mend: str = ""


def diagnose(home: Home, config: Path, now_s: float) -> list[Finding]:
    """Return what was found, most basic first. Nothing is changed.

    Args:
        home: The home to look at.
        config: The routing config that belongs to it; it need not exist.
        now_s: The present instant, seconds since the epoch.
    """
    findings = [_config(config)]
    if not home.root.is_dir():
        mend = "make it: tierwise demo, tierwise import FILE, or run a router"
        return [*findings, Finding(name="home", state="wrong", text=f"{home.root} is not there", mend=mend)]
    holders = read_holders()
    findings += [_home(home), _disk(home), _watcher(home, holders), _holders(home, holders), _demo(home)]
    found, read = _log(home)
    return [*findings, *found, _backlog(home, read, now_s), _kept(home, read)]


def _log(home: Home) -> tuple[list[Finding], Read | None]:
    """Return what is found in the log, and what it has read; None when it cannot be asked."""
    import duckdb

    try:
        with reading(home) as log:
            return [_schema(log), _quarantine(log), _dropped(log)], read_of(log)
    except NoLogError:
        text = "nothing was brought into it yet"
        return [Finding(name="log", state="note", text=text, mend="tierwise ingest")], Read()
    except RouterError as error:
        return [_unusable(home, error)], None
    except duckdb.Error as error:
        # it opens, and then breaks where it is read
        return [_unusable(home, error if is_disk_error(error) else BrokenLogError(home.log, first_line(error)))], None


def _unusable(home: Home, error: Exception) -> Finding:
    """Say why the log cannot be read, and the way out."""
    if isinstance(error, BrokenLogError):
        text = f"{home.log} is damaged, or no log at all ({error.reason})"
        way = "stop the background process, then: " if is_watched(home) else ""
        mend = (
            f"{way}put a backup in its place; without one: tierwise ingest --rebuild makes it anew from the segments"
            f" below, and keeps {home.log.name} under another name"
        )
    elif isinstance(error, ConfigError):
        text, mend = f"{home.log}: {error.problems[0].message}", "or name another home with --home"
    elif isinstance(error, LogBusyError):
        text, mend = str(error), "locks, above, says who has it open; close that if it is not the background process"
    else:
        text, mend = str(error), "see home and disk above, then try again"
    return Finding(name="log", state="wrong", text=text, mend=mend)


def _config(path: Path) -> Finding:
    from router_core.config import parse, unsupported

    try:
        config = parse(path.read_bytes(), source=str(path))
    except FileNotFoundError:
        return Finding(name="config", state="note", text=f"no {path} here", mend="tierwise init writes an example")
    except OSError as error:
        text = f"{path} cannot be read ({error.strerror})"
        return Finding(name="config", state="wrong", text=text, mend="check its permissions")
    except ConfigError as error:
        text = f"{path} has {counted(len(error.problems), 'problem')}"
        return Finding(name="config", state="wrong", text=text, mend=f"tierwise check {path}")
    not_yet = unsupported(config)
    if not_yet:
        text = f"{path} asks for {counted(len(not_yet), 'thing that is', 'things that are')} not yet supported"
        return Finding(name="config", state="wrong", text=text, mend=f"tierwise check {path}")
    return Finding(name="config", state="ok", text=f"{path}, version {config.content_hash}")


def _home(home: Home) -> Finding:
    probe = home.spool / f".probe-{os.getpid()}"
    try:
        # trying is the only sure answer: permission bits say nothing of read-only mounts or of root
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        text = f"{home.root} cannot be written ({error.strerror})"
        return Finding(name="home", state="wrong", text=text, mend=_MEND_HOME)
    kind = filesystem_of(home.root)
    if kind is not None and is_network(kind):
        text = f"{home.root} is on a network file system ({kind}), whose locks cannot be relied on"
        return Finding(name="home", state="wrong", text=text, mend="move it to this machine's own disk")
    return Finding(name="home", state="ok", text=f"{home.root}, writable{f', on {kind}' if kind else ''}")


def _disk(home: Home) -> Finding:
    free = shutil.disk_usage(home.root).free
    if free < _LOW_DISK_BYTES:
        mend = "free some, or move the home to a larger disk"
        return Finding(name="disk", state="wrong", text=f"only {_bytes(free)} free", mend=mend)
    return Finding(name="disk", state="ok", text=f"{_bytes(free)} free")


def _watcher(home: Home, holders: Mapping[int, list[int]]) -> Finding:
    if not is_watched(home):
        mend = "fine for commands, they bring it up to date themselves; for a live log run: tierwise watch"
        return Finding(name="watch", state="note", text="no background process runs", mend=mend)
    found = holders_of(home.watch_lock, holders)
    text = f"a background process runs{f' (pid {found[0]})' if found else ''}"
    return Finding(name="watch", state="ok", text=text)


def _holders(home: Home, holders: Mapping[int, list[int]]) -> Finding:
    """Say who has the log open or writes into the spool at this moment."""
    files = {home.log: "has the log open", home.watch_lock: "brings lines into it"}
    workers = {lock_path(home.spool, worker): "writes lines" for worker in list_workers(home.spool)}
    said = [
        f"pid {pid} {does} ({command_of(pid) or 'of another user'})"
        for path, does in (files | workers).items()
        for pid in holders_of(path, holders)
    ]
    text = "; ".join(said[:_SHOWN]) + (f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else "")
    return Finding(name="locks", state="ok", text=text or "nobody holds one")


def _kept(home: Home, read: Read | None) -> Finding:
    """Say what the log could be made anew from, should its file be lost, and what could not."""
    reach = reach_of(home, read or Read())
    size = f"{reach.segments:,} kept ({_bytes(reach.disk_bytes)})"
    if read is None:
        return _kept_beside_unusable(reach, size)
    if reach.lacking:
        text = f"{size}; {reach.lacking:,} of them {'is' if reach.lacking == 1 else 'are'} not in the log"
        return Finding(name="segments", state="wrong", text=text, mend="tierwise ingest brings them in")
    parts = [size if reach.segments else "none kept"]
    if reach.oldest is not None:
        parts[0] += f"; the oldest was last written on {reach.oldest:%Y-%m-%d}"
    if reach.is_whole:
        whole = ": the whole log could be made anew from them" if reach.segments else ""
        return Finding(name="segments", state="ok", text=parts[0] + whole)
    if reach.gone:
        imports = ", imports among them," if reach.gone_imports else ""
        parts.append(
            f"{counted(reach.gone, 'other')} that the log has read{imports} {'is' if reach.gone == 1 else 'are'} not:"
            f" {counted(reach.gone_lines, 'line')}"
        )
    elif reach.gone_imports:
        parts.append("imported rows, of which no segment is kept")
    if reach.is_short and reach.first is not None:
        before = "rows before it" if reach.segments else "rows"
        parts.append(f"{before}, back to {reach.first:%Y-%m-%d}")
    text = f"{'; '.join(parts)}; that is in {home.log.name} alone and could not be made anew"
    mend = f"back {home.log.name} up, or keep a copy of the rows: tierwise export --format parquet"
    return Finding(name="segments", state="note", text=text, mend=mend)


def _kept_beside_unusable(reach: Reach, size: str) -> Finding:
    """Say what a log that cannot be read could be made anew from."""
    if reach.oldest is None or reach.newest is None:
        text = "none kept: without a backup, only what waits in the spool could be made anew"
        return Finding(name="segments", state="note", text=text)
    text = (
        f"{size}, last written from {reach.oldest:%Y-%m-%d} to {reach.newest:%Y-%m-%d}: the log could be made anew from"
        " them; whether it held more cannot be told"
    )
    return Finding(name="segments", state="note", text=text)


def _dropped(log: "DuckDBPyConnection") -> Finding:
    row = log.execute(
        """SELECT count(*), coalesce(sum(CAST(details->>'groups' AS BIGINT)), 0), max("at") FROM events
           WHERE event = ?""",
        [DROPPED_EVENT],
    ).fetchone()
    times, groups, last = row if row is not None else (0, 0, None)
    if not times:
        return Finding(name="dropped", state="ok", text="no lines were lost for want of disk")
    text = (
        f"{counted(groups, 'group of lines was', 'groups of lines were')} lost in {counted(times, 'time')} without"
        f" disk, the last one {last:%Y-%m-%d %H:%M} UTC"
    )
    mend = "they waited in memory until it was full; see that the disk has room, and watch it"
    return Finding(name="dropped", state="wrong", text=text, mend=mend)


def _demo(home: Home) -> Finding:
    if not home.is_demo:
        return Finding(name="data", state="ok", text="not marked as demo data")
    return Finding(name="data", state="note", text="demo data: every call in it was simulated")


def _schema(log: "DuckDBPyConnection") -> Finding:
    row = log.execute("SELECT max(version) FROM schema_version").fetchone()
    version = row[0] if row is not None else None
    if version == SCHEMA_VERSION:
        return Finding(name="log", state="ok", text=f"schema version {version}")
    text = f"schema version {version}, this program writes {SCHEMA_VERSION}"
    return Finding(
        name="log", state="wrong", text=text, mend="older: tierwise ingest; newer: install the newer Tierwise"
    )


def _quarantine(log: "DuckDBPyConnection") -> Finding:
    rows = log.execute(
        "SELECT reason, count(*) FROM quarantine GROUP BY reason ORDER BY count(*) DESC, reason"
    ).fetchall()
    if not rows:
        return Finding(name="quarantine", state="ok", text="empty")
    shown = "; ".join(f"{n:,} × {json.dumps(reason)}" for reason, n in rows[:_REASONS_SHOWN])
    more = f"; and {counted(len(rows) - _REASONS_SHOWN, 'more reason')}" if len(rows) > _REASONS_SHOWN else ""
    mend = "their text is in the table quarantine; find the program that writes such lines"
    text = f"{counted(sum(n for _, n in rows), 'line')} could not be used: {shown}{more}"
    return Finding(name="quarantine", state="wrong", text=text, mend=mend)


def _backlog(home: Home, read: Read | None, now_s: float) -> Finding:
    if read is None:
        size = _bytes(sum(segment.size for segment in list_segments(home.spool)))
        text = f"{size} in the spool; how much of it the log has read cannot be told"
        return Finding(name="backlog", state="note", text=text)
    offsets = read.offsets
    waiting = unread(list_segments(home.spool), offsets)
    if not waiting:
        return Finding(name="backlog", state="ok", text="none: everything written is in the log")
    # a segment may be put away in this moment, and one that is being written may be younger than the look at the clock
    written_s = [segment.path.stat().st_mtime for segment in waiting if segment.path.exists()]
    age_s = max(0.0, now_s - min(written_s, default=now_s))
    text = f"{_bytes(unread_bytes(waiting, offsets))} not in the log yet, last written up to {age_s:,.0f} s ago"
    if age_s < _OLD_BACKLOG_S:
        return Finding(name="backlog", state="ok", text=text)
    mend = "tierwise ingest; if it comes back while a background process runs, restart that"
    return Finding(name="backlog", state="wrong", text=text, mend=mend)


def _bytes(n: int) -> str:
    scale: tuple[tuple[int, str], ...] = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))
    for unit, name in scale:
        if n >= unit:
            return f"{n / unit:.1f} {name}"
    return f"{n} bytes"
