"""Outages, cool-downs, windows and abilities through the real router: whom it asks, whom it leaves alone."""

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from router_core import Answer, CallError, RequestRejectedError, RouteExhaustedError
from router_core.config import parse
from router_core.decide.compile import compile_plans
from router_core.decide.moves import Call
from router_core.decide.step import replay
from router_core.decide.trace import trace_from_rows
from router_core.errors import ErrorKind
from router_core.testing import reply as plain_reply
from router_core.types import Request, Usage
from tests.routers import MESSAGES, ROUTING, SCHEMA, Bench, open_bench, reply

ONCE = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0.8, limits: {retries: 0}}")
ALONE = ONCE.replace("[{model: a/small}, {model: b/small}]", "[{model: a/small}]")
ONE_STRIKE = ONCE + "health: {failures: 1, cooldown_s: 30, longest_cooldown_s: 100}\n"
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def failure(kind: ErrorKind = "server", **options: Any) -> CallError:
    return CallError(f"simulated {kind}", kind=kind, **options)


def events(bench: Bench, name: str) -> list[dict[str, Any]]:
    return [line["details"] for line in bench.lines("event") if line["event"] == name]


def test_while_one_request_probes_all_others_keep_away(tmp_path: Path) -> None:
    beside: list[Answer] = []

    def world(request: Request) -> Any:
        asked = bench.asked.count("a/small")
        if asked == 2:
            beside.extend(bench.ask() for _ in range(3))  # others, while the probe is on its way
        return failure() if asked == 1 else reply()

    bench = open_bench(tmp_path, {"a/small": world}, ONE_STRIKE)
    assert bench.ask().model == "b/small"
    bench.clock.sleep(40)
    assert bench.ask().model == "a/small"
    assert [answer.model for answer in beside] == ["b/small"] * 3
    assert bench.ask().model == "a/small"  # it has answered: everybody may ask again


def test_cool_downs_grow_up_to_their_bound_while_probes_fail(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure()]}, ONE_STRIKE)
    for _ in range(400):
        bench.ask()
        bench.clock.sleep(1)
    lengths = [details["until_us"] for details in events(bench, "health")]
    begun = [line["at"] for line in bench.lines("event") if line["event"] == "health"]
    seconds = [(until - at) / 1e6 for until, at in zip(lengths, begun, strict=True)]
    assert [30 <= seconds[0] <= 36, 60 <= seconds[1] <= 72, 100 <= seconds[2] <= 110] == [True] * 3
    assert all(100 <= length <= 110 for length in seconds[2:])


def test_older_requests_answer_does_not_clear_a_newer_cool_down(tmp_path: Path) -> None:
    def world(request: Request) -> Any:
        if len(bench.backend.requests) == 1:
            bench.ask()  # another call, whose request is sent later and fails sooner
            return reply()
        return failure()

    bench = open_bench(tmp_path, {"a/small": world}, ONE_STRIKE)
    assert bench.ask().model == "a/small"
    assert bench.ask().model == "b/small"


def test_adjusted_clock_neither_ends_nor_lengthens_a_cool_down(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure(), reply()]}, ONE_STRIKE)
    bench.ask()
    bench.clock.adjust(3_600_000_000)
    assert bench.ask().model == "b/small"
    bench.clock.adjust(-7_200_000_000)
    bench.clock.sleep(37)
    assert bench.ask().model == "a/small"


def test_cancelled_probe_leaves_the_next_request_to_probe(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure(), KeyboardInterrupt(), reply()]}, ONE_STRIKE)
    bench.ask()
    bench.clock.sleep(40)
    with pytest.raises(KeyboardInterrupt):
        bench.ask()
    assert bench.ask().model == "a/small"


WINDOWS = ONCE.replace(
    "[{model: a/small}, {model: b/small}]",
    "[{model: a/small, context_tokens: 1000}, {model: b/small, context_tokens: 4000}]",
)


def test_request_too_long_for_a_window_is_not_sent_there(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=WINDOWS)
    for words, model in ((100, "a/small"), (2_000, "b/small"), (6_000, "a/medium")):
        messages = [{"role": "user", "content": "words " * words}]
        assert bench.router.complete("x.extract", messages=messages, response_format=SCHEMA).model == model
    assert bench.asked == ["a/small", "b/small", "a/medium"]


