"""Several processes around one log: who may open it when, and what each of them sees."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from router_core.call_log.access import elected, is_watched
from router_core.call_log.home import Home
from router_core.call_log.ingest import Ingester, ingest_once
from router_core.call_log.read import LogBusyError, NoLogError, freshness, reading
from router_core.call_log.spool import Spool
from router_core.errors import ConfigError
from router_core.watch import IngestFailedError, ensure_ingested, start_watch
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line, make_started_line
from tests.log_processes import Acks, end, event, ingest_politely, pipe, read_forever, start, write_calls
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


def _count_calls(home: Home) -> int:
    with reading(home, timeout_s=PATIENCE_S) as con:
        row = con.execute("SELECT count(*) FROM calls").fetchone()
    assert row is not None
    return int(row[0])


def _intrude(path: str, asked: Any, answers: Any) -> None:
    """Try to open the file for writing and for reading whenever asked; answer how often that worked."""
    while asked.recv():
        opened = 0
        for read_only in (False, True):
            try:
                duckdb.connect(path, read_only=read_only).close()
                opened += 1
            except duckdb.IOException:
                pass
        answers.send(opened)


class _Probe:
    """The writer's connection; another process tries to open the file before and after each statement."""

    def __init__(self, con: duckdb.DuckDBPyConnection, ask: Any, answers: Any) -> None:
        self._con = con
        self._ask = ask
        self._answers = answers
        self.is_attached = False
        self.statements: list[str] = []
        self.intrusions: list[str] = []

    def execute(self, query: str, *arguments: Any) -> duckdb.DuckDBPyConnection:
        """Run a statement between two attempts to intrude."""
        first = query.split(maxsplit=1)[0]
        self._try(query)
        result = self._con.execute(query, *arguments)
        self.is_attached = self.is_attached or first == "ATTACH"
        if first == "DETACH":
            self.is_attached = False
        self._try(query)
        return result

    def _try(self, query: str) -> None:
        if self.is_attached:
            self._ask.send(True)
            self.statements.append(query.split(maxsplit=1)[0])
            if self._answers.recv() > 0:
                self.intrusions.append(query)

    def close(self) -> None:
        """Close the connection."""
        self._con.close()


def test_no_second_process_can_open_the_file_from_attach_to_detach(home: Home, spool: Spool) -> None:
    spool.write(make_started_line(), make_attempt_line(), make_call_line(), make_outcome_line())
    ingest_once(home)
    (asked, ask), (answers, answer) = pipe(), pipe()
    intruder = start(_intrude, str(home.log), asked, answer)
    ingester = Ingester(home, now_us=lambda: NOW_US)
    probe = _Probe(ingester._file.con, ask, answers)
    for part in (ingester._file, ingester._stage):
        setattr(part, "con" if part is ingester._file else "_con", probe)
    spool.write(make_started_line({"attempt_id": "a-2"}), make_call_line(call_id="c-2"), make_outcome_line())
    spool.close()
    ingester.tick()
    ingester.close()
    ask.send(True)
    afterwards = answers.recv()
    ask.send(False)
    intruder.join(PATIENCE_S)

    assert {"ATTACH", "BEGIN", "INSERT", "DELETE", "COMMIT"} <= set(probe.statements)
    assert probe.intrusions == []
    assert afterwards == 2


