"""A known answer, handed out piece by piece on a clock: the streams of backends that speak to nobody."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from router_core.clock import Clock
from router_core.errors import CallError
from router_core.types import Chunk, Request, Response, Usage

_NOTHING: Final = Response(text="", usage=Usage())
_PIECE: Final = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recital:
    """What is to be handed out.

    Attributes:
        response: The whole answer.
        pieces: Its text in pieces.
        failure: What is raised after the last piece, in place of the end.
        first_s: Seconds before the first piece.
        between_s: Seconds before each further piece.
    """

    response: Response = _NOTHING
    pieces: tuple[str, ...] = ()
    failure: BaseException | None = None
    first_s: float = 0.0
    between_s: float = 0.0


Begin = Callable[[Request], Recital]
"""Decides what is recited, when the first piece is asked for."""


def pieces_of(text: str) -> tuple[str, ...]:
    """Return a text word by word, each with the blanks behind it; together they are the text again."""
    return tuple(_PIECE.findall(text))


class _Progress:
    """How far a recital has come."""

    def __init__(self, request: Request, begin: Begin) -> None:
        self._request = request
        self._begin = begin
        self._recital: Recital | None = None
        self._handed = 0
        self._spent_s = 0.0
        self._is_over = self._is_whole = False

    def close(self) -> None:
        self._is_over = True

    def wait_s(self) -> float:
        """Return the pause before the next piece, no longer than the request's limits."""
        if self._is_over:
            return 0.0
        if self._recital is None:
            self._recital = self._begin(self._request)
        wait_s = self._recital.between_s if self._handed else self._recital.first_s
        return min(wait_s, self._most_s())

    def next(self, waited_s: float) -> Chunk | None:
        """Return the next piece after the pause, or None at the end.

        Raises:
            CallError: It is to fail here, or it is late.
        """
        recital = self._recital
        if self._is_over or recital is None:
            return None
        is_late = waited_s < (recital.between_s if self._handed else recital.first_s)
        self._spent_s += waited_s
        if not is_late and self._handed < len(recital.pieces):
            self._handed += 1
            return Chunk(recital.pieces[self._handed - 1])
        self._is_over = True
        if is_late:
            raise CallError("the next piece did not come in time", kind="timeout", billed=None)
        if recital.failure is not None:
            raise recital.failure
        self._is_whole = True
        return None

    def received(self) -> Response:
        recital = self._recital or Recital()
        if self._is_whole:
            return recital.response
        usage, n = recital.response.usage, max(len(recital.pieces), 1)
        output = -(-(usage.output_tokens or 0) * self._handed // n)
        return replace(
            recital.response,
            text="".join(recital.pieces[: self._handed]),
            usage=replace(usage, output_tokens=output, reasoning_tokens=min(usage.reasoning_tokens, output)),
            finish_reason=None,
            cost_nusd=None,
            is_counted=True,
        )

    def _most_s(self) -> float:
        total_s = self._request.total_s
        left_s = self._request.timeout_s if total_s is None else total_s - self._spent_s
        return max(0.0, min(self._request.timeout_s, left_s))


class RecitedReading:
    """A recital for a blocking caller.

    Args:
        request: The request it answers.
        begin: Decides what is recited.
        clock: Takes the pauses; None = there are none.
    """

    def __init__(self, request: Request, begin: Begin, clock: Clock | None) -> None:
        self._progress = _Progress(request, begin)
        self._clock = clock

    def next_chunk(self) -> Chunk | None:
        """Return the next piece, or None at the end.

        Raises:
            CallError: It fails here, or is late.
        """
        wait_s = self._progress.wait_s()
        if wait_s and self._clock is not None:
            self._clock.sleep(wait_s)
        return self._progress.next(wait_s)

    def received(self) -> Response:
        """Return what was handed out so far, with its share of the tokens."""
        return self._progress.received()

    def close(self) -> None:
        """Stop."""
        self._progress.close()


class AsyncRecitedReading:
    """A recital for an event loop; see ``RecitedReading``."""

    def __init__(self, request: Request, begin: Begin, clock: Clock | None) -> None:
        self._progress = _Progress(request, begin)
        self._clock = clock

    async def next_chunk(self) -> Chunk | None:
        """Return the next piece, or None at the end.

        Raises:
            CallError: It fails here, or is late.
        """
        wait_s = self._progress.wait_s()
        if self._clock is None:
            await asyncio.sleep(0)
        else:
            await self._clock.asleep(wait_s)
        return self._progress.next(wait_s)

    def received(self) -> Response:
        """Return what was handed out so far, with its share of the tokens."""
        return self._progress.received()

    def close(self) -> None:
        """Stop."""
        self._progress.close()

    async def aclose(self) -> None:
        """Stop."""
        self._progress.close()
