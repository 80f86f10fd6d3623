"""What the schema cannot say of pre-checks: one way to answer each, patterns that compile, groups that exist."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from router_core.config.tree import Location

ANSWER_GROUP: Final = "answer"
"""The group of a pattern whose match is the answer, where the rule has no ``answer`` of its own."""

_WAYS: Final = ("regex", "table", "callable")
_CALLABLE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def pre_check_problems(location: Location, rules: Sequence[object]) -> Iterator[tuple[Location, str]]:
    """Yield the problems of a payload type's pre-checks beyond their schema, each with its place."""
    names: dict[str, int] = {}
    for index, raw in enumerate(rules):
        if not isinstance(raw, Mapping):
            continue
        rule = cast("Mapping[str, Any]", raw)
        place: Location = (*location, index)
        name = rule.get("name")
        if isinstance(name, str):
            if name in names:
                yield (*place, "name"), f"{name!r} is already the name of pre_checks[{names[name]}]; choose another"
            names.setdefault(name, index)
        yield from _rule(place, rule)


def template_texts(answer: Any) -> Iterator[str]:
    """Yield the texts in a rule's ``answer`` that groups are put into."""
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, Mapping):
        for inner in cast("Mapping[Any, Any]", answer).values():
            yield from template_texts(inner)
    elif isinstance(answer, list | tuple):
        for inner in cast("Sequence[Any]", answer):
            yield from template_texts(inner)


def _rule(place: Location, rule: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    ways = [way for way in _WAYS if rule.get(way) is not None]
    if len(ways) != 1:
        said = f"has {' and '.join(ways)}" if ways else "has no way to answer"
        yield place, f"{said}; give it exactly one of regex, table and callable"
        return
    if rule.get("answer") is not None and ways != ["regex"]:
        yield (*place, "answer"), f"belongs to a regex; a {ways[0]} has its own answers, so remove it"
    value = rule[ways[0]]
    if ways == ["regex"] and isinstance(value, str):
        yield from _regex(place, value, rule.get("answer"))
    if ways == ["callable"] and isinstance(value, str) and not _CALLABLE.fullmatch(value):
        yield (*place, "callable"), f"{value!r} is not module:function, such as billing.rules:classify"


def _regex(place: Location, pattern: str, answer: Any) -> Iterator[tuple[Location, str]]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        yield (*place, "regex"), f"is no regular expression: {error}"
        return
    if answer is None:
        if ANSWER_GROUP not in compiled.groupindex:
            message = "says nothing of the answer: add one with answer, or name a group of it (?P<answer>...)"
            yield (*place, "regex"), message
        return
    for text in template_texts(answer):
        try:
            # a match of every group shows whether the text can be filled in, whatever the pattern asks for
            _stand_in(compiled).expand(text)
        except (re.error, IndexError) as error:
            yield (*place, "answer"), f"cannot be filled in from the pattern's groups: {error}"
            return


def _stand_in(pattern: "re.Pattern[str]") -> "re.Match[str]":
    """Return a match that has the groups of ``pattern``, each empty."""
    names = {number: name for name, number in pattern.groupindex.items()}
    groups = "".join(f"(?P<{names[n]}>)" if n in names else "()" for n in range(1, pattern.groups + 1))
    found = re.match(groups, "")
    if found is None:
        raise AssertionError("an empty pattern matches an empty text")
    return found
