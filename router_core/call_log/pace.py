"""How much one commit and one tick bring in, so that readers and fresh lines do not wait for long."""

from collections.abc import Callable
from typing import Final

MAX_ROWS_PER_COMMIT: Final = 5_000
# smaller ones are hardly quicker, for what a commit costs beside its rows: on a loaded machine, 500 rows kept the file
# locked for 72 ms and 5,000 for 76 ms
_MIN_ROWS: Final = 2_500
# a reader's wait is the rest of one commit; half of the 60 ms a tick may take leaves room for a loaded machine
_AIM_S: Final = 0.040
_MOST_CHANGE: Final = 1.5


def next_rows(rows: int, brought: int, held_s: float) -> int:
    """Return how many rows the next commit may bring in.

    Args:
        rows: How many the last one might.
        brought: How many it did.
        held_s: How long it kept the file locked, seconds.
    """
    if held_s > _AIM_S:
        wanted = rows * max(_AIM_S / held_s, 1 / _MOST_CHANGE)
    elif brought < rows:
        return rows
    else:
        wanted = rows * min(_AIM_S / max(held_s, 1e-6), _MOST_CHANGE)
    return min(MAX_ROWS_PER_COMMIT, max(_MIN_ROWS, round(wanted)))


class Bounds:
    """How long a tick may go on.

    Args:
        max_commits: Transactions; None = any number.
        max_s: Seconds; None = as long as it takes.
        now_s: The present instant, seconds of a monotonic clock.
    """

    def __init__(self, max_commits: int | None, max_s: float | None, now_s: Callable[[], float]) -> None:
        self._max_commits = max_commits
        self._now_s = now_s
        self._until_s = None if max_s is None else now_s() + max_s

    def are_reached(self, commits: int | None = None) -> bool:
        """Return whether it is to stop, after so many commits if it is about those."""
        if commits is not None and commits == self._max_commits:
            return True
        return self._until_s is not None and self._now_s() >= self._until_s
