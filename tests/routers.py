"""Routers over simulated models for tests: valid by default, real files, virtual time."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router_core import CallError, Router, ShadowAnswer
from router_core.clock import VirtualClock
from router_core.types import Request, Response, Usage

ROUTING = """\
version: 1
tiers:
  cheap: [{model: a/small}, {model: b/small}]
  mid: [{model: a/medium}]
  top: [{model: b/large}]
defaults: {accept_at: 0.8}
payload_types:
  x.extract: {path: [cheap, mid, top], error_cost_usd: 0.5}
  x.decide: {path: [top], critical: true, error_cost_usd: 5}
prices:
  a/small: {input: 0.1, output: 0.4}
  b/small: {input: 0.2, output: 0.8}
  a/medium: {input: 1, output: 4}
  b/large: {input: 5, output: 20}
"""
MESSAGES = [{"role": "system", "content": "Extract."}, {"role": "user", "content": "A document."}]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "confidence": {"type": "number"}},
    "required": ["answer"],
}
NOON_US = 1_795_435_200_000_000  # 2026-11-23 12:00 UTC

Reply = Response | CallError | BaseException


def reply(answer: str = "yes", confidence: float | None = 0.9, **response: Any) -> Response:
    """An answer as a model gives it: JSON, 100 tokens in, 10 out."""
    body: dict[str, Any] = {"answer": answer}
    if confidence is not None:
        body["confidence"] = confidence
    fields: dict[str, Any] = {"text": json.dumps(body), "usage": Usage(input_tokens=100, output_tokens=10)}
    return Response(**(fields | response))


@dataclass
class ScriptedBackend:
    """Gives each model's replies in order, the last one again and again, each after `latency_s` of virtual time."""

    clock: VirtualClock
    replies: Mapping[str, Sequence[Reply] | Callable[[Request], Reply]]
    latency_s: float = 0.5
    requests: list[Request] = field(default_factory=list[Request])

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        self.clock.sleep(self.latency_s)
        return self._next(request)

    async def acomplete(self, request: Request) -> Response:
        self.requests.append(request)
        await self.clock.asleep(self.latency_s)
        return self._next(request)

    def _next(self, request: Request) -> Response:
        known = self.replies.get(request.model, [reply()])
        if callable(known):
            got = known(request)
        else:
            asked = sum(earlier.model == request.model for earlier in self.requests)
            got = known[min(asked, len(known)) - 1]
        if isinstance(got, BaseException):
            raise got
        return got


@dataclass
class Bench:
    """A router on a virtual clock, with what it asked and what it logged."""

    router: Router
    backend: ScriptedBackend
    clock: VirtualClock
    home: Path

    def ask(self, payload_type: str = "x.extract", **kwargs: Any) -> Any:
        return self.router.complete(payload_type, messages=MESSAGES, response_format=SCHEMA, **kwargs)

    def lines(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The spool's lines in order, all or of one kind; which config was seen is left out."""
        segments = sorted((self.home / "spool").glob("*.jsonl"))
        lines = [json.loads(line) for segment in segments for line in segment.read_text().splitlines()]
        return [line for line in lines if kind in (None, line["k"]) and line.get("event") != "config"]

    @property
    def asked(self) -> list[str]:
        return [request.model for request in self.backend.requests]


def open_bench(
    folder: Path,
    replies: Mapping[str, Sequence[Reply] | Callable[[Request], Reply]] | None = None,
    routing: str = ROUTING,
    start_us: int = NOON_US,
    on_shadow: Callable[[ShadowAnswer], object] | None = None,
) -> Bench:
    """Open a router in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "routing.yaml").write_text(routing)
    clock = VirtualClock(start_us, seed=7)
    backend = ScriptedBackend(clock, replies or {})
    home = folder / "home"
    router = Router.open(folder / "routing.yaml", home=home, backend=backend, clock=clock, on_shadow=on_shadow)
    return Bench(router, backend, clock, home)
