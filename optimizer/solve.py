"""Judged options of a payload type → what to do about it: a move, nothing, or finding out.

Total dollars decide: the option with the largest expected net among those that are safe to propose.
"""

import math
from dataclasses import dataclass
from typing import Literal

from optimizer.judge import Judged
from optimizer.paths import Option, Route
from optimizer.rules import Rules
from router_core.control.records import Risk

Obstacle = Literal["unseen", "few", "invalid", "slow", "unsure", "small"]


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

    def material_usd_month(self, rules: Rules) -> float:
        """Return the least net worth proposing, USD per month."""
        impact = (self.wrong_rate or 0.0) * self.error_cost_usd
        total = self.calls_per_month * ((self.cost_usd or 0.0) + impact)
        return max(rules.min_net_usd_month, rules.min_net_share * total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The evidence that is missing.

    Attributes:
        judged: The option that cannot be judged yet.
        tier: Index of the tier to ask.
        on: Which calls to shadow.
        pairs: Labelled pairs to add.
        shadows: Shadow calls to run for them.
        rate: Share of the calls to shadow.
        cost_usd: What the shadows cost, USD; None = the tier has no price.
        days: How long they take.
        potential_usd_month: What the option could be worth at best, USD per month; None = not known.
        discordance: Share of pairs on which one way is right and the other wrong that was reckoned with.
        is_assumed: Whether that share is assumed, not measured.
    """

    judged: Judged
    tier: int
    on: Literal["accepted", "all"]
    pairs: int
    shadows: int
    rate: float
    cost_usd: float | None
    days: float
    potential_usd_month: float | None
    discordance: float
    is_assumed: bool

    def is_worth(self, rules: Rules) -> bool:
        """Return whether the evidence can be had in time, for less than the move could bring in ``worth_months``."""
        if self.cost_usd is None or self.days > rules.longest_days:
            return False
        return self.potential_usd_month is None or self.cost_usd <= rules.worth_months * self.potential_usd_month


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about one payload type.

    Attributes:
        verdict: ``move``, ``hold`` or ``not_enough_evidence``.
        chosen: The move, or of a hold the option that came closest.
        obstacle: Of a hold: what stands against ``chosen``.
        wanted: Of missing evidence: what to find out; None = no single shadow can tell.
    """

    verdict: Literal["move", "hold", "not_enough_evidence"]
    chosen: Judged | None = None
    obstacle: Obstacle | None = None
    wanted: Wanted | None = None


def decide(facts: Facts, judged: tuple[Judged, ...], rules: Rules) -> Decision:
    """Return what to do about a payload type, given what every option would do to it."""
    obstacles: dict[int, Obstacle | None] = {id(each): obstacle(facts, each, rules) for each in judged}
    moves = [each for each in judged if obstacles[id(each)] is None]
    if moves:
        return Decision(verdict="move", chosen=_best(facts, moves, rules))
    unsettled = [each for each in judged if not is_settled(facts, each, rules)]
    settled = [each for each in judged if is_settled(facts, each, rules) and each.seen]
    if unsettled:
        best = max(unsettled, key=lambda each: _potential(facts, each) or 0.0)
        plans = [plan for plan in (wanted(facts, each, rules) for each in unsettled) if plan is not None]
        plan = max(plans, key=lambda each: each.potential_usd_month or 0.0, default=None)
        return Decision(verdict="not_enough_evidence", chosen=best, obstacle=obstacles[id(best)], wanted=plan)
    closest = max(settled, key=_net, default=None)
    return Decision(verdict="hold", chosen=closest, obstacle=None if closest is None else obstacles[id(closest)])


def obstacle(facts: Facts, judged: Judged, rules: Rules) -> Obstacle | None:
    """Return what stands against proposing an option now; None = nothing."""
    net = judged.net_usd_month
    checks: tuple[tuple[Obstacle, bool], ...] = (
        ("invalid", fails_checks(facts, judged.question.option, rules)),
        ("unseen", not (judged.seen and judged.costed)),
        ("few", not _has_pairs(judged, rules)),
        ("slow", is_slow(facts, judged)),
        ("small", net.high < facts.material_usd_month(rules)),
        ("unsure", judged.p_net_positive < rules.p_net or net.low <= 0),
        ("small", net.mean < facts.material_usd_month(rules)),
    )
    for name, holds in checks:
        if holds:
            return name
    return None


def is_settled(facts: Facts, judged: Judged, rules: Rules) -> bool:
    """Return whether no further evidence is needed to leave an option alone."""
    if fails_checks(facts, judged.question.option, rules):
        return True
    material = facts.material_usd_month(rules)
    if judged.seen and judged.costed and _has_pairs(judged, rules):
        # narrow enough to say that nothing material is to be won, or won but not allowed
        return is_slow(facts, judged) or judged.net_usd_month.high < material
    potential = _potential(facts, judged)
    if potential is None:
        return judged.question.option.direction == "up" and facts.labels > 0
    return potential < material


def fails_checks(facts: Facts, option: Option, rules: Rules) -> bool:
    """Return whether an option would leave clearly more calls without a valid answer."""
    return _unanswered(facts, option.route) - _unanswered(facts, facts.now) > rules.max_unanswered


def is_slow(facts: Facts, judged: Judged) -> bool:
    """Return whether an option's p95 is above the payload type's longest."""
    return facts.latency_slo_s is not None and judged.p95_ms is not None and judged.p95_ms > 1000 * facts.latency_slo_s


def risk_of(judged: Judged, rules: Rules) -> Risk:
    """Return the risk badge: by the upper bound of the change of the wrong rate."""
    if judged.wrong_change.high <= rules.risk_low:
        return "low"
    return "medium" if judged.wrong_change.high <= rules.risk_medium else "high"


def wanted(facts: Facts, judged: Judged, rules: Rules) -> Wanted | None:
    """Return the shadows that would settle an option; None when no single tier's shadows can.

    Pairs by the fixed-n formula n = certainty x discordance / margin^2 (optimizer.md 2.7), the margin being how far the
    change of the wrong rate is from the one at which the move breaks even, at least from where it is material.
    """
    target = _shadow_of(facts, judged.question.option)
    change = _cost_change(facts, judged)
    if target is None or change is None or facts.calls_per_month <= 0:
        return None
    tier, on = target
    price = facts.error_cost_usd
    material = facts.material_usd_month(rules) / facts.calls_per_month
    expected = judged.wrong_change.mean if judged.seen else 0.0
    margin = min(max(abs(-change - price * expected), material) / price, 1.0) if price > 0 else 1.0
    needed = max(math.ceil(rules.certainty * judged.discordance / margin**2), rules.min_pairs)
    # where the formula is met and it is still not settled: as many again as are needed at least
    pairs = needed - judged.pairs if needed > judged.pairs else rules.min_pairs
    shadows = math.ceil(pairs / facts.label_rate) if facts.label_rate > 0 else pairs
    per_day = facts.calls_per_month / 30
    quick = math.ceil(shadows / (per_day * rules.shadow_days) / rules.shadow_rate) * rules.shadow_rate
    rate = round(min(max(quick, rules.shadow_rate), rules.max_shadow_rate), 4)
    cost = facts.tiers[tier].cost_usd
    return Wanted(
        judged=judged,
        tier=tier,
        on=on,
        pairs=pairs,
        shadows=shadows,
        rate=rate,
        cost_usd=None if cost is None else shadows * cost,
        days=shadows / (per_day * rate),
        potential_usd_month=_potential(facts, judged),
        discordance=judged.discordance,
        is_assumed=not judged.seen,
    )


def _best(facts: Facts, moves: list[Judged], rules: Rules) -> Judged:
    """Return the move with the largest net; a path with fewer steps is preferred to one that is not materially better."""
    least = max(_net(each) for each in moves) - facts.material_usd_month(rules)
    return min(
        (each for each in moves if _net(each) >= least),
        key=lambda each: (len(each.question.option.route.tiers), -_net(each)),
    )


def _net(judged: Judged) -> float:
    return judged.net_usd_month.mean


def _has_pairs(judged: Judged, rules: Rules) -> bool:
    is_cascade = len(judged.question.now.tiers) > 1 or len(judged.question.option.route.tiers) > 1
    return judged.pairs >= rules.min_pairs and (not is_cascade or judged.accepted >= rules.min_accepted_pairs)


def _unanswered(facts: Facts, route: Route) -> float:
    """Return the share of calls for which every step's answer fails its checks, the steps taken as independent."""
    return math.prod(facts.tiers[tier].unanswered for tier in route.tiers)


def _cost_change(facts: Facts, judged: Judged) -> float | None:
    """Return the change of cost per call, USD: measured, else from the tiers' own costs; None = not known."""
    if judged.costed and judged.question.calls_per_month > 0:
        return -judged.saving_usd_month.mean / judged.question.calls_per_month
    first = facts.tiers[judged.question.option.route.tiers[0]].cost_usd
    if first is None or facts.cost_usd is None or len(judged.question.option.route.tiers) > 1:
        return None
    return first - facts.cost_usd


def _potential(facts: Facts, judged: Judged) -> float | None:
    """Return what an option could be worth at best, USD per month; None = not known.

    Where pairs exist: the upper end of the net. Without: a move up removes at most every wrong answer that there is,
    and a move down saves at most its cost.
    """
    if judged.seen and judged.costed:
        return judged.net_usd_month.high
    change = _cost_change(facts, judged)
    if change is None:
        return None
    if judged.question.option.direction == "down":
        return -change * facts.calls_per_month
    if facts.wrong_rate is None:
        return None
    return (facts.wrong_rate * facts.error_cost_usd - change) * facts.calls_per_month


def _shadow_of(facts: Facts, option: Option) -> tuple[int, Literal["accepted", "all"]] | None:
    now, then = facts.now.tiers, option.route.tiers
    if then == now[-1:]:
        # the last step's answer is missing on whatever was served before it
        return then[0], "accepted" if len(now) == len(then) + 1 else "all"
    if then[0] not in now and (len(then) == 1 or then[1:] == now):
        return then[0], "accepted" if len(now) == 1 else "all"
    return None
