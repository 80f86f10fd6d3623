"""What a plan knows of its targets."""

from router_core.decide.compile import compile_plans
from router_core.types import Abilities
from tests.builders import make_config


def known(model: str) -> Abilities:
    return Abilities(lacks=frozenset({"vision"}), context_tokens={"sim/small": 8_000}.get(model))


def test_lists_tell_what_the_config_does_not() -> None:
    plans = compile_plans(make_config(), known)
    (small, large) = (step.targets[0] for step in plans.by_type["invoice.extract"].steps)
    assert (small.context_tokens, small.lacks) == (8_000, {"vision"})
    assert (large.context_tokens, large.lacks) == (None, {"vision"})


def test_config_comes_before_the_lists() -> None:
    said = {"model": "sim/small", "capabilities": ["tools", "vision"], "context_tokens": 500}
    config = make_config(tiers={"cheap": [said], "top": [{"model": "sim/large", "capabilities": []}]})
    (small, large) = (step.targets[0] for step in compile_plans(config, known).by_type["invoice.extract"].steps)
    assert (small.context_tokens, small.lacks) == (500, {"schema", "logprobs"})
    assert large.lacks == {"tools", "vision", "schema", "logprobs"}


def test_nothing_is_held_against_a_model_that_nobody_knows() -> None:
    (target,) = compile_plans(make_config()).by_type["policy.decide"].steps[0].targets
    assert (target.context_tokens, target.lacks) == (None, frozenset())
