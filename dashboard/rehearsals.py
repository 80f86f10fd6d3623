"""What the cap simulator is made of: where its traffic comes from, and which limits it tries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Protocol

from dashboard.periods import Period
from dashboard.sums import LogState, Span
from optimizer.simulate.rehearsal import Traffic
from router_core.decide.guard import Limit
from router_core.types import NANO, usd_to_nusd

STEPS: Final = 40
"""Steps of the frontier's grid of limits."""
_FINEST = 100
_HEADROOM = 1.15
_NICE = (1, 2, 5, 10)


class CapSource(Protocol):
    """Where the page gets its data."""

    def state(self) -> LogState:
        """Return how fresh the log is."""
        ...

    def span(self) -> Span:
        """Return what the log holds.

        Raises:
            NoLogError: There is no log.
        """
        ...

    def limit(self) -> Limit | None:
        """Return the routing config's daily limit; None = it has no budget.

        Raises:
            ConfigError: There is no config, or it cannot be used.
        """
        ...

    def traffic(self, period: Period) -> Traffic:
        """Return the calls of a period, ready to be replayed.

        Raises:
            ConfigError: There is no config, or it cannot be used.
            NoLogError: There is no log.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Limits that a slider offers: 0 to ``top_usd`` in steps of ``step_usd``, USD."""

    top_usd: float
    step_usd: float

    @property
    def decimals(self) -> int:
        """Decimals that amounts on it need, at least cents."""
        return max(2, -math.floor(math.log10(self.step_usd) + 1e-9))

    def nearest(self, usd: float) -> float:
        """Return the amount on it that is nearest to another one."""
        steps = min(round(usd / self.step_usd), round(self.top_usd / self.step_usd))
        return round(steps * self.step_usd, self.decimals)


def scale(days_nusd: Sequence[int], present: Limit | None) -> Scale:
    """Return a scale that holds the dearest day and the present limit, in at most 100 steps of 1, 2 or 5 x 10^k."""
    highest = max([*days_nusd, present.limit_nusd if present is not None else 0], default=0) / NANO * _HEADROOM
    if highest <= 0:
        return Scale(top_usd=1.0, step_usd=0.01)
    decade = 10.0 ** math.floor(math.log10(highest / _FINEST))
    step = next(decade * nice for nice in _NICE if decade * nice * _FINEST >= highest * (1 - 1e-9))
    return Scale(top_usd=math.ceil(highest / step - 1e-9) * step, step_usd=step)


def first_limit(days_nusd: Sequence[int], present: Limit | None) -> Limit:
    """Return the limit to begin with: the present one, else one that about a fifth of the days would reach."""
    if present is not None:
        return present
    spent = sorted(nusd for nusd in days_nusd if nusd)
    fitting = spent[int(0.8 * (len(spent) - 1))] / NANO if spent else 0.0
    return make_limit(scale(days_nusd, None).nearest(fitting), 0.0)


def make_limit(usd: float, reserve_usd: float, name: str = "daily") -> Limit:
    """Return the limit that a reader typed in, in whole nano-dollars."""
    limit, reserve = (usd_to_nusd(Decimal(repr(float(amount)))) for amount in (usd, reserve_usd))
    return Limit(name=name, limit_nusd=limit, critical_reserve_nusd=reserve)


def grid(on: Scale, chosen: Limit) -> tuple[Limit, ...]:
    """Return limits over the whole scale with the chosen one's reserve, lowest first; the chosen one is not added."""
    top = round(on.top_usd * NANO)
    return tuple(replace(chosen, limit_nusd=top * place // STEPS) for place in range(STEPS + 1))


def budget_yaml(limit: Limit) -> str:
    """Return the limit as the lines of a routing config."""
    usd, reserve = (format(Decimal(nusd) / NANO, "f") for nusd in (limit.limit_nusd, limit.critical_reserve_nusd))
    budget = f"name: {limit.name}, per: day, usd: {usd}, on_limit: cheapest, critical_reserve_usd: {reserve}"
    return f"budgets:\n  - {{{budget}}}"
