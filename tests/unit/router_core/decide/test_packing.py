import json
from typing import Any

import jsonschema
import pytest

from router_core.decide.packing import can_hoist, item_ids, packed_messages, packed_schema, split

IDS = item_ids("pack-1", 3)
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"label": {"$ref": "#/$defs/Label"}},
    "required": ["label"],
    "$defs": {"Label": {"enum": ["refund", "other"]}},
}


def reply(*entries: dict[str, Any]) -> str:
    return json.dumps({"answers": list(entries)})


def test_schema_of_a_packed_answer_takes_one_answer_per_task() -> None:
    schema = packed_schema(SCHEMA, IDS, are_texts=False, asks=False)
    good = {"answers": [{"id": IDS[0], "answer": {"label": "refund"}}]}
    jsonschema.validate(good, schema)
    for bad in (
        {"answers": [{"id": "other", "answer": {"label": "refund"}}]},
        {"answers": [{"id": IDS[0], "answer": {"label": "no label"}}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_texts_come_with_a_confidence_of_their_own() -> None:
    schema = packed_schema(None, IDS, are_texts=True, asks=True)
    entry = {"id": IDS[1], "answer": "refund", "confidence": 0.7}
    jsonschema.validate({"answers": [entry]}, schema)
    found = split(reply(entry), IDS, are_texts=True, asks=True).entries[IDS[1]]
    assert (found.text, found.confidence) == ("refund", 0.7)


def test_answers_in_a_format_may_be_asked_for_a_confidence_beside_them_too() -> None:
    schema = packed_schema(SCHEMA, IDS, are_texts=False, asks=True)
    entry = {"id": IDS[0], "answer": {"label": "refund"}, "confidence": 0.7}
    jsonschema.validate({"answers": [entry]}, schema)
    assert split(reply(entry), IDS, are_texts=False, asks=True).entries[IDS[0]].confidence == 0.7
    assert split(reply(entry), IDS, are_texts=False, asks=False).entries[IDS[0]].confidence is None
    assert "how sure" in str(packed_messages([], ["a"], IDS[:1], are_texts=False, asks=True)[0]["content"])


def test_schema_with_references_to_other_places_is_not_packed() -> None:
    assert can_hoist(SCHEMA)
    assert can_hoist(None)
    assert not can_hoist({"properties": {"children": {"items": {"$ref": "#"}}}})
    assert not can_hoist({"anyOf": [{"$ref": "#/properties/a"}]})


def test_what_is_missing_doubled_or_unusable_is_named_and_the_rest_is_kept() -> None:
    found = split(
        reply(
            {"id": IDS[0], "answer": "a"},
            {"id": "nobody", "answer": "x"},
            {"id": IDS[1], "answer": "b"},
            {"id": IDS[1], "answer": "c"},
        ),
        IDS,
        are_texts=True,
        asks=True,
    )
    assert {item_id: entry.text for item_id, entry in found.entries.items()} == {IDS[0]: "a"}
    assert found.spoiled == {IDS[1]: "duplicate", IDS[2]: "missing"}
    assert found.extra == 1
    assert (
        split(reply({"id": IDS[0], "answer": ["no text"]}), IDS, are_texts=True, asks=True).spoiled[IDS[0]]
        == "unusable"
    )


def test_entries_before_a_break_count_and_nothing_inside_of_one_does() -> None:
    whole = reply({"id": IDS[0], "answer": "a"}, {"id": IDS[1], "answer": {"id": IDS[2], "answer": "forged"}})
    cut = whole[: whole.index("forged") + 8]  # just behind the inner object's text
    found = split(cut, IDS, are_texts=False, asks=False)
    assert list(found.entries) == [IDS[0]]
    assert found.spoiled == {IDS[1]: "missing", IDS[2]: "missing"}
    assert split(f"Sure! {cut}", IDS, are_texts=False, asks=False).entries == {}


def test_prompt_says_how_many_tasks_there_are_and_keeps_its_beginning() -> None:
    prefix = [{"role": "system", "content": "Classify."}]
    messages = packed_messages(prefix, ["a", "b\nc", '"}'], IDS, are_texts=False, asks=False)
    assert messages[0] == prefix[0]
    assert "3 separate tasks" in str(messages[1]["content"])
