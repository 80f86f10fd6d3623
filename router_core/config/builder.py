"""YAML parser events into nodes with spans."""

import re
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from router_core.config.scalars import value_of
from router_core.config.tree import (
    Alias,
    Entry,
    Location,
    Mapping,
    Node,
    Place,
    Scalar,
    Sequence,
    key_of,
    merged_into,
    resolved,
)
from router_core.errors import Problem

MAX_DEPTH = 40
MAX_NODES = 200_000

_COLON = re.compile(r"[ \t]*:")
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({"!", f"{_TAG}str"})
_CORE_TAGS = frozenset(f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "timestamp", "map", "seq", "merge"))


def format_path(location: Location) -> str:
    """Return ``location`` in the notation of problems, e.g. ``payload_types.invoice.extract.path[1].tier``."""
    written = ""
    for part in location:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            written += f".{part}" if written else part
    return written


@dataclass(slots=True)
class _Frame:
    """A collection that is still open."""

    event: Any
    mapping: bool
    items: list[Node] = field(default_factory=list[Node])

    def location_part(self) -> str | int:
        if not self.mapping:
            return len(self.items)
        key = resolved(self.items[-1]) if len(self.items) % 2 else None
        return str(key.value) if isinstance(key, Scalar) else ""


class Builder:
    """Builds the tree of one document.

    Attributes:
        root: The top node, once its last event was fed.
        problems: What is wrong with the document, apart from its grammar.
        broken: Whether the document has no usable tree.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.broken = False
        self._open: list[_Frame] = []
        self._anchors: dict[str, Node | None] = {}
        self._documents = 0

    def feed(self, event: Any) -> None:
        """Take the next parser event."""
        match type(event).__name__:
            case "DocumentStartEvent":
                self._document(event)
            case "ScalarEvent":
                self._scalar(event)
            case "AliasEvent":
                self._alias(event)
            case "SequenceStartEvent" | "MappingStartEvent":
                self._start(event)
            case "SequenceEndEvent" | "MappingEndEvent":
                self._end(event)
            case _:
                pass

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._fatal(event, "holds several YAML documents; keep one and remove the '---' between them")

    def _scalar(self, event: Any) -> None:
        value: Any = event.value
        tag = str(event.tag) if event.tag is not None else None
        if tag in _CORE_TAGS or (tag is None and event.implicit[0]):
            try:
                value = value_of(event.value)
            except ValueError:
                self._say(event, f"{event.value} is not a date; write it as YYYY-MM-DD")
        elif tag is not None and tag not in _TEXT_TAGS:
            self._say(event, f"tag {tag} is not supported; remove it")
        style = event.style or ""
        self._add(Scalar(place=_place(event), end=event.end_mark.index, anchor=event.anchor, value=value, style=style))

    def _alias(self, event: Any) -> None:
        target = self._anchors.get(event.anchor)
        if target is None:
            inside = event.anchor in self._anchors
            said = "contains itself" if inside else "is not defined above"
            self._fatal(event, f"alias *{event.anchor} {said}; write the value out")
            return
        self._add(Alias(place=_place(event), end=event.end_mark.index, target=target, size=target.size))

    def _start(self, event: Any) -> None:
        if len(self._open) >= MAX_DEPTH:
            self._fatal(event, f"is nested more than {MAX_DEPTH} levels deep")
            return
        tag = str(event.tag) if event.tag is not None else None
        if tag is not None and tag not in _CORE_TAGS and tag != "!":
            self._say(event, f"tag {tag} is not supported; remove it")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Frame(event, type(event).__name__ == "MappingStartEvent"))

    def _end(self, event: Any) -> None:
        frame = self._open.pop()
        opened, items = frame.event, tuple(frame.items)
        size = 1 + sum(item.size for item in items)
        if size > MAX_NODES:
            self._fatal(opened, f"grows to more than {MAX_NODES} values through its aliases")
            return
        flow = bool(opened.flow_style)
        end = int(event.end_mark.index) if flow or not items else items[-1].end
        place = _place(opened)
        anchor: str | None = opened.anchor
        if frame.mapping:
            pairs = zip(items[::2], items[1::2], strict=True)
            entries = tuple(
                Entry(key=key, value=self._at_colon(key, value), merge=_is_merge(key)) for key, value in pairs
            )
            self._check_keys(entries)
            self._add(Mapping(place=place, end=end, anchor=anchor, size=size, flow=flow, entries=entries))
        else:
            self._add(Sequence(place=place, end=end, anchor=anchor, size=size, flow=flow, items=items))

    def _at_colon(self, key: Node, value: Node) -> Node:
        """Return an empty value where it belongs, after its colon: the parser puts it before what comes next."""
        empty = isinstance(value, Scalar) and value.place.start == value.end
        colon = _COLON.match(self._text, key.end) if empty else None
        if colon is None:
            return value
        place = Place(start=colon.end(), line=key.place.line, column=key.place.column)
        return replace(value, place=place, end=colon.end())

    def _add(self, node: Node) -> None:
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        if self._open:
            self._open[-1].items.append(node)
        else:
            self.root = node

    def _check_keys(self, entries: tuple[Entry, ...]) -> None:
        lines: dict[Hashable, int] = {}
        for entry in entries:
            if entry.merge:
                if not merged_into(entry):
                    self._problem(entry.key.place.line, "<<", "merges something that is not a mapping")
                continue
            if not isinstance(resolved(entry.key), Scalar):
                self._problem(entry.key.place.line, "", "a key must be plain text")
                continue
            key = key_of(entry)
            if key in lines:
                message = f"is set twice, first on line {lines[key]}; keep one of the two"
                self._problem(entry.key.place.line, str(key), message)
            lines.setdefault(key, entry.key.place.line)

    def _say(self, event: Any, message: str) -> None:
        parts = [frame.location_part() for frame in self._open]
        path = format_path(tuple(part for part in parts if part != ""))
        self.problems.append(Problem(path=path, message=message, line=event.start_mark.line + 1))

    def _problem(self, line: int, key: str, message: str) -> None:
        parts = [frame.location_part() for frame in self._open]
        path = format_path((*(part for part in parts if part != ""), *([key] if key else [])))
        self.problems.append(Problem(path=path, message=message, line=line))

    def _fatal(self, event: Any, message: str) -> None:
        self._say(event, message)
        self.broken = True


def _place(event: Any) -> Place:
    mark = event.start_mark
    return Place(start=mark.index, line=mark.line + 1, column=mark.column)


def _is_merge(key: Node) -> bool:
    return isinstance(key, Scalar) and key.value == "<<" and key.style == ""
