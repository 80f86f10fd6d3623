"""Import of this log's own export: the same rows again, whatever they are, under the ids they have.

The folder's manifest says which files it holds. What the log has already stays as it is; the rest is added.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from router_core.call_log.export import FORMULA_STARTS, MANIFEST, MANIFEST_FORMAT, MANIFEST_VERSION, TABLE_NAMES
from router_core.call_log.home import Home
from router_core.call_log.importers.log_report import Untaken
from router_core.call_log.importers.segment import import_lock, publish
from router_core.call_log.importers.unpack import damaged
from router_core.call_log.read import reading
from router_core.call_log.schema import LINE_COLUMNS, SCHEMA_VERSION, TABLES
from router_core.call_log.terminal import counted
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KINDS: Final = {table: kind for kind, table in TABLES.items()}
_SHOWN_UNTAKEN: Final = 3
_MAX_MANIFEST_BYTES: Final = 64 << 20
_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "attempts": ("attempt_id",),
    "calls": ("call_id",),
    "outcomes": ("call_id", "attempt_id", "source", "received_at", "correct", "error_nusd", "label_propensity"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportImportReport:
    """What an import of an export did.

    Attributes:
        file: The export's folder.
        rows_read: Rows in it, by table.
        rows_new: Those that were not in the log yet, by table.
        rows_changed: Those that the log has with another cost, by table; it is never rewritten.
        untaken: The first of these, by table.
        is_dry: Whether nothing was to be written.
        changed: Whether anything was written.
    """

    file: str
    rows_read: dict[str, int]
    rows_new: dict[str, int]
    rows_changed: dict[str, int]
    untaken: dict[str, tuple[Untaken, ...]]
    is_dry: bool
    changed: bool


def is_own_export(path: Path) -> bool:
    """Return whether a path is the folder of an export, or its manifest."""
    return path.name == MANIFEST or path.joinpath(MANIFEST).is_file()


def import_export(
    home: Home, path: Path, *, now_us: int, catch_up: Callable[[Home], None], dry_run: bool = False
) -> ExportImportReport:
    """Return what was handed to the ingester; the rows are in the log after its next run.

    Args:
        home: Where the log is.
        path: The export's folder or its manifest.
        now_us: The present instant, microseconds since the epoch.
        catch_up: Brings the imports that are still spooled into the log, with which this one is then compared.
        dry_run: Write nothing, and compare with nothing.

    Raises:
        ConfigError: The export or the home cannot be used.
        RouterError: Another import is at work.
    """
    import duckdb

    folder = path.parent if path.name == MANIFEST else path
    manifest = _read_manifest(folder)
    with tempfile.TemporaryDirectory(prefix="tierwise-import-") as name, duckdb.connect() as con:
        work = Path(name)
        con.execute("SET memory_limit = '400MB'")
        con.execute("SET threads = 1")
        con.execute("SET temp_directory = $folder", {"folder": str(work / "spill")})
        try:
            read = {table: _stage(con, folder, table, manifest) for table in TABLE_NAMES if table in manifest.files}
        except duckdb.Error as error:
            raise damaged(folder, manifest.file_format, error) from error
        if dry_run:
            return ExportImportReport(
                file=str(folder), rows_read=read, rows_new=read, rows_changed={}, untaken={}, is_dry=True, changed=False
            )
        with import_lock(home.create()):
            catch_up(home)
            for table in read:
                _copy_known(con, home, work, table)
            changed = {table: _untaken(con, table) for table in read if _has_cost(table)}
            new = {table: _drop_known(con, table) for table in read}
            if any(new.values()):
                parts = [_event(work, folder, read, new, manifest.sha256, now_us)]
                publish(home, [*parts, *(_lines(con, work, table) for table in read)], manifest.sha256, now_us)
    return ExportImportReport(
        file=str(folder),
        rows_read=read,
        rows_new=new,
        rows_changed={table: rows for table, (rows, _) in changed.items()},
        untaken={table: first for table, (_, first) in changed.items()},
        is_dry=False,
        changed=any(new.values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    file_format: str
    files: Mapping[str, Sequence[str]]
    rows: Mapping[str, int]
    sha256: str


def _read_manifest(folder: Path) -> _Manifest:
    """Return what an export's manifest says.

    Raises:
        ConfigError: It is none, a newer version has written it, or files are missing.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_MANIFEST_BYTES)
        document: object = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        message = f"is no manifest of an export ({str(error)[:100]}); export again: tierwise export"
        raise ConfigError(str(path), [Problem(path="", message=message)]) from error
    facts = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    try:
        manifest = _parsed(facts, hashlib.sha256(data).hexdigest())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"is no manifest of an export ({type(error).__name__}: {str(error)[:100]}); export again"
        raise ConfigError(str(path), [Problem(path="", message=message)]) from error
    missing = [name for names in manifest.files.values() for name in names if not folder.joinpath(name).is_file()]
    if missing:
        message = f"names {counted(len(missing), 'file that is', 'files that are')} not there (first: {missing[0]})"
        message = f"{message}; copy the whole folder"
        raise ConfigError(str(path), [Problem(path="files", message=message)])
    return manifest


