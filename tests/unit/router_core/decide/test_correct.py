import json
from typing import Any

import pytest

from router_core.decide.correct import (
    Draft,
    Merged,
    Refused,
    correction_messages,
    correction_schema,
    draft_of,
    merge,
)

ANSWER = {"number": "4711", "total": 119, "vat": 19, "confidence": {"number": 0.99, "total": 0.4, "vat": 0.9}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "total": {"$ref": "#/$defs/Money"},
        "vat": {"$ref": "#/$defs/Money"},
        "confidence": {"type": "object"},
    },
    "$defs": {"Money": {"type": "number"}},
}


def is_sure(value: float) -> bool:
    return value >= 0.8


def draft(answer: dict[str, Any] = ANSWER, **more: Any) -> Draft | None:
    told = tuple(answer["confidence"].items())
    return draft_of(json.dumps(answer), told, is_sure, attempt=1, confidence_field="confidence", **more)


def known(answer: dict[str, Any] = ANSWER) -> Draft:
    found = draft(answer)
    assert found is not None
    return found


def test_only_the_doubtful_fields_are_asked_for_with_the_draft_beside_them() -> None:
    messages = [{"role": "user", "content": "Invoice ..."}]
    asked = correction_messages(messages, known())
    assert asked[:-1] == messages
    text = str(asked[-1]["content"])
    assert '"total"' in text.split("Draft:", maxsplit=1)[0]
    assert '"vat"' not in text.split("Draft:", maxsplit=1)[0]
    assert json.loads(text.split("Draft:\n")[1]) == {"number": "4711", "total": 119, "vat": 19}
    schema = correction_schema(SCHEMA, known())
    assert list(schema["properties"]) == ["total", "confidence"]
    assert schema["properties"]["confidence"]["required"] == ["total"]
    assert schema["$defs"] == SCHEMA["$defs"]


def test_corrections_without_a_schema_are_any_json_object() -> None:
    assert correction_schema(None, known()) == {"type": "json_object"}
    assert correction_schema({"type": "object", "properties": {"vat": {}}}, known()) == {"type": "json_object"}


def test_merged_answer_names_who_gave_each_field_and_how_sure_it_was() -> None:
    merged = merge(known(), json.dumps({"total": 91, "confidence": {"total": 0.95}}), is_sure, attempt=2)
    assert isinstance(merged, Merged)
    assert json.loads(merged.text) == {
        **ANSWER,
        "total": 91,
        "confidence": {"number": 0.99, "total": 0.95, "vat": 0.9},
    }
    assert {name: state.attempt for name, state in merged.draft.fields.items()} == {"number": 1, "total": 2, "vat": 1}
    assert (merged.corrected, merged.confidence) == (("total",), 0.95)
    assert not merged.draft.is_correctable


def test_field_that_stays_ambiguous_goes_on_alone() -> None:
    unsure = {**ANSWER, "confidence": {"number": 0.2, "total": 0.4, "vat": 0.9}}
    reply = {"number": "4712", "total": 91, "confidence": {"number": 0.5, "total": 0.95}}
    merged = merge(known(unsure), json.dumps(reply), is_sure, attempt=2)
    assert isinstance(merged, Merged)
    assert merged.draft.doubtful == ("number",)
    assert merged.draft.is_correctable
    assert merged.confidence == 0.5


def test_corrections_in_a_code_block_and_with_settled_fields_repeated_are_taken() -> None:
    reply = json.dumps({**ANSWER, "total": 91, "confidence": {"total": 0.95}, "note": "mended"})
    merged = merge(known(), f"```json\n{reply}\n```", is_sure, attempt=2)
    assert isinstance(merged, Merged)
    assert "note" not in json.loads(merged.text)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ('{"total": 91, "vat": 7, "confidence": {"total": 0.9}}', "changes a settled field"),
        ('{"confidence": {"total": 0.9}}', "corrects none of the fields"),
        ("The total is 91.", "no JSON object"),
        ("[1]", "no JSON object"),
    ],
)
def test_corrections_that_break_what_is_settled_are_refused(reply: str, reason: str) -> None:
    assert merge(known(), reply, is_sure, attempt=2) == Refused(reason=reason)


def test_answer_whose_fields_cannot_be_told_apart_is_no_draft() -> None:
    assert draft_of("[1]", (("a", 0.1),), is_sure, attempt=1, confidence_field="confidence") is None
    assert draft_of('{"a": 1}', (), is_sure, attempt=1, confidence_field="confidence") is None
    assert draft({**ANSWER, "confidence": {"lines.0": 0.1, "total": 0.9}}) is None


def test_answer_that_is_doubtful_all_over_is_done_again() -> None:
    assert not known({**ANSWER, "confidence": {"number": 0.1, "total": 0.1, "vat": 0.1}}).is_correctable
    assert known({**ANSWER, "confidence": {"number": 0.1, "total": 0.1}}).is_correctable


def test_field_that_the_draft_left_out_can_be_filled_in_when_the_format_has_it() -> None:
    answer = {"number": "4711", "confidence": {"number": 0.9, "total": 0.1}}
    assert draft(answer) is None
    found = draft(answer, declared=frozenset({"total"}))
    assert found is not None
    merged = merge(found, '{"total": 91, "confidence": {"total": 0.9}}', is_sure, attempt=2)
    assert isinstance(merged, Merged)
    assert json.loads(merged.text)["total"] == 91
