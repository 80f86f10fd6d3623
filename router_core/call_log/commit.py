"""What one commit writes beside the rollups: new rows, what is in flight, and the ledger that makes it count once.

The writer's connection has the log attached as ``log`` and the batch staged in tables named ``stage_<name>``.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from router_core.call_log.schema import TABLES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_REPEATABLE: Final = {
    "attempt": "attempt_id IN (SELECT attempt_id FROM log.attempts)",
    "call": "call_id IN (SELECT call_id FROM log.calls)",
}
_ROW_KEYS: Final = {
    "attempt": ("attempt_id",),
    "call": ("call_id",),
    "outcome": ("call_id", "attempt_id", "source", "received_at", "correct", "error_nusd", "label_propensity"),
    "event": ("at", "worker", "event", "details"),
}


@dataclass(frozen=True, slots=True)
class Advance:
    """How far one segment gets with a batch, bytes."""

    start: int
    end: int
    lines: int


def drop_repeated(con: "DuckDBPyConnection", filled: set[str]) -> None:
    """Remove staged rows that are in the log already, and all but the first of equal ones among themselves."""
    for kind in filled & TABLES.keys():
        quoted = [f'"{key}"' for key in _ROW_KEYS[kind]]
        firsts = f"SELECT min(rowid) FROM stage_{kind} GROUP BY {', '.join(quoted)}"
        con.execute(f"DELETE FROM stage_{kind} WHERE rowid NOT IN ({firsts})")
        same = " AND ".join(f"old.{key} IS NOT DISTINCT FROM stage_{kind}.{key}" for key in quoted)
        is_known = _REPEATABLE.get(kind, f"EXISTS (SELECT 1 FROM log.{TABLES[kind]} AS old WHERE {same})")
        con.execute(f"DELETE FROM stage_{kind} WHERE {is_known}")


def insert(con: "DuckDBPyConnection", filled: set[str], now_us: int) -> Counter[str]:
    """Append the staged rows and bad lines to the log; return how many rows each table got."""
    rows: Counter[str] = Counter()
    for kind in filled & TABLES.keys():
        inserted = con.execute(f"INSERT INTO log.{TABLES[kind]} BY NAME SELECT * FROM stage_{kind}").fetchone()
        rows[TABLES[kind]] = int(inserted[0]) if inserted is not None else 0
    if "bad" in filled:
        con.execute("INSERT INTO log.quarantine SELECT *, make_timestamp(?) FROM stage_bad", [now_us])
    return rows


def update_pending(con: "DuckDBPyConnection", filled: set[str], settled: tuple[str, ...]) -> None:
    """Forget what has ended, remember what is in flight."""
    for kind, key in (("attempt", "attempt_id"), ("call", "call_id")):
        if kind in filled:
            con.execute(f"DELETE FROM log.pending_{kind}s WHERE {key} IN (SELECT {key} FROM stage_{kind})")
        if f"pending_{kind}" in filled:
            con.execute(f"INSERT INTO log.pending_{kind}s SELECT * FROM stage_pending_{kind}")
        if settled:
            con.execute(f"DELETE FROM log.pending_{kind}s WHERE worker IN (SELECT unnest(?))", [list(settled)])


def forget(con: "DuckDBPyConnection", segments: Collection[str]) -> None:
    """Drop segments that are no longer anywhere from the ledger."""
    con.execute("DELETE FROM log.ledger WHERE segment IN (SELECT unnest(?))", [list(segments)])


def record(con: "DuckDBPyConnection", advances: Mapping[str, Advance], now_us: int) -> None:
    """Move the ledger on, in the transaction that holds the rows."""
    for name, advance in advances.items():
        row = con.execute("DELETE FROM log.ledger WHERE segment = ? RETURNING lines", [name]).fetchone()
        lines = advance.lines + (int(row[0]) if row is not None else 0)
        con.execute("INSERT INTO log.ledger VALUES (?, ?, ?, make_timestamp(?))", [name, advance.end, lines, now_us])
    con.execute("DELETE FROM log.progress WHERE name = 'ingested'")
    con.execute("INSERT INTO log.progress VALUES ('ingested', make_timestamp(?))", [now_us])
