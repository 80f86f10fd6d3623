"""Spool lines into the DuckDB file: every line once, whatever it holds and whenever it comes."""

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import MAX_ROWS_PER_COMMIT, Ingester, ingest_once
from router_core.call_log.read import reading
from router_core.call_log.segments import list_segments, list_workers
from router_core.call_log.spool import Spool
from router_core.errors import ConfigError
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line, make_started_line

NOW_US = START_US + 86_400_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def spool(home: Home) -> Iterator[Spool]:
    spool = Spool(home.spool, worker="w")
    yield spool
    spool.close()


def _rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    with reading(home) as con:
        return con.execute(query).fetchall()


def _write_segment(home: Home, name: str, *lines: dict[str, Any] | bytes, end: bytes = b"\n") -> None:
    data = b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines)
    (home.spool / name).write_bytes(data + end)


def test_every_column_of_a_line_arrives_as_it_was_written(home: Home, spool: Spool) -> None:
    spool.write(make_attempt_line(checks=[{"name": "sum", "ms": 0.1, "verdict": "passed"}], cost_nusd=10**15 - 1))
    spool.write(make_call_line(tags={"team": "ap"}, ts=START_US + 1))
    ingest_once(home)

    assert _rows(home, "SELECT attempt_id, epoch_us(started_at), cost_nusd, checks FROM attempts") == [
        ("a-1", START_US, 10**15 - 1, '[{"name":"sum","ms":0.1,"verdict":"passed"}]')
    ]
    assert _rows(home, "SELECT call_id, epoch_us(ts), tags, holdback, degraded FROM calls") == [
        ("c-1", START_US + 1, '{"team":"ap"}', None, False)
    ]


def test_lines_written_later_are_added_and_earlier_ones_are_not_read_again(home: Home, spool: Spool) -> None:
    spool.write(make_call_line(call_id="c-1"))
    first = ingest_once(home)
    spool.write(make_call_line(call_id="c-2"))
    second = ingest_once(home)
    third = ingest_once(home)

    assert (first.lines, second.lines, third.lines) == (1, 1, 0)
    assert _rows(home, "SELECT call_id FROM calls ORDER BY 1") == [("c-1",), ("c-2",)]


def test_backlog_larger_than_a_commit_is_taken_in_by_several(home: Home, spool: Spool) -> None:
    wanted = 2 * MAX_ROWS_PER_COMMIT + 10
    seen: list[tuple[int, int]] = []
    spool.write(*(make_call_line(call_id=f"c-{n}") for n in range(wanted)))
    report = ingest_once(home, progress=lambda done, total: seen.append((done, total)))

    assert report.commits >= 3  # more where the disk is slow: a commit that took long is followed by smaller ones
    assert report.rows == {"calls": wanted}
    assert _rows(home, "SELECT count(DISTINCT call_id), count(*) FROM calls") == [(wanted, wanted)]
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == list_segments(home.spool)[0].size


def test_segments_of_one_worker_are_read_in_the_order_of_their_writing(home: Home) -> None:
    for number in (1, 2, 10):
        lines = [make_call_line(call_id=f"c-{number:02}-{n:04}") for n in range(3000)]
        _write_segment(home, f"w-{number}.jsonl", *lines)
    ingest_once(home)

    found = [call_id for (call_id,) in _rows(home, "SELECT call_id FROM calls ORDER BY rowid")]
    assert len(found) == 9000
    assert found == sorted(found)


def test_unknown_keys_are_kept_in_extra(home: Home, spool: Spool) -> None:
    spool.write(make_call_line(colour="red"), make_outcome_line(colour="blue"))
    ingest_once(home)

    assert _rows(home, "SELECT extra FROM calls") == [('{"colour":"red"}',)]
    assert _rows(home, "SELECT extra FROM outcomes") == [('{"colour":"blue"}',)]


def test_bad_lines_go_to_the_quarantine_and_the_lines_around_them_do_not(home: Home) -> None:
    _write_segment(
        home,
        "w-1.jsonl",
        make_call_line(call_id="c-1"),
        b"{nonsense",
        make_call_line(call_id="c-2", cost_nusd="much"),
        make_call_line(call_id="c-3", ts=10**18),
        {"k": "riddle"},
        make_call_line(call_id="c-4"),
    )
    report = ingest_once(home)

    assert report.quarantined == 4
    assert _rows(home, "SELECT call_id FROM calls ORDER BY 1") == [("c-1",), ("c-4",)]
    found = dict(_rows(home, "SELECT line_offset, reason FROM quarantine WHERE segment = 'w-1.jsonl'"))
    starts = [len(text) for text in _prefixes((home.spool / "done" / "w-1.jsonl").read_bytes())]
    assert set(found) == {starts[1], starts[2], starts[3], starts[4]}
    assert found[starts[2]] == "cost_nusd: 'much' is not a whole number"


