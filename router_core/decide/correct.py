"""A draft whose doubtful fields go up: what is asked about them, and how the corrections are merged into it.

Only fields of a JSON object are corrected, and only where the draft says of each how sure it is. Everything else that
is not confident enough is done again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from router_core.decide.compare import unfenced
from router_core.decide.confidence import fraction
from router_core.record import record
from router_core.types import Message

SureFunction = Callable[[float], bool]
"""Gets what an answer says of one field, 0..1; returns whether that is enough at its step."""

_TASK: Final = """\
The task above has been answered already, with the draft below. Most of its fields are settled. Only these may be \
wrong: {names}.
Look at the material above again and work these fields out anew. Reply with one JSON object that holds them and no \
other field, each in its final form even where the draft turns out to be right{told}.
Draft:
{draft}"""
_TOLD: Final = ', and under "{field}" an object with how sure you are of each of them, from 0 to 1'


@record
class FieldState:
    """One field of an answer.

    Attributes:
        attempt: Number of the attempt that gave its value.
        confidence: How sure that attempt was of it, 0..1.
        is_settled: Whether that was enough at the attempt's step.
    """

    attempt: int
    confidence: float
    is_settled: bool


@record
class Draft:
    """An answer that may be corrected.

    Attributes:
        answer: Its JSON object, the confidence per field included.
        fields: The fields that it says something about, in its order.
        confidence_field: Name of the field that holds the confidence.
    """

    answer: Mapping[str, Any]
    fields: Mapping[str, FieldState]
    confidence_field: str

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Names of the fields that are not settled."""
        return tuple(name for name, state in self.fields.items() if not state.is_settled)

    @property
    def is_correctable(self) -> bool:
        """Whether some fields are doubtful and others are not: then correcting is less than doing all of it again."""
        doubtful = self.doubtful
        whole = set(self.answer) - {self.confidence_field}
        return bool(doubtful) and bool(whole - set(doubtful))


@record
class Merged:
    """A draft with its corrections in place.

    Attributes:
        draft: The merged answer, which may be corrected again.
        text: It as JSON.
        asked: Fields that were asked about.
        corrected: Those that have another value now.
        confidence: The lowest confidence among the fields that were asked about, 0..1.
    """

    draft: Draft
    text: str
    asked: tuple[str, ...]
    corrected: tuple[str, ...]
    confidence: float


@record
class Refused:
    """Corrections that are not merged.

    Attributes:
        reason: Why; quotes nothing of the answer.
    """

    reason: str


def draft_of(
    text: str,
    told: Sequence[tuple[str, float]],
    is_sure: SureFunction,
    *,
    attempt: int,
    confidence_field: str,
    declared: frozenset[str] = frozenset(),
) -> Draft | None:
    """Return a valid answer as a draft; None when its fields cannot be told apart.

    Args:
        text: The answer.
        told: What it says of its fields, ``(name, 0..1)`` each.
        is_sure: Whether that is enough at its step.
        attempt: Number of its attempt.
        confidence_field: Name of the field that holds the confidence.
        declared: Fields that the wanted format has, which an answer may leave out.
    """
    if not told:
        return None
    answer = _object(text)
    if answer is None or not isinstance(answer.get(confidence_field), dict):
        return None
    known = answer.keys() | declared
    if any(name not in known or name == confidence_field for name, _ in told):
        return None  # part of a field, or no field at all: nothing that could be put in its place
    fields = {name: FieldState(attempt=attempt, confidence=value, is_settled=is_sure(value)) for name, value in told}
    return Draft(answer=answer, fields=fields, confidence_field=confidence_field)


def correction_messages(messages: Sequence[Message], draft: Draft) -> list[Message]:
    """Return what the next step is asked: the task as it was, so that its beginning stays in a cache, and the draft.

    Args:
        messages: The task.
        draft: The answer so far.
    """
    shown = {name: value for name, value in draft.answer.items() if name != draft.confidence_field}
    text = _TASK.format(
        names=", ".join(orjson.dumps(name).decode() for name in draft.doubtful),
        told=_TOLD.format(field=draft.confidence_field),
        draft=orjson.dumps(shown).decode(),
    )
    return [*messages, {"role": "user", "content": text}]


def correction_schema(schema: Mapping[str, Any] | None, draft: Draft) -> dict[str, Any]:
    """Return the response format of the corrections: the doubtful fields as the task's own schema has them.

    Args:
        schema: JSON schema of the whole answer; None = it has none.
        draft: The answer so far.
    """
    declared = _mapping(schema, "properties")
    doubtful = draft.doubtful
    if schema is None or not all(name in declared for name in doubtful):
        return {"type": "json_object"}
    confidence = {"type": "number", "minimum": 0, "maximum": 1}
    properties = {name: declared[name] for name in doubtful}
    properties[draft.confidence_field] = {
        "type": "object",
        "properties": dict.fromkeys(doubtful, confidence),
        "required": list(doubtful),
        "additionalProperties": False,
    }
    definitions = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **definitions,
    }


def merge(draft: Draft, reply: str, is_sure: SureFunction, *, attempt: int) -> Merged | Refused:
    """Return the draft with the corrections that a step has replied, or why they are refused.

    A field that the step was asked about and says nothing of stays as it is, and doubtful. A reply that gives a settled
    field another value is refused whole: who overwrites what is right has not understood what was asked. Fields that
    the draft has not are left out.

    Args:
        draft: The answer so far.
        reply: The step's reply.
        is_sure: Whether what a reply says of a field is enough at this step.
        attempt: Number of its attempt.
    """
    given = _object(reply)
    if given is None:
        return Refused(reason="no JSON object")
    asked = draft.doubtful
    for name, value in given.items():
        if (
            name != draft.confidence_field
            and name in draft.answer
            and name not in asked
            and value != draft.answer[name]
        ):
            return Refused(reason="changes a settled field")
    answered = [name for name in asked if name in given]
    if not answered:
        return Refused(reason="corrects none of the fields")
    said = _mapping(given, draft.confidence_field)
    answer, fields = dict(draft.answer), dict(draft.fields)
    confidences = dict(_mapping(answer, draft.confidence_field))
    corrected: list[str] = []
    for name in answered:
        if name not in answer or answer[name] != given[name]:
            corrected.append(name)
        answer[name] = given[name]
        told = fraction(said.get(name))
        # without a word on how sure it is, a value is as doubtful as the one that it replaces
        value = fields[name].confidence if told is None else told
        is_settled = told is not None and is_sure(told)
        fields[name] = FieldState(attempt=attempt, confidence=value, is_settled=is_settled)
        confidences[name] = value
    answer[draft.confidence_field] = confidences
    merged = Draft(answer=answer, fields=fields, confidence_field=draft.confidence_field)
    return Merged(
        draft=merged,
        text=orjson.dumps(answer).decode(),
        asked=asked,
        corrected=tuple(corrected),
        confidence=min(fields[name].confidence for name in asked),
    )


def _object(text: str) -> dict[str, Any] | None:
    try:
        value: object = orjson.loads(unfenced(text))
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _mapping(of: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    found: object = None if of is None else of.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}
