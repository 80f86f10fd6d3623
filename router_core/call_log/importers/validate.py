"""The ``outcomes`` schema: what a row must look like, and what is wrong with the rows that do not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from router_core.call_log.importers.source import unreadable_source
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TEXT_COLUMNS: Final = ("dataset", "query_id", "payload_type", "model")
NUMBER_COLUMNS: Final = (
    "correct",
    "cost_usd",
    "prompt_tokens",
    "completion_tokens",
    "latency_s",
    "confidence",
)
OUTCOME_FILE_COLUMNS: Final = TEXT_COLUMNS + NUMBER_COLUMNS
_TEXT_TYPES = ("VARCHAR", "ENUM", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UINTEGER", "UBIGINT", "UUID")
_NUMBER_TYPES = (
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
)
# what a row may not be, in the order it is reported; each row counts once, under its first reason
_VALUE_RULES: Final = (
    *((f"{name} is empty", f"coalesce({name}, '') = ''") for name in TEXT_COLUMNS),
    *((f"{name} is not a number", f"{name}_unread OR isnan({name}) OR isinf({name})") for name in NUMBER_COLUMNS),
    ("correct is outside 0..1", "correct < 0 OR correct > 1"),
    ("confidence is outside 0..1", "confidence < 0 OR confidence > 1"),
    *((f"{name} is negative", f"{name} < 0") for name in NUMBER_COLUMNS[1:5]),
    # above these, nano-dollars, microseconds and counts no longer fit 64 bits; no single request comes near
    ("cost_usd is above 1,000,000", "cost_usd > 1e6"),
    ("latency_s is above a year", "latency_s > 31536000"),
    *((f"{name} is above 10 billion", f"{name} > 1e10") for name in ("prompt_tokens", "completion_tokens")),
    ("same dataset, query_id and model as an earlier row", "twin > 1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRows:
    """Rows that break one rule.

    Attributes:
        reason: What they break, in words.
        rows: How many.
        first_row: 1-based position of the first one in the file (header not counted).
    """

    reason: str
    rows: int
    first_row: int


def check_columns(path: Path, columns: Mapping[str, str]) -> None:
    """Check that every column of the schema is there, under its name.

    Raises:
        ConfigError: Columns are missing.
    """
    missing = [name for name in OUTCOME_FILE_COLUMNS if name not in columns]
    if missing:
        message = (
            f"missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; the outcomes format needs "
            f"{', '.join(OUTCOME_FILE_COLUMNS)} (empty where unknown); this file has {', '.join(columns) or 'none'}"
        )
        raise ConfigError(str(path), [Problem(path="", message=message)])


def stage(con: "DuckDBPyConnection", path: Path, columns: Mapping[str, str], *, as_text: bool) -> tuple[BadRows, ...]:
    """Read the view ``source`` into the table ``staged`` and return what is wrong with its rows, by reason.

    ``staged`` has one row per source row: ``row_no``, the schema's columns (text, or DOUBLE), ``extra`` (JSON of all
    other columns that hold something) and ``reason`` (NULL for a good row).

    Args:
        con: The connection that has the view.
        path: The file, for messages.
        columns: Its columns with their types.
        as_text: Whether all columns come as text (CSV), so that numbers are still to be read.

    Raises:
        ConfigError: Column types are wrong, the file breaks while it is read, it has no row, or one query has two
            payload types.
    """
    import duckdb

    try:
        _check_types(con, path, columns, as_text=as_text)
        con.execute(_staging_sql(columns))
        _check_whole(con, path)
    except duckdb.Error as error:
        raise unreadable_source(path, error) from error
    rows = con.execute(
        "SELECT reason, count(*), min(row_no) FROM staged WHERE reason IS NOT NULL GROUP BY reason ORDER BY min(row_no)"
    ).fetchall()
    return tuple(BadRows(reason=str(reason), rows=int(n), first_row=int(first)) for reason, n, first in rows)


def _check_types(con: "DuckDBPyConnection", path: Path, columns: Mapping[str, str], *, as_text: bool) -> None:
    problems: list[Problem] = []
    for name in OUTCOME_FILE_COLUMNS:
        allowed = _TEXT_TYPES if name in TEXT_COLUMNS else _NUMBER_TYPES
        kind = columns[name]
        if kind.startswith(allowed) or (as_text and kind == "VARCHAR"):
            continue
        found = con.execute(f"SELECT count({name}) FROM source").fetchone()
        if found is not None and found[0]:
            wanted = "text" if name in TEXT_COLUMNS else "numbers"
            problems.append(Problem(path=name, message=f"holds {kind}, expected {wanted}; convert the column"))
    if problems:
        raise ConfigError(str(path), problems)


def _staging_sql(columns: Mapping[str, str]) -> str:
    others = [name for name in columns if name not in OUTCOME_FILE_COLUMNS]
    pairs = ", ".join(f"{_literal(name)}, {_quoted(name)}" for name in others)
    extra = f"nullif(json_merge_patch('{{}}', json_object({pairs}))::VARCHAR, '{{}}')::JSON" if others else "NULL::JSON"
    texts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in TEXT_COLUMNS)
    numbers = ", ".join(
        f"TRY_CAST({name} AS DOUBLE) AS {name}, "
        f"{name} IS NOT NULL AND TRY_CAST({name} AS DOUBLE) IS NULL AS {name}_unread"
        for name in NUMBER_COLUMNS
    )
    cases = " ".join(f"WHEN {rule} THEN {_literal(reason)}" for reason, rule in _VALUE_RULES)
    unread = ", ".join(f"{name}_unread" for name in NUMBER_COLUMNS)
    return f"""
        CREATE TABLE staged AS
        WITH typed AS (SELECT row_number() OVER () AS row_no, {texts}, {numbers}, {extra} AS extra FROM source),
        twins AS (
            SELECT *, row_number() OVER (PARTITION BY dataset, query_id, model ORDER BY row_no) AS twin FROM typed
        )
        SELECT * EXCLUDE ({unread}, twin), CASE {cases} END AS reason FROM twins
    """


def _check_whole(con: "DuckDBPyConnection", path: Path) -> None:
    counted = con.execute("SELECT count(*) FROM staged").fetchone()
    if counted is None or not counted[0]:
        raise ConfigError(str(path), [Problem(path="", message="has columns but no row; export it again")])
    split = con.execute(
        "SELECT dataset, query_id, string_agg(DISTINCT payload_type, ', ' ORDER BY payload_type) FROM staged"
        " WHERE reason IS NULL GROUP BY dataset, query_id HAVING count(DISTINCT payload_type) > 1"
        " ORDER BY dataset, query_id"
    ).fetchall()
    if split:
        dataset, query, types = split[0]
        message = (
            f"queries with more than one payload type: {len(split):,} (first: {dataset} {query}: {types}); "
            "one query is one call: give it one payload type, or tell the queries apart by query_id"
        )
        raise ConfigError(str(path), [Problem(path="payload_type", message=message)])


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
