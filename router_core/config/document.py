"""Bytes of a YAML file → a document whose values know their line and their span.

The tree is built from the parser's events and not by a loader, because an edit in place needs every value's span and a
problem needs every value's line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from router_core.config.builder import Builder, format_path
from router_core.config.tree import (
    Location,
    Mapping,
    Node,
    Scalar,
    Sequence,
    effective,
    entry_of,
    key_of,
    plain,
    resolved,
)
from router_core.errors import ConfigError, Problem

__all__ = ["MAX_BYTES", "Document", "format_path", "read"]

MAX_BYTES = 2_000_000
_BOM = "\ufeff"
_EMPTY = Problem(path="", message="is empty; `tierwise init` writes an example to start from")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML text.

    Attributes:
        text: The decoded text without its byte order mark; offsets of nodes count its characters.
        mark: The byte order mark, if the bytes began with one.
        root: The top node.
        problems: What is wrong with it apart from its grammar: keys set twice, unknown tags, impossible dates.
    """

    text: str
    mark: str
    root: Node
    problems: tuple[Problem, ...]

    def plain(self) -> Any:
        """Return the document as dicts, lists and scalars, aliases and merge keys resolved."""
        return plain(self.root)

    def line_of(self, location: Location) -> int:
        """Return the 1-based line of the value at ``location``, or of its nearest ancestor that exists."""
        node, line = self.root, self.root.place.line
        for part in location:
            held = resolved(node)
            if isinstance(held, Mapping):
                entry = entry_of(held, part)
                if entry is None:
                    break
                line, node = entry.key.place.line, entry.value
            elif isinstance(held, Sequence) and isinstance(part, int) and 0 <= part < len(held.items):
                node = held.items[part]
                line = node.place.line
            else:
                break
        return line

    def lines(self) -> dict[str, int]:
        """Return the 1-based line of every value by its path in the notation of problems."""
        found: dict[str, int] = {}
        _note_lines(self.root, (), found)
        return found


def _note_lines(node: Node, location: Location, found: dict[str, int]) -> None:
    held = resolved(node)
    if isinstance(held, Mapping):
        for entry in effective(held):
            inner = (*location, str(key_of(entry)))
            if format_path(inner) not in found:
                found[format_path(inner)] = entry.key.place.line
                _note_lines(entry.value, inner, found)
    elif isinstance(held, Sequence):
        for index, item in enumerate(held.items):
            found[format_path((*location, index))] = item.place.line
            _note_lines(item, (*location, index), found)


def read(data: bytes, *, source: str) -> Document:
    """Return the document in ``data``.

    Raises:
        ConfigError: Not UTF-8, not YAML, empty, several documents, or too large to be a config.
    """
    text = _decoded(data, source)
    mark = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    builder = Builder(text)
    for event in _events(text, source):
        builder.feed(event)
        if builder.broken:
            raise ConfigError(source, builder.problems)
    root = builder.root
    if root is None or (isinstance(root, Scalar) and root.place.start == root.end):
        raise ConfigError(source, [_EMPTY])
    return Document(text, mark, root, tuple(builder.problems))


def _decoded(data: bytes, source: str) -> str:
    if len(data) > MAX_BYTES:
        message = f"is {len(data) / 1e6:.1f} MB large; a routing config has at most {MAX_BYTES / 1e6:.0f} MB"
        raise ConfigError(source, [Problem(path="", message=message)])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (byte {error.start} is 0x{data[error.start]:02x}); save it as UTF-8 text"
        raise ConfigError(source, [Problem(path="", message=message, line=line)]) from error


def _events(text: str, source: str) -> Iterator[Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    parser: Any = YAML(typ="safe", pure=True)
    try:
        yield from parser.parse(text)
    except ReaderError as error:
        position = int(cast("Any", error).position)
        message = f"character U+{ord(text[position]):04X} is not allowed in YAML; remove it"
        line = text.count("\n", 0, position) + 1
        raise ConfigError(source, [Problem(path="", message=message, line=line)]) from error
    except MarkedYAMLError as error:
        raise ConfigError(source, [_syntax_problem(error)]) from error
    # the scanner lets a few damaged inputs fall through as errors of other kinds
    except (YAMLError, ValueError, LookupError, AttributeError, TypeError, AssertionError) as error:
        raise ConfigError(source, [Problem(path="", message="is not YAML that can be read")]) from error


def _syntax_problem(error: Any) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = ", ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return Problem(path="", message=f"is not valid YAML: {said}")
    return Problem(path="", message=f"is not valid YAML: {said} (column {mark.column + 1})", line=mark.line + 1)
