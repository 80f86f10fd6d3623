"""The lines of a file that somebody else wrote, plain or packed (gzip, zstd), in bounded memory.

A packed file that grows out of proportion is refused before it fills anything.
"""

import gzip
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from typing import IO

Packing = Literal["plain", "gzip", "zstd"]
MAX_LINE_BYTES: Final = 16 << 20
MAX_COLUMNS: Final = 2_000
BOM: Final = b"\xef\xbb\xbf"
# what goes on for longer is refused as a whole: somebody would wait for gigabytes of it
_MAX_SKIPPED_BYTES: Final = 64 << 20
# what is said of lines and rows beyond these
TOO_LONG: Final = f"is longer than {MAX_LINE_BYTES >> 20} MiB"
TOO_WIDE: Final = f"has more than {MAX_COLUMNS:,} columns"
# real logs shrink ten- to fortyfold; what grows beyond this is made to fill a disk
MAX_GROWTH: Final = 200
_ALWAYS_ALLOWED_BYTES: Final = 256 << 20
_MAGIC: Final[tuple[tuple[bytes, Packing], ...]] = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_FOREIGN: Final = (
    (b"PK\x03\x04", "is a zip archive; unpack it and import the file in it"),
    (b"BZh", "is packed with bzip2; unpack it: bunzip2 FILE"),
    (b"\xfd7zXZ", "is packed with xz; unpack it: unxz FILE"),
    (b"\xff\xfe\x00\x00", "is UTF-32; save it as UTF-8"),
    (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
    (b"SQLite format 3", "is a SQLite database; export the table as CSV"),
    (b"ARROW1\x00\x00", "is an Arrow (Feather) file; write it as Parquet"),
    (b"Obj\x01", "is an Avro file; write it as Parquet"),
    (b"%PDF", "is a PDF; export the log as CSV, JSON lines or Parquet"),
    (b"<", "is a page of HTML or XML, perhaps of a login; export the log as CSV, JSON lines or Parquet"),
)
_ROWS_AT_ONCE: Final = 1_000
_BLOCK_BYTES: Final = 1 << 20


class RawLine(NamedTuple):
    """One line of a text file.

    Attributes:
        number: Its place, from 1.
        data: Its bytes without the newline; empty when it is too long.
        is_too_long: Whether it is longer than ``MAX_LINE_BYTES``; the rest of it is left out.
    """

    number: int
    data: bytes
    is_too_long: bool


class Growth:
    """Counts what comes out of a file and stops what is out of proportion to it.

    Args:
        path: The file.
        factor: How many times its size may come out of it.

    Attributes:
        produced: Bytes so far.
    """

    def __init__(self, path: Path, factor: int = MAX_GROWTH) -> None:
        self._path = path
        self._factor = factor
        self._limit = max(_ALWAYS_ALLOWED_BYTES, path.stat().st_size * factor)
        self.produced = 0

    def add(self, size: int) -> None:
        """Count some bytes.

        Raises:
            ConfigError: They are too many.
        """
        self.produced += size
        if self.produced > self._limit:
            message = f"unpacks to more than {self._factor:,} times its size; if that is meant so, unpack it yourself"
            raise ConfigError(str(self._path), [Problem(path="", message=message)])


def refused(path: Path, message: str) -> ConfigError:
    """Return the error for a file as a whole."""
    return ConfigError(str(path), [Problem(path="", message=message)])


def damaged(path: Path, what: str, error: Exception) -> ConfigError:
    """Return the error for a file that breaks while it is read."""
    reason = " ".join(str(error).replace(str(path), path.name).split())[:200]
    message = f"cannot be read as {what}, it is damaged or cut short ({reason}); export or copy it again"
    return ConfigError(str(path), [Problem(path="", message=message)])


def packing_of(path: Path) -> Packing:
    """Return how a file is packed, by its first bytes.

    Raises:
        ConfigError: It is no file, is empty, cannot be read, or is packed in a way that is not read here.
    """
    problem: str | None = None
    head = b""
    try:
        if not path.is_file():
            problem = "is no file; name a file" if path.exists() else "no such file; check the path"
        else:
            with path.open("rb") as stream:
                head = stream.read(16)
            problem = None if head else "is empty; export it again"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error}); check its permissions"
    problem = problem or next((message for magic, message in _FOREIGN if head.startswith(magic)), None)
    if problem is not None:
        raise ConfigError(str(path), [Problem(path="", message=problem)])
    for magic, packing in _MAGIC:
        if head.startswith(magic):
            return packing
    return "plain"


