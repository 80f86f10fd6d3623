"""Limits of every period and scope through the real router, and what they do to calls."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from router_core import RequestRejectedError
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.receipts import newest_calls
from router_core.errors import ConfigError
from router_core.types import Request, Response
from tests.command_line import Tierwise
from tests.routers import NOON_US, ROUTING, Bench, open_bench, reply

TOP = ROUTING.replace("payload_types:\n", "payload_types:\n  y.write: {path: [top], group: w}\n  z: {path: [top]}\n")
# one y.write, z or x.decide call on top costs this
CALL_NUSD = 700_000
HOUR_S = 3_600


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str]) -> Tierwise:
    return Tierwise(capsys)


def limited(*budgets: str, routing: str = TOP) -> str:
    return routing + f"budgets: [{', '.join(f'{{{budget}}}' for budget in budgets)}]\n"


def until_degraded(bench: Bench, payload_type: str = "y.write", **call: Any) -> int:
    for count in range(100):
        if bench.ask(payload_type, **call).degraded:
            return count
    raise AssertionError("never degraded")


@pytest.mark.parametrize(
    ("per", "still_h", "back_h"),
    [
        ("per: week", 6 * 24, 7 * 24 - 12),  # noon is on a Monday
        ("per: month", 7 * 24, 8 * 24 - 12),  # the 23rd of November
        ("per: rolling, window_h: 5", 4, 6),
    ],
)
def test_limit_holds_for_its_period_and_comes_back_by_itself(
    tmp_path: Path, per: str, still_h: int, back_h: int
) -> None:
    bench = open_bench(tmp_path, routing=limited(f"name: b, usd: 0.0035, {per}"))
    assert until_degraded(bench) == 5
    bench.clock.set(NOON_US + still_h * HOUR_S * 1_000_000)
    assert bench.ask("y.write").degraded
    bench.clock.set(NOON_US + back_h * HOUR_S * 1_000_000)
    assert not bench.ask("y.write").degraded


@pytest.mark.parametrize(
    ("scope", "counted", "free"),
    [
        ("payload_types: [y.write]", {"payload_type": "y.write"}, {"payload_type": "z"}),
        ("group: w", {"payload_type": "y.write"}, {"payload_type": "z"}),
        (
            "tag: {team: ap}",
            {"payload_type": "z", "tags": {"team": "ap"}},
            {"payload_type": "z", "tags": {"team": "b"}},
        ),
        ("run: true", {"payload_type": "z", "run": "j-1"}, {"payload_type": "z", "run": "j-2"}),
    ],
)
def test_limit_counts_and_degrades_only_what_its_scope_names(
    tmp_path: Path, scope: str, counted: dict[str, Any], free: dict[str, Any]
) -> None:
    bench = open_bench(tmp_path, routing=limited(f"name: b, usd: 0.0035, scope: {{{scope}}}"))
    for _ in range(3):
        assert not bench.ask(**free).degraded
    assert until_degraded(bench, **counted) == 5
    assert not bench.ask(**free).degraded
    rows = {(line["degraded"], line.get("budget_scope")) for line in bench.lines("call")[-2:]}
    assert (True, "b") in rows


def test_of_several_limits_the_tightest_decides_and_is_named(tmp_path: Path) -> None:
    routing = limited(
        "name: all, usd: 1", "name: month, usd: 0.0035, per: month", "name: w, usd: 0.0014, scope: {group: w}"
    )
    bench = open_bench(tmp_path, routing=routing)
    assert until_degraded(bench) == 2
    assert bench.lines("call")[-1]["budget_scope"] == "w"
    assert until_degraded(bench, "z") == 3
    bench.ask("y.write")
    assert bench.lines("call")[-1]["budget_scope"] == "month"  # both are reached: nothing is left of either, the first
    states = [line["details"]["budget"] for line in bench.lines("event") if line["event"] == "guard"]
    assert states == ["w", "month"]


def test_taper_leaves_out_escalations_and_shadows_before_the_limit_is_reached(tmp_path: Path) -> None:
    routing = limited("name: b, usd: 0.0035, taper_from: 0.4").replace(
        "path: [cheap, mid, top]", "path: [cheap, mid, top], shadow: [{tier: mid, rate: 1, on: all}]"
    )
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.1)]}, routing + "shadow_budget: {usd: 1}\n")
    assert bench.ask("x.extract").tier == "mid"
    for _ in range(2):
        bench.ask("y.write")
    answer = bench.ask("x.extract")
    assert (answer.tier, answer.reason, answer.degraded, len(answer.attempts)) == ("cheap", "guard", False, 1)
    assert not bench.ask("y.write").degraded  # what is not optional goes on as planned
    line = bench.lines("call")[-2]
    assert (line["guard_state"], line["budget_scope"]) == ("taper", "b")


def test_taper_lets_an_invalid_answer_go_up(tmp_path: Path) -> None:
    routing = limited("name: b, usd: 1, taper_from: 0.000001")
    bench = open_bench(tmp_path, {"a/small": [reply(text="cut o")]}, routing)
    bench.ask("y.write")
    assert bench.ask("x.extract").tier == "mid"


def test_stop_rejects_what_is_not_critical_and_sends_nothing(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=limited("name: b, usd: 0.0014, stop_usd: 0.0015"))
    assert until_degraded(bench) == 2  # 0.0014, and degraded calls cost too
    with pytest.raises(RequestRejectedError, match="budget 'b'"):
        _ = [bench.ask("y.write") for _ in range(100)]
    asked = len(bench.asked)
    with pytest.raises(RequestRejectedError):
        bench.ask("x.extract")
    assert len(bench.asked) == asked
    line = bench.lines("call")[-1]
    assert (line["status"], line["error_type"], line["guard_state"], line["attempts"]) == (
        "rejected", "budget", "stopped", 0,
    )  # fmt: skip
    assert bench.ask("x.decide").tier == "top"


def test_limit_that_rejects_is_back_the_next_day(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=limited("name: b, usd: 0.0014, on_limit: reject"))
    with pytest.raises(RequestRejectedError):
        until_degraded(bench)
    bench.clock.sleep(24 * HOUR_S)
    assert bench.ask("y.write").tier == "top"


def test_stop_in_the_middle_of_a_call_ends_it_with_what_it_has(tmp_path: Path) -> None:
    """Another call spends the rest while this one's answer, valid and unsure, is on its way."""
    bench = open_bench(tmp_path, routing=limited("name: b, usd: 0.0007, on_limit: reject"))
    inside: list[str] = []

    def while_it_runs(request: Request) -> Response:
        if not inside:
            inside.append(bench.ask("y.write").tier)
        return reply(confidence=0.1)

    bench.backend.replies = {"a/small": while_it_runs}
    answer = bench.ask("x.extract")
    assert (inside, answer.tier, answer.reason) == (["top"], "cheap", "guard")


