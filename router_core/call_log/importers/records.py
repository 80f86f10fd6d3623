"""The records of a file that somebody else wrote: CSV, JSON lines, a JSON list or Parquet, in bounded memory.

What kind of file it is, its content says, not its name. A record that cannot be read is yielded with the reason.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

import orjson

from router_core.call_log.importers.csv_text import csv_rows
from router_core.call_log.importers.unpack import (
    BOM,
    MAX_COLUMNS,
    MAX_LINE_BYTES,
    TOO_LONG,
    TOO_WIDE,
    Growth,
    RawLine,
    check_growth,
    damaged,
    open_lines,
    packing_of,
    refused,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Kind = Literal["csv", "jsonl", "json", "parquet", "postgres"]
_PARQUET_MAGIC: Final = b"PAR1"
# Parquet is dense, and each of its rows becomes JSON with every column's name
_PARQUET_GROWTH: Final = 5_000
_MAX_FOOTER_BYTES: Final = 16 << 20
_ROWS_AT_ONCE: Final = 500


class Record(NamedTuple):
    """One record, or why there is none.

    Attributes:
        place: Line (CSV, JSON lines) or row (others), from 1.
        data: Values by column; None when it cannot be read.
        reason: What is wrong with it.
    """

    place: int
    data: dict[str, Any] | None
    reason: str | None = None


class Source(NamedTuple):
    """An opened file.

    Attributes:
        kind: What it is.
        records: Its records.
        place: What a place of them is called: ``line`` or ``row``.
        done: Which share of the file has been read by now, 0..1.
    """

    kind: Kind
    records: Iterator[Record]
    place: str
    done: Callable[[], float] = lambda: 0.0


def kind_of(path: Path) -> Kind:
    """Return what a file is, by its content.

    Raises:
        ConfigError: It is nothing that can be read.
    """
    if packing_of(path) == "plain":
        with path.open("rb") as stream:
            if stream.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC:
                return "parquet"
    check_growth(path)
    with open_lines(path) as opened:
        for line in opened.lines:
            text = line.data.removeprefix(BOM).lstrip()
            if text.startswith(b"{"):
                return "jsonl" if line.is_too_long or _is_object(text) else "json"
            if text.startswith(b"["):
                return "json"
            if text or line.is_too_long:
                return "csv"
    raise refused(path, "holds nothing but empty lines, if anything at all; export it again")


def _is_object(data: bytes) -> bool:
    """Return whether a line that begins like an object is one: else it may go on in the next line."""
    try:
        orjson.loads(data)
    except ValueError:
        # cut off in the middle or broken: only a line that closes what it opens was meant to be whole
        return data.rstrip().endswith(b"}")
    return True


@contextmanager
def open_records(path: Path) -> Generator[Source]:
    """Open a file for reading its records one after the other.

    Raises:
        ConfigError: It cannot be read; also while records are read.
    """
    kind = kind_of(path)
    if kind == "parquet":
        with closing(_parquet_records(path)) as records:
            yield Source(kind, records, "row")
    elif kind == "json":
        with closing(_json_records(path)) as records:
            yield Source(kind, records, "row")
    else:
        with open_lines(path) as opened:
            lines = opened.lines
            records = _jsonl_records(lines) if kind == "jsonl" else _csv_records(path, lines)
            yield Source(kind, records, "line", opened.done)


def _jsonl_records(lines: Iterator[RawLine]) -> Iterator[Record]:
    for line in lines:
        data = line.data.removeprefix(BOM) if line.number == 1 else line.data
        if line.is_too_long:
            yield Record(line.number, None, TOO_LONG)
        elif data.strip():
            yield _object(line.number, data)


def _object(place: int, data: bytes | str) -> Record:
    try:
        value: object = orjson.loads(data)
    except ValueError:
        return Record(place, None, "is not JSON")
    if not isinstance(value, dict):
        return Record(place, None, "is not a JSON object")
    record = cast("dict[str, Any]", value)
    if len(record) > MAX_COLUMNS:
        return Record(place, None, TOO_WIDE)
    return Record(place, record)


def _csv_records(path: Path, lines: Iterator[RawLine]) -> Iterator[Record]:
    for row in csv_rows(path, lines):
        yield Record(row.line, row.cells, row.reason)


# --- by way of DuckDB: Parquet, and JSON that is not one object per line


def _json_records(path: Path) -> Generator[Record]:
    packing = packing_of(path)
    query = (
        "SELECT json FROM read_json_objects($path, format = $format, maximum_object_size = $size,"
        " compression = $packing)"
    )
    options = {
        "format": "array" if _begins_with_bracket(path) else "unstructured",
        "size": MAX_LINE_BYTES,
        "packing": "uncompressed" if packing == "plain" else packing,
    }
    yield from _queried(path, query, options, "JSON", Growth(path))


def _begins_with_bracket(path: Path) -> bool:
    with open_lines(path) as opened:
        return next((text for line in opened.lines if (text := line.data.removeprefix(BOM).lstrip())), b"").startswith(
            b"["
        )


def _parquet_records(path: Path) -> Generator[Record]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - 8))
        tail = stream.read(8)
    if tail[4:] != _PARQUET_MAGIC:
        raise refused(path, "begins as Parquet but does not end so, it is cut short; export or copy it again")
    if int.from_bytes(tail[:4], "little") > min(size, _MAX_FOOTER_BYTES):
        raise refused(path, f"{TOO_WIDE} or its footer is damaged; export only the columns that are needed")
    query = "SELECT to_json(rows) FROM read_parquet($path) AS rows"
    yield from _queried(path, query, {}, "Parquet", Growth(path, _PARQUET_GROWTH))


def _queried(path: Path, query: str, options: Mapping[str, Any], what: str, growth: Growth) -> Generator[Record]:
    import duckdb

    place = 0
    try:
        with duckdb.connect() as con:
            con.execute("SET memory_limit = '256MB'")
            con.execute("SET threads = 1")
            if what == "Parquet":
                _check_parquet_columns(con, path)
            found = con.execute(query, {"path": _literal_path(path), **options})
            while rows := found.fetchmany(_ROWS_AT_ONCE):
                for (text,) in rows:
                    place += 1
                    growth.add(len(text or ""))
                    yield _object(place, text or "")
    except duckdb.Error as error:
        raise damaged(path, what, error) from error


def _check_parquet_columns(con: "DuckDBPyConnection", path: Path) -> None:
    rows = con.execute(
        "SELECT name FROM parquet_schema($path) WHERE num_children IS NULL", {"path": _literal_path(path)}
    ).fetchall()
    if len(rows) > MAX_COLUMNS:
        raise refused(path, f"{TOO_WIDE} ({len(rows):,}); export only the columns that are needed")


def _literal_path(path: Path) -> str:
    """Return a path in which DuckDB finds no pattern and no host."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path.resolve()))
