"""Fakes for the tests of an application that routes: no key, no network, no waiting. Needs no test framework.

::

    from router_core.testing import FakeBackend, failure, make_router, reply

    def test_unsure_answer_goes_up(tmp_path):
        backend = FakeBackend({"openai/gpt-5-nano": reply({"total": 1}, confidence=0.3)}, default={"total": 119})
        with make_router(tmp_path, Path("routing.yaml").read_text(), backend) as router:
            answer = my_application(router)
        assert backend.asked == ["openai/gpt-5-nano", "openai/gpt-5"]

The router is the real one; what stands in is the model client and, by default, time: pauses before retries, limits and
cool-downs pass at once on a ``VirtualClock``.
"""

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

from router_core.backends import Backend
from router_core.backends.recited import AsyncRecitedReading, Recital, RecitedReading, pieces_of
from router_core.clock import Clock, VirtualClock
from router_core.errors import CallError, ErrorKind
from router_core.router import Router
from router_core.types import Request, Response, ShadowAnswer, Usage

__all__ = ["Broken", "FakeBackend", "Reply", "Script", "VirtualClock", "broken", "failure", "make_router", "reply"]

START_US: Final = 1_795_435_200_000_000
"""Where virtual time begins: 2026-11-23 12:00 UTC."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A stream that breaks off; a request for a whole answer fails at once.

    Attributes:
        text: What is handed out before.
        error: How it breaks.
    """

    text: str
    error: CallError


Reply = str | Mapping[str, Any] | Response | Broken | BaseException
"""What a model does: say a text, say a JSON object, return a response, break off, or fail."""
Script = Reply | Sequence[Reply] | Callable[[Request], Reply]
"""One reply to everything, a list of replies (the last one repeats), or a function of the request."""


def reply(
    content: str | Mapping[str, Any] = "ok",
    *,
    confidence: float | None = None,
    input_tokens: int | None = 100,
    output_tokens: int | None = 10,
    **fields: Any,
) -> Response:
    """Return a model's answer.

    Args:
        content: Its text, or the object that it says as JSON.
        confidence: The model's own, written into that object.
        input_tokens: Tokens of the prompt; None = not reported.
        output_tokens: Tokens of the answer; None = not reported.
        **fields: Further fields of ``Response``.

    Raises:
        TypeError: There is a confidence, and no object to write it into.
    """
    if confidence is not None:
        if isinstance(content, str):
            raise TypeError("a confidence is written into a JSON object: give the content as a mapping")
        content = {**content, "confidence": confidence}
    text = content if isinstance(content, str) else json.dumps(content)
    known: dict[str, Any] = {"text": text, "usage": Usage(input_tokens=input_tokens, output_tokens=output_tokens)}
    return Response(**{**known, **fields})


def failure(
    kind: ErrorKind = "server", *, retry_after_s: float | None = None, billed: bool | None = False
) -> CallError:
    """Return a failed request.

    Args:
        kind: How it fails.
        retry_after_s: Seconds that the provider asks to wait.
        billed: False = it charged nothing for certain; None = it may have.

    Raises:
        ValueError: There is no such kind.
    """
    kinds = get_args(ErrorKind)
    if kind not in kinds:
        raise ValueError(f"failure: kind must be one of {', '.join(kinds)}, not {kind!r}")
    return CallError(f"simulated {kind}", kind=kind, retry_after_s=retry_after_s, billed=billed)


def broken(text: str, kind: ErrorKind = "connection") -> Broken:
    """Return a stream that breaks off after this text."""
    return Broken(text, failure(kind, billed=None))


