"""The holdback through the real router: a random share stays on the old path until its date, and says so."""

from pathlib import Path

from scipy.stats import binom

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.receipts import find_calls, receipt_of
from router_core.call_log.trails import trail_of
from router_core.config import parse
from tests.routers import ROUTING, open_bench

RULE = "holdback: {path: [top], rate: 0.3, unit: UNIT, until: 2026-12-07, proposal: P-0142}"
HELD = ROUTING.replace("error_cost_usd: 0.5}", RULE + "}")
# 2026-12-07 in UTC
END_US = 1_796_601_600_000_000


def test_share_of_calls_stays_on_the_old_path_with_its_probability_logged(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {}, HELD.replace("UNIT", "call"))
    answers = [bench.ask() for _ in range(400)]
    held = sum(answer.tier == "top" for answer in answers)
    low, high = (int(binom.ppf(q, 400, 0.3)) for q in (0.0005, 0.9995))
    assert low <= held <= high
    calls = {call["call_id"]: call for call in bench.lines("call")}
    for row, item in zip(bench.lines("attempt"), (line["items"][0] for line in bench.lines("started")), strict=True):
        call = calls[row["call_id"]]
        is_held = row["tier"] == "top"
        assert call.get("holdback") == item.get("holdback") == ("P-0142" if is_held else None)
        assert row["propensity"] == item["propensity"] == (0.3 if is_held else 0.7)
        assert call["tier_planned"] == row["tier"]
    home = Home(bench.home)
    ingest_once(home)
    config = parse((tmp_path / "routing.yaml").read_bytes(), source="x")
    for answer in answers[:20]:
        with reading(home) as log:
            receipt = receipt_of(log, find_calls(log, answer.call_id)[0])
        trail = trail_of(receipt, config)
        assert trail.replays
        assert ("P-0142" in str(trail.opening)) == (answer.tier == "top")


def test_runs_stay_together_over_processes_and_until_the_date(tmp_path: Path) -> None:
    routing = HELD.replace("UNIT", "run")
    first = open_bench(tmp_path / "a", {}, routing)
    other = open_bench(tmp_path / "b", {}, routing, END_US - 60_000_000)
    tiers = {run: first.ask(run=run).tier for run in map(str, range(60))}
    assert set(tiers.values()) == {"cheap", "top"}
    assert {run: other.ask(run=run).tier for run in tiers} == tiers
    other.clock.set(END_US)
    assert {other.ask(run=run).tier for run in tiers} == {"cheap"}
    assert all("propensity" not in row for row in other.lines("attempt")[len(tiers) :])
