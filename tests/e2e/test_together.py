"""Everything at once on one home, for a minute: two routers, the watcher, the dashboard and a loop of commands."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from router_core.call_log.home import Home
from router_core.call_log.read import reading
from router_core.watch import ensure_ingested
from tests.e2e.conftest import served, settled, visit
from tests.routers import ROUTING

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECONDS = 60
LOCK_ERROR = re.compile(r"set lock|conflicting|is busy|database is locked", re.IGNORECASE)
ROUTER = """
import sys, time
from router_core import Router
from router_core.backends.simulated import SimulatedBackend

made = 0
ends = time.monotonic() + float(sys.argv[2])
with Router.open(sys.argv[1], backend=SimulatedBackend()) as router:
    while time.monotonic() < ends:
        answer = router.complete("x.extract", messages=[{"role": "user", "content": f"document {made}"}],
                                 response_format={"type": "object"}, run=sys.argv[3])
        router.outcome(answer.call_id, correct=True)
        made += 1
        time.sleep(0.01)
print(made)
"""
COMMANDS = (["spend", "--by", "tier", "--json"], ["calls", "--json"], ["doctor", "--json"], ["ingest"])


def start(*command: str, home: Home) -> "subprocess.Popen[str]":
    environment = os.environ | {"TIERWISE_HOME": str(home.root)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_nobody_meets_a_lock_error_while_everything_runs_at_once(tmp_path: Path, page: Page) -> None:
    (tmp_path / "routing.yaml").write_text(ROUTING)
    home = Home(tmp_path / ".tierwise").create()
    routing = str(tmp_path / "routing.yaml")
    tierwise = (sys.executable, "-m", "dashboard.cli")
    watcher = start(*tierwise, "watch", home=home)
    routers = [
        start(sys.executable, "-c", ROUTER, routing, str(SECONDS), f"run-{index}", home=home) for index in range(2)
    ]
    complaints: list[str] = []
    ran = 0
    with served(home) as server:
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            command = COMMANDS[ran % len(COMMANDS)]
            done = start(*tierwise, *command, home=home)
            out, err = done.communicate(timeout=60)
            ran += 1
            # doctor may well find a backlog to speak of
            if done.returncode > int(command[0] == "doctor") or LOCK_ERROR.search(out + err) or "Traceback" in err:
                complaints.append(f"{command}: {done.returncode} {out[-500:]} {err[-500:]}")
            if ran % 2 == 0:
                visit(page, server.address)
                settled(page)
                expect(page.get_by_text("busy")).to_have_count(0)
    made = [int(router.communicate(timeout=30)[0]) for router in routers]
    watcher.terminate()
    _, said = watcher.communicate(timeout=30)
    assert complaints == []
    assert not LOCK_ERROR.search(said)
    assert ran >= len(COMMANDS)
    ensure_ingested(home)
    with reading(home) as log:
        row = log.execute(
            "SELECT count(*), count(DISTINCT call_id), (SELECT count(*) FROM outcomes) FROM calls"
        ).fetchone()
    assert row == (sum(made), sum(made), sum(made)), json.dumps(made)
