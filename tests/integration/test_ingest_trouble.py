"""Ingest among writers that never stop, lines that do not fit, and files that were cut or put away."""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router_core.call_log.access import LogUnavailableError, elected
from router_core.call_log.doctor import diagnose
from router_core.call_log.home import Home
from router_core.call_log.ingest import MAX_ROWS_PER_COMMIT, Ingester, ingest_once
from router_core.call_log.read import reading
from router_core.call_log.segments import list_segments, list_workers
from router_core.call_log.spool import Spool
from router_core.watch import IngestFailedError, _ingest_in_subprocess, watch
from tests.builders import START_US, make_attempt_line, make_call_line, make_started_line
from tests.timing import PATIENCE_S, wait_until

NOW_US = START_US + 86_400_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def spool(home: Home) -> Iterator[Spool]:
    spool = Spool(home.spool, worker="w")
    yield spool
    spool.close()


@pytest.fixture
def ingester(home: Home) -> Iterator[Ingester]:
    ingester = Ingester(home, now_us=lambda: NOW_US)
    yield ingester
    ingester.close()


def _rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    with reading(home) as con:
        return con.execute(query).fetchall()


def _write_dead(home: Home, worker: str, *lines: dict[str, Any]) -> None:
    spool = Spool(home.spool, worker=worker)
    spool.write(*lines)
    spool.close()


def test_tick_ends_and_settles_the_dead_while_a_writer_never_stops(
    home: Home, spool: Spool, ingester: Ingester
) -> None:
    commits = 0

    def write_on(done: int, total: int) -> None:
        nonlocal commits
        commits += 1
        assert (done, commits) == (total, 1)
        spool.write(make_call_line(call_id=f"c-later-{commits}"))

    _write_dead(home, "killed", make_started_line({"attempt_id": "a-0", "call_id": "c-0"}))
    spool.write(make_call_line(call_id="c-1"))
    report = ingester.tick(progress=write_on)

    assert (report.is_behind, report.backlog_bytes > 0) == (False, True)
    assert _rows(home, "SELECT call_id, status FROM calls ORDER BY 1") == [("c-0", "interrupted"), ("c-1", "ok")]
    assert list_workers(home.spool) == {"w"}


def test_line_that_is_half_there_when_a_tick_begins_waits_for_the_next(
    home: Home, spool: Spool, ingester: Ingester
) -> None:
    spool.write(make_call_line(call_id="c-1"))
    path = list_segments(home.spool)[0].path
    with path.open("ab") as file:
        file.write(b'{"k":"call","call_id":')
    report = ingester.tick(progress=lambda done, total: _append(path, b'"c-2"}\n'))
    first = _rows(home, "SELECT call_id FROM calls")
    ingester.tick()

    assert (report.lines, report.quarantined, first) == (1, 0, [("c-1",)])
    assert _rows(home, "SELECT call_id FROM calls ORDER BY 1") == [("c-1",), ("c-2",)]


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_tick_that_stops_early_says_so_and_leaves_the_dead_for_later(home: Home, ingester: Ingester) -> None:
    lines = [make_call_line(call_id=f"c-{n}") for n in range(MAX_ROWS_PER_COMMIT + 1)]
    _write_dead(home, "killed", *lines)
    first = ingester.tick(max_commits=1)
    workers = list_workers(home.spool)
    second = ingester.tick(max_commits=1)

    assert (first.is_behind, second.is_behind) == (True, False)
    assert (workers, list_workers(home.spool)) == ({"killed"}, set())


def test_command_that_waits_for_a_long_ingest_gives_up_with_advice(home: Home) -> None:
    with pytest.raises(IngestFailedError, match=r"0\.001 s did not suffice to catch up; run: tierwise ingest"):
        _ingest_in_subprocess(home, timeout_s=0.001)


def test_segment_that_lost_its_end_with_the_power_is_put_away(home: Home, spool: Spool) -> None:
    spool.write(make_attempt_line(), make_call_line())
    ingest_once(home)
    segment = list_segments(home.spool)[0]
    os.truncate(segment.path, segment.size - 10)
    spool.close()
    report = ingest_once(home)

    assert (report.lines, report.backlog_bytes) == (0, 0)
    assert list_workers(home.spool) == set()
    assert _rows(home, "SELECT status FROM calls") == [("ok",)]


def test_bad_lines_take_no_good_line_of_their_batch_along(home: Home, spool: Spool) -> None:
    spool.write(make_call_line(call_id="c-1", run=42, cost_nusd="17", latency_ms=True))  # text of 42, 17 and 1.0
    spool.write(make_call_line(call_id="c-2", n="one", cost_nusd="one"))
    spool.write(make_call_line(call_id="c-3", ts=10**18))
    spool.write(make_call_line(call_id="c-4"))
    report = ingest_once(home)

    assert (report.rows, report.quarantined) == ({"calls": 2}, 2)
    assert _rows(home, "SELECT call_id, run, cost_nusd FROM calls ORDER BY 1") == [
        ("c-1", "42", 17),
        ("c-4", None, make_call_line()["cost_nusd"]),
    ]
    assert _rows(home, "SELECT reason FROM quarantine ORDER BY line_offset") == [
        ("cost_nusd: 'one' is not a whole number",),
        ("ts: '1000000000000000000' is not microseconds since the epoch",),
    ]


