"""The hot path on a real disk: bytes, files, forks, threads and a disk that is full."""

import os
import resource
import stat
import threading
from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from router_core.call_log.segments import claim_worker, is_alive, list_segments, list_workers
from router_core.call_log.spool import DROPPED_EVENT, Spool
from router_core.call_log.waiting import MAX_PENDING
from tests.timing import PATIENCE_S


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "spool"


def _lines(folder: Path) -> list[Any]:
    return [orjson.loads(line) for segment in list_segments(folder) for line in segment.path.read_bytes().splitlines()]


def _in_child(work: Callable[[], None]) -> None:
    """Run something in a forked child, and fail if it fails there."""
    pid = os.fork()
    if pid == 0:
        failed = True
        with suppress(Exception):
            work()
            failed = False
        os._exit(int(failed))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_lines_are_in_the_file_when_write_returns(folder: Path) -> None:
    spool = Spool(folder)
    spool.write({"k": "event", "event": "one"}, {"k": "event", "event": "two"})

    assert _lines(folder) == [{"k": "event", "event": "one"}, {"k": "event", "event": "two"}]
    spool.close()


def test_nothing_is_made_before_the_first_line(folder: Path) -> None:
    Spool(folder).close()

    assert not folder.exists()


def test_files_are_readable_by_their_owner_only(folder: Path) -> None:
    spool = Spool(folder)
    spool.write({})

    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    spool.close()


def test_worker_is_alive_until_it_closes(folder: Path) -> None:
    spool = Spool(folder, worker="w")
    spool.write({})
    alive = is_alive(folder, "w")
    spool.close()

    assert (alive, is_alive(folder, "w")) == (True, False)


def test_writing_after_close_goes_on_as_a_new_worker(folder: Path) -> None:
    spool = Spool(folder)
    spool.write({"n": 1})
    first = spool.worker
    spool.close()
    spool.write({"n": 2})

    assert spool.worker != first
    assert list_workers(folder) == {first, spool.worker}
    spool.close()


def test_full_segments_are_followed_by_new_ones_in_order(folder: Path) -> None:
    spool = Spool(folder, worker="w", rotate_bytes=100)
    for n in range(30):
        spool.write({"n": n})
    spool.close()

    assert len(list_segments(folder)) > 2
    assert [line["n"] for line in _lines(folder)] == list(range(30))


def test_forked_child_writes_as_another_worker_and_leaves_the_parent_alone(folder: Path) -> None:
    spool = Spool(folder)
    spool.write({"who": "parent"})
    parent, seq = spool.worker, spool.next_seq()

    def child() -> None:
        assert spool.next_seq() == 1
        spool.write({"who": "child"})
        assert spool.worker != parent
        spool.close()

    _in_child(child)
    still_alive = is_alive(folder, parent)
    spool.write({"who": "parent"})
    spool.close()

    by_worker = {segment.worker: segment.path.read_bytes() for segment in list_segments(folder)}
    assert still_alive
    assert by_worker.pop(parent) == b'{"who":"parent"}\n' * 2
    assert list(by_worker.values()) == [b'{"who":"child"}\n']
    assert seq == 1


def test_parent_is_dead_when_it_ends_although_its_child_lives_on(folder: Path) -> None:
    spool = Spool(folder, worker="w")
    spool.write({})
    (child_reads, parent_writes), (parent_reads, child_writes) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(child_writes, b"forked")
        os.read(child_reads, 1)
        os._exit(0)
    os.read(parent_reads, 6)
    spool._place.release()  # what the kernel does when a process ends
    alive = is_alive(folder, "w")
    os.write(parent_writes, b"x")
    os.waitpid(pid, 0)
    for descriptor in (child_reads, parent_writes, parent_reads, child_writes):
        os.close(descriptor)

    assert not alive


def test_closed_worker_is_dead_at_once_even_while_a_fork_is_under_way(folder: Path) -> None:
    spool = Spool(folder, worker="w")
    spool.write({})
    assert spool._place._lock_fd is not None
    copy = os.dup(spool._place._lock_fd)  # as a child has it before its first instruction
    spool.close()
    alive = is_alive(folder, "w")
    os.close(copy)

    assert not alive


def test_threads_never_mix_their_lines(folder: Path) -> None:
    spool = Spool(folder, rotate_bytes=20_000)

    def work(name: int) -> None:
        for n in range(500):
            spool.write({"name": name, "n": n}, {"name": name, "n": n, "again": "x" * 50})

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.close()

    lines = _lines(folder)
    assert len(lines) == 4000
    for first, second in zip(lines[::2], lines[1::2], strict=True):
        assert (first["name"], first["n"]) == (second["name"], second["n"])
    for name in range(4):
        assert [line["n"] for line in lines[::2] if line["name"] == name] == list(range(500))


