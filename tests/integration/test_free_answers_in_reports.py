"""What pages, limits and proposals make of calls that nobody had to be paid for."""

import datetime as dt
import sys
from pathlib import Path

import pytest

from dashboard.periods import Period
from dashboard.queries import read_overview
from dashboard.sums import Filters
from optimizer.log_facts import read_facts
from optimizer.traffic.rows import TargetName, needs_of, read_calls, read_kinds
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from tests.command_line import Tierwise
from tests.routers import NOON_US, ROUTING, open_bench, reply

CONFIG = (
    ROUTING.replace("error_cost_usd: 0.5}", "error_cost_usd: 0.5, pre_checks: [{name: hi, table: {hi: ho}}]}")
    + "cache: {enabled: true}\n"
)
DAY = dt.datetime(2026, 11, 23, tzinfo=dt.UTC).replace(tzinfo=None)  # as the log has it
WINDOW = {"first": DAY, "until": DAY + dt.timedelta(days=1)}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A call that a model answered, the same again from the cache, one resumed from a draft, two of a pre-check."""
    unsure = {"a/small": [reply(), reply("draft", 0.1)], "a/medium": [KeyboardInterrupt(), reply("mid", 0.9)]}
    bench = open_bench(tmp_path, unsure, CONFIG)
    for step in ("1", "1", "2", "2"):
        try:
            bench.ask(run="r", step=step)
        except KeyboardInterrupt:
            continue
    for _ in range(2):
        bench.router.complete("x.extract", messages=[{"role": "user", "content": "hi"}])
    bench.router.close()
    ingest_once(Home(bench.home))
    return Home(bench.home)


def test_pages_show_pre_checks_beside_the_tiers_and_count_every_call(home: Home) -> None:
    filters = Filters(period=Period(first=DAY.date(), until=DAY.date() + dt.timedelta(days=1), zone="UTC"))
    with reading(home) as log:
        found = read_overview(log, filters)
        spend = log.execute("SELECT sum(cost_nusd) FROM attempts").fetchone()
    assert {row.name: row.sums.calls for row in found.by_tier} == {"cheap": 3, "mid": 1, "pre_check": 2}
    assert {row.name: row.sums.spend_nusd for row in found.by_tier}["pre_check"] == 0
    assert {row.name: row.sums.calls for row in found.by_model}["pre_check/hi"] == 2
    assert (found.total.calls, found.total.spend_nusd) == (6, (spend or (None,))[0])


def test_only_calls_that_took_their_whole_path_are_evidence(home: Home) -> None:
    with reading(home) as log:
        facts = read_facts(log, NOON_US - 1, NOON_US + 3_600_000_000)
    assert facts.volumes.select("calls", "failed").rows() == [(1, 1)]


def test_calls_that_asked_nobody_meet_no_limit(home: Home) -> None:
    with reading(home) as log:
        kinds, targets = read_kinds(log, WINDOW), [TargetName("cheap", "a/small")]
        rows = sum(batch.num_rows for batch in read_calls(log, kinds, targets, WINDOW, needs_of([])))
    assert {kind.tier_served for kind in kinds} == {"cheap", "mid", None}
    assert rows == 3


def test_check_command_imports_functions_from_where_it_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_rules.py").write_text("def classify(messages): return None\n")
    rule = "pre_checks: [{name: a, callable: 'my_own_rules:%s'}]"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("A_API_KEY", "x")
    said: list[str] = []
    for function in ("classify", "classyfi"):
        text = ROUTING.replace("error_cost_usd: 0.5}", f"error_cost_usd: 0.5, {rule % function}}}")
        (tmp_path / "routing.yaml").write_text(text)
        ended = Tierwise(capsys)("check")
        said.append(ended.out + ended.err)
    assert "my_own_rules" not in said[0]
    assert "payload_types.x.extract.pre_checks[0].callable (line 8): 'my_own_rules:classyfi' cannot be used" in said[1]
