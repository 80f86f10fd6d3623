"""Reading somebody else's log into files of rows, one JSON object per line, in one process or in two.

Making rows takes most of an import's time. Of a big file a second process, forked before anything has threads, makes
every other few hundred rows; both read all of it, which is the smaller part.
"""

import datetime as dt
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from router_core.call_log.importers.log_report import Skipped
from router_core.call_log.importers.maps import Broken, LogMap
from router_core.call_log.importers.records import Record, Source
from router_core.call_log.importers.rows import PriceOf, Row, RowMaker, TierOf
from router_core.errors import RouterError

_ROWS_PER_REPORT: Final = 2_000
_FIRST_PLACES: Final = 5
# below this a second process would cost more than it saves
_WORTH_SPLITTING_BYTES: Final = 8 << 20
_RECORDS_PER_TURN: Final = 500
_MOST_MODELS: Final = 10_000
# names of what is not read come from the source
_MOST_NOTES: Final = 50
PREVIEW_ROWS: Final = 5
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSource:
    """Where an imported log comes from.

    Attributes:
        name: Name of the file or database, without secrets.
        sha256: Hash that names this import, hex.
        open: Opens it.
        size: Its size, bytes, if it may be read by two processes at once; 0 = it may not.
    """

    name: str
    sha256: str
    open: Callable[[], AbstractContextManager[Source]]
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRules:
    """How rows are read.

    Attributes:
        zone: Zone of instants that name none.
        price_of: The price book.
        tier_of: Tier of a model.
        since_us: First instant that counts; None = all.
        until_us: First instant that no longer counts; None = all.
        skip_bad: Leave bad rows out instead of refusing the file.
        check_end: Called when all of it has been read, before anything is written; raises if it must not be.
    """

    zone: dt.tzinfo
    price_of: PriceOf
    tier_of: TierOf
    since_us: int | None = None
    until_us: int | None = None
    skip_bad: bool = False
    check_end: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Left:
    """Rows left out, or not read whole, for one reason."""

    is_bad: bool
    rows: int = 0
    places: list[int] = field(default_factory=list[int])

    def add(self, place: int) -> None:
        """Count one more."""
        self.rows += 1
        if len(self.places) < _FIRST_PLACES:
            self.places.append(place)


@dataclass(slots=True)
class Tally:
    """What reading has come to.

    Attributes:
        read: Rows.
        left: Rows left out, by reason.
        preview: The first usable rows.
        zoneless: Rows whose start names no zone.
        place: What a place is called: ``line`` or ``row``.
        models: Models of the usable rows, not more than some thousands.
        noted: Usable rows of which something could not be read, by what that is.
    """

    read: int = 0
    left: dict[str, _Left] = field(default_factory=dict[str, _Left])
    preview: list[Row] = field(default_factory=list[Row])
    zoneless: int = 0
    place: str = "row"
    models: set[str] = field(default_factory=set[str])
    noted: dict[str, _Left] = field(default_factory=dict[str, _Left])

    def leave_out(self, reason: str, place: int, *, is_bad: bool) -> None:
        """Count a row that is left out."""
        self.left.setdefault(reason, _Left(is_bad)).add(place)

    def note(self, reason: str, place: int) -> None:
        """Count a row of which something could not be read."""
        if len(self.noted) < _MOST_NOTES or reason in self.noted:
            self.noted.setdefault(reason, _Left(is_bad=False)).add(place)

    def keep(self, row: Row) -> None:
        """Take notice of a usable row."""
        if len(self.preview) < PREVIEW_ROWS:
            self.preview.append(row)
        if len(self.models) < _MOST_MODELS:
            self.models.add(row["request_model"])

    def add(self, other: "Tally") -> None:
        """Take in what another process has read of the same source."""
        self.read += other.read
        self.zoneless += other.zoneless
        self.models |= other.models
        for own, others in ((self.left, other.left), (self.noted, other.noted)):
            for reason, left in others.items():
                mine = own.setdefault(reason, _Left(left.is_bad))
                mine.rows += left.rows
                mine.places = sorted((*mine.places, *left.places))[:_FIRST_PLACES]
        self.preview = sorted((*self.preview, *other.preview), key=lambda row: row["place"])[:PREVIEW_ROWS]

    def skipped(self) -> tuple[Skipped, ...]:
        """Return the rows left out, in the order of their first places."""
        return self._listed(self.left)

    def not_read(self) -> tuple[Skipped, ...]:
        """Return the usable rows of which something could not be read, in the order of their first places."""
        return self._listed(self.noted)

    def _listed(self, counted: Mapping[str, _Left]) -> tuple[Skipped, ...]:
        return tuple(
            Skipped(reason=reason, rows=left.rows, first=tuple(left.places), place=self.place, is_bad=left.is_bad)
            for reason, left in sorted(counted.items(), key=lambda item: (item[1].places, item[0]))
        )