def _parsed(facts: Mapping[str, Any], sha256: str) -> _Manifest:
    if facts["format"] != MANIFEST_FORMAT:
        raise ValueError("another format")
    if facts["version"] > MANIFEST_VERSION or facts["data"]["schema_version"] > SCHEMA_VERSION:
        raise ValueError("written by a newer Tierwise; install it")
    if facts["file_format"] not in {"parquet", "csv"}:
        raise ValueError("unknown file format")
    files: dict[str, list[str]] = {}
    rows: dict[str, int] = {}
    for table, listed in facts["tables"].items():
        if table not in TABLE_NAMES:
            raise ValueError("unknown table")
        files[table] = [_inside(file["path"]) for file in listed["files"]]
        rows[table] = int(listed["rows"])
    return _Manifest(file_format=facts["file_format"], files=files, rows=rows, sha256=sha256)


def _inside(path: str) -> str:
    """Return a path below the folder.

    Raises:
        ValueError: It leads out of it.
    """
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError("a path outside of the folder")
    return path


def _stage(con: "DuckDBPyConnection", folder: Path, table: str, manifest: _Manifest) -> int:
    """Make a table of the export's rows, typed as spool lines are, and return how many there are.

    Raises:
        ConfigError: There are more or fewer than the manifest says, or columns are missing.
    """
    columns = LINE_COLUMNS[_KINDS[table]]
    if not manifest.files[table]:
        listed = ", ".join(f'"{name}" {"BIGINT" if kind == "TIMESTAMP" else kind}' for name, kind in columns.items())
        con.execute(f"CREATE TABLE {table} ({listed})")
        return 0
    paths = [_literal(folder / name) for name in manifest.files[table]]
    options = {
        "parquet": "union_by_name = true, hive_partitioning = false",
        "csv": "all_varchar = true, header = true, allow_quoted_nulls = false, hive_partitioning = false",
    }[manifest.file_format]
    source = f"read_{manifest.file_format}([{', '.join(paths)}], {options})"
    there = {str(row[0]) for row in con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    missing = [key for key in _KEYS[table] if key not in there]
    if missing:
        message = f"{table} have no column {', '.join(missing)}; export again"
        raise ConfigError(str(folder), [Problem(path=table, message=message)])
    is_csv = manifest.file_format == "csv"
    selected = [_cell(name, kind, is_csv=is_csv) for name, kind in columns.items() if name in there]
    con.execute(f"CREATE TABLE {table} AS SELECT {', '.join(selected)} FROM {source}")
    row = con.execute(f"SELECT count(*) FROM {table}").fetchone()
    found = int(row[0]) if row is not None else 0
    if found != manifest.rows[table]:
        message = f"{counted(found, 'row is', 'rows are')} there, {manifest.rows[table]:,} had been exported"
        message = f"{message}; copy the whole folder again"
        raise ConfigError(str(folder), [Problem(path=table, message=message)])
    return found


def _cell(name: str, kind: str, *, is_csv: bool) -> str:
    column = f'"{name}"'
    if is_csv and kind in {"VARCHAR", "JSON"}:
        starts = ", ".join(f"chr({ord(character)})" for character in FORMULA_STARTS)
        column = f"CASE WHEN {column}[1] = chr(39) AND {column}[2] IN ({starts}) THEN {column}[2:] ELSE {column} END"
    if kind == "TIMESTAMP":
        text = f"replace({column}, 'Z', '')" if is_csv else column
        return f'epoch_us(CAST({text} AS TIMESTAMP)) AS "{name}"'
    return f'CAST({column} AS {kind}) AS "{name}"'


def _copy_known(con: "DuckDBPyConnection", home: Home, work: Path, table: str) -> None:
    """Make the view ``known_TABLE`` of what the log has: the keys of its rows, and their costs."""
    columns = (*_KEYS[table], *(["cost_nusd"] if _has_cost(table) else []))
    if not home.log.exists():
        con.execute(f"CREATE VIEW known_{table} AS SELECT {', '.join(columns)} FROM {table} WHERE false")
        return
    target = work / f"known-{table}.parquet"
    selected = ", ".join(f'epoch_us("{name}") AS "{name}"' if name.endswith("_at") else f'"{name}"' for name in columns)
    # the log is open for this copy only; comparing happens afterwards
    with reading(home) as log:
        log.execute(f"COPY (SELECT {selected} FROM {table}) TO '{target}' (FORMAT parquet)")
    con.execute(f"CREATE VIEW known_{table} AS FROM read_parquet('{target}')")


def _has_cost(table: str) -> bool:
    return "cost_nusd" in LINE_COLUMNS[_KINDS[table]]


def _is_same(table: str) -> str:
    return " AND ".join(f'k."{key}" IS NOT DISTINCT FROM {table}."{key}"' for key in _KEYS[table])


def _untaken(con: "DuckDBPyConnection", table: str) -> tuple[int, tuple[Untaken, ...]]:
    """Return how many rows the log has with another cost, and the first of them."""
    key = _KEYS[table][0]
    differ = f"""FROM {table} JOIN known_{table} AS k ON {_is_same(table)}
        WHERE k.cost_nusd IS DISTINCT FROM {table}.cost_nusd"""
    count = con.execute(f"SELECT count(*) {differ}").fetchone()
    rows = con.execute(
        f"SELECT k.{key}, k.cost_nusd, {table}.cost_nusd {differ} ORDER BY k.{key} LIMIT {_SHOWN_UNTAKEN}"
    ).fetchall()
    return int(count[0]) if count is not None else 0, tuple(
        Untaken(id=row_id, kept_nusd=kept, given_nusd=given, kept_tier=None, given_tier=None)
        for row_id, kept, given in rows
    )


def _drop_known(con: "DuckDBPyConnection", table: str) -> int:
    """Remove the rows that the log has already, and return how many are left."""
    con.execute(f"DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM known_{table} AS k WHERE {_is_same(table)})")
    row = con.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row is not None else 0


def _lines(con: "DuckDBPyConnection", work: Path, table: str) -> Path:
    path = work / f"{table}.jsonl"
    con.execute(f"COPY (SELECT '{_KINDS[table]}' AS k, * FROM {table}) TO '{path}' (FORMAT json)")
    return path


def _event(work: Path, folder: Path, read: Mapping[str, int], new: Mapping[str, int], sha256: str, now_us: int) -> Path:
    path = work / "event.jsonl"
    details = {"format": "tierwise", "file": folder.name, "sha256": sha256, "rows_read": read, "rows_new": new}
    line = {"k": "event", "at": now_us, "worker": "import", "event": "log_import", "details": details}
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    return path


def _literal(path: Path) -> str:
    """Return a path as SQL, in which DuckDB finds no pattern and no host."""
    plain = "".join(f"[{character}]" if character in "*?[" else character for character in str(path.resolve()))
    return "'" + plain.replace("'", "''") + "'"
