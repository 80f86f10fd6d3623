"""The routing config on disk: loaded once, then followed while the router runs.

::

    load(path) -> RoutingConfig                          read, parse; ConfigError when it cannot be used
    ConfigFile(path, on_event=None, admit=refuse_unsupported)
        .current                                         the config that the next call uses
        .poll() -> bool                                  look once; True when ``current`` changed
        .start() / .stop()                               a daemon thread that looks every 0.25 s
"""

import errno
import logging
import os
import stat
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from router_core.call_log.home import CONFIG_NAME, Home
from router_core.config import RoutingConfig, diff, parse, unsupported
from router_core.config.document import MAX_BYTES
from router_core.config.model import content_hash
from router_core.control.calibrations import Calibrations, calibrations_beside
from router_core.errors import ConfigError, Problem, place_of
from router_core.forks import FORKS

POLL_S = 0.25
_MISSES_TO_TELL = 2

EventFunction = Callable[[str, dict[str, object]], None]
AdmitFunction = Callable[[RoutingConfig], object]
RecordFunction = Callable[[bytes], bool]

_logger = logging.getLogger("router_core.config")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look at the file found; two equal ones in a row are a finished save."""

    size: int
    mtime_ns: int
    digest: str
    calibrations: Calibrations


def load(path: Path) -> RoutingConfig:
    """Return the config in a file.

    Raises:
        ConfigError: The file cannot be read or used; carries every problem.
    """
    return _load(path)[0]


def _load(path: Path) -> tuple[RoutingConfig, bytes | None]:
    try:
        data, _ = read_config(path)
    except OSError as error:
        raise ConfigError(str(path), [unreadable(error)]) from error
    return parse(data, source=str(path), calibrations=calibrations_beside(path)), data


def config_of(home: Home) -> RoutingConfig | None:
    """Return the config that a home's log belongs to: the one in it (as the demo's is), else the one beside it.

    Raises:
        ConfigError: There is one and it cannot be used.
    """
    path = config_path_of(home)
    return None if path is None else load(path)


def config_path_of(home: Home) -> Path | None:
    """Return the file of the config that a home's log belongs to: the one in it, else the one beside it."""
    paths = [folder / CONFIG_NAME for folder in (home.root, home.root.parent)]
    return next((path for path in paths if path.exists()), None)


def refuse_unsupported(config: RoutingConfig) -> None:
    """Do nothing for a config that this version can run.

    Raises:
        ConfigError: It asks for something that is not built yet.
    """
    problems = unsupported(config)
    if problems:
        raise ConfigError("routing config", problems)


