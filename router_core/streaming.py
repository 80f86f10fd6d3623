"""Streams: a call whose answer is handed out piece by piece, to a thread or to an event loop.

Both drive the same flow as every other call (``flow.py``). What differs is who keeps the time: the caller asks for each
piece, may stop in the middle, and may never come back. Whatever happens, the call has its lines and its money is
booked: at the end, at ``close``, at the end of a ``with`` block, when the stream is dropped, when its task is
cancelled, and when the router or the process ends.
"""

import _thread
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final

from router_core.backends import AsyncReading, Backend, Reading, StreamingBackend
from router_core.checks import Check
from router_core.clock import Clock, VirtualClock
from router_core.course import Course, Streams
from router_core.effects import Begun, Effect, Flow, Open, Pause, Relay, Send
from router_core.errors import RouterError
from router_core.prechecks import PreCheckFunction
from router_core.task import ConfidenceFunction, Task, refuse_unusable, several
from router_core.types import Answer, Chunk, Message, Response

_NOT_YET: Final = "the stream has not ended: read it to its end, or close it, before asking for its answer"
_NO_ANSWER: Final = "there is no answer: the stream was closed before it had begun, or it has failed"


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
        self._course.is_handed = True
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


class StreamedCalls:
    """The streamed calls of a router."""

    _backend: Backend
    _clock: Clock
    _streams: Streams

    def _begin(self, task: Task) -> Flow:
        raise NotImplementedError

    def stream(
        self,
        payload_type: str,
        *,
        messages: Sequence[Message],
        response_format: Any = None,
        checks: Sequence[Check] | None = (),
        pre_checks: Sequence[PreCheckFunction] | None = (),
        confidence: ConfidenceFunction | None = None,
        run: str | None = None,
        step: str | None = None,
        tags: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Stream:
        """Return the answer to one call piece by piece: ``for chunk in router.stream(...)``; arguments as ``complete``.

        The call begins when the first piece is asked for. Until that is there, failures are retried, fall back and go
        up as in ``complete``; from then on nothing else is asked. What is answered without asking (by a pre-check, from
        the cache for retries) comes as one piece. Checks and confidence are measured and logged at the
        end, and change nothing any more. Then ``stream.answer`` is the answer; after ``close``, a ``break`` out of a
        ``with`` block or an exception, too: with the text until there, and what has come by then counted as its cost.

        Raises:
            TypeError, ValueError: An argument cannot be used, or the backend cannot stream; nothing was sent.
            RequestRejectedError: At the first piece: the payload type is unknown, or the router is closed.
            RouteExhaustedError: At a piece: nobody answered, or the stream broke; ``partial_text`` is what had come.
        """
        task = Task(
            payload_type=payload_type,
            messages=messages,
            response_format=response_format,
            checks=several("checks", checks),
            pre_checks=several("pre_checks", pre_checks),
            confidence=confidence,
            run=run,
            step=step,
            tags=tags,
            params=params,
            is_streamed=True,
        )
        return Stream(self._course(task), _streaming(self._backend), self._clock)

    def astream(
        self,
        payload_type: str,
        *,
        messages: Sequence[Message],
        response_format: Any = None,
        checks: Sequence[Check] | None = (),
        pre_checks: Sequence[PreCheckFunction] | None = (),
        confidence: ConfidenceFunction | None = None,
        run: str | None = None,
        step: str | None = None,
        tags: Mapping[str, str] | None = None,
        **params: Any,
    ) -> AsyncStream:
        """Return the same for an event loop: ``async for chunk in router.astream(...)``; see ``stream``."""
        task = Task(
            payload_type=payload_type,
            messages=messages,
            response_format=response_format,
            checks=several("checks", checks),
            pre_checks=several("pre_checks", pre_checks),
            confidence=confidence,
            run=run,
            step=step,
            tags=tags,
            params=params,
            is_streamed=True,
        )
        return AsyncStream(self._course(task), _streaming(self._backend), self._clock)

    def _course(self, task: Task) -> Course:
        refuse_unusable(task)
        return Course(partial(self._begin, task), self._streams)


def _streaming(backend: Backend) -> StreamingBackend:
    if not isinstance(backend, StreamingBackend):
        raise TypeError(f"{type(backend).__name__} cannot stream: it has no stream and no astream")
    return backend
