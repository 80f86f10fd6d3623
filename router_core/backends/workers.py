"""Threads that make blocking calls for others, who need not wait for them longer than they want.

Nothing else can leave a blocking client: what is given up runs on until its connection ends, then its thread is free
again. A thread that is free waits a while for its next call, because starting one costs more than all else here.
"""

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

# a program that has ended its calls keeps no threads
_IDLE_S: Final = 10.0


class Job:
    """One call, and how it ended.

    Attributes:
        value: What it returned.
        error: What it raised; None = nothing.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self.value: object = None
        self.error: BaseException | None = None
        self._call = call
        self._context = contextvars.copy_context()
        self._ended = threading.Event()

    def run(self) -> None:
        """Make the call."""
        try:
            self.value = self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001 - whoever waits for it judges it
            self.error = error

    def end(self) -> None:
        """Let whoever waits go on."""
        self._ended.set()

    def wait(self, timeout_s: float) -> bool:
        """Return whether it has ended, after so many seconds at most."""
        return self._ended.wait(timeout_s)


class Workers:
    """Threads on demand, kept for a while; usable from any number of threads, and on both sides of a fork."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._idle: deque[_Worker] = deque()

    def begin(self, call: Callable[[], object]) -> Job:
        """Return a call that has begun in another thread, in a copy of this one's context."""
        job = Job(call)
        self._worker().jobs.put(job)
        return job

    def _worker(self) -> "_Worker":
        if self._pid != os.getpid():  # a forked child has none of its parent's threads
            self._pid, self._idle = os.getpid(), deque()
        try:
            # the last one that became free: the others may end
            return self._idle.pop()
        except IndexError:
            return _Worker(self._idle)


class _Worker:
    """One thread."""

    def __init__(self, idle: "deque[_Worker]") -> None:
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self._idle = idle
        threading.Thread(target=self._work, name="tierwise-request", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self.jobs.get(timeout=_IDLE_S)
            except Empty:
                if self._is_retired():
                    return
                continue
            job.run()
            # free before its caller knows: that one's next call finds it
            self._idle.append(self)
            job.end()
            del job

    def _is_retired(self) -> bool:
        """Return whether it may end; not when somebody has just taken it."""
        try:
            self._idle.remove(self)
        except ValueError:
            return False
        return True
