"""The daily limit, over real routers and the real control store."""

import datetime as dt
import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from zoneinfo import ZoneInfo

from router_core import CallError
from router_core.call_log.home import Home
from router_core.call_log.importers.outcomes import import_outcomes
from router_core.call_log.read import reading
from router_core.types import Request, Response
from router_core.watch import ensure_ingested
from tests.guard_processes import book_much
from tests.log_processes import start
from tests.outcome_files import make_row, write_outcomes
from tests.routers import NOON_US, ROUTING, Bench, bounded, open_bench, reply

# one x.decide or y.write call on top costs 0.0007 USD
LIMITED = bounded(ROUTING) + "budgets: [{name: daily, usd: 0.01}]\n"
WITH_WRITE = LIMITED.replace("payload_types:\n", "payload_types:\n  y.write: {path: [top]}\n")
_HOUR_US = 3_600_000_000


def spend_until_capped(bench: Bench, payload_type: str = "y.write") -> int:
    """Ask until a call is degraded; return how many were not."""
    for count in range(200):
        if bench.ask(payload_type).degraded:
            return count
    raise AssertionError("never capped")


def test_noncritical_calls_move_to_the_cheapest_target_and_critical_ones_stay(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=WITH_WRITE)
    assert spend_until_capped(bench) == 15  # the 15th crosses 0.01 and is still served
    degraded, critical = bench.ask("y.write"), bench.ask("x.decide")
    assert (degraded.model, degraded.degraded, degraded.reason) == ("a/small", True, "degraded")
    assert (critical.model, critical.degraded) == ("b/large", False)
    line = bench.lines("call")[-2]
    assert (line["guard_state"], line["budget_scope"], line["tier_planned"]) == ("capped", "daily", "top")
    (event,) = [line for line in bench.lines("event") if line["event"] == "guard"]
    assert event["details"]["state"] == "capped"


def test_degraded_call_makes_no_escalation(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.1)]}, WITH_WRITE)
    spend_until_capped(bench)
    answer = bench.ask("x.extract")
    assert (answer.tier, len(answer.attempts)) == ("cheap", 1)


def test_degraded_call_falls_back_within_the_cheapest_tier(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [CallError("down", kind="auth")]}, WITH_WRITE)
    spend_until_capped(bench)
    assert bench.ask("x.extract").model == "b/small"


def test_min_tier_bounds_how_far_a_limit_may_degrade(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=WITH_WRITE.replace("{path: [top]}", "{path: [top], min_tier: mid}"))
    spend_until_capped(bench)
    assert bench.ask("y.write").model == "a/medium"


def test_critical_reserve_is_kept_for_critical_calls(tmp_path: Path) -> None:
    routing = WITH_WRITE.replace("usd: 0.01", "usd: 0.01, critical_reserve_usd: 0.004")
    assert spend_until_capped(open_bench(tmp_path, routing=routing)) == 9


def test_limit_latches_for_the_day_and_returns_at_local_midnight(tmp_path: Path) -> None:
    routing = WITH_WRITE.replace("version: 1\n", "version: 1\ntimezone: Asia/Tokyo\n")
    bench = open_bench(tmp_path, routing=routing)  # 12:00 UTC = 21:00 in Tokyo
    spend_until_capped(bench)
    bench.clock.set(NOON_US + 2 * _HOUR_US)
    assert bench.ask("y.write").degraded
    bench.clock.set(NOON_US + 3 * _HOUR_US)
    assert not bench.ask("y.write").degraded


def test_limit_reached_by_a_reservation_stays_reached_though_the_call_was_cheap(tmp_path: Path) -> None:
    """The first estimate, at 500 tokens, is above the limit; the calls themselves are far below it."""
    routing = WITH_WRITE.replace("usd: 0.01", "usd: 0.005")
    bench = open_bench(tmp_path, routing=routing)
    seen: list[bool] = []

    def while_it_runs(request: Request) -> Response:
        if not seen:
            seen.append(True)
            seen.append(bench.ask("y.write").degraded)
        return reply()

    bench.backend.replies = {"b/large": while_it_runs}
    bench.ask("y.write")
    assert seen == [True, True]
    assert bench.ask("y.write").degraded
    bench.router.close()
    assert open_bench(tmp_path, routing=routing, start_us=bench.clock.now_us()).ask("y.write").degraded


def test_edit_of_the_config_keeps_what_is_reserved(tmp_path: Path) -> None:
    routing = WITH_WRITE.replace("usd: 0.01", "usd: 0.005")
    bench = open_bench(tmp_path, routing=routing)
    degraded: list[bool] = []

    def edited_meanwhile(request: Request) -> Response:
        if not degraded:
            (tmp_path / "routing.yaml").write_text(routing + "# a comment\n")
            bench.router.reload()
            degraded.append(True)
            degraded.append(bench.ask("y.write").degraded)
        return reply()

    bench.backend.replies = {"b/large": edited_meanwhile}
    bench.ask("y.write")
    assert degraded == [True, True]


