"""Nodes of a YAML document: values that know their span in the text."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, cast

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value begins, its anchor and tag included.

    Attributes:
        start: Offset of its first character.
        line: 1-based line.
        column: 0-based column.
    """

    start: int
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value in the text.

    Attributes:
        place: Where it begins.
        end: Offset after its last character; of a block collection, after its last value.
        anchor: Name of its anchor, if it has one.
        size: Number of values in it, with itself and everything behind aliases.
    """

    place: Place
    end: int
    anchor: str | None = None
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar(Node):
    """A single value.

    Attributes:
        value: The Python value.
        style: ``|``, ``>``, ``'``, ``"``, or empty when it is plain.
    """

    value: Any
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias(Node):
    """A ``*name`` that stands for another node."""

    target: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence(Node):
    """A list.

    Attributes:
        items: Its values.
        flow: Whether it is written ``[...]``.
    """

    items: tuple[Node, ...]
    flow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One ``key: value`` of a mapping; ``merge`` for a ``<<``."""

    key: Node
    value: Node
    merge: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping(Node):
    """A mapping.

    Attributes:
        entries: Its pairs as written, merge keys included.
        flow: Whether it is written ``{...}``.
    """

    entries: tuple[Entry, ...]
    flow: bool


def resolved(node: Node) -> Node:
    """Return the node itself, or what it stands for when it is an alias."""
    while isinstance(node, Alias):
        node = node.target
    return node


def key_of(entry: Entry) -> Hashable:
    """Return the Python value of an entry's key."""
    key = resolved(entry.key)
    return key.value if isinstance(key, Scalar) else None


def merged_into(entry: Entry) -> tuple[Mapping, ...]:
    """Return the mappings that a merge entry brings in, the strongest first; none for other entries."""
    if not entry.merge:
        return ()
    held = resolved(entry.value)
    nodes = held.items if isinstance(held, Sequence) else (held,)
    return tuple(found for found in map(resolved, nodes) if isinstance(found, Mapping))


def effective(mapping: Mapping) -> Iterator[Entry]:
    """Yield the entries that count: own ones, then those that merge keys add, the strongest first.

    A key may come up again; its first entry holds.
    """
    for entry in mapping.entries:
        if not entry.merge:
            yield entry
    for entry in mapping.entries:
        for found in merged_into(entry):
            yield from effective(found)


def entry_of(mapping: Mapping, key: Hashable) -> Entry | None:
    """Return the entry that gives ``key`` its value, one behind a merge key included."""
    return next((entry for entry in effective(mapping) if same(key_of(entry), key)), None)


def plain(node: Node) -> Any:
    """Return a node as dicts, lists and scalars, aliases and merge keys resolved."""
    held = resolved(node)
    if isinstance(held, Sequence):
        return [plain(item) for item in held.items]
    if isinstance(held, Mapping):
        found: dict[Hashable, Any] = {}
        for entry in effective(held):
            if key_of(entry) not in found:
                found[key_of(entry)] = plain(entry.value)
        return found
    return held.value if isinstance(held, Scalar) else None


def same(left: Any, right: Any) -> bool:
    """Return whether two plain values are the same, types included: 1, 1.0 and true differ, nan equals nan."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        mine, other = cast("dict[Any, Any]", left), cast("dict[Any, Any]", right)
        return mine.keys() == other.keys() and all(same(value, other[key]) for key, value in mine.items())
    if isinstance(left, list):
        mine_items, others = cast("list[Any]", left), cast("list[Any]", right)
        return len(mine_items) == len(others) and all(map(same, mine_items, others))
    return repr(left) == repr(right)
