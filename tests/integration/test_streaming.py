"""Streamed calls over scripted models: what is asked, handed out, logged and paid, however a stream ends."""

import asyncio
import gc
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router_core import CallError, Chunk, RequestRejectedError, RouteExhaustedError, Router, RouterError, Stream
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.clock import SystemClock
from router_core.config import parse
from router_core.decide.compile import compile_plans
from router_core.decide.trace import as_planned
from router_core.decide.trail import replayed
from router_core.testing import Broken, FakeBackend, broken, failure, make_router
from router_core.testing import reply as plain_reply
from router_core.types import Request, Response
from tests.builders import make_call
from tests.routers import MESSAGES, ROUTING, SCHEMA, Bench, open_bench, reply

ROOT = Path(__file__).resolve().parents[2]
BUDGET = ROUTING + "budgets: [{name: daily, usd: 1}]\n"
FIVE = plain_reply("one two three four five", output_tokens=50)


@pytest.fixture(params=["sync", "async"])
def pieces(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Read a stream to its end, or to so many pieces and then close it."""
    is_sync = request.param == "sync"

    def read(router: Router, *, most: int | None = None, payload_type: str = "x.extract", **kwargs: Any) -> Any:
        if is_sync:
            stream = router.stream(payload_type, messages=MESSAGES, **kwargs)
            read.stream = stream  # pyright: ignore[reportFunctionMemberAccess]
            with stream:
                return [chunk.text for chunk in itertools.islice(stream, most)]
        return asyncio.run(_read(router, most, payload_type, kwargs))

    async def _read(router: Router, most: int | None, payload_type: str, kwargs: Any) -> list[str]:
        stream = router.astream(payload_type, messages=MESSAGES, **kwargs)
        read.stream = stream  # pyright: ignore[reportFunctionMemberAccess]
        got: list[str] = []
        async with stream:
            async for chunk in stream:
                got.append(chunk.text)
                if len(got) == most:
                    break
        return got

    return read


def roles(bench: Bench) -> list[tuple[str, str, str]]:
    return [(line["role"], line["request_model"], line["status"]) for line in bench.lines("attempt")]


def start(bench: Bench, **kwargs: Any) -> Stream:
    return bench.router.stream("x.extract", messages=MESSAGES, **kwargs)


def set_aside_nusd(bench: Bench) -> int:
    """What counts against the limit and was not spent."""
    left = bench.router._guardrail.verdict(bench.clock.now_us(), make_call()).remaining_nusd
    assert left is not None
    return 10**9 - left - sum(line["cost_nusd"] for line in bench.lines("attempt"))


def test_pieces_make_up_the_answer_and_the_call_is_logged_as_any_other(tmp_path: Path, pieces: Any) -> None:
    bench = open_bench(tmp_path, {"a/small": FIVE})
    assert pieces(bench.router, run="job", step="s", tags={"team": "ap"}) == ["one ", "two ", "three ", "four ", "five"]
    answer = pieces.stream.answer
    assert (answer.text, answer.reason, answer.tier, answer.model) == (FIVE.text, "streamed", "cheap", "a/small")
    assert (pieces.stream.text, answer.cost_nusd) == (FIVE.text, 100 * 100 + 50 * 400)
    assert [line["k"] for line in bench.lines()] == ["started", "attempt", "call"]
    attempt, call = bench.lines("attempt")[0], bench.lines("call")[0]
    assert (attempt["status"], attempt["cost_status"], attempt["ttft_ms"]) == ("ok", "exact", 500.0)
    assert (call["status"], call["reason"], call["served_attempt_id"]) == ("ok", "streamed", attempt["attempt_id"])


def test_nothing_happens_before_the_first_piece_is_asked_for(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    stream = start(bench)
    stream.close()
    assert (list(stream), bench.asked, bench.lines()) == ([], [], [])
    with pytest.raises(RouterError, match="no answer"):
        _ = stream.answer


def test_failures_before_the_first_piece_are_retried_and_fall_back(tmp_path: Path, pieces: Any) -> None:
    bench = open_bench(tmp_path, {"a/small": failure(), "b/small": FIVE})
    assert "".join(pieces(bench.router)) == FIVE.text
    assert roles(bench) == [
        ("serve", "a/small", "failed"),
        ("retry", "a/small", "failed"),
        ("fallback", "b/small", "ok"),
    ]
    assert pieces.stream.answer.cost_nusd == bench.lines("call")[0]["cost_nusd"] == 100 * 200 + 50 * 800


def test_nobody_answers_a_stream_as_nobody_answers_a_call(tmp_path: Path, pieces: Any) -> None:
    bench = open_bench(tmp_path, {model: failure("auth") for model in ("a/small", "b/small", "a/medium", "b/large")})
    with pytest.raises(RouteExhaustedError) as caught:
        pieces(bench.router)
    assert (caught.value.partial_text, len(caught.value.attempts)) == ("", 4)


def test_unsure_or_invalid_streamed_answer_is_served_and_logged_as_what_it_is(tmp_path: Path, pieces: Any) -> None:
    unsure = open_bench(tmp_path / "1", {"a/small": reply(confidence=0.1)})
    pieces(unsure.router, response_format=SCHEMA)
    assert (pieces.stream.answer.confidence.value, unsure.asked) == (0.1, ["a/small"])
    invalid = open_bench(tmp_path / "2", {"a/small": "no JSON"})
    pieces(invalid.router, response_format=SCHEMA)
    answer = pieces.stream.answer
    assert (answer.text, answer.parsed, answer.attempts[0].status) == ("no JSON", None, "invalid")
    assert (roles(invalid), invalid.lines("call")[0]["status"]) == ([("serve", "a/small", "invalid")], "ok")


def test_stream_without_any_piece_is_decided_like_a_whole_answer(tmp_path: Path, pieces: Any) -> None:
    bench = open_bench(tmp_path, {"a/small": plain_reply("", output_tokens=0), "a/medium": reply()})
    assert "".join(pieces(bench.router, response_format=SCHEMA)) == reply().text
    assert roles(bench) == [("serve", "a/small", "invalid"), ("escalate", "a/medium", "ok")]


def test_answer_of_a_pre_check_or_of_an_earlier_run_comes_as_one_piece(tmp_path: Path, pieces: Any) -> None:
    bench = open_bench(tmp_path, {"a/small": FIVE}, ROUTING + "cache: {enabled: true}\n")
    assert pieces(bench.router, pre_checks=[lambda messages: "known already"]) == ["known already"]
    assert (bench.asked, pieces.stream.answer.cost_nusd) == ([], 0)
    known: dict[str, Any] = {"run": "job", "step": "s", "temperature": 0, "confidence": lambda text: 0.9}
    assert len(pieces(bench.router, **known)) == 5
    assert pieces(bench.router, **known) == [FIVE.text]
    assert (bench.asked, pieces.stream.answer.cache_hit) == (["a/small"], True)


def test_kept_draft_comes_as_one_piece_where_nobody_better_answers(tmp_path: Path, pieces: Any) -> None:
    up = {model: failure("auth") for model in ("a/medium", "b/large")}
    bench = open_bench(tmp_path, {"a/small": "a draft", **up}, ROUTING + "cache: {enabled: true}\n")
    known: dict[str, Any] = {"run": "job", "step": "s", "temperature": 0, "confidence": lambda text: 0.1}
    assert bench.router.complete("x.extract", messages=MESSAGES, **known).reason == "escalation_failed"
    assert pieces(bench.router, **known) == ["a draft"]
    assert pieces.stream.answer.reason == "escalation_failed"


def test_break_in_the_middle_ends_the_call_with_what_had_come(tmp_path: Path, pieces: Any) -> None:
    bench = open_bench(tmp_path, {"a/small": broken("one two three")}, BUDGET)
    with pytest.raises(RouteExhaustedError, match="broken_stream") as caught:
        pieces(bench.router)
    error = caught.value
    assert (error.partial_text, isinstance(error.__context__, CallError)) == ("one two three", True)
    assert pieces.stream.text == "one two three"
    attempt, call = bench.lines("attempt")[0], bench.lines("call")[0]
    assert (attempt["status"], attempt["error_type"], attempt["cost_status"]) == ("failed", "connection", "estimated")
    assert (attempt["cost_nusd"], attempt["output_tokens"]) == (100 * 100 + 10 * 400, 10)
    assert (call["status"], call["reason"], call["cost_nusd"]) == ("failed", "broken_stream", attempt["cost_nusd"])
    assert (bench.asked, set_aside_nusd(bench)) == (["a/small"], 0)


@pytest.mark.parametrize("text", ["", "one two"])
def test_withheld_stream_is_a_refusal_however_far_it_came(tmp_path: Path, pieces: Any, text: str) -> None:
    bench = open_bench(tmp_path, {"a/small": plain_reply(text, finish_reason="content_filter")}, BUDGET)
    with pytest.raises(RouteExhaustedError, match="withheld by the provider's content filter") as caught:
        pieces(bench.router)
    assert (caught.value.partial_text, bench.asked) == (text, ["a/small"])
    attempt, call = bench.lines("attempt")[0], bench.lines("call")[0]
    assert (attempt["status"], attempt["error_type"], attempt["cost_status"]) == ("failed", "content_policy", "exact")
    assert (call["status"], call["reason"]) == ("failed", "broken_stream" if text else "content_policy")
    assert set_aside_nusd(bench) == 0


@pytest.mark.parametrize("confidence", ["source: judge", "source: agreement, samples: 2"])
def test_nobody_is_asked_about_a_streamed_answer_and_the_log_says_so(
    tmp_path: Path, pieces: Any, confidence: str
) -> None:
    routing = ROUTING.replace(
        "error_cost_usd: 0.5}", f"error_cost_usd: 0.5, comparable: json, confidence: {{{confidence}}}}}"
    )
    bench = open_bench(tmp_path, routing=routing + "judge: {tier: top, same_family: true}\n")
    pieces(bench.router, response_format=SCHEMA)
    assert (bench.asked, pieces.stream.answer.confidence.source) == (["a/small"], "none")
    (attempt,), (call,) = bench.lines("attempt"), bench.lines("call")
    assert [(line["confidence_source"], line.get("confidence")) for line in (attempt, call)] == [("none", None)] * 2


def test_stop_serves_and_counts_what_had_come(tmp_path: Path, pieces: Any) -> None:
    bench = open_bench(tmp_path, {"a/small": FIVE}, BUDGET)
    assert pieces(bench.router, most=2) == ["one ", "two "]
    answer = pieces.stream.answer
    assert (answer.text, answer.reason, answer.attempts[0].status) == ("one two ", "stopped", "cancelled")
    attempt, call = bench.lines("attempt")[0], bench.lines("call")[0]
    assert (attempt["status"], attempt["cost_status"], attempt["output_tokens"]) == ("cancelled", "estimated", 20)
    assert attempt["cost_nusd"] == call["cost_nusd"] == answer.cost_nusd == 100 * 100 + 20 * 400
    assert (call["status"], call["reason"], call["served_attempt_id"]) == ("ok", "stopped", attempt["attempt_id"])
    assert set_aside_nusd(bench) == 0


def test_answer_is_not_there_before_the_end(tmp_path: Path) -> None:
    stream = start(open_bench(tmp_path, {"a/small": FIVE}))
    assert next(stream) == Chunk("one ")
    with pytest.raises(RouterError, match="not ended"):
        _ = stream.answer
    stream.close()
    stream.close()
    assert list(stream) == []


ENDINGS: dict[str, Callable[[Bench, list[Stream]], None]] = {
    "dropped": lambda _, held: held.clear(),
    "closed": lambda _, held: held[0].close(),
    "router closed": lambda bench, _: bench.router.close(),
    "collected with a cycle": lambda _, held: (held.append(held), held.clear(), gc.collect())[0],  # pyright: ignore
}


@pytest.mark.parametrize("how", ENDINGS)
def test_whatever_ends_a_stream_leaves_every_line_and_no_money_set_aside(tmp_path: Path, how: str) -> None:
    bench = open_bench(tmp_path, {"a/small": FIVE}, BUDGET)
    held = [start(bench)]
    next(held[0])
    assert set_aside_nusd(bench) > 0
    ENDINGS[how](bench, held)
    assert [line["k"] for line in bench.lines()] == ["started", "attempt", "call"]
    assert [line["cost_status"] for line in bench.lines("attempt")] == ["estimated"]
    assert set_aside_nusd(bench) == 0


def test_generator_around_a_stream_ends_it_when_it_is_closed(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": FIVE})

    def words() -> Any:
        with start(bench) as stream:
            for chunk in stream:
                yield chunk.text

    generator = words()
    assert next(generator) == "one "
    generator.close()
    assert bench.lines("call")[0]["reason"] == "stopped"


def test_stream_dropped_in_real_time_is_logged_soon(tmp_path: Path) -> None:
    router = make_router(tmp_path, ROUTING, FakeBackend(default=FIVE), clock=SystemClock())
    for _ in router.stream("x.extract", messages=MESSAGES):
        break
    [segment] = (tmp_path / ".tierwise" / "spool").glob("*.jsonl")
    until = time.monotonic() + 10
    while '"reason":"stopped"' not in segment.read_text() and time.monotonic() < until:
        time.sleep(0.005)
    assert '"reason":"stopped"' in segment.read_text()
    router.close()


@pytest.mark.parametrize("n", [1, 3], ids=["first piece", "later piece"])
def test_cancelled_task_leaves_every_line_and_what_had_come_is_paid(tmp_path: Path, n: int) -> None:
    clock_reached: list[asyncio.Event] = []
    bench = open_bench(tmp_path, {"a/small": FIVE}, BUDGET)
    pauses = 0

    async def asleep(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        bench.clock.sleep(seconds)
        if pauses == n:
            clock_reached[0].set()
            await asyncio.sleep(30)

    async def read() -> None:
        async for _ in bench.router.astream("x.extract", messages=MESSAGES):
            pass

    async def cancelled() -> None:
        clock_reached.append(asyncio.Event())
        task = asyncio.create_task(read())
        await clock_reached[0].wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    bench.clock.asleep = asleep  # pyright: ignore[reportAttributeAccessIssue]
    asyncio.run(cancelled())
    assert [line["k"] for line in bench.lines()] == ["started", "attempt", "call"]
    attempt, call = bench.lines("attempt")[0], bench.lines("call")[0]
    assert (attempt["status"], call["status"], call["error_type"]) == ("cancelled", "failed", "cancelled")
    assert attempt["cost_status"] == ("unknown" if n == 1 else "estimated")
    assert attempt["cost_nusd"] > 0
    assert set_aside_nusd(bench) == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupt_in_the_middle_passes_and_is_logged(tmp_path: Path, error: type[BaseException]) -> None:
    bench = open_bench(tmp_path, {"a/small": Broken("one two", error())})  # pyright: ignore[reportArgumentType]
    with pytest.raises(error):
        list(start(bench))
    attempt = bench.lines("attempt")[0]
    assert (attempt["status"], attempt["cost_status"]) == ("cancelled", "estimated")


def test_caller_that_is_slow_meets_the_deadline_of_the_call(tmp_path: Path) -> None:
    routing = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0.8, limits: {deadline_s: 2}}")
    bench = open_bench(tmp_path, {"a/small": FIVE}, routing)
    list(start(bench))
    request = bench.backend.requests[0]
    assert (request.total_s, request.timeout_s) == (2.0, 2.0)


def test_another_process_leaves_a_stream_to_its_parent(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": FIVE}, BUDGET)
    stream = start(bench)
    next(stream)
    child = os.fork()
    if not child:
        code = 1
        try:
            if list(stream) == []:
                stream.close()
                bench.router.close()
                del stream
                gc.collect()
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [line["k"] for line in bench.lines()] == ["started"]
    assert len(list(stream)) == 4
    assert [line["k"] for line in bench.lines()] == ["started", "attempt", "call"]


LEAVING = """
import os, signal, sys
from router_core.clock import SystemClock
from router_core.testing import FakeBackend, make_router
from tests.routers import MESSAGES, ROUTING
router = make_router(sys.argv[1], ROUTING, FakeBackend(default="one two three"), clock=SystemClock())
stream = router.stream("x.extract", messages=MESSAGES)
next(stream)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("how", "status", "cost_status", "call"),
    [("ended", "cancelled", "estimated", "ok"), ("killed", "unknown", "unknown", "interrupted")],
)
def test_process_that_ends_in_the_middle_leaves_its_stream_in_the_log(
    tmp_path: Path, how: str, status: str, cost_status: str, call: str
) -> None:
    subprocess.run([sys.executable, "-c", LEAVING, str(tmp_path), how], cwd=ROOT, check=how == "ended", timeout=60)
    home = Home(tmp_path / ".tierwise")
    ingest_once(home)
    with reading(home) as con:
        attempts = con.execute("SELECT status, cost_status, cost_nusd > 0 FROM attempts").fetchall()
        calls = con.execute("SELECT status FROM calls").fetchall()
    assert (attempts, calls) == ([(status, cost_status, True)], [(call,)])


