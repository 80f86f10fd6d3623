"""The cache for retries: valid answers by run, step, request and target, in one SQLite file of the home.

A job that is run again finds the answers that it has already paid for. What ``keep`` has returned for is in the kernel
and survives the death of the process. The cache never harms a call: what cannot be read is asked for again, and what
cannot be kept is not kept; both are said once.
"""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from router_core.types import Confidence, Response, Token, Usage

if TYPE_CHECKING:  # nobody who routes calls needs the doctor
    from router_core.call_log.doctor import Finding
    from router_core.call_log.home import Home

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB NOT NULL, target TEXT NOT NULL, at_us INTEGER NOT NULL, call_id TEXT NOT NULL, attempt_id TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS answers_by_key ON answers (key, target);
"""
_RECALL: Final = "SELECT target, call_id, attempt_id, body FROM answers WHERE key = ? AND at_us > ?"
_RECALL_CALL: Final = "SELECT call_id FROM answers WHERE key = ? AND target = ? AND at_us > ?"
_KEEP: Final = (
    "INSERT OR REPLACE INTO answers (key, target, at_us, call_id, attempt_id, body) VALUES (?, ?, ?, ?, ?, ?)"
)
# rows are numbered as they come, so the first ones are the oldest
_DROP_OLD: Final = (
    "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers ORDER BY rowid LIMIT 200) AND at_us <= ?"
)
_DROP_OLDEST: Final = "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers ORDER BY rowid LIMIT 200)"
# a call waits this long for a cache that another process is writing to, and then not again for a while
_WAIT_S: Final = 0.5
_PAUSE_US: Final = 1_000_000
# after so much was written, old answers are dropped and the write-ahead log is folded in
_TEND_BYTES: Final = 16 << 20
# what an answer takes of the write-ahead log beside its text: a page of the table, of its index, and of what is free
_ROW_BYTES: Final = 3 * 4096
# how full the file may be after the oldest answers were dropped: dropping at every tending would be work without end
_FILLED: Final = 0.9
# answers whose content is not in their text, which is all that is kept
# in place of a target: the call that a limit had served below its plan, for the one that makes up for it
_DEGRADED: Final = "\x00degraded"
_NOT_IN_TEXT: Final = frozenset({"tool_calls", "function_call"})

# of a kept answer: the client's own object is none to keep, and nobody waits for its first token again
_KEPT_FIELDS: Final = tuple(
    field.name for field in fields(Response) if field.name not in ("raw", "usage", "ttft_ms", "pack")
)

EventFunction = Callable[[str, dict[str, object], int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how much is kept.

    Attributes:
        ttl_us: Age from which an answer counts no more, microseconds.
        max_bytes: Size of the file from which the oldest answers go.
    """

    ttl_us: int
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer of an earlier request.

    Attributes:
        call_id: The call that paid for it.
        attempt_id: Its attempt.
        response: The answer, without the client's own object.
        confidence: What requests about it have told, where there were any.
    """

    call_id: str
    attempt_id: str
    response: Response
    confidence: Confidence | None = None


def can_keep(response: Response) -> bool:
    """Return whether the whole answer is in what is kept of it: an answer that calls tools is not in its text."""
    return response.finish_reason not in _NOT_IN_TEXT


class RetryCache:
    """Answers kept for retries; safe to share between threads, processes and over a fork.

    Args:
        path: The SQLite file; made when something is first kept or looked up.
        on_event: Called with (event, details, at_us) when the file cannot be used, and when it can again.
        submit: Takes work that nobody waits for.
    """

    def __init__(self, path: Path, on_event: EventFunction, submit: Callable[[Callable[[], None]], object]) -> None:
        self._path = path
        self._on_event = on_event
        self._submit = submit
        self._limits: Limits | None = None
        # re-entrant: a signal handler may close the router in the middle of a call
        self._lock = threading.RLock()
        self._tending = threading.RLock()
        self._store: sqlite3.Connection | None = None
        self._retry_us: int | None = None
        self._has_failed = False
        self._untended_bytes = 0

    @property
    def is_on(self) -> bool:
        """Whether the config has it enabled."""
        return self._limits is not None

    def keep_to(self, limits: Limits | None) -> None:
        """Keep to other limits from now on; None = nothing is kept or looked up."""
        with self._lock:
            self._limits = limits
            if limits is None:
                self._close()

    def recall(self, key: bytes, at_us: int) -> dict[str, Kept]:
        """Return the answers that are kept for a request, by target (``identity.target_of``)."""
        rows = self._use(lambda store, ttl_us: store.execute(_RECALL, (key, at_us - ttl_us)).fetchall(), at_us)
        if not rows:
            return {}
        found: dict[str, Kept] = {}
        for target, call_id, attempt_id, body in rows:
            # what cannot be read was written by a version that knows other fields, or is no answer
            with suppress(ValueError, TypeError, KeyError):
                found[target] = _kept(call_id, attempt_id, body)
        return found

    def keep(self, key: bytes, target: str, kept: Kept, at_us: int) -> None:
        """Keep an answer; on return it survives the death of the process."""
        try:
            body = _dump(kept)
        except (TypeError, ValueError):  # half a character, which some providers send, is no text that can be kept
            return
        row = (key, target, at_us, kept.call_id, kept.attempt_id, body)
        self._use(lambda store, _: store.execute(_KEEP, row), at_us)
        self._untended_bytes += len(body) + _ROW_BYTES
        if self._untended_bytes >= _TEND_BYTES:
            self._untended_bytes = 0
            self._submit(lambda: self.tend(at_us))

    def note_degraded(self, key: bytes, call_id: str, at_us: int) -> None:
        """Take note of a call that was served below its plan: its answer is not kept, but who gave it is."""
        row = (key, _DEGRADED, at_us, call_id, "", b"")
        self._use(lambda store, _: store.execute(_KEEP, row), at_us)

    def degraded_before(self, key: bytes, at_us: int) -> str | None:
        """Return the call of a request that was last served below its plan; None without one."""
        found = self._use(
            lambda store, ttl_us: store.execute(_RECALL_CALL, (key, _DEGRADED, at_us - ttl_us)).fetchone(), at_us
        )
        return None if found is None else found[0]

    def tend(self, at_us: int) -> None:
        """Drop what is too old or too much, a little at a time, and fold the write-ahead log in."""
        limits = self._limits
        if limits is None:
            return
        with self._tending, suppress(sqlite3.Error, OSError):  # what fails now is done the next time
            if self._path.exists():
                with closing(_connect(self._path)) as store:
                    _shrink(store, limits, at_us)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def before_fork(self) -> None:
        """Close the file, and keep every thread out of it: SQLite's own locks must not be carried over a fork."""
        self._tending.acquire()
        self._lock.acquire()
        self._close()

    def after_fork_in_parent(self) -> None:
        """Go on in the parent."""
        self._lock.release()
        self._tending.release()

    def after_fork(self) -> None:
        """Take locks of its own in a forked child."""
        self._lock, self._tending = threading.RLock(), threading.RLock()

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _use(self, use: Callable[[sqlite3.Connection, int], Any], at_us: int) -> Any:
        """Use the file; when it cannot be used, leave it alone for a second, and say so once."""
        with self._lock:
            limits = self._limits
            if limits is None or (self._retry_us is not None and abs(at_us - self._retry_us) < _PAUSE_US):
                return None
            try:
                if self._store is None:
                    self._store = _connect(self._path)
                    self._untended_bytes = _TEND_BYTES  # what others have left is looked at with the first answer
                result = use(self._store, limits.ttl_us)
            except (sqlite3.Error, OSError) as failure:
                self._retry_us = at_us
                if not _is_busy(failure):
                    self._close()
                if _is_broken(failure):
                    remove(self._path)  # a cache may be lost
                self._say(str(failure), at_us)
                return None
            self._retry_us = None
            self._say(None, at_us)
            return result

    def _say(self, error: str | None, at_us: int) -> None:
        if self._has_failed != (error is not None):
            self._has_failed = error is not None
            self._on_event("cache_store", {"state": "unavailable" if error else "recovered", "error": error}, at_us)


