"""The router over scripted models: which requests it makes, what it answers, what it logs."""

import asyncio
import contextlib
import random
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from router_core import CallError, RequestRejectedError, RouteExhaustedError
from router_core.config import parse
from router_core.decide.compile import compile_plans
from router_core.decide.moves import Accept, Call, Exhausted
from router_core.decide.step import replay
from router_core.decide.trace import as_planned, trace_from_rows
from router_core.errors import ErrorKind
from router_core.types import Request, Usage
from tests.routers import MESSAGES, NOON_US, ROUTING, SCHEMA, Bench, open_bench, reply


def failure(kind: ErrorKind = "server", **kwargs: Any) -> CallError:
    return CallError(f"simulated {kind}", kind=kind, **kwargs)


def roles(bench: Bench) -> list[tuple[str, str, str]]:
    return [(line["role"], line["request_model"], line["status"]) for line in bench.lines("attempt")]


def test_confident_answer_is_served_by_the_first_tier(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    answer = bench.ask(run="job-1", step="s1", tags={"team": "ap"})
    assert (answer.tier, answer.model, answer.reason, answer.degraded) == ("cheap", "a/small", "accepted", False)
    assert answer.parsed == {"answer": "yes", "confidence": 0.9}
    assert answer.cost_nusd == 100 * 100 + 10 * 400
    assert [line["k"] for line in bench.lines()] == ["started", "attempt", "call"]


def test_unsure_answer_escalates_step_by_step(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path,
        {"a/small": [reply("cheap", 0.5)], "a/medium": [reply("mid", 0.6)], "b/large": [reply("top", 0.3)]},
    )
    answer = bench.ask()
    assert (answer.parsed["answer"], answer.reason) == ("top", "last_step")
    assert bench.asked == ["a/small", "a/medium", "b/large"]
    assert bench.lines("call")[0]["escalations"] == 2


def test_very_unsure_answer_goes_straight_to_the_last_step(tmp_path: Path) -> None:
    routing = ROUTING.replace("[cheap, mid, top]", "[{tier: cheap, straight_to_last_below: 0.4}, mid, top]")
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.3)]}, routing)
    bench.ask()
    assert bench.asked == ["a/small", "b/large"]


def test_missing_confidence_follows_on_missing(tmp_path: Path) -> None:
    escalating = open_bench(tmp_path / "1", {"a/small": [reply(confidence=None)]})
    assert escalating.ask().tier == "mid"
    accepting_config = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0.8, confidence: {on_missing: accept}}")
    accepting = open_bench(tmp_path / "2", {"a/small": [reply(confidence=None)]}, accepting_config)
    answer = accepting.ask()
    assert (answer.tier, answer.reason, answer.confidence.value) == ("cheap", "accepted_unscored", None)
    assert accepting.lines("attempt")[0]["confidence_source"] == "none"


def test_invalid_answer_counts_and_escalates(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(text='{"answer": ')]})
    answer = bench.ask()
    assert answer.tier == "mid"
    assert roles(bench) == [("serve", "a/small", "invalid"), ("escalate", "a/medium", "ok")]
    assert bench.lines("attempt")[0]["checks"][0]["verdict"] == "failed"


def test_callers_check_fails_the_answer_whether_it_returns_false_or_raises(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)

    def not_cheap(parsed: Any) -> bool:
        return False

    def breaks(parsed: Any) -> bool:
        raise KeyError("secret answer text")

    with pytest.raises(RouteExhaustedError) as caught:
        bench.ask(checks=[not_cheap, breaks])
    verdicts = {check["verdict"] for line in bench.lines("attempt") for check in line["checks"]}
    assert verdicts == {"passed", "failed", "error"}
    assert caught.value.cost_nusd == sum(line["cost_nusd"] for line in bench.lines("attempt"))
    assert "secret" not in "".join(path.read_text() for path in (tmp_path / "home" / "spool").glob("*.jsonl"))


def test_failed_request_is_retried_then_falls_back_within_the_tier(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure()]})
    answer = bench.ask()
    assert (answer.tier, answer.model) == ("cheap", "b/small")
    assert roles(bench) == [
        ("serve", "a/small", "failed"),
        ("retry", "a/small", "failed"),
        ("fallback", "b/small", "ok"),
    ]


def test_tier_without_targets_left_escalates(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure("auth")], "b/small": [failure("not_found")]})
    assert bench.ask().tier == "mid"
    assert [role for role, *_ in roles(bench)] == ["serve", "fallback", "escalate"]


