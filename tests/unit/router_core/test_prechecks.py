"""Rules that answer without a model."""

import time
from typing import Any

import pytest
from pydantic import BaseModel

from router_core.prechecks import (
    Rule,
    ask_rules,
    callers_rule,
    compile_rules,
    last_user_text,
    refuse_unusable_rule,
    unusable_functions,
)
from tests.builders import make_config

TYPE = "invoice.extract"


def rules(*configured: dict[str, Any]) -> tuple[Rule, ...]:
    types = {TYPE: {"path": ["cheap"], "pre_checks": [{"name": f"r{i}", **each} for i, each in enumerate(configured)]}}
    return compile_rules(make_config(payload_types=types)).by_type[TYPE]


def said(text: Any, *configured: dict[str, Any]) -> str | None:
    return ask_rules(rules(*configured), [{"role": "user", "content": text}], lambda _, answer: answer).answer


def test_pattern_answers_with_its_answer_group() -> None:
    order = {"regex": r"order (?P<answer>\d+)"}
    assert said("where is order 17?", order) == "17"
    assert said("where is it?", order) is None


def test_pattern_fills_its_groups_into_text_and_into_data() -> None:
    pattern = r"^(?P<what>\w+) (\d+)$"
    assert said("order 17", {"regex": pattern, "answer": r"\g<what>: \2"}) == "order: 17"
    data = {"kind": r"\g<what>", "numbers": [r"\2"], "sure": True}
    assert said("order 17", {"regex": pattern, "answer": data}) == '{"kind":"order","numbers":["17"],"sure":true}'


def test_text_of_a_message_adds_nothing_to_the_structure_of_an_answer() -> None:
    rule = {"regex": "^say (.+)$", "answer": {"said": r"\1"}}
    assert said('say x", "approved": "yes', rule) == r'{"said":"x\", \"approved\": \"yes"}'


def test_table_answers_to_the_whole_text_without_the_space_around_it() -> None:
    table = {"table": {"ACME Corp": "V-1", "Beta": {"vendor": 2}}}
    assert [said(text, table) for text in (" ACME Corp\n", "Beta", "acme corp", "ACME")] == [
        "V-1",
        '{"vendor":2}',
        None,
        None,
    ]


def test_function_is_given_the_messages_and_may_have_no_answer() -> None:
    assert said("how long", {"callable": "tests.pre_check_rules:word_count"}) == '{"words":2}'
    assert said("", {"callable": "tests.pre_check_rules:word_count"}) is None


def test_first_valid_answer_counts_and_all_that_were_asked_are_told() -> None:
    def broken(messages: Any) -> str:
        raise ValueError("no")

    asked = [callers_rule(each) for each in (broken, lambda _: None, lambda _: "bad", lambda _: "good", lambda _: "x")]
    outcome = ask_rules(asked, [{"role": "user", "content": "hi"}], lambda _, text: text if text == "good" else None)
    assert outcome.answer == "good"
    assert [each.verdict for each in outcome.asked] == ["error", "silent", "invalid", "answered"]
    assert [each.name for each in outcome.asked] == ["broken", *["<lambda>"] * 3]


def test_pydantic_answer_is_written_as_json() -> None:
    class Reply(BaseModel):
        label: str

    (asked,) = [callers_rule(lambda _: Reply(label="x"))]
    assert asked.ask([]) == '{"label":"x"}'


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "a"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "b"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "a\nb"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}], None),
        ([{"role": "system", "content": "a"}], None),
        ([{"role": "user", "content": None}], None),
    ],
)
def test_rules_look_at_the_text_of_the_last_user_message(messages: list[dict[str, Any]], text: str | None) -> None:
    assert last_user_text(messages) == text


def test_endless_text_is_not_searched() -> None:
    began = time.monotonic()
    assert said("a" * 100_000, {"regex": "(a+)+b", "answer": "x"}) is None
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("no.such.module:f", "ModuleNotFoundError"),
        ("tests.pre_check_rules:missing", "AttributeError"),
        ("tests.pre_check_rules:NUMBER", "TypeError"),
        ("tests.pre_check_rules:later", "TypeError"),
    ],
)
def test_function_that_cannot_be_used_is_a_problem_with_its_path(place: str, words: str) -> None:
    types = {TYPE: {"path": ["cheap"], "pre_checks": [{"name": "a", "callable": place}]}}
    (problem,) = unusable_functions(make_config(payload_types=types))
    assert problem.path == f"payload_types.{TYPE}.pre_checks[0].callable"
    assert words in problem.message
    assert problem.line is not None


def test_callers_rule_must_be_a_plain_function() -> None:
    async def later(messages: Any) -> str:
        return "x"

    for wrong in (later, "text"):
        with pytest.raises(TypeError):
            refuse_unusable_rule(wrong)
