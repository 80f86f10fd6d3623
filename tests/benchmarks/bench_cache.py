"""What the router adds to a call with the cache for retries on, and what a kept answer costs. Prints figures only."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from router_core import Router
from router_core.types import Request, Response
from tests.routers import MESSAGES, ROUTING, reply

pytestmark = pytest.mark.bench

CALLS = 20_000
CACHED = ROUTING + "cache: {enabled: true}\n"
LONG = [MESSAGES[0], {"role": "user", "content": "A document. " * 700}]


class Task(BaseModel):
    """What the calls answer."""

    answer: str
    confidence: float


class NullBackend:
    """Answers at once, always the same."""

    def __init__(self) -> None:
        self._response = reply()

    def complete(self, request: Request) -> Response:
        """Return the answer."""
        return self._response

    async def acomplete(self, request: Request) -> Response:
        """Return the answer."""
        return self._response


def _percentiles_us(call: Callable[[int], object]) -> str:
    taken: list[int] = []
    for n in range(CALLS):
        before = time.perf_counter_ns()
        call(n)
        taken.append(time.perf_counter_ns() - before)
    taken.sort()
    p50, p99 = taken[CALLS // 2] / 1000, taken[CALLS * 99 // 100] / 1000
    return f"p50 {p50:5.0f} us, p99 {p99:5.0f} us, mean {sum(taken) / CALLS / 1000:5.0f} us per call"


@pytest.mark.parametrize(("name", "messages"), [("short prompt", MESSAGES), ("prompt of 8 kB", LONG)])
def test_added_by_the_router_with_the_cache_on(tmp_path: Path, name: str, messages: Any) -> None:
    (tmp_path / "routing.yaml").write_text(CACHED)
    print()
    with Router.open(tmp_path / "routing.yaml", home=tmp_path / "home", backend=NullBackend()) as router:

        def ask(run: str | None, n: int) -> object:
            return router.complete("x.extract", messages=messages, response_format=Task, run=run, step=str(n))

        for kind, call in (
            ("no run: nothing kept", lambda n: ask(None, n)),
            ("looked up, asked, kept", lambda n: ask("one", n)),
            ("taken up again", lambda n: ask("one", n)),
        ):
            print(f"  {name:<14} {kind:<24} {_percentiles_us(call)}")


def test_pre_check_that_answers(tmp_path: Path) -> None:
    rule = "pre_checks: [{name: a, regex: 'nothing', answer: x}, {name: b, table: {A document.: known}}]"
    (tmp_path / "routing.yaml").write_text(ROUTING.replace("error_cost_usd: 0.5}", f"error_cost_usd: 0.5, {rule}}}"))
    with Router.open(tmp_path / "routing.yaml", home=tmp_path / "home", backend=NullBackend()) as router:
        told = _percentiles_us(lambda _: router.complete("x.extract", messages=MESSAGES))
    print(f"\n  a pattern without a match, a table with one: {told}")
