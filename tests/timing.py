"""Limits on time, kept on a machine that does other work as well."""

import threading
import time
from collections.abc import Callable
from typing import Final

# for what will happen, and only not for ever: nothing is asserted about how soon
PATIENCE_S: Final = 300.0
_BETWEEN_LOOKS_S: Final = 0.02


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something that will come to be.

    Raises:
        AssertionError: It never did.
    """
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not is_so():
        assert time.monotonic() < deadline, f"in {PATIENCE_S:.0f} s it never came to be: {what}"
        pause.wait(_BETWEEN_LOOKS_S)


def best_of(measure_s: Callable[[], float], limit_s: float, tries: int) -> float:
    """The shortest of several measurements, because other work on the machine only ever adds time."""
    best = measure_s()
    for _ in range(tries - 1):
        if best <= limit_s:
            break
        best = min(best, measure_s())
    return best
