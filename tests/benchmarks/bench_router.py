"""What the router adds to a call over a backend that answers at once, log on. Prints figures; never fails on time."""

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from router_core import Router
from router_core.backends import Backend
from router_core.backends.simulated import SimulatedBackend, SimulatedModel
from router_core.clock import Clock, VirtualClock
from router_core.types import Request, Response
from tests.routers import MESSAGES, NOON_US, ROUTING, bounded, reply

pytestmark = pytest.mark.bench

CALLS = 20_000
LITELLM_CALLS = 2_000
MANY_CALLS = 100_000
WARM_UP = 500
LIMITED = bounded(ROUTING) + "budgets: [{name: daily, usd: 1000000}]\n"
PER_CALL = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0.8, limits: {cost_usd: 1}}")
ANSWER = reply()


class Task(BaseModel):
    """What the calls answer."""

    answer: str
    confidence: float


class NullBackend:
    """Answers at once, always the same."""

    def complete(self, request: Request) -> Response:
        """Return the answer."""
        return ANSWER

    async def acomplete(self, request: Request) -> Response:
        """Return the answer."""
        return ANSWER


@dataclass(frozen=True)
class Taken:
    """Microseconds per call: of the wall clock, sorted, and of this process's processor time on average."""

    wall_us: list[float]
    cpu_us: float

    def __str__(self) -> str:
        wall, mean = self.wall_us, sum(self.wall_us) / len(self.wall_us)
        p50, p99 = wall[len(wall) // 2], wall[len(wall) * 99 // 100]
        return f"p50 {p50:7.1f}, p99 {p99:7.1f}, mean {mean:7.1f}; processor {self.cpu_us:7.1f} us per call"


def _measured(call: Callable[[], object], calls: int = CALLS) -> Taken:
    for _ in range(min(WARM_UP, calls // 4)):
        call()
    wall: list[float] = []
    cpu_ns = time.process_time_ns()
    for _ in range(calls):
        before = time.perf_counter_ns()
        call()
        wall.append((time.perf_counter_ns() - before) / 1000)
    cpu_ns = time.process_time_ns() - cpu_ns
    return Taken(sorted(wall), cpu_ns / calls / 1000)


@contextmanager
def _opened(folder: Path, routing: str, backend: Backend, clock: Clock | None = None) -> Generator[Router]:
    folder.mkdir()
    (folder / "routing.yaml").write_text(routing)
    with Router.open(folder / "routing.yaml", home=folder / "home", backend=backend, clock=clock) as router:
        yield router


def _ask(router: Router) -> object:
    return router.complete("x.extract", messages=MESSAGES, response_format=Task)


def test_added_by_the_router_beside_litellm(tmp_path: Path) -> None:
    backend: Backend = NullBackend()
    bare = Request(request_id="r", call_id="c", payload_type="x.extract", model="a/small", messages=MESSAGES)
    print(f"\n  {'the bare backend':<34} {_measured(lambda: backend.complete(bare))}")
    ours: dict[str, float] = {}
    routings = {"no budget": ROUTING, "a cost limit per call": PER_CALL, "one daily budget": LIMITED}
    for name, routing in routings.items():
        with _opened(tmp_path / name, routing, backend) as router:
            taken = _measured(lambda: _ask(router))
        ours[name] = taken.cpu_us
        print(f"  router, {name:<26} {taken}")
    for name, theirs in _litellm().items():
        shares = ", ".join(f"{100 * cpu_us / theirs.cpu_us:.1f} % ({mine})" for mine, cpu_us in ours.items())
        print(f"  {name:<34} {theirs}")
        print(f"  {'- the router takes of that':<34} {shares}")


def _litellm() -> dict[str, Taken]:
    """Return what litellm and its own router take for the same call, over its built-in mock answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it looks for prices in the network
        import litellm
        from litellm.router import Router as TheirRouter

    told: dict[str, Any] = {"messages": MESSAGES, "response_format": Task, "mock_response": ANSWER.text}
    model = "openai/gpt-4o-mini"
    theirs = TheirRouter(model_list=[{"model_name": "small", "litellm_params": {"model": model}}])

    async def both() -> dict[str, Taken]:
        return {
            "litellm.acompletion": await _ameasured(lambda: litellm.acompletion(model=model, **told)),
            "litellm.Router.acompletion": await _ameasured(lambda: theirs.acompletion(model="small", **told)),
        }

    return {
        "litellm.completion": _measured(lambda: litellm.completion(model=model, **told), LITELLM_CALLS)
    } | asyncio.run(both())


async def _ameasured(call: Callable[[], Awaitable[object]]) -> Taken:
    for _ in range(WARM_UP):
        await call()
    wall: list[float] = []
    cpu_ns = time.process_time_ns()
    for _ in range(LITELLM_CALLS):
        before = time.perf_counter_ns()
        await call()
        await asyncio.sleep(0)  # what a call leaves to the loop is part of it
        wall.append((time.perf_counter_ns() - before) / 1000)
    return Taken(sorted(wall), (time.process_time_ns() - cpu_ns) / LITELLM_CALLS / 1000)


def test_calls_a_second_in_simulated_time(tmp_path: Path) -> None:
    def null(_: Clock) -> Backend:
        return NullBackend()

    def simulated(clock: Clock) -> Backend:
        models = {model: SimulatedModel(latency_ms=1) for model in ("a/small", "b/small", "a/medium", "b/large")}
        return SimulatedBackend(models, clock=clock)

    print()
    for name, make in {"null backend": null, "simulated models": simulated}.items():
        clock = VirtualClock(NOON_US)
        with _opened(tmp_path / name, ROUTING, make(clock), clock) as router:
            taken = _measured(lambda: _ask(router))
        print(f"  {name:<34} {1e6 / taken.cpu_us:,.0f} calls a second of processor time ({taken})")


def test_memory_over_many_calls(tmp_path: Path) -> None:
    with _opened(tmp_path / "x", ROUTING, NullBackend()) as router:
        for _ in range(1000):
            _ask(router)
        gc.collect()
        resident_kib, blocks = _resident_kib(), sys.getallocatedblocks()
        for _ in range(MANY_CALLS):
            _ask(router)
        gc.collect()
        grown, grown_kib = sys.getallocatedblocks() - blocks, _resident_kib() - resident_kib
    print(f"\n  {MANY_CALLS:,} calls leave {grown:,} more blocks of memory and {grown_kib:,} KiB more resident")


def _resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
