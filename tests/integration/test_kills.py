"""kill -9 at random moments: what was acknowledged is in the log, once."""

import random
import signal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from tests.log_processes import (
    Acks,
    end,
    ingest_and_tell,
    ingest_forever,
    make_log_and_die,
    pipe,
    start,
    start_request_and_hang,
    write_calls,
)
from tests.timing import PATIENCE_S

KILLS = 20


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def _rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    with reading(home) as con:
        return con.execute(query).fetchall()


def _assert_all_there_once(home: Home, acked: list[str]) -> None:
    found = _rows(home, "SELECT call_id, status FROM calls")
    by_id = dict(found)
    lost = [call_id for call_id in acked if by_id.get(call_id) != "ok"]
    assert (len(lost), len(found) - len(by_id)) == (0, 0)
    assert _rows(home, "SELECT count(*) - count(DISTINCT attempt_id) FROM attempts") == [(0,)]
    # the kernel may end a dying process's write at a page boundary: only such a line, never acknowledged, is unusable
    torn = _rows(home, "SELECT segment, line_offset FROM quarantine")
    assert [offset for segment, offset in torn if _last_line_offset(home, segment) != offset] == []
    # each call has its attempts, and the rollups have every row
    assert _rows(home, "SELECT count(*) FROM calls WHERE status = 'ok' AND attempts <> 2") == [(0,)]
    assert _rows(home, "SELECT (SELECT sum(n) FROM rollup_attempts) - (SELECT count(*) FROM attempts)") == [(0,)]
    assert _rows(home, "SELECT (SELECT sum(n) FROM rollup_calls) - (SELECT count(*) FROM calls)") == [(0,)]


def _last_line_offset(home: Home, segment: str) -> int:
    data = (home.spool / "done" / segment).read_bytes()
    assert not data.endswith(b"\n")
    return data.rfind(b"\n") + 1


@pytest.mark.parametrize("politely", [False, True], ids=["kill -9", "SIGTERM"])
def test_killed_writers_lose_and_repeat_nothing(home: Home, politely: bool) -> None:
    rng = random.Random(20)
    acks = Acks()
    ingester = start(ingest_forever, home.root)
    wanted = 0
    for kill in range(KILLS):
        writer = start(write_calls, home.root, acks.sender, kill * 100_000)
        wanted += rng.randrange(1, 400)
        acks.wait_for(wanted)
        end([writer], politely=politely)
    end([ingester], politely=politely)
    acked = acks.all()
    ingest_once(home)

    assert len(acked) >= wanted
    _assert_all_there_once(home, acked)
    # a writer dies inside a call: that call is there too, and says so
    interrupted = _rows(home, "SELECT count(*) FROM calls WHERE status = 'interrupted'")[0][0]
    unfinished = _rows(home, "SELECT count(DISTINCT call_id) FROM attempts ANTI JOIN calls USING (call_id)")[0][0]
    assert interrupted <= KILLS
    assert unfinished == 0


def test_request_in_flight_of_a_killed_process_is_unknown_and_its_call_interrupted(home: Home) -> None:
    acks = Acks()
    writer = start(start_request_and_hang, home.root, acks.sender)
    acks.wait_for(1)
    ingest_once(home)
    while_it_lives = _rows(home, "SELECT attempt_id FROM attempts"), _rows(home, "SELECT call_id FROM calls")
    end([writer])
    acks.all()
    ingest_once(home)

    assert while_it_lives == ([("a-1",)], [])
    assert _rows(home, "SELECT attempt_id, status, cost_status, cost_nusd FROM attempts ORDER BY 1") == [
        ("a-1", "failed", "exact", 140_000),
        ("a-2", "unknown", "unknown", 150_000),
    ]
    assert _rows(home, "SELECT call_id, status, cost_nusd, attempts FROM calls") == [("c-1", "interrupted", 290_000, 2)]


def test_killed_ingesters_lose_and_repeat_nothing(home: Home) -> None:
    rng = random.Random(21)
    acks = Acks()
    writers = [start(write_calls, home.root, acks.sender, n * 1_000_000, None, 0.002) for n in range(2)]
    for _ in range(KILLS):
        told, tell = pipe()
        ingester = start(ingest_and_tell, home.root, tell)
        assert told.poll(PATIENCE_S)
        told.recv()
        told.poll(rng.uniform(0, 0.15))  # into the tick that follows, or to its end
        end([ingester])
    end(writers)
    acked = acks.all()
    ingest_once(home)

    _assert_all_there_once(home, acked)


# at once; in the middle of DuckDB's three headers, and between them; in the tables; not at all
@pytest.mark.parametrize("file_bytes", [0, 100, 4096, 8192, 12_288, 100_000, 1 << 30])
def test_kill_while_the_log_file_is_made_leaves_a_whole_one_or_none(home: Home, file_bytes: int) -> None:
    maker = start(make_log_and_die, home.root, file_bytes)
    maker.join(PATIENCE_S)
    assert maker.exitcode == (0 if file_bytes == 1 << 30 else -signal.SIGXFSZ)
    if home.log.exists():
        duckdb.connect(home.log).close()
    ingest_once(home)

    assert _rows(home, "SELECT count(*) FROM calls") == [(0,)]
    assert not home.unborn_log.exists()


def test_two_ingesters_at_once_take_every_line_in_once(home: Home) -> None:
    acks = Acks()
    ingesters = [start(ingest_forever, home.root) for _ in range(2)]
    writer = start(write_calls, home.root, acks.sender, 0, 2000)
    acks.wait_for(2000)
    writer.join(PATIENCE_S)
    end(ingesters)
    ingest_once(home)

    _assert_all_there_once(home, acks.all())
    assert _rows(home, "SELECT count(*), count(*) FILTER (status = 'ok') FROM calls") == [(2000, 2000)]


def test_log_file_that_is_deleted_again_and_again_loses_and_repeats_nothing(home: Home) -> None:
    """Its watcher goes on, and makes it anew each time from what is kept; now and then it is killed as well."""
    rng = random.Random(22)
    acks = Acks()
    writers = [start(write_calls, home.root, acks.sender, n * 1_000_000, None, 0.003) for n in range(2)]
    ingester = start(ingest_forever, home.root)
    wanted = 0
    for deletion in range(8):
        wanted += rng.randrange(50, 200)
        acks.wait_for(wanted)
        if deletion % 3 == 2:
            end([ingester])
        home.log.unlink(missing_ok=True)
        if deletion % 3 == 2:
            ingester = start(ingest_forever, home.root)
        if deletion == 4:
            end(writers[:1])
    end([*writers, ingester])
    acked = acks.all()
    ingest_once(home)

    _assert_all_there_once(home, acked)
