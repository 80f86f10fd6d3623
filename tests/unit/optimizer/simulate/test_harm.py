"""What degrading calls does to answers, from labels."""

import math

import numpy as np
import pytest

from optimizer.simulate.harm import NONE, SAME, Harm, Labels, draw_changes
from optimizer.simulate.harm import harm as harm_of

NAN = float("nan")
DRAWS = 20_000


def harm(moved: np.ndarray, labels: Labels) -> Harm:
    return harm_of(moved, labels, draw_changes(labels, DRAWS, np.random.default_rng(0)))


def make_labels(
    sample: list[int], *counts: tuple[float, float, float, float], prices: list[float] | None = None
) -> Labels:
    cheap, cheap_wrong, now, now_wrong = (np.array(column, dtype=float) for column in zip(*counts, strict=True))
    return Labels(
        sample=np.array(sample),
        error_cost_nusd=np.array([1e9] * len(sample) if prices is None else prices),
        cheap=cheap,
        cheap_wrong=cheap_wrong,
        now=now,
        now_wrong=now_wrong,
    )


def test_extra_wrong_answers_are_calls_times_the_difference_of_the_rates() -> None:
    found = harm(np.array([1_000]), make_labels([0], (200, 20, 500, 10), prices=[250_000_000.0]))
    assert found.extra_wrong.mean == pytest.approx(1_000 * (0.1 - 0.02))
    assert found.impact_usd.mean == pytest.approx(80 * 0.25)
    assert (found.judged, found.same, found.unknown, found.unpriced) == (1_000, 0, 0, 0)


def test_the_interval_is_that_of_two_beta_posteriors_and_of_the_calls_own_chance() -> None:
    found = harm(np.array([100]), make_labels([0], (50, 5, 80, 4)))

    def variance(wrong: float, labelled: float) -> float:
        a, b = wrong + 0.5, labelled - wrong + 0.5
        return 100**2 * a * b / ((a + b) ** 2 * (a + b + 1)) + 100 * a * b / (a + b) ** 2

    half = 1.6448536 * math.sqrt(variance(5, 50) + variance(4, 80))
    assert found.extra_wrong.high - found.extra_wrong.mean == pytest.approx(half, rel=0.1)
    assert found.extra_wrong.mean - found.extra_wrong.low == pytest.approx(half, rel=0.1)


def test_a_rate_of_nothing_is_not_certain() -> None:
    found = harm(np.array([100]), make_labels([0], (30, 0, 30, 0)))
    assert found.extra_wrong.mean == 0
    assert found.extra_wrong.high > 1


def test_fewer_wrong_answers_are_negative() -> None:
    assert harm(np.array([100]), make_labels([0], (100, 0, 100, 10))).extra_wrong.mean == pytest.approx(-10)


def test_one_samples_error_holds_for_all_kinds_it_speaks_for() -> None:
    together = harm(np.array([60, 40]), make_labels([0, 0], (50, 5, 50, 1)))
    assert together == harm(np.array([100]), make_labels([0], (50, 5, 50, 1)))


def test_two_samples_errors_partly_cancel() -> None:
    one = harm(np.array([100]), make_labels([0], (50, 5, 50, 1))).extra_wrong
    two = harm(np.array([50, 50]), make_labels([0, 1], (50, 5, 50, 1), (50, 5, 50, 1))).extra_wrong
    assert two.high - two.low == pytest.approx((one.high - one.low) / math.sqrt(2), rel=0.2)


def test_calls_that_keep_their_answer_and_unknown_ones_are_counted_and_in_no_figure() -> None:
    found = harm(np.array([10, 20, 30]), make_labels([0, SAME, NONE], (50, 5, 50, 1)))
    assert (found.judged, found.same, found.unknown) == (10, 20, 30)
    assert found.extra_wrong.mean == pytest.approx(0.8)


def test_wrong_answers_without_a_price_are_counted_and_not_in_the_impact() -> None:
    found = harm(np.array([10, 10]), make_labels([0, 1], (50, 5, 50, 0), (50, 5, 50, 0), prices=[NAN, 2e9]))
    assert found.extra_wrong.mean == pytest.approx(2)
    assert found.impact_usd.mean == pytest.approx(1 * 2)
    assert found.unpriced == 10


def test_without_any_sample_nothing_is_known() -> None:
    labels = Labels(
        sample=np.array([NONE]), error_cost_nusd=np.array([1e9]),
        cheap=np.empty(0), cheap_wrong=np.empty(0), now=np.empty(0), now_wrong=np.empty(0),
    )  # fmt: skip
    found = harm(np.array([7]), labels)
    assert (found.judged, found.unknown, found.extra_wrong.mean, found.extra_wrong.high) == (0, 7, 0, 0)
