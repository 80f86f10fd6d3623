"""Routers that take up what an earlier run has paid for."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from router_core import CallError, Router
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.receipts import find_calls, receipt_of
from router_core.call_log.trails import trail_of
from router_core.config import parse
from tests.routers import MESSAGES, ROUTING, SCHEMA, Bench, open_bench, reply

CACHED = ROUTING + "cache: {enabled: true, ttl_s: 3600}\n"
JOB: dict[str, Any] = {"run": "job-1", "step": "doc-1"}
SERVER = CallError("broken", kind="server", billed=False)


def again(bench: Bench, routing: str = CACHED, replies: dict[str, Any] | None = None) -> Bench:
    """The same home and clock, after the process has ended; what models would say now."""
    bench.router.close()
    found = open_bench(bench.home.parent, replies or {"a/small": [reply("other")]}, routing, bench.clock.now_us())
    found.clock.sleep(1)
    return found


def calls(bench: Bench) -> list[dict[str, Any]]:
    return sorted(bench.lines("call"), key=lambda line: line["ts"])


def test_run_step_that_is_run_again_makes_no_request_and_links_who_has_paid(tmp_path: Path) -> None:
    first = open_bench(tmp_path, routing=CACHED)
    paid = first.ask(**JOB)
    bench = again(first)
    answer = bench.ask(**JOB)
    assert (answer.text, answer.parsed, answer.confidence) == (paid.text, paid.parsed, paid.confidence)
    assert (answer.tier, answer.model, answer.reason) == (paid.tier, paid.model, "accepted")
    assert (answer.cache_hit, answer.cost_nusd, answer.attempts, bench.asked) == (True, 0, (), [])
    before, after = calls(bench)
    assert (before["cache_hit"], after["cache_hit"], after["linked_call_id"]) == (False, True, paid.call_id)
    assert (after["cost_nusd"], after["attempts"]) == (0, 0)
    assert after["served_attempt_id"] == paid.attempts[0].attempt_id
    assert [check["name"] for check in after["extra"]["recalled"]["checks"]] == ["format"]
    assert len(bench.lines("started")) == len(bench.lines("attempt")) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"run": "job-2"},
        {"step": "doc-2"},
        {"temperature": 0},
        {"messages": [*MESSAGES, {"role": "user", "content": "more"}]},
        {"response_format": {"type": "object"}},
        {"run": None},
        {"step": None},
    ],
)
def test_any_other_request_is_made(tmp_path: Path, other: dict[str, Any]) -> None:
    bench = open_bench(tmp_path, routing=CACHED)
    asked: dict[str, Any] = {"messages": MESSAGES, "response_format": SCHEMA, **JOB}
    for arguments in (asked, asked | other):
        bench.router.complete("x.extract", **arguments)
    assert len(bench.asked) == 2


def test_cache_is_off_unless_enabled(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    for _ in range(2):
        bench.ask(**JOB)
    assert len(bench.asked) == 2
    assert not (bench.home / "cache.sqlite").exists()


def test_path_goes_on_after_the_answer_that_is_kept(tmp_path: Path) -> None:
    unsure: dict[str, Any] = {"a/small": [reply("cheap", 0.2)], "a/medium": [KeyboardInterrupt()]}
    first = open_bench(tmp_path, unsure, CACHED)
    with pytest.raises(KeyboardInterrupt):
        first.ask(**JOB)
    bench = again(first, replies={"a/small": [reply("never asked")], "a/medium": [reply("mid", 0.9)]})
    answer = bench.ask(**JOB)
    assert (answer.parsed["answer"], answer.tier, bench.asked) == ("mid", "mid", ["a/medium"])
    assert not answer.cache_hit
    broken_off, resumed = calls(bench)
    assert (resumed["cache_hit"], resumed["linked_call_id"]) == (False, broken_off["call_id"])
    assert (resumed["attempts"], resumed["escalations"]) == (1, 1)


def test_draft_is_served_where_the_rest_of_the_path_cannot_answer(tmp_path: Path) -> None:
    first = open_bench(tmp_path, {"a/small": [reply("cheap", 0.2)], "a/medium": [KeyboardInterrupt()]}, CACHED)
    with pytest.raises(KeyboardInterrupt):
        first.ask(**JOB)
    bench = again(first, replies={"a/medium": [SERVER], "b/large": [SERVER]})
    answer = bench.ask(**JOB)
    assert (answer.parsed["answer"], answer.reason, answer.cache_hit) == ("cheap", "escalation_failed", True)
    assert len(answer.attempts) == len(bench.asked) > 1


def test_answer_furthest_up_is_taken_even_where_lower_ones_failed(tmp_path: Path) -> None:
    bad = {"a/small": [reply("cheap", text="no json")], "a/medium": [reply("mid", 0.9)]}
    first = open_bench(tmp_path, bad, CACHED)
    assert first.ask(**JOB).tier == "mid"
    bench = again(first)
    answer = bench.ask(**JOB)
    assert (answer.tier, answer.parsed["answer"], bench.asked) == ("mid", "mid", [])


def test_answer_of_a_fallback_is_found(tmp_path: Path) -> None:
    first = open_bench(tmp_path, {"a/small": [SERVER], "b/small": [reply("fallback")]}, CACHED)
    assert first.ask(**JOB).model == "b/small"
    bench = again(first)
    assert (bench.ask(**JOB).model, bench.asked) == ("b/small", [])


def test_present_config_and_checks_judge_what_is_kept(tmp_path: Path) -> None:
    first = open_bench(tmp_path, routing=CACHED)
    first.ask(**JOB)
    stricter = CACHED.replace("{accept_at: 0.8}", "{accept_at: 0.95}")
    bench = again(first, stricter, {"a/medium": [reply("mid", 0.99)]})
    assert (bench.ask(**JOB).tier, bench.asked) == ("mid", ["a/medium"])
    bench = again(bench, CACHED, {"a/small": [reply("new")]})
    answer = bench.ask(**JOB, checks=[lambda parsed: parsed["answer"] == "new"])
    assert (answer.parsed["answer"], bench.asked, answer.cache_hit) == ("new", ["a/small"], False)


def test_answer_that_is_too_old_is_paid_for_again(tmp_path: Path) -> None:
    first = open_bench(tmp_path, routing=CACHED)
    first.ask(**JOB)
    bench = again(first)
    bench.clock.sleep(3600)
    assert (bench.ask(**JOB).parsed["answer"], bench.asked) == ("other", ["a/small"])


JUDGED = CACHED.replace(", {model: b/small}", "") + "judge: {tier: top}\n"


@pytest.mark.parametrize(
    ("routing", "more"),
    [
        (JUDGED, "confidence: {source: judge}"),
        (CACHED, "comparable: json, confidence: {source: agreement, samples: 2}"),
    ],
)
def test_confidence_that_was_paid_for_is_not_paid_for_again(tmp_path: Path, routing: str, more: str) -> None:
    routing = routing.replace("error_cost_usd: 0.5}", f"error_cost_usd: 0.5, {more}}}")
    first = open_bench(tmp_path, {"b/large": [reply(text='{"confidence": 0.9}')]}, routing)
    paid = first.ask(**JOB)
    assert (paid.tier, len(paid.attempts) > 1, paid.confidence.value in (0.9, 1.0)) == ("cheap", True, True)
    bench = again(first, routing, {"b/large": [reply(text='{"confidence": 0.1}')]})
    answer = bench.ask(**JOB)
    assert (answer.confidence, answer.tier, answer.cache_hit, bench.asked) == (paid.confidence, "cheap", True, [])


def test_answer_whose_judge_had_not_spoken_yet_is_judged_and_not_asked_for_again(tmp_path: Path) -> None:
    routing = JUDGED.replace("error_cost_usd: 0.5}", "error_cost_usd: 0.5, confidence: {source: judge}}")
    first = open_bench(tmp_path, {"b/large": [KeyboardInterrupt()]}, routing)
    with pytest.raises(KeyboardInterrupt):
        first.ask(**JOB)
    bench = again(first, routing, {"b/large": [reply(text='{"confidence": 0.9}')]})
    answer = bench.ask(**JOB)
    assert (answer.tier, answer.cache_hit, answer.confidence.value, bench.asked) == ("cheap", True, 0.9, ["b/large"])
    bench = again(bench, routing)
    answer = bench.ask(**JOB)
    assert (answer.cache_hit, answer.confidence.value, bench.asked) == (True, 0.9, [])
    assert {call["linked_call_id"] for call in calls(bench)[1:]} == {calls(bench)[0]["call_id"]}


def test_degraded_answers_are_not_kept_and_kept_ones_are_served_above_the_limit(tmp_path: Path) -> None:
    limited = CACHED.replace("path: [cheap, mid, top]", "path: [mid, top]") + "budgets: [{name: d, usd: 0.0001}]\n"
    first = open_bench(tmp_path, routing=limited)
    assert first.ask(**JOB).tier == "mid"
    assert first.ask(**{**JOB, "step": "doc-2"}).degraded
    bench = again(first, limited)
    kept, made = bench.ask(**JOB), bench.ask(**{**JOB, "step": "doc-2"})
    assert (kept.tier, kept.degraded, kept.cache_hit) == ("mid", False, True)
    assert (made.degraded, made.cache_hit) == (True, False)
    assert calls(bench)[-2]["guard_state"] == "capped"


def test_shadows_are_not_made_again(tmp_path: Path) -> None:
    shadowed = CACHED.replace("error_cost_usd: 0.5}", "error_cost_usd: 0.5, shadow: [{tier: top, on: all, rate: 1}]}")
    first = open_bench(tmp_path, routing=shadowed + "shadow_budget: {usd: 10}\n")
    first.ask(**JOB)
    assert first.asked == ["a/small", "b/large"]
    bench = again(first, shadowed + "shadow_budget: {usd: 10}\n")
    bench.ask(**JOB)
    assert bench.asked == []


def test_answer_that_calls_tools_is_not_kept(tmp_path: Path) -> None:
    first = open_bench(tmp_path, {"a/small": [reply(finish_reason="tool_calls")]}, CACHED)
    first.ask(**JOB)
    bench = again(first)
    bench.ask(**JOB)
    assert bench.asked == ["a/small"]


async def _ask(router: Router) -> Any:
    return await router.acomplete("x.extract", messages=MESSAGES, response_format=SCHEMA, **JOB)


def test_event_loops_take_up_what_threads_have_paid_for(tmp_path: Path) -> None:
    import asyncio

    first = open_bench(tmp_path, routing=CACHED)
    paid = first.ask(**JOB)
    bench = again(first)
    answer = asyncio.run(_ask(bench.router))
    assert (answer.text, answer.cache_hit, bench.asked) == (paid.text, True, [])


def test_no_call_is_harmed_by_a_cache_that_cannot_be_used(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=CACHED)
    (bench.home / "cache.sqlite").mkdir()
    assert bench.ask(**JOB).parsed["answer"] == "yes"
    assert [line["details"]["state"] for line in bench.lines("event")] == ["unavailable"]


def test_answer_with_half_a_character_is_served_and_not_kept(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(text="half \ud83d")]}, CACHED)
    for _ in range(2):
        answer = bench.router.complete("x.extract", messages=MESSAGES, confidence=lambda _: 0.9, **JOB)
        assert (answer.text, answer.cache_hit) == ("half \ud83d", False)


def test_texts_are_in_the_cache_and_not_in_the_log(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply("a secret answer")]}, CACHED)
    bench.ask(**JOB)
    again(bench).ask(**JOB)
    spooled = b"".join(file.read_bytes() for file in (bench.home / "spool").glob("*.jsonl"))
    assert b"a secret answer" not in spooled
    with closing(sqlite3.connect(bench.home / "cache.sqlite")) as store:
        bodies = [row[0] for row in store.execute("SELECT body FROM answers")]
    assert len(bodies) == 1
    assert b"a secret answer" in bodies[0]
    assert b"A document." not in bodies[0]


def test_logged_calls_replay_and_tell_what_they_began_with(tmp_path: Path) -> None:
    first = open_bench(tmp_path, {"a/small": [reply("cheap", 0.2)], "a/medium": [KeyboardInterrupt()]}, CACHED)
    with pytest.raises(KeyboardInterrupt):
        first.ask(**JOB)
    bench = again(first, replies={"a/medium": [SERVER], "b/large": [SERVER, reply("top", 0.9)]})
    served_draft = bench.ask(**JOB)
    resumed = bench.ask(**JOB)
    recalled = bench.ask(**JOB)
    bench.router.close()
    home = Home(bench.home)
    ingest_once(home)
    config = parse((tmp_path / "routing.yaml").read_bytes(), source="x")
    trails: list[Any] = []
    with reading(home) as log:
        for answer in (served_draft, resumed, recalled):
            (call,) = find_calls(log, answer.call_id)
            trails.append(trail_of(receipt_of(log, call), config))
        sums = log.execute(
            """SELECT (SELECT count(DISTINCT request_id) FROM attempts), (SELECT count(*) FROM attempts),
                      (SELECT sum(cost_nusd) FROM calls) = (SELECT sum(cost_nusd) FROM attempts)"""
        ).fetchone()
    assert [trail.replays for trail in trails] == [True, True, True]
    assert all("an earlier run has paid for an answer of" in trail.opening for trail in trails)
    requests = len(first.asked) + len(bench.asked)
    assert sums == (requests, requests, True)


def test_label_of_a_call_that_was_run_again_is_one_of_the_attempt_that_was_paid_for(tmp_path: Path) -> None:
    first = open_bench(tmp_path, routing=CACHED)
    paid = first.ask(**JOB)
    bench = again(first)
    bench.router.outcome(bench.ask(**JOB).call_id, correct=False)
    bench.router.close()
    ingest_once(Home(bench.home))
    with reading(Home(bench.home)) as log:
        found = log.execute("SELECT attempt_id, correct FROM attempt_outcomes").fetchall()
        impact = log.execute("SELECT sum(impact_nusd) FROM call_outcomes").fetchone()
    assert (found, impact) == ([(paid.attempts[0].attempt_id, 0.0)], (500_000_000,))
