"""The estimate of what wrong answers cost beyond those that labels told of."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.impact import estimate
from dashboard.sums import Cell, Sums

PRICE = 2_000_000_000


def cell(*, calls: int = 1_000, labelled: int = 200, wrong: float = 10, name: str = "a", tier: str = "cheap") -> Cell:
    impact = round(wrong * PRICE)
    sums = Sums(calls=calls, labelled=labelled, wrong=wrong, impact_nusd=impact)
    return Cell(payload_type=name, tier=tier, sums=sums)


def test_what_labels_told_is_counted_and_the_rest_expected_at_their_rate() -> None:
    found = estimate([cell()])
    assert found.observed_nusd == 10 * PRICE
    # 5 % of the other 800 answers
    assert found.mean_nusd == pytest.approx((10 + 40) * PRICE)
    assert found.low_nusd < found.mean_nusd < found.high_nusd
    assert (found.answered, found.labelled, found.unknown) == (1_000, 200, 0)


def test_with_every_answer_labelled_nothing_is_left_to_estimate() -> None:
    found = estimate([cell(labelled=1_000)])
    assert found.low_nusd == found.mean_nusd == found.high_nusd == found.observed_nusd


def test_tiers_are_weighted_by_their_answers_not_by_their_labels() -> None:
    # the wrong rate is 10 % in the small tier that has most labels, and 1 % in the large one
    small = cell(calls=100, labelled=100, wrong=10, tier="top")
    large = cell(calls=10_000, labelled=100, wrong=1, tier="cheap")
    assert estimate([small, large]).mean_nusd == pytest.approx((10 + 100) * PRICE)


def test_calls_without_labels_or_price_are_unknown_and_never_free() -> None:
    unlabelled = cell(labelled=0, wrong=0, name="b")
    unpriced = Cell(payload_type="c", tier="top", sums=Sums(calls=50, labelled=10, wrong=2.0, wrong_unpriced=2.0))
    found = estimate([unlabelled, unpriced])
    assert (found.unknown, found.says_anything) == (1_040, True)
    assert not estimate([unlabelled]).says_anything
    assert estimate([unpriced], PRICE).mean_nusd == pytest.approx(10 * PRICE)


def test_a_type_without_a_known_wrong_answer_has_an_interval_by_the_configs_price() -> None:
    found = estimate([cell(wrong=0)], None, {"a": PRICE})
    assert found.mean_nusd == 0
    assert found.high_nusd > 0
    assert estimate([cell(wrong=0)]).unknown == 800


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.floats(0, 1), st.floats(0, 1)), max_size=6),
    st.one_of(st.none(), st.integers(0, 10**12)),
)
def test_the_interval_holds_the_mean_and_never_falls_below_what_was_observed(
    parts: list[tuple[int, float, float]], price: int | None
) -> None:
    cells = [
        cell(calls=calls, labelled=int(calls * share), wrong=int(calls * share) * rate, name=str(i))
        for i, (calls, share, rate) in enumerate(parts)
    ]
    found = estimate(cells, price)
    slack = 1e-6 * (1 + found.mean_nusd)
    assert found.observed_nusd - slack <= found.low_nusd <= found.mean_nusd + slack
    assert found.mean_nusd <= found.high_nusd + slack
    assert 0 <= found.unknown <= found.answered


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(5)
    covered = 0
    for _ in range(400):
        answers = [rng.random() < 0.06 for _ in range(600)]
        labelled = answers[:150]
        found = estimate([cell(calls=600, labelled=150, wrong=sum(labelled))], None, {"a": PRICE})
        covered += found.low_nusd <= sum(answers) * PRICE <= found.high_nusd
    # 95 % of 400 are 380; four standard deviations below that, and the normal form errs a little
    assert covered >= 360
