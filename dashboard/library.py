"""Where the pages that go into detail get their data: what ``dashboard.source.HomeSource`` gives."""

from typing import TYPE_CHECKING, Protocol

from dashboard.drilldown import CallLine, CallWish, Reliability
from dashboard.holdings import Holdings, LogEvent
from dashboard.periods import Period
from dashboard.sums import Source
from router_core.call_log.doctor import Finding
from router_core.call_log.receipts import CallReceipt
from router_core.call_log.trails import Trail
from router_core.errors import RouterError

if TYPE_CHECKING:
    from router_core.config import RoutingConfig


class SlowQuestionError(RouterError):
    """A question to the log took longer than a page waits."""


class Library(Source, Protocol):
    """The log in detail. Every method raises ``NoLogError``, ``LogBusyError`` or ``SlowQuestionError`` as may be."""

    def rules(self) -> "RoutingConfig | None":
        """Return the routing config; None = there is none, or it cannot be used."""
        ...

    def calls(self, wish: CallWish, limit: int = ...) -> tuple[CallLine, ...]:
        """Return the newest calls behind a number, newest first."""
        ...

    def reliability(self, period: Period | None, payload_type: str) -> tuple[Reliability, ...]:
        """Return how often answers of a payload type were right, by confidence."""
        ...

    def receipt(self, call_id: str) -> CallReceipt | tuple[str, ...]:
        """Return the receipt of one call, or the ids of at most five that begin like this."""
        ...

    def trail(self, receipt: CallReceipt) -> Trail:
        """Return why a call went as it did."""
        ...

    def holdings(self) -> Holdings:
        """Return what the log holds."""
        ...

    def events(self, kinds: tuple[str, ...]) -> tuple[LogEvent, ...]:
        """Return events of some kinds, newest first."""
        ...

    def findings(self) -> tuple[Finding, ...]:
        """Return what ``tierwise doctor`` finds, most basic first."""
        ...
