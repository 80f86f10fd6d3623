"""What the writer must know of the rows it has is asked without the file locked; sums are computed in small steps."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from router_core.call_log import folding, lookup
from router_core.call_log.access import LogUnavailableError
from router_core.call_log.home import Home
from router_core.call_log.ingest import Ingester, ingest_once
from router_core.call_log.lookup import LookupProcess, Question
from router_core.call_log.read import reading
from router_core.call_log.spool import Spool
from router_core.call_log.verify import verify
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line
from tests.log_files import write_log
from tests.timing import PATIENCE_S

HOUR_US = 3_600_000_000
TABLES = ("calls", "attempts", "outcomes", "events", "rollup_calls", "rollup_attempts", "rollup_outcomes")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def _asks_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "LARGE_BYTES", 0)


@pytest.fixture
def asked(home: Home) -> Iterator[LookupProcess]:
    ingest_once(home)
    process = LookupProcess(home)
    yield process
    process.close()


def _dump(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    with reading(home) as con:
        return {table: con.execute(f"FROM {table} ORDER BY ALL").fetchall() for table in TABLES}


def _fill(home: Home) -> None:
    """Bring in a log, then an import that partly repeats it, then labels that come late."""
    write_log(home, days=3, per_day=40, undated=10)
    again = home.spool / "done" / "import.made-1.jsonl"
    lines = again.read_bytes().splitlines(keepends=True)
    event = b'{"k": "event", "at": 5, "event": "import", "details": {"rows": 3}}\n'
    fresh = b'{"k": "call", "call_id": "new", "ts": 1790000000000000, "payload_type": "t", "status": "ok"}\n'
    for number in (1, 2):
        home.spool.joinpath(f"import.again{number}-1.jsonl").write_bytes(b"".join([*lines[:200], event, fresh]))
        ingest_once(home)
    spool = Spool(home.spool, worker="w")
    for n in range(0, 120, 7):
        spool.write(make_outcome_line(call_id=f"c{n:07}", source="gold", correct=0.25, received_at=START_US))
    spool.write(make_outcome_line(call_id="e0000003", source="gold", correct=0.5))
    spool.write(make_outcome_line(call_id="later", received_at=START_US))
    spool.close()
    ingest_once(home)
    spool = Spool(home.spool, worker="x")
    spool.write(make_call_line(call_id="later", ts=START_US), make_attempt_line(call_id="later", attempt_id="later-1"))
    spool.close()
    ingest_once(home)


def test_a_process_beside_the_writer_answers_as_the_writer_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, helped = Home(tmp_path / "alone"), Home(tmp_path / "helped")
    _fill(alone)
    monkeypatch.setattr(lookup, "LARGE_BYTES", 0)
    _fill(helped)

    assert _dump(helped) == _dump(alone)
    with reading(helped) as con:
        assert con.execute("SELECT count(*), count(DISTINCT call_id) FROM calls").fetchall() == [(132, 132)]
        assert con.execute("SELECT count(*) FROM events").fetchall() == [(1,)]
    assert {result.differing for result in verify(helped)} == {0}


@pytest.mark.usefixtures("_asks_a_process")
def test_process_that_was_killed_costs_one_tick_and_no_line(home: Home) -> None:
    ingester = Ingester(home, now_us=lambda: START_US)
    spool = Spool(home.spool)
    spool.write(make_call_line(call_id="c-1"))
    ingester.tick()
    process = ingester._lookup._process._process
    assert process is not None
    process.kill()
    process.wait()
    spool.write(make_call_line(call_id="c-2"), make_outcome_line(call_id="c-1"))
    with pytest.raises(LogUnavailableError, match="nothing is lost"):
        ingester.tick()
    report = ingester.tick()
    ingester.close()
    spool.close()

    assert report.rows == {"calls": 1, "outcomes": 1}
    assert [row[0] for row in _dump(home)["calls"]] == ["c-1", "c-2"]


def test_process_opens_the_file_for_reading_and_only_while_it_is_asked(home: Home, asked: LookupProcess) -> None:
    (rows,) = asked.ask(Question("SELECT count(*) FROM log.calls"))
    ingest_once(home)
    with pytest.raises(LogUnavailableError, match="read-only"):
        asked.ask(Question("DELETE FROM log.calls"))

    assert rows == [[0]]
    assert asked.ask(Question("SELECT unnest(?)", ([1, 2],))) == [[[1], [2]]]


def test_process_ends_with_the_one_that_asks(home: Home, asked: LookupProcess) -> None:
    asked.ask(Question("SELECT 1"))
    process = asked._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()

    assert process.wait(PATIENCE_S) == 0
    process.stdin = None


def test_outcome_sums_of_many_hours_take_several_steps_and_say_when_they_are_complete(home: Home) -> None:
    spool = Spool(home.spool)
    for n in range(100):
        spool.write(make_call_line(call_id=f"c-{n}", ts=START_US + n * HOUR_US), make_outcome_line(call_id=f"c-{n}"))
    ingester = Ingester(home, now_us=lambda: START_US)
    done: list[tuple[int, int]] = []
    for _ in range(4):
        ingester.tick(max_s=0)
        with reading(home) as con:
            queued = con.execute("SELECT count(*) FROM outcome_queue").fetchall()[0][0]
            complete = con.execute("SELECT count(*) FROM progress WHERE name = 'outcomes'").fetchall()[0][0]
        done.append((queued, complete))
    ingester.close()
    spool.close()

    assert done == [(52, 0), (4, 0), (0, 1), (0, 1)]
    assert {result.differing for result in verify(home)} == {0}


@pytest.mark.parametrize("large_bytes", [0, 1 << 40])
def test_rollups_are_folded_hour_by_hour_and_say_the_same_afterwards(
    home: Home, monkeypatch: pytest.MonkeyPatch, large_bytes: int
) -> None:
    monkeypatch.setattr(lookup, "LARGE_BYTES", large_bytes)
    monkeypatch.setattr(folding, "_ROWS_PER_STEP", 8)
    spool = Spool(home.spool)
    for n in range(6):
        for hour in (None, 0, 1, 2):
            ids = {"call_id": f"c-{n}-{hour}", "attempt_id": f"a-{n}-{hour}"}
            at = None if hour is None else START_US + hour * HOUR_US
            spool.write(make_attempt_line(**ids, started_at=at), make_call_line(call_id=ids["call_id"], ts=at))
        ingest_once(home)
    spool.write(make_call_line(call_id="once", ts=START_US + 9 * HOUR_US))
    before = {name: len(rows) for name, rows in _dump(home).items()}
    monkeypatch.setattr(folding, "_LOOK_AFTER_ROWS", 10)
    ingest_once(home)
    after = {name: len(rows) for name, rows in _dump(home).items()}

    assert (before["rollup_calls"], before["rollup_attempts"]) == (24, 24)
    assert (after["rollup_calls"], after["rollup_attempts"]) == (5, 4)
    assert {result.differing for result in verify(home)} == {0}


@pytest.mark.usefixtures("_asks_a_process")
def test_interrupting_the_writer_does_not_spoil_its_process(home: Home) -> None:
    """Both are in the terminal's foreground, so both get the signal; the writer ends its tick first."""
    ingest_once(home)
    process = LookupProcess(home)
    process.ask(Question("SELECT 1"))
    child = process._process
    assert child is not None
    os.kill(child.pid, signal.SIGINT)
    threading.Event().wait(0.2)

    assert process.ask(Question("SELECT 2")) == [[[2]]]
    process.close()


def test_import_is_read_although_a_living_writer_has_half_a_line(home: Home) -> None:
    spool = Spool(home.spool, worker="w")
    spool.write(make_call_line(call_id="c-1"))
    with home.spool.joinpath("w-1.jsonl").open("ab") as file:
        file.write(b'{"k": "call", "ca')
    line = b'{"k": "call", "call_id": "i-1", "payload_type": "t", "status": "ok"}\n'
    home.spool.joinpath("import.x-1.jsonl").write_bytes(line)
    ingest_once(home)
    spool.close()

    assert [row[0] for row in _dump(home)["calls"]] == ["c-1", "i-1"]


def test_log_made_before_a_table_of_bookkeeping_was_added_gets_it(home: Home) -> None:
    ingest_once(home)
    with duckdb.connect(str(home.log)) as con:
        con.execute("DROP TABLE unplaced_outcomes")
    spool = Spool(home.spool)
    spool.write(make_call_line(call_id="c-1"), make_outcome_line(call_id="c-1"))
    ingest_once(home)
    spool.close()

    with reading(home) as con:
        assert con.execute("SELECT version FROM schema_version").fetchall() == [(1,)]
    assert len(_dump(home)["rollup_outcomes"]) == 1
