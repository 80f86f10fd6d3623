"""A seeded model client without a network: for the demo, for simulations, for users' own tests.

The same seed, model and messages always give the same answer, and a judge the same verdict on it; further samples
of it are drawn anew, by their place in the call. Items that are hard for one model are hard for the
others, and confidence follows how clearly an answer was right, so cascades behave as they do on real models.
"""

import asyncio
import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any

from router_core.backends.recited import AsyncRecitedReading, Recital, RecitedReading, pieces_of
from router_core.clock import Clock
from router_core.errors import CallError, ErrorKind
from router_core.types import Question, Request, Response, Usage

_NORMAL = NormalDist()
# share of an item's difficulty that all models see alike
_SHARED = 0.6
# confidence = logistic(intercept + slope x margin + noise): right answers around .93, wrong ones around .55
_CONFIDENCE = (0.9, 1.6, 0.7)
_VERDICT_TOKENS = 12
# share of a stream's latency before its first piece
_FIRST_PIECE = 1 / 3
_FOUR = struct.Struct("<4I")
_UNIT = 2.0**-32
_TINY = 2.0**-33


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedModel:
    """How one simulated model behaves.

    Attributes:
        accuracy: Share of right answers by payload type.
        default_accuracy: The same for payload types not named.
        latency_ms: Median latency, milliseconds.
        latency_sigma: Standard deviation of log latency.
        output_tokens: Mean completion size, tokens.
        output_tokens_by_type: The same by payload type, where it differs.
        invalid_rate: Share of answers that are cut-off JSON.
        failure_rate: Share of requests that fail.
        failure: How they fail.
    """

    accuracy: Mapping[str, float] = field(default_factory=dict[str, float])
    default_accuracy: float = 0.9
    latency_ms: float = 800.0
    latency_sigma: float = 0.35
    output_tokens: int = 120
    output_tokens_by_type: Mapping[str, int] = field(default_factory=dict[str, int])
    invalid_rate: float = 0.0
    failure_rate: float = 0.0
    failure: ErrorKind = "server"


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch of time in which every request to some models fails.

    Attributes:
        prefix: Models whose name begins so, e.g. ``provider/``.
        start_us: First instant, microseconds since the epoch.
        end_us: First instant after it.
        kind: How requests fail.
    """

    prefix: str
    start_us: int
    end_us: int
    kind: ErrorKind = "server"


AnswerText = Callable[[Request, bool, float], str]
"""Gets the request, whether the answer is right, and its confidence; returns the answer's text."""