def test_what_json_cannot_hold_is_written_as_text(folder: Path) -> None:
    spool = Spool(folder)
    line: dict[Any, Any] = {"money": Decimal("1.5"), "text": "half \ud800 pair", 3: "number key", "big": 2**70}
    spool.write(line)
    spool.close()

    assert _lines(folder) == [{"money": "1.5", "text": "half ? pair", "3": "number key", "big": float(2**70)}]


class _Hostile:
    def __str__(self) -> str:
        raise RuntimeError


class _Unreadable(UserDict[str, Any]):
    def __iter__(self) -> Iterator[str]:
        raise RuntimeError


def test_objects_that_raise_when_looked_at_cost_no_line_and_no_error(folder: Path) -> None:
    endless: dict[str, Any] = {"n": 2}
    endless["self"] = endless
    spool = Spool(folder)
    spool.write({"n": 1, "tags": {"t": _Hostile(), "u": _Unreadable(), "v": float("nan"), "w": 10**5000}}, endless)
    spool.close()

    tags = {"t": "<_Hostile>", "u": "<_Unreadable>", "v": None, "w": "<int>"}
    assert _lines(folder) == [{"n": 1, "tags": tags}, {"n": 2, "self": "..."}]
    assert spool.dropped == 0


def test_started_line_with_odd_keys_keeps_its_items(folder: Path) -> None:
    item = {"attempt_id": "a-1", "call_id": "c-1", "tags": {("a", 1): "x", None: _Hostile()}}
    spool = Spool(folder)
    spool.write({"k": "started", "items": [item]})
    spool.close()

    (line,) = _lines(folder)
    assert line["items"] == [{"attempt_id": "a-1", "call_id": "c-1", "tags": {"['a', 1]": "x", "None": "<_Hostile>"}}]


def test_full_disk_tears_no_line_and_loses_none(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def child() -> None:
        spool = Spool(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        for n in range(50):
            spool.write({"n": n, "text": "x" * 40})
        assert spool.pending > 0
        assert list_segments(folder)[0].size == 1000
        assert [record.levelname for record in caplog.records if str(folder) in record.getMessage()] == ["WARNING"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        spool.write({"n": 50})
        assert (spool.pending, spool.dropped) == (0, 0)
        spool.close()

    _in_child(child)

    assert [line["n"] for line in _lines(folder)] == list(range(51))


def test_unusable_folder_never_raises_and_what_waits_is_bounded(tmp_path: Path) -> None:
    blocked = tmp_path / "spool"
    blocked.write_text("a file where the folder should be")
    spool = Spool(blocked)
    for n in range(MAX_PENDING + 5):
        spool.write({"n": n})

    assert (spool.pending, spool.dropped) == (MAX_PENDING, 5)
    blocked.unlink()
    assert spool.flush()
    spool.close()
    *lines, told = _lines(blocked)
    assert [line["n"] for line in lines] == list(range(MAX_PENDING))
    assert (told["event"], told["details"]) == (DROPPED_EVENT, {"groups": 5})


def test_first_users_in_several_threads_agree_on_the_worker_s_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, claimed = threading.Event(), threading.Event()

    def name_slowly() -> str:
        # the thread that asks for the name first gets it last, if the other one may go on meanwhile
        if threading.current_thread() is asker:
            named.set()
            claimed.wait(0.2)
        return f"host-1-{threading.get_ident():x}"

    def claim(spool: Path, worker: str) -> int:
        descriptor = claim_worker(spool, worker)
        claimed.set()
        asker.join(0.2)
        return descriptor

    monkeypatch.setattr("router_core.call_log.place.new_worker", name_slowly)
    monkeypatch.setattr("router_core.call_log.place.claim_worker", claim)
    spool = Spool(folder)
    asker = threading.Thread(target=lambda: spool.worker)
    asker.start()
    assert named.wait(PATIENCE_S)
    spool.write({"n": 1})
    asker.join(PATIENCE_S)
    alive = {worker: is_alive(folder, worker) for worker in list_workers(folder)}
    spool.close()

    assert list(alive.values()) == [True]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_close_by_a_signal_handler_in_the_middle_of_a_write_repeats_and_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    spool = Spool(folder)
    real_write, writes = os.write, 0

    def interrupted(descriptor: int, data: bytes) -> int:
        nonlocal writes
        writes += 1
        if writes == 1 and moment == "before":
            spool.close()
        written = real_write(descriptor, data)
        if writes == 1 and moment == "after":
            spool.close()
        return written

    monkeypatch.setattr("router_core.call_log.spool.os.write", interrupted)
    spool.write({"n": 1})
    closed = [is_alive(folder, worker) for worker in list_workers(folder)]
    writes = 10
    spool.write({"n": 2})
    spool.close()

    assert closed == [False]
    assert sorted(line["n"] for line in _lines(folder)) == [1, 2]


def test_lines_that_wait_at_close_are_tried_once_more_and_then_counted_as_lost(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    spool = Spool(tmp_path / "spool")
    spool.write({"n": 1})
    spool.close()

    assert (spool.pending, spool.dropped) == (0, 1)
