"""Laws of imports: every row is kept or left out, twice is once, and no bytes give any error but a clear one."""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router_core.call_log.home import Home
from router_core.call_log.importers.log_report import LogImportReport
from router_core.errors import ConfigError
from tests.log_sources import (
    NOW_US,
    bring,
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

SLOW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MAKERS = {
    "litellm-spend": spend_row,
    "litellm-payload": payload_row,
    "langfuse": langfuse_row,
    "helicone": helicone_row,
    "table": table_row,
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


@st.composite
def logs(draw: st.DrawFn, names: frozenset[str] = frozenset(MAKERS)) -> tuple[str, list[dict[str, Any]]]:
    """A format's name and some rows of it, of which a few columns hold anything at all."""
    name = draw(st.sampled_from(sorted(names)))
    rows = [MAKERS[name](0)]
    for second in draw(st.lists(st.integers(0, 6), max_size=12)):
        row = MAKERS[name](second)
        for column in draw(st.lists(st.sampled_from(sorted(row)), max_size=2)):
            row[column] = draw(ODD)
        rows.append(row)
    return name, rows


def counted(report: LogImportReport) -> int:
    return report.rows_kept + sum(one.rows for one in report.skipped)


@SLOW
@given(made=logs(), as_csv=st.booleans())
def test_every_row_is_kept_or_left_out_and_twice_is_once(made: tuple[str, list[dict[str, Any]]], as_csv: bool) -> None:
    name, rows = made
    with tempfile.TemporaryDirectory() as folder:
        write = write_csv if as_csv else write_jsonl
        file = write(Path(folder) / "log", rows)
        home = Home(Path(folder) / "home")
        first = bring(home, file, log_format=name, skip_bad=True)
        again = bring(home, file, log_format=name, skip_bad=True, now_us=NOW_US + 1)
        assert first.rows_read == len(rows)
        assert counted(first) == counted(again) == first.rows_read
        assert (first.rows_new, again.rows_new) == (first.rows_kept, 0)
        assert again.skipped == first.skipped
        sums = "SELECT count(*), count(DISTINCT attempt_id), CAST(coalesce(sum(cost_nusd), 0) AS BIGINT) FROM attempts"
        assert fetch(home, sums) == [
            (first.rows_kept - first.cache_hits, first.rows_kept - first.cache_hits, first.cost_nusd)
        ]
        assert fetch(home, "SELECT count(*) FROM quarantine") == [(0,)]


# equal rows without an id cannot be told apart: of those in two files nobody knows whether they are the same
@SLOW
@given(made=logs(frozenset(MAKERS) - {"table"}), cut=st.floats(0, 1), overlap=st.integers(0, 5))
def test_two_overlapping_files_hold_the_same_requests_as_their_union(
    made: tuple[str, list[dict[str, Any]]], cut: float, overlap: int
) -> None:
    name, rows = made
    middle = int(len(rows) * cut)
    parts = [rows[: middle + overlap] or rows[:1], rows[middle:] or rows[-1:]]
    with tempfile.TemporaryDirectory() as folder:
        whole, halves = Home(Path(folder) / "whole"), Home(Path(folder) / "halves")
        bring(whole, write_jsonl(Path(folder) / "all.jsonl", rows), log_format=name, skip_bad=True)
        for number, part in enumerate(parts):
            file = write_jsonl(Path(folder) / f"{number}.jsonl", part)
            bring(halves, file, log_format=name, skip_bad=True, now_us=NOW_US + number)
        found = "SELECT attempt_id, started_at, cost_nusd, status FROM attempts ORDER BY ALL"
        assert {row[0] for row in fetch(halves, found)} == {row[0] for row in fetch(whole, found)}
        sums = """SELECT count(*) FROM calls AS c LEFT JOIN (
            SELECT call_id, sum(cost_nusd) AS cost, count(*) AS n FROM attempts GROUP BY 1) AS a USING (call_id)
            WHERE c.cost_nusd <> coalesce(a.cost, 0) OR c.attempts <> coalesce(a.n, 0)"""
        assert fetch(halves, sums) == fetch(whole, sums) == [(0,)]


GOOD = {
    "csv": b"timestamp,model,cost\n2026-11-03T10:00:00Z,m,0.1\n2026-11-03T10:00:01Z,m,0.2\n",
    "jsonl": b'{"timestamp": "2026-11-03T10:00:00Z", "model": "m", "metadata": {"a": [1, "x"]}}\n' * 3,
}


@settings(max_examples=100, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.tuples(st.sampled_from(sorted(GOOD)), st.integers(0, 200), st.binary(max_size=12)).map(
            lambda t: GOOD[t[0]][: t[1]] + t[2] + GOOD[t[0]][t[1] :]
        ),
        st.sampled_from([b"PAR1", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"[", b"{", b"\xef\xbb\xbf"]).flatmap(
            lambda magic: st.binary(max_size=200).map(lambda rest: magic + rest)
        ),
    ),
    skip_bad=st.booleans(),
)
def test_no_bytes_are_an_error_but_a_clear_one(data: bytes, skip_bad: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log"
        file.write_bytes(data)
        with suppress(ConfigError):
            bring(Home(Path(folder) / "home"), file, skip_bad=skip_bad, dry_run=True)


NESTED = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(attributes=st.lists(NESTED, max_size=4), status=NESTED, place=st.integers(0, 3), other=NESTED)
def test_spans_of_any_shape_are_counted(attributes: list[Any], status: Any, place: int, other: Any) -> None:
    good: Mapping[str, Any] = span(0, {"gen_ai.usage.input_tokens": 5})
    odd = {**good, "attributes": [*good["attributes"], *attributes], "status": status}
    line = otlp_line(good, odd)
    scopes = line["resourceSpans"][0]
    target = [line["resourceSpans"], scopes["scopeSpans"], scopes["scopeSpans"][0]["spans"], []][place]
    target.append(other)
    with tempfile.TemporaryDirectory() as folder:
        file = write_jsonl(Path(folder) / "spans.jsonl", [line])
        report = bring(Home(Path(folder) / "home"), file, skip_bad=True, dry_run=True)
        assert counted(report) == report.rows_read >= 2
        assert report.rows_kept >= 1


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_row_as_the_tool_writes_it_is_good(tmp_path: Path, name: str) -> None:
    report = bring(Home(tmp_path / "home"), write_jsonl(tmp_path / "x.jsonl", [MAKERS[name](0)]), dry_run=True)
    assert (report.format, report.rows_kept, report.skipped) == (name, 1, ())