def _prefixes(data: bytes) -> list[bytes]:
    lines = data.splitlines(keepends=True)
    return [b"".join(lines[:n]) for n in range(len(lines))]


def test_line_that_only_duckdb_refuses_is_found_among_good_ones(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router_core.call_log.stage.odd_values", lambda kind, data: [])
    lines = [make_call_line(call_id=f"c-{n}", cost_nusd="much" if n in {3, 77} else 1) for n in range(100)]
    _write_segment(home, "w-1.jsonl", *lines)
    report = ingest_once(home)

    assert (report.quarantined, report.rows) == (2, {"calls": 98})
    assert {"Failed to cast" in reason for (reason,) in _rows(home, "SELECT reason FROM quarantine")} == {True}


def test_torn_last_line_waits_while_its_worker_lives(home: Home, spool: Spool) -> None:
    spool.write(make_call_line(call_id="c-1"))
    path = list_segments(home.spool)[0].path
    whole = orjson.dumps(make_call_line(call_id="c-2")) + b"\n"
    with path.open("ab") as file:
        file.write(whole[:100])
    report = ingest_once(home)
    counts = _rows(home, "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM quarantine)")
    with path.open("ab") as file:
        file.write(whole[100:])
    ingest_once(home)

    assert report.backlog_bytes == 100
    assert counts == [(1, 0)]
    assert _rows(home, "SELECT call_id FROM calls ORDER BY 1") == [("c-1",), ("c-2",)]


def test_torn_last_line_of_a_dead_worker_is_quarantined(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    path = list_segments(home.spool)[0].path
    with path.open("ab") as file:
        file.write(b'{"k":"call","call_id":"c-')
    spool.close()
    report = ingest_once(home)

    assert (report.rows, report.quarantined, report.backlog_bytes) == ({"calls": 1}, 1, 0)
    assert list_workers(home.spool) == set()


def test_whole_last_line_of_a_dead_worker_counts_without_its_newline(home: Home) -> None:
    _write_segment(home, "w-1.jsonl", make_call_line(), end=b"")

    assert ingest_once(home).rows == {"calls": 1}


def test_request_in_flight_of_a_dead_worker_becomes_unknown_at_its_reserved_share(home: Home, spool: Spool) -> None:
    spool.write(make_started_line({"attempt_id": "a-1"}))
    spool.write(make_attempt_line(attempt_id="a-1", cost_nusd=140_000, status="failed"))
    spool.write(make_started_line({"attempt_id": "a-2", "role": "fallback"}, at=START_US + 7))
    ingest_once(home)
    while_alive = _rows(home, "SELECT count(*) FROM calls")
    spool.close()
    ingest_once(home)

    assert while_alive == [(0,)]
    assert _rows(
        home,
        """SELECT attempt_id, status, cost_status, cost_nusd, epoch_us(started_at), epoch_us(ended_at)
           FROM attempts ORDER BY 1""",
    ) == [
        ("a-1", "failed", "exact", 140_000, START_US, START_US + 800_000),
        ("a-2", "unknown", "unknown", 150_000, START_US + 7, None),
    ]
    assert _rows(
        home,
        """SELECT call_id, status, epoch_us(ts), run, step, tier_planned, cost_nusd, attempts, fallbacks,
                  error_cost_nusd, tags, worker, source FROM calls""",
    ) == [
        (
            "c-1",
            "interrupted",
            START_US,
            "run-1",
            "step-1",
            "cheap",
            290_000,
            2,
            1,
            2_500_000_000,
            '{"team":"ap"}',
            "w",
            "router",
        )
    ]
    assert _rows(home, "SELECT sum(n), sum(cost_nusd), sum(n_unknown) FROM rollup_attempts") == [(2, 290_000, 1)]
    assert _rows(home, "SELECT status, n, cost_nusd FROM rollup_calls") == [("interrupted", 1, 290_000)]
    assert _rows(home, "SELECT * FROM pending_attempts UNION ALL SELECT * EXCLUDE (rank) FROM pending_calls") == []


def test_shadow_in_flight_of_a_dead_worker_is_spend_but_no_call(home: Home, spool: Spool) -> None:
    spool.write(make_attempt_line(), make_call_line())
    spool.write(make_started_line({"attempt_id": "a-2", "role": "shadow"}))
    spool.close()
    ingest_once(home)

    assert _rows(home, "SELECT status FROM calls") == [("ok",)]
    assert _rows(home, "SELECT role, status FROM attempts WHERE attempt_id = 'a-2'") == [("shadow", "unknown")]


def test_item_whose_line_another_process_wrote_is_not_counted_again(home: Home, spool: Spool) -> None:
    other = Spool(home.spool, worker="other")
    spool.write(make_started_line())
    other.write(make_attempt_line(), make_call_line())
    other.close()
    ingest_once(home)
    spool.write(make_attempt_line(attempt_id="a-9"))  # and its call opens again, behind its call line
    spool.close()
    ingest_once(home)

    assert _rows(home, "SELECT attempt_id, status FROM attempts ORDER BY 1") == [("a-1", "ok"), ("a-9", "ok")]
    assert _rows(home, "SELECT status FROM calls") == [("ok",)]
    assert _rows(home, "SELECT attempt_id FROM pending_attempts UNION ALL SELECT call_id FROM pending_calls") == []


def test_segments_of_dead_workers_are_put_away_and_remembered(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    spool.close()
    ingest_once(home)

    assert list_segments(home.spool) == []
    shutil.copy(home.spool / "done" / "w-1.jsonl", home.spool / "w-1.jsonl")
    ingest_once(home)
    assert _rows(home, "SELECT count(*) FROM calls") == [(1,)]


def test_importing_the_same_rows_again_changes_nothing(home: Home) -> None:
    lines = [
        make_attempt_line(source="import"),
        make_call_line(source="import"),
        make_outcome_line(source="gold", received_at=None),
        {"k": "event", "at": 5, "event": "import", "details": {"rows": 3}},
    ]
    tables = "SELECT * FROM (FROM rollup_calls) UNION ALL BY NAME FROM rollup_outcomes UNION ALL BY NAME FROM outcomes"
    _write_segment(home, "import.a-1.jsonl", *lines, *lines)
    first = ingest_once(home)
    before = _rows(home, tables)
    _write_segment(home, "import.a-2.jsonl", *lines)
    second = ingest_once(home)

    assert first.rows == {"attempts": 1, "calls": 1, "outcomes": 1, "events": 1}
    assert sum(second.rows.values()) == 0
    assert _rows(home, tables) == before
    assert len(before) == 3


def test_killed_import_leaves_no_interrupted_calls(home: Home) -> None:
    _write_segment(home, "import.a-1.jsonl", make_attempt_line(source="import"))
    ingest_once(home)

    assert _rows(home, "SELECT count(*) FROM calls") == [(0,)]


@pytest.mark.parametrize(
    ("labels", "winner"),
    [
        ([("user", 9, 0.0), ("gold", 1, 1.0)], ("gold", 1.0)),
        ([("judge", 9, 0.0), ("user", 1, 1.0)], ("user", 1.0)),
        ([("transfer", 9, 0.0), ("judge", 1, 1.0)], ("judge", 1.0)),
        ([("user", 5, 1.0), ("user", 4, 0.0)], ("user", 1.0)),
        ([("user", None, 0.0), ("user", 4, 1.0)], ("user", 1.0)),
        ([("gold", None, 0.0), ("gold", None, 1.0)], ("gold", 1.0)),
    ],
)
def test_label_that_counts_is_the_best_source_then_the_latest(
    home: Home, spool: Spool, labels: list[tuple[str, int | None, float]], winner: tuple[str, float]
) -> None:
    spool.write(make_attempt_line(), make_call_line())
    for source, received_at, correct in labels:
        spool.write(make_outcome_line(source=source, received_at=received_at, correct=correct))
    ingest_once(home)

    assert _rows(home, "SELECT outcome_source, correct FROM call_outcomes") == [winner]
    assert _rows(home, "SELECT outcome_source, correct FROM attempt_outcomes") == [winner]
    assert _rows(home, "SELECT n_labelled, wrong FROM rollup_outcomes") == [(1, 1.0 - winner[1])]


def test_label_of_a_shadow_is_not_the_call_s(home: Home, spool: Spool) -> None:
    spool.write(make_attempt_line(), make_call_line(), make_attempt_line(attempt_id="a-2", role="shadow"))
    spool.write(make_outcome_line(attempt_id="a-2"), make_outcome_line(attempt_id=None, correct=1.0))
    ingest_once(home)

    assert _rows(home, "SELECT correct FROM call_outcomes") == [(1.0,)]
    assert _rows(home, "SELECT attempt_id, correct FROM attempt_outcomes ORDER BY 1") == [("a-1", 1.0), ("a-2", 0.0)]


@pytest.mark.parametrize(
    ("call", "outcome", "impact"),
    [
        ({}, {"correct": 0.0}, 2_500_000_000),
        ({}, {"correct": 0.75}, 625_000_000),
        ({}, {"correct": 0.0, "error_nusd": 7}, 7),
        ({"error_cost_nusd": None}, {"correct": 0.0}, None),
        ({"error_cost_nusd": None}, {"correct": 1.0}, 0),
        ({"status": "failed"}, {"correct": 0.0}, None),
    ],
)
def test_observed_impact_of_a_label(
    home: Home, spool: Spool, call: dict[str, Any], outcome: dict[str, Any], impact: int | None
) -> None:
    spool.write(make_attempt_line(), make_call_line(**call), make_outcome_line(**outcome))
    ingest_once(home)

    assert _rows(home, "SELECT impact_nusd FROM call_outcomes") == [(impact,)]


@pytest.mark.parametrize("call_first", [True, False])
def test_late_label_changes_the_hour_of_its_call(home: Home, spool: Spool, call_first: bool) -> None:
    call = (make_attempt_line(), make_call_line())
    label = (make_outcome_line(received_at=NOW_US),)
    spool.write(*(call if call_first else label))
    ingest_once(home)
    spool.write(*(label if call_first else call))
    ingest_once(home, as_of_us=NOW_US)

    hour = START_US - START_US % 3_600_000_000
    assert _rows(home, "SELECT epoch_us(hour), n_labelled, impact_nusd FROM rollup_outcomes") == [
        (hour, 1, 2_500_000_000)
    ]
    assert _rows(home, "SELECT epoch_us(progress.at) FROM progress WHERE name = 'outcomes'") == [(NOW_US,)]


def test_usd_views_add_money_in_usd(home: Home, spool: Spool) -> None:
    spool.write(make_attempt_line(price_in=50_000_000), make_call_line())
    ingest_once(home)

    assert _rows(home, "SELECT cost_usd, price_in_usd_per_m FROM attempts_usd") == [(0.00014, 0.05)]
    assert _rows(home, "SELECT cost_usd, error_cost_usd FROM calls_usd") == [(0.00014, 2.5)]


def test_log_is_readable_by_its_owner_only(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    ingest_once(home)

    assert stat.S_IMODE(home.log.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_file_that_is_no_log_is_one_clear_error_and_stays_as_it_is(home: Home, spool: Spool) -> None:
    spool.write(make_call_line())
    home.log.write_bytes(b"not a database " * 1000)

    with pytest.raises(ConfigError, match=r"cannot be opened .* spool/done"):
        ingest_once(home)
    with pytest.raises(ConfigError, match="cannot be opened"), reading(home):
        pass
    assert home.log.read_bytes() == b"not a database " * 1000


def test_log_of_a_newer_version_is_refused(home: Home) -> None:
    ingest_once(home)
    with duckdb.connect(str(home.log)) as con:
        con.execute("INSERT INTO schema_version VALUES (99, make_timestamp(0))")

    with pytest.raises(ConfigError, match="log schema 99"):
        ingest_once(home)
    with pytest.raises(ConfigError, match="log schema 99"), reading(home):
        pass


def test_log_removed_under_a_running_ingester_is_made_again_from_the_spool(home: Home, spool: Spool) -> None:
    ingester = Ingester(home, now_us=lambda: NOW_US)
    spool.write(make_call_line(call_id="c-1"))
    ingester.tick()
    home.log.unlink()
    spool.write(make_call_line(call_id="c-2"))
    ingester.tick()
    ingester.close()

    assert _rows(home, "SELECT call_id FROM calls ORDER BY 1") == [("c-1",), ("c-2",)]
