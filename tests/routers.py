"""Routers over simulated models for tests: valid by default, real files, virtual time."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router_core import Router, ShadowAnswer
from router_core import testing as fakes
from router_core.testing import START_US, FakeBackend, Script, VirtualClock, make_router
from router_core.types import Response

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
NOON_US = START_US


def reply(answer: str = "yes", confidence: float | None = 0.9, **fields: Any) -> Response:
    """An answer as a model gives it: JSON, 100 tokens in, 10 out."""
    return fakes.reply({"answer": answer}, confidence=confidence, **fields)


@dataclass
class Bench:
    """A router on a virtual clock, with what it asked and what it logged."""

    router: Router
    backend: FakeBackend
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
        return self.backend.asked


def bounded(routing: str) -> str:
    """Return a config whose targets have a largest answer, as a budget asks for."""
    return re.sub(r"\{model: ([^,{}]+)(?![^{}]*max_output_tokens)", r"{model: \1, max_output_tokens: 4000", routing)


def open_bench(
    folder: Path,
    replies: Mapping[str, Script] | None = None,
    routing: str = ROUTING,
    start_us: int = NOON_US,
    on_shadow: Callable[[ShadowAnswer], object] | None = None,
) -> Bench:
    """Open a router in a folder of its own; where there is a budget, targets are given a largest answer."""
    routing = bounded(routing) if "budgets:" in routing else routing
    clock = VirtualClock(start_us, seed=7)
    backend = FakeBackend(replies, default=reply(), clock=clock, latency_s=0.5)
    home = folder / "home"
    return Bench(
        make_router(folder, routing, backend, home=home, clock=clock, on_shadow=on_shadow), backend, clock, home
    )
