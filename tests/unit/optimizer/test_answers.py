import numpy as np
import pytest

from optimizer.answers import ACCEPTED, ESCALATED
from tests.pairs import make_answer, make_shadow, make_table


def bounds(table, tier=0):
    return float(table.wrong_low[0, tier]), float(table.wrong_high[0, tier])


@pytest.mark.parametrize(
    ("served_right", "same", "wrong"),
    [(1.0, True, (0.0, 0.0)), (1.0, False, (1.0, 1.0)), (0.0, True, (1.0, 1.0)), (0.0, False, (0.0, 1.0))],
    ids=["right and same", "right and different", "wrong and same", "wrong and different stays unknown"],
)
def test_label_of_the_served_answer_is_carried_over_one_sidedly(served_right, same, wrong) -> None:
    table = make_table([make_answer(correct=served_right), make_shadow(correct=None, answer_match=same)])
    assert bounds(table) == wrong
    assert bool(table.transferred[0, 0])


def test_partly_right_answer_says_nothing_of_a_different_one() -> None:
    table = make_table([make_answer(correct=0.5), make_shadow(correct=None, answer_match=False)])
    assert bounds(table) == (0.0, 1.0)


def test_own_label_wins_over_a_carried_one() -> None:
    table = make_table([make_answer(correct=1.0), make_shadow(correct=1.0, answer_match=False)])
    assert bounds(table) == (0.0, 0.0)
    assert not table.transferred.any()


def test_nothing_is_carried_over_without_a_comparison_or_a_label() -> None:
    for served, shadow in (
        (make_answer(correct=1.0), make_shadow(correct=None)),
        (make_answer(correct=None), make_shadow(correct=None, answer_match=True)),
    ):
        table = make_table([served, shadow])
        assert np.isnan(table.wrong_low[0, 0])
        assert not table.transferred.any()


def test_carried_label_was_there_by_the_chance_of_the_served_one() -> None:
    table = make_table([make_answer(correct=1.0, label_propensity=0.35), make_shadow(correct=None, answer_match=True)])
    assert table.label_propensity[0, 0] == 0.35


def test_call_that_went_up_by_itself_is_told_from_one_with_a_shadow() -> None:
    went_up = [make_answer(call=0, tier=0, is_served=False), make_answer(call=0, tier=1)]
    shadowed = [make_answer(call=1, tier=1), make_shadow(call=1)]
    assert make_table(went_up + shadowed).stratum.tolist() == [ESCALATED, ACCEPTED]


def test_propensity_counts_for_shadows_only() -> None:
    table = make_table([make_answer(propensity=0.3), make_shadow(propensity=0.05)])
    assert table.propensity[0].tolist() == [0.05, 1.0, 1.0]