def test_overflow_goes_to_a_larger_window_in_the_tier_and_never_to_a_smaller_one(tmp_path: Path) -> None:
    three = WINDOWS.replace("[{model: a/small", "[{model: c/small, context_tokens: 900}, {model: a/small").replace(
        "prices:\n", "prices:\n  c/small: {input: 1, output: 1}\n"
    )
    three = three.replace("{model: c/small, context_tokens: 900}, ", "").replace(
        "context_tokens: 4000}]", "context_tokens: 900}, {model: c/small, context_tokens: 4000}]"
    )
    bench = open_bench(tmp_path, {"a/small": [failure("context_overflow")]}, three)
    assert bench.ask().model == "c/small"
    assert bench.asked == ["a/small", "c/small"]
    assert bench.lines("attempt")[0]["extra"]["facts"]["unfit"] == ["a/small", "b/small"]


def test_overflow_goes_up_where_the_tier_has_no_larger_window(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/small": [failure("context_overflow")]}, WINDOWS.replace("1000}", "10}"))
    messages = [{"role": "user", "content": "words " * 100}]
    assert bench.router.complete("x.extract", messages=messages, response_format=SCHEMA).tier == "mid"
    assert bench.asked == ["b/small", "a/medium"]


def test_overflow_of_every_window_ends_the_call_after_one_request_each(tmp_path: Path) -> None:
    models = ["a/small", "b/small", "a/medium", "b/large"]
    bench = open_bench(tmp_path, {model: [failure("context_overflow")] for model in models})
    with pytest.raises(RouteExhaustedError, match="incapable"):
        bench.ask()
    assert bench.asked == models


ABLE = ONCE.replace("a/small}, {", "a/small, capabilities: [schema]}, {").replace(
    "b/small}]", "b/small, capabilities: [tools, schema]}]"
)


@pytest.mark.parametrize(
    ("messages", "params", "model"),
    [
        (MESSAGES, {}, "a/small"),
        (MESSAGES, {"tools": TOOLS}, "b/small"),
        (PICTURE, {}, "a/medium"),
        (MESSAGES, {"logprobs": True}, "a/medium"),
    ],
)
def test_request_goes_to_the_first_target_that_can_take_it(
    tmp_path: Path, messages: Any, params: dict[str, Any], model: str
) -> None:
    bench = open_bench(tmp_path, routing=ABLE)
    assert bench.router.complete("x.extract", messages=messages, response_format=SCHEMA, **params).model == model
    assert bench.asked == [model]


def test_request_that_nobody_can_take_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    routing = ONCE.replace("b/large}]", "b/large, capabilities: [schema], context_tokens: 50}]")
    bench = open_bench(tmp_path, routing=routing)
    with pytest.raises(RequestRejectedError, match=r"x\.decide: no target .* take this: b/large takes no tools"):
        bench.router.complete("x.decide", messages=MESSAGES, tools=TOOLS)
    with pytest.raises(RequestRejectedError, match="b/large takes 50 tokens, and this has 200 at least"):
        bench.router.complete("x.decide", messages=[{"role": "user", "content": "secret" * 200}])
    assert bench.asked == []
    calls = bench.lines("call")
    assert [(line["status"], line["reason"], line["attempts"]) for line in calls] == [("rejected", "incapable", 0)] * 2
    assert calls[0]["extra"]["opened"]["unfit"] == ["b/large"]


def test_escalation_passes_over_a_tier_that_cannot_take_the_request(tmp_path: Path) -> None:
    routing = ONCE.replace("a/medium}]", "a/medium, capabilities: []}]")
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.1)]}, routing)
    assert bench.ask().tier == "top"


def test_limit_moves_a_call_only_to_a_target_that_can_take_it(tmp_path: Path) -> None:
    routing = ABLE + "budgets: [{name: daily, usd: 0.000001}]\n"
    bench = open_bench(tmp_path, routing=routing)
    bench.ask()
    answer = bench.router.complete("x.extract", messages=MESSAGES, response_format=SCHEMA, tools=TOOLS)
    assert (answer.degraded, answer.model) == (True, "b/small")


