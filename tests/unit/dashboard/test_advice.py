"""The words of a proposal, which ones are shown, in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import advice
from dashboard.advice import Wish
from router_core.control.records import Entry, Interval, Totals
from tests.dashboard.desks import interval, make_draft, make_entry


def net(mean: float, low: float, high: float, n: int = 1, **draft: object) -> Entry:
    return make_entry(n, draft=make_draft(net_usd_month=interval(mean, low, high), **draft))


def test_a_path_and_its_change_are_told_apart() -> None:
    draft = make_draft(path_now=("cheap", "mid", "top"), path_proposed=("mid", "top"))
    assert advice.headline(draft) == "cheap › mid › top → mid › top"


@pytest.mark.parametrize(
    ("low", "high", "proven"), [(1.0, 2.0, True), (0.0, 2.0, False), (-1.0, 2.0, False), (-2.0, -1.0, True)]
)
def test_an_interval_that_contains_zero_proves_nothing(low: float, high: float, proven: bool) -> None:
    assert advice.is_proven(Interval(mean=(low + high) / 2, low=low, high=high)) is proven


@pytest.mark.parametrize("risk", ["low", "medium", "high"])
def test_a_risk_is_told_by_shape_and_word_not_by_colour_alone(risk: str) -> None:
    badge = advice.badges(make_draft(risk=risk))[0]
    assert badge.word == f"{risk} risk"
    assert badge.shape in "●▲■"
    assert len({mark.shape for mark in advice.RISKS.values()}) == 3


def test_the_saving_is_set_against_what_the_type_costs() -> None:
    fact = advice.facts(make_draft(saving_usd_month=interval(94, 90, 98)), 100.0)[1]
    assert "saves 94% of this type's spend" in fact.note
    fact = advice.facts(make_draft(saving_usd_month=interval(-50, -60, -40)), 100.0)[1]
    assert "adds 50% of this type's spend" in fact.note
    assert "this type's spend" not in advice.facts(make_draft(), None)[1].note


def test_the_wrong_rate_after_a_move_stays_a_rate() -> None:
    draft = make_draft(wrong_rate_now=0.01, wrong_rate_change=interval(-0.03, -0.04, -0.02))
    assert advice.facts(draft)[2].value == "1.00% → 0%"
    assert advice.facts(make_draft(wrong_rate_now=None))[2].value == "–"


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.booleans()), max_size=12))
def test_no_entry_is_ranked_above_one_with_a_better_low_end(lows: list[tuple[float, bool]]) -> None:
    entries = [
        net(low, low, low + 1, n, kind="evidence" if trial else "move") for n, (low, trial) in enumerate(lows, start=1)
    ]
    ranked = [entry.proposal.draft for entry in advice.ranked(entries)]
    assert sorted(map(id, ranked)) == sorted(id(entry.proposal.draft) for entry in entries)
    for kind in ("move", "evidence"):
        ends = [draft.net_usd_month.low for draft in ranked if draft.kind == kind]
        assert ends == sorted(ends, reverse=True)
    assert [draft.kind for draft in ranked] == sorted((draft.kind for draft in ranked), reverse=True)


def test_wishes_keep_what_they_name() -> None:
    low, high = net(1, 1, 1, 1), net(1, 1, 1, 2, risk="high", payload_type="policy.decide", kind="evidence")
    both = (low, high)
    assert advice.matching(both, Wish()) == both
    assert advice.matching(both, Wish(risks=("high",))) == (high,)
    assert advice.matching(both, Wish(kind="move")) == (low,)
    assert advice.matching(both, Wish(find=" Policy ")) == (high,)
    assert advice.matching(both, Wish(find="p-0001")) == (low,)
    assert advice.matching(both, Wish(find="elsewhere")) == ()
    assert not Wish(find="  ").is_set


def test_only_moves_are_added_up() -> None:
    assert advice.possible([]) == "no open move"
    one = "+$5.00 net per month ($4.00 to $6.00, 90%), wrong answers +0.08 pp (−0.05 to +0.21 pp, 90%) of 30,000 calls"
    assert advice.possible([net(5, 4, 6)]) == f"{one}, from 1 open move"
    total = advice.possible([net(5, 4, 6), net(-2, -3, 1, 2), net(100, 1, 200, 3, kind="evidence")])
    assert total.startswith("+$3.00 net per month ($1.59 to $6.16, 90%), wrong answers +0.08 pp")
    assert total.endswith("of 60,000 calls, from 2 open moves, taken as independent")


def test_the_runs_own_total_counts_while_its_moves_are_the_open_ones() -> None:
    moves = [net(5, 4, 6, payload_type="a"), net(-2, -3, 1, 2, payload_type="b")]
    totals = Totals(
        payload_types=("b", "a"),
        calls_per_month=60_000,
        net_usd_month=interval(3, 2.5, 3.5),
        wrong_rate_change=interval(0.01, 0, 0.02),
    )
    said = advice.possible(moves, totals)
    assert said.startswith("+$3.00 net per month ($2.50 to $3.50, 90%), wrong answers +1.00 pp")
    assert said.endswith("from 2 open moves")
    for other in (moves[:1], [*moves, net(1, 1, 1, 3, payload_type="c")], [moves[0], net(7, 6, 8, payload_type="b")]):
        assert "$2.50 to $3.50" not in advice.possible(other, totals)


def test_a_trial_of_what_the_log_cannot_tell_promises_nothing() -> None:
    trial = make_draft(kind="evidence", identification="none", shadow_calls=100)
    assert [fact.label for fact in advice.facts(trial)] == ["Run", "Costs", "Takes"]
    assert not any("probability" in name for name, _ in advice.details(make_entry(draft=trial)))
    partly = make_draft(kind="evidence", identification="pairs", shadow_calls=100)
    assert "$380.00 to $445.00 (90%)" in [fact.note for fact in advice.facts(partly)]


def test_a_trial_is_not_taken_for_the_move_it_judges() -> None:
    assert advice.headline(make_draft(kind="evidence")) == "run shadows to judge top → mid"


def test_no_number_of_draws_makes_a_gain_certain() -> None:
    assert dict(advice.details(make_entry(draft=make_draft(p_net_positive=1.0))))[
        "probability that the net is above 0"
    ] == (">99%")


def test_every_state_is_in_one_group_and_has_words() -> None:
    grouped = [state for states in advice.GROUPS.values() for state in states]
    assert sorted(grouped) == sorted(advice.STATE_WORDS)
    assert len(grouped) == len(set(grouped))


def test_hidden_characters_in_names_are_escaped() -> None:
    assert "\u202e" not in advice.headline(make_draft(path_now=("\u202epot",)))
