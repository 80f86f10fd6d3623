"""Small files of the outcomes format, valid by default."""

from pathlib import Path
from typing import Any

import duckdb

COLUMNS = {
    "dataset": "VARCHAR",
    "query_id": "VARCHAR",
    "payload_type": "VARCHAR",
    "model": "VARCHAR",
    "correct": "DOUBLE",
    "cost_usd": "DOUBLE",
    "prompt_tokens": "BIGINT",
    "completion_tokens": "BIGINT",
    "latency_s": "DOUBLE",
    "confidence": "DOUBLE",
}
MODELS = ("small", "large")


def make_row(**values: Any) -> dict[str, Any]:
    """Return one good row."""
    return {
        "dataset": "bench",
        "query_id": "q1",
        "payload_type": "task",
        "model": "small",
        "correct": 1.0,
        "cost_usd": 0.001,
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "latency_s": 0.5,
        "confidence": None,
        **values,
    }


def make_rows(queries: int = 3) -> list[dict[str, Any]]:
    """Return a row per query and model; the large model costs ten times as much and is always right."""
    return [
        make_row(
            query_id=f"q{i}",
            model=model,
            correct=1.0 if model == "large" else float(i % 2),
            cost_usd=0.001 if model == "small" else 0.01,
        )
        for i in range(queries)
        for model in MODELS
    ]


def write_outcomes(path: Path, rows: list[dict[str, Any]], **types: str) -> Path:
    """Write rows as Parquet, CSV or JSON lines, by the path's ending, and return the path.

    Args:
        path: Where.
        rows: What; keys beyond the format's columns become columns too.
        types: DuckDB types of columns that are not as usual.
    """
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(COLUMNS)
    kinds = {name: types.get(name, COLUMNS.get(name, "VARCHAR")) for name in names}
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t ({', '.join(f'{name} {kind}' for name, kind in kinds.items())})")
        for row in rows:
            con.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(names))})", [row.get(name) for name in names])
        form = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json"}[path.suffix]
        con.execute(f"COPY t TO '{path}' (FORMAT {form})")
    return path
