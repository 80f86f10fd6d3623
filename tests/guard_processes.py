"""Processes that keep to one limit, for tests that kill them or let them meet."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from router_core import Router
from router_core.control.budgets import Guardrail
from router_core.decide.guard import Limit
from router_core.types import Request, Response
from tests.builders import make_call
from tests.routers import MESSAGES, reply

WORST_NUSD = 1_000 * 5_000 + 100 * 20_000
"""What a request to top can cost at most under ``ROUTED``."""
ROUTED = """\
version: 1
tiers:
  cheap: [{{model: a/small, context_tokens: 1000, max_output_tokens: 100}}]
  top: [{{model: b/large, context_tokens: 1000, max_output_tokens: 100}}]
payload_types:
  w: {{path: [top]}}
  c: {{path: [top], critical: true}}
prices: {{a/small: {{input: 0.001, output: 0.001}}, b/large: {{input: 5, output: 20}}}}
budgets: [{{name: daily, usd: {usd}}}]
"""


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


@dataclass
class Dear:
    """A backend whose answers cost up to the worst there can be, each after a moment.

    Attributes:
        chance: Draws how long and how dear.
        worst: Whether every answer is the dearest.
        moment_s: Longest moment.
    """

    chance: random.Random
    worst: bool = True
    moment_s: float = 0.01

    def complete(self, request: Request) -> Response:
        time.sleep(self.chance.uniform(0, self.moment_s))
        if self.worst:
            return reply(input_tokens=1_000, output_tokens=100)
        return reply(input_tokens=self.chance.randrange(1_001), output_tokens=self.chance.randrange(101))

    async def acomplete(self, request: Request) -> Response:
        return self.complete(request)


def storm(config: Path, seed: int, threads: int, calls: int, ready: Any, go: Any, results: Connection) -> None:
    """Make calls from many threads at a signal; send what those cost that no limit moved, and how many these were."""
    with Router.open(config, backend=Dear(random.Random(seed))) as router:

        def work(_: int) -> list[Any]:
            go.wait(60)
            return [router.complete("w", messages=MESSAGES) for _ in range(calls)]

        with ThreadPoolExecutor(threads) as pool:
            running = [pool.submit(work, number) for number in range(threads)]
            ready.send(threads)
            answers = [answer for each in running for answer in each.result(120)]
    planned = [answer.cost_nusd for answer in answers if not answer.degraded]
    results.send((sum(planned), len(planned), len(answers)))


def serve_until_killed(config: Path, acks: Connection, seed: int) -> None:
    """Make calls of all kinds from a few threads until killed; say each that is done."""
    chance = random.Random(seed)
    router = Router.open(config, backend=Dear(random.Random(seed), worst=False, moment_s=0.003))

    def work(name: str) -> None:
        while True:
            router.complete(name, messages=MESSAGES)
            os.write(acks.fileno(), b"0000001\n")

    threads = [threading.Thread(target=work, args=(chance.choice("wwc"),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    threading.Event().wait()
