"""Totals over several moves: from joint draws where a run has them, from the proposals alone elsewhere."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from router_core.control.records import Draft, Interval, Totals

if TYPE_CHECKING:
    # pages add proposals up as well, and read no log for it
    from optimizer.judge import Samples
    from optimizer.replay import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Totals over moves, with 90 % predictive intervals.

    Attributes:
        moves: How many.
        calls: Calls that the totals are for.
        saving_usd: Spend saved.
        wrong_rate_change: Change of the wrong rate over all these calls.
        impact_usd: Change of error impact.
        net_usd: Saving - impact.
        p_net_positive: Probability that the net is above 0; None where it is not drawn.
    """

    moves: int
    calls: float
    saving_usd: Interval
    wrong_rate_change: Interval
    impact_usd: Interval
    net_usd: Interval
    p_net_positive: float | None = None

    def totals(self, moves: Sequence[Draft]) -> Totals:
        """Return what is kept of them, with the names of the types."""
        return Totals(
            payload_types=tuple(move.payload_type for move in moves),
            calls_per_month=self.calls,
            net_usd_month=self.net_usd,
            wrong_rate_change=self.wrong_rate_change,
        )


def total(
    moves: Sequence[Draft], samples: Mapping[str, "Samples"], volumes: Mapping[str, float], rng: np.random.Generator
) -> Portfolio:
    """Return totals over moves of one run from its joint draws.

    The expected values are the sums of the moves' own: only the ends take the chance of the calls to come.

    Args:
        moves: The moves.
        samples: Draws by payload type.
        volumes: Calls by payload type; without one, the move's own month.
        rng: Draws the chance that the calls themselves bring.
    """
    n_draws = next((samples[move.payload_type].wrong.size for move in moves), 1)
    saving, wrong, impact = np.zeros(n_draws), np.zeros(n_draws), np.zeros(n_draws)
    calls = slack_wrong = slack_usd = mean_saving = mean_wrong = mean_impact = 0.0
    for move in moves:
        drawn, volume = samples[move.payload_type], volumes.get(move.payload_type, move.calls_per_month)
        price, root = move.error_cost_usd or 0.0, math.sqrt(volume)
        extra_wrong = volume * drawn.wrong + root * drawn.wrong_call_sd * rng.standard_normal(n_draws)
        saving -= volume * drawn.cost_usd + root * drawn.cost_call_sd * rng.standard_normal(n_draws)
        wrong += extra_wrong
        impact += price * extra_wrong
        calls += volume
        mean_saving -= volume * float(drawn.cost_usd.mean())
        mean_wrong += volume * float(drawn.wrong.mean())
        mean_impact += price * volume * float(drawn.wrong.mean())
        slack_wrong += volume * drawn.slack
        slack_usd += price * volume * drawn.slack
    per_call = max(calls, 1.0)
    net = saving - impact
    return Portfolio(
        moves=len(moves),
        calls=calls,
        saving_usd=_interval(mean_saving, saving),
        wrong_rate_change=_interval(mean_wrong / per_call, wrong / per_call, below=slack_wrong / per_call),
        impact_usd=_interval(mean_impact, impact, below=slack_usd),
        net_usd=_interval(mean_saving - mean_impact, net, above=slack_usd),
        p_net_positive=float((net > 0).mean()) if moves else None,
    )


def combined(moves: Sequence[Draft]) -> Portfolio:
    """Return totals over proposals for a month, from their own intervals, payload types taken as independent.

    The half-widths of independent predictions add up as their squares do; each side by itself.
    """
    calls = sum(move.calls_per_month for move in moves)
    return Portfolio(
        moves=len(moves),
        calls=calls,
        saving_usd=_summed([move.saving_usd_month for move in moves]),
        wrong_rate_change=_summed(
            [move.wrong_rate_change for move in moves], [m.calls_per_month for m in moves], calls
        ),
        impact_usd=_summed([move.impact_usd_month for move in moves]),
        net_usd=_summed([move.net_usd_month for move in moves]),
    )


def _interval(mean: float, draws: "Floats", *, below: float = 0.0, above: float = 0.0) -> Interval:
    low, high = (float(each) for each in np.quantile(draws, (0.05, 0.95)))
    return Interval(mean=mean, low=low - below, high=high + above)


def _summed(parts: Sequence[Interval], weights: Sequence[float] | None = None, over: float = 1.0) -> Interval:
    weights = [1.0] * len(parts) if weights is None else weights
    pairs, over = list(zip(parts, weights, strict=True)), max(over, 1e-9)
    mean = math.fsum(w * part.mean for part, w in pairs)
    down = math.sqrt(math.fsum((w * (part.mean - part.low)) ** 2 for part, w in pairs))
    up = math.sqrt(math.fsum((w * (part.high - part.mean)) ** 2 for part, w in pairs))
    return Interval(mean=mean / over, low=(mean - down) / over, high=(mean + up) / over)
