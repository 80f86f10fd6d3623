"""Models that answer packed prompts, well or badly."""

import json
from collections.abc import Callable
from typing import Any

from router_core.testing import reply
from router_core.types import Request, Response


def tokens(text: str) -> int:
    """About as many tokens as a text has."""
    return max(1, len(text) // 4)


def tasks_of(request: Request) -> dict[str, str]:
    """The tasks of a packed prompt by id; {} of any other."""
    text = str(request.messages[-1]["content"])
    if "separate tasks" not in text:
        return {}
    lines = (json.loads(line) for line in text.split("\n") if line.startswith('{"id":'))
    return {line["id"]: line["task"] for line in lines}


def model(
    answer: Callable[[str], Any], corrupt: Callable[[list[dict[str, Any]]], Any] = lambda entries: entries
) -> Callable[[Request], Response]:
    """A model that answers each task by a function; ``corrupt`` has the last word on the entries of a packed answer."""

    def respond(request: Request) -> Response:
        tasks = tasks_of(request)
        if tasks:
            entries = [{"id": item_id, **said(answer(task))} for item_id, task in tasks.items()]
            changed = corrupt(entries)
            text = changed if isinstance(changed, str) else json.dumps({"answers": changed})
        else:
            alone = answer(str(request.messages[-1]["content"]))
            text = alone if isinstance(alone, str) else json.dumps(alone)
        schema = "" if request.response_format is None else json.dumps(request.response_format)
        prompt = "".join(str(message["content"]) for message in request.messages) + schema
        return reply(text, input_tokens=tokens(prompt), output_tokens=tokens(text))

    return respond


def said(answer: Any) -> dict[str, Any]:
    """An entry of a packed answer without its id; what tells no confidence itself has one beside it."""
    tells = isinstance(answer, dict) and "confidence" in answer
    return {"answer": answer} if tells else {"answer": answer, "confidence": 0.9}
