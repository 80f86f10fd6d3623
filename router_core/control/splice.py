"""Edits of a YAML file that touch one span of its bytes and nothing else.

::

    splice(data, path, value) -> bytes      replace the value at path, or add the missing key at its end
    remove(data, path) -> bytes             take a key or a list item out

An edit is proposed as text at a span, made, read again and compared with the data it should give. One that gives
anything else is dropped; when no way of writing it works, the edit is refused. So a result is never wrong, whatever
anchors, styles and comments stand in the file.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

from router_core.config.document import Document, format_path, read
from router_core.config.scalars import text_of, value_of
from router_core.config.tree import Location, same
from router_core.config.write import flow
from router_core.control.edits import Edit, RefusedError, removals, replacements
from router_core.errors import ConfigError, Problem

_SOURCE = "routing config"
_NO_PLACE = "the way the file is written there leaves no safe place for it"


def splice(data: bytes, path: Location, value: Any) -> bytes:
    """Return the file with the value at ``path`` replaced, or a key that is missing at its end added to its mapping.

    The result is a prefix of ``data``, new bytes, and a suffix of ``data``; comments, anchors, styles, line ends and a
    byte order mark outside the edited span stay as they are. When old and new value differ in one place inside, only
    that place is edited.

    Args:
        data: Bytes of a YAML file.
        path: Keys and list positions from the top, e.g. ``("payload_types", "invoice.extract", "path", 0, "tier")``.
        value: Plain data: mappings with text keys, lists, text, numbers, dates, None.

    Raises:
        ConfigError: The file cannot be read, or no edit changes this value alone; says why.
    """
    document = _opened(data)
    try:
        wanted = _plain(value)
        before = document.plain()
        expected = _with(before, path, wanted)
        if _identical(expected, before):
            return data
        return _spliced(document, _narrowed(before, path, wanted), expected)
    except (RefusedError, TypeError) as error:
        raise _refusal(document, path, error) from error


def remove(data: bytes, path: Location) -> bytes:
    """Return the file without the key or list item at ``path``; its own line goes, comments on other lines stay.

    Raises:
        ConfigError: The file cannot be read, there is no such value, or no edit removes it alone; says why.
    """
    document = _opened(data)
    try:
        expected = _without(document.plain(), path)
        made = _first_right(document, removals(document, path), expected)
    except RefusedError as error:
        raise _refusal(document, path, error) from error
    if made is None:
        raise _refusal(document, path, RefusedError(_NO_PLACE))
    return made


def _opened(data: bytes) -> Document:
    document = read(data, source=_SOURCE)
    if document.problems:
        raise ConfigError(_SOURCE, document.problems)
    return document


def _spliced(document: Document, places: Iterator[tuple[Location, Any]], expected: Any) -> bytes:
    reason = _NO_PLACE
    for place, inner in places:
        try:
            made = _first_right(document, replacements(document, place, inner), expected)
        except RefusedError as error:
            reason = str(error)
            continue
        if made is not None:
            return made
    raise RefusedError(reason)


def _refusal(document: Document, path: Location, reason: Exception) -> ConfigError:
    message = f"cannot be edited automatically: {reason}; make this edit by hand"
    return ConfigError(_SOURCE, [Problem(path=format_path(path), message=message, line=document.line_of(path))])


def _first_right(document: Document, edits: Iterator[Edit], expected: Any) -> bytes | None:
    for edit in edits:
        text = document.text
        made = (document.mark + text[: edit.start] + edit.text + text[edit.end :]).encode()
        try:
            after = read(made, source=_SOURCE)
        except ConfigError:
            continue
        if not after.problems and same(after.plain(), expected):
            return made
    return None


def _identical(left: Any, right: Any) -> bool:
    """Return whether both are the same in the same order: the order of tiers means something."""
    return same(left, right) and flow(left) == flow(right)


def _narrowed(data: Any, path: Location, value: Any) -> Iterator[tuple[Location, Any]]:
    """Yield the smallest edits first: where old and new value differ in one place only, that place."""
    old: Any = data
    for part in path:
        if isinstance(old, dict) and part not in old:
            break
        old = cast("Any", old)[part]
    else:
        yield from _differing(old, path, value)
    yield path, value


def _differing(old: Any, path: Location, new: Any) -> Iterator[tuple[Location, Any]]:
    places: list[str | int] = []
    if isinstance(old, list) and isinstance(new, list):
        before, after = cast("list[Any]", old), cast("list[Any]", new)
        if len(before) == len(after):
            places = [index for index, pair in enumerate(zip(before, after, strict=True)) if not _identical(*pair)]
    elif isinstance(old, dict) and isinstance(new, dict):
        known, wanted = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        if list(wanted)[: len(known)] == list(known):
            places = [key for key in wanted if key not in known or not _identical(known[key], wanted[key])]
    if len(places) != 1:
        return
    place = places[0]
    inner = cast("Any", new)[place]
    if isinstance(old, list) or place in old:
        yield from _differing(cast("Any", old)[place], (*path, place), inner)
    yield (*path, place), inner


def _with(data: Any, path: Location, value: Any) -> Any:
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(data, dict):
        held = cast("dict[Any, Any]", data)
        if rest and part not in held:
            raise RefusedError(f"there is no {part!r} to change something in")
        return {**held, part: _with(held.get(part), rest, value)}
    items = _items(data, part)
    return [_with(item, rest, value) if index == part else item for index, item in enumerate(items)]


def _without(data: Any, path: Location) -> Any:
    if not path:
        raise RefusedError("the whole file cannot be removed")
    part, rest = path[0], path[1:]
    if isinstance(data, dict):
        held = cast("dict[Any, Any]", data)
        if part not in held:
            raise RefusedError(f"there is no {part!r}")
        kept = {key: item for key, item in held.items() if key != part}
        return {**held, part: _without(held[part], rest)} if rest else kept
    items = _items(data, part)
    if not rest:
        return [item for index, item in enumerate(items) if index != part]
    return [_without(item, rest) if index == part else item for index, item in enumerate(items)]


def _items(data: Any, part: str | int) -> list[Any]:
    if not isinstance(data, list):
        raise RefusedError(f"there is nothing at {part!r}, its holder is a single value")
    items = cast("list[Any]", data)
    if not isinstance(part, int) or not 0 <= part < len(items):
        raise RefusedError(f"there is no item {part!r} in a list of {len(items)}")
    return items


def _plain(value: Any) -> Any:
    """Return what ``value`` will be once it was written and read."""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        if not all(isinstance(key, str) for key, _ in pairs):
            raise TypeError("a key that is not text has no place in a config")
        return {key: _plain(inner) for key, inner in pairs}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast("list[Any]", value)]
    if isinstance(value, Decimal):
        written = text_of(value)
        return str(value) if written.startswith('"') else value_of(written)
    text_of(value)
    return value
