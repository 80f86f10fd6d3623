"""Routers on the machine's own clock: edits while they run, threads, forks, kills."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from router_core import Router
from router_core.backends.simulated import SimulatedBackend
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from tests.routers import MESSAGES, ROUTING, bounded
from tests.timing import wait_until

ANY_JSON = {"type": "json_object"}
ACCEPTING = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0}")
REFUSED = "SELECT count(*) FROM events WHERE event = 'config_refused'"
FORKING = """
import os, sys
from router_core import Router
from router_core.backends.simulated import SimulatedBackend

with Router.open(sys.argv[1], backend=SimulatedBackend()) as router:
    def ask(name):
        router.complete("x.decide", messages=[{"role": "user", "content": name}], run=name)
    ask("before")
    child = os.fork()
    ask("child" if child == 0 else "parent")
    if child == 0:
        router.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
HANGING = """
import sys
from router_core import Router
from router_core.backends.simulated import SimulatedBackend, SimulatedModel
from router_core.clock import SystemClock

slow = SimulatedBackend({"b/large": SimulatedModel(latency_ms=50_000, latency_sigma=0)}, clock=SystemClock())
router = Router.open(sys.argv[1], backend=slow)
router.complete("x.decide", messages=[{"role": "user", "content": "never answered"}], run="doomed")
"""


def write_routing(folder: Path, routing: str = ACCEPTING) -> Path:
    path = folder / "routing.yaml"
    path.write_text(routing)
    return path


def rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    ingest_once(home)
    with reading(home) as log:
        return log.execute(query).fetchall()


def ask(router: Router, name: str = "one") -> Any:
    return router.complete("x.extract", messages=MESSAGES, response_format=ANY_JSON, run=name)


def test_running_router_takes_a_saved_edit_up_and_its_next_rows_carry_the_new_version(tmp_path: Path) -> None:
    path = write_routing(tmp_path)
    with Router.open(path, backend=SimulatedBackend()) as router:
        before = router.config_version
        assert ask(router, "before").tier == "cheap"
        path.write_text(ACCEPTING.replace("[cheap, mid, top]", "[mid, top]"))
        wait_until(lambda: router.config_version != before, "the edit is taken up")
        assert ask(router, "after").tier == "mid"
        after = router.config_version
    found = rows(Home(tmp_path / ".tierwise"), "SELECT run, config_version FROM calls ORDER BY ts")
    assert found == [("before", before), ("after", after)]


def test_running_router_refuses_an_unusable_edit_and_goes_on(tmp_path: Path) -> None:
    path = write_routing(tmp_path)
    unusable = {
        "unknown tier": ACCEPTING.replace("[cheap, mid, top]", "[cheep, mid]"),
        "not built yet": f"{ACCEPTING}storage: {{sink: ducklake}}\n",
        "unpriced": ACCEPTING.replace("a/medium}", "nobody/knows-this}"),
    }
    home = Home(tmp_path / ".tierwise")
    with Router.open(path, backend=SimulatedBackend()) as router:
        before = router.config_version
        for count, text in enumerate(unusable.values(), start=1):
            path.write_text(text)
            wait_until(lambda count=count: rows(home, REFUSED) == [(count,)], "the edit is refused")
            assert ask(router).tier == "cheap"
        assert router.config_version == before


def test_threads_of_one_router_lose_and_double_nothing(tmp_path: Path) -> None:
    path = write_routing(tmp_path, bounded(ACCEPTING) + "budgets: [{name: daily, usd: 1000}]\n")
    with Router.open(path, backend=SimulatedBackend()) as router:

        def work(name: str) -> None:
            for item in range(40):
                ask(router, f"{name}-{item}")

        threads = [threading.Thread(target=work, args=(f"t{index}",)) for index in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    home = Home(tmp_path / ".tierwise")
    assert rows(home, "SELECT count(*), count(DISTINCT call_id), count(DISTINCT seq), max(seq) FROM calls") == [
        (480, 480, 480, 480)
    ]
    assert rows(home, "SELECT (SELECT sum(cost_nusd) FROM attempts) - (SELECT sum(cost_nusd) FROM calls)") == [(0,)]


def test_forked_child_logs_beside_its_parent(tmp_path: Path) -> None:
    path = write_routing(tmp_path)
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING, str(path)], check=True, timeout=60)
    found = rows(Home(tmp_path / ".tierwise"), "SELECT run, status, worker FROM calls")
    assert sorted((run, status) for run, status, _ in found) == [("before", "ok"), ("child", "ok"), ("parent", "ok")]
    workers = {run: worker for run, _, worker in found}
    assert workers["before"] == workers["parent"] != workers["child"]


def test_request_in_flight_of_a_killed_router_is_unknown_and_its_call_interrupted(tmp_path: Path) -> None:
    path, home = write_routing(tmp_path), Home(tmp_path / ".tierwise")
    with subprocess.Popen([sys.executable, "-c", HANGING, str(path)]) as process:
        wait_until(
            lambda: any('"k":"started"' in segment.read_text() for segment in home.spool.glob("*.jsonl")),
            "a request is sent",
        )
        assert rows(home, "SELECT count(*) FROM calls") == [(0,)]  # its process lives: nothing is settled yet
        os.kill(process.pid, signal.SIGKILL)
    assert rows(home, "SELECT run, status, cost_nusd > 0 FROM calls") == [("doomed", "interrupted", True)]
    assert rows(home, "SELECT status, cost_status, cost_nusd > 0 FROM attempts") == [("unknown", "unknown", True)]
