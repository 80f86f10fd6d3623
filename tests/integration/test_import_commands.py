"""The commands ``import`` and ``export``, as typed."""

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from router_core.call_log.importers import postgres
from router_core.call_log.importers.litellm_maps import SPEND_LOGS
from tests.builders import make_config_bytes
from tests.command_line import Tierwise
from tests.log_sources import fetch, spend_row, table_row, write_csv, write_jsonl
from tests.outcome_files import make_rows, write_outcomes


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tierwise:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    return Tierwise(capsys)


def test_import_says_what_it_guessed_and_how_far_costs_are_apart(tierwise: Tierwise, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "spend.csv", [spend_row(i) for i in range(3)])
    first, again = tierwise("import", file), tierwise("import", file)
    assert first.code == 0, first.err
    assert "read as litellm-spend (guessed; say otherwise with --format)" in first.out
    assert "3 rows read, 3 kept, 3 new, 0 already there" in first.out
    assert "drift over 3 rows that both know" in first.out
    assert "Nothing changed" in again.out
    assert tierwise("spend", "--json").json()[0]["attempts"] == 3


def test_columns_of_a_table_that_no_name_tells_are_said_before_their_figures_are_missed(
    tierwise: Tierwise, tmp_path: Path
) -> None:
    rows = [{"created": "2026-11-03T10:00:00Z", "model": "m", "tok_out": 5, "meta": {"task": "a"}, "\x1b[31mx": 1}]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    guessed = tierwise("import", file, "--dry-run")
    options = ("--map", "tok_out=output_tokens", "--payload-type-from", "meta.task")
    mapped = tierwise("import", file, *options)
    spend = tierwise("import", write_csv(tmp_path / "spend.csv", [spend_row()]))

    assert "columns that are not read: tok_out, meta, \\x1b[31mx; say what one holds with --map" in guessed.out
    assert "columns that are not read: \\x1b[31mx; say" in mapped.out
    assert "columns that are not read" not in spend.out


def test_one_row_is_not_reported_as_many(tierwise: Tierwise, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "spend.csv", [spend_row()])
    imported = tierwise("import", file)
    exported = tierwise("export", "--out", tmp_path / "out")
    spent = tierwise("spend")

    assert "1 row read, 1 kept, 1 new" in imported.out
    assert "\n  1 call\n" in imported.out
    assert exported.out.startswith("Wrote 1 attempt, 1 call, 0 outcomes as parquet")
    assert "over 1 attempt." in spent.out


def test_evaluation_is_told_from_a_log(tierwise: Tierwise, tmp_path: Path) -> None:
    file = write_outcomes(tmp_path / "outcomes.parquet", make_rows(2))
    assert "2 calls (2 new; 2 served" in tierwise("import", file, "--tiers", "cheap=small,top=large").out


def test_dry_run_prints_the_map_and_the_first_rows(tierwise: Tierwise, tmp_path: Path) -> None:
    ended = tierwise("import", write_csv(tmp_path / "x.csv", [table_row()]), "--dry-run")
    assert "Column map" in ended.out
    assert "← Prompt Tokens" in ended.out
    assert "openai/gpt-5-mini" in ended.out
    assert "secret" not in ended.out
    assert "Nothing was written" in ended.out
    assert not (tmp_path / ".tierwise").exists()


def test_map_may_be_a_file_with_options_beside_it(tierwise: Tierwise, tmp_path: Path) -> None:
    row = {"when": "2026-11-03 10:00:00", "llm": "m", "who": "ap", "kind": "memo", "price": "0.5"}
    file = write_csv(tmp_path / "x.csv", [row, row | {"when": "2026-11-05 10:00:00"}])
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "columns: {when: started_at, who: tags.team, price: cost_usd}\n"
        "payload_type: [kind]\ntimezone: Asia/Tokyo\nuntil: 2026-11-04\n"
    )
    ended = tierwise("import", file, "--map", str(rules), "--map", "llm=model", "--json").json()
    assert (ended["rows_kept"], ended["cost_nusd"]) == (1, 500_000_000)
    assert ended["since_us"] == int(dt.datetime(2026, 11, 3, 1, tzinfo=dt.UTC).timestamp() * 1e6)
    assert fetch(Home(tmp_path / ".tierwise"), "SELECT payload_type FROM attempts") == [("memo",)]


