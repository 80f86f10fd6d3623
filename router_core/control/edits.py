"""Ways to write one edit into a YAML text, likeliest first. Whether one is right is for the caller to find out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from router_core.config.document import Document, format_path
from router_core.config.scalars import text_of
from router_core.config.tree import Alias, Location, Mapping, Node, Scalar, Sequence, entry_of, key_of, same
from router_core.config.write import flow

_BREAK = re.compile(r"\r\n|\n|\r")
_BLANK = re.compile(r"(?:[ \t]*(?:\r\n|\n|\r))*")


class RefusedError(Exception):
    """Why no edit is safe."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Text to put in place of a span of characters."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a path ends.

    Attributes:
        holder: The collection that holds the value.
        index: The value's place among the holder's entries or items; None = there is none yet.
    """

    holder: Mapping | Sequence
    index: int | None

    @property
    def nodes(self) -> tuple[Node, ...]:
        if isinstance(self.holder, Mapping):
            return tuple(entry.value for entry in self.holder.entries)
        return self.holder.items

    def starts(self, text: str) -> tuple[int, ...]:
        if isinstance(self.holder, Mapping):
            return tuple(entry.key.place.start for entry in self.holder.entries)
        return tuple(item.place.start for item in self.holder.items) if self.holder.flow else _dashes(text, self.holder)


def replacements(document: Document, path: Location, value: Any) -> Iterator[Edit]:
    """Return edits that set the value at ``path``.

    Raises:
        RefusedError: The value, or something it is in, is shared with another place of the file.
    """
    spot = _spot(document, path)
    if spot.index is not None:
        return _replaced(document.text, spot.nodes[spot.index], value)
    pair = f"{text_of(path[-1])}: {flow(value)}"
    holder = cast("Mapping", spot.holder)
    return _added_in_flow(holder, pair) if holder.flow else _added_line(document.text, holder, pair)


def removals(document: Document, path: Location) -> Iterator[Edit]:
    """Return edits that take out the value at ``path``, with its key.

    Raises:
        RefusedError: There is none, or it is shared with another place of the file.
    """
    spot = _spot(document, path)
    if spot.index is None:
        raise RefusedError("it comes from a merge key")
    return _removed(document.text, spot, spot.index)


def _spot(document: Document, path: Location) -> _Spot:
    aliases = [node for node in _nodes(document.root) if isinstance(node, Alias)]
    shared = {id(alias.target) for alias in aliases}
    node, spot = document.root, None
    for depth, part in enumerate(path):
        where = format_path(path[:depth]) or "the top"
        if isinstance(node, Alias):
            raise RefusedError(f"{where} is an alias; its value stands elsewhere and may be used there too")
        if id(node) in shared:
            raise RefusedError(f"{where} has the anchor &{node.anchor}, which is used elsewhere too")
        spot = _step(node, part, where, last=depth == len(path) - 1)
        if spot.index is not None:
            node = spot.nodes[spot.index]
    if spot is None:
        raise RefusedError("no path was given")
    if spot.index is not None:
        _refuse_shared(node, aliases)
    return spot


def _step(node: Node, part: str | int, where: str, *, last: bool) -> _Spot:
    if isinstance(node, Mapping):
        for index, entry in enumerate(node.entries):
            if not entry.merge and same(key_of(entry), part):
                return _Spot(node, index)
        if not last:
            merged = entry_of(node, part) is not None
            raise RefusedError(f"{part!r} of {where} comes from a merge key" if merged else f"{where} has no {part!r}")
        return _Spot(node, None)
    if isinstance(node, Sequence) and isinstance(part, int):
        return _Spot(node, part)
    raise RefusedError(f"{where} is a single value")


def _refuse_shared(node: Node, aliases: list[Alias]) -> None:
    inside = {id(each): each for each in _nodes(node)}
    for alias in aliases:
        target = inside.get(id(alias.target))
        if target is not None and id(alias) not in inside:
            raise RefusedError(f"it carries the anchor &{target.anchor}, which line {alias.place.line} uses")


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Sequence):
        for item in node.items:
            yield from _nodes(item)
    elif isinstance(node, Mapping):
        for entry in node.entries:
            yield from _nodes(entry.key)
            yield from _nodes(entry.value)


def _content_end(text: str, node: Node) -> int:
    """Return the offset after a node's last visible character; a block scalar's own end is after its line breaks."""
    last = node
    while not isinstance(last, Scalar | Alias) and not getattr(last, "flow", True) and _inner(last):
        last = _inner(last)[-1]
    if isinstance(last, Scalar) and last.style in ("|", ">"):
        return last.place.start + len(text[last.place.start : last.end].rstrip())
    return last.end


def _inner(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Mapping):
        return tuple(entry.value for entry in node.entries)
    return node.items if isinstance(node, Sequence) else ()


def _replaced(text: str, node: Node, value: Any) -> Iterator[Edit]:
    yield from _appended(text, node, value)
    start, end, written = node.place.start, _content_end(text, node), flow(value)
    if isinstance(node, Mapping | Sequence) and not node.flow:
        block = _block(text, node, value)
        if block is not None:
            yield Edit(start, end, block)
        # `key:` and its block on the lines below: the new value joins the line of its key
        before = len(text[:start].rstrip())
        if before and text[before - 1] in ":-?":
            yield Edit(before, end, f" {written}")
        yield Edit(start, end, written)
        yield Edit(start, end, f"  {written}")
    elif start == end:
        yield Edit(start, end, f" {written}")
        yield Edit(start, end, f": {written}")
    else:
        yield Edit(start, end, written)
        yield Edit(start, end, f" {written}")


def _appended(text: str, node: Node, value: Any) -> Iterator[Edit]:
    """Yield the edit that adds one item at a list's end; whether the other items stay is seen when it is read again."""
    if not isinstance(node, Sequence) or not isinstance(value, list) or not node.items:
        return
    wanted = cast("list[Any]", value)
    if len(wanted) != len(node.items) + 1:
        return
    item, end = flow(wanted[-1]), _content_end(text, node.items[-1])
    if node.flow:
        yield Edit(end, end, f", {item}")
    else:
        line_end = _line_end(text, end)
        yield Edit(line_end, line_end, f"{_line_break(text, line_end)}{' ' * node.place.column}- {item}")