def test_spend_that_a_locked_store_could_not_take_is_booked_later(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=WITH_WRITE)
    bench.ask("x.decide")
    with sqlite3.connect(tmp_path / "home" / "control.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        bench.ask("x.decide")
        other.execute("COMMIT")
    bench.clock.sleep(2)
    bench.ask("x.decide")
    with sqlite3.connect(tmp_path / "home" / "control.sqlite") as store:
        assert store.execute("SELECT sum(critical_nusd) FROM budget_spend").fetchall() == [(3 * 700_000,)]


def test_latch_and_spend_survive_a_restart(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=WITH_WRITE)
    spend_until_capped(bench)
    bench.router.close()
    assert open_bench(tmp_path, routing=WITH_WRITE, start_us=bench.clock.now_us()).ask("y.write").degraded


def test_two_routers_share_one_limit(tmp_path: Path) -> None:
    first, second = open_bench(tmp_path, routing=WITH_WRITE), open_bench(tmp_path, routing=WITH_WRITE)
    second.clock.sleep(_HOUR_US / 1e6)
    for _ in range(8):
        first.ask("y.write")
    assert spend_until_capped(second) == 7


def test_raised_limit_lifts_the_latch(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=WITH_WRITE)
    spend_until_capped(bench)
    (tmp_path / "routing.yaml").write_text(WITH_WRITE.replace("usd: 0.01", "usd: 1"))
    bench.router.reload()
    bench.clock.sleep(1)
    assert not bench.ask("y.write").degraded


def test_without_budgets_nothing_is_stored_and_nothing_blocks(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    assert not bench.ask().degraded
    assert not (tmp_path / "home" / "control.sqlite").exists()


def test_imported_money_never_counts_against_a_budget(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=WITH_WRITE)
    bench.ask("y.write")
    home = Home(bench.home)
    file = write_outcomes(tmp_path / "outcomes.parquet", [make_row(cost_usd=1_000.0)])
    import_outcomes(home, file, now_us=bench.clock.now_us(), catch_up=ensure_ingested)
    ensure_ingested(home)
    with reading(home) as log:
        assert log.execute("SELECT sum(cost_nusd) FROM attempts WHERE source = 'import'").fetchone() == (10**12,)
    assert not bench.ask("y.write").degraded


def test_unusable_store_serves_noncritical_calls_as_capped_says_so_and_recovers(tmp_path: Path) -> None:
    control = tmp_path / "home" / "control.sqlite"
    control.mkdir(parents=True)  # SQLite cannot open a folder
    bench = open_bench(tmp_path, routing=WITH_WRITE)
    assert bench.ask("y.write").degraded
    assert not bench.ask("x.decide").degraded
    control.rmdir()
    bench.clock.sleep(1)
    assert not bench.ask("y.write").degraded
    states = [line["details"]["state"] for line in bench.lines("event") if line["event"] == "budget_store"]
    assert states == ["unavailable", "recovered"]
    with sqlite3.connect(control) as store:
        (settled,) = store.execute("SELECT sum(noncritical_nusd + critical_nusd) FROM budget_spend").fetchone()
    assert settled == sum(line["cost_nusd"] for line in bench.lines("attempt"))


def test_settled_spend_equals_the_attempts_of_each_local_day(tmp_path: Path) -> None:
    routing = WITH_WRITE.replace("version: 1\n", "version: 1\ntimezone: Europe/Berlin\n").replace("usd: 0.01", "usd: 9")
    bench = open_bench(tmp_path, routing=routing)
    for _ in range(60):
        bench.clock.sleep(3600)
        bench.ask("y.write")
    zone = ZoneInfo("Europe/Berlin")
    bench.router.close()

    def by_day(rows: Iterable[tuple[int, int]]) -> dict[dt.date, int]:
        found: Counter[dt.date] = Counter()
        for at_us, nusd in rows:
            found[dt.datetime.fromtimestamp(at_us / 1e6, zone).date()] += nusd
        return found

    with sqlite3.connect(tmp_path / "home" / "control.sqlite") as store:
        kept = store.execute("SELECT slice_us, noncritical_nusd FROM budget_spend").fetchall()
        totals = store.execute("SELECT start_us, noncritical_nusd FROM budget_totals").fetchall()
    spent = by_day((line["started_at"], line["cost_nusd"]) for line in bench.lines("attempt"))
    assert by_day(kept) == by_day(totals) == spent


def test_additions_from_two_processes_do_not_drift(tmp_path: Path) -> None:
    """Integer nano-dollars: 2 x 5,000 bookings of 333,333,333 nano-dollars each are exactly their product."""
    path = tmp_path / "control.sqlite"
    running = [start(book_much, path, 5_000, 333_333_333) for _ in range(2)]
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0, 0]
    with sqlite3.connect(path) as store:
        assert store.execute("SELECT sum(noncritical_nusd) FROM budget_spend").fetchall() == [(10_000 * 333_333_333,)]
        assert store.execute("SELECT sum(noncritical_nusd) FROM budget_totals").fetchall() == [(10_000 * 333_333_333,)]
