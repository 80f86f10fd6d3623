"""The log's raw rows as files that any engine reads: Parquet or CSV, one folder per table and local day.

The log is opened for one table and day at a time, so that the writer never waits for long; rows that come in meanwhile
are left out, by their place in the table. What is written appears under its final name when all of it is there, and is
for its owner alone, as the log is.
"""

import datetime as dt
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from router_core.call_log.access import first_line, is_disk_error
from router_core.call_log.home import Home
from router_core.call_log.read import reading
from router_core.call_log.schema import ATTEMPT_COLUMNS, CALL_COLUMNS, OUTCOME_COLUMNS, SCHEMA_VERSION
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FileFormat = Literal["parquet", "csv"]
Table = Literal["attempts", "calls", "outcomes"]
TABLE_NAMES: Final[tuple[Table, ...]] = get_args(Table)
MANIFEST: Final = "manifest.json"
MANIFEST_FORMAT: Final = "tierwise-export"
MANIFEST_VERSION: Final = 1
# what a spreadsheet takes for a formula when a cell begins with it; in text cells a ' is put before it
FORMULA_STARTS: Final = "=+-@\t\r'"
# readers of Hive-style folders take this name for NULL: rows of static evaluations have no time
_UNDATED: Final = "__HIVE_DEFAULT_PARTITION__"
_UNFINISHED: Final = ".unfinished"
_MEMORY_LIMIT: Final = "400MB"
_COLUMNS: Final[dict[Table, Mapping[str, str]]] = {
    "attempts": ATTEMPT_COLUMNS,
    "calls": CALL_COLUMNS,
    "outcomes": OUTCOME_COLUMNS,
}
# an outcome lies with the day of its call, whenever it came in; an unmatched one with the day it came in
_ROWS: Final[dict[Table, tuple[str, str]]] = {
    "attempts": ("attempts AS t", "t.started_at"),
    "calls": ("calls AS t", "t.ts"),
    "outcomes": (
        "outcomes AS t LEFT JOIN (SELECT call_id, min(ts) AS ts FROM calls GROUP BY 1) AS c ON c.call_id = t.call_id",
        "coalesce(c.ts, t.received_at)",
    ),
}
_ORDER: Final[dict[Table, str]] = {
    "attempts": "t.started_at, t.attempt_id",
    "calls": "t.ts, t.call_id",
    "outcomes": "t.received_at, t.call_id, t.rowid",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What to export.

    Attributes:
        tables: Which tables.
        file_format: What the files are.
        zone: IANA zone of days.
        since: First instant, aware; None = from the beginning. Rows without a time are then left out.
        until: First instant that no longer counts, aware; None = to the end. The same holds.
    """

    tables: tuple[Table, ...] = TABLE_NAMES
    file_format: FileFormat = "parquet"
    zone: str = "UTC"
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One written file.

    Attributes:
        path: Its path below the export's folder.
        day: Local day, ISO; None for rows without a time.
        rows: Rows in it.
    """

    path: str
    day: str | None
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export wrote; ``manifest.json`` says the same.

    Attributes:
        folder: Where.
        file_format: What the files are.
        zone: Zone of days.
        rows: Rows by table.
        files: Files by table.
        bytes: Their size together.
    """

    folder: str
    file_format: FileFormat
    zone: str
    rows: dict[str, int]
    files: dict[str, tuple[ExportedFile, ...]]
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The rows of one table and day."""

    table: Table
    day: str | None
    rows: int
    end_rowid: int


def export_log(
    home: Home,
    folder: Path,
    plan: ExportPlan,
    *,
    now: dt.datetime,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write the log's rows into a new folder and return what was written.

    Args:
        home: Whose log.
        folder: Where to; it must not be there, or be empty.
        plan: What to export.
        now: The present instant, aware.
        progress: Called with rows written and rows to write.

    Raises:
        ConfigError: The folder holds something or cannot be written; its disk is full.
        NoLogError: There is no log yet.
        LogBusyError: The log stayed locked.
    """
    _refuse_existing(folder)
    unfinished = folder.with_name(f"{folder.name}{_UNFINISHED}-{os.getpid()}")
    with reading(home) as log:
        parts = [part for table in plan.tables for part in _parts(log, table, plan)]
        version = _data_version(log)
    try:
        try:
            unfinished.mkdir(parents=True, mode=0o700)
        except OSError as error:
            message = f"cannot be written ({error.strerror}); name a folder that can be made"
            raise ConfigError(str(folder), [Problem(path="--out", message=message)]) from error
        files = _write(home, unfinished, parts, plan, progress)
        report = _report(folder, unfinished, plan, files)
        manifest = _manifest(report, plan, version, now)
        unfinished.joinpath(MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _make_private(unfinished)
        unfinished.rename(folder)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if is_disk_error(error):
            message = f"cannot be written ({first_line(error)}); make room, or name a folder on another disk"
            raise ConfigError(str(folder), [Problem(path="--out", message=message)]) from error
        raise
    return report


def _refuse_existing(folder: Path) -> None:
    try:
        is_taken = folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    except OSError as error:
        message = f"cannot be read ({error.strerror}); name another folder"
        raise ConfigError(str(folder), [Problem(path="--out", message=message)]) from error
    if is_taken:
        message = "is there already and is never overwritten; name a new folder"
        raise ConfigError(str(folder), [Problem(path="--out", message=message)])


def _parts(log: "DuckDBPyConnection", table: Table, plan: ExportPlan) -> Iterator[_Part]:
    """Yield the table's days with their rows, as they are now."""
    source, instant = _ROWS[table]
    row = log.execute(f"SELECT coalesce(max(rowid), -1) + 1 FROM {table}").fetchone()
    end = int(row[0]) if row is not None else 0
    window, values = _window(plan, instant)
    days = log.execute(
        f"""SELECT CAST({_local_day(instant)} AS VARCHAR) AS day, count(*) FROM {source}
            WHERE t.rowid < $end AND {window} GROUP BY 1 ORDER BY 1 NULLS FIRST""",
        {"end": end, "zone": plan.zone, **values},
    ).fetchall()
    for day, rows in days:
        yield _Part(table=table, day=day, rows=rows, end_rowid=end)


def _local_day(instant: str) -> str:
    return f"CAST(timezone($zone, timezone('UTC', {instant})) AS DATE)"


def _window(plan: ExportPlan, instant: str) -> tuple[str, dict[str, Any]]:
    tests: list[str] = []
    values: dict[str, Any] = {}
    for name, operator in (("since", ">="), ("until", "<")):
        bound: dt.datetime | None = getattr(plan, name)
        if bound is not None:
            tests.append(f"{instant} {operator} ${name}")
            values[name] = bound.astimezone(dt.UTC).replace(tzinfo=None)
    return " AND ".join(tests) or "true", values


def _write(
    home: Home,
    folder: Path,
    parts: Sequence[_Part],
    plan: ExportPlan,
    progress: Callable[[int, int], None] | None,
) -> dict[str, list[ExportedFile]]:
    files: dict[str, list[ExportedFile]] = {table: [] for table in plan.tables}
    total, done = sum(part.rows for part in parts), 0
    for part in parts:
        path = Path(part.table, f"day={part.day or _UNDATED}", f"part-0.{plan.file_format}")
        target = folder / path
        target.parent.mkdir(parents=True)
        with reading(home) as log:
            log.execute("SET memory_limit = $limit", {"limit": _MEMORY_LIMIT})
            log.execute("SET temp_directory = $folder", {"folder": str(folder / "spill")})
            rows = _copy(log, target, part, plan)
        files[part.table].append(ExportedFile(path=path.as_posix(), day=part.day, rows=rows))
        done += part.rows
        if progress is not None:
            progress(done, total)
    shutil.rmtree(folder / "spill", ignore_errors=True)
    return files


def _make_private(folder: Path) -> None:
    """Keep what was written from others; until now the folder around it has done so."""
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def _copy(log: "DuckDBPyConnection", target: Path, part: _Part, plan: ExportPlan) -> int:
    source, instant = _ROWS[part.table]
    window, values = _window(plan, instant)
    if part.day is None:
        day = f"{instant} IS NULL"
    else:
        # a bound that zone maps can use, then the day itself: no zone is more than a day from UTC
        day = f"""{instant} >= CAST($day AS TIMESTAMP) - INTERVAL 1 DAY
            AND {instant} < CAST($day AS TIMESTAMP) + INTERVAL 2 DAY AND {_local_day(instant)} = CAST($day AS DATE)"""
        values |= {"day": part.day, "zone": plan.zone}
    columns = ", ".join(_cell(name, kind, plan.file_format) for name, kind in _COLUMNS[part.table].items())
    options = "FORMAT parquet, COMPRESSION zstd" if plan.file_format == "parquet" else "FORMAT csv, HEADER"
    path = str(target).replace("'", "''")
    row = log.execute(
        f"""COPY (SELECT {columns} FROM {source} WHERE t.rowid < $end AND {window} AND {day}
                  ORDER BY {_ORDER[part.table]}) TO '{path}' ({options})""",
        {"end": part.end_rowid, **values},
    ).fetchone()
    return int(row[0]) if row is not None else 0


def _cell(name: str, kind: str, file_format: FileFormat) -> str:
    if file_format == "parquet":
        return f't."{name}"'
    if kind == "TIMESTAMP":
        return f"""strftime(t."{name}", '%Y-%m-%dT%H:%M:%S.%fZ') AS "{name}\""""
    if kind not in {"VARCHAR", "JSON"}:
        return f't."{name}"'
    text = f'CAST(t."{name}" AS VARCHAR)'
    starts = ", ".join(f"chr({ord(character)})" for character in FORMULA_STARTS)
    return f"""CASE WHEN {text}[1] IN ({starts}) THEN chr(39) || {text} ELSE {text} END AS "{name}\""""


def _data_version(log: "DuckDBPyConnection") -> dict[str, Any]:
    row = log.execute("SELECT max(progress.at) FROM progress WHERE name = 'ingested'").fetchone()
    counts = {table: log.execute(f"SELECT count(*) FROM {table}").fetchone() for table in TABLE_NAMES}
    return {
        "schema_version": SCHEMA_VERSION,
        "ingested_at": f"{row[0].isoformat()}Z" if row is not None and row[0] is not None else None,
        "rows": {table: count[0] if count is not None else 0 for table, count in counts.items()},
    }


def _report(folder: Path, written: Path, plan: ExportPlan, files: Mapping[str, Sequence[ExportedFile]]) -> ExportReport:
    return ExportReport(
        folder=str(folder),
        file_format=plan.file_format,
        zone=plan.zone,
        rows={table: sum(file.rows for file in listed) for table, listed in files.items()},
        files={table: tuple(listed) for table, listed in files.items()},
        bytes=sum(written.joinpath(file.path).stat().st_size for listed in files.values() for file in listed),
    )


def _manifest(report: ExportReport, plan: ExportPlan, version: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
    return {
        "format": MANIFEST_FORMAT,
        "version": MANIFEST_VERSION,
        "made_at": now.astimezone(dt.UTC).isoformat(),
        "file_format": plan.file_format,
        "zone": plan.zone,
        "since": plan.since.isoformat() if plan.since is not None else None,
        "until": plan.until.isoformat() if plan.until is not None else None,
        "times": "UTC",
        "money": "integer nano-dollars",
        **({"text_cells": "a leading ' stands before text that begins with one of = + - @ ' tab CR"}
           if plan.file_format == "csv" else {}),
        "data": version,
        "tables": {
            table: {"rows": report.rows[table], "files": [asdict(file) for file in listed]}
            for table, listed in report.files.items()
        },
    }  # fmt: skip
