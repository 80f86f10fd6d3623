"""Import of a log that another tool wrote: one engine for all formats, each with its own column map.

Records are read one after the other and become rows in a file; linking them to calls and comparing with the log happens
in an in-memory DuckDB that may spill to disk. So memory stays flat, whatever the file's size. The result is one spool
segment, there whole or not at all.
"""

import datetime as dt
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from router_core.call_log.home import Home
from router_core.call_log.importers import calls
from router_core.call_log.importers.log_report import LogImportReport, Skipped, summarise
from router_core.call_log.importers.maps import LogMap
from router_core.call_log.importers.records import Record, Source
from router_core.call_log.importers.rows import PriceOf, Row, RowMaker, TierOf
from router_core.call_log.importers.segment import import_lock, publish
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from typing import BinaryIO

    from duckdb import DuckDBPyConnection

_MEMORY_LIMIT: Final = "200MB"
_ROWS_PER_REPORT: Final = 2_000
_FIRST_PLACES: Final = 5
_SHOWN_REASONS: Final = 30
PREVIEW_ROWS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSource:
    """Where an imported log comes from.

    Attributes:
        name: Name of the file or database, without secrets.
        sha256: Hash that names this import, hex.
        open: Opens it.
    """

    name: str
    sha256: str
    open: Callable[[], AbstractContextManager[Source]]


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
    """Rows left out for one reason."""

    is_bad: bool
    rows: int = 0
    places: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class _Tally:
    """What reading has come to so far."""

    read: int = 0
    left: dict[str, _Left] = field(default_factory=dict[str, _Left])
    preview: list[Row] = field(default_factory=list[Row])
    zoneless: int = 0
    place: str = "row"

    def leave_out(self, reason: str, place: int, *, is_bad: bool) -> None:
        left = self.left.setdefault(reason, _Left(is_bad))
        left.rows += 1
        if len(left.places) < _FIRST_PLACES:
            left.places.append(place)

    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(
            Skipped(reason=reason, rows=left.rows, first=tuple(left.places), place=self.place, is_bad=left.is_bad)
            for reason, left in self.left.items()
        )


def import_log(
    home: Home,
    source: LogSource,
    log_map: LogMap,
    rules: ImportRules,
    *,
    now_us: int,
    catch_up: Callable[[Home], None],
    dry_run: bool = False,
    progress: Callable[[float], None] | None = None,
) -> LogImportReport:
    """Return what was handed to the ingester; the rows are in the log after its next run.

    A log that cannot be used is refused before anything is written, the home included.

    Args:
        home: Where the log is.
        source: What to import.
        log_map: Its column map.
        rules: How rows are read.
        now_us: The present instant, microseconds since the epoch.
        catch_up: Brings the imports that are still spooled into the log, with which this one is then compared.
        dry_run: Write nothing, and compare with nothing.
        progress: Called now and then with the share of the source that has been read, 0..1.

    Raises:
        ConfigError: The source, the map or the home cannot be used.
        RouterError: Another import is at work.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="tierwise-import-") as name, duckdb.connect() as con:
        folder = Path(name)
        con.execute("SET memory_limit = $limit", {"limit": _MEMORY_LIMIT})
        con.execute("SET threads = 1")
        con.execute("SET preserve_insertion_order = false")
        con.execute("SET temp_directory = $folder", {"folder": str(folder / "spill")})
        rows = folder / "rows.jsonl"
        tally = _read(source, log_map, rules, rows, progress)
        _refuse_bad(source.name, tally.skipped(), skip_bad=rules.skip_bad)
        rules.check_end()
        calls.load_rows(con, rows)
        rows.unlink()
        if dry_run or not _count(con, "SELECT count(*) FROM identified"):
            calls.know_nothing(con)
            calls.link(con, links_failures=log_map.links_failures)
            return _report(con, source, log_map, tally, is_dry=True)
        with import_lock(home.create()):
            catch_up(home)
            calls.load_known(con, home, folder)
            calls.link(con, links_failures=log_map.links_failures)
            report = _report(con, source, log_map, tally, is_dry=False)
            if report.rows_new:
                event = _event(folder, report, source.sha256, now_us)
                publish(home, [event, *calls.write_lines(con, folder)], source.sha256, now_us)
    return report


def _read(
    source: LogSource, log_map: LogMap, rules: ImportRules, target: Path, progress: Callable[[float], None] | None
) -> _Tally:
    """Write usable rows to ``target``, one JSON object per line, and return what was read."""
    maker = RowMaker(log_map, zone=rules.zone, price_of=rules.price_of, tier_of=rules.tier_of)
    tally = _Tally()
    with source.open() as opened, target.open("wb") as out:
        tally.place = opened.place
        for number, record in enumerate(opened.records):
            if progress is not None and number % _ROWS_PER_REPORT == 0:
                progress(opened.done())
            for row in _rows_of(record, maker, rules, tally):
                _write(out, row, tally)
    tally.zoneless = maker.zoneless
    return tally


def _rows_of(record: Record, maker: RowMaker, rules: ImportRules, tally: _Tally) -> Iterator[Row]:
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
        row["place"] = record.place
        yield row


def _outside(started_us: int, rules: ImportRules) -> str | None:
    if rules.since_us is not None and started_us < rules.since_us:
        return "before since"
    if rules.until_us is not None and started_us >= rules.until_us:
        return "not before until"
    return None


def _write(out: "BinaryIO", row: Row, tally: _Tally) -> None:
    if len(tally.preview) < PREVIEW_ROWS:
        tally.preview.append(row)
    out.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _refuse_bad(name: str, skipped: tuple[Skipped, ...], *, skip_bad: bool) -> None:
    bad = [one for one in skipped if one.is_bad]
    if bad and not skip_bad:
        problems = [Problem(path=f"{one.place}s", message=one.text()) for one in bad[:_SHOWN_REASONS]]
        if len(bad) > _SHOWN_REASONS:
            problems.append(Problem(path="rows", message=f"and {len(bad) - _SHOWN_REASONS:,} more kinds of trouble"))
        problems.append(Problem(path="", message="mend the file, or leave bad rows out with --skip-bad"))
        raise ConfigError(name, problems)


def _report(
    con: "DuckDBPyConnection", source: LogSource, log_map: LogMap, tally: _Tally, *, is_dry: bool
) -> LogImportReport:
    return summarise(
        con,
        name=source.name,
        log_map=log_map,
        rows_read=tally.read,
        skipped=tally.skipped(),
        preview=tuple(tally.preview) if is_dry else (),
        zoneless=tally.zoneless,
        is_dry=is_dry,
    )


def _event(folder: Path, report: LogImportReport, sha256: str, now_us: int) -> Path:
    path = folder / "event.jsonl"
    details: Mapping[str, Any] = {"sha256": sha256, **report.details()}
    line = {"k": "event", "at": now_us, "worker": "import", "event": "log_import", "details": details}
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    return path


def _count(con: "DuckDBPyConnection", query: str) -> int:
    row = con.execute(query).fetchone()
    return int(row[0]) if row is not None else 0
