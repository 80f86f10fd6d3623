"""Laws of a proposal's states: where it may go, what time does, and what never comes back."""

from dataclasses import replace
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from router_core.control.publishing import has_new_evidence, is_materially_different, rule
from router_core.control.records import Entry, Interval, Proposal, ProposalState
from router_core.control.states import BLOCKING, LIVE, MADE, Action, Standing, Step, as_of, decide
from tests.decisions import make_draft, make_evidence

ACTIONS: tuple[Action, ...] = get_args(Action)
STATES: tuple[ProposalState, ...] = get_args(ProposalState)
INSTANTS = st.integers(0, 1000)
NAMES = st.sampled_from(["ada", "bob", None])
ENDED: frozenset[ProposalState] = frozenset({"dismissed", "expired", "superseded", "rolled_back"})
NUMBERS = st.floats(-1000, 1000, allow_nan=False)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    at_us = draw(INSTANTS)
    return Step(
        action=draw(st.sampled_from(ACTIONS)),
        at_us=at_us,
        who=draw(NAMES),
        reason=draw(st.sampled_from(["why", None])),
        until_us=at_us + draw(st.integers(-5, 300)),
        seq=draw(st.integers(1, 9)),
        may_release=draw(st.booleans()),
    )


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[Step | None, Standing]]:
    """A proposal's life: after its publication, after each step in the order of time."""
    standing = Standing(state="open", since_us=0, expires_us=draw(INSTANTS))
    life: list[tuple[Step | None, Standing]] = [(None, standing)]
    for step in sorted(draw(st.lists(steps(), max_size=12)), key=lambda step: step.at_us):
        standing = decide(standing, step).standing
        life.append((step, standing))
    return life


@given(lives())
def test_what_has_ended_never_is_on_offer_again(life: list[tuple[Step | None, Standing]]) -> None:
    ended = [standing.state in ENDED | MADE for _, standing in life]
    on_offer = [standing.state in {"open", "claimed", "snoozed"} for _, standing in life]
    first = ended.index(True) if True in ended else len(life)
    assert not any(on_offer[first:])


@given(lives())
def test_a_version_number_comes_with_being_applied_and_stays(life: list[tuple[Step | None, Standing]]) -> None:
    numbers = [standing.seq for _, standing in life]
    given_at = next((i for i, seq in enumerate(numbers) if seq is not None), len(numbers))
    assert len(set(numbers[given_at:])) <= 1
    assert all(standing.seq is not None for _, standing in life if standing.state in MADE | {"rolled_back"})


@given(lives(), INSTANTS, INSTANTS)
def test_looking_twice_is_looking_late(life: list[tuple[Step | None, Standing]], one: int, other: int) -> None:
    standing = life[-1][1]
    early, late = sorted((one, other))
    assert as_of(as_of(standing, early), late) == as_of(standing, late)


@given(lives(), steps())
def test_a_refused_step_changes_nothing_and_says_why(life: list[tuple[Step | None, Standing]], step: Step) -> None:
    standing = life[-1][1]
    decision = decide(standing, step)
    assert (decision.refusal != "") == (decision.result == "refused")
    if decision.result != "done":
        assert decision.standing == as_of(standing, step.at_us)


@given(lives(), steps())
def test_a_step_taken_twice_is_taken_once(life: list[tuple[Step | None, Standing]], step: Step) -> None:
    first = decide(life[-1][1], step)
    again = decide(first.standing, step)
    if first.result == "done" and step.action not in {"claim", "snooze"}:
        lapsed = as_of(first.standing, step.at_us) != first.standing
        assert again.result == "already" or lapsed
    assert again.result != "done" or again.standing == first.standing


@given(lives(), steps(), INSTANTS)
def test_nobody_takes_a_claim_from_another(life: list[tuple[Step | None, Standing]], step: Step, at_us: int) -> None:
    standing = as_of(life[-1][1], at_us)
    taken = decide(standing, replace(step, action="claim", at_us=at_us)).standing
    if standing.state == "claimed":
        assert taken.who == standing.who


def entry_of(state: ProposalState, since_us: int, **values: Any) -> Entry:
    draft = make_draft(**values)
    proposal = Proposal(proposal_id="P-0001", created_us=0, expires_us=10**18, draft=draft)
    return Entry(proposal=proposal, state=state, since_us=since_us)


@given(st.sampled_from(sorted(LIVE)), st.booleans(), NUMBERS)
def test_a_type_never_has_two_proposals_at_once(state: ProposalState, same: bool, net: float) -> None:
    live = entry_of(state, 0)
    draft = make_draft(after=("mid",) if same else ("cheap",), net_usd_month=Interval(mean=net, low=net, high=net))
    ruling = rule(draft, [live], [], 1)
    if ruling.result == "new":
        assert state not in BLOCKING
        assert ruling.supersedes == ("P-0001",)
    else:
        assert ruling.standing_for == "P-0001"


@given(NUMBERS, st.integers(0, 300), st.integers(0, 300), st.integers(0, 40))
def test_what_was_turned_down_returns_with_time_or_new_evidence_only(
    net: float, pairs: int, more: int, days: int
) -> None:
    day_us = 86_400_000_000
    old = entry_of("dismissed", 0, evidence=make_evidence(pairs))
    draft = make_draft(evidence=make_evidence(more), net_usd_month=Interval(mean=net, low=net - 1, high=net + 1))
    returned = rule(draft, [], [old], days * day_us).result == "new"
    assert returned == (days >= 28 or has_new_evidence(old.proposal.draft, draft))


@given(NUMBERS)
def test_the_same_numbers_are_never_materially_different(net: float) -> None:
    draft = make_draft(net_usd_month=Interval(mean=net, low=net, high=net))
    assert not is_materially_different(draft, draft)
    assert not has_new_evidence(draft, draft)
