"""Where work that nobody waits for is done: on a few threads, or at once where time is virtual."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from router_core.clock import VirtualClock
from router_core.errors import place_of

_THREADS: Final = 4
_MOST_WAITING: Final = 64
# threads without work end, so that a router that is dropped without being closed leaves none behind
_IDLE_S: Final = 10.0
_logger = logging.getLogger("router_core.background")

Job = Callable[[], None]


class Background(Protocol):
    """Does work that nobody waits for. A job that raises harms nothing but itself."""

    def submit(self, job: Job) -> bool:
        """Take a job; return False when there is no room for it. Never waits."""
        ...

    def close(self, grace_s: float) -> int:
        """Take no more jobs, give the running ones so many seconds, and return how many never began."""
        ...

    def after_fork(self) -> None:
        """Begin anew in a forked child; what waits is the parent's to do."""
        ...


class Threads:
    """A few daemon threads behind a bounded queue: it never holds an exit up, and never grows.

    Args:
        threads: Most jobs at the same time.
        waiting: Most jobs that wait for a thread.
    """

    def __init__(self, *, threads: int = _THREADS, waiting: int = _MOST_WAITING) -> None:
        self._most_threads = threads
        self._most_waiting = waiting
        self._begin()

    def _begin(self) -> None:
        # re-entrant: a signal handler may close the router in the middle of a submit
        self._news = threading.Condition(threading.RLock())
        self._waiting: deque[Job] = deque()
        self._threads = self._idle = self._running = 0
        self._is_closed = False

    def submit(self, job: Job) -> bool:
        """Take a job; return False when there is no room for it. Never waits."""
        with self._news:
            if self._is_closed or len(self._waiting) >= self._most_waiting:
                return False
            if self._idle <= len(self._waiting) and self._threads < self._most_threads:
                self._start()
            if not self._threads:
                return False
            self._waiting.append(job)
            self._news.notify()
        return True

    def close(self, grace_s: float) -> int:
        """Take no more jobs, give the running ones so many seconds, and return how many never began."""
        with self._news:
            self._is_closed = True
            dropped = len(self._waiting)
            self._waiting.clear()
            self._news.notify_all()
            self._news.wait_for(lambda: not self._running, grace_s)
        return dropped

    def after_fork(self) -> None:
        """Begin anew in a forked child, where the threads are not; what waits is the parent's to do."""
        was_closed = self._is_closed
        self._begin()
        self._is_closed = was_closed

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name="tierwise-background", daemon=True).start()
        except RuntimeError:  # no more threads are to be had, or the interpreter is going down
            return
        self._threads += 1

    def _work(self) -> None:
        while True:
            with self._news:
                job = self._next()
                if job is None:
                    self._threads -= 1
                    return
                self._running += 1
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - it harms nothing but itself
                _logger.warning("a background job has failed: %s", place_of(error))
            finally:
                with self._news:
                    self._running -= 1
                    self._news.notify_all()

    def _next(self) -> Job | None:
        """Return the next job, or None when this thread is to end; called with the lock held."""
        self._idle += 1
        try:
            self._news.wait_for(lambda: self._waiting or self._is_closed, _IDLE_S)
        finally:
            self._idle -= 1
        return self._waiting.popleft() if self._waiting else None


class Inline:
    """Does each job at once and puts the virtual clock back: the job took place beside, and nobody has waited.

    Args:
        clock: The clock that a job moves on.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def submit(self, job: Job) -> bool:
        """Do the job."""
        before_us = self._clock.now_us()
        try:
            job()
        finally:
            self._clock.set(before_us)
        return True

    def close(self, grace_s: float) -> int:
        """Nothing waits here."""
        del grace_s
        return 0

    def after_fork(self) -> None:
        """There is nothing to begin anew."""
