"""Whether a call stays on the old path after a move: a random share of runs or calls does, so that the two compare."""

import hashlib
from dataclasses import replace

from router_core.decide.plan import HoldbackRule, Plan


def held_back(plan: Plan, run: str | None, call_id: str, now_us: int) -> Plan:
    """Return the plan of a call whose payload type has a holdback: the old path for those it takes, until its end.

    Either way the plan has the probability with which it was chosen, for what is logged.

    Args:
        plan: What the config asks for.
        run: The call's job; a call without one is a unit of its own.
        call_id: The call.
        now_us: When it begins, microseconds since the epoch.
    """
    rule = plan.holdback_rule
    if rule is None or now_us >= rule.until_us:
        return plan
    unit = run if rule.unit == "run" and run is not None else call_id
    if draw_of(plan.payload_type, rule, unit) < rule.rate:
        return replace(on_old_path(plan, rule), propensity=rule.rate)
    return replace(plan, propensity=1.0 - rule.rate)


def on_old_path(plan: Plan, rule: HoldbackRule) -> Plan:
    """Return the plan with the path from before the move."""
    return replace(plan, steps=rule.steps, tier_planned=rule.steps[0].tier, holdback=rule.name)


def draw_of(payload_type: str, rule: HoldbackRule, unit: str) -> float:
    """Return the draw that decides about a run or call, uniform 0 <= draw < 1.

    It is fixed by what is decided about, in every process and at every time; a higher rate keeps all that a lower one
    has kept. 53 bits of a BLAKE2b hash, as many as a float holds.
    """
    seed = f"holdback\x00{payload_type}\x00{rule.name}\x00{unit}"
    digest = hashlib.blake2b(seed.encode(errors="replace"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) * 2.0**-53
