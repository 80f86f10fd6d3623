"""The commands over a log: what they print for people and for programs, and their exit codes."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from router_core.call_log.access import is_watched
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.spool import Spool
from router_core.watch import start_watch
from tests.builders import START_US, make_attempt_line, make_call_line, make_config_bytes
from tests.command_line import Tierwise
from tests.log_files import write_log
from tests.outcome_files import make_rows, write_outcomes
from tests.timing import PATIENCE_S, wait_until


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / ".tierwise")


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tierwise:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    return Tierwise(capsys)


def log_lines(home: Home, *lines: dict[str, Any]) -> None:
    home.create()
    spool = Spool(home.spool)
    spool.write(*lines)
    spool.close()
    ingest_once(home)


def spend_rows(tierwise: Tierwise, *arguments: str) -> dict[str | None, dict[str, Any]]:
    return {row["key"]: row for row in tierwise("spend", "--json", *arguments).json()}


def test_log_that_cannot_be_written_now_is_shown_as_it_is(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line(), make_call_line())
    spool = Spool(home.spool)
    spool.write(make_call_line(call_id="c-2"))
    spool.close()
    shutil.rmtree(home.root / "stage", ignore_errors=True)
    # where lines are put on their way into the log, no folder can be
    (home.root / "stage").write_bytes(b"")
    shown = tierwise("calls", "--json", "--home", home.root)

    assert [row["call_id"] for row in shown.json()] == ["c-1"]
    assert shown.err.startswith("tierwise: shown without the newest lines, which cannot be taken in now: ")
    assert tierwise("ingest", "--home", home.root).code == 1


# --- spend


@pytest.mark.parametrize("by", ["payload_type", "tier", "model", "role", "day", "run"])
def test_spend_is_the_sum_over_attempts_whatever_it_is_grouped_by(tierwise: Tierwise, home: Home, by: str) -> None:
    write_log(home, days=3, undated=True)
    with duckdb.connect(str(home.log), read_only=True) as log:
        expected = log.execute("SELECT sum(cost_nusd), count(*) FROM attempts").fetchone()
    rows = spend_rows(tierwise, "--by", by).values()
    assert (sum(row["cost_nusd"] for row in rows), sum(row["attempts"] for row in rows)) == expected


def test_days_begin_at_the_midnight_of_the_configured_zone(tierwise: Tierwise, home: Home, tmp_path: Path) -> None:
    log_lines(home, make_attempt_line(started_at=START_US - START_US % 86_400_000_000 + 23 * 3_600_000_000))
    (utc,) = spend_rows(tierwise, "--by", "day")
    (tmp_path / "routing.yaml").write_bytes(make_config_bytes(timezone="Europe/Berlin"))
    (berlin,) = spend_rows(tierwise, "--by", "day")
    assert (utc, berlin) == ("2026-09-21", "2026-09-22")


def test_unusable_config_does_not_hide_the_spend(tierwise: Tierwise, home: Home, tmp_path: Path) -> None:
    log_lines(home, make_attempt_line())
    (tmp_path / "routing.yaml").write_text("version: 9")
    ended = tierwise("spend", "--by", "day")
    assert (ended.code, "days are UTC" in ended.err) == (0, True)


def test_bounds_and_filters_narrow_the_spend(tierwise: Tierwise, home: Home) -> None:
    second = 1_000_000
    log_lines(
        home,
        *(
            make_attempt_line(attempt_id=f"a-{i}", started_at=START_US + i * second, role=role)
            for i, role in enumerate(["serve", "retry", "serve", "shadow"])
        ),
    )
    since = "2026-09-21T14:13:21Z"
    assert START_US == 1_790_000_000_000_000  # = 2026-09-21T14:13:20Z
    rows = spend_rows(tierwise, "--by", "role", "--since", since, "--until", "2026-09-21T14:13:23Z")
    assert {role: row["attempts"] for role, row in rows.items()} == {"retry": 1, "serve": 1}
    only = spend_rows(tierwise, "--by", "role", "--since", since, "--only", "role=serve", "--only", "source=router")
    assert {role: row["attempts"] for role, row in only.items()} == {"serve": 1}


def test_only_attempts_with_a_value_enter_a_mean(tierwise: Tierwise, home: Home) -> None:
    log_lines(
        home,
        make_attempt_line(attempt_id="a-1", cost_nusd=2_000_000, latency_ms=1000.0),
        make_attempt_line(attempt_id="a-2", cost_nusd=None, cost_status="unpriced", latency_ms=None),
        make_attempt_line(attempt_id="a-3", cost_nusd=4_000_000, latency_ms=3000.0, status="failed"),
    )
    row = spend_rows(tierwise)["invoice.extract"]
    means = {
        name: row[name] for name in ("cost_per_1k_usd", "latency_mean_s", "latency_p50_s", "n_cost", "n_unknown_cost")
    }
    assert means == {
        "cost_per_1k_usd": pytest.approx(3.0),
        "latency_mean_s": pytest.approx(2.0),
        "latency_p50_s": pytest.approx(2.0),
        "n_cost": 2,
        "n_unknown_cost": 1,
    }
    assert (row["failed"], row["correct_rate"]) == (1, None)


def test_label_of_the_call_counts_for_its_served_attempt_and_gold_before_user(tierwise: Tierwise, home: Home) -> None:
    log_lines(
        home,
        make_attempt_line(attempt_id="a-1"),
        make_attempt_line(attempt_id="a-2", role="shadow"),
        make_call_line(),
        {"k": "outcome", "call_id": "c-1", "received_at": START_US + 1, "correct": 0.0, "source": "gold"},
        {"k": "outcome", "call_id": "c-1", "received_at": START_US + 9, "correct": 1.0, "source": "user"},
    )
    rows = spend_rows(tierwise, "--by", "role")
    assert {role: (row["correct_rate"], row["n_labels"]) for role, row in rows.items()} == {
        "serve": (0.0, 1),
        "shadow": (None, 0),
    }


def test_lines_spooled_since_are_in_the_spend(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line(attempt_id="a-1"))
    spool = Spool(home.spool)
    spool.write(make_attempt_line(attempt_id="a-2"))
    spool.close()
    assert spend_rows(tierwise)["invoice.extract"]["attempts"] == 2


def test_spend_table_shows_unknown_cost_as_unknown(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line(cost_nusd=None, cost_status="unpriced"))
    ended = tierwise("spend")
    line = next(line for line in ended.out.splitlines() if line.startswith("invoice.extract"))
    assert line.split()[1] == "-"
    assert "1 has no known cost" in ended.out


def test_nothing_matches(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line())
    assert tierwise("spend", "--only", "tier=gold").out == "No attempts match.\n"


# --- calls


def test_newest_calls_come_first(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, *(make_call_line(call_id=f"c-{i}", ts=START_US + i * 1_000_000) for i in (2, 3, 1)))
    assert [call["call_id"] for call in tierwise("calls", "--json", "--limit", "2").json()] == ["c-3", "c-2"]


def test_receipt_shows_how_a_shadow_was_chosen_and_whether_it_said_the_same(tierwise: Tierwise, home: Home) -> None:
    shadow = {"attempt_id": "a-2", "n": 2, "role": "shadow", "propensity": 0.25, "answer_match": False}
    log_lines(home, make_attempt_line(propensity=None), make_call_line(), make_attempt_line(**shadow))
    out = re.sub(" +", " ", tierwise("calls", "c-1").out)
    assert "chosen with probability 0.25" in out
    assert "same answer no" in out
    assert out.count("chosen") == 1


def test_call_is_found_by_how_its_id_starts(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_call_line(call_id="abc-1"), make_call_line(call_id="abd-2"))
    assert tierwise("calls", "abd", "--json").json()["call"]["call_id"] == "abd-2"


@pytest.mark.parametrize(("start", "said"), [("ab", "abc-1, abd-2"), ("x", "no such call")])
def test_start_that_does_not_name_one_call_is_refused(tierwise: Tierwise, home: Home, start: str, said: str) -> None:
    log_lines(home, make_call_line(call_id="abc-1"), make_call_line(call_id="abd-2"))
    ended = tierwise("calls", start)
    assert (ended.code, said in ended.err) == (2, True)


def test_hostile_text_in_the_log_cannot_reach_the_terminal(tierwise: Tierwise, home: Home) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\r" + "x" * 5000
    log_lines(
        home,
        make_attempt_line(payload_type=evil, request_model=evil, run=evil, tier=evil, error_type=evil, role=evil),
        make_call_line(payload_type=evil, model_served=evil, run=evil, step=evil, reason=evil, tier_served=evil),
        {"k": evil, "call_id": "bad line"},
    )
    printed = "".join(tierwise(*command).out for command in (("calls",), ("calls", "c-1"), ("spend",), ("doctor",)))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", printed)
    assert "x" * 300 not in printed


# --- ingest, doctor


def test_ingest_says_what_it_took_in(tierwise: Tierwise, home: Home) -> None:
    home.create()
    spool = Spool(home.spool)
    spool.write(make_attempt_line(), make_call_line())
    spool.close()
    ended = tierwise("ingest", "--json")
    assert ended.json()["rows"] == {"attempts": 1, "calls": 1}


def findings(tierwise: Tierwise, code: int) -> dict[str, dict[str, str]]:
    ended = tierwise("doctor", "--json")
    assert ended.code == code, ended
    return {finding["name"]: finding for finding in ended.json()}


def test_doctor_finds_nothing_wrong_with_a_good_home(tierwise: Tierwise, home: Home, tmp_path: Path) -> None:
    log_lines(home, make_attempt_line())
    (tmp_path / "routing.yaml").write_bytes(make_config_bytes())
    states = {name: finding["state"] for name, finding in findings(tierwise, 0).items()}
    assert "wrong" not in states.values()
    assert states["config"] == states["home"] == states["log"] == states["quarantine"] == states["backlog"] == "ok"


def test_doctor_without_a_home_says_how_to_make_one(tierwise: Tierwise) -> None:
    assert "tierwise demo" in findings(tierwise, 1)["home"]["mend"]


def test_doctor_counts_quarantined_lines_by_reason(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line(), {"k": "nonsense"}, {"k": "nonsense"})
    found = findings(tierwise, 1)["quarantine"]
    assert (found["state"], found["text"].startswith("2 lines could not be used: 2 × ")) == ("wrong", True)


def test_doctor_reports_an_old_backlog_with_the_command_that_mends_it(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line())
    spool = Spool(home.spool)
    spool.write(make_attempt_line(attempt_id="a-2"))
    spool.close()
    (segment,) = home.spool.glob("*.jsonl")
    hour_ago = segment.stat().st_mtime - 3600
    os.utime(segment, (hour_ago, hour_ago))
    found = findings(tierwise, 1)["backlog"]
    assert (found["state"], "tierwise ingest" in found["mend"]) == ("wrong", True)


def test_doctor_names_a_log_file_that_is_none(tierwise: Tierwise, home: Home) -> None:
    home.create()
    home.log.write_bytes(b"not a database" * 1000)
    found = findings(tierwise, 1)["log"]
    assert (found["state"], str(home.log) in found["text"]) == ("wrong", True)


def test_doctor_says_that_data_is_simulated(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line())
    home.demo_marker.write_text(json.dumps({"seed": 1}))
    assert "simulated" in findings(tierwise, 0)["data"]["text"]


def test_doctor_points_to_check_for_an_invalid_config(tierwise: Tierwise, home: Home, tmp_path: Path) -> None:
    log_lines(home, make_attempt_line())
    (tmp_path / "routing.yaml").write_text("version: 9")
    found = findings(tierwise, 1)["config"]
    assert (found["state"], "tierwise check" in found["mend"]) == ("wrong", True)


# --- import, as typed


def test_import_command_tells_what_it_did(tierwise: Tierwise, tmp_path: Path) -> None:
    file = write_outcomes(tmp_path / "outcomes.parquet", make_rows(2))
    first = tierwise("import", file, "--tiers", "cheap=small,top=large")
    again = tierwise("import", file, "--tiers", "cheap=small,top=large")
    assert "4 rows read, 4 kept, 4 new, 0 already there" in first.out
    assert "Nothing changed" in again.out


def test_home_may_come_from_the_environment(
    tierwise: Tierwise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_lines(Home(tmp_path / "elsewhere"), make_attempt_line())
    monkeypatch.setenv("TIERWISE_HOME", str(tmp_path / "elsewhere"))
    assert spend_rows(tierwise)["invoice.extract"]["attempts"] == 1


# --- help


COMMANDS = ("init", "check", "demo", "import", "ingest", "watch", "doctor", "spend", "calls", "export", "dashboard")


def test_help_lists_every_command_with_a_whole_line(tierwise: Tierwise) -> None:
    out = tierwise("--help").out
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S.*\.$", out, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_ends_with_examples(tierwise: Tierwise, command: str) -> None:
    assert f"  Examples:\n    tierwise {command}" in tierwise(command, "--help").out


def test_what_is_not_built_yet_is_no_command(tierwise: Tierwise) -> None:
    assert tierwise("propose").code == 2


# --- beside other processes, and without some packages


def test_import_waits_for_the_background_process_to_take_it_in(tierwise: Tierwise, home: Home, tmp_path: Path) -> None:
    file = write_outcomes(tmp_path / "outcomes.parquet", make_rows(2))
    watcher = start_watch(home)
    assert watcher is not None
    try:
        first, again = (tierwise("import", file, "--json").json() for _ in range(2))
        spent = tierwise("spend", "--json").json()
    finally:
        watcher.terminate()
        watcher.wait(PATIENCE_S)
    assert (first["rows_new"], again["rows_new"], again["changed"]) == (4, 0, False)
    assert [row["attempts"] for row in spent] == [4]


@pytest.mark.parametrize("command", [("dashboard",), ("demo",)])
def test_missing_extra_is_one_message_with_the_command_that_installs_it(
    tierwise: Tierwise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    ended = tierwise(*command)
    assert (ended.code, 'pip install "tierwise[dashboard]"' in ended.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_unforeseen_error_is_a_message_and_a_traceback_only_on_request(
    tierwise: Tierwise, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_lines(home, make_attempt_line())

    def broken(*_: object) -> None:
        message = "no such thing"
        raise LookupError(message)

    monkeypatch.setattr("router_core.call_log.reports.spend", broken)
    quiet = tierwise("spend")
    monkeypatch.setenv("TIERWISE_DEBUG", "1")
    loud = tierwise("spend")
    assert (quiet.code, "internal error: LookupError: no such thing" in quiet.err) == (1, True)
    assert ("Traceback" in quiet.err, "Traceback" in loud.err) == (False, True)


def test_interrupted_command_ends_without_a_traceback(home: Home, tmp_path: Path) -> None:
    # a session of its own: the signal reaches the command alone, as a terminal's Ctrl-C would
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard.cli", "watch", "--home", str(home.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    wait_until(lambda: is_watched(home) or process.poll() is not None, "it watches")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "", "")
