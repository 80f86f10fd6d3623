"""Access to the DuckDB file that several processes share: whose turn it is, and what its errors mean."""

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from router_core.call_log.home import Home
from router_core.errors import ConfigError, Problem, RouterError

MEMORY_LIMIT: Final = "1GB"
THREADS: Final = 2
# what DuckDB says of a file that no waiting will mend
_BROKEN: Final = ("not a valid DuckDB database file", "Corrupt database file", "Could not read enough bytes")
# what it says when the disk takes no more; the transaction has then not happened
_DISK: Final = (
    "Could not write file",
    "No space left on device",
    "has been invalidated",
    "Could not sync",
    "Cannot open",
)
_TRIES: Final = 20
_BETWEEN_TRIES_S: Final = 0.002


class LogBusyError(RouterError):
    """The log stayed locked by another process for longer than one is willing to wait."""


class BrokenLogError(ConfigError):
    """The log's file is there, but DuckDB cannot make a log of it: it is damaged, or something else.

    Attributes:
        reason: What DuckDB says, one line.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.reason = reason
        way_out = (
            f"it cannot be opened ({reason}). Restore it from a backup; without one: `tierwise ingest --rebuild` keeps"
            " it under another name and makes the log anew from the segments in spool/done, as far back as they are"
            " kept (tierwise doctor says how far)"
        )
        super().__init__(str(path), [Problem(path=path.name, message=way_out)])


class LogUnavailableError(RouterError):
    """The log cannot be opened now, for want of disk, of files or of rights; nothing is lost, and it may pass."""


class NoLogError(RouterError):
    """There is no log yet."""


def is_lock_error(error: Exception) -> bool:
    """Return whether a DuckDB error only says that another process has the file open."""
    return "Could not set lock on file" in str(error)


def is_disk_error(error: BaseException) -> bool:
    """Return whether an error says that the disk did not take what was written: it is full, or fails."""
    return any(words in str(error) for words in _DISK)


def first_line(error: BaseException) -> str:
    """Return what DuckDB says, as one line that is not endless."""
    return next(iter(str(error).splitlines()), "no reason given")[:300]


def unreadable(path: Path, error: Exception) -> BrokenLogError | LogUnavailableError:
    """Return the error for a log file that DuckDB cannot open: as it is, or just now."""
    reason = first_line(error)
    if not any(words in reason for words in _BROKEN):
        return unavailable(path, error)
    return BrokenLogError(path, reason)


def unavailable(path: Path, error: Exception) -> LogUnavailableError:
    """Return the error for a log that cannot be used just now: no room, no right, too many open files."""
    return LogUnavailableError(f"{path} cannot be opened now ({first_line(error)}); nothing is lost, try again")


def newer_schema(path: Path, version: int, known: int) -> ConfigError:
    """Return the error for a log file that a newer Tierwise has written."""
    message = f"written with log schema {version}, this Tierwise knows {known}; install the newer Tierwise"
    return ConfigError(str(path), [Problem(path=path.name, message=message)])


@dataclass(frozen=True, slots=True)
class Election:
    """The right to write one home's log; true while it is held.

    Attributes:
        path: The lock file.
        descriptor: It, open.
        won: Whether the lock was free.
    """

    path: Path
    descriptor: int
    won: bool

    def __bool__(self) -> bool:
        """Return whether this process may write; a lock file that was removed or replaced elects nobody."""
        if not self.won:
            return False
        try:
            return os.path.samestat(os.fstat(self.descriptor), self.path.stat())
        except OSError:
            return False


@contextmanager
def elected(home: Home) -> Generator[Election]:
    """Yield whether this process may write the log; the others may not until the block ends."""
    descriptor = os.open(home.watch_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield Election(home.watch_lock, descriptor, won=_win(descriptor))
    finally:
        os.close(descriptor)


def is_watched(home: Home) -> bool:
    """Return whether a process holds the election, without keeping it; of a home that cannot be written, too."""
    try:
        descriptor = os.open(home.watch_lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _take(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


@contextmanager
def turn_of_writer(home: Home) -> Generator[None]:
    """Keep new readers out while the writer waits for the present ones: readers that overlap would starve it."""
    descriptor = os.open(_turnstile(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def reader_may_pass(home: Home) -> bool:
    """Return whether no writer waits."""
    try:
        descriptor = os.open(_turnstile(home), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return _take(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def keep_trying(
    attempt: Callable[[], bool], *, give_up_after_s: float, now_s: Callable[[], float], pause: Callable[[], None]
) -> bool:
    """Call until it returns True, with pauses; return False when the time is over."""
    deadline = now_s() + give_up_after_s
    while not attempt():
        if now_s() >= deadline:
            return False
        pause()
    return True


def _turnstile(home: Home) -> Path:
    return home.root / "turnstile.lock"


def _win(descriptor: int) -> bool:
    """Take the election; who only looks whether it is held holds it for a moment, which must not decide it."""
    for _ in range(_TRIES):
        if _take(descriptor, fcntl.LOCK_EX):
            return True
        time.sleep(_BETWEEN_TRIES_S)
    return _take(descriptor, fcntl.LOCK_EX)


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
