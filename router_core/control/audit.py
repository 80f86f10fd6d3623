"""The audit: every write that was tried, refused ones too, in rows that are only ever added.

Each row's hash is SHA-256 over the row before it and the row itself, so that a row that was changed, left out or put
in breaks the chain from there on.
"""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from router_core.control.bodies import canonical
from router_core.control.records import Actor, AuditRow

_FIRST: Final = "0" * 64
_LONGEST: Final = 2_000
_LONGEST_DIFF: Final = 100_000
BY_HAND: Final = Actor(name="by hand", role="viewer", auth="none")
"""Who is named for an edit that the file system does not sign."""


def append(con: sqlite3.Connection, row: AuditRow) -> AuditRow:
    """Add a row and return it with its number and hash; what it brought as such is not looked at."""
    last = con.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    seq, before = last or (0, _FIRST)
    row = replace(_shortened(row), seq=seq + 1, hash="")
    text = _text(row)
    row = replace(row, hash=_hash(before, text))
    con.execute(
        "INSERT INTO audit (seq, action, who, body, hash) VALUES (?, ?, ?, ?, ?)",
        (row.seq, row.action, row.who, text, row.hash),
    )
    return row


def make_row(
    actor: Actor,
    action: str,
    result: str,
    at_us: int,
    *,
    proposal_ids: Sequence[str] = (),
    reason: str | None = None,
    before: str | None = None,
    after: str | None = None,
    diff: str | None = None,
    detail: str | None = None,
) -> AuditRow:
    """Return a row to append; its fields are those of ``AuditRow``."""
    return AuditRow(
        seq=0,
        at_us=at_us,
        who=actor.name,
        role=actor.role,
        auth=actor.auth,
        action=action,
        result=result,
        proposal_ids=tuple(proposal_ids),
        reason=reason,
        before=before,
        after=after,
        diff=diff,
        detail=detail,
    )


def rows(
    con: sqlite3.Connection, *, limit: int, offset: int, action: str | None = None, who: str | None = None
) -> tuple[AuditRow, ...]:
    """Return audit rows, newest first, all or those of one action or one actor."""
    tests = [(column, value) for column, value in (("action", action), ("who", who)) if value is not None]
    where = "WHERE " + " AND ".join(f"{column} = ?" for column, _ in tests) if tests else ""
    query = f"SELECT body, hash FROM audit {where} ORDER BY seq DESC LIMIT ? OFFSET ?"
    return tuple(_row(*found) for found in con.execute(query, (*(value for _, value in tests), limit, offset)))


def verify(con: sqlite3.Connection) -> int | None:
    """Return the number of the first row that the chain does not vouch for; None when all is as it was written.

    Rows that are missing at the end are noticed by the counter that gave them their numbers.
    """
    before, expected = _FIRST, 1
    for seq, action, who, text, said in con.execute("SELECT seq, action, who, body, hash FROM audit ORDER BY seq"):
        if seq != expected or said != _hash(before, text) or _columns(text) != (seq, action, who):
            return expected
        before, expected = said, expected + 1
    given = con.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    return expected if given is not None and given[0] >= expected else None


def _columns(text: str) -> tuple[int, str, str]:
    body = json.loads(text)
    return body["seq"], body["action"], body["who"]


def _hash(before: str, text: str) -> str:
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()


def _text(row: AuditRow) -> str:
    body = asdict(row)
    del body["hash"]
    return canonical(body)


def _row(text: str, said: str) -> AuditRow:
    body: dict[str, Any] = json.loads(text)
    body["proposal_ids"] = tuple(body["proposal_ids"])
    return AuditRow(**body, hash=said)


def _shortened(row: AuditRow) -> AuditRow:
    return replace(
        row,
        who=storable(row.who, _LONGEST),
        reason=None if row.reason is None else storable(row.reason, _LONGEST),
        detail=None if row.detail is None else storable(row.detail, _LONGEST),
        diff=None if row.diff is None else storable(row.diff, _LONGEST_DIFF),
    )


def storable(text: str, longest: int = _LONGEST) -> str:
    """Return text that can be stored, cut where it is endless: an argument may carry bytes that are no text."""
    cut = text if len(text) <= longest else f"{text[:longest]}\n… cut here"
    return cut.encode("utf-8", "backslashreplace").decode()
