"""The router beside ``litellm.Router`` over HTTP: 64 calls at once, one server process. Prints; fails on no time.

All variants run in one process against the same server, in turns, because the machine is not ours alone; CPU time is
that of this process. Both ask the same model with the same messages and log what they log by default.
"""

import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from router_core import Router
from router_core.backends.litellm import LiteLLMBackend
from tests.fast_server import FastServer

pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("ignore")]

AT_ONCE = 64
CALLS = 1_500
ROUNDS = 5
FOR_MEMORY = int(os.environ.get("TIERWISE_BENCH_MEMORY_CALLS", "100000"))
MODEL = "openai/gpt-4o-mini"
MESSAGES = [{"role": "system", "content": "Extract the total. " * 40}, {"role": "user", "content": "A document. " * 20}]
ROUTING = """\
version: 1
tiers:
  cheap: [{{model: openai/gpt-4o-mini, api_base: "{base}"}}]
payload_types:
  x.extract: {{path: [cheap]}}
"""
Once = Callable[[], Awaitable[Any]]


@dataclass
class Figures:
    """Calls per second and CPU seconds per call, one of each per round."""

    rates: list[float] = field(default_factory=list[float])
    cpu_s: list[float] = field(default_factory=list[float])

    def add(self, calls: int, wall_s: float, cpu_s: float) -> None:
        self.rates.append(calls / wall_s)
        self.cpu_s.append(cpu_s / calls)

    def line(self, name: str) -> str:
        return f"  {name:<34}{median(self.rates):7.0f} calls/s  {min(self.cpu_s) * 1e6:7.0f} us CPU per call"


def open_router(folder: Path, server: FastServer) -> Router:
    (folder / "routing.yaml").write_text(ROUTING.format(base=server.base_url))
    return Router.open(folder / "routing.yaml", home=folder / "home", backend=LiteLLMBackend())


def open_theirs(server: FastServer) -> Any:
    import litellm

    params = {"model": MODEL, "api_base": server.base_url, "api_key": "none"}
    client: Any = litellm
    return client.Router(model_list=[{"model_name": "m", "litellm_params": params}])


async def at_once(once: Once, calls: int) -> None:
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            await once()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def measured(figures: Figures, run: Callable[[], object], calls: int) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    figures.add(calls, time.perf_counter() - wall, time.process_time() - cpu)


def report(mine: Figures, theirs: Figures, how: str) -> None:
    throughput = median(a / b for a, b in zip(mine.rates, theirs.rates, strict=True))
    cpu = min(mine.cpu_s) / min(theirs.cpu_s)
    print(f"\n{mine.line(f'router, {how}')}\n{theirs.line(f'litellm.Router, {how}')}")
    print(f"  {how}: throughput {throughput:.2f} x litellm.Router's, CPU {cpu:.2f} x")


@pytest.fixture
def server() -> Any:
    with FastServer() as running:
        yield running


def test_64_tasks_at_once_beside_litellms_router(tmp_path: Path, server: FastServer) -> None:
    import litellm

    mine, theirs, bare = Figures(), Figures(), Figures()

    async def all_rounds(router: Router, other: Any) -> None:
        variants: list[tuple[Figures, Once]] = [
            (mine, lambda: router.acomplete("x.extract", messages=MESSAGES)),
            (theirs, lambda: other.acompletion(model="m", messages=MESSAGES)),
            (
                bare,
                lambda: litellm.acompletion(model=MODEL, messages=MESSAGES, api_base=server.base_url, api_key="none"),
            ),
        ]
        for _, once in variants:
            await at_once(once, 300)
        for _ in range(ROUNDS):
            for figures, once in variants:
                wall, cpu = time.perf_counter(), time.process_time()
                await at_once(once, CALLS)
                figures.add(CALLS, time.perf_counter() - wall, time.process_time() - cpu)

    with open_router(tmp_path, server) as router:
        asyncio.run(all_rounds(router, open_theirs(server)))
    report(mine, theirs, "64 tasks")
    print(bare.line("litellm.acompletion, 64 tasks"))


def test_64_threads_at_once_beside_litellms_router(tmp_path: Path, server: FastServer) -> None:
    mine, theirs = Figures(), Figures()
    other = open_theirs(server)
    with open_router(tmp_path, server) as router, ThreadPoolExecutor(AT_ONCE) as pool:

        def ours(_: int) -> object:
            return router.complete("x.extract", messages=MESSAGES)

        def litellms(_: int) -> object:
            return other.completion(model="m", messages=MESSAGES)

        for call in (ours, litellms):
            list(pool.map(call, range(300)))
        for _ in range(ROUNDS):
            measured(mine, lambda: list(pool.map(ours, range(CALLS))), CALLS)
            measured(theirs, lambda: list(pool.map(litellms, range(CALLS))), CALLS)
    report(mine, theirs, "64 threads")


def _resident_mb() -> float:
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def test_memory_over_100000_calls(tmp_path: Path, server: FastServer) -> None:
    part = FOR_MEMORY // 10
    seen: list[float] = []

    async def all_parts(router: Router) -> None:
        for _ in range(10):
            await at_once(lambda: router.acomplete("x.extract", messages=MESSAGES), part)
            seen.append(_resident_mb())

    with open_router(tmp_path, server) as router:
        asyncio.run(all_parts(router))
    assert server.count() == 10 * part
    print(
        f"\n  resident MB after each {part} of {10 * part} calls, 64 at once: {', '.join(f'{mb:.0f}' for mb in seen)}"
    )
    print(f"  growth from the second part to the last: {seen[-1] - seen[1]:.1f} MB")
