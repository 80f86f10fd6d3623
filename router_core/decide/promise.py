"""What a limit promises, as a formula and as a number."""

from dataclasses import dataclass

from router_core.decide.guard import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many share a limit.

    Attributes:
        processes: Processes that route at the same time.
        concurrent: Requests in flight at the same time, over all of them.
    """

    processes: int
    concurrent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The promise of one limit under one load. All amounts in nano-dollars.

    Spend of a period <= limit + allowance + bound + critical spend + degraded spend, and non-critical spend <= stop +
    bound where there is a stop; bound = processes x lease + concurrent requests x worst-case request.

    Attributes:
        limit: The limit.
        load: The load.
        worst_nusd: The dearest request there can be.
    """

    limit: Limit
    load: Load
    worst_nusd: int

    @property
    def bound_nusd(self) -> int:
        """How far spend may pass the limit."""
        return self.load.processes * self.limit.lease_nusd + self.load.concurrent * self.worst_nusd

    @property
    def most_nusd(self) -> int:
        """The most that a period costs beside critical and degraded calls."""
        return self.limit.limit_nusd + self.limit.allowance_nusd + self.bound_nusd

    @property
    def most_noncritical_nusd(self) -> int | None:
        """The most that non-critical calls cost, degraded ones included; None = there is no such bound."""
        stop = self.limit.stop_nusd
        if self.limit.on_limit == "reject":
            stop = min(self.most_nusd - self.bound_nusd, self.most_nusd if stop is None else stop)
        return None if stop is None else stop + self.bound_nusd