def test_running_job_keeps_its_models_within_the_allowance(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=limited("name: b, usd: 0.007, switch_at: task"))
    bench.ask("y.write", run="old")
    for _ in range(9):
        bench.ask("y.write")
    assert bench.ask("y.write", run="new").degraded
    # the allowance is a tenth of the limit: one call of 0.0007, and the degraded one has used some of it
    assert not bench.ask("y.write", run="old").degraded
    assert bench.ask("y.write", run="old").degraded


def test_open_store_failure_serves_as_normal(tmp_path: Path) -> None:
    (tmp_path / "home" / "control.sqlite").mkdir(parents=True)  # SQLite cannot open a folder
    bench = open_bench(tmp_path, routing=limited("name: b, usd: 0.0014, on_store_failure: open"))
    assert not bench.ask("y.write").degraded
    bench.ask("y.write")
    # what this process knows of its own spend still counts
    assert bench.ask("y.write").degraded


def test_zone_changed_during_the_day_counts_the_new_day_from_its_own_midnight(tmp_path: Path) -> None:
    """12:00 UTC is 21:00 in Tokyo; spend of 16:00 UTC is of the next day there."""
    routing = limited("name: b, usd: 0.0035")
    bench = open_bench(tmp_path, routing=routing)
    for _ in range(3):
        bench.ask("y.write")
    bench.clock.sleep(4 * HOUR_S)
    bench.ask("y.write")
    moved = (tmp_path / "routing.yaml").read_text().replace("version: 1\n", "version: 1\ntimezone: Asia/Tokyo\n")
    (tmp_path / "routing.yaml").write_text(moved)
    bench.router.reload()
    assert until_degraded(bench) == 4  # one was spent since midnight in Tokyo, not four


def test_call_across_midnight_is_booked_on_the_day_it_began(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=limited("name: b, usd: 0.0007"))
    bench.clock.set(NOON_US + 12 * HOUR_S * 1_000_000 - 100_000)  # the answer takes half a second
    assert not bench.ask("y.write").degraded
    assert not bench.ask("y.write").degraded
    assert bench.ask("y.write").degraded


def test_degraded_steps_are_listed_redone_exactly_and_linked(tmp_path: Path, tierwise: Tierwise) -> None:
    routing = limited("name: b, usd: 0.0014") + "cache: {enabled: true}\n"
    bench = open_bench(tmp_path, routing=routing)
    first = [bench.ask("y.write", run="job", step=f"s{n}") for n in range(4)]
    assert [answer.degraded for answer in first] == [False, False, True, True]
    home = Home(bench.home)
    ingest_once(home)
    listed = tierwise("calls", "--degraded", "--run", "job", "--home", bench.home, "--json").json()
    assert {call["call_id"] for call in listed} == {first[2].call_id, first[3].call_id}
    bench.clock.sleep(13 * HOUR_S)
    asked = len(bench.asked)
    again = [bench.ask("y.write", run="job", step=f"s{n}") for n in range(4)]
    assert (len(bench.asked) - asked, [answer.cache_hit for answer in again]) == (2, [True, True, False, False])
    bench.router.close()
    ingest_once(home)
    with reading(home) as log:
        rows = {call.call_id: call for call in newest_calls(log)}
        left = newest_calls(log, only_degraded=True)
    assert [rows[answer.call_id].linked_call_id for answer in again] == [answer.call_id for answer in first]
    assert left == []


def test_budget_over_answers_of_any_size_is_refused(tmp_path: Path) -> None:
    from router_core.testing import make_router

    with pytest.raises(ConfigError, match="max_output_tokens"):
        make_router(tmp_path, limited("name: b, usd: 1"))


def test_check_prints_the_promise_and_how_the_limit_stands(tmp_path: Path, tierwise: Tierwise) -> None:
    bench = open_bench(
        tmp_path, routing=limited("name: b, usd: 0.0035").replace("b/large}", "b/large, context_tokens: 1000}")
    )
    until_degraded(bench)
    bench.router.close()
    with sqlite3.connect(bench.home / "control.sqlite") as store:
        assert store.execute("SELECT processes, concurrent FROM budget_load").fetchall() == [(1, 1)]
    said = tierwise(
        "check", tmp_path / "routing.yaml", "--home", bench.home, "--json", "--processes", "4", "--concurrent", "9"
    )
    (promise,) = said.json()["promises"]
    worst = 1_000 * 5_000 + 4_000 * 20_000
    assert (promise["worst_nusd"], promise["lease_nusd"]) == (worst, 7_000)
    assert promise["bound_nusd"] == 4 * 7_000 + 9 * worst
