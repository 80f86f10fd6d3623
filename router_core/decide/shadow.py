"""How a call was served → which tiers are asked the same thing for evidence, and with which probability."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from router_core.decide.plan import Plan
from router_core.types import GuardState


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How a call was served.

    Attributes:
        is_accepted: Whether the answer of the path's first step was served without escalation.
        answered: Tiers that have given a valid answer, the served one included.
    """

    is_accepted: bool
    answered: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowChoice:
    """A tier that is asked.

    Attributes:
        tier: Its name.
        propensity: Probability with which calls like this one are chosen for it, 0..1.
    """

    tier: str
    propensity: float


def shadow_rates(plan: Plan, served: Served, guard: GuardState) -> Mapping[str, float]:
    """Return the probability of a shadow by tier; tiers that none is made on are left out.

    Calls that a limit has touched get none: their answers are no evidence about the plan, and the money is short. A
    tier that has answered the call already is not asked again.

    Args:
        plan: The call's plan.
        served: How it was served.
        guard: The guard's verdict.
    """
    if plan.degraded or guard != "normal":
        return {}
    rates: dict[str, float] = {}
    for rule in plan.shadows:
        if rule.tier not in served.answered and (rule.on == "all" or served.is_accepted):
            rates[rule.tier] = max(rule.rate, rates.get(rule.tier, 0.0))
    return {tier: rate for tier, rate in rates.items() if rate > 0}


def choose_shadows(
    plan: Plan, served: Served, guard: GuardState, draws: Mapping[str, float]
) -> tuple[ShadowChoice, ...]:
    """Return the tiers to ask: exactly those whose draw is below their probability.

    Args:
        plan: The call's plan.
        served: How it was served.
        guard: The guard's verdict.
        draws: A uniform draw, 0..1, for each tier of the plan's shadow rules, independent of each other.
    """
    rates = shadow_rates(plan, served, guard)
    return tuple(ShadowChoice(tier=tier, propensity=rate) for tier, rate in rates.items() if draws[tier] < rate)


def draw_of(call_id: str, tier: str) -> float:
    """Return the draw that decides about a shadow, uniform 0 <= draw < 1 over call ids, independent between tiers.

    It is fixed by the id, whose noise is the clock's: so a logged choice can be checked, and no draw is taken away from
    what else is decided by chance. 53 bits of a BLAKE2b hash, as many as a float holds.
    """
    digest = hashlib.blake2b(f"shadow\x00{tier}\x00{call_id}".encode(errors="replace"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) * 2.0**-53
