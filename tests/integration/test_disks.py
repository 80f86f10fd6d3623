"""Disks that are full, cannot be written, fail, or are taken away under a living writer: what was written is kept."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.segments import list_segments
from router_core.call_log.spool import DROPPED_EVENT, Spool
from tests.builders import make_call_line
from tests.disks import run_case
from tests.timing import wait_until


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def spool(home: Home) -> Iterator[Spool]:
    spool = Spool(home.spool)
    yield spool
    spool.close()


def _call_ids(home: Home) -> list[str]:
    with reading(home) as con:
        return [call_id for (call_id,) in con.execute("SELECT call_id FROM calls ORDER BY rowid").fetchall()]


def _said(caplog: pytest.LogCaptureFixture, home: Home) -> list[str]:
    """Warnings about a home; the log of an earlier test may have something to say at the end of its folder."""
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    return [message for message in messages if str(home.root) in message]


def _lines(home: Home) -> list[Any]:
    return [
        orjson.loads(line)
        for segment in list_segments(home.spool)
        for line in segment.path.read_bytes().split(b"\n")
        if line.endswith(b"}")
    ]


def test_lines_of_a_full_disk_are_written_in_order_when_there_is_room_again(tmp_path: Path) -> None:
    found = run_case("full", tmp_path)

    assert found["calls"] == [f"c-{n:07}" for n in range(found["written"])]
    assert (found["pending"], found["dropped"], found["quarantined"]) == (0, 0, 0)
    assert len([text for text in found["warnings"] if "lines wait in memory" in text]) == 1
    assert "nothing is lost, try again" in found["refused"]
    assert found["disk"] == "wrong"


def test_commit_that_finds_the_disk_full_leaves_the_log_as_it_was_and_is_done_later(tmp_path: Path) -> None:
    found = run_case("full_in_commit", tmp_path)

    assert "nothing is lost, try again" in found["refused"]
    assert found["before"] == {"calls": ["c-0000000"], "quarantined": 0}
    assert found["calls"] == [f"c-{n:07}" for n in range(2000)]


def test_ingest_that_fails_is_told_in_its_own_words_alone(tmp_path: Path) -> None:
    refused = run_case("read_only_with_backlog", tmp_path)["refused"]

    # neither the child's progress nor the program's name again
    assert refused.startswith(f"{tmp_path / 'home'}: 1 problem")
    assert "cannot keep a log" in refused


def test_export_onto_a_full_disk_is_refused_in_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    found = run_case("full_in_export", tmp_path)

    assert "--out: cannot be written (" in found["refused"]
    assert "No space left on device" in found["refused"]
    assert "name a folder on another disk" in found["refused"]
    assert found["left"] == []


def test_lines_of_a_folder_that_cannot_be_written_wait_for_it(tmp_path: Path) -> None:
    found = run_case("read_only", tmp_path)

    assert (found["before"], found["pending"]) == (10, 0)
    assert found["calls"] == [f"c-{n}" for n in range(10)]
    assert len([text for text in found["warnings"] if "Read-only file system" in text]) == 1
    doctor = found["doctor"]
    assert (doctor["home"][0], "cannot be written" in doctor["home"][1]) == ("wrong", True)
    assert (doctor["watch"][0], doctor["log"][0]) == ("note", "ok")


@pytest.mark.parametrize("torn", [0, 40])
def test_segment_that_fails_is_left_for_a_new_one(
    home: Home, spool: Spool, monkeypatch: pytest.MonkeyPatch, torn: int
) -> None:
    real_write, failing = os.write, list_segments
    spool.write(make_call_line(call_id="c-1"))
    (first,) = failing(home.spool)
    inode, broken = first.path.stat().st_ino, False

    def write(descriptor: int, data: bytes) -> int:
        nonlocal broken
        if os.fstat(descriptor).st_ino != inode:
            return real_write(descriptor, data)
        if torn and not broken:
            broken = True
            return real_write(descriptor, data[:torn])
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.write", write)
    spool.write(make_call_line(call_id="c-2"))
    spool.write(make_call_line(call_id="c-3"))
    report = ingest_once(home)

    assert (spool.pending, len(list_segments(home.spool))) == (0, 1)
    assert _call_ids(home) == ["c-1", "c-2", "c-3"]
    assert report.quarantined == bool(torn)


def test_lines_that_found_no_room_in_memory_are_counted_in_the_log(
    home: Home, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_core.call_log.waiting.MAX_PENDING", 3)
    blocked = home.spool
    blocked.rmdir()
    blocked.write_text("a file where the folder should be")
    for n in range(5):
        spool.write(make_call_line(call_id=f"c-{n}"))
    blocked.unlink()
    spool.tend()
    ingest_once(home)

    with reading(home) as con:
        events = con.execute("SELECT event, details FROM events").fetchall()
    assert _call_ids(home) == ["c-0", "c-1", "c-2"]
    assert (events, spool.dropped) == ([(DROPPED_EVENT, '{"groups":2}')], 2)


def test_memory_for_what_waits_is_bounded_in_bytes(home: Home, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router_core.call_log.waiting.MAX_PENDING_BYTES", 1000)
    home.spool.rmdir()
    home.spool.write_text("a file where the folder should be")
    for _ in range(5):
        spool.write({"text": "x" * 400})

    assert (spool.pending, spool.dropped) == (2, 3)
    home.spool.unlink()


def test_home_that_is_removed_under_a_writer_is_made_anew_and_said(
    home: Home, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.write(make_call_line(call_id="c-1"))
    spool.tend()
    before = spool.worker
    shutil.rmtree(home.root)
    spool.write(make_call_line(call_id="c-2"))
    spool.tend()
    spool.write(make_call_line(call_id="c-3"))

    assert [line["call_id"] for line in _lines(home)] == ["c-2", "c-3"]
    assert spool.worker != before
    assert ["taken away" in said for said in _said(caplog, home)] == [True]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home.root, home.spool)} == {0o700}


def test_spool_that_is_removed_beside_the_log_repeats_nothing_that_the_log_may_hold(home: Home, spool: Spool) -> None:
    spool.write(make_call_line(call_id="c-1"))
    ingest_once(home)
    shutil.rmtree(home.spool)
    spool.tend()
    spool.write(make_call_line(call_id="c-2"))
    ingest_once(home)

    assert _call_ids(home) == ["c-1", "c-2"]


def test_home_that_is_moved_away_keeps_its_lines_and_the_next_ones_go_to_a_new_one(home: Home, spool: Spool) -> None:
    spool.write(make_call_line(call_id="c-1"))
    moved = Home(home.root.rename(home.root.with_name("moved")))
    spool.tend()
    spool.write(make_call_line(call_id="c-2"))

    assert [line["call_id"] for line in _lines(moved)] == ["c-1"]
    assert [line["call_id"] for line in _lines(home)] == ["c-2"]


def test_nothing_comes_back_where_all_around_the_home_was_removed(tmp_path: Path) -> None:
    home = Home(tmp_path / "project" / ".tierwise").create()
    spool = Spool(home.spool)
    spool.write(make_call_line())
    shutil.rmtree(tmp_path / "project")
    spool.tend()
    spool.close()

    assert not (tmp_path / "project").exists()


def test_spool_tends_itself(home: Home, spool: Spool) -> None:
    home.spool.rmdir()
    home.spool.write_text("a file where the folder should be")
    spool.write({"n": 1})
    home.spool.unlink()
    wait_until(lambda: not spool.pending, "nothing waits")

    assert _lines(home) == [{"n": 1}]


def test_segment_in_use_for_a_day_is_followed_by_another(
    home: Home, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.write({"n": 1})
    monkeypatch.setattr("router_core.call_log.spool.ROTATE_S", -1.0)
    spool.tend()
    spool.write({"n": 2})

    assert [segment.number for segment in list_segments(home.spool)] == [1, 2]
    assert _lines(home) == [{"n": 1}, {"n": 2}]


class _Syncs:
    """Counts what is brought to the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._sync = os.fdatasync
        monkeypatch.setattr("os.fdatasync", self)

    def __call__(self, descriptor: int) -> None:
        self.count += 1
        self._sync(descriptor)


def test_every_write_is_on_the_disk_with_durability_fsync(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = _Syncs(monkeypatch)
    spool = Spool(home.spool, durability="fsync")
    for n in range(5):
        spool.write({"n": n})
    each = syncs.count
    spool.keep_to("fast")
    spool.write({"n": 5}, {"n": 6})
    after = syncs.count
    spool.close()

    assert (each, after) == (5, 5)
    assert [line["n"] for line in _lines(home)] == list(range(7))


def test_lines_are_on_the_disk_a_second_later_with_durability_fast(
    home: Home, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = _Syncs(monkeypatch)
    spool.write({"n": 1})
    spool.tend()
    spool.tend()

    assert syncs.count == 1


def test_disk_that_does_not_sync_is_said_and_costs_no_call(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fdatasync", fail)
    spool = Spool(home.spool, durability="fsync")
    spool.write({"n": 1})

    assert len(_said(caplog, home)) == 1
    assert _lines(home) == [{"n": 1}]
    monkeypatch.undo()
    spool.close()
