"""Requests that can be told from others, and some that cannot."""

from collections import UserDict
from typing import Any

from pydantic import BaseModel

from router_core.decide.identity import key_of

MESSAGES = [{"role": "user", "content": "hi"}]


class Reply(BaseModel):
    label: str


def key(messages: Any = MESSAGES, response_format: Any = None, **params: Any) -> bytes | None:
    return key_of("run", "step", "type", messages, response_format, params)


def test_model_class_is_told_by_its_schema() -> None:
    same = type("Reply", (BaseModel,), {"__annotations__": {"label": str}})
    other = type("Reply", (BaseModel,), {"__annotations__": {"label": int}})
    assert key(response_format=Reply) == key(response_format=same) != key(response_format=other)


def test_how_data_are_held_makes_no_difference() -> None:
    assert key(tuple(UserDict(each) for each in MESSAGES)) == key(MESSAGES)
    assert key(extra=Reply(label="x")) == key(extra={"label": "x"})


def test_request_with_parts_that_nobody_can_compare_has_no_key() -> None:
    for part in (object(), {1, 2}, Reply, b"bytes", "\ud800", 2**70):
        assert key(extra=part) is None
    assert key(response_format=type("NoSchema", (), {})) is None
