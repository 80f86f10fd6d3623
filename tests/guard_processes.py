"""Processes that keep to one limit, for tests that kill them or let them meet."""

import time
from pathlib import Path
from zoneinfo import ZoneInfo

from router_core.control.budgets import Guardrail
from router_core.decide.guard import Limit
from tests.builders import make_call


def now_us() -> int:
    """The machine's clock."""
    return time.time_ns() // 1000


def book_much(path: Path, times: int, nusd: int) -> None:
    """Book an amount again and again."""
    guard, call = Guardrail(path, lambda *_: None), make_call()
    guard.keep_to([Limit(name="d", limit_nusd=10**18)], ZoneInfo("UTC"))
    for _ in range(times):
        guard.settle(guard.reserve(now_us(), 1, call, critical=False), nusd, now_us())
    guard.close()
