"""Laws of packing: whatever becomes of a packed answer, each task has its own answer or is asked for by itself."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from router_core.decide.packing import item_ids, packed_messages, small_task, split

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSONS = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def change_one(draw: st.DrawFn, entries: list[Any], kind: str) -> None:
    """Spoil one entry."""
    place = draw(st.integers(0, len(entries) - 1))
    entry = entries[place]
    if kind == "drop":
        del entries[place]
    elif kind == "twice":
        entries.insert(draw(st.integers(0, len(entries))), entry)
    elif kind == "move":
        entries.insert(draw(st.integers(0, len(entries) - 1)), entries.pop(place))
    elif isinstance(entry, dict) and kind == "typo":
        entries[place] = {**entry, "id": f"{entry.get('id')}x"}
    elif isinstance(entry, dict):
        left_out = "id" if kind == "nameless" else "answer"
        entries[place] = {name: value for name, value in entry.items() if name != left_out}


@st.composite
def corrupted(draw: st.DrawFn) -> tuple[tuple[str, ...], dict[str, Any], str]:
    """The ids of a prompt, the answer to each, and a reply in which anything may have gone wrong but the answers."""
    ids = item_ids(draw(st.text(max_size=4)), draw(st.integers(1, 12)))
    answers = {item_id: draw(JSONS) for item_id in ids}
    entries: list[Any] = [{"id": item_id, "answer": answer} for item_id, answer in answers.items()]
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["drop", "twice", "move", "stranger", "nameless", "empty", "junk", "typo"]))
        if kind in ("stranger", "junk"):
            added = {"id": draw(TEXTS), "answer": draw(JSONS)} if kind == "stranger" else draw(JSONS)
            entries.insert(draw(st.integers(0, len(entries))), added)
        elif entries:
            change_one(draw, entries, kind)
    text = json.dumps({"answers": entries}) if draw(st.booleans()) else json.dumps(entries)
    if draw(st.booleans()):
        text = text[: draw(st.integers(0, len(text)))]
    if draw(st.booleans()):
        text = f"```json\n{text}\n```"
    return ids, answers, text


@settings(max_examples=150, deadline=None)
@given(corrupted())
def test_every_task_gets_its_own_answer_or_is_asked_for_by_itself(
    case: tuple[tuple[str, ...], dict[str, Any], str],
) -> None:
    ids, answers, text = case
    found = split(text, ids, are_texts=False, asks=False)
    assert found.entries.keys() | found.spoiled.keys() == set(ids)
    assert not found.entries.keys() & found.spoiled.keys()
    for item_id, entry in found.entries.items():
        assert json.loads(entry.text) == answers[item_id]


@settings(max_examples=100, deadline=None)
@given(st.lists(JSONS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_an_answer_in_any_order_is_whole(values: list[Any], random: Any) -> None:
    ids = item_ids("seed", len(values))
    entries = [{"id": item_id, "answer": value} for item_id, value in zip(ids, values, strict=True)]
    random.shuffle(entries)
    found = split(json.dumps({"answers": entries}), ids, are_texts=False, asks=False)
    assert [json.loads(found.entries[item_id].text) for item_id in ids] == values
    assert found.spoiled == {}
    assert found.extra == 0


@given(st.text(max_size=10), st.integers(1, 200))
def test_ids_of_a_prompt_differ(seed: str, count: int) -> None:
    assert len(set(item_ids(seed, count))) == count


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_a_task_stays_whole_in_the_prompt_whatever_it_says(texts: list[str]) -> None:
    ids = item_ids("seed", len(texts))
    prefix = ({"role": "system", "content": "Classify."},)
    messages = packed_messages(prefix, texts, ids, are_texts=True, asks=True)
    assert messages[:-1] == list(prefix)
    lines = str(messages[-1]["content"]).split("\n")[-len(texts) :]
    assert [json.loads(line) for line in lines] == [
        {"id": item_id, "task": text} for item_id, text in zip(ids, texts, strict=True)
    ]


def test_only_plain_text_of_the_user_is_packed() -> None:
    system = {"role": "system", "content": "Classify."}
    assert small_task([system, {"role": "user", "content": "a"}]) is not None
    assert small_task([system]) is None
    assert small_task([{"role": "user", "content": [{"type": "text", "text": "a"}]}]) is None
    assert small_task([{"role": "user", "content": "half of a character: \ud83d"}]) is None