class SimulatedBackend:
    """Answers from chance and a seed.

    Args:
        models: Behaviour by ``provider/model``; others behave like ``SimulatedModel()``.
        seed: Seed of all chance.
        clock: Takes the latencies; None = answers at once.
        outages: When which models fail.
        answer: Text of an answer; default ``{"answer": ..., "confidence": ...}`` with ``right_answer`` when right.
    """

    def __init__(
        self,
        models: Mapping[str, SimulatedModel] | None = None,
        *,
        seed: int = 0,
        clock: Clock | None = None,
        outages: Sequence[Outage] = (),
        answer: AnswerText | None = None,
    ) -> None:
        self._models = dict(models or {})
        self._seed = seed
        self._clock = clock
        self._outages = tuple(outages)
        self._answer = answer or _default_answer
        self._default = SimulatedModel()

    def complete(self, request: Request) -> Response:
        """Return the simulated answer.

        Raises:
            CallError: The model fails by chance, or an outage has it.
        """
        response, latency_s = self._decide(request)
        if self._clock is not None:
            self._clock.sleep(latency_s)
        return _raise_or_return(response)

    async def acomplete(self, request: Request) -> Response:
        """Return the simulated answer; see ``complete``."""
        response, latency_s = self._decide(request)
        if self._clock is not None:
            await self._clock.asleep(latency_s)
        else:
            await asyncio.sleep(0)
        return _raise_or_return(response)

    def stream(self, request: Request) -> RecitedReading:
        """Return the simulated answer to be read word by word; a third of its latency passes before the first."""
        return RecitedReading(request, self._recital, self._clock)

    def astream(self, request: Request) -> AsyncRecitedReading:
        """Return the simulated answer to be read in an event loop; see ``stream``."""
        return AsyncRecitedReading(request, self._recital, self._clock)

    def _recital(self, request: Request) -> Recital:
        # how long a stream may take is watched where it is read
        response, latency_s = self._decide(replace(request, timeout_s=math.inf))
        if isinstance(response, CallError):
            return Recital(failure=response, first_s=latency_s)
        words = pieces_of(response.text)
        first_s = latency_s * _FIRST_PIECE
        return Recital(
            response=response, pieces=words, first_s=first_s, between_s=(latency_s - first_s) / max(len(words), 1)
        )

    def _decide(self, request: Request) -> tuple[Response | CallError, float]:
        model = self._models.get(request.model, self._default)
        item = _digest(request.messages)
        speed, fault, size, _ = _draws(self._seed, b"request", request.model, request.request_id.encode())
        latency_s = math.exp(model.latency_sigma * _NORMAL.inv_cdf(speed)) * model.latency_ms / 1000
        outage = self._outage(request.model)
        if outage is not None:
            return CallError(f"simulated outage of {request.model}", kind=outage.kind, status_code=503), 0.2
        if fault < model.failure_rate:
            return CallError(f"simulated failure of {request.model}", kind=model.failure, status_code=500), 0.2
        if latency_s > request.timeout_s:
            return CallError("simulated timeout", kind="timeout", billed=None), request.timeout_s
        if request.role == "judge" and request.question is not None:
            text, mean = self._verdict(request, request.question, model), _VERDICT_TOKENS
        else:
            right, confidence, broken = self._attempt(request, model, item)
            text = '{"answer": "cut o' if broken else self._answer(request, right, confidence)
            mean = model.output_tokens_by_type.get(request.payload_type, model.output_tokens)
        usage = Usage(
            input_tokens=max(sum(len(str(message.get("content"))) for message in request.messages) // 4, 1),
            output_tokens=max(round(mean * (0.7 + 0.6 * size)), 1),
        )
        return Response(text=text, usage=usage, response_model=request.model, finish_reason="stop"), latency_s

    def _attempt(self, request: Request, model: SimulatedModel, item: bytes) -> tuple[bool, float, bool]:
        """Return whether an answer is right, how sure it is, and whether it is cut off."""
        # a sample differs from the answer in the model's own part, never in how hard the item is
        purpose = b"answer" if request.role != "sample" else b"sample " + _number(request)
        own, noise, broken, _ = _draws(self._seed, purpose, request.model, item)
        margin = self._margin(request.payload_type, model, item, own)
        return margin > 0, _confidence(margin, noise), broken < model.invalid_rate

    def _margin(self, payload_type: str, model: SimulatedModel, item: bytes, own: float) -> float:
        """Return by how much a model is above what an item takes; an answer is right when that is above 0."""
        shared, *_ = _draws(self._seed, b"item", "", item)
        difficulty = math.sqrt(_SHARED) * _NORMAL.inv_cdf(shared) + math.sqrt(1 - _SHARED) * _NORMAL.inv_cdf(own)
        accuracy = model.accuracy.get(payload_type, model.default_accuracy)
        return _NORMAL.inv_cdf(min(max(accuracy, 1e-6), 1 - 1e-6)) - difficulty

    def _verdict(self, request: Request, question: Question, judge: SimulatedModel) -> str:
        """Return what a judge says of an answer: one that could have answered the item tells right from wrong."""
        item = _digest(question.messages)
        answering = self._models.get(question.model, self._default)
        own, *_ = _draws(self._seed, b"answer", question.model, item)
        is_right = self._margin(request.payload_type, answering, item, own) > 0
        own, noise, broken, _ = _draws(self._seed, b"judge", request.model, item)
        if broken < judge.invalid_rate:
            return "It looks right to me."
        insight = self._margin(request.payload_type, judge, item, own)
        return json.dumps({"confidence": _confidence(insight if is_right else -insight, noise)})

    def _outage(self, model: str) -> Outage | None:
        if not self._outages or self._clock is None:
            return None
        now = self._clock.now_us()
        for outage in self._outages:
            if outage.start_us <= now < outage.end_us and model.startswith(outage.prefix):
                return outage
        return None


def right_answer(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what the default answer says when it is right: eight hex digits, fixed by the messages."""
    return _digest(messages)[:4].hex()


def _digest(messages: Sequence[Mapping[str, Any]]) -> bytes:
    texts = [_text_digest(str(message.get("content"))) for message in messages]
    return texts[0] if len(texts) == 1 else hashlib.blake2b(b"".join(texts)).digest()


@lru_cache(maxsize=64)
def _text_digest(text: str) -> bytes:
    # long system prompts come again and again; Python remembers a string's own hash
    return hashlib.blake2b(text.encode()).digest()


def _number(request: Request) -> bytes:
    """Return which request of its call it is, whatever the call's id is."""
    return request.request_id.rpartition("-")[2].encode()


def _confidence(margin: float, noise: float) -> float:
    intercept, slope, spread = _CONFIDENCE
    return round(1 / (1 + math.exp(-(intercept + slope * margin + spread * _NORMAL.inv_cdf(noise)))), 4)


def _default_answer(request: Request, right: bool, confidence: float) -> str:
    # there is one way to be right and there are many to be wrong
    wrong = f"not {request.model}" if request.role != "sample" else f"not {request.model}, {_number(request).decode()}"
    answer = right_answer(request.messages) if right else wrong
    return json.dumps({"answer": answer, "confidence": confidence})


def _raise_or_return(response: Response | CallError) -> Response:
    if isinstance(response, CallError):
        raise response
    return response


def _draws(seed: int, purpose: bytes, model: str, item: bytes) -> tuple[float, float, float, float]:
    """Return four independent uniform draws within (0, 1), fixed by the arguments."""
    keyed = b"%d\x00%b\x00%b\x00%b" % (seed, purpose, model.encode(), item)
    a, b, c, d = _FOUR.unpack(hashlib.blake2b(keyed, digest_size=16).digest())
    return a * _UNIT + _TINY, b * _UNIT + _TINY, c * _UNIT + _TINY, d * _UNIT + _TINY