def ask_many(bench: Bench, times: int, payload_type: str = "x.extract") -> list[Answer | RouteExhaustedError]:
    ends: list[Answer | RouteExhaustedError] = []
    for _ in range(times):
        bench.clock.sleep(0.1)
        try:
            ends.append(bench.ask(payload_type))
        except RouteExhaustedError as error:
            ends.append(error)
    return ends


def test_outage_of_the_cheap_tier_does_not_send_every_call_to_a_dearer_one(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure()]}, ALONE)
    ends = ask_many(bench, 100)
    served = [end for end in ends if isinstance(end, Answer)]
    assert len(served) == 19  # before there were enough calls to tell an outage from chance
    assert all("breaker" in str(end) for end in ends[19:])
    assert bench.asked.count("a/medium") == 19
    (event,) = events(bench, "breaker")
    assert (event["payload_type"], event["tier"], event["cause"], event["state"]) == (
        "x.extract",
        "cheap",
        "failures",
        "open",
    )
    assert bench.lines("call")[-1]["reason"] == "breaker"


def test_probes_go_on_while_the_breaker_is_open_and_close_it(tmp_path: Path) -> None:
    over_us = 0

    def world(request: Request) -> Any:
        return failure() if bench.clock.now_us() < over_us else reply()

    bench = open_bench(tmp_path, {"a/small": world}, ALONE)
    over_us = bench.clock.now_us() + 60_000_000
    ends = ask_many(bench, 2_500)
    assert isinstance(ends[-1], Answer)
    assert ends[-1].tier == "cheap"
    assert [event["state"] for event in events(bench, "breaker")] == ["open", "closed"]
    # a cool-down, not a call, is what an outage costs in requests
    assert sum(line["status"] == "failed" for line in bench.lines("attempt")) < 30


def test_critical_calls_are_never_held(tmp_path: Path) -> None:
    routing = ALONE.replace("error_cost_usd: 0.5}", "error_cost_usd: 0.5, critical: true}")
    bench = open_bench(tmp_path, {"a/small": [failure()]}, routing)
    assert all(isinstance(end, Answer) for end in ask_many(bench, 100))


def test_outage_is_no_reason_to_hold_unsure_answers_of_another_tier(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.1)]}, ALONE)
    assert {end.tier for end in ask_many(bench, 300) if isinstance(end, Answer)} == {"mid"}


def test_wave_of_unsure_answers_is_served_where_it_is_and_marked(tmp_path: Path) -> None:
    unsure_from = 300

    def world(request: Request) -> Any:
        return reply(confidence=0.3 if len(bench.backend.requests) > unsure_from else 0.9)

    bench = open_bench(tmp_path, {"a/small": world}, ALONE)
    ends = ask_many(bench, 900)
    last = ends[-1]
    assert isinstance(last, Answer)
    assert (last.tier, last.reason, last.degraded) == ("cheap", "breaker", False)
    assert [event["cause"] for event in events(bench, "breaker")] == ["answers"]
    assert bench.asked.count("a/medium") < 200


def test_breaker_can_be_switched_off(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [failure()]}, ALONE + "health: {breaker: {enabled: false}}\n")
    assert all(isinstance(end, Answer) for end in ask_many(bench, 100))


