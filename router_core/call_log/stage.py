"""Lines into typed tables of an in-memory database, away from the log's lock; lines that do not fit are set aside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import orjson

from router_core.call_log.lines import INSTANTS, Batch, Row, type_problem
from router_core.call_log.schema import LINE_COLUMNS

_PENDING_ATTEMPT = {"attempt_id": "VARCHAR", "worker": "VARCHAR", "facts": "JSON"}
_PENDING_CALL = {"call_id": "VARCHAR", "worker": "VARCHAR", "rank": "INTEGER", "facts": "JSON"}
_BAD = {"segment": "VARCHAR", "offset": "BIGINT", "raw": "VARCHAR", "reason": "VARCHAR"}
# an instant outside of the years that can be shown would break whoever reads it
_INSTANT = f"""CASE WHEN "{{column}}" NOT BETWEEN {INSTANTS.start} AND {INSTANTS.stop - 1}
    THEN error('{{column}} is not within the years 1 to 9999') ELSE make_timestamp("{{column}}") END"""


class Stage:
    """Tables ``stage_<kind>`` per kind of line, ``stage_bad``, ``stage_pending_attempt`` and ``stage_pending_call``.

    Args:
        con: An in-memory connection.
        folder: Where chunk files may be written; they are overwritten batch by batch.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._con = con
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def load(self, batch: Batch) -> set[str]:
        """Fill the tables with a batch; return which of them hold anything (``attempt``, ``call``, ..., ``bad``)."""
        filled = {kind for kind, rows in batch.rows.items() if self._load_kind(kind, rows, batch)}
        rest: dict[str, tuple[Mapping[str, str], Sequence[Any]]] = {
            "pending_attempt": (_PENDING_ATTEMPT, batch.open_attempts()),
            "pending_call": (_PENDING_CALL, batch.open_calls()),
            "bad": (_BAD, batch.bad),
        }
        for name, (columns, records) in rest.items():
            if records:
                self._load_table(name, columns, [orjson.dumps(record) for record in records])
                filled.add(name)
        return filled

    def _load_kind(self, kind: str, rows: list[Row], batch: Batch) -> bool:
        if not rows:
            return False
        try:
            self._load_table(kind, LINE_COLUMNS[kind], [row.data for row in rows])
            return True
        except duckdb.Error:
            # most of these are refused: asked about apart from the others, they are found in fewer steps
            suspects = {row for row in rows if type_problem(kind, row.data) is not None}
            usable = self._loadable(kind, [row for row in rows if row in suspects], batch)
            usable += self._loadable(kind, [row for row in rows if row not in suspects], batch)
            taken = set(usable)
            rows[:] = [row for row in rows if row in taken]
        if rows:
            self._load_table(kind, LINE_COLUMNS[kind], [row.data for row in rows])
        return bool(rows)

    def _loadable(self, kind: str, rows: list[Row], batch: Batch) -> list[Row]:
        """Return the rows that DuckDB takes, found by halving; refuse the others, with the reason."""
        if not rows:
            return []
        try:
            self._load_table(kind, LINE_COLUMNS[kind], [row.data for row in rows])
            return rows
        except duckdb.Error as error:
            if len(rows) == 1:
                batch.refuse(rows[0], type_problem(kind, rows[0].data) or str(error).splitlines()[0][:300])
                return []
        half = len(rows) // 2
        return self._loadable(kind, rows[:half], batch) + self._loadable(kind, rows[half:], batch)

    def _load_table(self, name: str, columns: Mapping[str, str], lines: Sequence[bytes]) -> None:
        path = self._folder / f"{name}.jsonl"
        path.write_bytes(b"\n".join(lines))
        # instants are integers in the lines; read_json would not take them as TIMESTAMP
        read = {column: "BIGINT" if kind == "TIMESTAMP" else kind for column, kind in columns.items()}
        selected = [
            f'{_INSTANT.format(column=column)} AS "{column}"' if kind == "TIMESTAMP" else f'"{column}"'
            for column, kind in columns.items()
        ]
        self._con.execute(
            f"""CREATE OR REPLACE TEMP TABLE stage_{name} AS SELECT {", ".join(selected)}
                FROM read_json(?, format = 'newline_delimited', columns = {_struct(read)},
                               maximum_object_size = 33554432)""",
            [str(path)],
        )


def _struct(columns: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"'{column}': '{kind}'" for column, kind in columns.items()) + "}"
