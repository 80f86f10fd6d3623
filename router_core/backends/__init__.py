"""Model clients behind one port."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from router_core.types import Chunk, Request, Response

__all__ = ["AsyncReading", "Backend", "Reading", "StreamingBackend"]


class Backend(Protocol):
    """One request to one target. Retries, fallbacks and prices are the router's business, never a backend's.

    Its own business is ``request.timeout_s``: a request that takes longer fails there, with kind ``timeout``. The
    router waits for its backend, because taking a thread for every call would cost more than all else that it does. It
    gives a request no more time than its call has left, and sends none after the deadline; a backend that answers later
    than it was allowed to makes its call last that much longer, and its answer is served.
    """

    def complete(self, request: "Request") -> "Response":
        """Return the target's answer within ``request.timeout_s``.

        Raises:
            CallError: For every failure, whatever it was; nothing else leaves a backend.
        """
        ...

    async def acomplete(self, request: "Request") -> "Response":
        """Return the target's answer within ``request.timeout_s``, without blocking the event loop.

        Raises:
            CallError: For every failure but cancellation, which passes unchanged.
        """
        ...


class Reading(Protocol):
    """One answer while it comes in."""

    def next_chunk(self) -> "Chunk | None":
        """Return the next piece that carries something, or None at the end of the answer; the first sends the request.

        Raises:
            CallError: The request failed, or the stream broke; nothing else leaves a backend.
        """
        ...

    def received(self) -> "Response":
        """Return what has come so far: the text of the pieces handed out, and all tokens to be paid.

        Of an answer that has not ended, or whose tokens the provider has not told, they are counted (``is_counted``).
        """
        ...

    def close(self) -> None:
        """Stop: close the connection, in the middle too, from any thread, again and again."""
        ...


class AsyncReading(Protocol):
    """One answer while it comes in, for an event loop; see ``Reading``."""

    async def next_chunk(self) -> "Chunk | None":
        """Return the next piece that carries something, or None at the end of the answer; the first sends the request.

        Raises:
            CallError: The request failed, or the stream broke; nothing but that and cancellation leaves a backend.
        """
        ...

    def received(self) -> "Response":
        """Return what has come so far; see ``Reading.received``."""
        ...

    def close(self) -> None:
        """Stop: have the connection closed soon; from any thread, again and again, also without a running loop."""
        ...

    async def aclose(self) -> None:
        """Stop, and wait until the connection is closed."""
        ...


@runtime_checkable
class StreamingBackend(Backend, Protocol):
    """A backend that can also hand out an answer piece by piece."""

    def stream(self, request: "Request") -> Reading:
        """Return the answer to be read; nothing is sent before its first piece is asked for."""
        ...

    def astream(self, request: "Request") -> AsyncReading:
        """Return the answer to be read in an event loop; nothing is sent before its first piece is asked for."""
        ...
