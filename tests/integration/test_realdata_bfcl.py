"""A public evaluation, imported as a user would, must give the figures that were published about it."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from router_core.call_log.read import reading

pytestmark = pytest.mark.realdata

FILE = "outcomes_bfcl_2024-07-06.parquet"
PUBLISHED = "published_bfcl_2024-07-06.csv"
TIERS = "cheap=gemini-1.5-flash-preview-0514,mid=claude-3-5-sonnet-20240620,top=gpt-4-0125-preview"
# the leaderboard's names for the models of the file that have a cost
NAMES = {
    "claude-2.1": "Claude-2.1 (Prompt)",
    "claude-3-5-sonnet-20240620": "Claude-3.5-Sonnet-20240620 (Prompt)",
    "claude-3-5-sonnet-20240620-FC": "Claude-3.5-Sonnet-20240620 (FC)",
    "claude-3-haiku-20240307": "Claude-3-Haiku-20240307 (Prompt)",
    "claude-3-haiku-20240307-FC": "Claude-3-Haiku-20240307 (FC tools-2024-04-04)",
    "claude-3-opus-20240229": "Claude-3-Opus-20240229 (Prompt)",
    "claude-3-opus-20240229-FC": "Claude-3-Opus-20240229 (FC tools-2024-04-04)",
    "claude-3-sonnet-20240229": "Claude-3-Sonnet-20240229 (Prompt)",
    "claude-3-sonnet-20240229-FC": "Claude-3-Sonnet-20240229 (FC tools-2024-04-04)",
    "claude-instant-1.2": "Claude-instant-1.2 (Prompt)",
    "command-r-plus": "Command-R-Plus (Prompt) (Original)",
    "command-r-plus-FC": "Command-R-Plus (FC) (Original)",
    "command-r-plus-FC-optimized": "Command-R-Plus (FC) (Optimized)",
    "command-r-plus-optimized": "Command-R-Plus (Prompt) (Optimized)",
    "databricks-dbrx-instruct": "DBRX-Instruct (Prompt)",
    "gemini-1.0-pro": "Gemini-1.0-Pro-001 (FC)",
    "gemini-1.5-flash-preview-0514": "Gemini-1.5-Flash-Preview-0514 (FC)",
    "gemini-1.5-pro-preview-0409": "Gemini-1.5-Pro-Preview-0409 (FC)",
    "gemini-1.5-pro-preview-0514": "Gemini-1.5-Pro-Preview-0514 (FC)",
    "gpt-3.5-turbo-0125-FC": "GPT-3.5-Turbo-0125 (FC)",
    "gpt-4-0125-preview": "GPT-4-0125-Preview (Prompt)",
    "gpt-4-0125-preview-FC": "GPT-4-0125-Preview (FC)",
    "gpt-4-0613-FC": "GPT-4-0613 (FC)",
    "gpt-4-1106-preview-FC": "GPT-4-1106-Preview (FC)",
    "gpt-4-turbo-2024-04-09": "GPT-4-turbo-2024-04-09 (Prompt)",
    "gpt-4-turbo-2024-04-09-FC": "GPT-4-turbo-2024-04-09 (FC)",
    "gpt-4o-2024-05-13": "GPT-4o-2024-05-13 (Prompt)",
    "gpt-4o-2024-05-13-FC": "GPT-4o-2024-05-13 (FC)",
    "mistral-large-2402-FC-Any": "Mistral-large-2402 (FC Any)",
    "mistral-large-2402-FC-Auto": "Mistral-large-2402 (FC Auto)",
    "mistral-medium-2312": "Mistral-Medium-2312 (Prompt)",
    "mistral-small-2402": "Mistral-Small-2402 (Prompt)",
    "mistral-small-2402-FC-Any": "Mistral-small-2402 (FC Any)",
    "mistral-small-2402-FC-Auto": "Mistral-small-2402 (FC Auto)",
    "mistral-tiny-2312": "Mistral-tiny-2312 (Prompt)",
}
# published cost, cost in the published data: the leaderboard's own figure is not the mean of its rows
KNOWN_DIFFERENCES = {"command-r-plus-FC": (1.09, 1.07), "command-r-plus-FC-optimized": (1.12, 1.07)}


@dataclass(frozen=True)
class Log:
    """A home with the file imported into it."""

    home: Home
    file: Path

    def run(self, *arguments: str) -> str:
        """Run a command on it and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "dashboard.cli", *arguments, "--home", str(self.home.root)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home.root.parent,
            timeout=300,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def digest(self) -> dict[str, str]:
        """Return a hash of every table's rows."""
        tables = ("attempts", "calls", "outcomes", "events", "quarantine", "ledger")
        rollups = ("rollup_attempts", "rollup_calls", "rollup_latency", "rollup_outcomes")
        with reading(self.home) as log:
            return {
                table: hashlib.sha256(repr(log.execute(f"FROM {table} ORDER BY ALL").fetchall()).encode()).hexdigest()
                for table in (*tables, *rollups)
            }


