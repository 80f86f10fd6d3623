"""The clock, the pauses, the ids and the draws that the router is given; real ones here, virtual ones beside them."""

import random
import time
from typing import Protocol


class Clock(Protocol):
    """Where time, chance and ids come from."""

    def now_us(self) -> int:
        """Return the present instant, microseconds since the epoch, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Pause this thread."""
        ...

    async def asleep(self, seconds: float) -> None:
        """Pause this task."""
        ...

    def draw(self) -> float:
        """Return a uniform draw, 0..1."""
        ...

    def new_id(self) -> str:
        """Return a new time-ordered id, 26 hex digits."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def now_us(self) -> int:
        """Return the present instant, microseconds since the epoch, UTC."""
        return time.time_ns() // 1000

    def sleep(self, seconds: float) -> None:
        """Pause this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Pause this task."""
        import asyncio

        await asyncio.sleep(seconds)

    def draw(self) -> float:
        """Return a uniform draw, 0..1."""
        return self._random.random()

    def new_id(self) -> str:
        """Return a new time-ordered id, 26 hex digits."""
        return make_id(self.now_us(), self._random.getrandbits(48))


class VirtualClock:
    """A clock that only moves when told to: for simulations and tests.

    Args:
        start_us: Its first instant, microseconds since the epoch.
        seed: Seed of its draws and ids.
    """

    def __init__(self, start_us: int = 0, seed: int = 0) -> None:
        self._now_us = start_us
        self._random = random.Random(seed)

    def now_us(self) -> int:
        """Return the present instant, microseconds since the epoch, UTC."""
        return self._now_us

    def set(self, now_us: int) -> None:
        """Move to an instant; earlier ones are allowed, for calls that overlap."""
        self._now_us = now_us

    def sleep(self, seconds: float) -> None:
        """Move on by the pause."""
        self._now_us += round(seconds * 1e6)

    async def asleep(self, seconds: float) -> None:
        """Move on by the pause and let other tasks run."""
        import asyncio

        self.sleep(seconds)
        await asyncio.sleep(0)

    def draw(self) -> float:
        """Return a uniform draw, 0..1."""
        return self._random.random()

    def new_id(self) -> str:
        """Return a new time-ordered id, 26 hex digits."""
        return make_id(self._now_us, self._random.getrandbits(48))


def make_id(now_us: int, noise: int) -> str:
    """Return an id that sorts by its instant: 14 hex digits of microseconds, 12 of noise."""
    return f"{now_us:014x}{noise:012x}"
