"""Shadows on the machine's own clock: threads, event loops, forks, exits, kills."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router_core import RequestRejectedError, Router, ShadowAnswer
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.types import Request, Response
from tests.log_processes import Acks, end, serve_with_hanging_shadow, start
from tests.routers import MESSAGES, ROUTING, SCHEMA, reply

TOP_NUSD = 100 * 5_000 + 10 * 20_000
SHADOWED = ROUTING.replace("path: [cheap, mid, top]", "path: [cheap, mid, top], shadow: [{tier: top, rate: 1}]")
# the messages of the tests are 100 tokens long by the estimate's count too, so that estimates are what is paid
EXACT = [{"role": "user", "content": "x" * 400}]
EXITING = """
import sys, threading
from router_core import Router
from tests.routers import MESSAGES, reply

class Hangs:
    def complete(self, request):
        if request.model == "b/large":
            print("shadow", flush=True)
            threading.Event().wait()
        return reply()

router = Router.open(sys.argv[1], backend=Hangs())
for _ in range(10):
    router.complete("x.extract", messages=MESSAGES, response_format={"type": "json_object"})
"""


class Backend:
    """Answers at once; the top tier, which only shadows ask here, waits at a gate."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.gate = threading.Event()
        self.inside = 0
        self.most_inside = 0
        self.seen: list[Request] = []
        self._lock = threading.Lock()
        if is_open:
            self.gate.set()

    def complete(self, request: Request) -> Response:
        if request.model == "b/large":
            with self._lock:
                self.seen.append(request)
                self.inside += 1
                self.most_inside = max(self.inside, self.most_inside)
            assert self.gate.wait(30)
            with self._lock:
                self.inside -= 1
        return reply()

    async def acomplete(self, request: Request) -> Response:
        await asyncio.sleep(0)
        return reply()


def open_router(folder: Path, backend: Backend, budget_usd: float = 1.0, **kwargs: Any) -> Router:
    path = folder / "routing.yaml"
    path.write_text(f"{SHADOWED}shadow_budget: {{usd: {budget_usd:.9f}}}\n")
    return Router.open(path, backend=backend, **kwargs)


def ask(router: Router, messages: Any = MESSAGES) -> Any:
    return router.complete("x.extract", messages=messages, response_format=SCHEMA)


def ask_forever(router: Router) -> None:
    while True:
        ask(router)


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    home = Home(folder / ".tierwise")
    ingest_once(home)
    with reading(home) as log:
        return log.execute(query).fetchall()


def wait_for(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.005)


def test_served_call_does_not_wait_for_its_shadow(tmp_path: Path) -> None:
    backend = Backend(is_open=False)
    told: list[ShadowAnswer] = []
    with open_router(tmp_path, backend, on_shadow=told.append) as router:
        answers = [ask(router) for _ in range(3)]  # all shadows stand at the gate meanwhile
        wait_for(lambda: len(backend.seen) == 3)
        assert told == []
        backend.gate.set()
        wait_for(lambda: len(told) == 3)
    assert {each.call_id for each in told} == {answer.call_id for answer in answers}
    query = "SELECT count(*) FILTER (role = 'shadow' AND status = 'ok'), count(*) FROM attempts"
    assert rows(tmp_path, query) == [(3, 6)]


def test_event_loop_goes_on_while_its_shadows_run(tmp_path: Path) -> None:
    backend = Backend(is_open=False)

    async def main(router: Router) -> list[Any]:
        asked = [router.acomplete("x.extract", messages=MESSAGES, response_format=SCHEMA) for _ in range(3)]
        answers = await asyncio.gather(*asked)
        backend.gate.set()
        return answers

    told: list[ShadowAnswer] = []
    with open_router(tmp_path, backend, on_shadow=told.append) as router:
        answers = asyncio.run(asyncio.wait_for(main(router), 10))
        wait_for(lambda: len(told) == 3)
    assert {each.call_id for each in told} == {answer.call_id for answer in answers}


def test_messages_that_the_caller_goes_on_writing_are_sent_as_they_were(tmp_path: Path) -> None:
    backend = Backend(is_open=False)
    with open_router(tmp_path, backend) as router:
        for _ in range(6):  # more than there are threads: the last ones are sent only later
            messages = [{"role": "user", "content": "first"}]
            ask(router, messages)
            messages[0]["content"] = "changed"
            messages.append({"role": "assistant", "content": "yes"})
        backend.gate.set()
        wait_for(lambda: len(backend.seen) == 6)
    assert [list(request.messages) for request in backend.seen] == [[{"role": "user", "content": "first"}]] * 6


