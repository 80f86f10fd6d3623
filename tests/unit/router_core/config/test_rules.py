"""Pre-checks in the config."""

import pytest

from router_core.config import parse
from router_core.errors import ConfigError

BASE = """\
version: 1
tiers: {{cheap: [{{model: a/small}}]}}
payload_types:
  task: {{path: [cheap], pre_checks: [{rules}]}}
"""


def said(rules: str) -> list[tuple[str, str]]:
    """What is wrong with these pre-checks: path below them, and message."""
    try:
        parse(BASE.format(rules=rules).encode(), source="x")
    except ConfigError as error:
        return [(each.path.removeprefix("payload_types.task.pre_checks"), each.message) for each in error.problems]
    return []


@pytest.mark.parametrize(
    "rule",
    [
        "{name: a, regex: '(?P<answer>x)'}",
        "{name: a, regex: '(x)(?P<more>y)?', answer: '\\1 \\g<more>'}",
        "{name: a, regex: 'x', answer: {label: small, nested: [1, {deep: text}]}}",
        "{name: a, table: {hello: world, more: {label: 1}}}",
        "{name: a, callable: 'some.module:some.function'}",
    ],
)
def test_rule_with_one_way_to_answer_is_accepted(rule: str) -> None:
    assert said(rule) == []


@pytest.mark.parametrize(
    ("rule", "path", "words"),
    [
        ("{name: a}", "[0]", "no way to answer"),
        ("{name: a, regex: '(?P<answer>x)', table: {x: y}}", "[0]", "has regex and table"),
        ("{name: a, table: {x: y}, answer: z}", "[0].answer", "belongs to a regex"),
        ("{name: a, table: {}}", "[0].table", "must not be empty"),
        ("{name: a, regex: '(x'}", "[0].regex", "no regular expression"),
        ("{name: a, regex: 'x'}", "[0].regex", "says nothing of the answer"),
        ("{name: a, regex: '(x)', answer: '\\2'}", "[0].answer", "invalid group reference 2"),
        ("{name: a, regex: 'x', answer: {label: ['\\g<who>']}}", "[0].answer", "unknown group name 'who'"),
        ("{name: a, callable: some.module}", "[0].callable", "not module:function"),
        ("{name: a, callable: 'some/path.py:f'}", "[0].callable", "not module:function"),
        ("{name: a, table: {x: y}}, {name: a, table: {z: y}}", "[1].name", "already the name of pre_checks[0]"),
        ("{regex: '(?P<answer>x)'}", "[0].name", "is required"),
        ("{name: a, table: {42: y}}", "[0].table.42", "not text"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said_at_its_place(rule: str, path: str, words: str) -> None:
    ((place, message),) = said(rule)
    assert (place, words in message) == (path, True), message


def test_name_of_what_pre_checks_are_logged_as_is_no_tier() -> None:
    with pytest.raises(ConfigError, match="pre_check"):
        parse(BASE.format(rules="").replace("cheap", "pre_check").encode(), source="x")
