"""Versions of the routing config in the order in which they were first seen, each with its bytes, never changed."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Final

from router_core.call_log.home import Home
from router_core.config.model import HASH_DIGITS
from router_core.control.records import ChangeKind, ConfigVersion
from router_core.errors import ConfigError, Problem

_COLUMNS: Final = "seq, version, since_us, kind, who, reason, proposal_ids, digest, before_digest, ref_seq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A version as the store keeps it.

    Attributes:
        shown: What pages are told of it.
        digest: SHA-256 of its bytes, hex; ``shown.version`` is how it begins.
        before_digest: Of the version that an automatic change replaced.
        ref_seq: Of an undo or rollback: the version it is about.
    """

    shown: ConfigVersion
    digest: str
    before_digest: str | None
    ref_seq: int | None


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of bytes, hex; a ``config_version`` is how it begins."""
    return hashlib.sha256(data).hexdigest()


def version_of(digest: str) -> str:
    """Return the ``config_version`` that belongs to a digest."""
    return digest[:HASH_DIGITS]


def config_key(home: Home, config: Path) -> str:
    """Return what names a config file in its home's store: where it lies as seen from the home.

    One home may serve several configs; each has a history of its own. The two may be moved together.
    """
    return os.path.relpath(config.absolute().parent.resolve() / config.name, home.root.resolve())


def latest(con: sqlite3.Connection, config: str) -> Kept | None:
    """Return the newest version of a config."""
    query = f"SELECT {_COLUMNS} FROM config_history WHERE config = ? ORDER BY seq DESC LIMIT 1"
    row = con.execute(query, (config,)).fetchone()
    return None if row is None else _kept(row)


def listed(con: sqlite3.Connection, config: str, *, limit: int, offset: int) -> tuple[ConfigVersion, ...]:
    """Return versions of a config, newest first."""
    query = f"SELECT {_COLUMNS} FROM config_history WHERE config = ? ORDER BY seq DESC LIMIT ? OFFSET ?"
    return tuple(_kept(row).shown for row in con.execute(query, (config, limit, offset)))


def find(con: sqlite3.Connection | None, config: str, seq: int) -> Kept:
    """Return one version of a config.

    Raises:
        ConfigError: There is none of that number.
    """
    row = None
    if con is not None and abs(seq) < 1 << 62:
        query = f"SELECT {_COLUMNS} FROM config_history WHERE config = ? AND seq = ?"
        row = con.execute(query, (config, seq)).fetchone()
    if row is None:
        message = f"there is no version {seq} of this config; list them with: tierwise history"
        raise ConfigError("history", [Problem(path="seq", message=message)])
    return _kept(row)


def about(con: sqlite3.Connection, seq: int, kind: ChangeKind) -> Kept | None:
    """Return the newest undo or rollback that is about a version."""
    query = f"SELECT {_COLUMNS} FROM config_history WHERE ref_seq = ? AND kind = ? ORDER BY seq DESC LIMIT 1"
    row = con.execute(query, (seq, kind)).fetchone()
    return None if row is None else _kept(row)


def bytes_of(con: sqlite3.Connection, digest: str) -> bytes:
    """Return the bytes of a version."""
    (data,) = con.execute("SELECT data FROM config_bytes WHERE digest = ?", (digest,)).fetchone()
    return bytes(data)


def bytes_of_version(con: sqlite3.Connection | None, version: str) -> bytes:
    """Return the bytes of a ``config_version``.

    Raises:
        ConfigError: History has none of that name.
    """
    row = None
    if con is not None:
        query = "SELECT digest FROM config_history WHERE version = ? ORDER BY seq DESC LIMIT 1"
        row = con.execute(query, (version,)).fetchone()
    if con is None or row is None:
        message = f"history has no version {version}"
        raise ConfigError("history", [Problem(path="version", message=message)])
    return bytes_of(con, row[0])


def knows(con: sqlite3.Connection, config: str, digest: str) -> bool:
    """Return whether a version of these bytes is in a config's history."""
    query = "SELECT 1 FROM config_history WHERE version = ? AND digest = ? AND config = ?"
    return con.execute(query, (version_of(digest), digest, config)).fetchone() is not None


def knows_bytes(con: sqlite3.Connection, digest: str) -> bool:
    """Return whether history keeps these bytes."""
    return con.execute("SELECT 1 FROM config_bytes WHERE digest = ?", (digest,)).fetchone() is not None


def add(
    con: sqlite3.Connection,
    config: str,
    data: bytes,
    *,
    since_us: int,
    kind: ChangeKind,
    who: str | None = None,
    reason: str | None = None,
    proposal_ids: Sequence[str] = (),
    before_digest: str | None = None,
    ref_seq: int | None = None,
) -> Kept:
    """Give a version its number and keep its bytes."""
    digest = digest_of(data)
    if not knows_bytes(con, digest):
        con.execute("INSERT INTO config_bytes (digest, data) VALUES (?, ?)", (digest, data))
    row = (
        config,
        version_of(digest),
        digest,
        since_us,
        kind,
        who,
        reason,
        json.dumps(list(proposal_ids)),
        before_digest,
        ref_seq,
    )
    seq = con.execute(
        "INSERT INTO config_history (config, version, digest, since_us, kind, who, reason, proposal_ids, "
        "before_digest, ref_seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    ).lastrowid
    return find(con, config, seq or 0)


def text_diff(before: bytes, after: bytes, *, source: str = "routing.yaml", names: tuple[str, str] = ("", "")) -> str:
    """Return the unified diff of two texts, empty when they are the same bytes; bytes that are no text are escaped."""
    if before == after:
        return ""
    lines = unified_diff(
        _lines(before), _lines(after), f"{source} {names[0]}".rstrip(), f"{source} {names[1]}".rstrip(), n=3
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(data: bytes) -> list[str]:
    # a carriage return stays in its line: a change of line ends is a change
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    return [f"{line}\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def _kept(row: tuple[int, str, int, ChangeKind, str | None, str | None, str, str, str | None, int | None]) -> Kept:
    seq, version, since_us, kind, who, reason, proposal_ids, digest, before_digest, ref_seq = row
    shown = ConfigVersion(
        seq=seq,
        version=version,
        since_us=since_us,
        kind=kind,
        by=who,
        reason=reason,
        proposal_ids=tuple(json.loads(proposal_ids)),
    )
    return Kept(shown=shown, digest=digest, before_digest=before_digest, ref_seq=ref_seq)