def test_queue_is_bounded_and_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    backend = Backend(is_open=False)
    with open_router(tmp_path, backend) as router:
        for _ in range(100):
            ask(router)
        wait_for(lambda: len(backend.seen) == 4)
        backend.gate.set()
        wait_for(lambda: len(backend.seen) == 68)  # 4 threads and 64 waiting
    assert backend.most_inside == 4
    ((dropped,),) = rows(tmp_path, "SELECT sum((details->>'queue')::INT) FROM events WHERE event = 'shadows_dropped'")
    assert dropped == 32
    assert rows(tmp_path, "SELECT count(*) FROM attempts WHERE role = 'shadow'") == [(68,)]


def test_shadow_budget_is_never_exceeded_under_32_concurrent_calls(tmp_path: Path) -> None:
    """Estimates are exact here; what is spent and what is set aside together never pass the budget."""
    backend = Backend()
    budget_usd = 10.5 * TOP_NUSD / 1e9
    with open_router(tmp_path, backend, budget_usd) as router:
        for _ in range(3):
            ask(router, EXACT)  # so that sizes of answers are known

        def work() -> None:
            for _ in range(20):
                ask(router, EXACT)

        threads = [threading.Thread(target=work) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: not backend.inside)
    ((spent, made),) = rows(tmp_path, "SELECT sum(cost_nusd), count(*) FROM attempts WHERE role = 'shadow'")
    assert (spent, made) == (10 * TOP_NUSD, 10)
    with sqlite3.connect(tmp_path / ".tierwise" / "control.sqlite") as store:
        query = "SELECT noncritical_nusd FROM budget_spend WHERE budget = 'shadow_budget'"
        assert store.execute(query).fetchall() == [(10 * TOP_NUSD,)]
    assert rows(tmp_path, "SELECT count(*), sum(cost_nusd) / 14000 FROM calls WHERE status = 'ok'") == [(643, 643)]


def test_two_routers_share_the_shadow_budget(tmp_path: Path) -> None:
    done: list[ShadowAnswer] = []
    budget_usd = 4.5 * TOP_NUSD / 1e9
    with (
        open_router(tmp_path, Backend(), budget_usd, on_shadow=done.append) as first,
        Router.open(tmp_path / "routing.yaml", backend=Backend(), on_shadow=done.append) as second,
    ):
        for count, router in enumerate((first, second) * 6, start=1):
            ask(router, EXACT)
            wait_for(lambda count=count: len(done) == min(count, 4))
    assert rows(tmp_path, "SELECT count(*) FROM attempts WHERE role = 'shadow'") == [(4,)]


def test_close_lets_running_shadows_end_and_drops_the_waiting_ones(tmp_path: Path) -> None:
    backend = Backend(is_open=False)
    router = open_router(tmp_path, backend)
    for _ in range(10):
        ask(router)
    wait_for(lambda: len(backend.seen) == 4)
    threading.Timer(0.2, backend.gate.set).start()
    router.close()
    assert len(backend.seen) == 4
    assert rows(tmp_path, "SELECT status, count(*) FROM attempts WHERE role = 'shadow' GROUP BY 1") == [("ok", 4)]
    assert rows(tmp_path, "SELECT details->>'closed' FROM events WHERE event = 'shadows_dropped'") == [("6",)]


def test_close_does_not_wait_long_and_leaves_no_started_shadow_without_its_line(tmp_path: Path) -> None:
    backend = Backend(is_open=False)
    told: list[ShadowAnswer] = []
    router = open_router(tmp_path, backend, on_shadow=told.append)
    for _ in range(3):
        ask(router)
    wait_for(lambda: len(backend.seen) == 3)
    began = time.monotonic()
    router.close()
    assert time.monotonic() - began < 5
    backend.gate.set()
    wait_for(lambda: not backend.inside)
    time.sleep(0.1)  # what comes back now is nobody's any more
    query = "SELECT status, cost_status, count(*), sum(cost_nusd) > 0 FROM attempts WHERE role = 'shadow' GROUP BY ALL"
    assert rows(tmp_path, query) == [("cancelled", "unknown", 3, True)]
    assert [each.status for each in told] == ["cancelled"] * 3
    assert len(list((tmp_path / ".tierwise" / "spool").glob("*.lock"))) == 0


def test_exit_is_not_held_up_by_a_shadow_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text(f"{SHADOWED}shadow_budget: {{usd: 1}}\n")
    began = time.monotonic()
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", EXITING, str(path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    assert time.monotonic() - began < 30
    assert done.stdout.count("shadow") == 4
    assert done.stderr == ""
    query = "SELECT status, count(*) FROM attempts WHERE role = 'shadow' GROUP BY 1"
    assert rows(tmp_path, query) == [("cancelled", 4)]
    assert rows(tmp_path, "SELECT count(*) FROM calls WHERE status = 'ok' AND attempts = 1") == [(10,)]
    assert rows(tmp_path, "SELECT details->>'closed' FROM events WHERE event = 'shadows_dropped'") == [("6",)]