@pytest.mark.parametrize("kind", ["bad_request", "content_policy"])
def test_refusal_is_surfaced_at_once(tmp_path: Path, kind: ErrorKind) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure(kind)]})
    with pytest.raises(RouteExhaustedError, match=kind):
        bench.ask()
    assert bench.asked == ["a/small"]


def test_long_retry_after_prefers_another_target_and_cools_the_first(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure("rate_limit", retry_after_s=20.0), reply()]})
    assert bench.ask().model == "b/small"
    assert bench.ask().model == "b/small"  # still cooling down
    bench.clock.sleep(20)
    assert bench.ask().model == "a/small"
    assert [line["details"]["model"] for line in bench.lines("event")] == ["a/small"]


def test_short_retry_after_is_waited_for(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure("rate_limit", retry_after_s=1.5), reply()]})
    assert bench.ask().model == "a/small"
    first, second = bench.lines("attempt")
    # never earlier than asked, and spread a little, for others were asked the same
    assert 1_500_000 <= second["started_at"] - first["ended_at"] <= 1_800_000


def test_timeout_is_unknown_money_never_zero(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure("timeout", billed=None), reply()]})
    bench.ask()
    first = bench.lines("attempt")[0]
    assert (first["cost_status"], first["cost_nusd"] > 0) == ("unknown", True)
    assert bench.lines("call")[0]["cost_nusd"] == sum(line["cost_nusd"] for line in bench.lines("attempt"))


def test_failed_escalation_serves_the_earlier_valid_answer_marked(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path, {"a/small": [reply("draft", 0.5)], "a/medium": [failure("auth")], "b/large": [failure("auth")]}
    )
    answer = bench.ask()
    assert (answer.parsed["answer"], answer.reason) == ("draft", "escalation_failed")


def test_call_stops_at_its_cost_limit(tmp_path: Path) -> None:
    routing = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0.8, limits: {cost_usd: 0.0005}}")
    long = Usage(input_tokens=100, output_tokens=500)
    bench = open_bench(tmp_path, {"a/small": [reply("draft", 0.5, usage=long)]}, routing)
    answer = bench.ask()
    assert (answer.parsed["answer"], answer.reason, bench.asked) == ("draft", "escalation_failed", ["a/small"])


def test_call_stops_at_its_deadline(tmp_path: Path) -> None:
    routing = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0.8, limits: {deadline_s: 0.7}}")
    bench = open_bench(tmp_path, {"a/small": [reply("draft", 0.5)], "a/medium": [reply("later", 0.5)]}, routing)
    answer = bench.ask()
    assert (answer.parsed["answer"], answer.reason, answer.latency_ms) == ("draft", "limits", 700)
    assert [made.error_type for made in answer.attempts] == [None, "timeout"]
    assert bench.backend.requests[1].timeout_s == pytest.approx(0.2)


@pytest.mark.parametrize("by_us", [-3_600_000_000, 3_600_000_000])
def test_clock_put_forward_or_back_during_a_call_shifts_no_deadline_and_no_latency(tmp_path: Path, by_us: int) -> None:
    def adjusting(_: Request) -> Any:
        bench.clock.adjust(by_us)
        return reply("draft", 0.5)

    routing = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0.8, limits: {deadline_s: 0.7}}")
    bench = open_bench(tmp_path, {"a/small": adjusting, "a/medium": [reply("later", 0.5)]}, routing)
    answer = bench.ask()
    assert (answer.reason, len(bench.asked), answer.latency_ms) == ("limits", 2, 700)
    assert bench.backend.requests[1].timeout_s == pytest.approx(0.2)
    assert [line["latency_ms"] for line in bench.lines("attempt")] == [500, 200]
    assert [line["ended_at"] - line["started_at"] for line in bench.lines("attempt")] == [500_000, 200_000]
    bench.ask("x.decide")
    assert bench.lines("call")[1]["ts"] == NOON_US + by_us + 700_000