@pytest.fixture(scope="module")
def log(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Log:
    made = Log(Home(tmp_path_factory.mktemp("bfcl") / "home"), data_dir / FILE)
    made.run("import", str(made.file), "--tiers", TIERS, "--calls-per-month", "100000")
    return made


@pytest.fixture(scope="module")
def spend(log: Log) -> dict[str, dict[str, Any]]:
    rows = json.loads(log.run("spend", "--by", "model", "--json"))
    return {row["key"]: row for row in rows}


@pytest.fixture(scope="module")
def published(data_dir: Path) -> dict[str, dict[str, str]]:
    with (data_dir / PUBLISHED).open(encoding="utf-8") as table:
        return {row["Model"]: row for row in csv.DictReader(table)}


def test_every_model_that_has_a_cost_is_compared(spend: dict[str, dict[str, Any]]) -> None:
    assert {model for model, row in spend.items() if row["n_cost"]} == NAMES.keys()


@pytest.mark.parametrize("model", sorted(NAMES))
def test_accuracy_equals_the_published_one(
    model: str, spend: dict[str, dict[str, Any]], published: dict[str, dict[str, str]]
) -> None:
    assert f"{100 * spend[model]['correct_rate']:.2f}%" == published[NAMES[model]]["Overall Acc"]


@pytest.mark.parametrize("model", sorted(NAMES))
def test_mean_latency_equals_the_published_one(
    model: str, spend: dict[str, dict[str, Any]], published: dict[str, dict[str, str]]
) -> None:
    assert round(spend[model]["latency_mean_s"], 2) == float(published[NAMES[model]]["Latency Mean (s)"])


@pytest.mark.parametrize("model", sorted(NAMES.keys() - KNOWN_DIFFERENCES.keys()))
def test_cost_per_thousand_calls_equals_the_published_one(
    model: str, spend: dict[str, dict[str, Any]], published: dict[str, dict[str, str]]
) -> None:
    assert round(spend[model]["cost_per_1k_usd"], 2) == float(published[NAMES[model]]["Cost ($ Per 1k Function Calls)"])


@pytest.mark.parametrize("model", sorted(KNOWN_DIFFERENCES))
def test_two_published_costs_differ_from_the_data_they_were_made_from(
    model: str, spend: dict[str, dict[str, Any]], published: dict[str, dict[str, str]]
) -> None:
    said = float(published[NAMES[model]]["Cost ($ Per 1k Function Calls)"])
    assert (said, round(spend[model]["cost_per_1k_usd"], 2)) == KNOWN_DIFFERENCES[model]


def test_headline_figures_of_one_model(spend: dict[str, dict[str, Any]]) -> None:
    row = spend["claude-3-5-sonnet-20240620"]
    figures = (round(100 * row["correct_rate"], 2), round(row["cost_per_1k_usd"], 2), round(row["latency_mean_s"], 2))
    assert figures == (90.18, 2.20, 1.37)


def test_month_is_scaled_from_the_calls_per_month_given(spend: dict[str, dict[str, Any]]) -> None:
    row = spend["claude-3-5-sonnet-20240620"]
    assert row["cost_month_usd"] == pytest.approx(row["cost_per_1k_usd"] * 100)


def test_model_without_any_cost_has_no_mean_and_no_month(spend: dict[str, dict[str, Any]]) -> None:
    row = spend["gorilla-openfunctions-v2"]
    assert (row["cost_per_1k_usd"], row["cost_month_usd"], row["n_unknown_cost"]) == (None, None, row["attempts"])


def test_models_take_the_roles_and_tiers_of_the_mapping(log: Log) -> None:
    with reading(log.home) as con:
        found = con.execute(
            "SELECT role, tier, request_model, count(*) FROM attempts WHERE tier IS NOT NULL OR role <> 'shadow'"
            " GROUP BY ALL ORDER BY tier"
        ).fetchall()
    assert found == [
        ("shadow", "cheap", "gemini-1.5-flash-preview-0514", 1700),
        ("shadow", "mid", "claude-3-5-sonnet-20240620", 1700),
        ("serve", "top", "gpt-4-0125-preview", 1700),
    ]


def test_calls_cost_what_their_serving_attempt_cost(log: Log) -> None:
    with reading(log.home) as con:
        row = con.execute(
            """SELECT count(*), count_if(c.cost_nusd = a.cost_nusd AND c.latency_ms = a.latency_ms AND c.attempts = 1)
               FROM calls AS c JOIN attempts AS a ON a.attempt_id = c.served_attempt_id"""
        ).fetchone()
    assert row == (1700, 1700)


def test_evaluation_has_no_times(log: Log) -> None:
    with reading(log.home) as con:
        row = con.execute(
            "SELECT (SELECT count(started_at) FROM attempts), (SELECT count(ts) FROM calls),"
            " (SELECT count(received_at) FROM outcomes)"
        ).fetchone()
    assert row == (0, 0, 0)


def test_importing_again_changes_nothing_and_says_so(log: Log) -> None:
    before, segments = log.digest(), sorted(log.home.spool.rglob("*.jsonl"))
    said = json.loads(log.run("import", str(log.file), "--tiers", TIERS, "--calls-per-month", "100000", "--json"))
    assert (said["changed"], said["rows_new"], said["rows_known"]) == (False, 0, 79_900)
    assert (log.digest(), sorted(log.home.spool.rglob("*.jsonl"))) == (before, segments)
