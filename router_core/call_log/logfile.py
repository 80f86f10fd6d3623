"""The DuckDB file as its one writer sees it: opened for the length of a commit, made and migrated when needed."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import duckdb

from router_core.call_log import access, ddl
from router_core.call_log.home import Home
from router_core.call_log.schema import SCHEMA_VERSION

_SETTINGS: Final = (
    "SET memory_limit = '160MB'",
    "SET enable_progress_bar = false",
    "SET threads = 1",
    # write the file itself in the commit: through the write-ahead log everything would be written twice under the lock
    "SET wal_autocheckpoint = '1B'",
    "SET auto_checkpoint_skip_wal_threshold = 0",
    # trying these two on every column of every commit takes a tenth of its time and wins no space here
    "SET disabled_compression_methods = 'zstd,fsst'",
)


# A commit's rows are a block of their own until enough of them are merged to one of this size, under the lock. At
# DuckDB's own 122,880 rows that took 0.9 s and 270 MB, at this size 0.3 s and 170 MB, for 5 % more disk. Never make it
# larger: the next commit would then merge all blocks of a log there are, which took 15 s at ten million calls.
_ROW_GROUP_ROWS: Final = 30_720


class LogFile:
    """An in-memory connection that attaches the log as ``log``, for as short as possible.

    Args:
        home: Where the log is.
        timer: Seconds of a monotonic clock.
        pause: Waits a few milliseconds.
        patience_s: How long to wait for readers.

    Attributes:
        con: The connection; tables staged in it survive between uses.
        held_s: How long each use has kept the file locked.
    """

    def __init__(
        self, home: Home, *, timer: Callable[[], float], pause: Callable[[], None], patience_s: float = 30.0
    ) -> None:
        self._home = home
        self._timer = timer
        self._pause = pause
        self._patience_s = patience_s
        self._is_ready = False
        self.held_s: list[float] = []
        self.con = duckdb.connect(":memory:")
        spill = str(home.root / "stage" / "spill").replace("'", "''")
        for setting in (*_SETTINGS, f"SET temp_directory = '{spill}'"):
            # a setting that this DuckDB does not know only costs time
            with suppress(duckdb.CatalogException):
                self.con.execute(setting)

    @contextmanager
    def attached(self, now_us: int) -> Generator[duckdb.DuckDBPyConnection]:
        """Attach the file, with its tables in place, until the block ends; roll an open transaction back on errors.

        Raises:
            LogBusyError: Readers have kept it open for longer than the patience.
            LogUnavailableError: It cannot be opened now: no room, too many open files, no right to it.
            ConfigError: It is not a DuckDB file, or a newer Tierwise has made it.
        """
        self._attach()
        began = self._timer()
        try:
            if not self._is_ready:
                self._make_ready(now_us)
            yield self.con
        except BaseException as error:
            with suppress(duckdb.Error):
                self.con.execute("ROLLBACK")
            if isinstance(error, duckdb.Error) and access.is_disk_error(error):
                raise access.unavailable(self._home.log, error) from error
            raise
        finally:
            with suppress(duckdb.Error):
                self.con.execute("DETACH log")
            self.held_s.append(self._timer() - began)

    def close(self) -> None:
        """Give the connection up."""
        self.con.close()

    def _attach(self) -> None:
        if self._try_attach():
            return
        with access.turn_of_writer(self._home):
            got = access.keep_trying(
                self._try_attach, give_up_after_s=self._patience_s, now_s=self._timer, pause=self._pause
            )
        if not got:
            message = f"{self._home.log} has been open in another process for {self._patience_s:.0f} s; try again"
            raise access.LogBusyError(message)

    def _try_attach(self) -> bool:
        try:
            if not self._home.log.exists():
                self._bear()
            self._open(self._home.log)
        except duckdb.Error as error:
            if access.is_lock_error(error):
                return False
            raise access.unreadable(self._home.log, error) from error
        except OSError as error:
            raise access.unavailable(self._home.log, error) from error
        return True

    def _bear(self) -> None:
        """Make an empty file under another name first: a kill in the middle of that leaves no broken log behind."""
        unborn = self._home.unborn_log
        for left in (unborn, _wal_of(unborn)):
            left.unlink(missing_ok=True)
        self._open(unborn)
        self.con.execute("DETACH log")
        self._is_ready = False
        # a deleted log's write-ahead log is none of the new one's
        _wal_of(self._home.log).unlink(missing_ok=True)
        unborn.rename(self._home.log)

    def _open(self, path: Path) -> None:
        quoted = str(path).replace("'", "''")
        self.con.execute(f"ATTACH '{quoted}' AS log (STORAGE_VERSION 'v1.5.0', ROW_GROUP_SIZE {_ROW_GROUP_ROWS})")

    def _make_ready(self, now_us: int) -> None:
        """Create the tables of a new file; refuse a newer one."""
        self._home.log.chmod(0o600)
        self.con.execute("USE log")
        try:
            version = self._version()
            if version > SCHEMA_VERSION:
                raise access.newer_schema(self._home.log, version, SCHEMA_VERSION)
            if version < SCHEMA_VERSION or self._lacks_tables():
                self._create(now_us, version)
        except duckdb.Error:
            with suppress(duckdb.Error):
                self.con.execute("ROLLBACK")
            raise
        finally:
            self.con.execute("USE memory")
        self._is_ready = True

    def _lacks_tables(self) -> bool:
        """Return whether the file was made before a table for bookkeeping was thought of."""
        found = self.con.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'log'").fetchall()
        return not ddl.BOOKKEEPING.keys() <= {name for (name,) in found}

    def _create(self, now_us: int, version: int) -> None:
        self.con.execute("BEGIN")
        for statement in (*ddl.create_tables(), *ddl.create_views()):
            self.con.execute(statement)
        if version < SCHEMA_VERSION:
            self.con.execute("INSERT INTO schema_version VALUES (?, make_timestamp(?))", [SCHEMA_VERSION, now_us])
        self.con.execute("COMMIT")

    def _version(self) -> int:
        has_table = "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'log' AND table_name = 'schema_version'"
        if self.con.execute(has_table).fetchone() == (0,):
            return 0
        row = self.con.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
        return int(row[0]) if row is not None else 0


def _wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")
