"""Functions that the tests' configs name as pre-checks."""

from collections.abc import Mapping, Sequence
from typing import Any

NUMBER = 1


def word_count(messages: Sequence[Mapping[str, Any]]) -> dict[str, int] | None:
    words = len(str(messages[-1]["content"]).split())
    return {"words": words} if words else None


async def later(messages: Sequence[Mapping[str, Any]]) -> str:
    return "too late"
