"""The file of answers kept for retries: what is in it, for how long, and that nothing it does can harm a call."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router_core.cache import Kept, Limits, RetryCache, cache_findings
from router_core.call_log.home import Home
from router_core.types import Confidence, Response, Token, Usage
from tests.builders import START_US

HOUR_US = 3_600_000_000
LIMITS = Limits(ttl_us=HOUR_US, max_bytes=64 << 20)
KEY = b"k" * 16
WRITING = """
import sys
from pathlib import Path
from router_core.cache import Kept, Limits, RetryCache, cache_findings
from router_core.call_log.home import Home
from router_core.types import Response, Usage

cache = RetryCache(Path(sys.argv[1]), print, lambda job: job())
cache.keep_to(Limits(ttl_us=10**12, max_bytes=64 << 20))
for n in range(10_000):
    response = Response(text=f"answer {n}", usage=Usage(input_tokens=n))
    kept = Kept(call_id="c", attempt_id=f"{sys.argv[2]}-{n}", response=response)
    cache.keep(f"{sys.argv[2]}-{n}".encode(), "m", kept, 1)
    print(n, flush=True)
"""


def answer(text: str = "yes", **fields: Any) -> Response:
    return Response(text=text, usage=Usage(input_tokens=10, output_tokens=2, cached_tokens=4), **fields)


def kept(text: str = "yes", call: str = "c-1", **fields: Any) -> Kept:
    return Kept(call_id=call, attempt_id=f"{call}-1", response=answer(text, **fields))


class Events:
    """What a cache has told."""

    def __init__(self) -> None:
        self.states: list[object] = []

    def __call__(self, name: str, details: dict[str, object], at_us: int) -> None:
        self.states.append(details["state"])


def open_cache(folder: Path, limits: Limits | None = LIMITS, events: Events | None = None) -> RetryCache:
    def at_once(job: Callable[[], None]) -> None:
        job()

    cache = RetryCache(folder / "cache.sqlite", events or Events(), at_once)
    cache.keep_to(limits)
    return cache


def texts(cache: RetryCache, at_us: int = START_US, key: bytes = KEY) -> dict[str, str]:
    return {target: each.response.text for target, each in cache.recall(key, at_us).items()}


def test_answer_comes_back_whole_but_for_the_clients_own_object(tmp_path: Path) -> None:
    given = kept(
        response_model="m-1", service_tier="flex", finish_reason="stop", cost_nusd=5, token_logprobs=(-0.1, -0.2)
    )
    cache = open_cache(tmp_path)
    cache.keep(KEY, "m", Kept(call_id="c", attempt_id="a", response=answer(raw=object(), ttft_ms=3.0)), START_US)
    judged = replace(given, confidence=Confidence(value=0.7, source="judge", calibration="cal-1", raw=0.6))
    tokens = (Token(text="yes", logprob=-0.1, others=(("yes", -0.1), ("no", -2.5))),)
    cache.keep(KEY, "n", given, START_US)
    cache.keep(KEY, "judged", judged, START_US)
    cache.keep(KEY, "tokens", kept(tokens=tokens), START_US)
    found = open_cache(tmp_path).recall(KEY, START_US + 1)
    assert found == {
        "m": Kept(call_id="c", attempt_id="a", response=answer()),
        "n": given,
        "judged": judged,
        "tokens": kept(tokens=tokens),
    }


def test_newest_answer_of_a_target_counts(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.keep(KEY, "m", kept("old"), START_US)
    cache.keep(KEY, "m", kept("new"), START_US)
    assert texts(cache) == {"m": "new"}


def test_answer_that_is_too_old_is_not_found_and_leaves_no_text_behind(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.keep(KEY, "m", kept("a secret answer"), START_US)
    assert texts(cache, START_US + HOUR_US - 1) == {"m": "a secret answer"}
    assert texts(cache, START_US + HOUR_US) == {}
    cache.tend(START_US + HOUR_US)
    cache.close()
    assert b"a secret answer" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_oldest_answers_go_when_the_file_is_full(tmp_path: Path) -> None:
    limits = Limits(ttl_us=HOUR_US, max_bytes=2 << 20)
    cache = open_cache(tmp_path, limits)
    for n in range(3_000):
        cache.keep(str(n).encode(), "m", kept("x" * 1_000), START_US + n)
    cache.tend(START_US + 3_000)
    cache.close()
    assert (tmp_path / "cache.sqlite").stat().st_size < 6 << 20
    cache = open_cache(tmp_path, limits)
    found = [n for n in range(3_000) if texts(cache, START_US + 3_000, str(n).encode())]
    assert found == list(range(found[0], 3_000))
    assert 500 < len(found) < 2_000


def test_write_ahead_log_is_folded_in_while_answers_keep_coming(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    largest = 0
    for n in range(4_000):
        cache.keep(str(n).encode(), "m", kept("x" * 1_000), START_US)
        if n % 100 == 0:
            largest = max(largest, (tmp_path / "cache.sqlite-wal").stat().st_size)
    assert largest < 40 << 20


def test_file_and_its_side_files_are_the_owners_alone(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.keep(KEY, "m", kept(), START_US)
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["cache.sqlite", "cache.sqlite-wal", "cache.sqlite-shm"], "0o600")


def test_doctor_tells_its_size_and_who_else_could_read_it(tmp_path: Path) -> None:
    assert cache_findings(Home(tmp_path)) == []
    open_cache(tmp_path).keep(KEY, "m", kept(), START_US)
    (found,) = cache_findings(Home(tmp_path))
    assert (found.state, "MB of answers kept for retries in cache.sqlite" in found.text) == ("ok", True)
    (tmp_path / "cache.sqlite").chmod(0o644)
    (found,) = cache_findings(Home(tmp_path))
    assert (found.state, found.mend) == ("wrong", f"chmod 600 {tmp_path / 'cache.sqlite'}")


def test_cache_that_is_off_touches_no_disk(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, None)
    cache.keep(KEY, "m", kept(), START_US)
    assert (texts(cache), list(tmp_path.iterdir())) == ({}, [])


def test_file_that_is_none_of_ours_is_made_anew_and_that_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"no database at all, but long enough to look like one" * 100)
    events = Events()
    cache = open_cache(tmp_path, events=events)
    assert texts(cache) == {}
    cache.keep(KEY, "m", kept(), START_US + 2_000_000)
    assert (texts(cache, START_US + 2_000_000), events.states) == ({"m": "yes"}, ["unavailable", "recovered"])


def test_answer_of_another_version_is_not_found(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.keep(KEY, "m", kept(), START_US)
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as store:
        store.execute('UPDATE answers SET body = \'{"text": "x", "usage": {}, "unheard_of": 1}\'')
        store.commit()
    assert texts(cache) == {}


@pytest.mark.parametrize("is_there", [False, True])
def test_call_waits_moments_only_for_a_file_that_cannot_be_used(tmp_path: Path, is_there: bool) -> None:
    events = Events()
    cache = open_cache(tmp_path if is_there else tmp_path / "gone", events=events)
    if is_there:
        cache.keep(KEY, "m", kept(), START_US)
    with closing(sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)) as other:
        if is_there:
            other.execute("BEGIN IMMEDIATE")
        for n in range(100):  # all but the first are not even tried
            cache.keep(b"other", "m", kept(), START_US + n)
    assert texts(cache, START_US + 2_000_000, b"other") == {}
    assert events.states == ["unavailable", "recovered"][: 1 + is_there]


def test_threads_lose_nothing(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)

    def work(name: str) -> None:
        for n in range(200):
            cache.keep(f"{name}{n}".encode(), "m", kept(name), START_US)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(texts(cache, key=f"{name}{n}".encode()) == {"m": name} for name in "abcdefgh" for n in range(200))


def test_answers_kept_before_a_kill_are_there_whoever_else_was_writing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITING, str(tmp_path / "cache.sqlite")]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("one", "two")]
    done: list[int] = []
    for writer in writers:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 300:
                os.kill(writer.pid, signal.SIGKILL)
                break
    for writer in writers:
        assert writer.stdout is not None
        done.append(max([300, *(int(line) for line in writer.stdout if line.endswith("\n"))]))
        assert writer.wait() == -signal.SIGKILL
        writer.stdout.close()
    cache = open_cache(tmp_path)
    for name, last in zip(("one", "two"), done, strict=True):
        assert [texts(cache, 1, f"{name}-{n}".encode()) for n in range(last + 1)] == [
            {"m": f"answer {n}"} for n in range(last + 1)
        ]


def test_forked_child_and_parent_go_on(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.keep(KEY, "m", kept(), START_US)
    cache.before_fork()
    cache.after_fork_in_parent()
    assert texts(cache) == {"m": "yes"}
    cache.before_fork()
    cache.after_fork()
    cache.keep(b"child", "m", kept("child"), START_US)
    assert texts(cache, key=b"child") == {"m": "child"}