class FakeBackend:
    """A model client that does what it is told.

    It answers whole, in an event loop, and piece by piece (word by word).

    Args:
        replies: What is said, by model (``provider/model``) or else by payload type.
        default: What is said to everything else.
        clock: Takes the latency; the one of the router. None = answers at once.
        latency_s: Seconds before an answer, or before the first word of a streamed one. A request whose timeout is
            shorter fails with that, as with every model client.

    Attributes:
        replies: As above; may be changed at any time.
        default: As above.
        requests: Every request so far, in order.
        latency_s: As above.
    """

    def __init__(
        self,
        replies: Mapping[str, Script] | None = None,
        *,
        default: Script = "ok",
        clock: Clock | None = None,
        latency_s: float = 0.0,
    ) -> None:
        self.replies: Mapping[str, Script] = replies or {}
        self.default = default
        self.requests: list[Request] = []
        self.latency_s = latency_s
        self._clock = clock
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def asked(self) -> list[str]:
        """The models of all requests so far, in order."""
        return [request.model for request in self.requests]

    def complete(self, request: Request) -> Response:
        """Return the next reply.

        Raises:
            CallError: The reply is a failure, or the latency is above the request's timeout, which then passes.
        """
        found = self._next(request)
        if self._clock is not None:
            self._clock.sleep(min(self.latency_s, request.timeout_s))
        self._refuse_late(request)
        return _said(found(), request)

    async def acomplete(self, request: Request) -> Response:
        """Return the next reply; see ``complete``."""
        found = self._next(request)
        if self._clock is not None:
            await self._clock.asleep(min(self.latency_s, request.timeout_s))
        self._refuse_late(request)
        return _said(found(), request)

    def _refuse_late(self, request: Request) -> None:
        if self.latency_s > request.timeout_s:
            text = f"{request.model}: no answer in time, {request.timeout_s:g} s"
            raise CallError(text, kind="timeout", billed=None)

    def stream(self, request: Request) -> RecitedReading:
        """Return the next reply to be read word by word."""
        return RecitedReading(request, self._recital, self._clock)

    def astream(self, request: Request) -> AsyncRecitedReading:
        """Return the next reply to be read word by word in an event loop."""
        return AsyncRecitedReading(request, self._recital, self._clock)

    def _recital(self, request: Request) -> Recital:
        told = self._next(request)()
        if isinstance(told, Broken):
            whole = reply(told.text)
            return Recital(response=whole, pieces=pieces_of(told.text), failure=told.error, first_s=self.latency_s)
        if isinstance(told, BaseException):
            return Recital(failure=told, first_s=self.latency_s)
        response = _said(told, request)
        return Recital(response=response, pieces=pieces_of(response.text), first_s=self.latency_s)

    def _next(self, request: Request) -> Callable[[], Reply]:
        """Take note of a request and return what makes its reply, once its time has come."""
        key = next((key for key in (request.model, request.payload_type) if key in self.replies), request.model)
        with self._lock:
            self.requests.append(request)
            self._asked[key] += 1
            n = self._asked[key]
        script = self.replies.get(key, self.default)
        if callable(script):
            return lambda: script(request)
        if isinstance(script, list | tuple):
            in_order = cast("Sequence[Reply]", script)
            return lambda: in_order[min(n, len(in_order)) - 1]
        return lambda: cast("Reply", script)


def make_router(
    folder: str | os.PathLike[str],
    config: str | Mapping[str, Any],
    backend: Backend | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    clock: Clock | None = None,
    on_shadow: Callable[[ShadowAnswer], object] | None = None,
) -> Router:
    """Return a router over a config of its own; close it, or use it in a ``with`` block.

    Args:
        folder: Where ``routing.yaml`` is written; made if it is missing.
        config: The routing config, as YAML text or as a mapping.
        backend: The model client; default ``FakeBackend()``.
        home: Where the log is kept; default ``.tierwise`` in the folder, whatever the environment says.
        clock: Default a ``VirtualClock`` that begins at 2026-11-23 12:00 UTC.
        on_shadow: Told of each shadow.

    Raises:
        ConfigError: The config cannot be used; lists everything that is wrong with it.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    file = place / "routing.yaml"
    file.write_text(config if isinstance(config, str) else json.dumps(config, indent=2), "utf-8")
    return Router.open(
        file,
        home=place / ".tierwise" if home is None else home,
        backend=FakeBackend() if backend is None else backend,
        clock=VirtualClock(START_US) if clock is None else clock,
        on_shadow=on_shadow,
    )


def _said(told: Reply, request: Request) -> Response:
    """Return a reply as a response.

    Raises:
        CallError: It is a failure.
        TypeError: It is no reply.
    """
    if isinstance(told, Response):
        return told
    if isinstance(told, Broken):
        raise told.error
    if isinstance(told, BaseException):
        raise told
    if isinstance(cast("object", told), str | Mapping):
        return reply(told)
    raise TypeError(f"{request.model}: a reply is a text, a mapping, a Response or an error, not {told!r}")
