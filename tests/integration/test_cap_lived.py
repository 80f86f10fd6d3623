"""A limit that was simulated on a log, then lived through by the real router with the same traffic."""

from pathlib import Path

import pytest

from tests.lived import live


@pytest.mark.parametrize("seed", [1, 2])
def test_a_limit_does_what_was_said_of_it(tmp_path: Path, seed: int) -> None:
    """The intervals hold nine times in ten: how often they do is measured over many seeds in the benchmarks."""
    lived = live(tmp_path, seed)
    assert len(lived.limited.first_degraded) >= 5
    assert max(lived.trips_off.values()) <= 1
    saved, degraded, _ = lived.held
    assert saved
    assert degraded
    assert lived.predicted.harm.unknown == 0
