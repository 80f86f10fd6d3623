"""A router that runs in another process obeys a change within a second, and keeps history when it finds one."""

import itertools
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from router_core import Router
from router_core.backends.simulated import SimulatedBackend
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from tests.decisions import ADA, REASON, Place
from tests.timing import best_of

ROUTER = """
import json, sys, time
from router_core import Router
from router_core.backends.simulated import SimulatedBackend

with Router.open(sys.argv[1], backend=SimulatedBackend()) as router:
    while True:
        answer = router.complete("x.extract", messages=[{"role": "user", "content": "one"}])
        print(json.dumps([time.time(), answer.tier, router.config_version]), flush=True)
        time.sleep(0.02)
"""


def moved(place: Place) -> bytes:
    return place.config.read_bytes().replace(b"x.extract: {path: [top]", b"x.extract: {path: [mid]")


class Running:
    """A router in a process of its own; what it says is taken down."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.said: list[tuple[float, str, str]] = []
        self._news = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.said.append(tuple(json.loads(line)))
                self._news.notify_all()

    def wait_for(self, tier: str, after_s: float) -> tuple[float, str, str]:
        """Return the first call on a tier after an instant."""

        def found() -> Any:
            return next((each for each in self.said if each[0] >= after_s and each[1] == tier), None)

        with self._news:
            assert self._news.wait_for(lambda: found() is not None, 30), self.said[-3:]
        return found()


@contextmanager
def running_router(path: Path) -> Generator[Running]:
    with subprocess.Popen([sys.executable, "-c", ROUTER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, now_us=time.time_ns() // 1000)


def test_a_running_router_uses_the_new_tier_within_a_second_and_the_old_one_after_undo(tmp_path: Path) -> None:
    rounds = itertools.count()

    def longest_s() -> float:
        return change_and_undo_s(Place(tmp_path / f"{next(rounds)}", now_us=time.time_ns() // 1000))

    assert best_of(longest_s, limit_s=1, tries=3) <= 1


def change_and_undo_s(place: Place) -> float:
    """How long a running router went on as before, at the longer of two changes."""
    (proposal,) = place.publish()
    with running_router(place.config) as router:
        router.wait_for("top", 0)
        done = place.apply(proposal)
        applied_s = time.time()
        seen_s, _, version = router.wait_for("mid", applied_s - 1)
        assert version == done.version
        change_s = seen_s - applied_s
        undone = place.desk.undo(done.seq, ADA, REASON, expected_version=done.version)
        undone_s = time.time()
        seen_s, _, version = router.wait_for("top", undone_s)
        assert version == undone.version
        undo_s = seen_s - undone_s
    ingest_once(place.home)
    with reading(place.home) as log:
        rows = log.execute("SELECT DISTINCT config_version, tier_served FROM calls").fetchall()
    assert sorted(rows) == sorted([(done.version, "mid"), (done.before_version, "top")])
    assert [kind for kind, _ in place.versions()] == ["first", "apply", "undo"], "the router adds none of its own"
    return max(change_s, undo_s)


def test_a_running_router_gives_a_hand_edit_its_number(place: Place) -> None:
    with running_router(place.config) as router:
        router.wait_for("top", 0)
        edited_s = time.time()
        place.config.write_bytes(moved(place))
        router.wait_for("mid", edited_s)
        wait_until(lambda: len(place.desk.history()) == 2)
    assert [kind for kind, _ in place.versions()] == ["first", "hand"]
    head = place.desk.head()
    assert (head.seq, head.kind, head.by) == (2, "hand", None)


def test_a_store_that_cannot_be_used_never_hurts_the_router(place: Place) -> None:
    place.home.create()
    place.home.control.write_bytes(b"not a database" * 100)
    with Router.open(place.config, backend=SimulatedBackend()) as router:
        wait_until(lambda: any('"config_history"' in each.read_text() for each in place.home.spool.glob("*.jsonl")))
        assert router.complete("x.extract", messages=[{"role": "user", "content": "one"}]).tier == "top"
        place.config.write_bytes(moved(place))
        before = router.config_version
        wait_until(lambda: router.config_version != before)
        assert router.complete("x.extract", messages=[{"role": "user", "content": "one"}]).tier == "mid"
    told = [
        json.loads(line)
        for segment in place.home.spool.glob("*.jsonl")
        for line in segment.read_text().splitlines()
        if '"config_history"' in line
    ]
    assert [each["details"]["state"] for each in told] == ["unavailable"], "said once"


def test_a_router_that_is_opened_numbers_the_first_version_and_finishes_what_a_crash_cut_off(place: Place) -> None:
    with Router.open(place.config, backend=SimulatedBackend()):
        wait_until(lambda: len(place.desk.history()) == 1)
    assert place.desk.head().seq == 1
    with closing(sqlite3.connect(place.home.control)) as con:
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def wait_until(condition: Any, limit_s: float = 20.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.02)