def test_instant_that_cannot_be_shown_is_refused_in_any_company(home: Home, spool: Spool) -> None:
    spool.write(make_call_line(ts=10**18))

    assert ingest_once(home).quarantined == 1


def test_attempt_line_that_is_refused_leaves_its_item_in_flight(home: Home) -> None:
    _write_dead(
        home,
        "killed",
        make_started_line({"attempt_id": "a-1", "call_id": "c-1"}),
        make_attempt_line(attempt_id="a-1", call_id="c-1", cost_nusd="much"),
        make_call_line(call_id="c-1"),
        make_attempt_line(attempt_id="a-2", call_id="c-2", cost_nusd="much"),
        make_started_line({"attempt_id": "a-3", "call_id": "c-3"}),
        make_attempt_line(attempt_id="a-3", call_id="c-3", cost_nusd=5),
        make_call_line(call_id="c-3", cost_nusd="much"),
    )
    report = ingest_once(home)

    assert report.quarantined == 3
    assert _rows(home, "SELECT attempt_id, status, cost_nusd FROM attempts ORDER BY 1") == [
        ("a-1", "unknown", 150_000),
        ("a-3", "ok", 5),
    ]
    assert _rows(home, "SELECT call_id, status FROM calls ORDER BY 1") == [("c-1", "ok"), ("c-3", "interrupted")]


def test_interrupted_call_keeps_what_the_guardrail_said(home: Home) -> None:
    said = {"guard_state": "capped", "budget_scope": "daily", "degraded": True}
    _write_dead(home, "killed", make_started_line(said))
    ingest_once(home)

    assert _rows(home, "SELECT status, guard_state, budget_scope, degraded FROM calls") == [
        ("interrupted", "capped", "daily", True)
    ]


def test_log_that_cannot_be_opened_now_is_not_to_be_moved_away(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    home.log.mkdir()  # as much an error of the file system as too many open files or a full disk

    for attempt in (ingest_once, _read):
        with pytest.raises(LogUnavailableError, match=r"cannot be opened now .* try again"):
            attempt(home)


def _read(home: Home) -> None:
    with reading(home):
        pass


def test_watch_outlasts_a_log_that_cannot_be_opened_for_a_while(home: Home, spool: Spool) -> None:
    waits, stop = threading.Event(), threading.Event()
    handler = _Telling(waits)
    logging.getLogger("router_core.watch").addHandler(handler)
    spool.write(make_call_line())
    home.log.mkdir()
    watcher = threading.Thread(target=watch, args=(home,), kwargs={"interval_s": 0.01, "stop": stop})
    watcher.start()
    try:
        assert waits.wait(PATIENCE_S)
        home.log.rmdir()
        wait_until(home.log.is_file, "there is a log")
    finally:
        stop.set()
        watcher.join(PATIENCE_S)
        logging.getLogger("router_core.watch").removeHandler(handler)
    assert _rows(home, "SELECT count(*) FROM calls") == [(1,)]


class _Telling(logging.Handler):
    def __init__(self, told: threading.Event) -> None:
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        if "ingest waits" in record.getMessage():
            self._told.set()


def test_election_is_not_lost_to_somebody_who_only_looks(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    looker = os.open(home.watch_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(looker, fcntl.LOCK_SH)
    tries: list[float] = []

    def leave_after_some(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 3:
            os.close(looker)

    monkeypatch.setattr("router_core.call_log.access.time", SimpleNamespace(sleep=leave_after_some))
    with elected(home) as election:
        assert election
    assert len(tries) == 3


def test_worker_on_a_host_named_import_is_no_import(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "import")
    spool = Spool(home.spool)
    spool.write(make_attempt_line())
    spool.close()
    (segment,) = list_segments(home.spool)

    assert segment.name.startswith("import-")
    assert not segment.is_import


def test_ledger_forgets_segments_that_are_no_longer_kept(home: Home) -> None:
    for worker in ("old", "kept"):
        _write_dead(home, worker, make_call_line(call_id=worker))
    ingest_once(home)
    os.utime(home.spool / "done" / "old-1.jsonl", (0, 0))
    ingest_once(home, keep_days=30)

    assert _rows(home, "SELECT segment FROM ledger") == [("kept-1.jsonl",)]
    assert _rows(home, "SELECT call_id FROM calls ORDER BY 1") == [("kept",), ("old",)]


def test_backlog_that_is_younger_than_the_look_at_the_clock_is_zero_seconds_old(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    written_s = list_segments(home.spool)[0].path.stat().st_mtime
    backlog = next(found for found in diagnose(home, Path("none.yaml"), written_s - 0.4) if found.name == "backlog")

    assert backlog.text.endswith("last written up to 0 s ago")
