import logging
import threading

import pytest

from router_core.background import Inline, Threads
from router_core.clock import VirtualClock


def gated(gate: threading.Event, done: list[int], number: int) -> None:
    gate.wait(30)
    done.append(number)


def test_threads_do_every_job_they_took() -> None:
    threads, done, last = Threads(threads=2, waiting=100), list[int](), threading.Event()
    for number in range(50):
        assert threads.submit(lambda number=number: done.append(number))
    assert threads.submit(last.set)
    assert last.wait(30)
    threads.close(30)
    assert sorted(done) == list(range(50))


def test_queue_is_bounded_and_close_counts_what_never_began() -> None:
    threads, done, gate, began = Threads(threads=1, waiting=2), list[int](), threading.Event(), threading.Event()

    def first() -> None:
        began.set()
        gated(gate, done, 0)

    assert threads.submit(first)
    assert began.wait(30)
    assert [threads.submit(lambda: gated(gate, done, 1)) for _ in range(3)] == [True, True, False]
    threading.Timer(0.05, gate.set).start()
    assert threads.close(30) == 2
    assert done == [0]
    assert not threads.submit(lambda: None)


def test_close_waits_no_longer_than_its_grace() -> None:
    threads, gate, began = Threads(threads=1), threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        gate.wait(30)

    threads.submit(hang)
    assert began.wait(30)
    assert threads.close(0.0) == 0
    gate.set()


def test_job_that_raises_harms_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    def breaks() -> None:
        raise SystemExit("the text of a prompt")

    threads, after = Threads(threads=1), threading.Event()
    with caplog.at_level(logging.WARNING, logger="router_core.background"):
        threads.submit(breaks)
        threads.submit(after.set)
        assert after.wait(30)
    (said,) = [record.message for record in caplog.records if record.name == "router_core.background"]
    assert said.startswith("a background job has failed: SystemExit in ")
    assert "test_background.py, line " in said
    assert "prompt" not in caplog.text
    threads.close(30)


def test_closed_one_stays_closed_over_a_fork_and_an_open_one_begins_anew() -> None:
    closed, opened, done = Threads(), Threads(threads=1), threading.Event()
    closed.close(0.0)
    closed.after_fork()
    opened.after_fork()
    assert not closed.submit(done.set)
    assert opened.submit(done.set)
    assert done.wait(30)
    opened.close(30)


def test_virtual_time_is_put_back_after_a_job_even_if_it_raises() -> None:
    clock = VirtualClock(5_000_000)
    inline = Inline(clock)
    seen: list[int] = []

    def breaks() -> None:
        clock.sleep(2)
        seen.append(clock.now_us())
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        inline.submit(breaks)
    assert (seen, clock.now_us()) == ([7_000_000], 5_000_000)
    assert inline.submit(lambda: clock.sleep(1))
    assert clock.now_us() == 5_000_000
    assert inline.close(1.0) == 0
