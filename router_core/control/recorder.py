"""A running router's part in config history: a version that it finds in the file gets its number there."""

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from router_core.call_log.home import Home
from router_core.control.changer import Changer
from router_core.control.intake import Seen
from router_core.control.site import Site
from router_core.control.store import locked
from router_core.errors import RouterError

_PAUSE_US: Final = 10_000_000
_logger = logging.getLogger("router_core.config")

EventFunction = Callable[[str, dict[str, object]], None]


class Recorder:
    """Takes what is in the config file into history; a store that cannot be used never hurts the router.

    Args:
        home: The home.
        config: The routing config.
        now_us: The clock, microseconds since the epoch.
        on_event: Told of ``config_history`` when the store fails, and when it can be used again.
    """

    def __init__(self, home: Home, config: Path, now_us: Callable[[], int], on_event: EventFunction) -> None:
        self._home = home
        self._site = Site(home, config, now_us)
        self._changer = Changer(self._site)
        self._on_event = on_event
        self._failed_us: int | None = None
        self._seen: tuple[bytes | None, int] = (None, now_us())
        self._lock = threading.RLock()

    def __call__(self, data: bytes) -> bool:
        """Return whether history is up to date now; else ask again at the next look at the file.

        Args:
            data: The version that the router found: at first the one it was opened with.
        """
        now_us = self._site.now_us()
        known, seen_us = self._seen
        # it may have to be tried again; when it was first seen decides what it came before
        seen_us = seen_us if known in (None, data) else now_us
        self._seen = (data, seen_us)
        if self._failed_us is not None and abs(now_us - self._failed_us) < _PAUSE_US:
            return False
        try:
            # whoever holds the file's lock is changing the config, or is doing just this
            with self._lock, locked(self._home.control_lock, patience_s=0) as won:
                if not won:
                    return False
                self._changer.settle(Seen(data=data, at_us=seen_us))
        except (RouterError, OSError, sqlite3.Error) as error:
            self._fail(error, now_us)
            return False
        if self._failed_us is not None:
            self._failed_us = None
            self._on_event("config_history", {"state": "recovered", "error": None})
        return True

    def before_fork(self) -> None:
        """Wait until no thread is inside the store, and keep it so: a child would find SQLite's own locks taken."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on in the parent."""
        self._lock.release()

    def after_fork(self) -> None:
        """Make a lock of a forked child's own."""
        self._lock = threading.RLock()

    def _fail(self, error: Exception, now_us: int) -> None:
        if self._failed_us is None:
            _logger.warning("config history cannot be kept just now, routing goes on: %s", error)
            self._on_event("config_history", {"state": "unavailable", "error": str(error)})
        self._failed_us = now_us
