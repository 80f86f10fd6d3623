"""Where the pages' data come from: a home's log, read-only, one short connection per question."""

import datetime as dt
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from dashboard import queries
from dashboard.drilldown import MOST_CALLS, CallLine, CallWish, Reliability, read_calls, read_receipt, read_reliability
from dashboard.holdings import Holdings, LogEvent, read_events, read_holdings
from dashboard.library import SlowQuestionError
from dashboard.periods import Period
from dashboard.sums import Filters, LogState, Overview, Span
from router_core.call_log.access import NoLogError, is_watched
from router_core.call_log.backlog import unread_bytes
from router_core.call_log.doctor import Finding, diagnose
from router_core.call_log.home import CONFIG_NAME, Home
from router_core.call_log.receipts import CallReceipt
from router_core.call_log.segments import list_segments
from router_core.call_log.trails import Trail, trail_of
from router_core.control.checkup import control_findings
from router_core.control.config_file import config_of, load
from router_core.control.versions import config_of_version
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    import duckdb

    from optimizer.simulate.rehearsal import Traffic
    from router_core.config import RoutingConfig
    from router_core.decide.guard import Limit

_Found = TypeVar("_Found")
LONGEST_S: Final = 5.0
"""How long a page's question may take, seconds."""


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
        zone, tiers, config_version = self._routing()
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
            config_version=config_version,
            data_version=hashlib.sha256(self.version().encode()).hexdigest()[:8],
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

    def rules(self) -> "RoutingConfig | None":
        """Return the routing config; None = there is none, or it cannot be used."""
        try:
            return config_of(self._home) if self._config is None else load(self._config)
        except ConfigError:
            return None

    def calls(self, wish: CallWish, limit: int = MOST_CALLS) -> tuple[CallLine, ...]:
        """Return the newest calls behind a number."""
        return self._ask(lambda connection: read_calls(connection, wish, limit))

    def reliability(self, period: Period | None, payload_type: str) -> tuple[Reliability, ...]:
        """Return how often answers of a payload type were right, by confidence."""
        return self._ask(lambda connection: read_reliability(connection, period, payload_type))

    def receipt(self, call_id: str) -> CallReceipt | tuple[str, ...]:
        """Return a call's receipt, or the ids that begin like this."""
        return self._ask(lambda connection: read_receipt(connection, call_id))

    def trail(self, receipt: CallReceipt) -> Trail:
        """Return why a call went as it did."""
        return trail_of(receipt, config_of_version(self._home, receipt.call.config_version))

    def holdings(self) -> Holdings:
        """Return what the log holds."""
        return self._ask(read_holdings)

    def events(self, kinds: tuple[str, ...]) -> tuple[LogEvent, ...]:
        """Return events of some kinds, newest first."""
        return self._ask(lambda connection: read_events(connection, kinds))

    def findings(self) -> tuple[Finding, ...]:
        """Return what ``tierwise doctor`` finds."""
        config = self._config or config_path(self._home)
        return (
            *diagnose(self._home, config, dt.datetime.now(dt.UTC).timestamp()),
            *control_findings(self._home, config),
        )

    def traffic(self, period: Period) -> "Traffic":
        """Return the calls of a period, ready to be replayed under other limits.

        Raises:
            ConfigError: There is no config, or it cannot be used.
            NoLogError: There is no log.
            LogBusyError: The log stayed locked.
        """
        from optimizer.traffic.reading import read_traffic

        config = self._config_or_error()
        # all calls of a period: as many seconds as it takes
        return self._ask(
            lambda connection: read_traffic(connection, config, period.first, period.until), longest_s=None
        )

    def _config_or_error(self) -> "RoutingConfig":
        config = config_of(self._home) if self._config is None else load(self._config)
        if config is None:
            message = "there is none beside the log; its tiers and prices are needed"
            raise ConfigError(CONFIG_NAME, [Problem(path="", message=message)])
        return config

    def _ask(
        self, question: "Callable[[duckdb.DuckDBPyConnection], _Found]", *, longest_s: float | None = LONGEST_S
    ) -> _Found:
        from router_core.call_log.read import reading

        if not self._home.log.exists():
            raise NoLogError
        with reading(self._home) as connection:
            # the pages' questions name no file and load nothing
            connection.execute("SET enable_external_access = false")
            return question(connection) if longest_s is None else _within(longest_s, connection, question)

    def _routing(self) -> tuple[str, tuple[str, ...], str]:
        config = self.rules()
        # a broken config must not hide the log: the page then counts days in UTC and says so
        return ("UTC", (), "") if config is None else (config.timezone, config.tier_names, config.content_hash)


def _within(
    longest_s: float,
    connection: "duckdb.DuckDBPyConnection",
    question: "Callable[[duckdb.DuckDBPyConnection], _Found]",
) -> _Found:
    """Return what a question finds, unless it takes too long: nobody waits for a page, and others want the log."""
    import duckdb

    stop = threading.Timer(longest_s, connection.interrupt)
    stop.daemon = True
    stop.start()
    try:
        return question(connection)
    except duckdb.InterruptException as error:
        message = f"the log did not answer within {longest_s:g} s"
        raise SlowQuestionError(message) from error
    finally:
        stop.cancel()
