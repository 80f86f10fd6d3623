"""Labels in bulk: rows of a file, a data frame or a list → lines of outcomes, and what they have met in the log.

A row names its answer by ``call_id``, by ``attempt_id``, or by ``run`` (every served call of it; with ``step`` the
newest call of that step, with ``payload_type`` only calls of that type). What the spool holds and the log does not yet
is found too.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from router_core.call_log.backlog import read_offsets, unread
from router_core.call_log.home import Home
from router_core.call_log.importers import values
from router_core.call_log.lines import parse_object
from router_core.call_log.outcome_lines import call_of, outcome_line
from router_core.call_log.read import NoLogError, reading
from router_core.call_log.segments import list_segments, read_lines
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEYS: Final = ("call_id", "attempt_id", "run")
_SAYS: Final = ("correct", "error_usd")
COLUMNS: Final = (*_KEYS, "step", "payload_type", *_SAYS, "source", "label_propensity", "received_at")
"""Columns that a table of labels may have; others are left alone."""
_LATE_US: Final = 86_400_000_000
_AT_ONCE: Final = 20_000
_SHOWN: Final = 20
_SHOWN_IDS: Final = 5
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeReport:
    """What came of labels that were handed in together.

    Attributes:
        rows: Rows read.
        labels: Labels that they make, one per answer; they are in the log after its next ingest.
        repeated: Labels that are in the log already, word for word; they are not written again.
        changed: Labels that say something else than an earlier one of the same source; the later one counts.
        late: Labels of calls that began more than a day before.
        unmatched: Labels whose call or attempt nobody knows yet; they are kept, and count when it comes.
        lost: Rows by ``run`` that have met no call; there is nothing to keep them with.
        first: Some of the ids and runs that were not met.
    """

    rows: int
    labels: int
    repeated: int
    changed: int
    late: int
    unmatched: int
    lost: int
    first: tuple[str, ...]


@dataclass(slots=True)
class _Label:
    """One row, read."""

    place: int
    keys: Mapping[str, str]
    says: Mapping[str, Any]
    received_us: int | None


@dataclass(slots=True)
class _Met:
    """What is known of the answers that labels name.

    Attributes:
        began: Start of each known call, microseconds; None = undated.
        attempts: Call of each known attempt.
        runs: ``(step, payload_type, call_id)`` of each call of a run, the newest first.
        earlier: Labels in the log, by call.
    """

    began: dict[str, int | None] = field(default_factory=dict[str, int | None])
    attempts: dict[str, str] = field(default_factory=dict[str, str])
    runs: dict[str, list[tuple[str | None, str | None, str]]] = field(
        default_factory=dict[str, list[tuple[str | None, str | None, str]]]
    )
    earlier: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict[str, list[tuple[Any, ...]]])


def outcome_lines(
    home: Home, source: object, *, default_source: str, now_us: int, zone: dt.tzinfo = dt.UTC
) -> tuple[OutcomeReport, list[dict[str, Any]]]:
    """Return what a table of labels comes to, and the lines to be written.

    Args:
        home: Whose calls are labelled.
        source: Path of a CSV, JSON lines, JSON or Parquet file; a data frame (pandas, Polars, Arrow); or mappings.
        default_source: Who says so where a row does not.
        now_us: The present instant, microseconds since the epoch; when a label came that does not say.
        zone: Zone of instants that name none.

    Raises:
        ConfigError: Rows cannot be used; says which and why. Nothing is to be written then.
    """
    name, rows = _rows(source)
    labels, problems = _read(rows, default_source, zone)
    if problems:
        more = [Problem(path="rows", message=f"and {len(problems) - _SHOWN:,} more")] if len(problems) > _SHOWN else []
        raise ConfigError(name, [*problems[:_SHOWN], *more])
    return _resolved(labels, _meet(home, labels), now_us)


def _read(
    rows: Iterable[tuple[int, Row | None, str | None]], default_source: str, zone: dt.tzinfo
) -> tuple[list[_Label], list[Problem]]:
    labels: list[_Label] = []
    problems: list[Problem] = []
    for place, row, reason in rows:
        try:
            if row is None:
                raise ValueError(reason or "cannot be read")
            labels.append(_label(place, row, default_source, zone))
        except ValueError as error:
            problems.append(Problem(path=f"row {place:,}", message=str(error)))
    return labels, problems


def _label(place: int, row: Row, default_source: str, zone: dt.tzinfo) -> _Label:
    found = {name: value for name in COLUMNS if not _is_empty(value := row.get(name))}
    keys = {name: values.to_text(found[name]) for name in (*_KEYS, "step", "payload_type") if name in found}
    if not any(name in keys for name in _KEYS):
        raise ValueError(f"names no answer: give {', '.join(_KEYS[:-1])} or {_KEYS[-1]}")
    if "call_id" in keys and "run" in keys:
        del keys["run"]  # a call is named by its id alone; its run stands in many exports beside it
    if not any(name in found for name in _SAYS):
        raise ValueError(f"says nothing: give {' or '.join(_SAYS)}")
    says: dict[str, Any] = {
        "correct": _converted(found, "correct", values.to_fraction),
        "error_usd": _converted(found, "error_usd", _to_usd),
        "source": values.to_text(found.get("source", default_source)),
        "label_propensity": _converted(found, "label_propensity", values.to_fraction),
    }
    outcome_line("", attempt_id=None, received_us=0, **says)  # raises what is wrong with it
    received = found.get("received_at")
    return _Label(place, keys, says, None if received is None else values.to_instant_us(received, zone))


def _converted(found: Row, name: str, convert: Any) -> Any:
    if name not in found:
        return None
    try:
        return convert(found[name])
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def _to_usd(value: Any) -> float:
    return values.to_nusd(value) / 1e9


def _is_empty(value: object) -> bool:
    """Return whether a cell holds nothing; what data frames put there is not equal to itself, or is no truth value."""
    try:
        return value is None or value == "" or bool(value != value)  # noqa: PLR0124
    except (TypeError, ValueError):
        return True


def _resolved(labels: Sequence[_Label], met: _Met, now_us: int) -> tuple[OutcomeReport, list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    counts = dict.fromkeys(("repeated", "changed", "late", "unmatched", "lost"), 0)
    strangers: dict[str, None] = {}
    for label in labels:
        answers = _answers(label, met)
        if not answers:
            counts["lost"] += 1
            strangers["/".join(label.keys[name] for name in ("run", "step", "payload_type") if name in label.keys)] = (
                None
            )
        for call_id, attempt_id in answers:
            if call_id not in met.began or (attempt_id is not None and attempt_id not in met.attempts):
                counts["unmatched"] += 1
                strangers[attempt_id or call_id] = None
            received_us = now_us if label.received_us is None else label.received_us
            line = outcome_line(call_id, attempt_id=attempt_id, received_us=received_us, **label.says)
            earlier = met.earlier.setdefault(call_id, [])
            mine = _told(line)
            same_source = [told for told in earlier if told[:2] == mine[:2]]
            # without an instant of its own, a label that is there already is the same label
            if any(told[2:-1] == mine[2:-1] and label.received_us in (None, told[-1]) for told in same_source):
                counts["repeated"] += 1
                continue
            counts["changed"] += any(told[2:-1] != mine[2:-1] for told in same_source)
            began = met.began.get(call_id)
            counts["late"] += began is not None and received_us - began > _LATE_US
            earlier.append(mine)
            lines.append(line)
    report = OutcomeReport(rows=len(labels), labels=len(lines), first=tuple(strangers)[:_SHOWN_IDS], **counts)
    return report, lines


def _told(line: Row) -> tuple[Any, ...]:
    names = ("attempt_id", "source", "correct", "error_nusd", "label_propensity", "received_at")
    return tuple(line[name] for name in names)


def _answers(label: _Label, met: _Met) -> list[tuple[str, str | None]]:
    """Return the call and attempt of each answer that a row names; [] when nothing tells."""
    keys = label.keys
    attempt_id = keys.get("attempt_id")
    if "call_id" in keys:
        return [(keys["call_id"], attempt_id)]
    if attempt_id is not None:
        return [(met.attempts.get(attempt_id) or call_of(attempt_id), attempt_id)]
    step, kind = keys.get("step"), keys.get("payload_type")
    calls = [
        call_id
        for of_step, of_type, call_id in met.runs.get(keys["run"], [])
        if step in (None, of_step) and kind in (None, of_type)
    ]
    return [(call_id, None) for call_id in (calls[:1] if step is not None else calls)]


# --- what the log and the spool know


def _meet(home: Home, labels: Sequence[_Label]) -> _Met:
    met = _Met()
    wanted = {name: sorted({label.keys[name] for label in labels if name in label.keys}) for name in _KEYS}
    offsets: dict[str, int] = {}
    try:
        with reading(home) as log:
            offsets = read_offsets(log)
            _ask(log, met, wanted)
    except NoLogError:
        pass
    _scan(home, offsets, met, {name: frozenset(ids) for name, ids in wanted.items()})
    return met


def _ask(log: "DuckDBPyConnection", met: _Met, wanted: Mapping[str, Sequence[str]]) -> None:
    of_attempt = "SELECT attempt_id, call_id FROM attempts WHERE attempt_id IN (SELECT unnest(?))"
    for ids in _parts(wanted["attempt_id"]):
        met.attempts.update(log.execute(of_attempt, [ids]).fetchall())
    of_run = """SELECT run, step, payload_type, call_id, epoch_us(ts) FROM calls
        WHERE run IN (SELECT unnest(?)) AND status = 'ok' ORDER BY ts DESC, call_id DESC"""
    for ids in _parts(wanted["run"]):
        for run, step, payload_type, call_id, began in log.execute(of_run, [ids]).fetchall():
            met.runs.setdefault(run, []).append((step, payload_type, call_id))
            met.began[call_id] = began
    calls = sorted({*wanted["call_id"], *met.attempts.values(), *met.began})
    for ids in _parts(calls):
        of_call = "SELECT call_id, epoch_us(ts) FROM calls WHERE call_id IN (SELECT unnest(?))"
        met.began.update(log.execute(of_call, [ids]).fetchall())
        of_label = """SELECT call_id, attempt_id, source, correct, error_nusd, label_propensity, epoch_us(received_at)
            FROM outcomes WHERE call_id IN (SELECT unnest(?))"""
        for call_id, *told in log.execute(of_label, [ids]).fetchall():
            met.earlier.setdefault(call_id, []).append(tuple(told))


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield list(ids[start : start + _AT_ONCE])


def _scan(home: Home, offsets: Mapping[str, int], met: _Met, wanted: Mapping[str, frozenset[str]]) -> None:
    """Take in what the spool holds of the answers and the log does not yet."""
    fresh: dict[str, list[tuple[int, str | None, str | None, str]]] = {}
    named = wanted["call_id"] | {call_of(attempt_id) for attempt_id in wanted["attempt_id"]}
    for segment in unread(list_segments(home.spool), offsets):
        try:
            lines = list(read_lines(segment.path, offsets.get(segment.name, 0)))
        except FileNotFoundError:  # read to its end and moved away in this moment
            continue
        for one in lines:
            try:
                line = parse_object(one.data)
            except ValueError:
                continue
            call_id, kind = line.get("call_id"), line.get("k")
            if not isinstance(call_id, str):
                continue
            if kind == "call":
                _take_call(line, call_id, met, named, wanted["run"], fresh)
            elif kind == "attempt" and line.get("attempt_id") in wanted["attempt_id"]:
                met.attempts[line["attempt_id"]] = call_id
            elif kind == "outcome" and call_id in named:
                met.earlier.setdefault(call_id, []).append(
                    _told({**dict.fromkeys(COLUMNS), "error_nusd": None, **line})
                )
    for run, calls in fresh.items():
        known = {call_id for _, _, call_id in met.runs.get(run, [])}
        newest = [(step, kind, call_id) for _, step, kind, call_id in sorted(calls, reverse=True, key=_by_instant)]
        met.runs[run] = [each for each in newest if each[2] not in known] + met.runs.get(run, [])


def _by_instant(call: tuple[int, str | None, str | None, str]) -> tuple[int, str]:
    return call[0], call[3]


def _take_call(
    line: Row,
    call_id: str,
    met: _Met,
    named: frozenset[str],
    runs: frozenset[str],
    fresh: dict[str, list[tuple[int, str | None, str | None, str]]],
) -> None:
    began, run = line.get("ts"), line.get("run")
    if call_id in named:
        met.began[call_id] = began
    if isinstance(run, str) and run in runs and line.get("status") == "ok":
        met.began[call_id] = began
        fresh.setdefault(run, []).append((began or 0, line.get("step"), line.get("payload_type"), call_id))


# --- where rows come from


def _rows(source: object) -> tuple[str, Iterable[tuple[int, Row | None, str | None]]]:
    """Return what to call a source, and its rows with their places."""
    if isinstance(source, str | Path):
        return Path(source).name, _of_file(Path(source))
    kind = type(source).__name__
    for method in ("to_dicts", "to_pylist"):  # Polars, Arrow
        read = getattr(source, method, None)
        if callable(read):
            return kind, _of_mappings(cast("Iterable[object]", read()))
    read = getattr(source, "to_dict", None)
    if callable(read) and hasattr(source, "columns"):  # pandas
        return kind, _of_mappings(cast("Iterable[object]", read("records")))
    if isinstance(source, Iterable) and not isinstance(source, Mapping | bytes):
        return "labels", _of_mappings(cast("Iterable[object]", source))
    message = f"a {kind} is no table of labels; give a file, a data frame or a list of mappings"
    raise ConfigError("labels", [Problem(path="", message=message)])


def _of_file(path: Path) -> Iterator[tuple[int, Row | None, str | None]]:
    from router_core.call_log.importers.records import open_records

    if not path.is_file():
        message = "no such file; give a CSV, JSON lines or Parquet file of labels"
        raise ConfigError(str(path), [Problem(path="", message=message)])
    with open_records(path) as opened:
        for record in opened.records:
            yield record.place, record.data, record.reason


def _of_mappings(rows: Iterable[object]) -> Iterator[tuple[int, Row | None, str | None]]:
    for place, row in enumerate(rows, start=1):
        if isinstance(row, Mapping):
            yield place, cast("Row", row), None
        else:
            yield place, None, f"is a {type(row).__name__}, not a mapping"
