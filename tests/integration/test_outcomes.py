"""Labels in bulk: files, data frames and lists; by call, attempt and run; late, repeated, changed and unmatched."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.errors import ConfigError
from tests.command_line import Tierwise
from tests.routers import Bench, open_bench

HOUR_US = 3_600_000_000


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str]) -> Tierwise:
    return Tierwise(capsys)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = open_bench(tmp_path)
    with found.router:
        yield found


def labels_of(bench: Bench) -> dict[str, tuple[float | None, str | None]]:
    """The label that counts for each served call."""
    ingest_once(Home(bench.home))
    with reading(Home(bench.home)) as log:
        rows = log.execute("SELECT call_id, correct, outcome_source FROM call_outcomes").fetchall()
    return {call_id: (correct, source) for call_id, correct, source in rows}


def test_labels_of_a_data_frame_count_before_and_after_the_log_has_their_calls(bench: Bench) -> None:
    first, second = bench.ask(), bench.ask()
    frame = pl.DataFrame({"call_id": [first.call_id, second.call_id], "correct": [True, False], "note": ["a", "b"]})
    report = bench.router.outcomes(frame)
    assert (report.rows, report.labels, report.unmatched) == (2, 2, 0)
    assert labels_of(bench) == {first.call_id: (1.0, "user"), second.call_id: (0.0, "user")}
    again = bench.router.outcomes(frame)
    assert (again.labels, again.repeated) == (0, 2)


def test_run_labels_its_served_calls_and_a_step_the_newest_of_it(bench: Bench) -> None:
    old = bench.ask(run="job-1", step="a").call_id
    ingest_once(Home(bench.home))
    bench.clock.sleep(60)
    new = bench.ask(run="job-1", step="a").call_id
    other = bench.ask(run="job-1", step="b").call_id
    aside = bench.ask(run="job-2", step="a").call_id
    report = bench.router.outcomes([{"run": "job-1", "correct": 0.0}, {"run": "nobody", "correct": 1}])
    assert (report.labels, report.lost, report.first) == (3, 1, ("nobody",))
    bench.clock.sleep(1)
    bench.router.outcomes([{"run": "job-1", "step": "a", "correct": 1.0, "source": "gold"}])
    found = labels_of(bench)
    assert found == {old: (0.0, "user"), new: (1.0, "gold"), other: (0.0, "user"), aside: (None, None)}


def test_attempt_is_labelled_by_its_id_alone(bench: Bench) -> None:
    answer = bench.ask()
    attempt = answer.attempts[0].attempt_id
    bench.router.outcome(attempt_id=attempt, correct=True)
    bench.router.outcomes([{"attempt_id": attempt, "correct": False, "source": "gold", "label_propensity": 0.25}])
    assert labels_of(bench) == {answer.call_id: (0.0, "gold")}
    with reading(Home(bench.home)) as log:
        rows = log.execute("SELECT correct, outcome_source, label_propensity FROM attempt_outcomes").fetchall()
    assert rows == [(0.0, "gold", 0.25)]


def test_sources_outdo_each_other_and_then_the_latest_counts(bench: Bench) -> None:
    call_id = bench.ask().call_id
    at = bench.clock.now_us()
    rows: list[dict[str, Any]] = [
        {"correct": 0.0, "source": "gold", "received_at": at},
        {"correct": 1.0, "source": "gold", "received_at": at + HOUR_US},
        {"correct": 0.0, "source": "user", "received_at": at + 50 * HOUR_US},
        {"correct": 0.0, "source": "judge", "received_at": at + 60 * HOUR_US},
    ]
    report = bench.router.outcomes([{**row, "call_id": call_id} for row in rows])
    assert (report.labels, report.changed, report.late) == (4, 1, 2)
    assert labels_of(bench) == {call_id: (1.0, "gold")}


def test_unmatched_labels_are_kept_reported_and_count_when_their_call_comes(
    bench: Bench, tierwise: Tierwise, tmp_path: Path
) -> None:
    known = bench.ask().call_id
    file = tmp_path / "labels.csv"
    file.write_text(f"call_id,correct\n{known},1\nc-later,0\n", "utf-8")
    told = tierwise("outcomes", file, "--source", "gold", "--home", bench.home, "--json").json()
    assert (told["labels"], told["unmatched"], told["first"]) == (2, 1, ["c-later"])
    shown = tierwise("outcomes", "--home", bench.home, "--json").json()
    assert (shown["labels"], shown["unmatched"]) == (2, 1)
    assert shown["types"][0]["labelled"] == 1
    repeated = tierwise("outcomes", file, "--source", "gold", "--home", bench.home)
    assert repeated.code == 0
    assert "0 new labels" in repeated.out
    assert "belong to no call" in tierwise("outcomes", "--home", bench.home).out


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "json", "csv"])
def test_files_of_every_kind_say_the_same(bench: Bench, tierwise: Tierwise, tmp_path: Path, kind: str) -> None:
    call_id = bench.ask().call_id
    row = {"call_id": call_id, "correct": 0.5, "error_usd": 1.25, "received_at": "2026-12-24T12:00:00+00:00"}
    file = tmp_path / f"labels.{kind}"
    if kind == "parquet":
        columns = ", ".join(f"{value!r} AS {name}" for name, value in row.items())
        duckdb.execute(f"COPY (SELECT {columns}) TO '{file}' (FORMAT parquet)")
    elif kind == "csv":
        file.write_text(f"{','.join(row)}\n{','.join(map(str, row.values()))}\n", "utf-8")
    else:
        file.write_text(json.dumps(row if kind == "jsonl" else [row], indent=None if kind == "jsonl" else 1), "utf-8")
    assert tierwise("outcomes", file, "--home", bench.home).code == 0
    with reading(Home(bench.home)) as log:
        rows = log.execute("SELECT correct, error_nusd, epoch_us(received_at) FROM outcomes").fetchall()
    assert rows == [(0.5, 1_250_000_000, 1_798_113_600_000_000)]


def test_bad_rows_are_all_told_at_once_and_nothing_is_written(bench: Bench) -> None:
    call_id = bench.ask().call_id
    rows = [
        {"call_id": call_id, "correct": 1},
        {"call_id": call_id, "correct": 7},
        {"call_id": call_id},
        {"correct": 1},
        {"call_id": call_id, "correct": 1, "source": "hearsay"},
        {"call_id": call_id, "error_usd": -1},
        {"call_id": call_id, "correct": 1, "label_propensity": 0},
        "no row",
    ]
    with pytest.raises(ConfigError) as caught:
        bench.router.outcomes(rows)
    assert [problem.path for problem in caught.value.problems] == [f"row {n}" for n in range(2, 9)]
    assert bench.lines("outcome") == []


def test_single_outcome_that_says_nothing_or_names_nothing_is_refused(bench: Bench) -> None:
    call_id = bench.ask().call_id
    wrongs: list[dict[str, Any]] = [{"call_id": call_id}, {"correct": True}, {"call_id": call_id, "correct": 2.0}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="outcome: "):
            bench.router.outcome(**wrong)
