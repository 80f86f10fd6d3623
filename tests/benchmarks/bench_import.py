"""What imports and exports of 100,000 rows cost, per format: wall time and memory. Never fails on time."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from tests.import_process import import_measured
from tests.log_sources import (
    NEW_NAMES,
    fetch,
    helicone_row,
    langfuse_row,
    otlp_line,
    payload_row,
    span,
    spend_row,
    table_row,
    write_csv,
    write_jsonl,
)
from tests.outcome_files import make_rows, write_outcomes

pytestmark = pytest.mark.bench

ROWS = 100_000
STEP_S = 40
USAGE = {"prompt_tokens_details": {"cached_tokens": 800}, "completion_tokens_details": {"reasoning_tokens": 40}}


def _many(make: Callable[..., dict[str, Any]], **columns: Any) -> list[dict[str, Any]]:
    return [make(n * STEP_S, **columns) for n in range(ROWS)]


def _spans() -> list[dict[str, Any]]:
    return [otlp_line(*(span(n * STEP_S + i, NEW_NAMES) for i in range(10))) for n in range(ROWS // 10)]


def _parquet(path: Path) -> Path:
    import duckdb

    source = write_csv(path.with_suffix(".src"), _many(table_row))
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT * FROM read_csv('{source}')) TO '{path}' (FORMAT parquet)")
    source.unlink()
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "litellm-spend, CSV": lambda f: write_csv(f / "x.csv", _many(spend_row, usage=USAGE)),
    "litellm-payload, JSON lines": lambda f: write_jsonl(f / "x.jsonl", _many(payload_row, usage=USAGE)),
    "langfuse, JSON lines": lambda f: write_jsonl(f / "x.jsonl", _many(langfuse_row)),
    "langfuse, CSV": lambda f: write_csv(f / "x.csv", _many(langfuse_row)),
    "helicone, JSON lines": lambda f: write_jsonl(f / "x.jsonl", _many(helicone_row)),
    "otel, JSON lines": lambda f: write_jsonl(f / "x.jsonl", _spans()),
    "table, CSV": lambda f: write_csv(f / "x.csv", _many(table_row)),
    "table, gzip": lambda f: write_jsonl(f / "x.jsonl.gz", _many(table_row)),
    "table, Parquet": lambda f: _parquet(f / "x.parquet"),
}


def _show(measure: str, target: str, *figures: str) -> None:
    print(f"  {measure:<44} {target:<20} {' / '.join(figures)}")


@pytest.fixture(autouse=True, scope="module")
def _heading() -> None:
    print()
    _show("import of 100,000 rows: s, peak MiB, log MiB", "10 / - / -", "again, s")


@pytest.mark.parametrize("name", FILES)
def test_import(tmp_path: Path, name: str) -> None:
    file = FILES[name](tmp_path)
    home = Home(tmp_path / "home")
    taken: list[float] = []
    peak_mib = 0
    for _ in range(2):
        before = time.perf_counter()
        code, said, peak = import_measured(tmp_path, file)
        taken.append(time.perf_counter() - before)
        peak_mib = max(peak_mib, peak)
        assert code == 0, said
    assert fetch(home, "SELECT count(*) FROM attempts") == [(ROWS,)]
    size = home.log.stat().st_size / (1 << 20)
    _show(name, "10 / - / -", f"{taken[0]:.1f}", f"{peak_mib}", f"{size:.0f}", f"{taken[1]:.1f}")


def test_evaluation(tmp_path: Path) -> None:
    file = write_outcomes_quickly(tmp_path / "outcomes.parquet")
    before = time.perf_counter()
    code, said, peak_mib = import_measured(tmp_path, file)
    assert code == 0, said
    _show("outcomes, Parquet", "10 / -", f"{time.perf_counter() - before:.1f}", f"{peak_mib}")


def write_outcomes_quickly(path: Path) -> Path:
    import duckdb

    small = write_outcomes(path.with_suffix(".small.parquet"), make_rows(1))
    with duckdb.connect() as con:
        con.execute(
            f"""COPY (SELECT * REPLACE ('q' || i AS query_id) FROM read_parquet('{small}'), range({ROWS // 2}) AS t(i))
                TO '{path}' (FORMAT parquet)"""
        )
    small.unlink()
    return path


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_export_and_back(tmp_path: Path, file_format: Any) -> None:
    import datetime as dt

    from router_core.call_log.export import ExportPlan, export_log

    assert import_measured(tmp_path, write_csv(tmp_path / "x.csv", _many(table_row)))[0] == 0
    home = Home(tmp_path / "home")
    before = time.perf_counter()
    report = export_log(
        home, tmp_path / "out", ExportPlan(file_format=file_format), now=dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    )
    took = time.perf_counter() - before
    (tmp_path / "other").mkdir()
    before = time.perf_counter()
    code, said, peak_mib = import_measured(tmp_path / "other", tmp_path / "out")
    assert code == 0, said
    back = time.perf_counter() - before
    files = sum(len(listed) for listed in report.files.values())
    _show(f"export as {file_format}: s, MB, files", "- / - / -", f"{took:.1f}", f"{report.bytes / 1e6:.1f}", f"{files}")
    _show("  and back: s, peak MiB", "10 / -", f"{back:.1f}", f"{peak_mib}")