def test_second_ingester_is_told_that_another_one_is_at_work(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    with elected(home) as mine:
        assert mine
        report = ingest_once(home)

    assert report.busy
    assert not home.log.exists()


def test_writer_of_a_home_that_was_removed_does_not_write_the_one_made_in_its_place(home: Home) -> None:
    with elected(home) as before:
        shutil.rmtree(home.root)
        assert not before
        with elected(home.create()) as after:
            assert (bool(before), bool(after)) == (False, True)


def test_watch_ends_when_its_home_is_gone(home: Home) -> None:
    watcher = start_watch(home)
    assert watcher is not None
    _wait_until_watched(home)
    shutil.rmtree(home.root)
    assert watcher.wait(PATIENCE_S) == 0


def test_reader_waits_for_the_writer_and_then_reads(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    ingest_once(home)
    counts: list[int] = []
    held, release = event(), event()
    holder = start(_hold_open, str(home.log), held, release)
    assert held.wait(PATIENCE_S)
    reader = threading.Thread(target=lambda: counts.append(_count_calls(home)))
    reader.start()
    release.set()
    reader.join(PATIENCE_S)
    holder.join(PATIENCE_S)

    assert counts == [1]


def test_reader_gives_up_with_a_clear_error_when_the_log_stays_locked(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    ingest_once(home)
    held, release = event(), event()
    holder = start(_hold_open, str(home.log), held, release)
    assert held.wait(PATIENCE_S)
    with (
        pytest.raises(LogBusyError, match=r"stayed locked by another process for 0\.1 s"),
        reading(home, timeout_s=0.1),
    ):
        pass
    release.set()
    holder.join(PATIENCE_S)


def _hold_open(path: str, held: Any, release: Any) -> None:
    with duckdb.connect(path):
        held.set()
        release.wait(PATIENCE_S)


@pytest.mark.parametrize("content", [None, b""])
def test_reader_of_a_home_without_a_log_is_told_how_to_make_one(home: Home, content: bytes | None) -> None:
    if content is not None:
        home.log.write_bytes(content)

    with pytest.raises(NoLogError, match="tierwise import FILE"), reading(home):
        pass
    assert freshness(home).ingested_us is None


def test_log_whose_first_ingest_was_killed_counts_as_no_log(home: Home) -> None:
    duckdb.connect(str(home.log)).close()

    with pytest.raises(NoLogError), reading(home):
        pass


def test_readers_cannot_write(home: Home) -> None:
    ingest_once(home)

    with reading(home) as con, pytest.raises(duckdb.InvalidInputException, match="read-only"):
        con.execute("DELETE FROM calls")


def test_freshness_tells_what_is_in_the_log_and_what_waits(home: Home, spool: Spool) -> None:
    spool.write(make_attempt_line(), make_call_line())
    ingest_once(home, as_of_us=NOW_US)
    before = freshness(home)
    spool.write(make_call_line(call_id="c-2", ts=START_US + 5))
    after = freshness(home)

    assert (before.ingested_us, before.outcomes_us, before.newest_call_us) == (NOW_US, NOW_US, START_US)
    assert before.rows == {"attempts": 1, "calls": 1, "outcomes": 0, "events": 0, "quarantine": 0}
    assert (before.backlog_bytes, before.backlog_since_us, before.watched) == (0, None, False)
    assert after.backlog_bytes > 100
    assert after.backlog_since_us == START_US + 5


def test_overlapping_readers_do_not_keep_the_writer_out(home: Home, spool: Spool) -> None:
    spool.write(make_call_line(call_id="c-0"))
    ingest_once(home)
    stop = event()
    results, send = pipe()
    readers = [start(read_forever, home.root, send, stop) for _ in range(3)]
    for n in range(1, 6):
        spool.write(make_call_line(call_id=f"c-{n}"))
        ingest_once(home)
    stop.set()
    reports = [results.recv() for _ in readers]
    end(readers)

    assert _count_calls(home) == 6
    assert [(busy, falls) for _, busy, falls in reports] == [(0, 0)] * 3
    assert all(uses > 0 for uses, _, _ in reports)


def test_writers_watch_and_readers_meet_without_an_error(home: Home) -> None:
    acks = Acks()
    stop = event()
    results, send = pipe()
    writers = [start(write_calls, home.root, acks.sender, n * 1_000_000, 3000) for n in range(2)]
    watcher = start(ingest_politely, home.root, 0.02)
    readers = [start(read_forever, home.root, send, stop) for _ in range(2)]
    acks.wait_for(6000)
    for writer in writers:
        writer.join(PATIENCE_S)
    acks.all()
    ensure_ingested(home)
    stop.set()
    reports = [results.recv() for _ in readers]
    end([*readers, watcher])

    assert _count_calls(home) == 6000
    assert [(busy, falls) for _, busy, falls in reports] == [(0, 0)] * 2


def test_watch_ends_at_sigterm_and_another_takes_over(home: Home, spool: Spool) -> None:
    first, second = start_watch(home), None
    assert first is not None
    spool.write(make_call_line(call_id="c-1"))
    try:
        _wait_until_watched(home)
        ensure_ingested(home)
        assert start_watch(home) is None
        first.send_signal(signal.SIGTERM)
        assert first.wait(PATIENCE_S) == 0
        second = start_watch(home)
        assert second is not None
        _wait_until_watched(home)
        spool.write(make_call_line(call_id="c-2"))
        ensure_ingested(home)
        assert _count_calls(home) == 2
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.wait(PATIENCE_S)


def _wait_until_watched(home: Home) -> None:
    wait_until(lambda: is_watched(home), "somebody watches")


def test_watch_ends_with_the_process_that_started_it(home: Home, spool: Spool) -> None:
    code = (
        "import sys; from pathlib import Path; from router_core.call_log.home import Home; "
        "from router_core.watch import start_watch; print(start_watch(Home(Path(sys.argv[1]))).pid, flush=True); "
        "sys.stdin.read(1)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(home.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    child = int(parent.stdout.readline())
    try:
        descriptor = os.pidfd_open(child)
        parent.kill()
        parent.wait(PATIENCE_S)
        ended = _wait_for_end(descriptor)
    finally:
        parent.stdout.close()
        parent.stdin.close()
    assert ended


def _wait_for_end(descriptor: int) -> bool:
    import select

    try:
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_S)
        if not ready:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return bool(ready)
    finally:
        os.close(descriptor)


def test_watch_stands_by_while_another_process_ingests_and_then_takes_over(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    with elected(home) as mine:
        standby = start(ingest_politely, home.root, 0.01)
        assert mine
        assert not home.log.exists()
    _wait_until_watched(home)
    ensure_ingested(home)
    count = _count_calls(home)
    end([standby])

    assert count == 1


def test_command_brings_the_log_up_to_date_by_itself_where_nobody_watches(home: Home, spool: Spool) -> None:
    spool.write(make_started_line(), make_attempt_line())
    spool.close()
    ensure_ingested(home)

    with reading(home) as con:
        assert con.execute("SELECT status FROM calls").fetchall() == [("interrupted",)]


def test_up_to_date_log_costs_no_process(home: Home, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.write(make_call_line())
    ingest_once(home)
    monkeypatch.setattr(sys, "executable", "/nonexistent")

    ensure_ingested(home)
    assert _count_calls(home) == 1


def test_failed_ingest_is_told_in_its_own_words(home: Home) -> None:
    home.log.write_bytes(b"not a database " * 1000)
    (home.spool / "w-1.jsonl").write_bytes(b"")

    with pytest.raises((IngestFailedError, ConfigError), match="cannot be opened"):
        ensure_ingested(home)
