"""Where a streamed call stands, whoever drives it and whoever ends it."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from router_core.effects import Begun, Disowned, Effect, Flow, Stopped
from router_core.types import Answer, Chunk, Response


class Closing(Protocol):
    """What can be closed from anywhere."""

    def close(self) -> None:
        """Have it closed, soon."""
        ...


class Streams:
    """The streamed calls that are under way, for the end of the router and for forks."""

    def __init__(self) -> None:
        self._running: set[Course] = set()

    def add(self, course: "Course") -> None:
        """Take note of a call that begins."""
        self._running.add(course)

    def discard(self, course: "Course") -> None:
        """Forget a call that has ended."""
        self._running.discard(course)

    def close(self) -> None:
        """Stop them all."""
        for course in tuple(self._running):
            course.stop()

    def after_fork(self) -> None:
        """Leave the parent's calls to the parent, in a forked child."""
        running, self._running = self._running, set()
        for course in running:
            course.disown()


class Course:
    """Where one streamed call stands. Any thread may stop it at any moment; only one drives it.

    Args:
        begin: Begins the call.
        streams: Where it is registered while it runs.
    """

    def __init__(self, begin: Callable[[], Flow], streams: Streams) -> None:
        self._begin = begin
        self._streams = streams
        # re-entrant: a signal handler may close the router in the middle of a step
        self._lock = threading.RLock()
        self._flow: Flow | None = None
        self._is_stepping = False
        self._is_wanted = True
        self._waiting: Chunk | None = None
        self.reading: Closing | None = None
        self.effect: Effect | None = None
        self.answer: Answer | None = None
        self.is_over = self.is_handed = False

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended."""
        return self._flow is not None

    def begin(self) -> None:
        """Begin the call, unless that has happened.

        Raises:
            RequestRejectedError: It is refused.
        """
        if self._flow is None and not self.is_over:
            self._flow = self._begin()
            self._streams.add(self)
            self._step(next)

    def send(self, result: Response | Begun | None) -> None:
        """Go on after the effect was done; raises what the call raises."""
        if isinstance(result, Begun):
            self._waiting = result.first
        self._step(lambda flow: flow.send(result))

    def throw(self, error: BaseException) -> None:
        """Go on after the effect has failed; raises what the call raises."""
        if self.is_over and not isinstance(error, Exception):
            raise error  # it was stopped meanwhile, but an interrupt is not about the stream
        self._step(lambda flow: flow.throw(error))

    def next_waiting(self) -> Chunk | None:
        """Return the piece that came when the answer began, once."""
        waiting, self._waiting = self._waiting, None
        return waiting

    def stop(self) -> None:
        """End the call here; never raises."""
        self._is_wanted = False
        with self._lock:
            if self._is_stepping:  # the step that this has interrupted does it at its end
                return
            if not self.is_running:
                self.is_over = True
                return
            if self.reading is not None:
                self.reading.close()
            with suppress(Stopped):
                self._step(lambda flow: flow.throw(Stopped()))
            self._waiting = None

    def disown(self) -> None:
        """Forget the call without a word: it is the parent's, and this is a forked child."""
        self._lock = threading.RLock()
        flow, self._flow, self.reading = self._flow, None, None
        self.is_over, self.effect = True, None
        if flow is not None:
            # an error of the value: a thread that does not exist here was in the middle of it
            with suppress(Disowned, ValueError):
                flow.throw(Disowned())

    def _step(self, step: Callable[[Flow], Effect]) -> None:
        with self._lock:
            flow = self._flow
            if flow is None:
                return
            self._is_stepping = True
            try:
                self.effect = step(flow)
            except StopIteration as stop:
                self._end(stop.value)
            except BaseException:
                self._end(None)
                raise
            finally:
                self._is_stepping = False
            if not self._is_wanted:
                self.stop()

    def _end(self, answer: Answer | None) -> None:
        self.is_over, self.effect, self.answer = True, None, answer
        self._flow = None
        self._streams.discard(self)
        if self.reading is not None:
            self.reading.close()
        if answer is not None and answer.text and not self.is_handed:
            # it did not come in pieces: from the cache, from a pre-check, or it is the draft of another tier
            self._waiting = Chunk(answer.text, answer.raw)
