"""The demo: a real log of a simulated month, with findings where its marker says they are."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from dashboard.demo import make_demo
from dashboard.scenario import arrivals, make_scenario, routing_yaml
from router_core import ConfigError
from router_core.call_log.access import elected
from router_core.call_log.home import Home
from router_core.call_log.read import reading
from router_core.config import parse
from router_core.watch import ensure_ingested
from tests.builders import DEMO_LAST_DAY


@pytest.fixture(scope="module")
def figures(demo_figures: dict[str, Any]) -> dict[str, Any]:
    return demo_figures


@pytest.fixture(scope="module")
def whole(demo_home: Home) -> Home:
    """The demo as a newcomer gets it: 60 days."""
    return demo_home


@pytest.fixture
def log(whole: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    with reading(whole) as connection:
        yield connection


@pytest.fixture(scope="module")
def planted(whole: Home) -> dict[str, Any]:
    return json.loads(whole.demo_marker.read_text())["planted"]


def values(log: duckdb.DuckDBPyConnection, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return log.execute(query, parameters).fetchall()


@pytest.mark.slow
def test_demo_has_at_least_100_000_calls_over_60_local_days(log: duckdb.DuckDBPyConnection, whole: Home) -> None:
    ((calls, first, last),) = values(log, "SELECT count(*), min(ts), max(ts) FROM calls")
    assert calls >= 100_000
    assert calls == json.loads(whole.demo_marker.read_text())["calls"]
    zone = ZoneInfo("Europe/Berlin")
    days = [moment.replace(tzinfo=dt.UTC).astimezone(zone).date() for moment in (first, last)]
    assert days == [DEMO_LAST_DAY - dt.timedelta(59), DEMO_LAST_DAY]


@pytest.mark.slow
def test_limit_is_hit_on_the_planted_days_and_on_no_other(
    log: duckdb.DuckDBPyConnection, planted: dict[str, Any]
) -> None:
    degraded = values(
        log, "SELECT DISTINCT timezone('Europe/Berlin', timezone('UTC', ts))::DATE::VARCHAR FROM calls WHERE degraded"
    )
    assert sorted(day for (day,) in degraded) == planted["burst_days"]
    assert len(planted["burst_days"]) >= 3


@pytest.mark.slow
def test_critical_calls_are_never_degraded_and_the_workflow_goes_on(log: duckdb.DuckDBPyConnection) -> None:
    ((critical, degraded, answered),) = values(
        log,
        "SELECT count(*) FILTER (critical), count(*) FILTER (critical AND degraded), "
        "count(*) FILTER (degraded AND status = 'ok') / count(*) FILTER (degraded) FROM calls",
    )
    assert critical > 1_000
    assert degraded == 0
    assert answered > 0.99


@pytest.mark.slow
def test_outage_shows_as_failures_of_one_provider_in_its_hours(
    log: duckdb.DuckDBPyConnection, planted: dict[str, Any]
) -> None:
    start, end = planted["outage_us"]
    provider = planted["outage_provider"].rstrip("/")
    ((inside, outside),) = values(
        log,
        "SELECT count(*) FILTER (status = 'failed' AND inside) / count(*) FILTER (inside), "
        "count(*) FILTER (status = 'failed' AND NOT inside) / count(*) FILTER (NOT inside) FROM "
        "(SELECT *, started_at >= make_timestamp(?) AND started_at < make_timestamp(?) AS inside "
        "FROM attempts WHERE provider_name = ?)",
        start,
        end,
        provider,
    )
    assert inside > 0.9
    assert outside < 0.02
    ((fallbacks,),) = values(
        log,
        "SELECT sum(fallbacks) FROM calls WHERE ts >= make_timestamp(?) AND ts < make_timestamp(?)",
        start,
        end,
    )
    assert fallbacks > 20


@pytest.mark.slow
def test_type_without_evidence_has_calls_and_no_label(log: duckdb.DuckDBPyConnection, planted: dict[str, Any]) -> None:
    rows = dict(
        values(
            log,
            "SELECT payload_type, count(*) FILTER (correct IS NOT NULL) FROM call_outcomes GROUP BY payload_type",
        )
    )
    assert rows.pop(planted["no_evidence"]) == 0
    assert all(labels > 500 for labels in rows.values())


@pytest.mark.slow
def test_labels_agree_with_the_planted_accuracies(
    log: duckdb.DuckDBPyConnection, figures: dict[str, Any], planted: dict[str, Any]
) -> None:
    scenario = make_scenario(figures, 1, DEMO_LAST_DAY)
    for finding in ("safe_down", "pays_up", "tie"):
        plan = scenario.types[planted[finding]]
        ((share, labels),) = values(
            log,
            "SELECT avg(correct), count(correct) FROM call_outcomes WHERE payload_type = ? AND tier_served = ? "
            "AND NOT degraded",
            plan.name,
            plan.path[0],
        )
        truth = plan.accuracy[plan.path[0]]
        assert share == pytest.approx(truth, abs=4 * (truth * (1 - truth) / labels) ** 0.5)


# paired labels: the served answer and one of another tier to the same task, of calls in the last eight weeks
PAIRS = """
    SELECT count(*), avg(other.correct - served.correct), stddev_samp(other.correct - served.correct) / sqrt(count(*)),
           (SELECT avg(cost_nusd) FROM attempts WHERE payload_type = $type AND role = 'serve' AND tier = $served) / 1e9
           - avg(other.cost_nusd) / 1e9
    FROM attempt_outcomes AS other
    JOIN calls ON calls.call_id = other.call_id
    JOIN attempt_outcomes AS served ON served.attempt_id = calls.served_attempt_id
    WHERE other.role = 'shadow' AND other.tier = $other AND other.payload_type = $type
        AND other.correct IS NOT NULL AND served.correct IS NOT NULL
        AND calls.ts >= (SELECT max(ts) FROM calls) - INTERVAL 56 DAY
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("finding", "served", "other", "fewest", "low", "high"),
    [
        ("safe_down", "mid", "cheap", 5_000, 2, 99),
        ("pays_up", "cheap", "mid", 200, 2, 99),
        ("tie", "mid", "cheap", 5_000, -3, 1),
    ],
)
def test_log_holds_the_paired_evidence_that_decides_each_finding(
    log: duckdb.DuckDBPyConnection,
    figures: dict[str, Any],
    planted: dict[str, Any],
    finding: str,
    served: str,
    other: str,
    fewest: int,
    low: float,
    high: float,
) -> None:
    """What a move gains per call, in standard errors: clear where a move pays, none to be seen for the tie."""
    where = {"type": planted[finding], "served": served, "other": other}
    ((pairs, more_right, error, saved_usd),) = log.execute(PAIRS, where).fetchall()
    price = make_scenario(figures, 1, DEMO_LAST_DAY).types[planted[finding]].error_cost_usd
    assert pairs >= fewest
    assert low < (saved_usd + more_right * price) / (error * price) < high


