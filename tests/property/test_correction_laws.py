"""Laws of correction: what is settled stays, what is doubtful is replaced or stays doubtful."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from router_core.decide.correct import Draft, Merged, Refused, draft_of, merge

NAMES = [f"field_{letter}" for letter in "abcdefgh"]
VALUES = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=6)
SURE = st.floats(0, 1)


def is_sure(value: float) -> bool:
    return value >= 0.8


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    answer: dict[str, Any] = {name: draw(VALUES) for name in names}
    told = {name: draw(SURE) for name in draw(st.lists(st.sampled_from(names), min_size=1, unique=True))}
    text = json.dumps({**answer, "confidence": told})
    draft = draft_of(text, tuple(told.items()), is_sure, attempt=1, confidence_field="confidence")
    assert draft is not None
    return draft


@st.composite
def replies(draw: st.DrawFn) -> dict[str, Any]:
    reply: dict[str, Any] = {name: draw(VALUES) for name in draw(st.lists(st.sampled_from(NAMES), unique=True))}
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    return {**reply, "confidence": {name: draw(SURE | st.just("high")) for name in names}}


@settings(max_examples=150, deadline=None)
@given(drafts(), replies())
def test_a_merge_changes_no_settled_field(draft: Draft, reply: dict[str, Any]) -> None:
    merged = merge(draft, json.dumps(reply), is_sure, attempt=2)
    settled = [name for name in draft.answer if name not in (*draft.doubtful, "confidence")]
    broken = [name for name in settled if name in reply and reply[name] != draft.answer[name]]
    if broken:
        assert isinstance(merged, Refused)
    if isinstance(merged, Refused):
        assert broken or not any(name in reply for name in draft.doubtful)
        return
    answer = json.loads(merged.text)
    assert answer.keys() == draft.answer.keys()
    assert all(answer[name] == draft.answer[name] for name in settled)
    for name, state in draft.fields.items():
        if state.is_settled:
            assert merged.draft.fields[name] == state


@settings(max_examples=150, deadline=None)
@given(drafts(), replies())
def test_a_doubtful_field_is_answered_with_its_origin_or_stays_doubtful(draft: Draft, reply: dict[str, Any]) -> None:
    merged = merge(draft, json.dumps(reply), is_sure, attempt=2)
    if isinstance(merged, Refused):
        return
    answer = json.loads(merged.text)
    for name in draft.doubtful:
        state, told = merged.draft.fields[name], reply["confidence"].get(name)
        if name not in reply:
            assert (answer[name], state) == (draft.answer[name], draft.fields[name])
            continue
        assert answer[name] == reply[name]
        assert state.attempt == 2
        assert state.is_settled == (isinstance(told, float) and told >= 0.8)
        assert answer["confidence"][name] == state.confidence
    assert merged.corrected == tuple(
        name for name in draft.doubtful if name in reply and reply[name] != draft.answer[name]
    )
    # nothing asked about is served as sure enough unless it is
    assert is_sure(merged.confidence) <= all(is_sure(merged.draft.fields[name].confidence) for name in merged.asked)


@settings(max_examples=100, deadline=None)
@given(drafts(), replies(), replies())
def test_a_merged_answer_is_a_draft_like_any_other(draft: Draft, first: dict[str, Any], second: dict[str, Any]) -> None:
    merged = merge(draft, json.dumps(first), is_sure, attempt=2)
    if isinstance(merged, Merged):
        again = merge(merged.draft, json.dumps(second), is_sure, attempt=3)
        if isinstance(again, Merged):
            assert set(again.asked) == set(merged.draft.doubtful) <= set(draft.doubtful)
