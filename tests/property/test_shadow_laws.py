"""Laws of shadows: their propensity is the probability they are chosen with, and no served call is another for them."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from router_core import CallError, RouteExhaustedError
from router_core.clock import make_id
from router_core.decide.compare import Given, same_answer
from router_core.decide.plan import ShadowRule
from router_core.decide.shadow import Served, choose_shadows, draw_of, shadow_rates
from router_core.types import Request, Response
from tests.builders import make_plan
from tests.routers import ROUTING, open_bench, reply

TIERS = ("cheap", "mid", "top")
RULES = st.lists(
    st.builds(ShadowRule, tier=st.sampled_from(TIERS), on=st.sampled_from(("accepted", "all")), rate=st.floats(0, 1)),
    max_size=6,
)
SERVED = st.builds(Served, is_accepted=st.booleans(), answered=st.frozensets(st.sampled_from(TIERS)))
GUARDS = st.sampled_from(("normal", "taper", "capped", "stopped"))
DRAWS = st.fixed_dictionaries(dict.fromkeys(TIERS, st.floats(0, 1, exclude_max=True)))

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, min_size=1, max_size=4)
KINDS = st.sampled_from(("exact", "json", "number"))


@given(RULES, SERVED, GUARDS, DRAWS, st.booleans())
def test_a_tier_is_chosen_exactly_when_its_draw_is_below_its_propensity(
    rules: list[ShadowRule], served: Served, guard: Any, draws: dict[str, float], degraded: bool
) -> None:
    plan = make_plan(shadows=tuple(rules), degraded=degraded)
    rates = shadow_rates(plan, served, guard)
    chosen = choose_shadows(plan, served, guard, draws)
    assert {choice.tier for choice in chosen} == {tier for tier, rate in rates.items() if draws[tier] < rate}
    assert all(choice.propensity == rates[choice.tier] for choice in chosen)
    assert len({choice.tier for choice in chosen}) == len(chosen)
    assert not served.answered & rates.keys()
    assert not rates or (guard == "normal" and not degraded)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.05, 0.95))
def test_draws_fall_below_a_rate_as_often_as_it_says(start: int, rate: float) -> None:
    """Over 2,000 ids of consecutive instants: within 5 standard errors, for each tier and for both together."""
    draws = [[draw_of(make_id(start + index, index), tier) for tier in ("mid", "top")] for index in range(2_000)]
    for share, expected in (
        (sum(mid < rate for mid, _ in draws), rate),
        (sum(top < rate for _, top in draws), rate),
        (sum(mid < rate and top < rate for mid, top in draws), rate * rate),
    ):
        assert abs(share / 2_000 - expected) < 5 * (expected * (1 - expected) / 2_000) ** 0.5


@given(KINDS, OBJECTS, st.randoms())
def test_an_answer_is_the_same_as_itself_in_any_order_of_keys_and_with_any_confidence(
    kind: Any, value: dict[str, Any], chance: Any
) -> None:
    other = dict(sorted(value.items(), key=lambda _: chance.random())) | {"confidence": chance.random()}
    served = Given(text=json.dumps(value), parsed=value)
    assert same_answer(kind, served, Given(text=json.dumps(other), parsed=other), "confidence") is True


@given(KINDS, OBJECTS, OBJECTS)
def test_being_the_same_parsed_answer_does_not_depend_on_which_was_served(
    kind: Any, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = Given(text="a", parsed=one), Given(text="b", parsed=other)
    assert same_answer(kind, first, second, "confidence") == same_answer(kind, second, first, "confidence")


OUTCOMES = st.sampled_from(["sure", "unsure", "invalid", "failed", "slow failure"])
SHADOWS = st.lists(
    st.tuples(st.sampled_from(TIERS), st.sampled_from(("accepted", "all")), st.sampled_from((0.3, 1.0))),
    max_size=4,
    unique_by=lambda rule: rule[:2],
)


def routing_with(rules: list[tuple[str, str, float]]) -> str:
    listed = ", ".join(f"{{tier: {tier}, on: {on}, rate: {rate}}}" for tier, on, rate in rules)
    shadow = f", shadow: [{listed}], comparable: json" if rules else ""
    return (
        ROUTING.replace("path: [cheap, mid, top]", f"path: [cheap, mid, top]{shadow}") + "shadow_budget: {usd: 0.01}\n"
    )


def served(folder: Path, outcomes: dict[str, str], rules: list[tuple[str, str, float]], calls: int) -> list[Any]:
    """Ask some calls one after the other; return what each call's line and its serving attempts say, ids included."""

    def answer(request: Request) -> Response:
        outcome = outcomes[request.model]
        if "failure" in outcome or outcome == "failed":
            wait_s = 1.0 if outcome == "slow failure" else None
            raise CallError("no", kind="rate_limit", retry_after_s=wait_s, billed=None)
        if outcome == "invalid":
            return reply(text="{")
        return reply(confidence=0.9 if outcome == "sure" else 0.3)

    bench = open_bench(folder, dict.fromkeys(outcomes, answer), routing_with(rules))
    for _ in range(calls):
        try:
            bench.ask()
        except RouteExhaustedError:
            continue
    bench.router.close()
    calls_made = [without(line, "worker", "config_version") for line in bench.lines("call")]
    attempts = [
        without(line, "checks", "config_version", "price_date")  # the price list is that of the config's version
        for line in bench.lines("attempt")
        if line["role"] != "shadow"
    ]
    for line in calls_made:
        costs = [attempt["cost_nusd"] for attempt in attempts if attempt["call_id"] == line["call_id"]]
        assert (line["cost_nusd"], line["attempts"]) == (sum(costs), len(costs))
    return [calls_made, attempts]


def without(line: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in keys}


@settings(max_examples=40, deadline=None)
@given(
    outcomes=st.fixed_dictionaries(dict.fromkeys(("a/small", "b/small", "a/medium", "b/large"), OUTCOMES)),
    rules=SHADOWS,
)
def test_calls_are_the_same_with_and_without_shadows(
    outcomes: dict[str, str], rules: list[tuple[str, str, float]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain = served(Path(folder) / "plain", outcomes, [], 4)
        shadowed = served(Path(folder) / "shadowed", outcomes, rules, 4)
    assert shadowed == plain
