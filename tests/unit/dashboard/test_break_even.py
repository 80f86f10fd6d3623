"""Where a cheaper tier's saving is used up, and which side of it the labels are on."""

import pytest

from dashboard.break_even import break_evens
from dashboard.sums import Sums

ORDER = ("cheap", "mid", "top")


def tier(per_call_nusd: int, *, labelled: int = 0, wrong: float = 0.0) -> Sums:
    return Sums(
        calls=1_000, attempts=1_000, priced=1_000, spend_nusd=1_000 * per_call_nusd, labelled=labelled, wrong=wrong
    )


def test_the_saving_over_the_price_of_a_wrong_answer_is_the_break_even() -> None:
    (found,) = break_evens({"cheap": tier(1_000_000), "top": tier(9_000_000)}, ORDER, 400_000_000)
    assert (found.cheaper, found.dearer) == ("cheap", "top")
    assert found.saved_nusd == 8_000_000
    assert found.point == pytest.approx(0.02)
    assert found.side == "no labels"


def test_neighbouring_tiers_in_use_are_compared_in_order() -> None:
    sums = {"top": tier(9), "mid": tier(3), "cheap": tier(1)}
    assert [(each.cheaper, each.dearer) for each in break_evens(sums, ORDER, 1)] == [("cheap", "mid"), ("mid", "top")]
    assert break_evens({"mid": tier(3)}, ORDER, 1) == ()


@pytest.mark.parametrize(("wrong", "side"), [(20, "cheaper pays"), (300, "dearer pays"), (70, "not proven")])
def test_which_side_the_labels_are_on_takes_the_whole_interval(wrong: float, side: str) -> None:
    sums = {"cheap": tier(1_000_000, labelled=1_000, wrong=wrong), "top": tier(9_000_000, labelled=1_000, wrong=50)}
    (found,) = break_evens(sums, ORDER, 400_000_000)
    assert found.side == side
    low, high = found.interval or (0, 0)
    assert low < (found.difference or 0) < high


def test_without_a_price_nothing_is_said() -> None:
    (found,) = break_evens({"cheap": tier(1, labelled=9), "top": tier(9, labelled=9)}, ORDER, None)
    assert (found.point, found.side) == (None, "no error price")


def test_newcombes_interval_has_its_published_value() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table II (a): 56/70 - 48/80, method 10
    (found,) = break_evens({"cheap": tier(1, labelled=70, wrong=56), "top": tier(9, labelled=80, wrong=48)}, ORDER, 1)
    low, high = found.interval or (0, 0)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
