"""A task of forty fields, of which three are doubtful, done again or corrected."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import create_model

from router_core.testing import reply
from router_core.types import Request, Response
from tests.packs import tokens
from tests.routers import open_bench

FIELDS: Final = tuple(f"line_item_{number:02}_amount" for number in range(40))
Wide: Final = create_model("Wide", **dict.fromkeys(FIELDS, (str, ...)), confidence=(dict[str, float], ...))  # type: ignore[call-overload]
WIDE: Final = """\
version: 1
tiers: {cheap: [{model: a/small}], mid: [{model: a/medium}]}
payload_types: {x.extract: {path: [cheap, mid], escalation: %s}}
prices: {a/small: {input: 0.05, output: 0.4}, a/medium: {input: 0.25, output: 2}}
"""


def simulated(truth: Callable[[str, str], str], seed: int) -> Callable[[Request], Response]:
    """A model that is right in all but a few fields, and unsure of those that are hard: three per document.

    Of the easy fields both models get one in ten thousand wrong; of the hard ones the small model gets half wrong, and
    the larger one one in fifty.
    """

    def answer(request: Request) -> Response:
        document = str(request.messages[1]["content"]).split()[1]
        asked = (
            [name for name in request.response_format["properties"] if name in FIELDS]
            if isinstance(request.response_format, dict)
            else FIELDS
        )
        small = request.model == "a/small"
        values, sure = {}, {}
        for name in asked:
            draw = random.Random(f"{seed} {document} {name} {request.model}")
            hard = name in random.Random(f"{seed} {document}").sample(FIELDS, 3)
            wrong = draw.random() < ((0.5 if small else 0.02) if hard else 0.0001)
            values[name] = "wrong" if wrong else truth(document, name)
            sure[name] = 0.4 if hard and small else 0.97
        text = json.dumps({**values, "confidence": sure}, separators=(",", ":"))
        schema = (
            request.response_format
            if isinstance(request.response_format, dict)
            else request.response_format.model_json_schema()
        )
        prompt = "".join(str(message["content"]) for message in request.messages) + json.dumps(schema)
        return reply(text, input_tokens=tokens(prompt), output_tokens=tokens(text))

    return answer


def truth(document: str, name: str) -> str:
    """What a document says in a field."""
    return f"{random.Random(f'{document} {name}').randrange(10_000)}.00 EUR"


def run(folder: Path, how: str, documents: int) -> tuple[int, int]:
    """Ask for all documents; return what the middle tier cost, nano-dollars, and how many answers are wrong."""
    model = simulated(truth, seed=3)
    bench = open_bench(folder, {"a/small": model, "a/medium": model}, WIDE % how)
    cost = wrong = 0
    for number in range(documents):
        text = f"Document d{number} " + "with some three hundred words of text around its amounts " * 40
        messages = [{"role": "system", "content": "Extract all amounts."}, {"role": "user", "content": text}]
        answer = bench.router.complete("x.extract", messages=messages, response_format=Wide)
        Wide.model_validate_json(answer.text)
        cost += answer.attempts[1].receipt.cost_nusd or 0
        wrong += any(getattr(answer.parsed, name) != truth(f"d{number}", name) for name in FIELDS)
        assert answer.attempts[1].role == ("escalate" if how == "redo" else "correct")
    bench.router.close()
    return cost, wrong
