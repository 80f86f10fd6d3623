"""An answer that litellm hands out piece by piece, read by a thread or by an event loop.

A thread of its own reads the stream for a blocking caller, because nothing else can leave a blocking client in time; it
also takes in what the provider has already sent when the caller stops, so that this is counted. An event loop reads a
piece when it is asked for.
"""

import asyncio
import contextlib
import contextvars
import inspect
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol

from router_core.backends.litellm_chunks import TokenCounter, piece_of, prompt_text, response_of_chunks
from router_core.backends.litellm_errors import translated
from router_core.backends.litellm_response import field_of, text_of
from router_core.errors import CallError, place_of
from router_core.types import Chunk, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from router_core.types import Request

# litellm's own timeout comes first, because it knows more about what went wrong; but it counts silence, not time
GRACE_S: Final = 0.25
# how long a caller may wait for a connection to be closed
_CLOSING_S: Final = 2.0
_END: Final = object()
_logger = logging.getLogger("router_core.backends")


class Client(Protocol):
    """What is used of litellm here, beside the request itself."""

    def token_counter(self, **arguments: Any) -> int:
        """Count tokens."""
        ...

    def stream_chunk_builder(self, chunks: list[Any]) -> object:
        """Make a whole response of its chunks."""
        ...


class _Gathered:
    """What has come of one stream so far. The source is litellm's wrapper, which keeps every chunk with its usage."""

    def __init__(self, client: Client, request: "Request") -> None:
        self._client = client
        self._request = request
        self._handed: list[str] = []
        self._is_over = False
        self.source: Any = None
        self._known: Response | None = None

    def hand(self, raw: object) -> Chunk | None:
        """Return a chunk as the caller gets it, or None when there is nothing in it."""
        piece = piece_of(raw)
        if not piece.carries:
            return None
        self._handed.append(piece.text)
        return Chunk(piece.text, raw)

    def end(self) -> None:
        """Take note that the provider has closed the stream.

        Raises:
            CallError: It did so in the middle.
        """
        self._is_over = True
        # the client makes a "stop" of its own out of a stream that was cut off
        if self._finish_reason() is None and self.received().is_counted:
            text = f"{self._request.model}: the stream ended before the answer did"
            raise CallError(text, kind="bad_response", billed=None)

    def received(self) -> Response:
        """Return what has come so far."""
        if self._known is not None:
            return self._known
        chunks: list[object] = list(getattr(self.source, "chunks", ()))
        reason = self._finish_reason()
        response = response_of_chunks(
            chunks,
            text="".join(self._handed),
            is_whole=self._is_over or reason is not None,
            finish_reason=reason,
            response_model=text_of(field_of(self.source, "_provider_response_model")),
            raw=self._whole(chunks) if self._is_over else None,
            count_prompt=self._count_prompt,
            count=self._counter(),
        )
        if self._is_over:
            self._known = response
        return response

    def _finish_reason(self) -> str | None:
        names = ("received_finish_reason", "intermittent_finish_reason")
        return next(filter(None, (text_of(field_of(self.source, name)) for name in names)), None)

    def _whole(self, chunks: list[Any]) -> object:
        try:
            return self._client.stream_chunk_builder(chunks)
        except Exception:  # noqa: BLE001 - the caller's extra; the answer itself does not hang on it
            return None

    def _counter(self) -> TokenCounter:
        # without a model's name the client takes the tokenizer that it has, and downloads none
        return lambda text: _counted(lambda: self._client.token_counter(model="", text=text), len(text))

    def _count_prompt(self) -> int:
        request = self._request
        messages = [dict(message) for message in request.messages]
        arguments = {"model": "", "messages": messages, "tools": request.params.get("tools")}
        length = sum(len(str(message.get("content"))) for message in messages)
        known = _counted(lambda: self._client.token_counter(**arguments, use_default_image_token_count=True), length)
        schema = prompt_text(request.response_format)
        return known + (self._counter()(schema) if schema else 0)


