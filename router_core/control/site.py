"""One routing config, the home that keeps its history, and how the file stands at this moment."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from router_core.call_log.home import Home
from router_core.config import parse
from router_core.config.document import MAX_BYTES
from router_core.control import history
from router_core.control.calibrations import calibrations_beside
from router_core.control.config_file import read_config, refuse_unsupported, unreadable
from router_core.control.reviews import Head
from router_core.control.store import Store
from router_core.errors import ConfigError

if TYPE_CHECKING:
    from router_core.config import RoutingConfig

AdmitFunction = Callable[["RoutingConfig"], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNow:
    """The routing config's file at one moment.

    Attributes:
        data: Its bytes; None when it cannot be read.
        digest: Their SHA-256, hex; empty without them.
        changed_us: When it was last written, as the file system has it; 0 without it.
        problem: Why it cannot be read.
    """

    data: bytes | None
    digest: str = ""
    changed_us: int = 0
    problem: ConfigError | None = None

    @property
    def version(self) -> str:
        """Content hash, as the log's ``config_version``."""
        return history.version_of(self.digest)

    @property
    def is_keepable(self) -> bool:
        """Whether history can keep it: it is there and no larger than a config may be."""
        return self.data is not None and len(self.data) <= MAX_BYTES


class Site:
    """A config file and its home.

    Args:
        home: The home; it need not exist yet.
        config: The routing config.
        now_us: The clock, microseconds since the epoch.
        admit: Last check of a config before it may be written; refuses it with a ``ConfigError``.

    Attributes:
        key: What names the file in the store.
        store: The control store.
    """

    def __init__(
        self, home: Home, config: Path, now_us: Callable[[], int], admit: AdmitFunction = refuse_unsupported
    ) -> None:
        self.home = home
        # the application may change its working folder later
        self.config = config.absolute()
        self.now_us = now_us
        self._admit = admit
        self.store = Store(home)
        self.key = history.config_key(home, self.config)
        self._parsed: tuple[object, RoutingConfig | None, str | None] | None = None

    def look(self) -> FileNow:
        """Return the file as it is now."""
        try:
            data, status = read_config(self.config)
        except OSError as error:
            return FileNow(data=None, problem=ConfigError(str(self.config), [unreadable(error)]))
        return FileNow(data=data, digest=history.digest_of(data), changed_us=status.st_mtime_ns // 1000)

    def parsed(self, data: bytes) -> "RoutingConfig":
        """Return the config in ``data``.

        Raises:
            ConfigError: Routers refuse it: it is invalid, or asks for something that is not built yet.
        """
        found = parse(data, source=str(self.config), calibrations=calibrations_beside(self.config))
        refuse_unsupported(found)
        return found

    def refuse_inadmissible(self, data: bytes) -> None:
        """Do nothing for bytes that a router would run.

        Raises:
            ConfigError: No router would; carries every problem.
        """
        self._admit(self.parsed(data))

    def head(self, con: sqlite3.Connection | None) -> Head:
        """Return the version that the file has, with what history knows of it."""
        now = self.look()
        kept = None if con is None else history.latest(con, self.key)
        config, problem = self._judged(now)
        if kept is not None and kept.digest == now.digest:
            shown = kept.shown
            return Head(
                path=self.config,
                version=shown.version,
                seq=shown.seq,
                since_us=shown.since_us,
                kind=shown.kind,
                by=shown.by,
                reason=shown.reason,
                proposal_ids=shown.proposal_ids,
                config=config,
                problem=problem,
            )
        return Head(
            path=self.config,
            version=now.version,
            seq=None,
            since_us=now.changed_us,
            kind="first" if kept is None else "hand",
            config=config,
            problem=problem,
        )

    def _judged(self, now: FileNow) -> "tuple[RoutingConfig | None, str | None]":
        if now.data is None:
            return None, str(now.problem)
        # pages ask at every run; the same bytes are judged once
        facts = (now.digest, calibrations_beside(self.config))
        known = self._parsed
        if known is None or known[0] != facts:
            try:
                known = (facts, self.parsed(now.data), None)
            except ConfigError as error:
                known = (facts, None, str(error))
            self._parsed = known
        return known[1], known[2]