def test_unknown_payload_type_is_refused_with_a_way_out_and_logged(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    with pytest.raises(RequestRejectedError, match=r"unknown payload type 'y'.*'\*' entry.*x\.decide, x\.extract"):
        bench.ask("y")
    assert [(line["k"], line["status"]) for line in bench.lines()] == [("call", "rejected")]


def test_star_entry_serves_unknown_payload_types(tmp_path: Path) -> None:
    routing = ROUTING.replace("payload_types:\n", 'payload_types:\n  "*": {path: [mid]}\n')
    bench = open_bench(tmp_path, routing=routing)
    assert bench.ask("y").tier == "mid"
    assert bench.lines("call")[0]["payload_type"] == "y"


def test_cancelled_call_is_logged_with_unknown_money(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [asyncio.CancelledError()]})

    async def ask() -> None:
        await bench.router.acomplete("x.extract", messages=MESSAGES)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask())
    assert [line["k"] for line in bench.lines()] == ["started", "attempt", "call"]
    attempt, call = bench.lines("attempt")[0], bench.lines("call")[0]
    assert (attempt["status"], attempt["cost_status"], call["status"]) == ("cancelled", "unknown", "failed")


def test_async_call_makes_the_same_requests_and_log_as_a_sync_one(tmp_path: Path) -> None:
    script = {"a/small": [failure(), reply("draft", 0.5)], "a/medium": [reply("better", 0.9)]}
    one, other = open_bench(tmp_path / "sync", script), open_bench(tmp_path / "async", script)
    one.ask()
    asyncio.run(other.router.acomplete("x.extract", messages=MESSAGES, response_format=SCHEMA))

    def comparable(bench: Bench) -> list[dict[str, Any]]:
        lines = bench.lines()
        for line in lines:
            line.pop("worker", None)
            line.pop("checks", None)
        return lines

    assert comparable(one) == comparable(other)


def test_call_cancelled_in_a_pause_has_its_line(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure("server")]})

    async def cancelled(seconds: float) -> None:
        if seconds != bench.backend.latency_s:
            raise asyncio.CancelledError
        bench.clock.sleep(seconds)

    bench.clock.asleep = cancelled  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(bench.router.acomplete("x.extract", messages=MESSAGES))
    assert [line["k"] for line in bench.lines()] == ["started", "attempt", "call"]
    assert bench.lines("call")[0]["error_type"] == "cancelled"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupt_in_a_check_leaves_every_line_and_the_real_cost(tmp_path: Path, error: type[BaseException]) -> None:
    bench = open_bench(tmp_path)

    def interrupted(_: Any) -> None:
        raise error

    with pytest.raises(error):
        bench.ask(checks=[interrupted])
    attempt, call = bench.lines("attempt")[0], bench.lines("call")[0]
    assert (attempt["status"], attempt["cost_nusd"], attempt["cost_status"]) == ("cancelled", 14_000, "exact")
    assert (call["status"], call["cost_nusd"]) == ("failed", 14_000)


@pytest.mark.parametrize("fault", [ValueError("a bug in the backend"), None])
def test_fault_of_a_backend_reaches_the_caller_and_is_logged(tmp_path: Path, fault: Any) -> None:
    bench = open_bench(tmp_path, {"a/small": [fault]}, ROUTING + "budgets: [{name: daily, usd: 1}]\n")
    with pytest.raises(type(fault) if fault is not None else TypeError):
        bench.ask()
    attempt, call = bench.lines("attempt")[0], bench.lines("call")[0]
    assert (attempt["status"], attempt["error_type"], attempt["cost_status"]) == ("failed", "internal", "unknown")
    assert (call["status"], call["cost_nusd"]) == ("failed", attempt["cost_nusd"])


def test_absurd_retry_after_is_none(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure("rate_limit", retry_after_s=float("inf")), reply()]})
    assert bench.ask().model == "a/small"


def test_only_target_of_a_tier_that_asks_for_patience_is_left_for_the_next_tier(tmp_path: Path) -> None:
    routing = ROUTING.replace("[cheap, mid, top]", "[mid, top]")
    bench = open_bench(tmp_path, {"a/medium": [failure("rate_limit", retry_after_s=300.0)]}, routing)
    answer = bench.ask()
    assert (answer.tier, answer.latency_ms) == ("top", 1000)


def test_models_own_property_that_breaks_is_no_confidence(tmp_path: Path) -> None:
    class Broken(BaseModel):
        answer: str

        @property
        def confidence(self) -> float:
            raise ZeroDivisionError

    bench = open_bench(tmp_path)
    bench.router.complete("x.decide", messages=MESSAGES, response_format=Broken)
    assert bench.lines("attempt")[0]["confidence_source"] == "none"


class Invoice(BaseModel):
    total: float


