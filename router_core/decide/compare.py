"""Two answers to the same task → whether they are the same answer."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from router_core.types import Comparable

# what is left of rounding when two programs compute one number, relative and absolute
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
_UNREADABLE = object()
_FENCED = re.compile(r"\A\s*```[\w-]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One valid answer.

    Attributes:
        text: Its text.
        parsed: The validated object, when a format was asked for; else None.
    """

    text: str
    parsed: Any = None


def same_answer(kind: Comparable, served: Given, other: Given, confidence_field: str) -> bool | None:
    """Return whether another answer says the same as the served one; None when the served one cannot be compared.

    ``exact``: the same text but for space around it, or equal parsed values. ``json``: equal JSON values, whatever the
    order of keys. ``number``: equal but for the noise of floats, numbers written as text included. The self-reported
    confidence is no part of an answer.

    Args:
        kind: What the payload type's ``comparable`` says.
        served: The served answer.
        other: The answer to compare with it.
        confidence_field: Name of the self-reported confidence at the top of a parsed answer.
    """
    if served.text.strip() == other.text.strip():
        return True
    mine, theirs = (_value(kind, given, confidence_field) for given in (served, other))
    if mine is _UNREADABLE:
        return None
    return theirs is not _UNREADABLE and _same(mine, theirs, loose=kind == "number")


def unfenced(text: str) -> str:
    """Return what stands inside a fenced code block; a text that is none, unchanged."""
    if "```" not in text:
        return text
    fenced = _FENCED.match(text)
    return fenced.group(1) if fenced else text


def _value(kind: Comparable, given: Given, confidence_field: str) -> Any:
    """Return what is compared of an answer: plain JSON values without the confidence."""
    if given.parsed is not None:
        value = _plain(given.parsed)
    elif kind == "exact":
        return given.text.strip()
    elif kind == "number":
        number = _number(given.text)
        return _UNREADABLE if number is None else number
    else:
        value = _read_json(given.text)
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        return {key: entry for key, entry in entries.items() if key != confidence_field}
    return value


def _plain(parsed: Any) -> Any:
    # pydantic's models, without an import of pydantic: a router that is asked for text needs none
    dump = getattr(parsed, "model_dump", None)
    return parsed if dump is None else dump(mode="json")


def _read_json(text: str) -> Any:
    try:
        return orjson.loads(unfenced(text))
    except ValueError:
        return _UNREADABLE


def _same(mine: object, theirs: object, *, loose: bool) -> bool:
    """Return whether two JSON values are equal; ``True`` is not 1, while 1 is 1.0."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        ours, others = cast("Mapping[Any, object]", mine), cast("Mapping[Any, object]", theirs)
        return ours.keys() == others.keys() and all(_same(ours[key], others[key], loose=loose) for key in ours)
    if isinstance(mine, list | tuple) and isinstance(theirs, list | tuple):
        row, other_row = cast("Sequence[object]", mine), cast("Sequence[object]", theirs)
        pairs = zip(row, other_row, strict=False)
        return len(row) == len(other_row) and all(_same(one, other, loose=loose) for one, other in pairs)
    if loose:
        number, other_number = _number(cast("object", mine)), _number(theirs)
        if number is not None and other_number is not None:
            return math.isclose(number, other_number, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return isinstance(mine, bool) == isinstance(theirs, bool) and bool(mine == theirs)


def _number(value: object) -> float | None:
    """Return a finite number, or a text that is one; a flag is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
