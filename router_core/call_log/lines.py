"""What the lines of a spool mean: rows by kind, what they leave in flight, and what cannot be used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

import orjson

from router_core.call_log.schema import LIMITS, LINE_COLUMNS, LINE_KINDS

_KNOWN: Final = {kind: frozenset({"k", *columns}) for kind, columns in LINE_COLUMNS.items()}
_REQUIRED: Final = {"attempt": ("attempt_id", "call_id"), "call": ("call_id",), "outcome": ("call_id",), "event": ()}
_CALL_FACTS: Final = (
    "run",
    "step",
    "payload_type",
    "config_version",
    "tier_planned",
    "guard_state",
    "budget_scope",
    "degraded",
    "holdback",
    "critical",
    "error_cost_nusd",
    "tags",
    "source",
)
_MAX_RAW: Final = 2_000
# microseconds since the epoch in the years 1 to 9999, where every instant can be shown
INSTANTS: Final = range(-62_135_596_800_000_000, 253_402_300_800_000_000)
_RANGES: Final = {
    "INTEGER": range(-(2**31), 2**31),
    "BIGINT": range(-(2**63), 2**63),
    "TIMESTAMP": INSTANTS,
}
_TYPES: Final[dict[str, tuple[type, ...]]] = {"VARCHAR": (str,), "BOOLEAN": (bool,), "DOUBLE": (int, float)}
_EXPECTED: Final = {
    "VARCHAR": "text",
    "BOOLEAN": "true or false",
    "INTEGER": "a whole number",
    "BIGINT": "a whole number",
    "DOUBLE": "a number",
    "TIMESTAMP": "microseconds since the epoch",
}
_FROM_STARTED: Final = 0
_FROM_ATTEMPT: Final = 1


class Row(NamedTuple):
    """One line that becomes a row.

    Attributes:
        segment: Where it came from.
        offset: Its place there, bytes.
        data: The JSON object, with unknown keys moved to ``extra``.
    """

    segment: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """One line that cannot be used.

    Attributes:
        segment: Where it came from.
        offset: Its place there, bytes.
        raw: Its beginning.
        reason: What is wrong with it.
    """

    segment: str
    offset: int
    raw: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAttempt:
    """A request item that was started and has no attempt line yet."""

    attempt_id: str
    worker: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """A call with lines, but no ``call`` line yet; of several for one call the lowest rank knows most."""

    call_id: str
    worker: str
    rank: int
    facts: Mapping[str, Any]


class _Ids(NamedTuple):
    """Whose attempt it is."""

    attempt_id: str
    call_id: str
    is_shadow: bool


class _Step(NamedTuple):
    """A line that opens or closes something, if it is not refused after all: its columns may not take it.

    Of the parsed line only the ids are kept, for most of it closes a few lines later; the rest is parsed again.
    """

    segment: str
    offset: int
    kind: str
    worker: str
    data: bytes
    ids: tuple[_Ids, ...]


@dataclass(slots=True)
class Batch:
    """Lines read together; they are committed together.

    Attributes:
        rows: Usable rows by kind.
        bad: Lines for the quarantine.
        n_lines: Lines read, bad ones included.
        n_rows: Lines that make rows.
        may_repeat: Whether rows may be in the log already.
        settled: Dead workers whose open items this batch turns into rows.
    """

    rows: dict[str, list[Row]] = field(default_factory=lambda: {kind: [] for kind in LINE_COLUMNS})
    bad: list[BadLine] = field(default_factory=list[BadLine])
    n_lines: int = 0
    n_rows: int = 0
    may_repeat: bool = False
    settled: tuple[str, ...] = ()
    _steps: list[_Step] = field(default_factory=list[_Step])
    _refused: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    def add(self, segment: str, worker: str, offset: int, data: bytes, *, is_import: bool = False) -> None:
        """Take in one line; imported ones leave nothing in flight and may repeat what is there."""
        if not data:
            return
        self.n_lines += 1
        try:
            line = parse_object(data)
        except ValueError as error:
            self.refuse(Row(segment, offset, data), f"not a JSON object: {error}")
            return
        kind = line.get("k", "")
        if kind == "started":
            if not _are_items(line.get("items")):
                self.refuse(Row(segment, offset, data), "a started line needs items, each with attempt_id and call_id")
            else:
                self._steps.append(_Step(segment, offset, kind, worker, data, _ids(kind, line)))
            return
        reason = _missing(kind, line)
        if reason is not None:
            self.refuse(Row(segment, offset, data), reason)
            return
        if not line.keys() <= _KNOWN[kind]:
            data = orjson.dumps(_with_extra(line, _KNOWN[kind]))
        self.rows[kind].append(Row(segment, offset, data))
        self.n_rows += 1
        if is_import:
            self.may_repeat = True
        elif kind in {"attempt", "call"}:
            self._steps.append(_Step(segment, offset, kind, worker, data, _ids(kind, line)))

    def add_row(self, kind: str, line: Mapping[str, Any]) -> None:
        """Take in a row that no spool line holds."""
        self.rows[kind].append(Row("", 0, orjson.dumps(line)))
        self.n_rows += 1

    def refuse(self, row: Row, reason: str) -> None:
        """Put a line into the quarantine."""
        raw = row.data[:_MAX_RAW].decode("utf-8", "replace").replace("\x00", "\ufffd")
        self._refused.add((row.segment, row.offset))
        self.bad.append(BadLine(segment=row.segment, offset=row.offset, raw=raw, reason=reason))

    def open_attempts(self) -> list[OpenAttempt]:
        """Return the items in flight at the end of the batch; what was refused has closed nothing."""
        opened: dict[str, _Step] = {}
        for step in self._taken():
            if step.kind == "attempt":
                opened.pop(step.ids[0].attempt_id, None)
            elif step.kind == "started":
                opened.update((ids.attempt_id, step) for ids in step.ids)
        return [
            OpenAttempt(attempt_id=attempt_id, worker=step.worker, facts=_attempt_facts(step, attempt_id))
            for attempt_id, step in opened.items()
        ]

    def open_calls(self) -> list[OpenCall]:
        """Return the calls in flight at the end of the batch; what was refused has opened and closed nothing."""
        opened: dict[str, _Step] = {}
        for step in self._taken():
            for ids in step.ids:
                if step.kind == "call":
                    opened.pop(ids.call_id, None)
                elif not ids.is_shadow:
                    opened.setdefault(ids.call_id, step)
        return [
            OpenCall(
                call_id=call_id,
                worker=step.worker,
                rank=_FROM_STARTED if step.kind == "started" else _FROM_ATTEMPT,
                facts=_call_facts(step, call_id),
            )
            for call_id, step in opened.items()
        ]

    def _taken(self) -> Iterator[_Step]:
        return (step for step in self._steps if (step.segment, step.offset) not in self._refused)


def _ids(kind: str, line: Mapping[str, Any]) -> tuple[_Ids, ...]:
    """Return whom a line opens or closes."""
    if kind == "call":
        return (_Ids("", line["call_id"], False),)
    items: Sequence[Mapping[str, Any]] = line["items"] if kind == "started" else (line,)
    return tuple([_Ids(item["attempt_id"], item["call_id"], item.get("role") == "shadow") for item in items])


def _attempt_facts(step: _Step, attempt_id: str) -> dict[str, Any]:
    """Return what a started line tells of one of its attempts."""
    line = parse_object(step.data)
    item = next(item for item in line["items"] if item["attempt_id"] == attempt_id)
    return {"request_id": line.get("request_id"), "started_at": line.get("at"), **item}


def _call_facts(step: _Step, call_id: str) -> dict[str, Any]:
    """Return what is known of a call from the line that opened it."""
    line = parse_object(step.data)
    items: list[dict[str, Any]] = line["items"] if step.kind == "started" else [line]
    item = next(item for item in items if item["call_id"] == call_id and item.get("role") != "shadow")
    facts = {name: item[name] for name in _CALL_FACTS if name in item}
    return facts | {"ts": item.get("started_at", line.get("at"))}


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that a line holds.

    Raises:
        ValueError: It holds none.
    """
    value: object = orjson.loads(data)
    if not isinstance(value, dict):
        message = f"it is a {type(value).__name__}"
        raise ValueError(message)
    return cast("dict[str, Any]", value)


