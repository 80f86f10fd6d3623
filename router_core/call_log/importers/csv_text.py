"""The rows of a CSV file that somebody else wrote. A row that cannot be read is yielded with the reason."""

import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from router_core.call_log.importers.unpack import (
    BOM,
    MAX_COLUMNS,
    MAX_LINE_BYTES,
    TOO_LONG,
    TOO_WIDE,
    RawLine,
    refused,
)

_MAX_RECORD_BYTES: Final = 64 << 20


class CsvRow(NamedTuple):
    """One row, or why there is none.

    Attributes:
        line: The line it begins in, from 1.
        cells: Texts by column; None when it cannot be read.
        reason: What is wrong with it.
    """

    line: int
    cells: dict[str, Any] | None
    reason: str | None = None


class _Texts:
    """Lines as text, for the CSV reader; remembers what was wrong with those of the present record."""

    def __init__(self, path: Path, lines: Iterator[RawLine]) -> None:
        self._path = path
        self._lines = lines
        self._size = 0
        self.reason: str | None = None

    def begin(self) -> None:
        """Begin a record."""
        self._size = 0
        self.reason = None

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._size += len(line.data)
            if self._size > _MAX_RECORD_BYTES:
                message = f"has a record of more than {_MAX_RECORD_BYTES >> 20} MiB near line {line.number:,}"
                raise refused(self._path, f"{message}; perhaps a quote is not closed: export it again")
            if line.is_too_long:
                self.reason = TOO_LONG
            data = line.data.removeprefix(BOM) if line.number == 1 else line.data
            try:
                yield data.decode() + "\n"
            except UnicodeDecodeError:
                self.reason = "is not UTF-8"
                yield data.decode("utf-8", "replace") + "\n"


def csv_rows(path: Path, lines: Iterator[RawLine]) -> Iterator[CsvRow]:
    """Yield the rows of a CSV file below its header.

    Raises:
        ConfigError: Its header is none, or its quotes do not fit.
    """
    texts = _Texts(path, lines)
    # the one switch that the csv module has for this, and it is the module's
    csv.field_size_limit(MAX_LINE_BYTES)
    stream = iter(texts)
    first = next(stream, "")
    reader = csv.reader(_chained(first, stream), delimiter=_delimiter(first), strict=True)
    header: list[str] | None = None
    ended = 0
    while True:
        if header is not None:
            texts.begin()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            message = f"cannot be read as CSV in line {reader.line_num:,} ({error}); export it again"
            if "\r" in first:
                message = "its lines end in CR alone; save it with other line ends (LF, as on Unix)"
            raise refused(path, message) from error
        if cells is None:
            return
        place, ended = ended + 1, reader.line_num
        if header is None:
            header = _checked_header(path, cells, texts.reason) if cells or texts.reason else None
        elif texts.reason is not None:
            yield CsvRow(place, None, texts.reason)
        elif not cells:
            continue
        elif len(cells) != len(header):
            yield CsvRow(place, None, f"has not as many cells as the header ({len(header):,})")
        else:
            yield CsvRow(place, dict(zip(header, cells, strict=True)))


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _delimiter(header: str) -> str:
    """Return what stands between the names of a header: a comma, unless only others do."""
    return max(",;\t|", key=header.count) if "," not in header else ","


def _checked_header(path: Path, names: Sequence[str], reason: str | None) -> list[str]:
    """Return the header's names.

    Raises:
        ConfigError: It has none, too many, the same twice, or cannot be read.
    """
    if reason is not None:
        raise refused(path, f"its header {reason}; is it a CSV file?")
    if any("\x00" in name for name in names):
        raise refused(path, "its header holds NUL characters; it is no CSV file, or not in UTF-8")
    if len(names) > MAX_COLUMNS:
        raise refused(path, f"its header {TOO_WIDE} ({len(names):,}); export only the columns that are needed")
    plain = [name.strip() for name in names]
    twins = [name for name, times in Counter(plain).items() if times > 1]
    if twins:
        listed = ", ".join(repr(name[:50]) for name in twins[:5])
        raise refused(path, f"its header names columns twice: {listed}; give each column a name of its own")
    return [sys.intern(name) for name in plain]
