"""Access to the DuckDB file that several processes share: whose turn it is, and what its errors mean."""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from router_core.call_log.home import Home
from router_core.errors import ConfigError, Problem, RouterError

MEMORY_LIMIT: Final = "1GB"
THREADS: Final = 2


class LogBusyError(RouterError):
    """The log stayed locked by another process for longer than one is willing to wait."""


class NoLogError(RouterError):
    """There is no log yet."""


def is_lock_error(error: Exception) -> bool:
    """Return whether a DuckDB error only says that another process has the file open."""
    return "Could not set lock on file" in str(error)


def unreadable(path: Path, error: Exception) -> ConfigError:
    """Return the error for a log file that DuckDB cannot open."""
    first_line = str(error).splitlines()[0][:300]
    way_out = (
        f"it cannot be opened ({first_line}). Move it away; then put the segments in spool/done back into spool and run"
        " `tierwise ingest` to build it anew from what they hold"
    )
    return ConfigError(str(path), [Problem(path=path.name, message=way_out)])


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
        yield Election(home.watch_lock, descriptor, won=_take(descriptor, fcntl.LOCK_EX))
    finally:
        os.close(descriptor)


def is_watched(home: Home) -> bool:
    """Return whether a process holds the election, without keeping it."""
    try:
        descriptor = os.open(home.watch_lock, os.O_RDWR | os.O_CLOEXEC)
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


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