@dataclass(frozen=True, slots=True)
class _Share:
    """Which records of a source one process makes rows of."""

    number: int
    of: int

    def has(self, record: int) -> bool:
        """Return whether it is this process's turn."""
        return record // _RECORDS_PER_TURN % self.of == self.number


def read_rows(
    source: LogSource, log_map: LogMap, rules: ImportRules, folder: Path, progress: Progress | None = None
) -> tuple[Tally, list[Path]]:
    """Return what was read, and files of the usable rows, one JSON object per line.

    Args:
        source: The log.
        log_map: Its column map.
        rules: How rows are read.
        folder: Where the files may be.
        progress: Called now and then with the share of the source that has been read, 0..1.

    Raises:
        ConfigError: The source cannot be read.
        RouterError: The second process has died.
    """
    own, others = folder / "rows-0.jsonl", folder / "rows-1.jsonl"
    if not _is_worth_splitting(source):
        return _read_share(source, log_map, rules, own, _Share(0, 1), progress), [own]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(
        target=_read_aside, args=(sender, source, log_map, rules, others, _Share(1, 2)), daemon=True
    )
    child.start()
    sender.close()
    try:
        tally = _read_share(source, log_map, rules, own, _Share(0, 2), progress)
        tally.add(_received(receiver))
    finally:
        child.kill()
        child.join()
        receiver.close()
    for model in sorted(tally.models):
        # what the other process has asked for, this one must know of
        rules.tier_of(model)
    return tally, [own, others]


def _is_worth_splitting(source: LogSource) -> bool:
    """Return whether a second process helps; a process with threads is not forked."""
    return source.size >= _WORTH_SPLITTING_BYTES and len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1


def _received(receiver: Any) -> Tally:
    try:
        result = receiver.recv()
    except EOFError as error:
        message = "the process that read a share of the file has died, perhaps for want of memory; try again"
        raise RouterError(message) from error
    if isinstance(result, Tally):
        return result
    raise RouterError(str(result))


def _read_aside(
    sender: Any,
    source: LogSource,
    log_map: LogMap,
    rules: ImportRules,
    target: Path,
    share: _Share,
) -> None:
    """Read a share in a process of its own, and send what was read, or what went wrong."""
    # an interrupt reaches both; the other one says so
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sender.send(_read_share(source, log_map, rules, target, share, None))
    except Exception as error:  # noqa: BLE001  # it is raised again where it can be seen
        sender.send(f"{type(error).__name__}: {error}")


def _read_share(
    source: LogSource,
    log_map: LogMap,
    rules: ImportRules,
    target: Path,
    share: _Share,
    progress: Progress | None,
) -> Tally:
    """Write usable rows of a share to ``target`` and return what was read."""
    maker = RowMaker(log_map, zone=rules.zone, price_of=rules.price_of, tier_of=rules.tier_of)
    tally = Tally()
    with source.open() as opened, target.open("wb") as out:
        tally.place = opened.place
        for number, record in enumerate(opened.records):
            if progress is not None and number % _ROWS_PER_REPORT == 0:
                progress(opened.done())
            if share.has(number):
                for row in _rows_of(record, maker, rules, tally):
                    tally.keep(row)
                    out.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    tally.zoneless = maker.zoneless
    return tally


def _rows_of(record: Record, maker: RowMaker, rules: ImportRules, tally: Tally) -> Iterator[Row]:
    """Yield the usable rows of a record; count all of them, and why the others are left out."""
    try:
        found = list(maker.rows(record.data)) if record.data is not None else []
    except ValueError as error:
        record, found = record._replace(data=None, reason=str(error)), []
    if record.data is None:
        tally.read += 1
        tally.leave_out(record.reason or "cannot be read", record.place, is_bad=True)
    for raw in found:
        tally.read += 1
        if isinstance(raw, Broken):
            tally.leave_out(raw.reason, record.place, is_bad=raw.is_bad)
            continue
        reason = maker.reason_to_leave_out(raw)
        if reason is not None:
            tally.leave_out(reason, record.place, is_bad=False)
            continue
        try:
            row = maker.make(raw)
        except ValueError as error:
            tally.leave_out(str(error), record.place, is_bad=True)
            continue
        reason = _outside(row["started_at"], rules)
        if reason is not None:
            tally.leave_out(reason, record.place, is_bad=False)
            continue
        for odd in maker.not_read(raw):
            tally.note(odd, record.place)
        row["place"] = record.place
        yield row


def _outside(started_us: int, rules: ImportRules) -> str | None:
    if rules.since_us is not None and started_us < rules.since_us:
        return "before since"
    if rules.until_us is not None and started_us >= rules.until_us:
        return "not before until"
    return None