@pytest.mark.parametrize("seed", range(4))
def test_no_timing_of_failures_carries_a_call_beyond_its_limits(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    limits = "{accept_at: 0.8, limits: {attempts: 4, deadline_s: 9, cost_usd: 0.01, retries: 2}}"
    kinds: list[ErrorKind] = ["server", "timeout", "rate_limit", "connection", "bad_response"]

    def world(request: Request) -> Any:
        # answers just before, at and after the time that is left, and waits of every length
        bench.clock.sleep(request.timeout_s * chance.choice([0.0, 0.5, 0.999, 1.0]))
        if chance.random() < 0.6:
            asked = chance.choice([None, 0.0, 1.9, 2.1, 8.9, 9.1, 3_600.0])
            return failure(chance.choice(kinds), retry_after_s=asked, billed=chance.choice([False, None]))
        tokens = Usage(input_tokens=100, output_tokens=chance.choice([1, 100, 400]))
        return reply(confidence=chance.choice([0.1, 0.9]), usage=tokens)

    routing = ROUTING.replace("{accept_at: 0.8}", limits)
    bench = open_bench(tmp_path, dict.fromkeys(["a/small", "b/small", "a/medium", "b/large"], world), routing)
    bench.backend.latency_s = 0.0
    for _ in range(150):
        before = bench.clock.now_us()
        with contextlib.suppress(RouteExhaustedError):
            bench.ask(chance.choice(["x.extract", "x.decide"]))
        assert bench.clock.now_us() - before <= 9_000_000
        bench.clock.sleep(chance.choice([0, 5, 40]))
    assert all(line["attempts"] <= 4 for line in bench.lines("call"))
    reserved = {line["request_id"]: line["items"][0]["reserved_nusd"] for line in bench.lines("started")}
    spent, began_in = dict[str, int](), dict[str, str]()
    for line in bench.lines("attempt"):
        # nothing is begun that is expected to cost more than is left, but where a call begins and has spent nothing
        earlier, began = spent.get(line["call_id"], 0), began_in.setdefault(line["call_id"], line["tier"])
        fits = earlier + reserved[line["request_id"]] <= 10_000_000
        assert fits or (earlier == 0 and line["tier"] == began)
        spent[line["call_id"]] = earlier + line["cost_nusd"]


TWICE = ONE_STRIKE.replace(
    "[{model: a/small}, {model: b/small}]",
    '[{model: a/small, api_base: "http://one.test"}, {model: a/small, api_base: "http://two.test"}]',
)


@pytest.mark.parametrize("text", ["", "half an ans"])
def test_withheld_answer_of_any_backend_is_a_refusal_that_nobody_else_gets_around(tmp_path: Path, text: str) -> None:
    withheld = plain_reply(text, finish_reason="content_filter")
    bench = open_bench(tmp_path, {"a/small": withheld}, ROUTING + "cache: {enabled: true}\n")
    with pytest.raises(
        RouteExhaustedError, match=r"content_policy.*withheld by the provider's content filter"
    ) as caught:
        bench.router.complete("x.extract", messages=MESSAGES, run="job", step="s")
    assert (bench.asked, caught.value.partial_text) == (["a/small"], "")
    (line,) = bench.lines("attempt")
    assert (line["status"], line["error_type"], line["cost_status"]) == ("failed", "content_policy", "exact")
    assert (line["input_tokens"], line["output_tokens"], line["cost_nusd"]) == (100, 10, 100 * 100 + 10 * 400)
    assert caught.value.cost_nusd == bench.lines("call")[0]["cost_nusd"] == line["cost_nusd"]


def test_sample_that_is_refused_for_its_content_keeps_the_task_from_other_providers(tmp_path: Path) -> None:
    small = [reply("yes"), CallError("no", kind="content_policy")]
    sampled = ROUTING.replace("error_cost_usd: 0.5}", "comparable: json, confidence: {source: agreement}}")
    bench = open_bench(tmp_path, {"a/small": small}, sampled)
    answer = bench.ask()
    assert bench.asked == ["a/small", "a/small"]
    assert (answer.parsed["answer"], answer.tier, answer.reason) == ("yes", "cheap", "content_policy")


def test_same_model_at_another_address_is_another_target(tmp_path: Path) -> None:
    def world(request: Request) -> Any:
        return failure() if request.api_base == "http://one.test" else reply()

    bench = open_bench(tmp_path, {"a/small": world}, TWICE)
    for _ in range(3):
        assert bench.ask().tier == "cheap"
    assert [request.api_base for request in bench.backend.requests] == ["http://one.test", *["http://two.test"] * 3]
    assert [details["target"] for details in events(bench, "health")] == ["a/small"]
    assert [line["extra"]["target"] for line in bench.lines("attempt")[1:]] == ["a/small#2"] * 3
    # which of the two was asked is what a replay must know
    plans = compile_plans(parse(TWICE.encode(), source="routing.yaml"))
    plan = plans.by_type["x.extract"]
    call = bench.lines("call")[0]
    rows = [
        {"calibration": None, "confidence": None, "confidence_source": None} | row for row in bench.lines("attempt")
    ]
    actions = replay(plan, trace_from_rows(plan, call, rows[:2]))
    asked = [(action.step, action.target) for action in actions if isinstance(action, Call)]
    assert asked == [(0, 0), (0, 1)]