@pytest.mark.slow
def test_type_without_evidence_has_no_shadow_and_every_other_type_has(
    log: duckdb.DuckDBPyConnection, planted: dict[str, Any]
) -> None:
    rows = dict(values(log, "SELECT payload_type, count(*) FILTER (role = 'shadow') FROM attempts GROUP BY 1"))
    assert rows.pop(planted["no_evidence"]) == 0
    assert all(shadows > 300 for shadows in rows.values())


@pytest.mark.slow
def test_shadows_have_the_rate_of_their_rule_as_propensity_and_are_as_many(
    log: duckdb.DuckDBPyConnection, figures: dict[str, Any]
) -> None:
    accepted = dict(
        values(
            log,
            "SELECT payload_type, count(*) FROM calls WHERE status = 'ok' AND escalations = 0 AND NOT degraded "
            "AND guard_state = 'normal' AND tier_served = tier_planned GROUP BY 1",
        )
    )
    for plan in make_scenario(figures, 1, DEMO_LAST_DAY).types.values():
        for rule in plan.shadows:
            ((made, lowest, highest),) = values(
                log,
                "SELECT count(*), min(propensity), max(propensity) FROM attempts "
                "WHERE role = 'shadow' AND payload_type = ? AND tier = ?",
                plan.name,
                rule.tier,
            )
            assert lowest == highest == rule.rate
            expected = accepted[plan.name] * rule.rate
            # none is sent to a provider that is out
            assert made == pytest.approx(expected, abs=5 * (expected * (1 - rule.rate)) ** 0.5 + 0.02 * expected)


@pytest.mark.slow
def test_shadows_stay_inside_their_budget_and_seldom_have_to_be_dropped(
    log: duckdb.DuckDBPyConnection, whole: Home
) -> None:
    budget = parse((whole.root / "routing.yaml").read_bytes(), source="routing.yaml").shadow_budget
    assert budget is not None
    ((most,),) = values(
        log,
        "SELECT max(nusd) FROM (SELECT sum(cost_nusd) AS nusd FROM attempts WHERE role = 'shadow' "
        "GROUP BY timezone('Europe/Berlin', timezone('UTC', started_at))::DATE)",
    )
    assert 0 < most <= budget.usd * 10**9
    ((dropped,),) = values(
        log,
        "SELECT coalesce(sum(coalesce((details->>'budget')::INT, 0) + coalesce((details->>'queue')::INT, 0)), 0) "
        "FROM events WHERE event = 'shadows_dropped'",
    )
    assert dropped == 0


@pytest.mark.slow
def test_every_valid_answer_of_a_labelled_call_is_labelled(log: duckdb.DuckDBPyConnection) -> None:
    """The served one, its drafts and its shadows, at the same moment and with the same probability."""
    ((calls, odd),) = values(
        log,
        "SELECT count(*), count(*) FILTER (labels <> answers OR probabilities <> 1 OR moments <> 1) FROM "
        "(SELECT call_id, count(*) AS answers, count(correct) AS labels, count(DISTINCT label_propensity) AS "
        "probabilities, count(DISTINCT outcome_received_at) AS moments FROM attempt_outcomes WHERE status = 'ok' "
        "GROUP BY call_id HAVING count(correct) > 0)",
    )
    assert calls > 30_000
    assert odd == 0
    ((drafts,),) = values(
        log,
        "SELECT count(correct) FROM attempt_outcomes AS a JOIN calls USING (call_id) "
        "WHERE a.role = 'serve' AND calls.escalations > 0",
    )
    assert drafts > 1_000


