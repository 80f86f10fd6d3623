"""Streams: a call whose answer is handed out piece by piece, to a thread or to an event loop.

Both drive the same flow as every other call (``flow.py``). What differs is who keeps the time: the caller asks for each
piece, may stop in the middle, and may never come back. Whatever happens, the call has its lines and its money is
booked: at the end, at ``close``, at the end of a ``with`` block, when the stream is dropped, when its task is
cancelled, and when the router or the process ends.
"""

import _thread
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Protocol

from router_core.backends import AsyncReading, Reading, StreamingBackend
from router_core.clock import Clock, VirtualClock
from router_core.effects import Begun, Disowned, Effect, Flow, Open, Pause, Relay, Send, Stopped
from router_core.errors import RouterError
from router_core.types import Answer, Chunk, Response

_NOT_YET: Final = "the stream has not ended: read it to its end, or close it, before asking for its answer"
_NO_ANSWER: Final = "there is no answer: the stream was closed before it had begun, or it has failed"


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
        self.is_over = False

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
        elif answer is not None and answer.text:
            self._waiting = Chunk(answer.text, answer.raw)  # nobody was asked: there is one piece


class _Ending:
    """What both kinds of streams say about themselves."""

    def __init__(self, course: Course, clock: Clock) -> None:
        self._course = course
        self._clock = clock
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        """What was handed out so far."""
        return "".join(self._texts)

    @property
    def answer(self) -> Answer:
        """The answer, once the stream has ended or was closed: its cost, its attempts, the verdicts of the checks.

        The reason is ``streamed``; ``stopped`` when the caller has closed it, with the text handed out until then.

        Raises:
            RouterError: The stream has not ended yet, or it has no answer.
        """
        answer = self._course.answer
        if answer is None:
            raise RouterError(_NO_ANSWER if self._course.is_over else _NOT_YET)
        return answer

    def _handed(self, chunk: Chunk) -> Chunk:
        self._texts.append(chunk.text)
        return chunk

    def __del__(self) -> None:
        course = self._course
        if not course.is_running:
            return
        # The collector may have come in the middle of anything, with any lock held: what ends the call runs elsewhere.
        if not isinstance(self._clock, VirtualClock):
            with suppress(RuntimeError):  # there are no more threads to be had: the interpreter is going down
                _thread.start_new_thread(course.stop, ())
                return
        course.stop()


class Stream(_Ending):
    """A streamed answer: an iterator of ``Chunk``, and a context manager that closes it.

    Nothing is sent before the first piece is asked for; that is when the call begins, and when retries and fallbacks
    happen. From the first piece on the answer is this one, whatever comes.
    """

    def __init__(self, course: Course, backend: StreamingBackend, clock: Clock) -> None:
        super().__init__(course, clock)
        self._backend = backend
        self._reading: Reading | None = None

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Chunk:
        course = self._course
        course.begin()
        while (effect := course.effect) is not None:
            try:
                done = self._perform(effect)
            except BaseException as error:  # noqa: BLE001 - the flow logs it and raises what is to be raised
                course.throw(error)
                continue
            if isinstance(done, Chunk):
                return self._handed(done)
            course.send(done)
        left = course.next_waiting()
        if left is None:
            raise StopIteration
        return self._handed(left)

    def close(self) -> None:
        """End the stream here. What has come until now is served, counted and paid; closing twice does nothing."""
        self._course.stop()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _perform(self, effect: Effect) -> Response | Begun | Chunk | None:
        match effect:
            case Relay():
                waiting = self._course.next_waiting()
                return waiting or (self._reading.next_chunk() if self._reading is not None else None)
            case Open(request=request):
                reading = self._reading = self._course.reading = self._backend.stream(request)
                return Begun(reading=reading, first=reading.next_chunk())
            case Send(request=request):
                return self._backend.complete(request)
            case Pause(seconds=seconds):
                return self._clock.sleep(seconds)


class AsyncStream(_Ending):
    """A streamed answer for an event loop: an async iterator and context manager; see ``Stream``."""

    def __init__(self, course: Course, backend: StreamingBackend, clock: Clock) -> None:
        super().__init__(course, clock)
        self._backend = backend
        self._reading: AsyncReading | None = None

    def __aiter__(self) -> "AsyncStream":
        return self

    async def __anext__(self) -> Chunk:
        course = self._course
        course.begin()
        while (effect := course.effect) is not None:
            try:
                done = await self._perform(effect)
            except BaseException as error:  # noqa: BLE001 - the flow logs it and raises what is to be raised
                course.throw(error)
                continue
            if isinstance(done, Chunk):
                return self._handed(done)
            course.send(done)
        left = course.next_waiting()
        if left is None:
            raise StopAsyncIteration
        return self._handed(left)

    async def aclose(self) -> None:
        """End the stream here, and wait until its connection is closed; see ``Stream.close``."""
        self._course.stop()
        if self._reading is not None:
            await self._reading.aclose()

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _perform(self, effect: Effect) -> Response | Begun | Chunk | None:
        match effect:
            case Relay():
                waiting = self._course.next_waiting()
                return waiting or (await self._reading.next_chunk() if self._reading is not None else None)
            case Open(request=request):
                reading = self._reading = self._course.reading = self._backend.astream(request)
                return Begun(reading=reading, first=await reading.next_chunk())
            case Send(request=request):
                return await self._backend.acomplete(request)
            case Pause(seconds=seconds):
                return await self._clock.asleep(seconds)
