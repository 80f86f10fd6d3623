"""What a call's flow asks of whoever drives it."""

from collections.abc import Generator

from router_core.record import record
from router_core.types import Answer, Request, Response


@record
class Send:
    """Send the request; give back the response or throw the failure."""

    request: Request


@record
class Pause:
    """Wait."""

    seconds: float


Effect = Send | Pause
Flow = Generator[Effect, Response | None, Answer]
