"""The clock, the pauses, the ids and the draws that the router is given; real ones here, virtual ones beside them."""

import os
import random
import time
from typing import Protocol

from router_core.forks import FORKS


class Clock(Protocol):
    """Where time, chance and ids come from."""

    def now_us(self) -> int:
        """Return the present instant, microseconds since the epoch, UTC; an adjustment of the clock moves it."""
        ...

    def steady_us(self) -> int:
        """Return microseconds since some beginning; no adjustment moves them, so their differences are durations."""
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

    def new_id(self, at_us: int) -> str:
        """Return a new id, 26 hex digits, that sorts by this instant."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._seed()

    def _seed(self) -> None:
        # seeded by the system; asking it for every draw costs five times as much
        self._random = random.Random()
        self._forks = FORKS.count

    def now_us(self) -> int:
        """Return the present instant, microseconds since the epoch, UTC; an adjustment of the clock moves it."""
        return time.time_ns() // 1000

    def steady_us(self) -> int:
        """Return microseconds since some beginning; no adjustment moves them, so their differences are durations."""
        return time.monotonic_ns() // 1000

    def sleep(self, seconds: float) -> None:
        """Pause this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Pause this task."""
        import asyncio

        await asyncio.sleep(seconds)

    def draw(self) -> float:
        """Return a uniform draw, 0..1."""
        return self._drawing().random()

    def new_id(self, at_us: int) -> str:
        """Return a new id, 26 hex digits, that sorts by this instant."""
        return make_id(at_us, self._drawing().getrandbits(48))

    def _drawing(self) -> random.Random:
        if self._forks != FORKS.count:  # a forked child would draw what its parent and its siblings draw
            self._seed()
        return self._random


class VirtualClock:
    """A clock that only moves when told to: for simulations and tests.

    Args:
        start_us: Its first instant, microseconds since the epoch.
        seed: Seed of its draws and ids; a forked child has others.
    """

    def __init__(self, start_us: int = 0, seed: int = 0) -> None:
        self._now_us = start_us
        self._adjusted_us = 0
        self._random = random.Random(seed)
        self._forks = FORKS.count

    def now_us(self) -> int:
        """Return the present instant, microseconds since the epoch, UTC; an adjustment of the clock moves it."""
        return self._now_us

    def steady_us(self) -> int:
        """Return microseconds since some beginning; no adjustment moves them, so their differences are durations."""
        return self._now_us - self._adjusted_us

    def adjust(self, by_us: int) -> None:
        """Put the clock forward or back, as an administrator does: no time goes by."""
        self._now_us += by_us
        self._adjusted_us += by_us

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
        return self._drawing().random()

    def new_id(self, at_us: int) -> str:
        """Return a new id, 26 hex digits, that sorts by this instant."""
        return make_id(at_us, self._drawing().getrandbits(48))

    def _drawing(self) -> random.Random:
        if self._forks != FORKS.count:  # as with ``SystemClock``: time is virtual, the log that has these ids is not
            self._forks = FORKS.count
            self._random = random.Random(self._random.getrandbits(64) << 64 | os.getpid())
        return self._random


class CallTime:
    """The instants of one call: the clock's at its start, moved on by the steady clock.

    So an adjustment of the clock in the middle of a call shifts no deadline, and no duration is negative; the next call
    begins at the adjusted time.

    Args:
        clock: The clock.

    Attributes:
        start_us: When the call began, microseconds since the epoch.
    """

    __slots__ = ("_offset_us", "_steady_us", "start_us")

    def __init__(self, clock: Clock) -> None:
        self.start_us = clock.now_us()
        self._steady_us = clock.steady_us
        self._offset_us = self.start_us - self._steady_us()

    def now_us(self) -> int:
        """Return the present instant of the call, microseconds since the epoch."""
        return self._offset_us + self._steady_us()


def make_id(now_us: int, noise: int) -> str:
    """Return an id that sorts by its instant: 14 hex digits of microseconds, 12 of noise."""
    return (now_us << 48 | noise).to_bytes(13).hex()
