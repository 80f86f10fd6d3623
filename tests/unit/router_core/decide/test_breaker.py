"""When so many calls would leave a step that none may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.decide.breaker import (
    NEVER,
    BreakerRule,
    Tally,
    Usual,
    is_settled,
    learned,
    opens,
    settled,
    stays_open,
)

RULE = BreakerRule()
FIFTH = Usual(share=0.2, calls=1_000)


@pytest.mark.parametrize(
    ("calls", "left", "is_open"),
    [
        (20, 10, False),  # half of all is not more than half
        (20, 11, True),
        (19, 19, False),  # too few to speak of a mass
        (1_000, 501, True),
    ],
)
def test_outage_opens_it_when_more_than_half_of_enough_calls_would_leave(calls: int, left: int, is_open: bool) -> None:
    assert opens(Tally(calls, left), NEVER, RULE) is is_open


@pytest.mark.parametrize(("left", "is_open"), [(20, False), (60, False), (70, True)])
def test_unsure_answers_open_it_far_above_their_usual_share(left: int, is_open: bool) -> None:
    assert opens(Tally(100, left), FIFTH, RULE) is is_open


def test_nothing_is_held_before_it_is_known_what_is_usual() -> None:
    assert not opens(Tally(190, 190), Usual(share=0.0, calls=190), RULE)
    assert opens(Tally(190, 190), Usual(share=0.0, calls=200), RULE)


def test_few_calls_of_a_type_that_mostly_goes_up_are_no_wave() -> None:
    mostly = Usual(share=0.8, calls=1_000)
    assert not opens(Tally(20, 20), mostly, RULE)
    assert opens(Tally(500, 475), mostly, RULE)
    assert not opens(Tally(500, 450), mostly, RULE)


def test_type_whose_every_call_goes_up_is_never_held() -> None:
    assert not opens(Tally(10_000, 10_000), Usual(share=1.0, calls=10_000), RULE)


def test_it_closes_when_the_share_has_come_back_half_the_way() -> None:
    assert stays_open(Tally(100, 30), NEVER, RULE, 0, "failures", 1)
    assert not stays_open(Tally(100, 25), NEVER, RULE, 0, "failures", 1)


def test_it_closes_when_hardly_anybody_calls() -> None:
    assert not stays_open(Tally(19, 19), NEVER, RULE, 0, "failures", 1)


def test_share_of_unsure_answers_that_lasts_is_the_usual_one_and_an_outage_never_is() -> None:
    late = RULE.settle_us
    assert is_settled(RULE, 0, "answers", late)
    assert not stays_open(Tally(100, 90), FIFTH, RULE, 0, "answers", late)
    assert stays_open(Tally(100, 90), NEVER, RULE, 0, "failures", 1_000 * late)
    assert not opens(Tally(100, 90), settled(Tally(100, 90), RULE), RULE)


def test_switched_off_it_never_opens() -> None:
    off = BreakerRule(enabled=False)
    assert not opens(Tally(1_000, 1_000), NEVER, off)
    assert not stays_open(Tally(1_000, 1_000), NEVER, off, 0, "failures", 1)


def test_usual_is_the_mean_over_the_calls_so_far() -> None:
    usual = learned(learned(Usual(), Tally(100, 10), RULE), Tally(300, 90), RULE)
    assert (round(usual.share, 9), usual.calls) == (0.25, 400)
    assert learned(usual, Tally(), RULE) is usual


@given(st.lists(st.integers(0, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=30))
def test_usual_is_always_a_share(windows: list[tuple[int, int]]) -> None:
    usual = Usual()
    for calls, left in windows:
        usual = learned(usual, Tally(calls, left), RULE)
    assert 0 <= usual.share <= 1


@given(st.floats(0, 1), st.integers(20, 5_000), st.data())
def test_what_keeps_it_open_is_less_than_what_opens_it(share: float, calls: int, data: st.DataObject) -> None:
    usual, tally = Usual(share=share, calls=1_000), Tally(calls, data.draw(st.integers(0, calls)))
    if opens(tally, usual, RULE):
        assert stays_open(tally, usual, RULE, 0, "answers", 1)
