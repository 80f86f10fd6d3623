"""pydantic's errors in the words of this project."""

import difflib
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic_core import ErrorDetails

from router_core.config.model import RoutingConfig
from router_core.config.sections import Section
from router_core.config.tree import Location

_KEY = "[key]"
_SHOWN = 60
_ABOUT_KEYS = ("missing", "extra_forbidden")
_PLAIN_WORDS = {
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "decimal_type": "must be an amount in USD",
    "decimal_parsing": "must be an amount in USD",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "finite_number": "must be a finite number",
    "date_type": "must be a date, YYYY-MM-DD",
    "date_parsing": "must be a date, YYYY-MM-DD",
    "date_from_datetime_parsing": "must be a date, YYYY-MM-DD",
    "date_from_datetime_inexact": "must be a date, YYYY-MM-DD",
}
_SILENT = frozenset({"secret", "too_short", "string_too_short", "string_too_long"})


def explained(error: ErrorDetails, raw: Any) -> tuple[Location, str] | None:
    """Return where an error of pydantic is and what to say of it; None when another error of the same run says it."""
    if _is_echo(error):
        return None
    location, of_key = _location(error["loc"], raw)
    kind, value = error["type"], error["input"]
    if of_key:
        named = kind not in ("string_type", "invalid_key")
        said = f"as a name it {_message(error)}" if named else f"the name {value!r} is not text; write it in quotes"
    elif kind in _ABOUT_KEYS:
        said = "is required but not there" if kind == "missing" else _unknown_key(location)
    elif value is None and kind != "literal_error":
        said = "has no value; give it one or remove the key"
    else:
        said = _message(error) if kind in _SILENT else f"{_message(error)}, not {shown(value)}"
    return location, said


def _is_echo(error: ErrorDetails) -> bool:
    """Return whether an error only repeats another one: of a collection whose items are wrong, of a union's member."""
    value = error["input"]
    if error["type"] == "too_short":
        return bool(value)
    return "literal['error']" in error["loc"] and isinstance(value, Mapping)


def shown(value: object) -> str:
    """Return a value as it may be quoted in a message: short, on one line."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    written = repr(value)
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return ``; did you mean 'x'?`` when a known word is close, else nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _message(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind in _PLAIN_WORDS:
        return _PLAIN_WORDS[kind]
    if kind == "literal_error":
        expected = str(error.get("ctx", {}).get("expected", ""))
        return f"must be {expected}"
    if kind == "too_short":
        return "must not be empty"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_too_long":
        return "must be shorter"
    message = error["msg"].replace("Input should be", "must be").replace("String should", "must")
    return message[:1].lower() + message[1:]


def _location(parts: tuple[int | str, ...], raw: Any) -> tuple[Location, bool]:
    """Return the parts that exist in the file: pydantic adds names of union members and marks of keys."""
    of_key = bool(parts) and parts[-1] == _KEY
    kept: list[str | int] = []
    for part in parts[: -1 if of_key else None]:
        if kept == ["on_unpriced"] and part in ("literal['error']", "Pessimistic"):
            continue
        if isinstance(raw, str):
            break
        kept.append(str(part) if isinstance(raw, Mapping) else part)
        raw = _child(raw, part)
    return tuple(kept), of_key


def _child(raw: Any, part: str | int) -> Any:
    if isinstance(raw, Mapping):
        return cast("Mapping[Any, Any]", raw).get(part)
    if isinstance(raw, list) and isinstance(part, int):
        items = cast("list[Any]", raw)
        return items[part] if part < len(items) else None
    return None


def _unknown_key(location: Location) -> str:
    key = str(location[-1])
    known = tuple(_section_at(location[:-1]))
    return f"unknown key {key!r}{suggestion(key, known) or _listing(known)}"


def _listing(known: Sequence[str]) -> str:
    return f"; known here: {', '.join(known)}" if known else ""


def _section_at(location: Location) -> Mapping[str, Any]:
    held: Any = RoutingConfig
    for part in location:
        if isinstance(held, type) and issubclass(held, Section):
            field = held.model_fields.get(str(part))
            held = _core(field.annotation) if field is not None else None
        else:
            held = _core(get_args(held)[-1 if get_origin(held) is dict else 0]) if get_args(held) else None
    return held.model_fields if isinstance(held, type) and issubclass(held, Section) else {}


def _core(annotation: Any) -> Any:
    """Return an annotation without ``Annotated`` and the members of a union that are no section or collection."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        members = [_core(member) for member in get_args(annotation)]
        kept = [m for m in members if get_args(m) or (isinstance(m, type) and issubclass(m, Section))]
        return next((m for m in kept if get_origin(m) in (dict, tuple) or isinstance(m, type)), None)
    return annotation