def _block(text: str, node: Mapping | Sequence, value: Any) -> str | None:
    """Return ``value`` in the block style of the node it replaces, if it is of the same kind."""
    separator = _line_break(text, node.place.start) + " " * node.place.column
    if isinstance(node, Sequence) and isinstance(value, list) and value and text[node.place.start] == "-":
        return separator.join(f"- {flow(item)}" for item in cast("list[Any]", value))
    if isinstance(node, Mapping) and isinstance(value, dict) and value:
        pairs = cast("dict[str, Any]", value).items()
        return separator.join(f"{text_of(key)}: {flow(inner)}" for key, inner in pairs)
    return None


def _added_in_flow(holder: Mapping, pair: str) -> Iterator[Edit]:
    if holder.entries:
        last = holder.entries[-1].value.end
        yield Edit(last, last, f", {pair}")
    else:
        yield Edit(holder.end - 1, holder.end - 1, pair)


def _added_line(text: str, holder: Mapping, pair: str) -> Iterator[Edit]:
    # never before the first key: the order of tiers means something
    last, indent = holder.entries[-1].value, " " * holder.entries[0].key.place.column
    line_end = _line_end(text, _content_end(text, last))
    separator = _line_break(text, line_end)
    yield Edit(line_end, line_end, f"{separator}{indent}{pair}")
    # a block scalar that keeps its trailing line breaks ends after them
    if text[last.end - 1 : last.end] in ("\n", "\r"):
        yield Edit(last.end, last.end, f"{indent}{pair}{separator}")
    else:
        yield Edit(last.end, last.end, f"{separator}{indent}{pair}")


def _removed(text: str, spot: _Spot, index: int) -> Iterator[Edit]:
    starts, nodes = spot.starts(text), spot.nodes
    start, end = starts[index], _content_end(text, nodes[index])
    if len(nodes) == 1:
        yield from _replaced(text, spot.holder, {} if isinstance(spot.holder, Mapping) else [])
        return
    if not spot.holder.flow:
        line_start = _line_start(text, start)
        line_end = _line_end(text, end)
        if not text[line_start:start].strip(" -?"):
            after = _BREAK.match(text, line_end)
            yield Edit(line_start, after.end() if after else line_end, "")
            # blank lines after it would else go to a block scalar before it that keeps its trailing line breaks
            yield Edit(line_start, _after_blank_lines(text, line_end), "")
            yield Edit(len(text[:line_start].rstrip("\r\n")), line_end, "")
    if index + 1 < len(nodes):
        yield Edit(start, starts[index + 1], "")
    if index:
        yield Edit(_content_end(text, nodes[index - 1]), end, "")


def _dashes(text: str, holder: Sequence) -> tuple[int, ...]:
    """Return the offsets of a block list's dashes; of the item itself where its dash is not found."""
    found: list[int] = []
    position, line_start = holder.place.start, ""
    for item in holder.items:
        dash = re.compile(rf"{line_start}-(?=\s)", re.MULTILINE).search(text, position, item.place.start + 1)
        found.append(dash.end() - 1 if dash else item.place.start)
        position, line_start = _content_end(text, item), f"^ {{{holder.place.column}}}"
    return tuple(found)


def _line_start(text: str, position: int) -> int:
    return max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1


def _line_end(text: str, position: int) -> int:
    found = _BREAK.search(text, position)
    return found.start() if found else len(text)


def _after_blank_lines(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    return found.end() if found else position


def _line_break(text: str, position: int) -> str:
    """Return the line break in use at a position: the next one, else the first of the file."""
    found = _BREAK.search(text, position) or _BREAK.search(text)
    return found[0] if found else "\n"
