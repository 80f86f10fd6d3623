"""Model clients behind one port."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from router_core.types import Request, Response

__all__ = ["Backend"]


class Backend(Protocol):
    """One request to one target. Retries, fallbacks and prices are the router's business, never a backend's."""

    def complete(self, request: "Request") -> "Response":
        """Return the target's answer.

        Raises:
            CallError: For every failure, whatever it was; nothing else leaves a backend.
        """
        ...

    async def acomplete(self, request: "Request") -> "Response":
        """Return the target's answer, without blocking the event loop.

        Raises:
            CallError: For every failure but cancellation, which passes unchanged.
        """
        ...
