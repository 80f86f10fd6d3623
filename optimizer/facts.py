"""What is known of a payload type before any option of it is judged."""

from dataclasses import dataclass
from typing import Literal

from optimizer.paths import Route
from optimizer.rules import Rules

On = Literal["accepted", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What the log says of one tier's answers in one payload type.

    Attributes:
        unanswered: Share of its answers that failed a check, 0..1.
        cost_usd: Cost of one request, USD: measured, else tokens at list prices; None = neither is known.
        is_repriced: Whether the cost comes from list prices.
        is_scored: Whether its answers carry a confidence.
        is_unseen: Whether the log has none.
    """

    unanswered: float
    cost_usd: float | None
    is_repriced: bool
    is_scored: bool
    is_unseen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadows:
    """A shadow rule of the config.

    Attributes:
        tier: Index of the tier that is asked.
        on: After which calls.
        rate: Share of these calls, 0..1.
    """

    tier: int
    on: On
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the log and the config say of one payload type.

    Attributes:
        name: The payload type.
        now: Its present path.
        tiers: Its tiers, cheapest first.
        calls: Calls in the window that took their path.
        degraded: Calls that a limit moved off it; not in ``calls``.
        days: Days with calls.
        calls_per_month: Volume.
        cost_usd: Mean cost of a call on the present path, USD; None = not known.
        wrong_rate: Share of wrong answers among labelled served calls; None without labels.
        labels: Labelled served calls on the present path.
        label_rate: Share of served calls with a label.
        has_unknown_chance: Whether some labels came by an unknown chance.
        p95_ms: p95 of latency; None = not known.
        error_cost_usd: Price of a wrong answer, USD.
        latency_slo_s: Longest p95 allowed, seconds; None = any.
        critical: Whether limits leave it alone.
        shadows: Its shadow rules.
    """

    name: str
    now: Route
    tiers: tuple[Tier, ...]
    calls: int
    degraded: int
    days: int
    calls_per_month: float
    cost_usd: float | None
    wrong_rate: float | None
    labels: int
    label_rate: float
    has_unknown_chance: bool
    p95_ms: float | None
    error_cost_usd: float
    latency_slo_s: float | None
    critical: bool
    shadows: tuple[Shadows, ...] = ()

    def material_usd_month(self, rules: Rules) -> float:
        """Return the least net worth proposing, USD per month."""
        impact = (self.wrong_rate or 0.0) * self.error_cost_usd
        total = self.calls_per_month * ((self.cost_usd or 0.0) + impact)
        return max(rules.min_net_usd_month, rules.min_net_share * total)
