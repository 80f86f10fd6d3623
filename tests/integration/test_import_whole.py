"""What holds for imported logs of every kind: each request once, whole or not at all, no texts, calls that add up."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from router_core.call_log.home import Home
from router_core.call_log.importers.maps import MapEdits
from router_core.errors import ConfigError
from tests.log_sources import (
    NOW_US,
    at,
    bring,
    failed_spend_row,
    fetch,
    helicone_row,
    langfuse_row,
    payload_row,
    spend_row,
    table_row,
    us,
    write_csv,
    write_jsonl,
)
from tests.timing import PATIENCE_S

Rows = list[dict[str, Any]]
TOKENS = "input_tokens, cached_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens"
COSTS = "cost_nusd, cost_source_nusd, cost_status"


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_neither_questions_nor_answers_are_anywhere_in_the_log(home: Home, tmp_path: Path) -> None:
    bring(home, write_csv(tmp_path / "a.csv", [spend_row()]))
    bring(home, write_jsonl(tmp_path / "b.jsonl", [payload_row()]), now_us=NOW_US + 1)
    bring(home, write_csv(tmp_path / "c.csv", [langfuse_row(level="ERROR")]), now_us=NOW_US + 2)
    bring(home, write_jsonl(tmp_path / "d.jsonl", [helicone_row()]), now_us=NOW_US + 3)
    bring(home, write_jsonl(tmp_path / "e.jsonl", [table_row()]), now_us=NOW_US + 4)
    assert [path for path in home.root.rglob("*") if path.is_file() and b"secret" in path.read_bytes()] == []
    sizes = fetch(home, "SELECT extra ->> 'messages_chars' FROM attempts WHERE attempt_id = 'litellm:chatcmpl-0'")
    assert sizes == [(str(len(json.dumps(spend_row()["messages"]).encode())),)]


def test_importing_again_changes_nothing(home: Home, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "spend.csv", [spend_row(i) for i in range(5)])
    bring(home, file)
    again = bring(home, file, now_us=NOW_US + 1)
    assert (again.changed, again.rows_new, again.rows_known) == (False, 0, 5)
    assert fetch(home, "SELECT count(*) FROM events") == [(1,)]


@pytest.mark.parametrize("with_id", [True, False])
def test_other_prices_tiers_zone_or_columns_do_not_make_another_request(
    home: Home, tmp_path: Path, with_id: bool
) -> None:
    rows = [table_row(i, Timestamp=f"{at(i):%Y-%m-%d %H:%M:%S}", **({"id": i} if with_id else {})) for i in range(3)]
    file = write_csv(tmp_path / "x.csv", rows)
    bring(home, file)
    edits = MapEdits(columns={"Latency_ms": "extra.ms", "Completion Tokens": "extra.out"})
    again = bring(
        home, file, edits=edits, tiers=[("top", "gpt-5-mini")], zone=ZoneInfo("Asia/Tokyo"), now_us=NOW_US + 1
    )
    assert (again.rows_new, again.rows_known, again.rows_changed) == (0, 3, 3)
    assert fetch(home, "SELECT count(*) FROM attempts") == [(3,)]


def test_overlapping_exports_make_their_union(home: Home, tmp_path: Path) -> None:
    bring(home, write_csv(tmp_path / "a.csv", [spend_row(i) for i in range(5)]))
    report = bring(home, write_jsonl(tmp_path / "b.jsonl", [spend_row(i) for i in range(3, 9)]), now_us=NOW_US + 1)
    assert (report.rows_new, report.rows_known) == (4, 2)
    assert fetch(home, "SELECT count(*), count(DISTINCT call_id), sum(cost_nusd) FROM calls") == [(9, 9, 14_400_000)]


def test_call_cut_apart_by_two_exports_still_costs_what_its_attempts_cost(home: Home, tmp_path: Path) -> None:
    trace = {"session_id": "t1"}
    first, second = failed_spend_row(0, "RateLimitError", "429", **trace), spend_row(10, **trace)
    bring(home, write_csv(tmp_path / "a.csv", [first]))
    bring(home, write_csv(tmp_path / "b.csv", [first, second]), now_us=NOW_US + 1)
    sums = "SELECT c.call_id, c.cost_nusd, c.attempts, sum(a.cost_nusd), count(*) FROM calls AS c JOIN attempts AS a"
    assert fetch(home, f"{sums} USING (call_id) GROUP BY ALL ORDER BY 1") == [
        ("litellm:chatcmpl-0", 0, 1, 0, 1),
        ("litellm:chatcmpl-10", 1_600_000, 1, 1_600_000, 1),
    ]


def test_same_id_twice_in_a_file_counts_once_and_is_reported(home: Home, tmp_path: Path) -> None:
    report = bring(home, write_csv(tmp_path / "a.csv", [spend_row(), spend_row(), spend_row(1)]))
    assert (report.rows_read, report.rows_kept) == (3, 2)
    assert [(one.reason, one.rows) for one in report.skipped] == [("same id as an earlier row", 1)]


def test_bad_rows_refuse_the_file_with_their_lines(home: Home, tmp_path: Path) -> None:
    rows = [spend_row(0), spend_row(1, spend="free"), spend_row(2, prompt_tokens=-3), spend_row(3, spend="dear")]
    with pytest.raises(ConfigError) as caught:
        bring(home, write_csv(tmp_path / "a.csv", rows))
    assert "2 × spend is not a number (lines 3, 5)" in str(caught.value)
    assert "1 × prompt_tokens is negative (line 4)" in str(caught.value)
    assert not home.root.exists()


def test_bad_rows_are_left_out_when_asked(home: Home, tmp_path: Path) -> None:
    rows = [spend_row(0), spend_row(1, spend="free"), spend_row(2, startTime="")]
    report = bring(home, write_csv(tmp_path / "a.csv", rows), skip_bad=True)
    assert (report.rows_read, report.rows_kept, len(report.skipped)) == (3, 1, 2)
    assert fetch(home, "SELECT count(*) FROM attempts") == [(1,)]


def test_rows_outside_the_window_are_left_out(home: Home, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", [spend_row(i) for i in range(6)])
    report = bring(home, file, since_us=us(1), until_us=us(4))
    assert (report.rows_kept, report.since_us, report.until_us) == (3, us(1), us(3))


def test_tiers_come_from_the_mapping_by_whole_or_bare_name(home: Home, tmp_path: Path) -> None:
    rows = [spend_row(0), spend_row(1, model="gpt-5"), spend_row(2, model="other")]
    bring(home, write_csv(tmp_path / "a.csv", rows), tiers=[("cheap", "gpt-5-mini"), ("top", "openai/gpt-5")])
    found = "SELECT request_model, tier, tier_planned, tier_served FROM attempts JOIN calls USING (call_id)"
    assert fetch(home, f"{found} ORDER BY started_at") == [
        ("openai/gpt-5-mini", "cheap", "cheap", "cheap"),
        ("openai/gpt-5", "top", "top", "top"),
        ("openai/other", None, None, None),
    ]


def test_dry_run_shows_rows_and_writes_nothing(home: Home, tmp_path: Path) -> None:
    report = bring(home, write_csv(tmp_path / "a.csv", [spend_row(i) for i in range(9)]), dry_run=True)
    assert (report.rows_kept, len(report.preview), report.changed) == (9, 5, False)
    assert report.preview[0]["cost_nusd"] == 1_600_000
    assert not home.root.exists()


def test_segment_holds_all_of_the_import_or_is_not_there(home: Home, tmp_path: Path) -> None:
    bring(home, write_csv(tmp_path / "a.csv", [spend_row(i) for i in range(9)]))
    assert fetch(home, "SELECT count(*) FROM quarantine") == [(0,)]
    assert [path.suffix for path in home.spool.rglob("import.*")] == [".jsonl"]


def test_rollups_count_what_was_imported(home: Home, tmp_path: Path) -> None:
    bring(home, write_csv(tmp_path / "a.csv", [spend_row(i) for i in range(9)]))
    assert fetch(home, "SELECT sum(n), sum(cost_nusd) FROM rollup_attempts WHERE source = 'import'") == [
        (9, 14_400_000)
    ]
    assert fetch(home, "SELECT sum(n) FROM rollup_calls") == [(9,)]


# --- in two processes


@pytest.mark.parametrize("how", ["whole", "broken", "killed"])
def test_second_process_reads_a_share_and_its_trouble_is_said(tmp_path: Path, how: str) -> None:
    """In an interpreter of its own: one with threads, as a test session may be, is not forked."""
    command = [sys.executable, "-m", "tests.split_reading", how, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (0, "as it should\n"), done.stderr
