"""Threads that make blocking calls for others."""

import contextvars
import os
import threading
import warnings
from typing import Any

import pytest

from router_core.backends import workers
from router_core.backends.workers import Job, Workers


def ended(job: Job) -> Job:
    assert job.wait(10)
    return job


def fail() -> None:
    raise LookupError("gone")


def test_call_returns_or_raises_what_it_would_here() -> None:
    threads = Workers()
    assert ended(threads.begin(lambda: 7)).value == 7
    assert isinstance(ended(threads.begin(fail)).error, LookupError)


def test_call_sees_the_context_of_who_asks() -> None:
    team = contextvars.ContextVar("team", default="nobody")
    team.set("ap")
    assert ended(Workers().begin(team.get)).value == "ap"


def test_calls_after_each_other_share_a_thread() -> None:
    threads = Workers()
    assert len({ended(threads.begin(threading.get_ident)).value for _ in range(20)}) == 1


def test_calls_at_once_have_threads_of_their_own() -> None:
    threads, barrier = Workers(), threading.Barrier(8, timeout=10)
    jobs = [threads.begin(barrier.wait) for _ in range(8)]
    assert sorted(str(ended(job).value) for job in jobs) == [str(n) for n in range(8)]


def test_call_that_is_given_up_keeps_nobody_else_waiting() -> None:
    threads, gate = Workers(), threading.Event()
    hanging = threads.begin(gate.wait)
    assert not hanging.wait(0.01)
    assert ended(threads.begin(lambda: "next")).value == "next"
    gate.set()
    ended(hanging)


def test_thread_without_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_IDLE_S", 0.01)
    thread: Any = ended(Workers().begin(threading.current_thread)).value
    thread.join(10)
    assert not thread.is_alive()


def test_many_callers_lose_and_double_nothing() -> None:
    threads, seen = Workers(), list[object]()

    def ask(base: int) -> None:
        seen.extend(ended(threads.begin(lambda n=n: base + n)).value for n in range(200))

    callers = [threading.Thread(target=ask, args=(1_000 * index,)) for index in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(map(str, seen)) == sorted(str(1_000 * index + n) for index in range(8) for n in range(200))


def test_forked_child_has_threads_of_its_own() -> None:
    threads = Workers()
    ended(threads.begin(lambda: None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if not child:
        os._exit(0 if threads.begin(lambda: 3).wait(10) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
