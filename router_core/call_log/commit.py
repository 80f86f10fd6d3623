"""What one commit writes beside the rollups: new rows, what is in flight, and the ledger that makes it count once.

The writer's connection has the log attached as ``log`` and the batch staged in tables named ``stage_<name>``.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from router_core.call_log.lookup import Question
from router_core.call_log.schema import LINE_COLUMNS, TABLES
from router_core.call_log.segments import IMPORT_PREFIX

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROW_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "attempt": ("attempt_id",),
    "call": ("call_id",),
    "outcome": ("call_id", "attempt_id", "source", "received_at", "correct", "error_nusd", "label_propensity"),
    "event": ("at", "worker", "event", "details"),
}
# rows that may be the same as a staged one have this column's value of it
_FOUND_BY: Final = {"attempt": "attempt_id", "call": "call_id", "outcome": "call_id", "event": "at"}


@dataclass(frozen=True, slots=True)
class Advance:
    """How far one segment gets with a batch, bytes."""

    start: int
    end: int
    lines: int


def drop_twins(con: "DuckDBPyConnection", filled: set[str]) -> list[Question]:
    """Remove all but the first of equal staged rows; return what to ask the log, whose answers ``drop_known`` takes."""
    kinds = _row_kinds(filled)
    for kind in kinds:
        keys = ", ".join(f'"{key}"' for key in _ROW_KEYS[kind])
        firsts = f"SELECT min(rowid) FROM stage_{kind} GROUP BY {keys}"
        con.execute(f"DELETE FROM stage_{kind} WHERE rowid NOT IN ({firsts})")
    return [_rows_like(con, kind) for kind in kinds]


def drop_known(con: "DuckDBPyConnection", filled: set[str], answers: Sequence[Sequence[Sequence[Any]]]) -> None:
    """Remove staged rows that are in the log already, as its answers to ``drop_twins`` say."""
    for kind, rows in zip(_row_kinds(filled), answers, strict=True):
        if rows:
            _drop_known(con, kind, [list(column) for column in zip(*rows, strict=True)])


def _row_kinds(filled: set[str]) -> list[str]:
    return sorted(filled & TABLES.keys())


def _rows_like(con: "DuckDBPyConnection", kind: str) -> Question:
    """Return the question for the keys of all rows in the log that may be the same as a staged one."""
    types, column = LINE_COLUMNS[kind], _FOUND_BY[kind]
    staged = con.execute(f"SELECT DISTINCT {_plain(column, types[column])} FROM stage_{kind}").fetchall()
    keys = ", ".join(_plain(key, types[key]) for key in _ROW_KEYS[kind])
    query = f"""SELECT DISTINCT {keys} FROM log.{TABLES[kind]}
        WHERE {_plain(column, types[column])} IN (SELECT unnest(?)) OR "{column}" IS NULL"""
    return Question(query, ([value for (value,) in staged if value is not None],))


def _drop_known(con: "DuckDBPyConnection", kind: str, columns: list[list[Any]]) -> None:
    types = {key: LINE_COLUMNS[kind][key] for key in _ROW_KEYS[kind]}
    values = ", ".join(f'unnest(?::{_plain_type(column)}[]) AS "{key}"' for key, column in types.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE known AS SELECT {values}", columns)
    same = " AND ".join(
        f'known."{key}" IS NOT DISTINCT FROM {_plain(key, column, f"stage_{kind}")}' for key, column in types.items()
    )
    con.execute(f"DELETE FROM stage_{kind} WHERE EXISTS (SELECT 1 FROM known WHERE {same})")


def _plain(name: str, column: str, table: str = "") -> str:
    """Return the SQL of a column as text or number, as which it goes from one process to another."""
    quoted = f'{table}."{name}"' if table else f'"{name}"'
    if column == "TIMESTAMP":
        return f"epoch_us({quoted})"
    return f"CAST({quoted} AS VARCHAR)" if column == "JSON" else quoted


def _plain_type(column: str) -> str:
    return {"TIMESTAMP": "BIGINT", "JSON": "VARCHAR"}.get(column, column)


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
    """Drop segments that are no longer anywhere from the ledger, and remember how much that was."""
    names = [list(segments)]
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE forgotten AS
            SELECT is_import, sum(segments) AS segments, sum(lines) AS lines, min(first_at) AS first_at,
                   max(last_at) AS last_at
            FROM (FROM log.forgotten_segments UNION ALL BY NAME
                  SELECT starts_with(segment, '{IMPORT_PREFIX}') AS is_import, 1 AS segments, lines,
                         ledger.at AS first_at, ledger.at AS last_at
                  FROM log.ledger WHERE segment IN (SELECT unnest(?)))
            GROUP BY is_import""",
        names,
    )
    con.execute("BEGIN")
    con.execute("DELETE FROM log.forgotten_segments")
    con.execute("INSERT INTO log.forgotten_segments BY NAME FROM forgotten")
    con.execute("DELETE FROM log.ledger WHERE segment IN (SELECT unnest(?))", names)
    con.execute("COMMIT")


def record(con: "DuckDBPyConnection", advances: Mapping[str, Advance], now_us: int) -> None:
    """Move the ledger on, in the transaction that holds the rows."""
    for name, advance in advances.items():
        row = con.execute("DELETE FROM log.ledger WHERE segment = ? RETURNING lines", [name]).fetchone()
        lines = advance.lines + (int(row[0]) if row is not None else 0)
        con.execute("INSERT INTO log.ledger VALUES (?, ?, ?, make_timestamp(?))", [name, advance.end, lines, now_us])
    con.execute("DELETE FROM log.progress WHERE name = 'ingested'")
    con.execute("INSERT INTO log.progress VALUES ('ingested', make_timestamp(?))", [now_us])