class ConfigFile:
    """Follows one routing config; the last good version stays when an edit cannot be used.

    A change counts once two looks in a row find the same size, modification time and bytes, so a half-written save
    never does. The bytes are read at every look and not only when size or time differ: within one tick of the file
    system's clock an edit of equal length changes neither.

    Attributes:
        path: The file.
        on_event: Told of ``config`` (another version runs), ``config_refused`` and ``config_missing``, with details.
        admit: Last check of a new config before it runs; refuses it with a ``ConfigError``.
        record: Gives the bytes of a version their place in history, off the callers' way; False = to be tried again.
    """

    def __init__(
        self, path: Path, on_event: EventFunction | None = None, admit: AdmitFunction = refuse_unsupported
    ) -> None:
        """Load the file.

        Raises:
            ConfigError: The file cannot be read or used.
        """
        self.path = path
        self.on_event = on_event
        self.admit = admit
        self.record: RecordFunction | None = None
        # the application may change its working folder later
        self._file = path.absolute()
        self._current, self._unrecorded = _load(path)
        self._settled = _Settled(self._current.content_hash, calibrations_beside(path))
        self._last_look: _Look | None = None
        self._misses = 0
        self._follower: _Follower | None = None
        self._polling = threading.Lock()

    @property
    def current(self) -> RoutingConfig:
        """The config that the next call uses. After a fork the child goes on following the file from here."""
        follower = self._follower
        if follower is not None and follower.forks != FORKS.count:
            self._polling = threading.Lock()
            self._follower = _Follower(self)
        return self._current

    def poll(self) -> bool:
        """Look at the file once; return whether another version runs from now on."""
        with self._polling:
            changed = self._poll()
        self.note()
        return changed

    def note(self) -> None:
        """Have a version that was not recorded yet recorded."""
        data = self._unrecorded
        if self.record is not None and data is not None:
            # what cannot be recorded for a reason nobody thought of is not tried again
            self._unrecorded = None
            if not self.record(data) and self._unrecorded is None:
                self._unrecorded = data

    def start(self) -> None:
        """Follow the file from a daemon thread until ``stop`` or until nobody holds this object."""
        if self._follower is None:
            self._follower = _Follower(self)

    def stop(self) -> None:
        """Stop following."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()

    def _poll(self) -> bool:
        try:
            data, status = read_config(self._file)
        except OSError as error:
            self._lost(error)
            return False
        self._misses = 0
        look = _Look(
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            digest=content_hash(data),
            calibrations=calibrations_beside(self._file),
        )
        finished, self._last_look = look == self._last_look, look
        found = _Settled(look.digest, look.calibrations)
        if not finished or found == self._settled:
            return False
        self._settled = found
        self._unrecorded = data
        return self._take(data, look)

    def _take(self, data: bytes, look: _Look) -> bool:
        old = self._current
        if look.digest == old.content_hash:
            self._tell("config", {"version": old.content_hash, "previous": old.content_hash, "changed": []})
            return False
        try:
            new = parse(data, source=str(self.path), calibrations=look.calibrations)
            self.admit(new)
        except ConfigError as error:
            self._refuse(look.digest, error)
            return False
        self._current = new
        changed = [change.path for change in diff(old, new)]
        self._tell("config", {"version": new.content_hash, "previous": old.content_hash, "changed": changed})
        return True

    def _refuse(self, version: str, error: ConfigError) -> None:
        kept = self._current.content_hash
        _logger.warning("%s\nThis edit is not used; version %s stays.", error, kept)
        problems = [{"path": each.path, "line": each.line, "message": each.message} for each in error.problems]
        self._tell("config_refused", {"version": version, "kept": kept, "problems": problems})

    def _lost(self, error: OSError) -> None:
        self._last_look = None
        self._misses += 1
        # an editor may take the file away for the moment of a save; said once, when it stays away
        if self._misses == _MISSES_TO_TELL:
            kept = self._current.content_hash
            reason = unreadable(error).message
            _logger.warning("%s: %s. Version %s stays in use.", self.path, reason, kept)
            self._tell("config_missing", {"reason": reason, "kept": kept})

    def _tell(self, event: str, details: dict[str, object]) -> None:
        if self.on_event is not None:
            self.on_event(event, details)


@dataclass(frozen=True, slots=True)
class _Settled:
    """Facts that were last judged, for better or worse."""

    digest: str
    calibrations: Calibrations


class _Follower:
    """One thread that polls a config file; it does not keep the file's object alive."""

    def __init__(self, file: ConfigFile) -> None:
        self.forks = FORKS.count
        self._stopping = threading.Event()
        thread = threading.Thread(
            target=_follow, args=(weakref.ref(file), self._stopping), name="tierwise-config", daemon=True
        )
        self._thread = thread
        thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self.forks == FORKS.count and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)


def _follow(reference: "weakref.ref[ConfigFile]", stopping: threading.Event) -> None:
    pause_s = 0.0
    while not stopping.wait(pause_s):
        file = reference()
        if file is None:
            return
        try:
            if pause_s:
                file.poll()
            else:
                file.note()
        except Exception as error:  # noqa: BLE001 - the next time may do better
            _logger.error("%s: could not be followed this time: %s", file.path, place_of(error))
        del file
        pause_s = POLL_S


def read_config(path: Path) -> tuple[bytes, os.stat_result]:
    """Return a config file's bytes, of one that is too large its beginning, and its status.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    # asked before opening: to open a pipe would wait for its other end
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        return file.read(MAX_BYTES + 1), status


def unreadable(error: OSError) -> Problem:
    """Return the problem of a config file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        message = "does not exist; `tierwise init` writes an example to start from"
    else:
        message = f"cannot be read ({error.strerror or error}); name a readable file"
    return Problem(path="", message=message)
