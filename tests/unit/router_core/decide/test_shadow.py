from dataclasses import replace
from typing import Any

import pytest

from router_core.decide.plan import Plan, ShadowRule
from router_core.decide.shadow import Served, ShadowChoice, choose_shadows, shadow_rates
from tests.builders import make_plan

ACCEPTED = Served(is_accepted=True, answered=frozenset({"cheap"}))
ESCALATED = Served(is_accepted=False, answered=frozenset({"cheap", "mid"}))


def plan_with(*rules: tuple[str, Any, float], **fields: Any) -> Plan:
    return make_plan(shadows=tuple(ShadowRule(tier=tier, on=on, rate=rate) for tier, on, rate in rules), **fields)


def test_accepted_rule_counts_only_calls_whose_first_answer_was_served() -> None:
    plan = plan_with(("top", "accepted", 0.2))
    assert shadow_rates(plan, ACCEPTED, "normal") == {"top": 0.2}
    assert shadow_rates(plan, ESCALATED, "normal") == {}


def test_rule_for_all_counts_every_served_call() -> None:
    plan = plan_with(("top", "all", 0.2))
    assert shadow_rates(plan, ACCEPTED, "normal") == shadow_rates(plan, ESCALATED, "normal") == {"top": 0.2}


def test_tier_that_has_answered_is_not_asked_again() -> None:
    plan = plan_with(("cheap", "all", 1.0), ("mid", "all", 1.0), ("top", "all", 1.0))
    assert set(shadow_rates(plan, ACCEPTED, "normal")) == {"mid", "top"}
    assert set(shadow_rates(plan, ESCALATED, "normal")) == {"top"}


def test_of_two_rules_for_a_tier_the_highest_rate_that_applies_counts() -> None:
    plan = plan_with(("top", "accepted", 0.3), ("top", "all", 0.1))
    assert shadow_rates(plan, ACCEPTED, "normal") == {"top": 0.3}
    assert shadow_rates(plan, ESCALATED, "normal") == {"top": 0.1}


@pytest.mark.parametrize("guard", ["taper", "capped", "stopped"])
def test_nothing_is_asked_when_the_guard_is_not_normal(guard: Any) -> None:
    assert shadow_rates(plan_with(("top", "all", 1.0)), ACCEPTED, guard) == {}


def test_nothing_is_asked_of_a_degraded_call() -> None:
    plan = replace(plan_with(("top", "all", 1.0)), degraded=True)
    assert choose_shadows(plan, ACCEPTED, "normal", {"top": 0.0}) == ()


def test_draw_below_the_rate_chooses_and_the_rate_is_the_propensity() -> None:
    plan = plan_with(("mid", "all", 0.5), ("top", "accepted", 0.25))
    chosen = choose_shadows(plan, ACCEPTED, "normal", {"mid": 0.5, "top": 0.2499})
    assert chosen == (ShadowChoice(tier="top", propensity=0.25),)


def test_rate_of_zero_never_chooses_and_rate_of_one_always() -> None:
    plan = plan_with(("mid", "all", 0.0), ("top", "all", 1.0))
    chosen = choose_shadows(plan, ACCEPTED, "normal", {"mid": 0.0, "top": 1 - 2**-53})
    assert [choice.tier for choice in chosen] == ["top"]