async def later(given: Any) -> float:
    return 0.1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"messages": "hello"}, "messages must be a list"),
        ({"messages": []}, "messages must be a list"),
        ({"messages": [3]}, "messages must be mappings"),
        ({"checks": "abc"}, "checks must be a list, not str"),
        ({"checks": ["abc"]}, "checks must be functions, patterns"),
        ({"checks": len}, "checks must be a list, not builtin"),
        ({"checks": [later]}, "checks takes plain functions, not async ones"),
        ({"confidence": later}, "confidence takes plain functions, not async ones"),
        ({"pre_checks": [later]}, "pre_checks takes plain functions, not async ones"),
        ({"confidence": 0.9}, "confidence must be a function"),
        ({"pre_checks": ["abc"]}, "pre_checks must be functions"),
        ({"response_format": Invoice(total=1)}, "response_format must be a pydantic model class .* not Invoice"),
        ({"response_format": "json"}, "response_format must be a pydantic model class .* not str"),
        ({"response_format": int}, "response_format must be a pydantic model class .* not int"),
        ({"checks": [Invoice(total=1)]}, "checks must be functions, patterns, pydantic models"),
        ({"run": 42}, "run must be text"),
        ({"tags": {"team": 3}}, "tags must be a mapping of text to text"),
        ({"tags": ["ap"]}, "tags must be a mapping"),
        ({"model": "openai/gpt-5"}, "model: the routing config decides this"),
        ({"stream": True}, r"use router\.stream"),
    ],
)
def test_argument_that_cannot_be_used_is_refused_before_anything_is_sent(
    tmp_path: Path, arguments: dict[str, Any], said: str
) -> None:
    bench = open_bench(tmp_path)
    given: dict[str, Any] = {"messages": MESSAGES}
    with pytest.raises(TypeError, match=said):
        bench.router.complete("x.extract", **(given | arguments))
    assert bench.lines() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"run": "r" * 501}, "run has 501 characters, more than 500"),
        ({"step": "s" * 501}, "step has 501 characters"),
        ({"payload_type": "x" * 501}, "payload_type has 501 characters"),
        ({"tags": {"t" * 101: "x"}}, "a tag's name has 101 characters, more than 100"),
        ({"tags": {"team": "x" * 501}}, "a tag's value has 501 characters"),
        ({"tags": {str(n): "" for n in range(51)}}, "tags has 51 entries, more than 50"),
        ({"response_format": {"type": "json_schema"}}, "response_format of type json_schema has no schema"),
    ],
)
def test_argument_out_of_bounds_is_refused_before_anything_is_sent(
    tmp_path: Path, arguments: dict[str, Any], said: str
) -> None:
    bench = open_bench(tmp_path)
    given: dict[str, Any] = {"payload_type": "x.extract", "messages": MESSAGES}
    with pytest.raises(ValueError, match=said):
        bench.router.complete(**(given | arguments))
    with pytest.raises(ValueError, match=said):
        bench.router.stream(**(given | arguments))
    assert (bench.lines(), bench.asked) == ([], [])


def test_longest_names_are_taken_and_no_checks_are_none(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    tags = {f"{n:0100}": "v" * 500 for n in range(50)}
    bench.ask(run="r" * 500, step="s" * 500, tags=tags, checks=None, pre_checks=None)
    (line,) = bench.lines("call")
    assert (line["run"], line["step"], line["tags"]) == ("r" * 500, "s" * 500, tags)


def test_callers_confidence_function_decides(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.99)]})
    answer = bench.ask(confidence=lambda parsed: 0.1 if "confidence" in parsed else 1.0)
    assert answer.tier == "top"
    assert bench.lines("attempt")[0]["confidence_source"] == "caller"


def test_answer_lacks_nothing(tmp_path: Path) -> None:
    answer = open_bench(tmp_path).ask()
    assert [each.name for each in fields(answer) if not hasattr(answer, each.name)] == []
    assert replace(answer) == answer


def test_logprob_confidence_is_the_geometric_mean_of_the_tokens(tmp_path: Path) -> None:
    routing = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0.8, confidence: {source: logprob}}")
    bench = open_bench(tmp_path, {"a/small": [reply(token_logprobs=(-0.1, -0.3))]}, routing)
    answer = bench.ask()
    assert bench.backend.requests[0].logprobs
    assert answer.confidence.value == pytest.approx(2.718281828**-0.2)


