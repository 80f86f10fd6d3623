"""Processes that write, ingest and read one log, for tests that kill them or let them meet."""

import fcntl
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from router_core import Router
from router_core.call_log.access import elected
from router_core.call_log.home import Home
from router_core.call_log.ingest import Ingester, wall_clock_us
from router_core.call_log.logfile import LogFile
from router_core.call_log.read import LogBusyError, NoLogError, reading
from router_core.call_log.spool import Spool
from router_core.types import Request, Response
from router_core.watch import watch
from tests.builders import make_attempt_line, make_call_line, make_outcome_line, make_started_line
from tests.routers import MESSAGES, SCHEMA, reply
from tests.timing import PATIENCE_S

# children are forked from a process that has everything imported and no threads
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "pytest", "duckdb", "router_core.call_log.ingest", "router_core.router", "router_core.prices",
        "tests.log_processes", "tests.decision_processes", "tests.guard_processes",
    ]
)  # fmt: skip


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process; the caller ends and joins it."""
    process = _CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def pipe() -> tuple[Any, Any]:
    """Return the ends of a pipe: to receive, to send."""
    return _CONTEXT.Pipe(duplex=False)


def write_calls(root: Path, acks: Connection, first: int, limit: int | None = None, pause_s: float = 0.0) -> None:
    """Log calls with growing ids until killed; say each call's id when its ``call`` line is written."""
    spool = Spool(Home(root).spool)
    pause = threading.Event()
    number = first
    while limit is None or number < first + limit:
        write_call(spool, f"c-{number:07}")
        os.write(acks.fileno(), b"%07d\n" % number)
        number += 1
        pause.wait(pause_s)


def start_request_and_hang(root: Path, acks: Connection) -> None:
    """Log a finished first attempt and a second one that never ends."""
    spool = Spool(Home(root).spool)
    spool.write(make_started_line())
    spool.write(make_attempt_line(status="failed"))
    spool.write(make_started_line({"attempt_id": "a-2", "role": "fallback"}, request_id="r-2"))
    os.write(acks.fileno(), b"0000001\n")
    threading.Event().wait()


def serve_with_hanging_shadow(config: Path, acks: Connection) -> None:
    """Serve one call whose shadow never comes back; say so when both are under way."""
    hanging = threading.Event()

    class Backend:
        def complete(self, request: Request) -> Response:
            if request.model == "b/large":
                hanging.set()
                threading.Event().wait()
            return reply()

        async def acomplete(self, request: Request) -> Response:
            return self.complete(request)

    router = Router.open(config, backend=Backend())
    router.complete("x.extract", messages=MESSAGES, response_format=SCHEMA)
    hanging.wait()
    os.write(acks.fileno(), b"0000001\n")
    threading.Event().wait()


def write_call(spool: Spool, call_id: str) -> None:
    """Log one call with two attempts, as a router does."""
    for n in (1, 2):
        ids = {"attempt_id": f"{call_id}-{n}", "call_id": call_id, "n": n}
        request_id = f"r-{call_id}-{n}"
        spool.write(make_started_line(ids, request_id=request_id))
        spool.write(make_attempt_line(**ids, request_id=request_id))
    sums = {"cost_nusd": 2 * 140_000, "attempts": 2}
    spool.write(make_call_line(call_id=call_id, **sums, worker=spool.worker, seq=spool.next_seq()))


def fill(home: Home, spool: Spool) -> None:
    """Log calls over several segments, one in flight among them, by a living and by a dead worker."""
    other = Spool(home.spool, worker="other", rotate_bytes=4_000)
    for n in range(10):
        write_call(spool, f"c-{n:07}")
        write_call(other, f"d-{n:07}")
        spool.write(make_outcome_line(call_id=f"d-{n:07}", correct=n % 2))
    other.write(make_started_line({"attempt_id": "a-9", "call_id": "c-9"}))
    other.close()


def ingest_forever(root: Path) -> None:
    """Ingest without pauses until killed."""
    watch(Home(root), interval_s=0.0, stop=threading.Event())


def ingest_and_tell(root: Path, commits: Connection) -> None:
    """Ingest without pauses until killed; say each commit."""
    home = Home(root)
    with elected(home) as is_mine:
        assert is_mine
        ingester = Ingester(home, now_us=wall_clock_us)
        while True:
            ingester.tick(progress=lambda done, total: commits.send((done, total)))


def make_log_and_die(root: Path, file_bytes: int) -> None:
    """Make a log file; the kernel kills the process at the write that would make any file longer than given."""
    home = Home(root)
    file = LogFile(home, timer=time.perf_counter, pause=lambda: None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with file.attached(1_800_000_000_000_000):
        pass


def ingest_politely(root: Path, interval_s: float) -> None:
    """Ingest as ``tierwise watch`` does, until SIGTERM."""
    watch(Home(root), interval_s=interval_s)


def read_forever(root: Path, results: Connection, stop: Any) -> None:
    """Read the number of calls again and again; send (uses, lock errors that surfaced, counts ever seen to fall)."""
    uses = busy = falls = last = 0
    while not stop.is_set():
        try:
            # who is kept out for ever is starved; how long is fair depends on the machine
            with reading(Home(root), timeout_s=PATIENCE_S / 5) as con:
                row = con.execute("SELECT count(*) FROM calls").fetchone()
        except NoLogError:
            continue
        except LogBusyError:
            busy += 1
            continue
        count = row[0] if row is not None else 0
        uses, falls, last = uses + 1, falls + (count < last), count
    results.send((uses, busy, falls))


def event() -> Any:
    """Return an event that processes share."""
    return _CONTEXT.Event()


class Acks:
    """Takes down what writers acknowledge; what a dead one has left in the pipe counts too."""

    def __init__(self) -> None:
        self._receiver, self.sender = pipe()
        # a small pipe: a writer is never far ahead of what is known of it
        fcntl.fcntl(self.sender.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        self._text = bytearray()
        self._news = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        while data := os.read(self._receiver.fileno(), 4096):
            with self._news:
                self._text += data
                self._news.notify_all()

    def wait_for(self, count: int, timeout_s: float = PATIENCE_S) -> None:
        """Wait until so many calls are acknowledged."""
        with self._news:
            assert self._news.wait_for(lambda: self._text.count(b"\n") >= count, timeout_s), (
                f"not {count} in {timeout_s} s"
            )

    def all(self) -> list[str]:
        """Return every acknowledged call id, once all writers are dead."""
        self.sender.close()
        self._listener.join()
        self._receiver.close()
        return [f"c-{text.decode()}" for text in bytes(self._text).split(b"\n")[:-1]]


def end(processes: Sequence[BaseProcess], *, politely: bool = False) -> None:
    """Kill processes with -9, or with SIGTERM, and wait until they are gone."""
    for process in processes:
        with suppress(AttributeError):
            process.terminate() if politely else process.kill()
    for process in processes:
        # one that goes on would keep what it holds from whoever comes next
        process.join(PATIENCE_S)
        assert not process.is_alive()
