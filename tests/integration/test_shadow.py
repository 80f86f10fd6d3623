"""Shadows on a virtual clock: what they log, what they cost, whom they tell, and what they leave alone."""

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_serializer

from router_core import CallError, RouteExhaustedError, ShadowAnswer
from router_core.call_log.home import Home
from router_core.call_log.read import reading
from router_core.call_log.reports import spend
from router_core.types import Usage
from router_core.watch import ensure_ingested
from tests.routers import MESSAGES, NOON_US, ROUTING, SCHEMA, Bench, open_bench, reply

TOP_NUSD = 100 * 5_000 + 10 * 20_000
# the first estimate of a shadow: the prompt is 2 tokens, the answer as long as the served one's 10
TOP_ESTIMATE_NUSD = 4 * 5_000 + 10 * 20_000
DAY_US = 86_400_000_000


def routing(
    shadow: str = "{tier: top, rate: 1}",
    *,
    budget_usd: float = 1,
    more: str = "comparable: json",
    path: str = "[cheap, mid, top]",
) -> str:
    """Return the usual config with shadows on x.extract."""
    return (
        ROUTING.replace("path: [cheap, mid, top]", f"path: {path}, shadow: [{shadow}], {more}")
        + f"shadow_budget: {{usd: {budget_usd}}}\n"
    )


def shadows(bench: Bench) -> list[dict[str, Any]]:
    return [line for line in bench.lines("attempt") if line["role"] == "shadow"]


def dropped(bench: Bench) -> list[dict[str, int]]:
    return [line["details"] for line in bench.lines("event") if line["event"] == "shadows_dropped"]


def booked(bench: Bench) -> dict[str, int]:
    bench.router.close()
    with sqlite3.connect(bench.home / "control.sqlite") as store:
        rows = store.execute(
            "SELECT budget, sum(noncritical_nusd), sum(critical_nusd) FROM budget_spend GROUP BY budget"
        )
        return {budget: noncritical + critical for budget, noncritical, critical in rows}


