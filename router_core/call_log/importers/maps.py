"""Column maps: which column of somebody else's log becomes which field of this one.

A map is data, not code. A *place* names a value in a record: a column, or the way into nested ones (``metadata.task``);
a column whose own name is the whole text comes first, so names with dots work. Of several places the first that holds
something counts. Columns that no place names are not imported: they may hold prompts and answers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import orjson

from router_core.errors import ConfigError, Problem

RawRecord = Mapping[str, Any]
# what exporters write where there is no object
_NOTHING: Final[tuple[object, ...]] = ("", "null", "None", [])


class Broken(NamedTuple):
    """A part of a record that is no row, and why not.

    Attributes:
        reason: Why not.
        is_bad: Whether it should have been one.
    """

    reason: str
    is_bad: bool = True


FIELDS: Final[dict[str, str]] = {
    "id": "the source's id of the request; without one, equal rows are told apart by their order",
    "call": "id of the answer that several requests were made for; without one, each request is a call of its own",
    "run": "the job or trace it belongs to",
    "step": "the step in the job",
    "payload_type": "kind of task",
    "started_at": "when it was sent",
    "ended_at": "when it ended",
    "first_token_at": "when the first token came",
    "latency_s": "how long it took, seconds",
    "latency_ms": "how long it took, milliseconds",
    "ttft_s": "time to the first token, seconds",
    "ttft_ms": "time to the first token, milliseconds",
    "model": "the model that was asked for",
    "response_model": "the model that says it has answered",
    "provider": "the provider",
    "service_tier": "the provider's service tier",
    "tier": "the tier in this log's sense",
    "input_tokens": "all prompt tokens, cached and written ones included",
    "cached_tokens": "prompt tokens read from the provider's cache",
    "cache_write_tokens": "prompt tokens written to the provider's cache, both kinds",
    "cache_write_1h_tokens": "those of them that stay for an hour",
    "output_tokens": "all answer tokens, reasoning included",
    "reasoning_tokens": "answer tokens spent on reasoning",
    "cost_usd": "what the source says it cost, USD",
    "status": "success or failure, or an HTTP status",
    "error_type": "kind of failure",
    "error_code": "HTTP status of the failure",
    "cache_hit": "whether a cache answered, without a request to a provider",
    "prompt_hash": "hash of the system prompt",
    "confidence": "confidence of the answer, 0..1",
    "correct": "whether the answer was right, 0..1; becomes an outcome",
    "error_usd": "what the wrong answer cost, USD; goes with correct",
}
# fields of which a map may have any number, each with a name of its own
OPEN_FIELDS: Final = {
    "tags": "a tag of the call",
    "extra": "kept as it is beside the columns",
    "size": "a text of which only the length is kept, never the text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMap:
    """How one kind of log becomes this one.

    Attributes:
        name: As ``--format`` names it.
        title: As a person reads it.
        signature: Sets of columns; a log that has all of one set is of this kind.
        places: Field → places, in order. Beside ``FIELDS``: ``tags.NAME``, ``extra.NAME``, ``size.NAME``.
        payload_type: Places of the payload type, in order; also ``tag:NAME`` (value of that tag), ``tag:*`` (the first
            tag without a value) and ``=NAME`` (this very name).
        tags: Places of whole lists or objects of tags.
        json_columns: Columns that hold JSON, in CSV files as text.
        prefix: What ids begin with, so that two sources never share one.
        keyed_by_time: Whether an id is unique only together with its instant.
        links_failures: Whether ``call`` names more than one answer, so that a call ends with its first success.
        expand: Turns one record into rows first, and what is broken in it; None = it is one row.
        leave_out: Says why a row is no request to a model; None for one that is.
        note: Says what of a row is not read, although it is of a kind that is; None = nothing ever is.
    """

    name: str
    title: str
    prefix: str
    places: Mapping[str, tuple[str, ...]]
    signature: tuple[frozenset[str], ...] = ()
    payload_type: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    json_columns: tuple[str, ...] = ()
    keyed_by_time: bool = False
    links_failures: bool = False
    expand: Callable[[RawRecord], Iterator[RawRecord | Broken]] | None = field(default=None, repr=False)
    leave_out: Callable[[RawRecord], str | None] | None = field(default=None, repr=False)
    note: Callable[[RawRecord], Iterator[str]] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapEdits:
    """What a user says about a log.

    Attributes:
        columns: Place → field.
        payload_type: Places of the payload type that come before the map's own.
        timezone: Zone of times that name none.
        since: First day or instant that counts; None = all.
        until: First one that no longer counts; None = all.
    """

    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    payload_type: tuple[str, ...] = ()
    timezone: str = "UTC"
    since: str | None = None
    until: str | None = None


def edited(log_map: LogMap, edits: MapEdits) -> LogMap:
    """Return a map in which the user's columns come first."""
    places = dict(log_map.places)
    for place, name in edits.columns.items():
        places[name] = (place, *(other for other in places.get(name, ()) if other != place))
    chosen = (*edits.payload_type, *(place for place, name in edits.columns.items() if name == "payload_type"))
    return replace(log_map, places=places, payload_type=(*chosen, *log_map.payload_type))


