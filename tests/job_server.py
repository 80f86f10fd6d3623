"""A server whose models do the worked example's job: they read documents, answer packs and corrections, and fail."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, cast

from tests.openai_server import Hit, OpenAIServer, Reply, bad_json, cut_short, failing, ok, rate_limited

NAMES: Final = (
    "number",
    "supplier",
    "date",
    "due",
    "net",
    "vat",
    "total",
    "currency",
    "iban",
    "order",
    "buyer",
    "terms",
)
LABELS: Final = ("invoice", "reminder", "order")


def chance(*parts: object) -> float:
    """A number in 0..1 that the parts decide."""
    digest = hashlib.blake2b("\x00".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def document(number: int) -> str:
    """The text of a document: its kind, its fields, and words around them."""
    kind = LABELS[number % 3]
    fields = "\n".join(f"{name}: {truth(number, name)}" for name in NAMES)
    return f"{kind} document {number}\n{fields}\n" + "Goods as agreed, delivered to the gate. " * 20


def truth(number: int, name: str) -> str:
    """What a field of a document says."""
    return f"{name[:3]}-{int(chance(number, name) * 10_000)}"


def number_of(text: str) -> int:
    """Which document a text is."""
    return int(text.split("document ")[1].split(maxsplit=1)[0])


def tokens(text: str) -> int:
    """About as many tokens as a text has."""
    return max(1, len(text) // 4)


class JobServer(OpenAIServer):
    """The server.

    Args:
        faults: Share of requests that fail.
    """

    def __init__(self, faults: float = 0.0) -> None:
        super().__init__()
        self._faults = faults

    def answer(self, hit: Hit) -> Reply:
        """Record the request and return what to answer."""
        super().answer(hit)
        draw = chance("fault", hit.request_id)
        if draw < self._faults:
            kinds = (failing(500), rate_limited(), cut_short(), bad_json(), rate_limited())
            return kinds[int(draw / self._faults * len(kinds))]
        text = said(hit.model, hit.body)
        prompt = json.dumps(hit.body["messages"]) + json.dumps(hit.body.get("response_format", ""))
        usage = {"prompt_tokens": tokens(prompt), "completion_tokens": tokens(text)}
        return ok(text, usage={**usage, "total_tokens": sum(usage.values())})


def said(model: str, body: Mapping[str, Any]) -> str:
    """What a model says to a request."""
    system, text = body["messages"][0]["content"], body["messages"][-1]["content"]
    if system.startswith("Extract"):
        return json.dumps(extracted(model, body))
    if system.startswith("Decide"):
        return json.dumps({"pay": chance("pay", text) < 0.8, "confidence": 0.9})
    if "separate tasks" not in text:
        return json.dumps(label(model, text))
    tasks = [json.loads(line) for line in text.split("\n") if line.startswith('{"id":')]
    entries = [{"id": task["id"], "answer": label(model, task["task"])} for task in tasks]
    if chance("spoil", text) < 0.3:  # one answer is missing in some packs
        del entries[int(chance("which", text) * len(entries))]
    return json.dumps({"answers": entries})


def label(model: str, text: str) -> dict[str, Any]:
    """The kind of a document, unsure now and then."""
    unsure = model.endswith("nano") and chance("unsure", text) < 0.1
    return {"label": text.split(maxsplit=1)[0], "confidence": 0.4 if unsure else 0.95}


def extracted(model: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are asked for; the smallest model is unsure of two of them in four documents of ten."""
    asked = body["response_format"]["json_schema"]["schema"]["properties"]
    number = number_of(body["messages"][1]["content"])
    names = [name for name in NAMES if name in cast("dict[str, Any]", asked)]
    hard = set(sorted(NAMES, key=lambda name: chance("hard", number, name))[:2]) if number % 10 < 4 else set[str]()
    small = model.endswith("nano")
    values = {
        name: "unreadable" if small and name in hard and chance("wrong", number, name) < 0.5 else truth(number, name)
        for name in names
    }
    return {**values, "confidence": {name: 0.3 if small and name in hard else 0.97 for name in names}}