@pytest.mark.parametrize("text", ["- a", "colums: {a: model}", "columns: {a: modell}", "columns: {a: 5}", "a: [", ""])
def test_unusable_map_file_is_refused(tierwise: Tierwise, tmp_path: Path, text: str) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    ended = tierwise("import", write_csv(tmp_path / "x.csv", [table_row()]), "--map", "rules.yaml")
    assert (ended.code, "rules.yaml" in ended.err, "Traceback" in ended.err) == (2, True, False)


def test_tiers_and_prices_come_from_the_config_beside_the_log(tierwise: Tierwise, tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "tiers": {"cheap": [{"model": "openai/gpt-5-mini"}], "top": [{"model": "openai/gpt-5"}]},
        "prices": {"openai/gpt-5-mini": {"input": 10, "output": 100}},
    }
    (tmp_path / "routing.yaml").write_bytes(make_config_bytes(**config))
    tierwise("import", write_csv(tmp_path / "x.csv", [table_row(0, **{"Cost (USD)": None})]))
    found = fetch(Home(tmp_path / ".tierwise"), "SELECT tier, cost_nusd, price_source FROM attempts")
    assert found == [("cheap", 20_000_000, "override")]


def test_model_of_the_mapping_that_never_occurs_refuses_the_import(tierwise: Tierwise, tmp_path: Path) -> None:
    ended = tierwise("import", write_csv(tmp_path / "x.csv", [table_row()]), "--tiers", "top=gpt-9")
    assert (ended.code, "has no requests to model 'gpt-9'" in ended.err) == (2, True)
    assert not (tmp_path / ".tierwise").exists()


def test_payload_type_is_where_the_option_says(tierwise: Tierwise, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [spend_row(), spend_row(1, request_tags=[])])
    tierwise("import", file, "--payload-type-from", "tag:task, model")
    found = fetch(Home(tmp_path / ".tierwise"), "SELECT payload_type FROM attempts ORDER BY started_at")
    assert found == [("invoice.extract",), ("gpt-5-mini",)]


def test_export_and_back(tierwise: Tierwise, tmp_path: Path) -> None:
    tierwise("import", write_csv(tmp_path / "x.csv", [table_row(i) for i in range(3)]))
    wrote = tierwise("export", "--out", "out", "--what", "attempts,calls")
    assert "Wrote 3 attempts, 3 calls as parquet into out: 2 files" in wrote.out
    assert tierwise("export", "--out", "out").code == 2
    back = tierwise("import", "out", "--home", "other")
    assert "new: 3 attempts, 3 calls" in back.out
    assert tierwise("spend", "--json", "--home", "other").json() == tierwise("spend", "--json").json()
    assert tierwise("export", "--out", "more", "--what", "attempts,secrets").code == 2


def test_database_without_its_driver_says_what_to_install(tierwise: Tierwise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, postgres.DRIVER, None)
    ended = tierwise("import", "postgresql://ada:hunter2@db.example:5433/litellm")
    assert ended.code == 1
    assert 'pip install "psycopg[binary]"' in ended.err
    assert "postgresql://db.example:5433/litellm" in ended.err
    assert "hunter2" not in ended.err
    assert tierwise("import", "postgresql://db/litellm", "--format", "langfuse").code == 2


def test_query_of_the_database_reads_no_texts_and_only_the_window() -> None:
    columns = sorted(postgres.columns_of(SPEND_LOGS))
    assert {"messages", "response"}.isdisjoint(columns)
    since = dt.datetime(2026, 11, 1, tzinfo=dt.UTC).replace(tzinfo=None)
    statement, values = postgres.query(["request_id", "startTime"], [since, None])
    assert statement == (
        'SELECT "request_id", "startTime" FROM "LiteLLM_SpendLogs" WHERE "startTime" >= %s ORDER BY "startTime"'
    )
    assert values == [since]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("postgresql://u:p@h/d?sslmode=require", "postgresql://h/d"),
        ("postgres://h:1/d", "postgresql://h:1/d"),
        ("postgresql://u:p@h:port/d", "postgresql://..."),
    ],
)
def test_address_is_shown_without_its_secrets(address: str, found: str) -> None:
    assert postgres.is_database(address)
    assert postgres.shown(address) == found


def test_report_is_json_for_a_program(tierwise: Tierwise, tmp_path: Path) -> None:
    report = tierwise("import", write_csv(tmp_path / "x.csv", [spend_row()]), "--json").json()
    assert {"rows_read", "rows_kept", "skipped", "drift", "since_us", "columns"} <= report.keys()
    events = fetch(Home(tmp_path / ".tierwise"), "SELECT event, details FROM events")
    assert [(event, json.loads(details)["format"]) for event, details in events] == [("log_import", "litellm-spend")]
