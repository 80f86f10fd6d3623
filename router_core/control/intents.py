"""What is about to happen to the config file, written down before it happens: a crash leaves either it or nothing."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from router_core.control.bodies import canonical
from router_core.control.records import Actor
from router_core.control.swap import Swap

ConfigAction = Literal["apply", "undo", "rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One change of the config file.

    Attributes:
        action: What it is.
        actor: Who asked for it.
        reason: Why.
        at_us: When.
        proposal_ids: Proposals it applies, or takes back.
        ref_seq: Of undo and rollback: the version it is about.
        diff: The change as a unified diff.
        swap: Names of the files it uses.
        before: Bytes that the file has.
        after: Bytes that it is to have.
        is_done: Whether it is in history, and only files are left to be tidied up.
    """

    action: ConfigAction
    actor: Actor
    reason: str
    at_us: int
    proposal_ids: tuple[str, ...]
    ref_seq: int | None
    diff: str
    swap: Swap
    before: bytes
    after: bytes
    is_done: bool = False


def write(con: sqlite3.Connection, config: str, intent: Intent) -> None:
    """Write an intent down; there is one at a time."""
    body = {
        "action": intent.action,
        "actor": asdict(intent.actor),
        "reason": intent.reason,
        "at_us": intent.at_us,
        "proposal_ids": intent.proposal_ids,
        "ref_seq": intent.ref_seq,
        "diff": intent.diff,
        "swap": intent.swap.names(),
    }
    con.execute(
        "INSERT INTO config_intents (config, body, before, after) VALUES (?, ?, ?, ?)",
        (config, canonical(body), intent.before, intent.after),
    )


def pending(con: sqlite3.Connection, config: str) -> Intent | None:
    """Return the intent that is not carried out, or not tidied up after; None when all is well."""
    query = "SELECT body, before, after, is_done FROM config_intents WHERE config = ?"
    row = con.execute(query, (config,)).fetchone()
    if row is None:
        return None
    body: Mapping[str, Any] = json.loads(row[0])
    return Intent(
        action=body["action"],
        actor=Actor(**body["actor"]),
        reason=body["reason"],
        at_us=body["at_us"],
        proposal_ids=tuple(body["proposal_ids"]),
        ref_seq=body["ref_seq"],
        diff=body["diff"],
        swap=Swap(**body["swap"]),
        before=bytes(row[1]),
        after=bytes(row[2]),
        is_done=bool(row[3]),
    )


def unfinished(con: sqlite3.Connection) -> int:
    """Return how many changes of config files were begun and not finished, over all configs of the home."""
    (count,) = con.execute("SELECT count(*) FROM config_intents WHERE NOT is_done").fetchone()
    return count


def mark_done(con: sqlite3.Connection, config: str) -> None:
    """Note that the change is in history."""
    con.execute("UPDATE config_intents SET is_done = 1 WHERE config = ?", (config,))


def forget(con: sqlite3.Connection, config: str) -> None:
    """Take the intent out."""
    con.execute("DELETE FROM config_intents WHERE config = ?", (config,))