def test_no_prompt_or_answer_text_reaches_the_log(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply("the secret answer", 0.9)]})
    bench.router.complete("x.extract", messages=[{"role": "user", "content": "the secret question"}])
    logged = "".join(path.read_text() for path in (tmp_path / "home" / "spool").iterdir())
    assert "secret" not in logged


def test_outcome_is_checked_before_it_is_logged(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    call_id = bench.ask().call_id
    bench.router.outcome(call_id, correct=False, error_usd=12.0)
    for wrong in (
        {},
        {"correct": 1.5},
        {"error_usd": -1.0},
        {"correct": 1, "source": "me"},
        {"error_usd": float("nan")},
    ):
        with pytest.raises(ValueError, match="outcome: "):
            bench.router.outcome(call_id, **wrong)  # pyright: ignore[reportArgumentType]
    (line,) = bench.lines("outcome")
    assert (line["correct"], line["error_nusd"], line["source"]) == (0.0, 12_000_000_000, "user")


def test_unusable_response_format_is_the_callers_error_before_any_request(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    with pytest.raises(ValueError, match="not a JSON schema"):
        bench.router.complete("x.extract", messages=MESSAGES, response_format={"type": "objct"})
    with pytest.raises(TypeError, match="pydantic model class or a JSON schema"):
        bench.router.complete("x.extract", messages=MESSAGES, response_format=int)
    assert bench.asked == []


def test_tokens_that_nobody_reported_count_at_their_estimate(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(usage=Usage())]})
    assert bench.ask().cost_nusd > 0
    assert bench.lines("attempt")[0]["cost_status"] == "unknown"


def test_logged_calls_replay_to_the_same_decisions(tmp_path: Path) -> None:
    """Random worlds through the real router: what its log says happened decides the same again."""
    chance = random.Random(5)
    kinds: list[ErrorKind] = ["server", "timeout", "rate_limit", "auth", "bad_response", "context_overflow"]

    def world(request: Request) -> Any:
        if chance.random() < 0.35:
            wait = chance.choice([None, 1.0, 30.0])
            return failure(chance.choice(kinds), retry_after_s=wait)
        if chance.random() < 0.2:
            return reply(text="cut o")
        return reply(confidence=chance.choice([None, 0.2, 0.6, 0.9]))

    routing = ROUTING.replace(
        "{accept_at: 0.8}", "{accept_at: 0.8, limits: {cost_usd: 0.012, deadline_s: 5, attempts: 5, retries: 2}}"
    )
    routing += "budgets: [{name: daily, usd: 0.05}]\n"
    models = ["a/small", "b/small", "a/medium", "b/large"]
    bench = open_bench(tmp_path, dict.fromkeys(models, world), routing)
    for _ in range(400):
        bench.clock.sleep(chance.choice([0, 1, 60]))
        with contextlib.suppress(RouteExhaustedError):
            bench.ask(chance.choice(["x.extract", "x.decide"]))
    plans = compile_plans(parse(routing.encode(), source="routing.yaml"))
    attempts: dict[str, list[dict[str, Any]]] = {}
    for line in bench.lines("attempt"):
        attempts.setdefault(line["call_id"], []).append(line)
    calls = bench.lines("call")
    assert len(calls) == 400
    assert {call["degraded"] for call in calls} == {True, False}
    for call in calls:
        logged = attempts.get(call["call_id"], [])
        rows = [{"calibration": None, "confidence": None, "confidence_source": None} | row for row in logged]
        plan = plans.plan_for(call["payload_type"])
        assert plan is not None
        plan = as_planned(plan, plans.tiers, call, rows)
        actions = replay(plan, trace_from_rows(plan, call, rows))
        made = [(action.n, plan.steps[action.step].tier, action.role) for action in actions if isinstance(action, Call)]
        assert made == [(row["n"], row["tier"], row["role"]) for row in rows]
        end = actions[-1]
        if call["status"] == "ok":
            assert isinstance(end, Accept)
            assert rows[end.n - 1]["attempt_id"] == call["served_attempt_id"]
        else:
            assert isinstance(end, Exhausted)
            assert end.reason == call["reason"]


def test_exhausted_call_says_what_was_tried_and_which_checks_failed(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": [reply(text="cut o"), failure("auth")]})
    with pytest.raises(RouteExhaustedError, match=r"after 2 attempts \[top: b/large: invalid, failed format;"):
        bench.ask("x.decide")