@pytest.mark.slow
def test_spend_of_calls_and_of_shadows_is_all_there_is(log: duckdb.DuckDBPyConnection) -> None:
    ((everything, calls, shadows),) = values(
        log,
        "SELECT (SELECT sum(cost_nusd) FROM attempts), (SELECT sum(cost_nusd) FROM calls), "
        "(SELECT sum(cost_nusd) FROM rollup_attempts WHERE role = 'shadow')",
    )
    assert everything == calls + shadows
    assert 0 < shadows < 0.08 * everything


def test_findings_lie_where_their_total_cost_says(figures: dict[str, Any]) -> None:
    """Spend plus error impact per call: down saves, up pays, the tie does neither by more than a twentieth."""
    scenario = make_scenario(figures, 4, DEMO_LAST_DAY)
    prices = {spec["tier"]: spec for spec in reversed(figures["models"].values())}

    def total_usd(finding: str, tier: str) -> float:
        plan = next(plan for plan in scenario.types.values() if plan.finding == finding)
        prompt, price = figures["prompts"][plan.stage], prices[tier]
        spend = (prompt["input_chars"] / 4 * price["input"] + prompt["output_tokens"] * price["output"]) / 1e6
        return spend + (1 - plan.accuracy[tier]) * plan.error_cost_usd

    assert total_usd("safe_down", "cheap") < 0.95 * total_usd("safe_down", "mid")
    assert total_usd("pays_up", "mid") < 0.6 * total_usd("pays_up", "cheap")
    assert total_usd("tie", "cheap") == pytest.approx(total_usd("tie", "mid"), rel=0.05)


def test_seed_places_the_findings_on_other_names(figures: dict[str, Any]) -> None:
    found = {make_scenario(figures, seed, DEMO_LAST_DAY).planted["safe_down"] for seed in range(12)}
    assert len(found) >= 3


def test_same_seed_makes_the_same_scenario_config_and_arrivals(figures: dict[str, Any]) -> None:
    one, other = (make_scenario(figures, 5, DEMO_LAST_DAY) for _ in range(2))
    assert routing_yaml(one) == routing_yaml(other)
    assert arrivals(one, DEMO_LAST_DAY) == arrivals(other, DEMO_LAST_DAY)
    assert parse(routing_yaml(one), source="routing.yaml").payload_types.keys() == one.types.keys()


@pytest.mark.parametrize("days", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_same_seed_makes_the_same_log_in_one_process_or_two(tmp_path: Path, figures: dict[str, Any], days: int) -> None:
    # a quarter of the documents: the limits scale with them
    quiet = {**figures, **{key: figures[key] // 4 for key in ("documents_per_weekday", "documents_per_weekend_day")}}

    def comparable(root: Path) -> list[tuple[Any, ...]]:
        home = make_demo(root, quiet, seed=2, last_day=DEMO_LAST_DAY, days=days).home
        ensure_ingested(home)
        with reading(home) as log:
            return (
                log.execute("SELECT * EXCLUDE (checks) FROM attempts ORDER BY attempt_id").fetchall()
                + log.execute("SELECT * EXCLUDE (worker) FROM calls ORDER BY call_id").fetchall()
                + log.execute("SELECT * FROM outcomes ORDER BY ALL").fetchall()
            )

    assert comparable(tmp_path / "one") == comparable(tmp_path / "other")


def test_finished_demo_is_not_made_again(tmp_path: Path, figures: dict[str, Any]) -> None:
    first = make_demo(tmp_path, figures, seed=2, last_day=DEMO_LAST_DAY, days=1)
    ensure_ingested(first.home)
    second = make_demo(tmp_path, figures, seed=2, last_day=DEMO_LAST_DAY, days=1)
    assert (first.made_now, second.made_now, second.calls) == (True, False, first.calls)
    third = make_demo(tmp_path, figures, seed=3, last_day=DEMO_LAST_DAY, days=1)
    assert third.made_now


def test_folder_that_is_no_demo_is_left_alone(tmp_path: Path, figures: dict[str, Any]) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("all of it")
    with pytest.raises(ConfigError, match="holds something else"):
        make_demo(tmp_path, figures, seed=2, last_day=DEMO_LAST_DAY, days=1)
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "all of it"


def test_demo_that_is_being_shown_is_not_made_again_under_it(tmp_path: Path, figures: dict[str, Any]) -> None:
    shown = make_demo(tmp_path, figures, seed=2, last_day=DEMO_LAST_DAY, days=1).home
    with elected(shown), pytest.raises(ConfigError, match="being shown or watched"):
        make_demo(tmp_path, figures, seed=3, last_day=DEMO_LAST_DAY, days=1)
    assert json.loads(shown.demo_marker.read_text())["seed"] == 2
