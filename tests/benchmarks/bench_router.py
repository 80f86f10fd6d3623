"""What the router adds to a call over a backend that answers at once, log on. Prints figures; never fails on time."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from router_core import Router
from router_core.backends import Backend
from router_core.types import Request, Response
from tests.routers import MESSAGES, ROUTING, reply

pytestmark = pytest.mark.bench

CALLS = 20_000
LIMITED = ROUTING + "budgets: [{name: daily, usd: 1000000}]\n"


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


def _percentiles_us(call: Callable[[], object]) -> tuple[float, float, float]:
    taken: list[int] = []
    for _ in range(CALLS):
        before = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - before)
    taken.sort()
    return taken[CALLS // 2] / 1000, taken[CALLS * 99 // 100] / 1000, sum(taken) / CALLS / 1000


@pytest.mark.parametrize(("name", "routing"), [("no budget", ROUTING), ("one daily budget", LIMITED)])
def test_added_by_the_router(tmp_path: Path, name: str, routing: str) -> None:
    (tmp_path / "routing.yaml").write_text(routing)
    backend: Backend = NullBackend()
    bare = Request(request_id="r", call_id="c", payload_type="x.extract", model="a/small", messages=MESSAGES)
    p50, p99, _ = _percentiles_us(lambda: backend.complete(bare))
    with Router.open(tmp_path / "routing.yaml", home=tmp_path / "home", backend=backend) as router:
        mine = _percentiles_us(lambda: router.complete("x.extract", messages=MESSAGES, response_format=Task))
    print(f"\n  {name:<20} router p50 {mine[0]:.0f} us, p99 {mine[1]:.0f} us, mean {mine[2]:.0f} us per call", end="")
    print(f"; the bare backend {p50:.1f} / {p99:.1f} us")
