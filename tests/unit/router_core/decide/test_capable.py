"""Which targets a request may be sent to."""

from typing import Any

import pydantic
import pytest

from router_core.decide.capable import Needs, can_take, needs_of, no_larger, shortfall, unfit
from router_core.decide.plan import PlanStep, PlanTarget
from router_core.types import Capability

TEXT = [{"role": "user", "content": "hello"}]
PICTURE = [
    {"role": "user", "content": [{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {}}]}
]


class Invoice(pydantic.BaseModel):
    total: float


@pytest.mark.parametrize(
    ("messages", "params", "response_format", "needed"),
    [
        (TEXT, {}, None, set()),
        (TEXT, {"tools": []}, None, set()),
        (TEXT, {"tools": [{"type": "function"}]}, None, {"tools"}),
        (TEXT, {"functions": [{"name": "f"}]}, None, {"tools"}),
        (TEXT, {"logprobs": True}, None, {"logprobs"}),
        (TEXT, {"logprobs": False}, None, set()),
        (TEXT, {}, Invoice, {"schema"}),
        (TEXT, {}, {"type": "object", "properties": {}}, {"schema"}),
        (TEXT, {}, {"type": "json_schema", "json_schema": {}}, {"schema"}),
        (TEXT, {}, {"type": "json_object"}, set()),
        (PICTURE, {}, None, {"vision"}),
        ([*TEXT, {"role": "assistant", "content": None}], {}, None, set()),
        ([{"role": "user", "content": ["odd", 7]}], {}, None, set()),
    ],
)
def test_request_needs_what_it_carries(messages: Any, params: Any, response_format: Any, needed: set[str]) -> None:
    assert needs_of(messages, params, response_format).capabilities == needed


def test_size_is_what_the_text_has_at_least() -> None:
    messages = [
        {"role": "user", "content": "x" * 600},
        {"role": "user", "content": [{"type": "text", "text": "y" * 60}]},
    ]
    assert needs_of(messages, {}, None).least_tokens == 110


@pytest.mark.parametrize("lacks", ["tools", "vision", "schema", "logprobs"])
def test_target_that_lacks_something_takes_what_does_not_need_it(lacks: Capability) -> None:
    target = PlanTarget(model="a/b", lacks=frozenset({lacks}))
    assert can_take(Needs(), target)
    assert not can_take(Needs(capabilities=frozenset({lacks})), target)


@pytest.mark.parametrize(("window", "takes"), [(None, True), (100, True), (99, False)])
def test_window_must_hold_the_request(window: int | None, takes: bool) -> None:
    target = PlanTarget(model="a/b", context_tokens=window)
    assert can_take(Needs(characters=600), target) is takes
    assert (shortfall(Needs(characters=600), target) is None) is takes


def test_shortfall_names_everything_that_is_missing() -> None:
    target = PlanTarget(model="a/b", lacks=frozenset({"tools", "vision"}))
    needs = Needs(capabilities=frozenset({"tools", "vision", "schema"}))
    assert shortfall(needs, target) == "takes no tools and no pictures"


def steps(*windows: int | None) -> tuple[PlanStep, ...]:
    targets = tuple(PlanTarget(model=f"a/{n}", context_tokens=window) for n, window in enumerate(windows))
    return (
        PlanStep(tier="cheap", targets=targets[:2], accept_at=0.8),
        PlanStep(tier="top", targets=targets[2:], accept_at=0),
    )


def test_unfit_are_all_that_cannot_take_it() -> None:
    assert unfit(Needs(characters=300), steps(10, 49, 50, None)) == {"a/0", "a/1"}


def test_after_an_overflow_only_larger_or_unknown_windows_are_left() -> None:
    path = steps(100, 90, 101, None)
    assert no_larger(path, path[0].targets[0]) == {"a/0", "a/1"}


def test_after_an_overflow_of_an_unknown_window_only_the_target_itself_is_left_out() -> None:
    path = steps(None, 90, 101, None)
    assert no_larger(path, path[0].targets[0]) == {"a/0"}