def cache_findings(home: "Home") -> "list[Finding]":
    """Return what there is of the cache, as the doctor says it; [] without one."""
    from router_core.call_log.doctor import Finding

    files = [file for file in _files(home.cache) if file.exists()]
    if not files:
        return []
    size = sum(file.stat().st_size for file in files)
    text = f"{size / 1e6:,.1f} MB of answers kept for retries in {home.cache.name}"
    others = [file for file in files if file.stat().st_mode & 0o077]
    if others:
        mend = f"chmod 600 {' '.join(map(str, others))}"
        return [Finding(name="cache", state="wrong", text=f"{text}, which others may read", mend=mend)]
    return [Finding(name="cache", state="ok", text=text)]


def remove(path: Path) -> None:
    """Remove the cache's files."""
    for file in _files(path):
        file.unlink(missing_ok=True)


def _files(path: Path) -> tuple[Path, ...]:
    return path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        # SQLite gives its side files the rights of the file itself
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # autocommit; one lock guards every use, so threads may share it
    store = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        store.execute("PRAGMA journal_mode = WAL")
        # what is committed survives the process; a loss of power may cost the last seconds, and costs them whole
        store.execute("PRAGMA synchronous = NORMAL")
        # folding the write-ahead log in syncs the disk, for which no call should wait: tending does it
        store.execute("PRAGMA wal_autocheckpoint = 0")
        # answers that were dropped are not to be found in the file
        store.execute("PRAGMA secure_delete = ON")
        store.executescript(_SCHEMA)
        path.chmod(0o600)
    except (sqlite3.Error, OSError):
        store.close()
        raise
    return store


