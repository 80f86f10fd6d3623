"""Judged options of a payload type → what to do about it: a move, nothing, or finding out.

Total dollars decide: the option with the largest expected net among those that are safe to propose.
"""

import math
from dataclasses import dataclass
from typing import Literal

from optimizer.facts import Facts
from optimizer.judge import Judged
from optimizer.missing import Wanted, bound, potential, wanted
from optimizer.paths import Option, Route
from optimizer.rules import Rules
from router_core.control.records import Risk

Obstacle = Literal["unseen", "few", "invalid", "slow", "unsure", "harmful", "small"]


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
    # thresholds are no reason to ask for evidence: what they could win is known only once they are fitted
    plain = [each for each in judged if each.question.option.calibration is None]
    unsettled = [each for each in plain if not is_settled(facts, each, rules)]
    settled = [each for each in plain if is_settled(facts, each, rules) and each.seen]
    if unsettled:
        best = max(unsettled, key=lambda each: potential(facts, each) or 0.0)
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
        ("unsure", judged.p_net_positive < rules.p_net or (rules.whole_interval and net.low <= 0)),
        ("harmful", rules.most_harm is not None and judged.p_harm > rules.most_harm),
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
    most = bound(facts, judged)
    return most is not None and most < material


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


def _best(facts: Facts, moves: list[Judged], rules: Rules) -> Judged:
    """Return the move with the largest net; a smaller change is preferred to a net that is not materially larger."""
    least = max(_net(each) for each in moves) - facts.material_usd_month(rules)
    return min(
        (each for each in moves if _net(each) >= least),
        key=lambda each: (
            len(each.question.option.route.tiers),
            each.question.option.calibration is not None,
            -_net(each),
        ),
    )


def _net(judged: Judged) -> float:
    return judged.net_usd_month.mean


def _has_pairs(judged: Judged, rules: Rules) -> bool:
    is_cascade = len(judged.question.now.tiers) > 1 or len(judged.question.option.route.tiers) > 1
    return judged.pairs >= rules.min_pairs and (not is_cascade or judged.accepted >= rules.min_accepted_pairs)


def _unanswered(facts: Facts, route: Route) -> float:
    """Return the share of calls for which every step's answer fails its checks, the steps taken as independent."""
    return math.prod(facts.tiers[tier].unanswered for tier in route.tiers)
