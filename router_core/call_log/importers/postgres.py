"""LiteLLM's table ``LiteLLM_SpendLogs``, read from the proxy's own PostgreSQL database.

One read-only SELECT over the columns that the map uses, in a server-side cursor: messages and answers stay there. The
driver (psycopg) is optional.
"""

import datetime as dt
import hashlib
import importlib
import importlib.util
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from router_core.call_log.importers.maps import LogMap
from router_core.call_log.importers.reading import LogSource
from router_core.call_log.importers.records import Record, Source
from router_core.errors import ConfigError, Problem, RouterError

SCHEMES: Final = ("postgresql://", "postgres://")
TABLE: Final = "LiteLLM_SpendLogs"
DRIVER: Final = "psycopg"
_TIME: Final = "startTime"
_ROWS_AT_ONCE: Final = 2_000
_CONNECT_TIMEOUT_S: Final = 10
# their lengths would be the only use of them, and they may be most of the table
_NEVER_READ: Final = frozenset({"messages", "response", "proxy_server_request"})


def is_database(name: str) -> bool:
    """Return whether a name is a database's address."""
    return name.startswith(SCHEMES)


def shown(address: str) -> str:
    """Return an address without user and password."""
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
        return f"postgresql://{parts.hostname or ''}{port}{parts.path}"
    except ValueError:
        return "postgresql://..."


def database_source(
    address: str, log_map: LogMap, *, since: dt.datetime | None = None, until: dt.datetime | None = None
) -> LogSource:
    """Return the source that reads the table of a database.

    Args:
        address: ``postgresql://user:password@host/database``.
        log_map: Its column map; columns that it does not use are not read.
        since: First instant, aware; None = from the beginning.
        until: First instant that no longer counts, aware.

    Raises:
        RouterError: The driver is not installed.
    """
    if importlib.util.find_spec(DRIVER) is None:
        message = (
            f'reading {shown(address)} needs the driver {DRIVER}: pip install "psycopg[binary]"; '
            f'or export the table to a file and import that: COPY "{TABLE}" TO STDOUT (FORMAT csv, HEADER)'
        )
        raise RouterError(message)
    window = [instant.astimezone(dt.UTC).replace(tzinfo=None) if instant else None for instant in (since, until)]
    name = shown(address)
    digest = hashlib.sha256(f"{name} {window}".encode()).hexdigest()
    return LogSource(name=name, sha256=digest, open=lambda: _opened(address, columns_of(log_map), window))


def query(columns: Sequence[str], window: Sequence[dt.datetime | None]) -> tuple[str, list[Any]]:
    """Return the SELECT over these columns and its parameters.

    Args:
        columns: Columns of the table.
        window: First instant, and first one that no longer counts, naive UTC; None = open.
    """
    selected = ", ".join(f'"{column}"' for column in columns)
    tests = [
        (f'"{_TIME}" {operator} %s', instant)
        for operator, instant in zip((">=", "<"), window, strict=True)
        if instant is not None
    ]
    where = f" WHERE {' AND '.join(test for test, _ in tests)}" if tests else ""
    return f'SELECT {selected} FROM "{TABLE}"{where} ORDER BY "{_TIME}"', [instant for _, instant in tests]


def columns_of(log_map: LogMap) -> frozenset[str]:
    """Return the columns of the table that a map uses; never those that hold texts."""
    places = (*(place for listed in log_map.places.values() for place in listed), *log_map.payload_type, *log_map.tags)
    return frozenset(place.partition(".")[0] for place in places) - _NEVER_READ


@contextmanager
def _opened(address: str, wanted: frozenset[str], window: Sequence[dt.datetime | None]) -> Generator[Source]:
    psycopg: Any = importlib.import_module(DRIVER)
    try:
        with psycopg.connect(address, connect_timeout=_CONNECT_TIMEOUT_S) as connection:
            connection.read_only = True
            there = connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s", [TABLE]
            ).fetchall()
            columns = sorted(wanted & {str(row[0]) for row in there})
            if _TIME not in columns:
                message = f'has no table "{TABLE}"; name the database of the LiteLLM proxy'
                raise ConfigError(shown(address), [Problem(path="", message=message)])
            statement, values = query(columns, window)
            with connection.cursor(name="tierwise_import") as cursor:
                cursor.itersize = _ROWS_AT_ONCE
                cursor.execute(statement, values)
                yield Source("postgres", _records(cursor, columns), "row")
    except psycopg.Error as error:
        raise _failed(address, error) from error


def _records(cursor: Any, columns: Sequence[str]) -> Iterator[Record]:
    for place, values in enumerate(cursor, start=1):
        yield Record(place, dict(zip(columns, values, strict=True)))


def _failed(address: str, error: Exception) -> ConfigError:
    # the driver's words may repeat the address
    reason = " ".join(str(error).replace(address, shown(address)).split())[:300]
    message = f"cannot be read ({reason}); check address, user and rights"
    return ConfigError(shown(address), [Problem(path="", message=message)])
