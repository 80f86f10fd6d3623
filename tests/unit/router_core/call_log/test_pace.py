"""A commit that kept the file locked for long is followed by smaller ones."""

from hypothesis import given
from hypothesis import strategies as st

from router_core.call_log.pace import MAX_ROWS_PER_COMMIT, next_rows


def test_slow_commits_shrink_and_quick_ones_grow_again() -> None:
    slow = next_rows(5_000, 5_000, 0.080)
    slower = next_rows(slow, slow, 0.500)
    assert 5_000 > slow > slower
    assert next_rows(slower, slower, 0.010) > slower


def test_quick_commit_that_was_not_full_says_nothing() -> None:
    assert next_rows(1_000, 20, 0.001) == 1_000


@given(st.integers(2_500, 5_000), st.integers(0, 20_000), st.floats(0, 100))
def test_size_stays_within_its_bounds(rows: int, brought: int, held_s: float) -> None:
    assert 2_500 <= next_rows(rows, brought, held_s) <= MAX_ROWS_PER_COMMIT
