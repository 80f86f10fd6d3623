"""Import of a static evaluation: what becomes of its rows, and that they are in the log once or not at all."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from router_core.call_log.importers.outcomes import ImportReport, import_outcomes
from router_core.call_log.importers.segment import import_lock
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.reports import SpendFilter, spend
from router_core.errors import ConfigError, RouterError
from tests.outcome_files import make_row, make_rows, write_outcomes

TIERS = {"cheap": "small", "top": "large"}
NOW_US = 1_795_435_200_000_000
Import = Callable[..., ImportReport]


def catch_up(home: Home) -> None:
    ingest_once(home)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def bring(home: Home, tmp_path: Path) -> Import:
    """Import rows (or a file) and ingest them."""

    def run(rows: list[dict[str, Any]] | Path, **options: Any) -> ImportReport:
        file = rows if isinstance(rows, Path) else write_outcomes(tmp_path / "outcomes.parquet", rows)
        now_us = options.pop("now_us", NOW_US)
        report = import_outcomes(home, file, now_us=now_us, catch_up=catch_up, **options)
        catch_up(home)
        return report

    return run


def fetch(home: Home, query: str) -> list[tuple[Any, ...]]:
    with reading(home) as log:
        return log.execute(query).fetchall()


def test_top_model_serves_and_the_others_are_shadows(home: Home, bring: Import) -> None:
    bring([*make_rows(1), make_row(query_id="q0", model="other")], tiers=TIERS)
    found = fetch(home, "SELECT n, role, tier, request_model, propensity FROM attempts ORDER BY n")
    assert found == [
        (1, "serve", "top", "large", 1.0),
        (2, "shadow", None, "other", 1.0),
        (3, "shadow", "cheap", "small", 1.0),
    ]


def test_served_call_has_the_figures_of_its_serving_attempt(home: Home, bring: Import) -> None:
    bring([make_row(), make_row(model="large", cost_usd=0.25, latency_s=2.0, confidence=0.7)], tiers=TIERS)
    found = fetch(
        home,
        "SELECT status, tier_served, model_served, cost_nusd, latency_ms, confidence, confidence_source, attempts,"
        " source FROM calls",
    )
    assert found == [("ok", "top", "large", 250_000_000, 2000.0, 0.7, "caller", 1, "import")]


def test_without_a_mapping_every_attempt_is_a_shadow_of_an_evaluation(home: Home, bring: Import) -> None:
    bring(make_rows(2))
    assert fetch(home, "SELECT DISTINCT role, tier FROM attempts") == [("shadow", None)]
    calls = fetch(home, "SELECT DISTINCT status, served_attempt_id, tier_served, cost_nusd, attempts FROM calls")
    assert calls == [("evaluation", None, None, 0, 0)]


def test_query_without_the_top_model_is_an_evaluation(home: Home, bring: Import) -> None:
    report = bring([*make_rows(2), make_row(query_id="q9")], tiers=TIERS)
    found = fetch(home, "SELECT status, count(*) FROM calls GROUP BY 1 ORDER BY 1")
    assert (found, report.calls_served) == ([("evaluation", 1), ("ok", 2)], 2)


def test_unknown_cost_stays_unknown(home: Home, bring: Import) -> None:
    report = bring([make_row(cost_usd=None), make_row(model="large", cost_usd=0.0)])
    found = fetch(home, "SELECT cost_nusd, cost_status FROM attempts ORDER BY request_model")
    assert (found, report.rows_without_cost) == ([(0, "exact"), (None, "unknown")], 1)


def test_cost_from_estimated_tokens_is_marked(home: Home, bring: Import) -> None:
    bring([make_row(cost_basis="est_chars4_x_list_price"), make_row(model="large", cost_basis="tokens_x_list_price")])
    found = fetch(home, "SELECT cost_status FROM attempts ORDER BY request_model")
    assert found == [("exact",), ("estimated",)]


def test_correctness_becomes_a_gold_outcome_of_its_attempt(home: Home, bring: Import) -> None:
    bring([make_row(correct=0.25), make_row(model="large", correct=None)])
    found = fetch(
        home, "SELECT request_model, o.correct, o.source FROM attempts JOIN outcomes AS o USING (call_id, attempt_id)"
    )
    assert found == [("small", 0.25, "gold")]


def test_other_columns_are_kept_where_they_hold_something(home: Home, bring: Import) -> None:
    bring([make_row(split="test", note=None)])
    ((extra,),) = fetch(home, "SELECT extra FROM attempts")
    assert json.loads(extra) == {"split": "test"}


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_every_file_kind_gives_the_same_log(home: Home, bring: Import, tmp_path: Path, ending: str) -> None:
    rows = [*make_rows(2), make_row(query_id="q7", cost_usd=None, confidence=0.5, prompt_tokens=None)]
    bring(write_outcomes(tmp_path / f"outcomes.{ending}", rows), tiers=TIERS)
    with reading(home) as log:
        total = [asdict(row) for row in spend(log, "model")]
    assert [(row["key"], row["attempts"], row["cost_nusd"], row["n_labels"]) for row in total] == [
        ("large", 2, 20_000_000, 2),
        ("small", 3, 2_000_000, 3),
    ]


def test_column_without_any_value_may_have_any_type(home: Home, bring: Import, tmp_path: Path) -> None:
    file = write_outcomes(tmp_path / "outcomes.parquet", [make_row(latency_s=None)], latency_s="VARCHAR")
    assert bring(file).rows_new == 1


def test_path_with_pattern_characters_is_one_file(bring: Import, tmp_path: Path) -> None:
    folder = tmp_path / "a*b[c] 'd'"
    folder.mkdir()
    assert bring(write_outcomes(tmp_path / "x.parquet", make_rows(1)).rename(folder / "x?.parquet")).rows_new == 2


def test_importing_again_writes_nothing(home: Home, bring: Import) -> None:
    bring(make_rows(), tiers=TIERS)
    again = bring(make_rows(), tiers=TIERS, now_us=NOW_US + 1)
    assert (again.changed, again.rows_new, again.rows_known) == (False, 0, 6)
    assert fetch(home, "SELECT count(*) FROM events") == [(1,)]


def test_longer_file_adds_only_what_is_new(home: Home, bring: Import) -> None:
    bring(make_rows(2), tiers=TIERS)
    report = bring([*make_rows(3), make_row(query_id="q0", model="other")], tiers=TIERS, now_us=NOW_US + 1)
    assert (report.rows_new, report.rows_known, report.calls_new) == (3, 4, 1)
    counted = "SELECT (SELECT count(*) FROM attempts), (SELECT count(*) FROM calls), (SELECT count(*) FROM outcomes)"
    assert fetch(home, counted) == [(7, 3, 7)]


def test_same_rows_with_other_tiers_are_refused(home: Home, bring: Import) -> None:
    bring(make_rows())
    with pytest.raises(ConfigError, match=r"with other tiers: 6 rows.* is never rewritten"):
        bring(make_rows(), tiers=TIERS)
    assert fetch(home, "SELECT DISTINCT role FROM attempts") == [("shadow",)]


def test_same_rows_with_another_cost_are_refused(bring: Import) -> None:
    bring([make_row()])
    with pytest.raises(ConfigError, match="with another cost or correctness: 1 row;"):
        bring([make_row(cost_usd=0.002)])


def test_calls_per_month_may_be_given_later(home: Home, bring: Import) -> None:
    bring(make_rows(), tiers=TIERS)
    report = bring(make_rows(), tiers=TIERS, calls_per_month=3000, now_us=NOW_US + 1)
    with reading(home) as log:
        (served,) = spend(log, "role", SpendFilter(role="serve"))
    assert (report.rows_new, served.cost_month_usd) == (0, pytest.approx(30.0))


def test_bad_rows_are_left_out_when_asked_and_counted_by_reason(bring: Import) -> None:
    bad = [make_row(query_id="q8", correct=1.5), make_row(query_id="q9", cost_usd=-1), make_row(query_id="q9")]
    report = bring([*make_rows(2), *bad], skip_bad=True)
    assert [(left.reason, left.rows, left.first_row) for left in report.skipped] == [
        ("correct is outside 0..1", 1, 5),
        ("cost_usd is negative", 1, 6),
        ("same dataset, query_id and model as an earlier row", 1, 7),
    ]
    assert (report.rows_read, report.rows_kept) == (7, 4)


def test_refused_file_leaves_no_trace(home: Home, bring: Import) -> None:
    with pytest.raises(ConfigError):
        bring([make_row(correct=7)])
    assert list(home.root.rglob("*")) == [home.spool]


def test_segment_that_a_killed_import_left_is_removed(home: Home) -> None:
    leftover = home.spool / "import.0123456789ab-1.jsonl.tmp"
    leftover.write_text('{"k": "call"')
    with import_lock(home):
        assert not leftover.exists()


def test_two_imports_at_once_are_refused(home: Home) -> None:
    with import_lock(home), pytest.raises(RouterError, match="another import"), import_lock(home):
        pass


def test_imported_log_is_nobody_elses_to_read(home: Home, tmp_path: Path) -> None:
    import_outcomes(home, write_outcomes(tmp_path / "outcomes.parquet", make_rows(1)), now_us=NOW_US, catch_up=catch_up)
    (segment,) = home.spool.glob("import.*.jsonl")
    assert segment.stat().st_mode & 0o777 == 0o600


def test_ids_do_not_depend_on_where_one_name_ends(home: Home, bring: Import) -> None:
    bring([make_row(dataset="a", query_id="bc"), make_row(dataset="ab", query_id="c")])
    assert fetch(home, "SELECT count(DISTINCT call_id) FROM calls") == [(2,)]


def test_hostile_names_come_back_as_they_were(home: Home, bring: Import) -> None:
    name = "a'; DROP TABLE calls; --\n\x1b[2J\"\\u202e"
    bring([make_row(model=name, payload_type=name, query_id=name)], tiers={name: name})
    assert fetch(home, "SELECT request_model, payload_type, tier FROM attempts") == [(name, name, name)]
