"""Free rules that may answer a call before any model is asked: a pattern, a table, a function."""

import importlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import orjson

from router_core.checks import refuse_awaited
from router_core.decide.plan import Plan
from router_core.types import Message

if TYPE_CHECKING:  # the config brings pydantic: loaded when a router is opened
    from router_core.config import PreCheck, RoutingConfig
    from router_core.errors import Problem

# a pattern is not let loose on more: some patterns take time that grows with the square of the text, or worse
_LONGEST_SUBJECT: Final = 20_000
_NAME_LENGTH: Final = 100

Reply = str | None
PreCheckFunction = Callable[[Sequence[Message]], Any]
"""Gets the messages; returns the answer as text or as data to be written as JSON, or None when it has none."""
Verdict = Literal["answered", "silent", "invalid", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A pre-check, ready to ask.

    Attributes:
        name: What the log calls it.
        ask: Returns the answer's text, or None when the rule has none. May raise anything.
    """

    name: str
    ask: Callable[[Sequence[Message]], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of asking one rule.

    Attributes:
        name: The rule's name.
        ms: How long it took, milliseconds.
        verdict: ``answered``; ``silent`` (it has no answer); ``invalid`` (its answer fails the call's checks);
            ``error`` (the rule itself raised).
    """

    name: str
    ms: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of asking a call's rules.

    Attributes:
        answer: What the accepting of the first valid answer gave; None = no rule has one.
        asked: The rules that were asked, in order.
    """

    answer: Any
    asked: tuple[Asked, ...]


def ask_rules(rules: Sequence[Rule], messages: Sequence[Message], accept: Callable[[str, str], Any]) -> Outcome:
    """Return the first rule's answer that is accepted.

    Args:
        rules: In the order in which they are asked.
        messages: The call's messages.
        accept: Given a rule's name and its answer's text; returns None when the answer is invalid.
    """
    asked: list[Asked] = []
    for rule in rules:
        began = time.perf_counter_ns()
        verdict: Verdict = "silent"
        answer: Any = None
        try:
            text = rule.ask(messages)
        except Exception:  # noqa: BLE001 - a caller's rule may raise anything; then a model answers
            verdict = "error"
        else:
            if text is not None:
                answer = accept(rule.name, text)
                verdict = "invalid" if answer is None else "answered"
        asked.append(Asked(name=rule.name, ms=(time.perf_counter_ns() - began) / 1e6, verdict=verdict))
        if answer is not None:
            return Outcome(answer=answer, asked=tuple(asked))
    return Outcome(answer=None, asked=tuple(asked))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The pre-checks of a config.

    Attributes:
        by_type: Those of each payload type that has some.
        other: Those of payload types that the config does not name.
    """

    by_type: Mapping[str, tuple[Rule, ...]]
    other: tuple[Rule, ...]

    def of(self, plan: Plan) -> tuple[Rule, ...]:
        """Return the pre-checks of a call with this plan."""
        return self.other if plan.reason == "default_type" else self.by_type.get(plan.payload_type, ())


def compile_rules(config: "RoutingConfig") -> Rules:
    """Return a config's pre-checks, ready to ask; imports the modules of functions.

    Raises:
        ImportError, AttributeError, TypeError: A function is not there; ``unusable_functions`` says so beforehand.
    """
    from router_core.config import ANY_TYPE

    by_type = {
        name: tuple(_rule(each) for each in settings.pre_checks)
        for name, settings in config.payload_types.items()
        if settings.pre_checks
    }
    return Rules(by_type=by_type, other=by_type.pop(ANY_TYPE, ()))


def unusable_functions(config: "RoutingConfig") -> "tuple[Problem, ...]":
    """Return a problem for every pre-check whose function cannot be used; imports the modules they are in."""
    found: list[Problem] = []
    for name, settings in config.payload_types.items():
        for index, rule in enumerate(settings.pre_checks):
            if rule.callable is None:
                continue
            try:
                _function(rule.callable)
            except Exception as error:  # noqa: BLE001 - a module that is imported may raise anything
                message = f"{rule.callable!r} cannot be used: {type(error).__name__}: {error}"
                found.append(config.problem(("payload_types", name, "pre_checks", index, "callable"), message))
    return tuple(found)


def callers_rule(function: PreCheckFunction) -> Rule:
    """Return a function of the caller's as a rule, under its own name."""
    name = getattr(function, "__name__", type(function).__name__)[:_NAME_LENGTH]
    return Rule(name=name, ask=lambda messages: _written(function(messages)))


def refuse_unusable_rule(function: object) -> None:
    """Do nothing for a function that can be asked.

    Raises:
        TypeError: It is none, or one that has to be awaited.
    """
    if not callable(function):
        raise TypeError(f"pre_checks must be functions, not {type(function).__name__}")
    refuse_awaited("pre_checks", function)


def last_user_text(messages: Sequence[Message]) -> str | None:
    """Return the text of the last user message; None without one, or when there is more to it than text."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return _text(message.get("content"))
    return None


def _text(content: object) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return None
    texts: list[str] = []
    for part in cast("Sequence[object]", content):
        text = cast("Mapping[str, object]", part).get("text") if isinstance(part, Mapping) else None
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "\n".join(texts)


def _rule(config: "PreCheck") -> Rule:
    if config.regex is not None:
        return Rule(name=config.name, ask=_pattern_rule(re.compile(config.regex), config.answer))
    if config.table is not None:
        return Rule(name=config.name, ask=_table_rule(config.table))
    function = _function(config.callable or "")
    return Rule(name=config.name, ask=lambda messages: _written(function(messages)))


def _pattern_rule(pattern: re.Pattern[str], answer: Any) -> Callable[[Sequence[Message]], Reply]:
    def ask(messages: Sequence[Message]) -> Reply:
        text = last_user_text(messages)
        found = pattern.search(text) if text is not None and len(text) <= _LONGEST_SUBJECT else None
        if found is None:
            return None
        return found["answer"] if answer is None else _written(_filled(answer, found))

    return ask


def _filled(answer: Any, found: re.Match[str]) -> Any:
    """Return the answer with the groups in its texts; data stay data, so that no text can add to their structure."""
    if isinstance(answer, str):
        return found.expand(answer)
    if isinstance(answer, Mapping):
        return {key: _filled(inner, found) for key, inner in cast("Mapping[Any, Any]", answer).items()}
    if isinstance(answer, list | tuple):
        return [_filled(inner, found) for inner in cast("Sequence[Any]", answer)]
    return answer


def _table_rule(table: Mapping[str, Any]) -> Callable[[Sequence[Message]], Reply]:
    answers = {key.strip(): _written(value) for key, value in table.items()}

    def ask(messages: Sequence[Message]) -> Reply:
        text = last_user_text(messages)
        return None if text is None else answers.get(text.strip())

    return ask


def _function(place: str) -> PreCheckFunction:
    """Return the function at ``module:function``.

    Raises:
        ImportError, AttributeError, TypeError: There is none that can be asked.
    """
    module, _, path = place.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    refuse_unusable_rule(found)
    return found


def _written(value: Any) -> Reply:
    """Return an answer as text: text as it is, anything else as JSON; None stays None.

    Raises:
        TypeError: It cannot be written as JSON.
    """
    if value is None or isinstance(value, str):
        return value
    dumped = value.model_dump_json() if hasattr(value, "model_dump_json") else orjson.dumps(value).decode()
    return str(dumped)
