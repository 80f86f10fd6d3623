"""Routers in many processes, threads and event loops at once, over real HTTP and real time."""

import asyncio
import itertools
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from router_core import Router
from router_core.backends.simulated import SimulatedBackend
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.clock import SystemClock
from tests.openai_server import OpenAIServer, echo
from tests.routers import MESSAGES, ROUTING, bounded
from tests.timing import PATIENCE_S

ROOT = Path(__file__).parents[2]
WIRED = """\
version: 1
tiers: {{cheap: [{{model: openai/echo, api_base: "{base}"}}]}}
payload_types: {{x.extract: {{path: [cheap]}}}}
prices: {{openai/echo: {{input: 1, output: 1}}}}
"""
EDITED = """\
version: 1
tiers: {{{tier}: [{{model: a/small}}]}}
payload_types: {{x.extract: {{path: [{tier}]}}}}
prices: {{a/small: {{input: {price}, output: 1}}}}
"""
ACCEPTING = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0}")


def rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    ingest_once(home)
    with reading(home) as log:
        return log.execute(query).fetchall()


def test_forked_workers_answer_their_own_questions_over_connections_of_their_own(tmp_path: Path) -> None:
    """The way of gunicorn with preload: opened, warm and in use in the parent; then every child serves."""
    children, threads, calls = 4, 4, 4
    path = tmp_path / "routing.yaml"
    with OpenAIServer() as server:
        server.script("echo", echo(latency_s=0.01))
        path.write_text(WIRED.format(base=server.base_url))
        command = [sys.executable, "-m", "tests.forking", str(path), *map(str, (children, threads, calls))]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
        assert (done.returncode, done.stderr) == (0, "")
        hits = Counter(hit.request_id for hit in server.hits)
    per_process = threads * calls + calls
    expected = (threads * 2 + 2) + (children + 2) * per_process
    found = rows(Home(tmp_path / ".tierwise"), "SELECT request_id, status FROM attempts")
    assert Counter(request_id for request_id, _ in found) == hits
    assert (len(found), {status for _, status in found}) == (expected, {"ok"})


def spawned(path: str, name: str, calls: int) -> None:
    with Router.open(path, backend=SimulatedBackend()) as router:
        for call in range(calls):
            router.complete("x.decide", messages=MESSAGES, run=f"{name}-{call}")


def test_spawned_processes_share_a_home(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text(bounded(ACCEPTING) + "budgets: [{name: daily, usd: 1000}]\n")
    context = get_context("spawn")
    processes = [context.Process(target=spawned, args=(str(path), f"p{n}", 20)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in processes] == [0, 0]
    home = Home(tmp_path / ".tierwise")
    assert rows(home, "SELECT count(*), count(DISTINCT run), count(DISTINCT worker) FROM calls") == [(40, 40, 2)]


def test_threads_and_event_loops_share_a_router(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text(ACCEPTING)
    with Router.open(path, backend=SimulatedBackend()) as router:

        def in_thread(number: int) -> None:
            for call in range(25):
                router.complete("x.extract", messages=MESSAGES, run=f"thread-{number}-{call}")

        async def on_loop(number: int) -> None:
            names = [f"loop-{number}-{call}" for call in range(25)]
            await asyncio.gather(*(router.acomplete("x.extract", messages=MESSAGES, run=name) for name in names))

        with ThreadPoolExecutor(8) as pool:
            threads = [pool.submit(in_thread, number) for number in range(5)]
            loops = [pool.submit(asyncio.run, on_loop(number)) for number in range(3)]
            for each in (*threads, *loops):
                each.result(PATIENCE_S)
    home = Home(tmp_path / ".tierwise")
    assert rows(home, "SELECT count(*), count(DISTINCT run), count(DISTINCT seq), max(seq) FROM calls") == [
        (200, 200, 200, 200)
    ]


def test_no_call_fails_or_mixes_versions_while_the_config_changes_a_thousand_times(tmp_path: Path) -> None:
    edits, path = 1_000, tmp_path / "routing.yaml"
    path.write_text(EDITED.format(tier="t0", price=0.5))
    said: dict[str, tuple[str, int]] = {}
    stop = threading.Event()
    failed: list[BaseException] = []
    # with a clock of its own nobody else looks at the file, so that all edits are this thread's
    with Router.open(path, backend=SimulatedBackend(), clock=SystemClock()) as router:

        def work(number: int) -> None:
            for call in itertools.count():
                if stop.is_set():
                    return
                try:
                    router.complete("x.extract", messages=MESSAGES, run=f"{number}-{call}")
                except BaseException as error:  # noqa: BLE001 - told below
                    failed.append(error)
                    return
                stop.wait(0.02)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for edit in range(1, edits + 1):
            # each version has a price and a tier of its own
            fresh = tmp_path / "edit"
            fresh.write_text(EDITED.format(tier=f"t{edit}", price=edit))
            fresh.replace(path)
            router.reload()
            said[router.config_version] = (f"t{edit}", edit * 1_000_000_000)
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert failed == []
    assert len(said) == edits
    home = Home(tmp_path / ".tierwise")
    both = (
        "a.config_version, a.tier, a.price_in, c.config_version, c.status FROM attempts a JOIN calls c USING (call_id)"
    )
    seen = [row for row in rows(home, f"SELECT {both}") if row[0] in said]
    assert all((tier, price) == said[version] for version, tier, price, _, _ in seen)
    assert all((of_call, status) == (version, "ok") for version, _, _, of_call, status in seen)
    assert len({row[0] for row in seen}) > 50
