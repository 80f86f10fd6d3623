"""Opening a file that somebody else wrote: Parquet, CSV or JSON lines, read through DuckDB."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FileKind = Literal["parquet", "csv", "jsonl"]
_KINDS: dict[str, FileKind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_OWN_LINK = re.compile(r"[^\s'\"]*/source\.(parquet|csv|jsonl)")
_PARQUET_MAGIC = b"PAR1"
# every value as text: a column without any value would else get a type that says nothing
_READERS: dict[FileKind, str] = {
    "parquet": "read_parquet('{path}')",
    "csv": "read_csv('{path}', header = true, all_varchar = true, nullstr = '')",
    "jsonl": "read_json('{path}', format = 'newline_delimited', maximum_object_size = 1048576)",
}


def file_kind(path: Path) -> FileKind:
    """Return what kind of file this is, by its name, checked against its first bytes.

    Raises:
        ConfigError: It does not exist, is no file, is empty, has an unknown ending, or is not what its name says.
    """
    problem = _unreadable(path)
    if problem is not None:
        raise ConfigError(str(path), [Problem(path="", message=problem)])
    return _KINDS[path.suffix.lower()]


def _unreadable(path: Path) -> str | None:
    try:
        if path.is_dir():
            return f"is a folder; name one file in it ({', '.join(_KINDS)})"
        if not path.is_file():
            return "no such file; check the path"
        with path.open("rb") as stream:
            return _misnamed(path, stream.read(len(_PARQUET_MAGIC)))
    except OSError as error:
        return f"cannot be read ({error.strerror or error}); check its permissions"


def _misnamed(path: Path, head: bytes) -> str | None:
    kind = _KINDS.get(path.suffix.lower())
    if not head:
        return "is empty; export it again"
    if kind is None:
        return f"its name ends in {path.suffix or 'nothing'}; name it by what it is: {', '.join(_KINDS)}"
    if (kind == "parquet") == (head == _PARQUET_MAGIC):
        return None
    if kind == "parquet":
        return "is named as Parquet but is not; name it by what it is (.csv, .jsonl) or export it again"
    return "holds Parquet; name it .parquet"


def open_source(con: "DuckDBPyConnection", path: Path, folder: Path) -> dict[str, str]:
    """Make the file readable as the view ``source`` and return its columns with their DuckDB types.

    Args:
        con: An in-memory connection.
        path: The file.
        folder: An empty folder that lives as long as the connection is used; its path needs no quoting.

    Raises:
        ConfigError: The file is not readable as what it is.
    """
    import duckdb

    kind = file_kind(path)
    # through a link with a plain name: DuckDB takes *, ? and [ in a path as a pattern, and s3:// as a host
    link = folder / f"source.{kind}"
    link.symlink_to(path.resolve())
    try:
        con.execute(f"CREATE VIEW source AS SELECT * FROM {_READERS[kind].format(path=link)}")
        return {str(row[0]): str(row[1]) for row in con.execute("DESCRIBE source").fetchall()}
    except duckdb.Error as error:
        raise unreadable_source(path, error) from error


def unreadable_source(path: Path, error: Exception) -> ConfigError:
    """Return the error for a file that breaks while it is read."""
    reason = _OWN_LINK.sub(path.name, str(error).strip().splitlines()[0])
    kind = {"parquet": "Parquet", "csv": "CSV", "jsonl": "JSON lines"}[_KINDS[path.suffix.lower()]]
    message = f"cannot be read as {kind}, it is damaged or cut short ({reason[:200]}); export or copy it again"
    return ConfigError(str(path), [Problem(path="", message=message)])