class OddValue(NamedTuple):
    """A value of another kind than its column, or beyond its limits; DuckDB takes some of the former all the same.

    Attributes:
        name: The column.
        column: Its type.
        value: What the line holds for it.
    """

    name: str
    column: str
    value: Any

    def __str__(self) -> str:
        """Say what is wrong with it."""
        limits = LIMITS.get(self.name) if _is_numeric(self.value) else None
        within = f" from {limits[0]:,} to {limits[-1]:,}" if limits else ""
        return f"{self.name}: {str(self.value)[:100]!r} is not {_EXPECTED[self.column]}{within}"


def odd_values(kind: str, data: bytes) -> list[OddValue]:
    """Return the values of a line that are of another kind than their columns, or beyond their limits."""
    line = parse_object(data)
    return [
        OddValue(name, column, line[name])
        for name, column in LINE_COLUMNS[kind].items()
        if line.get(name) is not None and not (_fits(line[name], column) and _is_within(name, line[name]))
    ]


def _is_numeric(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value.lstrip("-").isdecimal())


def _is_within(name: str, number: Any) -> bool:
    limits = LIMITS.get(name)
    return limits is None or limits[0] <= number <= limits[-1]


def _fits(value: Any, column: str) -> bool:
    if column == "JSON":
        return True
    if column in _RANGES:
        return isinstance(value, int) and not isinstance(value, bool) and value in _RANGES[column]
    return isinstance(value, _TYPES[column]) and (column == "BOOLEAN" or not isinstance(value, bool))


def _are_items(value: object) -> bool:
    """Return whether these are a started line's items, each with its ids."""
    return isinstance(value, list) and all(_is_item(item) for item in cast("list[object]", value))


def _is_item(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    item = cast("dict[str, Any]", value)
    return isinstance(item.get("attempt_id"), str) and isinstance(item.get("call_id"), str)


def _missing(kind: object, line: Mapping[str, Any]) -> str | None:
    if not isinstance(kind, str) or kind not in _KNOWN:
        return f"k is not one of {', '.join(LINE_KINDS)}"
    for name in _REQUIRED[kind]:
        if not isinstance(line.get(name), str):
            return f"{kind} line without {name}"
    return None


def _with_extra(line: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the line with its unknown keys inside ``extra``."""
    extra = line.get("extra")
    if extra is None:
        kept: dict[str, Any] = {}
    else:
        kept = cast("dict[str, Any]", extra) if isinstance(extra, dict) else {"extra": extra}
    unknown = {name: value for name, value in line.items() if name not in known}
    return {name: value for name, value in line.items() if name in known} | {"extra": {**kept, **unknown}}