def test_shadow_follows_the_served_call_and_is_no_part_of_it(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": [reply(confidence=0.4)]}, routing())
    answer = bench.ask(run="job")
    assert [(line["k"], line.get("role")) for line in bench.lines() if line["k"] != "started"] == [
        ("attempt", "serve"),
        ("call", None),
        ("attempt", "shadow"),
    ]
    (line,) = shadows(bench)
    assert (line["attempt_id"], line["n"]) == (f"{answer.call_id}-2", 2)
    assert (line["tier"], line["request_model"], line["status"]) == ("top", "b/large", "ok")
    assert (line["propensity"], line["answer_match"], line["confidence"]) == (1.0, True, 0.4)
    assert (line["cost_nusd"], line["cost_status"], line["run"]) == (TOP_NUSD, "exact", "job")
    (call,) = bench.lines("call")
    assert (call["attempts"], call["cost_nusd"], answer.cost_nusd) == (1, 14_000, 14_000)
    assert len(answer.attempts) == 1


def test_started_line_of_a_shadow_comes_before_its_request_and_tells_what_is_known(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=routing("{tier: top, rate: 0.999999}"))
    bench.ask()
    item = bench.lines("started")[-1]["items"][0]
    assert (item["role"], item["propensity"], item["n"], item["tier"]) == ("shadow", 0.999999, 2, "top")
    assert item["reserved_nusd"] == TOP_ESTIMATE_NUSD
    assert [line["k"] for line in bench.lines()][-2:] == ["started", "attempt"]


def test_simulated_time_stands_still_for_the_served_call(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=routing())
    before = bench.clock.now_us()
    answer = bench.ask()
    assert (bench.clock.now_us() - before, answer.latency_ms) == (500_000, 500)
    (line,) = shadows(bench)
    assert (line["started_at"], line["latency_ms"]) == (before + 500_000, 500)


def test_escalated_call_has_no_shadow_on_accepted_and_none_on_a_tier_that_answered(tmp_path: Path) -> None:
    unsure = {"a/small": [reply(confidence=0.1)]}
    on_accepted = open_bench(tmp_path / "1", unsure, routing("{tier: top, on: accepted, rate: 1}"))
    on_all = open_bench(
        tmp_path / "2", unsure, routing("{tier: cheap, on: all, rate: 1}, {tier: top, on: all, rate: 1}")
    )
    assert on_accepted.ask().tier == on_all.ask().tier == "mid"
    assert shadows(on_accepted) == []
    assert [(line["tier"], line["n"]) for line in shadows(on_all)] == [("top", 3)]


def test_tier_that_gave_an_invalid_answer_or_failed_may_be_asked_again(tmp_path: Path) -> None:
    replies = {"a/small": [reply(text="{"), reply("late")]}
    bench = open_bench(tmp_path, replies, routing("{tier: cheap, on: all, rate: 1}"))
    assert bench.ask().tier == "mid"
    assert [(line["tier"], line["status"], line["answer_match"]) for line in shadows(bench)] == [("cheap", "ok", False)]


def test_call_without_an_answer_has_no_shadow(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path, {"a/small": [reply(text="{")]}, routing("{tier: top, on: all, rate: 1}", path="[cheap]")
    )
    with pytest.raises(RouteExhaustedError):
        bench.ask()
    assert shadows(bench) == []


def test_failed_shadow_is_a_failed_attempt_without_retry_and_says_nothing_about_the_target(tmp_path: Path) -> None:
    refused = {"b/large": [CallError("slow down", kind="rate_limit", retry_after_s=60)]}
    bench = open_bench(tmp_path, refused, routing())
    for _ in range(4):
        bench.ask()
    assert [(line["status"], line["error_type"], line["cost_nusd"]) for line in shadows(bench)] == [
        ("failed", "rate_limit", 0)
    ] * 4
    bench.backend.replies = {}
    assert bench.ask("x.decide").model == "b/large"  # the target does not cool down for what shadows met
    assert bench.lines("event") == []


def test_shadow_is_not_sent_to_a_target_that_cools_down(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": [CallError("no", kind="auth")]}, routing())
    with pytest.raises(RouteExhaustedError):
        bench.ask("x.decide")
    bench.ask()
    assert shadows(bench) == []
    assert dropped(bench) == [{"no_target": 1}]


def test_shadow_of_unknown_cost_counts_at_its_estimate(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": [CallError("gone", kind="timeout", billed=None)]}, routing())
    bench.ask()
    (line,) = shadows(bench)
    assert (line["cost_nusd"], line["cost_status"]) == (TOP_ESTIMATE_NUSD, "unknown")


def test_invalid_shadow_says_so_and_is_not_compared(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": [reply(text="I cannot")]}, routing())
    bench.ask()
    (line,) = shadows(bench)
    assert (line["status"], line.get("answer_match")) == ("invalid", None)
    assert line["checks"][0]["verdict"] == "failed"


def test_shadow_passes_the_callers_checks_and_confidence(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": [reply("no")]}, routing())
    bench.ask(checks=[lambda parsed: parsed["answer"] == "yes"], confidence=lambda parsed: 0.95)
    (line,) = shadows(bench)
    assert line["status"] == "invalid"
    assert [check["verdict"] for check in line["checks"]] == ["passed", "failed"]


@pytest.mark.parametrize(
    ("more", "answer", "match"),
    [
        ("comparable: exact", "yes", True),
        ("comparable: json", "no", False),
        ("comparable: number", "yes", True),
        ("critical: false", "yes", None),
    ],
)
def test_answer_is_compared_with_the_served_one_where_the_type_says_how(
    tmp_path: Path, more: str, answer: str, match: bool | None
) -> None:
    bench = open_bench(tmp_path, {"b/large": [reply(answer, confidence=0.31)]}, routing(more=more))
    bench.ask()
    assert shadows(bench)[0].get("answer_match") is match


def test_answer_that_cannot_be_compared_harms_nothing(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path, {"b/large": [reply(text="nine")], "a/small": [reply(text="ten")]}, routing(more="comparable: number")
    )
    answer = bench.router.complete(
        "x.extract", messages=[{"role": "user", "content": "7 + 3"}], confidence=lambda _: 1.0
    )
    assert answer.text == "ten"
    assert shadows(bench)[0].get("answer_match") is None


def test_answer_whose_model_cannot_be_dumped_is_not_compared(tmp_path: Path) -> None:
    class Odd(BaseModel):
        answer: str

        @field_serializer("answer")
        def refuse(self, value: str) -> str:
            raise RuntimeError(value)

    accepting = routing(more="confidence: {on_missing: accept}, comparable: json")
    bench = open_bench(tmp_path, {"b/large": [reply("no")]}, accepting)
    bench.router.complete("x.extract", messages=MESSAGES, response_format=Odd)
    (line,) = shadows(bench)
    assert (line["status"], line["cost_status"], line.get("answer_match")) == ("ok", "exact", None)


def test_shadows_count_in_the_days_spend_and_in_their_own_budget(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=routing() + "budgets: [{name: daily, usd: 1}]\n")
    for _ in range(3):
        bench.ask()
    assert booked(bench) == {"daily": 3 * (14_000 + TOP_NUSD), "shadow_budget": 3 * TOP_NUSD}
    assert sum(line["cost_nusd"] for line in bench.lines("attempt")) == booked(bench)["daily"]


def test_shadow_is_dropped_and_counted_when_what_is_left_does_not_cover_its_estimate(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=routing(budget_usd=3.2 * TOP_NUSD / 1e9))
    for _ in range(20):
        bench.ask()
    assert len(shadows(bench)) == 3
    assert len(bench.lines("call")) == 20
    bench.router.close()
    assert dropped(bench) == [{"budget": 1}, {"budget": 16}]  # the first at once, the others when the hour is over


def test_next_day_has_a_shadow_budget_of_its_own(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=routing(budget_usd=1.2 * TOP_NUSD / 1e9))
    for day in range(3):
        bench.clock.set(NOON_US + day * DAY_US)
        bench.ask()
        bench.ask()
    assert len(shadows(bench)) == 3


def test_shadow_budget_of_zero_switches_shadows_off(tmp_path: Path) -> None:
    free = routing(budget_usd=0).replace("b/large: {input: 5, output: 20}", "b/large: {input: 0, output: 0}")
    bench = open_bench(tmp_path, routing=free)
    bench.ask()
    assert shadows(bench) == []


def test_learned_size_of_a_shadows_answers_makes_its_estimate(tmp_path: Path) -> None:
    long = reply(usage=Usage(input_tokens=100, output_tokens=4_000))
    bench = open_bench(tmp_path, {"b/large": [long]}, routing())
    bench.ask()
    bench.ask()
    estimates = [line["items"][0]["reserved_nusd"] for line in bench.lines("started") if line["items"][0]["n"] == 2]
    assert estimates == [TOP_ESTIMATE_NUSD, 4 * 5_000 + 4_000 * 20_000]


def test_no_shadow_is_made_when_the_days_limit_is_reached_or_would_be_by_it(tmp_path: Path) -> None:
    limit = f"budgets: [{{name: daily, usd: {(14_000 + TOP_ESTIMATE_NUSD - 1) / 1e9:.9f}}}]\n"
    tight = open_bench(tmp_path / "1", routing=routing() + limit)
    assert not tight.ask().degraded
    assert dropped(tight) == [{"guard": 1}]
    assert not tight.ask("x.decide").degraded
    assert booked(tight) == {"daily": 14_000 + TOP_NUSD}

    reached = open_bench(
        tmp_path / "2", routing=routing("{tier: top, on: all, rate: 1}") + "budgets: [{name: daily, usd: 0.0006}]\n"
    )
    reached.ask("x.decide")
    assert reached.ask().degraded
    assert shadows(reached) == []


def test_failed_store_admits_no_shadow(tmp_path: Path) -> None:
    (tmp_path / "home" / "control.sqlite").mkdir(parents=True)  # SQLite cannot open a folder
    bench = open_bench(tmp_path, routing=routing())
    assert bench.ask().tier == "cheap"
    assert shadows(bench) == []
    assert dropped(bench) == [{"budget": 1}]


def test_application_is_told_of_every_shadow(tmp_path: Path) -> None:
    told: list[ShadowAnswer] = []
    better = reply("better")
    replies = {"b/large": [better, reply(text="{"), CallError("no", kind="server")]}
    bench = open_bench(tmp_path, replies, routing(), on_shadow=told.append)
    asked = [bench.ask() for _ in range(3)]
    assert [(each.call_id, each.status, each.parsed) for each in told] == [
        (asked[0].call_id, "ok", {"answer": "better", "confidence": 0.9}),
        (asked[1].call_id, "invalid", None),
        (asked[2].call_id, "failed", None),
    ]
    first = told[0]
    assert (first.attempt_id, first.payload_type) == (f"{first.call_id}-2", "x.extract")
    assert (first.tier, first.model, first.text) == ("top", "b/large", better.text)
    assert [each.text for each in told[1:]] == [None, None]
    assert "better" not in repr(first)


def test_callback_that_raises_hurts_nobody_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def breaks(answer: ShadowAnswer) -> None:
        raise KeyError(f"the secret answer: {answer.text}")

    bench = open_bench(tmp_path, routing=routing(), on_shadow=breaks)
    with caplog.at_level(logging.WARNING, logger="router_core.shadow"):
        for _ in range(3):
            assert bench.ask().tier == "cheap"
    assert len(shadows(bench)) == 3
    # routers of earlier tests may still live, and miss their folders
    (said,) = [record.message for record in caplog.records if record.name == "router_core.shadow"]
    assert said.startswith("shadows: on_shadow raises KeyError in test_callback_that_raises_")
    assert said.endswith("; this is said once")
    assert "secret" not in caplog.text


def test_async_callback_is_refused(tmp_path: Path) -> None:
    async def keep(answer: ShadowAnswer) -> None:
        raise AssertionError(answer)

    with pytest.raises(TypeError, match="on_shadow takes plain functions, not async ones"):
        open_bench(tmp_path, routing=routing(), on_shadow=keep)
    assert not (tmp_path / "home").exists()


def test_withheld_shadow_is_a_failed_one_that_was_paid_for(tmp_path: Path) -> None:
    withheld = reply("a secret", finish_reason="content_filter")
    bench = open_bench(tmp_path, {"b/large": withheld}, routing())
    bench.ask()
    (line,) = shadows(bench)
    assert (line["status"], line["error_type"], line["cost_nusd"]) == ("failed", "content_policy", TOP_NUSD)


def test_broken_backend_fails_the_shadow_and_not_the_call(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": [RuntimeError("a bug")]}, routing())
    assert bench.ask().tier == "cheap"
    assert [(line["status"], line["error_type"]) for line in shadows(bench)] == [("failed", "internal")]


def test_interrupt_during_a_simulated_shadow_passes_and_leaves_its_line(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": [KeyboardInterrupt()]}, routing())
    with pytest.raises(KeyboardInterrupt):
        bench.ask()
    assert [line["status"] for line in shadows(bench)] == ["cancelled"]
    assert [line["status"] for line in bench.lines("call")] == ["ok"]


def test_drafts_of_an_escalated_call_can_be_seen_and_are_never_logged(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply("the draft", 0.1)], "a/medium": [reply("the answer")]}, routing())
    answer = bench.ask()
    assert [attempt.parsed["answer"] for attempt in answer.attempts] == ["the draft", "the answer"]
    assert [attempt.text for attempt in answer.attempts][1] == answer.text
    assert "the draft" not in repr(answer.attempts[0])
    assert "the draft" not in "".join(path.read_text() for path in (bench.home / "spool").glob("*.jsonl"))


def test_attempt_without_a_valid_answer_shows_no_text(tmp_path: Path) -> None:
    replies = {"a/small": [CallError("no", kind="auth")], "b/small": [reply(text="{")], "a/medium": [reply()]}
    answer = open_bench(tmp_path, replies).ask()
    assert [(attempt.status, attempt.text is None) for attempt in answer.attempts] == [
        ("failed", True),
        ("invalid", True),
        ("ok", False),
    ]


def test_label_of_a_shadow_lands_on_it_and_leaves_the_calls_label_alone(tmp_path: Path) -> None:
    told: list[ShadowAnswer] = []
    bench = open_bench(tmp_path, routing=routing(), on_shadow=told.append)
    answer = bench.ask()
    bench.router.outcome(answer.call_id, correct=False, label_propensity=0.5)
    bench.router.outcome(told[0].call_id, attempt_id=told[0].attempt_id, correct=True, label_propensity=0.25)
    ensure_ingested(Home(bench.home))
    with reading(Home(bench.home)) as log:
        by_attempt = log.execute("SELECT role, correct, label_propensity FROM attempt_outcomes ORDER BY n").fetchall()
        by_call = log.execute("SELECT correct, label_propensity, impact_nusd FROM call_outcomes").fetchall()
        labelled = log.execute("SELECT sum(n_labelled), sum(wrong) FROM rollup_outcomes").fetchone()
    assert by_attempt == [("serve", 0.0, 0.5), ("shadow", 1.0, 0.25)]
    assert by_call == [(0.0, 0.5, 500_000_000)]
    assert labelled == (1, 1.0)


def test_spend_by_role_shows_shadows_and_nothing_counts_twice(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(), reply(confidence=0.1)]}, routing())
    bench.ask()
    bench.ask()
    ensure_ingested(Home(bench.home))
    with reading(Home(bench.home)) as log:
        by_role = {row.key: row.cost_nusd for row in spend(log, "role")}
        calls = log.execute("SELECT sum(cost_nusd), sum(attempts) FROM calls").fetchone()
        rolled = dict(log.execute("SELECT role, sum(cost_nusd) FROM rollup_attempts GROUP BY role").fetchall())
        of_calls = log.execute("SELECT sum(cost_nusd) FROM rollup_calls").fetchone()
    assert by_role == rolled == {"serve": 28_000, "escalate": 140_000, "shadow": TOP_NUSD}
    assert calls == (168_000, 3)
    assert of_calls == (168_000,)


def test_event_loop_on_a_virtual_clock_makes_its_shadows_at_once(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=routing())
    asked = bench.router.acomplete("x.extract", messages=MESSAGES, response_format=SCHEMA)
    answer = asyncio.run(asked)
    assert [line["attempt_id"] for line in shadows(bench)] == [f"{answer.call_id}-2"]
    assert bench.clock.now_us() == NOON_US + 500_000


def test_edit_of_the_config_begins_and_ends_shadows(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    for text in (routing(), routing("{tier: mid, rate: 1}"), ROUTING):
        bench.ask()
        (tmp_path / "routing.yaml").write_text(text)
        bench.router.reload()
    bench.ask()
    assert [line["tier"] for line in shadows(bench)] == ["top", "mid"]


def test_type_without_a_section_of_its_own_has_the_shadows_of_the_rule_for_all(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=routing().replace("x.extract:", '"*":'))
    bench.ask("y.other")
    assert [(line["payload_type"], line["tier"]) for line in shadows(bench)] == [("y.other", "top")]


def test_logged_call_with_a_shadow_is_a_call_of_its_serving_attempts_only(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=routing("{tier: mid, rate: 1}, {tier: top, rate: 1}"))
    bench.ask()
    assert [(line["n"], line["tier"]) for line in shadows(bench)] == [(2, "mid"), (3, "top")]
    assert bench.asked == ["a/small", "a/medium", "b/large"]