def check_growth(path: Path) -> None:
    """Unpack a packed file once, into nothing: reading rows that never end would take far longer than to count them.

    Raises:
        ConfigError: It is damaged, or grows out of proportion.
    """
    packing = packing_of(path)
    if packing == "plain":
        return
    growth = Growth(path)
    for size in _zstd_sizes(path) if packing == "zstd" else _gzip_sizes(path):
        growth.add(size)


def _gzip_sizes(path: Path) -> Iterator[int]:
    try:
        with gzip.open(path) as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield len(block)
    except (EOFError, zlib.error, OSError) as error:
        raise damaged(path, "gzip", error) from error


def _zstd_sizes(path: Path) -> Iterator[int]:
    for rows in _zstd_query(path, "strlen(line)"):
        yield sum(size + 1 if size is not None else 1 for (size,) in rows)


class Lines(NamedTuple):
    """An opened text file.

    Attributes:
        lines: Its lines.
        done: Which share of the file has been read by now, 0..1.
    """

    lines: Iterator[RawLine]
    done: Callable[[], float]


@contextmanager
def open_lines(path: Path) -> Generator[Lines]:
    """Open a text file for reading its lines one after the other.

    Raises:
        ConfigError: It is damaged, or grows out of proportion; also while lines are read.
    """
    packing = packing_of(path)
    if packing == "zstd":
        with closing(_zstd_lines(path)) as lines:
            yield Lines(lines, lambda: 0.0)
        return
    size = path.stat().st_size
    with path.open("rb") as raw:
        if packing == "plain":
            yield Lines(_lines(path, raw, packing), lambda: raw.tell() / size)
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield Lines(_lines(path, unpacked, packing), lambda: raw.tell() / size)


def _lines(path: Path, stream: "IO[bytes] | gzip.GzipFile", packing: Packing) -> Iterator[RawLine]:
    growth = Growth(path)
    number = 0
    try:
        while data := stream.readline(MAX_LINE_BYTES):
            number += 1
            growth.add(len(data))
            is_too_long = len(data) == MAX_LINE_BYTES and not data.endswith(b"\n")
            if is_too_long:
                _skip_line(path, number, stream, growth)
            yield RawLine(number, b"" if is_too_long else data.rstrip(b"\r\n"), is_too_long)
    except (EOFError, zlib.error, OSError) as error:
        raise damaged(path, packing, error) from error


def _skip_line(path: Path, number: int, stream: "IO[bytes] | gzip.GzipFile", growth: Growth) -> None:
    """Read to the end of a line.

    Raises:
        ConfigError: It hardly has one.
    """
    skipped = 0
    while rest := stream.readline(MAX_LINE_BYTES):
        growth.add(len(rest))
        skipped += len(rest)
        if rest.endswith(b"\n"):
            return
        if skipped > _MAX_SKIPPED_BYTES:
            message = f"line {number:,} is longer than {_MAX_SKIPPED_BYTES >> 20} MiB: no log, or a damaged one"
            raise refused(path, f"{message}; export it again")


def _zstd_lines(path: Path) -> Generator[RawLine]:
    growth = Growth(path)
    number = 0
    for rows in _zstd_query(path, "line"):
        for (line,) in rows:
            number += 1
            data = line.encode("utf-8", "surrogatepass") if line is not None else b""
            growth.add(len(data) + 1)
            yield RawLine(number, data, False)


def _zstd_query(path: Path, selected: str) -> Generator[list[tuple[Any, ...]]]:
    """Yield rows about the lines of a zstd file by way of DuckDB, as Python cannot unpack it by itself."""
    import duckdb

    try:
        with duckdb.connect() as con:
            con.execute("SET memory_limit = '256MB'")
            con.execute("SET threads = 1")
            # neither a separator nor a quote: each line is one value
            found = con.execute(
                f"SELECT {selected} FROM read_csv(?, columns = {{'line': 'VARCHAR'}}, header = false,"
                " auto_detect = false, quote = '', escape = '', delim = '\x01', compression = 'zstd',"
                " max_line_size = ?, buffer_size = ?)",
                [str(path), MAX_LINE_BYTES, 2 * MAX_LINE_BYTES],
            )
            while rows := found.fetchmany(_ROWS_AT_ONCE):
                yield rows
    except duckdb.Error as error:
        raise damaged(path, "zstd", error) from error
