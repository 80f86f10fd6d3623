"""How a limit stands at one moment."""

from dataclasses import dataclass

from router_core.decide.forecast import Forecast
from router_core.decide.guard import Limit
from router_core.decide.periods import Period
from router_core.types import GuardState


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """One limit, or one run of a limit that counts each run by itself, in its present period.

    Attributes:
        limit: The limit.
        scope: What of it is counted here; "" = everything.
        period: The present period.
        state: What it says to non-critical calls.
        noncritical_nusd: Settled and reserved spend of non-critical calls, nano-dollars.
        critical_nusd: That of critical calls.
        used_nusd: What counts against the limit.
        reached_us: When it was reached, microseconds since the epoch; None = it was not.
        forecast: How the period goes on at the rate of late.
    """

    limit: Limit
    scope: str
    period: Period
    state: GuardState
    noncritical_nusd: int
    critical_nusd: int
    used_nusd: int
    reached_us: int | None
    forecast: Forecast

    @property
    def share(self) -> float:
        """What is used of the limit, as a fraction."""
        return self.used_nusd / self.limit.limit_nusd