def _shrink(store: sqlite3.Connection, limits: Limits, at_us: int) -> None:
    while store.execute(_DROP_OLD, (at_us - limits.ttl_us,)).rowcount:
        pass
    if _used_bytes(store) > limits.max_bytes:
        while _used_bytes(store) > _FILLED * limits.max_bytes and store.execute(_DROP_OLDEST).rowcount:
            pass
    # most of it while others go on writing; what they wrote meanwhile is little, and they wait for that
    store.execute("PRAGMA wal_checkpoint(PASSIVE)")
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _used_bytes(store: sqlite3.Connection) -> int:
    pages, free, size = (
        store.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _is_busy(failure: Exception) -> bool:
    return getattr(failure, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _is_broken(failure: Exception) -> bool:
    return getattr(failure, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _dump(answer: Kept) -> bytes:
    kept: dict[str, Any] = {name: getattr(answer.response, name) for name in _KEPT_FIELDS}
    kept["usage"] = answer.response.usage
    if answer.confidence is not None:
        kept["confidence"] = answer.confidence
    return orjson.dumps(kept)


def _kept(call_id: str, attempt_id: str, body: bytes) -> Kept:
    kept: dict[str, Any] = orjson.loads(body)
    told: dict[str, Any] | None = kept.pop("confidence", None)
    confidence = None if told is None else replace(Confidence(**told), fields=())
    kept["usage"] = Usage(**kept["usage"])
    kept["token_logprobs"] = tuple(kept["token_logprobs"])
    kept["tokens"] = tuple(
        Token(text=token["text"], logprob=token["logprob"], others=tuple((text, p) for text, p in token["others"]))
        for token in kept.get("tokens", ())
    )
    return Kept(call_id=call_id, attempt_id=attempt_id, response=Response(**kept), confidence=confidence)