class LiteLLMReading:
    """A stream for a blocking caller.

    Args:
        client: litellm.
        request: The request.
        begin: Sends it and returns litellm's stream.
    """

    def __init__(self, client: Client, request: "Request", begin: "Callable[[], Iterator[object]]") -> None:
        self._request = request
        self._begin = begin
        self._gathered = _Gathered(client, request)
        self._came: SimpleQueue[object] = SimpleQueue()
        self._stopped = threading.Event()
        self._is_begun = self._is_ended = False
        self._until_s: float | None = None

    def next_chunk(self) -> Chunk | None:
        """Return the next piece that carries something, or None at the end of the answer.

        Raises:
            CallError: The request failed, the stream broke, or nothing came in time.
        """
        if not self._is_begun and not self._is_ended:
            self._start()
        while not self._is_ended:
            came = self._next()
            if isinstance(came, BaseException):
                self._is_ended = True
                if isinstance(came, CallError):
                    raise came
                raise translated(came, self._request.model) from came
            if came is _END:
                self._is_ended = True
                self._gathered.end()
                break
            chunk = self._gathered.hand(came)
            if chunk is not None:
                return chunk
        return None

    def received(self) -> Response:
        """Return what has come so far."""
        return self._gathered.received()

    def close(self) -> None:
        """Stop reading and have the connection closed."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._is_ended = True
            self._came.put(_END)
            _hang_up(self._gathered.source)

    def _start(self) -> None:
        self._is_begun = True
        self._until_s = _until(self._request)
        context = contextvars.copy_context()
        threading.Thread(target=lambda: context.run(self._read), name="tierwise-stream", daemon=True).start()

    def _next(self) -> object:
        try:
            return self._came.get_nowait()
        except Empty:
            pass
        try:
            return self._came.get(timeout=_wait_s(self._request, self._until_s))
        except Empty:
            self.close()
            raise _late(self._request) from None

    def _read(self) -> None:
        last: object = _END
        try:
            if self._stopped.is_set():  # nobody waits for it any more: it is not sent
                return
            self._gathered.source = source = self._begin()
            for raw in source:
                if self._stopped.is_set():
                    break
                self._came.put(raw)
        except BaseException as error:  # noqa: BLE001 - whatever ends this thread is the reader's to hear
            last = error
        self._came.put(last)
        _close(self._gathered.source)


class AsyncLiteLLMReading:
    """A stream for an event loop.

    Args:
        client: litellm.
        request: The request.
        begin: Sends it and returns litellm's stream.
    """

    def __init__(
        self,
        client: Client,
        request: "Request",
        begin: "Callable[[], Coroutine[Any, Any, AsyncIterator[object]]]",
    ) -> None:
        self._request = request
        self._begin = begin
        self._gathered = _Gathered(client, request)
        self._until_s: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ended = False
        self._closing: asyncio.Future[None] | None = None

    async def next_chunk(self) -> Chunk | None:
        """Return the next piece that carries something, or None at the end of the answer.

        Raises:
            CallError: The request failed, the stream broke, or nothing came in time.
        """
        outer = sys.exception()
        if self._loop is None:
            self._loop, self._until_s = asyncio.get_running_loop(), _until(self._request)
        while not self._is_ended:
            try:
                async with asyncio.timeout(_wait_s(self._request, self._until_s)):
                    raw = await self._next()
            except TimeoutError:
                await self.aclose()
                raise _late(self._request) from None
            except CallError:
                self._is_ended = True
                raise
            except Exception as error:
                self._is_ended = True
                raise translated(error, self._request.model, outer=outer) from error
            if raw is _END:
                self._is_ended = True
                self._gathered.end()
                break
            chunk = self._gathered.hand(raw)
            if chunk is not None:
                return chunk
        return None

    def received(self) -> Response:
        """Return what has come so far."""
        return self._gathered.received()

    def close(self) -> None:
        """Stop, and have the connection closed by its event loop, if that still runs."""
        self._is_ended = True
        loop = self._loop
        if loop is None or self._gathered.source is None or loop.is_closed():
            return
        with contextlib.suppress(RuntimeError):  # the loop has been closed in this moment
            loop.call_soon_threadsafe(self._begin_closing)

    async def aclose(self) -> None:
        """Stop, and wait until the connection is closed."""
        self._is_ended = True
        if self._gathered.source is not None:
            self._begin_closing()
            if self._closing is not None:
                await asyncio.wait([self._closing], timeout=_CLOSING_S)

    def _begin_closing(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(_aclose(self._gathered.source))

    async def _next(self) -> object:
        if self._gathered.source is None:
            self._gathered.source = await self._begin()
        return await anext(self._gathered.source, _END)


def _until(request: "Request") -> float | None:
    return None if request.total_s is None else time.monotonic() + request.total_s + GRACE_S


def _wait_s(request: "Request", until_s: float | None) -> float:
    """Return how long to wait for the next chunk."""
    wait_s = request.timeout_s + GRACE_S
    return wait_s if until_s is None else max(0.0, min(wait_s, until_s - time.monotonic()))


def _late(request: "Request") -> CallError:
    return CallError(f"{request.model}: the next piece did not come in time", kind="timeout", billed=None)


def _counted(count: "Callable[[], int]", characters: int) -> int:
    """Return a number of tokens; where nobody can count them, four characters are one."""
    try:
        counted = count()
    except Exception:  # noqa: BLE001 - an unknown kind of message part; an estimate must not fail
        counted = 0
    return counted or -(-characters // 4)


def _hang_up(source: Any) -> None:
    """Wake a thread that waits for a silent provider, where the client lets its socket be found."""
    try:
        stream = source.completion_stream.response.extensions["network_stream"]
        socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)
    except Exception:  # noqa: BLE001 - then the thread ends with its next chunk, or with its timeout
        return


def _close(source: Any) -> None:
    """Close the connection of a stream that nobody reads any more; called by the thread that has read it."""
    inner = field_of(source, "completion_stream")
    for stream in (inner, field_of(inner, "streaming_response")):
        close = field_of(stream, "close")
        if callable(close):
            try:
                close()
            except Exception as error:  # noqa: BLE001 - whatever the client's own object raises
                _logger.debug("a stream could not be closed: %s", place_of(error))


async def _aclose(source: Any) -> None:
    # older wrappers cannot be closed themselves
    inner = field_of(source, "completion_stream")
    closes = (field_of(source, "aclose"), field_of(inner, "aclose"), field_of(inner, "close"))
    close = next(filter(callable, closes), None)
    if close is None:
        return
    try:
        closing = close()
        if inspect.isawaitable(closing):
            await closing
    except Exception as error:  # noqa: BLE001 - whatever the client's own object raises
        _logger.debug("a stream could not be closed: %s", place_of(error))