def test_kill_makes_a_started_shadow_unknown_and_leaves_its_call_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "routing.yaml").write_text(f"{SHADOWED}shadow_budget: {{usd: 1}}\n")
    acks = Acks()
    process = start(serve_with_hanging_shadow, tmp_path / "routing.yaml", acks.sender)
    acks.wait_for(1)
    assert rows(tmp_path, "SELECT role, status FROM attempts") == [("serve", "ok")]  # it still lives
    end([process])
    acks.all()
    found = rows(tmp_path, "SELECT role, status, cost_status, cost_nusd > 0, propensity, n FROM attempts ORDER BY n")
    assert found == [("serve", "ok", "exact", True, None, 1), ("shadow", "unknown", "unknown", True, 1.0, 2)]
    assert rows(tmp_path, "SELECT status, cost_nusd, attempts FROM calls") == [("ok", 14_000, 1)]
    assert rows(tmp_path, "SELECT sum(n) FROM rollup_attempts") == [(2,)]
    assert rows(tmp_path, "SELECT status, sum(n) FROM rollup_calls GROUP BY 1") == [("ok", 1)]


def test_forked_child_makes_shadows_of_its_own_and_leaves_the_parents_to_it(tmp_path: Path) -> None:
    backend = Backend(is_open=False)
    with open_router(tmp_path, backend) as router:
        for _ in range(6):  # four run and two wait when the child is made
            ask(router)
        wait_for(lambda: len(backend.seen) == 4)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                backend.gate.set()
                ask(router)
                wait_for(lambda: len(backend.seen) == 5)
                router.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        backend.gate.set()
        wait_for(lambda: len(backend.seen) == 6)
    query = "SELECT status, count(*), count(DISTINCT attempt_id) FROM attempts WHERE role = 'shadow' GROUP BY 1"
    assert rows(tmp_path, query) == [("ok", 7, 7)]
    assert rows(tmp_path, "SELECT count(*) FROM calls WHERE status = 'ok'") == [(7,)]


def test_signal_handler_may_close_the_router_while_shadows_run(tmp_path: Path) -> None:
    backend = Backend()
    router = open_router(tmp_path, backend)
    # the first ones import what they need, and an import that is interrupted keeps every shadow waiting for it
    for _ in range(5):
        ask(router)
    wait_for(lambda: len(backend.seen) == 5 and not backend.inside)

    def close(*_: object) -> None:
        router.close()

    before = signal.signal(signal.SIGALRM, close)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(RequestRejectedError, match="closed"):
            ask_forever(router)
    finally:
        signal.signal(signal.SIGALRM, before)
    query = "SELECT status, count(*), count(DISTINCT attempt_id) FROM attempts WHERE role = 'shadow' GROUP BY 1"
    ended = {status: (lines, shadows) for status, lines, shadows in rows(tmp_path, query)}
    # the handler may have stopped its thread inside a lock that running shadows need to end: these, at most four, are
    # cancelled; none stays open (unknown), fails, or has two lines
    assert ended.keys() <= {"ok", "cancelled"}
    assert all(lines == shadows for lines, shadows in ended.values())
    assert ended.get("cancelled", (0, 0))[0] <= 4
    assert ended["ok"][0] >= 5


FORKING = """
import os, sys, time
from pathlib import Path
from router_core import Router
from tests.routers import reply

class Backend:
    def complete(self, request):
        return reply()

def ask():
    messages = [{"role": "user", "content": "x" * 400}]
    for _ in range(15):
        router.complete("x.extract", messages=messages, response_format={"type": "json_object"})
        time.sleep(0.004)

children = []
for n in range(8):
    folder = Path(sys.argv[1]) / str(n)
    folder.mkdir()
    (folder / "routing.yaml").write_text(sys.argv[2])
    router = Router.open(folder / "routing.yaml", backend=Backend())
    until = time.monotonic() + 0.05 + 0.005 * n  # about when the first version goes into history
    while time.monotonic() < until:
        ask()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            ask()
            router.close()
            os._exit(0)
        children.append(child)
    ask()
    router.close()
assert {os.waitpid(child, 0)[1] for child in children} == {0}
"""


def test_children_forked_while_the_store_is_in_use_book_all_they_spend(tmp_path: Path) -> None:
    routing = f"{SHADOWED}shadow_budget: {{usd: 1}}\n"
    subprocess.run([sys.executable, "-c", FORKING, str(tmp_path), routing], check=True, timeout=60)
    for folder in sorted(tmp_path.iterdir()):
        ((spent,),) = rows(folder, "SELECT sum(cost_nusd)::BIGINT FROM attempts WHERE role = 'shadow'")
        store = sqlite3.connect(folder / ".tierwise" / "control.sqlite")
        assert store.execute("SELECT sum(noncritical_nusd) FROM budget_spend").fetchone() == (spent,)
        store.close()
