"""What a call's flow asks of whoever drives it."""

from collections.abc import Generator
from typing import TypeVar

from router_core.backends import AsyncReading, Reading
from router_core.record import record
from router_core.types import Answer, Chunk, Request, Response


@record
class Send:
    """Send the request; give back the response or throw the failure."""

    request: Request


@record
class Pause:
    """Wait."""

    seconds: float


@record
class Begun:
    """A streamed answer that has begun to come, or that was empty.

    Attributes:
        reading: The answer.
        first: Its first piece; None = it has ended without one.
    """

    reading: Reading | AsyncReading
    first: Chunk | None


@record
class Open:
    """Send the request and read on to the first piece; give back what has begun or throw the failure."""

    request: Request


@record
class Relay:
    """Hand the pieces out; give back nothing at the end, throw what broke the stream, or ``Stopped``."""


class Stopped(BaseException):
    """The caller wants no further piece."""


class Disowned(BaseException):
    """The call is another process's: it ends here without a word."""


T = TypeVar("T")
Effect = Send | Pause | Open | Relay
Driven = Generator[Effect, Response | Begun | None, T]
Flow = Driven[Answer]