def parse_columns(pairs: Sequence[str], source: str = "--map") -> dict[str, str]:
    """Return place → field from ``column=field`` texts.

    Raises:
        ConfigError: A text is none, or a field is unknown; all of them at once.
    """
    columns: dict[str, str] = {}
    problems: list[Problem] = []
    for pair in pairs:
        place, equals, name = (part.strip() for part in pair.rpartition("="))
        if not (place and equals and name):
            problems.append(Problem(path="value", message=f"{pair!r} is not column=field, e.g. created_at=started_at"))
        elif not is_field(name):
            known = ", ".join((*FIELDS, *(f"{prefix}.NAME" for prefix in OPEN_FIELDS)))
            problems.append(Problem(path="value", message=f"{name!r} is no field; choose from {known}"))
        else:
            columns[place] = name
    if problems:
        raise ConfigError(source, problems)
    return columns


def is_field(name: str) -> bool:
    """Return whether a map may have this field."""
    prefix, dot, rest = name.partition(".")
    return name in FIELDS or bool(dot and rest and prefix in OPEN_FIELDS)


def read_edits(given: Sequence[str], payload_type: Sequence[str] = ()) -> MapEdits:
    """Return what a user says: ``column=field`` texts and paths of YAML files; the texts come before the files.

    Args:
        given: Texts and paths.
        payload_type: Places of the payload type that come before the files' ones.

    Raises:
        ConfigError: A text or a file is none.
    """
    edits = MapEdits()
    for path in (Path(text) for text in given if text.endswith((".yaml", ".yml"))):
        filed = _read_file(path)
        edits = replace(filed, columns={**edits.columns, **filed.columns})
    pairs = parse_columns([text for text in given if not text.endswith((".yaml", ".yml"))])
    return replace(edits, columns={**edits.columns, **pairs}, payload_type=(*payload_type, *edits.payload_type))


def _read_file(path: Path) -> MapEdits:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    parser: Any = YAML(typ="safe", pure=True)
    try:
        document: object = parser.load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        message = f"cannot be read as YAML ({reason}); write e.g.  columns: {{created_at: started_at}}"
        raise ConfigError(str(path), [Problem(path="", message=message)]) from error
    sections = cast("dict[object, object]", document) if isinstance(document, dict) else {}
    columns, places = sections.pop("columns", {}), sections.pop("payload_type", [])
    places = [places] if isinstance(places, str) else places
    rest = {str(name): str(value) for name, value in sections.items()}
    if not isinstance(document, dict) or set(rest) - {"timezone", "since", "until"} or not _is_texts(columns, places):
        message = (
            "expected  columns: {column: field}, payload_type: [place, ...], timezone:, since: or until:,"
            " and nothing else"
        )
        raise ConfigError(str(path), [Problem(path="", message=message)])
    pairs = [f"{place}={name}" for place, name in cast("dict[str, str]", columns).items()]
    return MapEdits(columns=parse_columns(pairs, str(path)), payload_type=tuple(cast("list[str]", places)), **rest)


def _is_texts(columns: object, places: object) -> bool:
    if not isinstance(columns, dict) or not isinstance(places, list):
        return False
    pairs = cast("dict[object, object]", columns)
    return all(isinstance(text, str) for text in (*pairs, *pairs.values(), *cast("list[object]", places)))


def kind_of_value(value: object) -> str:
    """Return what a JSON value is, in words that follow "is"."""
    if isinstance(value, bool):
        return "true or false"
    for kinds, words in ((dict, "an object"), (list, "a list"), (str, "text"), ((int, float), "a number")):
        if isinstance(value, kinds):
            return words
    return "nothing"


class _Node:
    """One step of the way into nested values."""

    __slots__ = ("name", "place", "steps")

    def __init__(self, name: str) -> None:
        self.name = name
        self.place: str | None = None
        self.steps: dict[str, _Node] = {}


class NestedPlaces:
    """Finds what dotted places name in a record, each way walked once.

    Args:
        places: All places that are ever asked for.
    """

    def __init__(self, places: Iterable[str]) -> None:
        self._root = _Node("")
        for place in places:
            if "." in place:
                node = self._root
                for step in place.split("."):
                    node = node.steps.setdefault(step, _Node(f"{node.name}.{step}" if node.name else step))
                node.place = place

    def find(self, record: RawRecord, odd: list[str] | None = None) -> RawRecord:
        """Return place → value for the dotted places that hold something.

        Args:
            record: The record.
            odd: Is given what stands in the way: values into which places lead and which are no objects.
        """
        found: dict[str, Any] = {}
        if self._root.steps:
            _walk(self._root, record, found, [] if odd is None else odd)
        return found


def _walk(node: _Node, values: RawRecord, found: dict[str, Any], odd: list[str]) -> None:
    for step, child in node.steps.items():
        value = values.get(step)
        if value is None:
            continue
        if child.place is not None:
            found[child.place] = value
        if child.steps:
            inner = _parsed(value) if isinstance(value, str) else value
            if isinstance(inner, dict):
                _walk(child, cast("RawRecord", inner), found, odd)
            elif value not in _NOTHING:
                odd.append(f"{child.name} is {kind_of_value(value)}, not an object")


def _parsed(text: str) -> Any:
    if not text.startswith("{"):
        return None
    try:
        return orjson.loads(text)
    except ValueError:
        return None
