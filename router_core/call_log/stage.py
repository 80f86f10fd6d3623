"""Lines into typed tables of an in-memory database, away from the log's lock; lines that do not fit are set aside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import orjson

from router_core.call_log.lines import INSTANTS, Batch, OddValue, Row, odd_values
from router_core.call_log.schema import LIMITS, LINE_COLUMNS

_PENDING_ATTEMPT = {"attempt_id": "VARCHAR", "worker": "VARCHAR", "facts": "JSON"}
_PENDING_CALL = {"call_id": "VARCHAR", "worker": "VARCHAR", "rank": "INTEGER", "facts": "JSON"}
_BAD = {"segment": "VARCHAR", "offset": "BIGINT", "raw": "VARCHAR", "reason": "VARCHAR"}
# an instant outside of the years that can be shown would break whoever reads it
_LIMITED = """CASE WHEN "{column}" NOT BETWEEN {least} AND {most} THEN error('{column} is beyond its limits')
    ELSE "{column}" END"""
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
            rows[:] = self._loadable(kind, self._plausible(kind, rows, batch), batch)
        if rows:
            self._load_table(kind, LINE_COLUMNS[kind], [row.data for row in rows])
        return bool(rows)

    def _plausible(self, kind: str, rows: list[Row], batch: Batch) -> list[Row]:
        """Refuse the rows with a value that DuckDB cannot make its column's; a whole batch of them is soon told."""
        odd = [(row, value) for row in rows for value in odd_values(kind, row.data)]
        refused: set[Row] = set()
        for (row, value), is_taken in zip(odd, self._are_taken([value for _, value in odd]), strict=True):
            if not is_taken and row not in refused:
                refused.add(row)
                batch.refuse(row, str(value))
        return [row for row in rows if row not in refused]

    def _are_taken(self, values: Sequence[OddValue]) -> list[bool]:
        """Return for each value whether DuckDB makes one of its column's type of it."""
        taken = dict.fromkeys(range(len(values)), False)
        for column, limits in {(value.column, _limits(value.name, value.column)) for value in values}:
            read = "BIGINT" if column == "TIMESTAMP" else column
            test = f"BETWEEN {limits[0]} AND {limits[-1]}" if limits else "IS NOT NULL"
            places = [
                place
                for place, value in enumerate(values)
                if (value.column, _limits(value.name, value.column)) == (column, limits)
            ]
            texts = [orjson.dumps({"x": values[place].value}).decode() for place in places]
            answers = self._con.execute(
                f"""SELECT TRY(json_transform_strict(text::JSON, '{{"x": "{read}"}}')).x {test}
                    FROM (SELECT unnest(?) AS text)""",
                [texts],
            ).fetchall()
            taken |= {place: bool(answer[0]) for place, answer in zip(places, answers, strict=True)}
        return [taken[place] for place in range(len(values))]

    def _loadable(self, kind: str, rows: list[Row], batch: Batch) -> list[Row]:
        """Return the rows that DuckDB takes, found by halving; refuse the others, with the reason."""
        if not rows:
            return []
        try:
            self._load_table(kind, LINE_COLUMNS[kind], [row.data for row in rows])
            return rows
        except duckdb.Error as error:
            if len(rows) == 1:
                batch.refuse(rows[0], _reason(kind, rows[0], error))
                return []
        half = len(rows) // 2
        return self._loadable(kind, rows[:half], batch) + self._loadable(kind, rows[half:], batch)

    def _load_table(self, name: str, columns: Mapping[str, str], lines: Sequence[bytes]) -> None:
        path = self._folder / f"{name}.jsonl"
        path.touch(mode=0o600)
        path.write_bytes(b"\n".join(lines))
        # instants are integers in the lines; read_json would not take them as TIMESTAMP
        read = {column: "BIGINT" if kind == "TIMESTAMP" else kind for column, kind in columns.items()}
        selected = [f'{_checked(column, kind)} AS "{column}"' for column, kind in columns.items()]
        self._con.execute(
            f"""CREATE OR REPLACE TEMP TABLE stage_{name} AS SELECT {", ".join(selected)}
                FROM read_json(?, format = 'newline_delimited', columns = {_struct(read)},
                               maximum_object_size = 33554432)""",
            [str(path)],
        )


def _limits(name: str, column: str) -> range | None:
    """Return what a column's numbers may be; None = whatever its type takes."""
    return INSTANTS if column == "TIMESTAMP" else LIMITS.get(name)


def _checked(name: str, column: str) -> str:
    """Return the SQL that reads a column, and fails where a value is beyond its limits."""
    if column == "TIMESTAMP":
        return _INSTANT.format(column=name)
    limits = LIMITS.get(name)
    return _LIMITED.format(column=name, least=limits[0], most=limits[-1]) if limits else f'"{name}"'


def _reason(kind: str, row: Row, error: duckdb.Error) -> str:
    odd = odd_values(kind, row.data)
    return str(odd[0]) if odd else str(error).splitlines()[0][:300]


def _struct(columns: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"'{column}': '{kind}'" for column, kind in columns.items()) + "}"
