"""The guard on the hot path of four processes; how far a storm passes a limit; kills. Prints; gates on nothing in time.

Beside it LiteLLM's own router with ``provider_budget_config`` under the same storm: it counts spend after the answers.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from router_core.control.budgets import Guardrail
from router_core.decide.guard import Limit
from tests.builders import make_call
from tests.guard_processes import now_us
from tests.integration.test_limits_shared import Stormed, kill_again_and_again, let_loose
from tests.log_processes import end, event, pipe, start

pytestmark = pytest.mark.bench

PROCESSES = 4
CALLS = 20_000
RUNS = 50
KILLS = 100
BURST = 200
LIMIT = Limit(name="daily", limit_nusd=50_000_000_000, taper_nusd=40_000_000_000, critical_reserve_nusd=10_000_000_000)


def time_calls(path: Path, go: Any, results: Connection) -> None:
    """Ask, set aside and settle, again and again; send how long each took, microseconds."""
    guard, call = Guardrail(path, lambda *_: None), make_call()
    guard.keep_to([LIMIT], ZoneInfo("UTC"))
    go.wait(60)
    took: list[float] = []
    for _ in range(CALLS):
        at_us = now_us()
        begin = time.perf_counter_ns()
        guard.verdict(at_us, call)
        reservation = guard.reserve(at_us, 300_000, call, critical=False)
        guard.settle(reservation, 250_000, at_us)
        took.append((time.perf_counter_ns() - begin) / 1_000)
    guard.close()
    results.send(took)


def test_guard_on_the_hot_path(tmp_path: Path) -> None:
    go, ends = event(), [pipe() for _ in range(PROCESSES)]
    running = [start(time_calls, tmp_path / "control.sqlite", go, sender) for _, sender in ends]
    go.set()
    took = sorted(us for receiver, _ in ends for us in receiver.recv())
    end(running, politely=True)
    at: Callable[[float], float] = lambda share: took[int(len(took) * share)]  # noqa: E731
    print(
        f"\nguard, {PROCESSES} processes, verdict + reserve + settle: p50 {at(0.5):.1f} us, p99 {at(0.99):.0f} us, "
        f"p99.9 {at(0.999):.0f} us (leases included)"
    )
    assert len(took) == PROCESSES * CALLS


def test_storms_stay_within_the_bound(tmp_path: Path) -> None:
    storms: list[Stormed] = []
    for seed in range(RUNS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        storms.append(let_loose(folder, seed))
        assert storms[-1].over_nusd <= storms[-1].bound_nusd, seed
    over = [storm.over_nusd / 1e9 for storm in storms]
    middle, bound, free = statistics.median(over), storms[0].bound_nusd / 1e9, storms[0].free_nusd / 1e9
    print(
        f"\n{RUNS} storms of 200 concurrent calls in {PROCESSES} processes at a limit of 1 USD: passed by {middle:.3f} "
        f"in the median, by {max(over):.3f} at most; bound {bound:.3f}, without a limit {free:.3f}"
    )


def test_kills_leak_nothing(tmp_path: Path) -> None:
    for round_ in range(10):
        folder = tmp_path / str(round_)
        folder.mkdir()
        kill_again_and_again(folder, KILLS // 20, seed=100 + round_)
    print(f"\n{KILLS} processes killed at random moments: nothing is set aside, the counter is the log's sum")


def test_litellm_lets_its_burst_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of one call, and a burst of 200: LiteLLM's router and this one's guard, the same prices."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm.router import Router

    model = {
        "model": "openai/gpt-4o-mini", "api_key": "none", "mock_response": "yes",
        "input_cost_per_token": 0.01 / 20, "output_cost_per_token": 0.0,
    }  # fmt: skip
    budgets: Any = {"openai": {"budget_limit": 0.01, "time_period": "1d"}}

    async def burst() -> int:
        router = Router(model_list=[{"model_name": "m", "litellm_params": model}], provider_budget_config=budgets)

        async def one() -> bool:
            try:
                await router.acompletion(model="m", messages=[{"role": "user", "content": "x " * 20}])
            except Exception:  # noqa: BLE001 - refused
                return False
            return True

        return sum(await asyncio.gather(*(one() for _ in range(BURST))))

    through = asyncio.run(burst())
    guard, call = Guardrail(tmp_path / "control.sqlite", lambda *_: None), make_call()
    guard.keep_to([Limit(name="d", limit_nusd=10_000_000)], ZoneInfo("UTC"))
    at_us, served = now_us(), 0
    for _ in range(BURST):
        if guard.verdict(at_us, call).state == "normal":
            served += 1
            guard.reserve(at_us, 10_000_000, call, critical=False)
    print(f"\nburst of {BURST}, budget of one call: LiteLLM lets {through} through, the guard {served} as planned")
    assert served == 1
