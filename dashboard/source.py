"""Where the pages' data come from: a home's log, read-only, one short connection per question."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dashboard import queries
from dashboard.periods import Period
from dashboard.sums import Filters, LogState, Overview, Span
from router_core.call_log.access import NoLogError, is_watched
from router_core.call_log.backlog import unread_bytes
from router_core.call_log.home import CONFIG_NAME, Home
from router_core.call_log.segments import list_segments
from router_core.control.config_file import config_of, load
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    import duckdb

    from optimizer.simulate.rehearsal import Traffic
    from router_core.config import RoutingConfig
    from router_core.decide.guard import Limit

_Found = TypeVar("_Found")


def config_path(home: Home) -> Path:
    """Return the routing config that a home's log belongs to: the one in it, else the one beside it, there or not."""
    inside = home.root / CONFIG_NAME
    return inside if inside.exists() else home.root.resolve().parent / CONFIG_NAME


class HomeSource:
    """The log of one home.

    Args:
        home: Where it is.
        config: The routing config that names the zone and the order of tiers; None = beside the home or in it.
    """

    def __init__(self, home: Home, config: Path | None = None) -> None:
        self._home = home
        self._config = config

    def version(self) -> str:
        """Return what changes whenever the log does, without opening it."""
        try:
            found = self._home.log.stat()
        except OSError:
            return "none"
        return f"{found.st_mtime_ns:x}-{found.st_size:x}"

    def state(self) -> LogState:
        """Return how fresh the log is."""
        zone, tiers = self._routing()
        exists = self._home.log.exists()
        taken_in, as_of = self._ask(queries.read_progress) if exists else ({}, None)
        return LogState(
            exists=exists,
            demo=self._home.is_demo,
            zone=zone,
            tiers=tiers,
            now=dt.datetime.now(dt.UTC),
            as_of=as_of,
            backlog_bytes=unread_bytes(list_segments(self._home.spool), taken_in),
            watched=is_watched(self._home),
        )

    def span(self) -> Span:
        """Return what the log holds."""
        return self._ask(queries.read_span)

    def overview(self, filters: Filters) -> Overview:
        """Return the first page's sums."""
        return self._ask(lambda connection: queries.read_overview(connection, filters))

    def limit(self) -> "Limit | None":
        """Return the routing config's daily limit; None = it has no budget.

        Raises:
            ConfigError: There is no config, or it cannot be used.
        """
        from router_core.decide.compile import compile_plans

        return compile_plans(self._config_or_error()).limit

    def config_version(self) -> str:
        """Return the hash of the routing config.

        Raises:
            ConfigError: There is no config, or it cannot be used.
        """
        return self._config_or_error().content_hash

    def traffic(self, period: Period) -> "Traffic":
        """Return the calls of a period, ready to be replayed under other limits.

        Raises:
            ConfigError: There is no config, or it cannot be used.
            NoLogError: There is no log.
            LogBusyError: The log stayed locked.
        """
        from optimizer.traffic.reading import read_traffic

        config = self._config_or_error()
        return self._ask(lambda connection: read_traffic(connection, config, period.first, period.until))

    def _config_or_error(self) -> "RoutingConfig":
        config = config_of(self._home) if self._config is None else load(self._config)
        if config is None:
            message = "there is none beside the log; its tiers and prices are needed"
            raise ConfigError(CONFIG_NAME, [Problem(path="", message=message)])
        return config

    def _ask(self, question: "Callable[[duckdb.DuckDBPyConnection], _Found]") -> _Found:
        from router_core.call_log.read import reading

        if not self._home.log.exists():
            raise NoLogError
        with reading(self._home) as connection:
            return question(connection)

    def _routing(self) -> tuple[str, tuple[str, ...]]:
        try:
            config = config_of(self._home) if self._config is None else load(self._config)
        except ConfigError:
            # a broken config must not hide the log: the page then counts days in UTC and says so
            config = None
        return ("UTC", ()) if config is None else (config.timezone, config.tier_names)
