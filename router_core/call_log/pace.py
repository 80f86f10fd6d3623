"""How many rows one commit may bring in, so that readers do not wait for long."""

from typing import Final

MAX_ROWS_PER_COMMIT: Final = 5_000
_MIN_ROWS: Final = 500
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
