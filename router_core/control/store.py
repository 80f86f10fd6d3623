"""The control store: one SQLite file (WAL) that budgets, proposals, config history and the audit share.

::

    Store(home).reading()      connection that cannot write; None where there is no store yet
    Store(home).writing()      connection inside BEGIN IMMEDIATE; committed at the end, rolled back on any exception
    locked(path)               the one who changes the config or decides about a proposal

Every use opens a connection of its own: threads, forks and processes then have nothing to share.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from router_core.call_log.home import Home
from router_core.errors import RouterError

STORE_VERSION = 1
# budgets write for moments only; one that stays locked is a failed one
_BUSY_S = 5.0
_LOCK_PATIENCE_S = 15.0
_LOCK_POLL_S = 0.01

_SCHEMA = """
CREATE TABLE control_schema (version INTEGER NOT NULL);
CREATE TABLE proposals (
    n INTEGER PRIMARY KEY AUTOINCREMENT, payload_type TEXT NOT NULL, change TEXT NOT NULL,
    created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE proposal_states (
    n INTEGER PRIMARY KEY REFERENCES proposals (n), payload_type TEXT NOT NULL, change TEXT NOT NULL,
    state TEXT NOT NULL, since_us INTEGER NOT NULL, expires_us INTEGER NOT NULL,
    who TEXT, reason TEXT, until_us INTEGER, seq INTEGER, lapses_us INTEGER
);
CREATE INDEX proposal_states_by_state ON proposal_states (state, n);
CREATE INDEX proposal_states_by_type ON proposal_states (payload_type, state, n);
CREATE INDEX proposal_states_by_change ON proposal_states (payload_type, change, state, n);
CREATE INDEX proposal_states_lapsing ON proposal_states (lapses_us, state, expires_us) WHERE lapses_us IS NOT NULL;
CREATE TABLE proposal_counts (state TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER proposal_states_counted AFTER INSERT ON proposal_states BEGIN
    INSERT INTO proposal_counts (state, n) VALUES (NEW.state, 1) ON CONFLICT (state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER proposal_states_recounted AFTER UPDATE OF state ON proposal_states WHEN OLD.state <> NEW.state BEGIN
    UPDATE proposal_counts SET n = n - 1 WHERE state = OLD.state;
    INSERT INTO proposal_counts (state, n) VALUES (NEW.state, 1) ON CONFLICT (state) DO UPDATE SET n = n + 1;
END;
CREATE TABLE optimizer_runs (n INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE config_bytes (digest TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE config_history (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, config TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
    since_us INTEGER NOT NULL, kind TEXT NOT NULL, who TEXT, reason TEXT, proposal_ids TEXT NOT NULL,
    before_digest TEXT, ref_seq INTEGER
);
CREATE INDEX config_history_by_config ON config_history (config, seq);
CREATE INDEX config_history_by_version ON config_history (version);
CREATE INDEX config_history_by_ref ON config_history (ref_seq, kind) WHERE ref_seq IS NOT NULL;
CREATE TABLE config_intents (
    config TEXT PRIMARY KEY, body TEXT NOT NULL, before BLOB NOT NULL, after BLOB NOT NULL,
    is_done INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, who TEXT NOT NULL, body TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_by_action ON audit (action, seq);
CREATE INDEX audit_by_who ON audit (who, seq);
"""
_APPEND_ONLY = ("proposals", "config_bytes", "config_history", "audit")
_REFUSE_CHANGES = """
CREATE TRIGGER {table}_never_updated BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
CREATE TRIGGER {table}_never_deleted BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
CREATE TRIGGER {table}_never_replaced BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key}) BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
"""
_KEYS = {"proposals": "n", "config_bytes": "digest", "config_history": "seq", "audit": "seq"}


class StoreError(RouterError):
    """The control store cannot be used now; nothing was changed in it."""


class Store:
    """One home's control store; made by the first write.

    Args:
        home: The home it lies in.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._home.control

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection | None]:
        """Yield a connection that sees one state of the store and cannot write; None where there is no store yet.

        Raises:
            StoreError: The store is unusable, or stays locked.
        """
        if not self.path.exists():
            yield None
            return
        try:
            with closing(self._connect()) as con:
                con.execute("PRAGMA query_only = ON")
                con.execute("BEGIN")
                yield con if _version(con) else None
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Yield a connection inside a transaction that holds the write lock.

        Raises:
            StoreError: The store is unusable, or stays locked.
            ConfigError: The home cannot be made.
        """
        self._home.create()
        try:
            with closing(self._connect()) as con:
                con.execute("BEGIN IMMEDIATE")
                try:
                    _ensure_schema(con)
                    yield con
                except BaseException:
                    con.execute("ROLLBACK")
                    raise
                con.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():
            # SQLite gives its side files the rights of the file itself
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        con = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            con.execute("PRAGMA journal_mode = WAL")
            # an intent must be on disk before the file is touched
            con.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            con.close()
            raise
        return con


@contextmanager
def locked(path: Path, *, patience_s: float = _LOCK_PATIENCE_S) -> Generator[bool]:
    """Yield whether the lock file could be locked within ``patience_s``; it is held until the end."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        won = _flock(descriptor, time.monotonic() + patience_s)
        try:
            yield won
        finally:
            if won:
                # said and not left to closing: a child forked meanwhile holds the descriptor too
                fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, deadline_s: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(_LOCK_POLL_S)
        else:
            return True


def _version(con: sqlite3.Connection) -> int:
    known = con.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'control_schema'").fetchone()
    if known is None:
        return 0
    (version,) = con.execute("SELECT max(version) FROM control_schema").fetchone()
    if version > STORE_VERSION:
        raise StoreError(
            f"the control store has schema {version}, this Tierwise knows {STORE_VERSION}; install the newer Tierwise"
        )
    return int(version)


def _ensure_schema(con: sqlite3.Connection) -> None:
    if _version(con):
        return
    text = _SCHEMA + "".join(_REFUSE_CHANGES.format(table=table, key=_KEYS[table]) for table in _APPEND_ONLY)
    # not executescript: that would commit the transaction first
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            con.execute(statement)
            statement = ""
    con.execute("INSERT INTO control_schema VALUES (?)", (STORE_VERSION,))


def _unusable(path: Path, error: sqlite3.Error) -> StoreError:
    return StoreError(f"the control store {path} cannot be used ({error}); nothing was changed in it, try again")