def test_unknown_payload_type_and_closed_router_are_refused_at_the_first_piece(tmp_path: Path, pieces: Any) -> None:
    bench = open_bench(tmp_path)
    with pytest.raises(RequestRejectedError, match="unknown payload type"):
        pieces(bench.router, payload_type="y")
    bench.router.close()
    with pytest.raises(RequestRejectedError, match="closed"):
        pieces(bench.router)


def test_what_cannot_be_sent_is_refused_at_once(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    wrong: Any = "text"
    with pytest.raises(TypeError, match="messages"):
        bench.router.stream("x.extract", messages=wrong)
    with pytest.raises(TypeError, match=r"use router\.stream"):
        bench.router.complete("x.extract", messages=MESSAGES, stream=True)
    with pytest.raises(TypeError, match="model"):
        bench.router.stream("x.extract", messages=MESSAGES, model="other")


def test_backend_that_cannot_stream_is_named(tmp_path: Path) -> None:
    class Whole:
        def complete(self, request: Request) -> Response:
            return FIVE

        async def acomplete(self, request: Request) -> Response:
            return FIVE

    with make_router(tmp_path, ROUTING, Whole()) as router, pytest.raises(TypeError, match="Whole cannot stream"):
        router.stream("x.extract", messages=MESSAGES)


SCRIPTS: dict[str, Any] = {
    "served": {"a/small": FIVE},
    "invalid": {"a/small": "no JSON"},
    "after a fallback": {"a/small": [failure("rate_limit", retry_after_s=30)]},
    "broken": {"a/small": [failure(), broken("one two")]},
    "empty, then up": {"a/small": plain_reply(""), "a/medium": reply()},
}


@pytest.mark.parametrize("most", [None, 1], ids=["whole", "stopped"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_logged_stream_replays_to_the_same_decisions(tmp_path: Path, script: str, most: int | None) -> None:
    bench = open_bench(tmp_path, SCRIPTS[script])
    try:
        with start(bench, response_format=SCHEMA) as stream:
            list(itertools.islice(stream, most))
    except RouteExhaustedError:
        assert script == "broken"
    plans = compile_plans(parse(ROUTING.encode(), source="routing.yaml"))
    columns = ("confidence", "confidence_source", "calibration", "error_type", "budget_scope")
    call, *attempts = [
        {**dict.fromkeys(columns), "extra": {}, **line} for line in (*bench.lines("call"), *bench.lines("attempt"))
    ]
    plan = plans.plan_for("x.extract")
    assert plan is not None
    assert replayed(as_planned(plan, plans.tiers, call, attempts), call, attempts)


def test_sync_and_async_streams_leave_the_same_log(tmp_path: Path) -> None:
    script: dict[str, Any] = {"a/small": [failure(), FIVE]}
    one, other = open_bench(tmp_path / "1", script), open_bench(tmp_path / "2", script)
    list(start(one))

    async def read() -> None:
        async for _ in other.router.astream("x.extract", messages=MESSAGES):
            pass

    asyncio.run(read())

    def comparable(bench: Bench) -> list[dict[str, Any]]:
        return [{key: value for key, value in line.items() if key != "worker"} for line in bench.lines()]

    assert comparable(one) == comparable(other)


def test_shadow_of_a_streamed_answer_is_made_when_it_is_whole_and_not_when_it_was_stopped(tmp_path: Path) -> None:
    shadowed = "x.extract: {shadow: [{tier: top, on: accepted, rate: 1}], "
    routing = ROUTING.replace("x.extract: {", shadowed) + "shadow_budget: {per: day, usd: 1}\n"
    bench = open_bench(tmp_path, {"a/small": FIVE}, routing)
    with start(bench) as stream:
        next(stream)
    assert bench.asked == ["a/small"]
    list(start(bench))
    assert bench.asked == ["a/small", "a/small", "b/large"]
