"""Laws of the holdback: fixed by what is decided about, nested in the rate, over at its date."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router_core.decide.holdback import draw_of, held_back
from router_core.decide.plan import HoldbackRule, Plan, PlanStep, PlanTarget

NEW = (PlanStep(tier="cheap", targets=(PlanTarget(model="a"),), accept_at=0.5),)
OLD = (PlanStep(tier="top", targets=(PlanTarget(model="b"),), accept_at=0.5),)
PLAN = Plan(payload_type="x", config_version="v", steps=NEW, tier_planned="cheap")


def plan(rate: float, unit: str = "run") -> Plan:
    rule = HoldbackRule(name="P-1", steps=OLD, rate=rate, unit="run" if unit == "run" else "call", until_us=100)
    return replace(PLAN, holdback_rule=rule)


@given(st.floats(0, 1), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_all_calls_of_a_run_go_the_same_way_and_say_how_likely_that_was(
    rate: float, run: str, first: str, second: str
) -> None:
    one, other = (held_back(plan(rate), run, call_id, 0) for call_id in (first, second))
    assert one == other
    assert (one.steps, one.tier_planned) in ((OLD, "top"), (NEW, "cheap"))
    is_held = one.holdback is not None
    assert one.holdback == ("P-1" if is_held else None)
    assert one.propensity == (rate if is_held else 1.0 - rate)
    assert is_held == (one.steps == OLD)


@given(st.floats(0, 1), st.floats(0, 1), st.text(max_size=8))
def test_a_higher_rate_keeps_all_that_a_lower_one_keeps(one: float, other: float, unit: str) -> None:
    low, high = sorted((one, other))
    if held_back(plan(low, "call"), None, unit, 0).holdback is not None:
        assert held_back(plan(high, "call"), None, unit, 0).holdback is not None


@given(st.text(max_size=8), st.integers(100, 10**9))
def test_nothing_is_held_back_from_its_date_on(unit: str, now_us: int) -> None:
    assert held_back(plan(1.0), unit, unit, now_us) == plan(1.0)
    assert held_back(plan(1.0), unit, unit, 99).holdback == "P-1"
    assert held_back(PLAN, unit, unit, 0) == PLAN


@given(st.text(max_size=8), st.text(max_size=8))
def test_draws_are_fractions_and_differ_between_proposals(one: str, other: str) -> None:
    rule = plan(0.5).holdback_rule
    assert rule is not None
    assert 0 <= draw_of("x", rule, one) < 1
    assert draw_of("x", rule, one) == draw_of("x", replace(rule, rate=0.9), one)
    if one != other:
        assert draw_of("x", rule, one) != draw_of("x", rule, other)
    assert draw_of("x", rule, one) != draw_of("x", replace(rule, name="P-2"), one)
