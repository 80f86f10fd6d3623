"""The router over litellm and a real HTTP server: every request the server sees is in the log, and no other."""

import asyncio
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router_core import Answer, RouteExhaustedError, Router
from router_core.backends.litellm import LiteLLMBackend
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from tests.openai_server import (
    CUT,
    HANG,
    OpenAIServer,
    Reply,
    after,
    bad_json,
    chunk,
    closed_port,
    context_too_long,
    cut_short,
    dropped,
    failing,
    filtered,
    hanging,
    no_choices,
    ok,
    out_of_quota,
    rate_limited,
    streamed,
)

# litellm's own modules warn when some of them are first used
pytestmark = [
    pytest.mark.filterwarnings("ignore:Accessing the 'model_(computed_)?fields' attribute on the instance"),
]

MESSAGES = [{"role": "user", "content": "Extract the total."}]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "confidence": {"type": "number"}},
    "required": ["answer"],
}
ROUTING = """\
version: 1
tiers:
  cheap:
    - {{model: openai/small-1, api_base: "{base}", timeout_s: {timeout_s}}}
    - {{model: openai/small-2, api_base: "{second}", timeout_s: {timeout_s}}}
  top: [{{model: openai/large, api_base: "{base}", timeout_s: {timeout_s}}}]
payload_types:
  invoice.extract: {{path: [cheap, top]}}
prices:
  openai/small-1: {{input: 0.1, output: 0.4}}
  openai/small-2: {{input: 0.2, output: 0.8}}
  openai/large: {{input: 5, output: 20}}
"""
PLAIN = {"small-1": 1}

Ask = Callable[[Router], Answer]
# reads a stream, all of it or so many pieces, and returns its answer
Read = Callable[..., Answer]


def sure(confidence: float = 0.95, **options: Any) -> Reply:
    return ok(json.dumps({"answer": "12.50", "confidence": confidence}), **options)


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    server.reset()
    for model in ("small-1", "small-2", "large"):
        server.script(model, sure())


@pytest.fixture(scope="module")
def backend() -> LiteLLMBackend:
    return LiteLLMBackend()


@pytest.fixture(scope="module")
def on_loop(backend: LiteLLMBackend) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run a coroutine on the one loop of this module; litellm keeps its connections per loop."""
    backend.warmup()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)
    asyncio.run_coroutine_threadsafe(_close_clients(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


async def _close_clients() -> None:
    from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

    await close_litellm_async_clients()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, on_loop: Callable[[Coroutine[Any, Any, Any]], Any]) -> Ask:
    if request.param == "sync":
        return lambda router: router.complete("invoice.extract", messages=MESSAGES, response_format=SCHEMA)
    return lambda router: on_loop(
        router.acomplete("invoice.extract", messages=MESSAGES, response_format=SCHEMA),
    )


@pytest.fixture(params=["sync", "async"])
def read(request: pytest.FixtureRequest, on_loop: Callable[[Coroutine[Any, Any, Any]], Any]) -> Read:
    if request.param == "sync":
        return read_stream
    return lambda router, most=None: on_loop(read_astream(router, most))


def read_stream(router: Router, most: int | None = None) -> Answer:
    with router.stream("invoice.extract", messages=MESSAGES) as stream:
        list(itertools.islice(stream, most))
    return stream.answer


async def read_astream(router: Router, most: int | None = None) -> Answer:
    async with router.astream("invoice.extract", messages=MESSAGES) as stream:
        n = 0
        async for _ in stream:
            n += 1
            if n == most:
                break
    return stream.answer


@dataclass(frozen=True, slots=True)
class Wired:
    """A router on the wire, and its log."""

    router: Router
    home: Home
    server: OpenAIServer

    def lines(self, kind: str) -> list[dict[str, Any]]:
        segments = sorted(self.home.spool.glob("*.jsonl"))
        lines = [json.loads(line) for segment in segments for line in segment.read_text().splitlines()]
        return [line for line in lines if line["k"] == kind]

    def attempts(self) -> list[tuple[str, str, str | None, str]]:
        return [
            (line["request_model"].removeprefix("openai/"), line["role"], line.get("error_type"), line["cost_status"])
            for line in self.lines("attempt")
        ]


@pytest.fixture
def wired(tmp_path: Path, server: OpenAIServer, backend: LiteLLMBackend) -> Iterator[Callable[..., Wired]]:
    opened: list[Router] = []

    def open_router(*, timeout_s: float = 10.0, second: str | None = None, **changes: str) -> Wired:
        text = ROUTING.format(base=server.base_url, second=second or server.base_url, timeout_s=timeout_s)
        for old, new in changes.values():
            text = text.replace(old, new)
        (tmp_path / "routing.yaml").write_text(text)
        router = Router.open(tmp_path / "routing.yaml", home=tmp_path / "home", backend=backend)
        opened.append(router)
        return Wired(router, Home(tmp_path / "home"), server)

    yield open_router
    for router in opened:
        router.close()


SERVED: dict[str, tuple[dict[str, tuple[Reply, ...]], list[tuple[str, str, str | None, str]]]] = {
    "at once": ({}, [("small-1", "serve", None, "exact")]),
    "after a retry": (
        {"small-1": (failing(500), sure())},
        [("small-1", "serve", "server", "exact"), ("small-1", "retry", None, "exact")],
    ),
    "after a rate limit": (
        {"small-1": (rate_limited(retry_after=0), sure())},
        [("small-1", "serve", "rate_limit", "exact"), ("small-1", "retry", None, "exact")],
    ),
    "by the other target, access denied": (
        {"small-1": (failing(401),)},
        [("small-1", "serve", "auth", "exact"), ("small-2", "fallback", None, "exact")],
    ),
    "by the other target, no quota": (
        {"small-1": (out_of_quota(),)},
        [("small-1", "serve", "quota", "exact"), ("small-2", "fallback", None, "exact")],
    ),
    "by the next tier, unsure": (
        {"small-1": (sure(0.3),)},
        [("small-1", "serve", None, "exact"), ("large", "escalate", None, "exact")],
    ),
    "by the next tier, invalid": (
        {"small-1": (ok("no JSON at all"),)},
        [("small-1", "serve", "invalid", "exact"), ("large", "escalate", None, "exact")],
    ),
    "after broken JSON": (
        {"small-1": (bad_json(), sure())},
        [("small-1", "serve", "bad_response", "unknown"), ("small-1", "retry", None, "exact")],
    ),
    "after an empty response": (
        {"small-1": (no_choices(), sure())},
        [("small-1", "serve", "bad_response", "unknown"), ("small-1", "retry", None, "exact")],
    ),
    "after a dropped connection": (
        {"small-1": (dropped(), sure())},
        [("small-1", "serve", "connection", "unknown"), ("small-1", "retry", None, "exact")],
    ),
    "after an answer cut short": (
        {"small-1": (cut_short(), sure())},
        [("small-1", "serve", "connection", "unknown"), ("small-1", "retry", None, "exact")],
    ),
}


@pytest.mark.parametrize("name", SERVED)
def test_served_call_logs_exactly_what_the_server_saw(name: str, ask: Ask, wired: Callable[..., Wired]) -> None:
    scripts, expected = SERVED[name]
    bench = wired()
    for model, replies in scripts.items():
        bench.server.script(model, *replies)
    answer = ask(bench.router)
    assert answer.parsed["answer"] == "12.50"
    assert bench.attempts() == expected
    assert sorted(line["request_id"] for line in bench.lines("attempt")) == bench.server.request_ids()


FAILED: dict[str, tuple[Reply, str, dict[str, int]]] = {
    "bad request": (failing(400, "no such parameter"), "bad_request", {"small-1": 1}),
    "content filter": (filtered(), "content_policy", {"small-1": 1}),
    "everything down": (failing(503), "server", {"small-1": 2, "small-2": 2, "large": 2}),
    "too long for all": (context_too_long(), "context_overflow", {"small-1": 1, "small-2": 1, "large": 1}),
}


@pytest.mark.parametrize("name", FAILED)
def test_failed_call_logs_exactly_what_the_server_saw(name: str, ask: Ask, wired: Callable[..., Wired]) -> None:
    reply, kind, requests = FAILED[name]
    bench = wired()
    for model in ("small-1", "small-2", "large"):
        bench.server.script(model, reply)
    with pytest.raises(RouteExhaustedError) as caught:
        ask(bench.router)
    assert caught.value.cost_nusd == 0
    assert {line["error_type"] for line in bench.lines("attempt")} == {kind}
    assert Counter(hit.model for hit in bench.server.hits) == requests
    assert sorted(line["request_id"] for line in bench.lines("attempt")) == bench.server.request_ids()


def test_hanging_target_times_out_at_an_unknown_cost_that_is_not_zero(ask: Ask, wired: Callable[..., Wired]) -> None:
    bench = wired(timeout_s=0.4)
    bench.server.script("small-1", hanging())
    answer = ask(bench.router)
    assert bench.attempts() == [
        ("small-1", "serve", "timeout", "unknown"),
        ("small-1", "retry", "timeout", "unknown"),
        ("small-2", "fallback", None, "exact"),
    ]
    assert all(line["cost_nusd"] > 0 for line in bench.lines("attempt"))
    assert answer.cost_nusd == sum(line["cost_nusd"] for line in bench.lines("attempt"))
    assert sorted(line["request_id"] for line in bench.lines("attempt")) == bench.server.request_ids()


def test_refused_connection_costs_nothing_and_reaches_nobody(ask: Ask, wired: Callable[..., Wired]) -> None:
    bench = wired(second=f"http://127.0.0.1:{closed_port()}/v1")
    bench.server.script("small-1", failing(401))
    assert ask(bench.router).tier == "top"
    assert bench.attempts() == [
        ("small-1", "serve", "auth", "exact"),
        ("small-2", "fallback", "connection", "exact"),
        ("small-2", "retry", "connection", "exact"),
        ("large", "escalate", None, "exact"),
    ]
    reached = [line["request_id"] for line in bench.lines("attempt") if line["request_model"] != "openai/small-2"]
    assert sorted(reached) == bench.server.request_ids()


def test_target_without_its_key_is_left_for_the_other_one(ask: Ask, wired: Callable[..., Wired]) -> None:
    bench = wired(key=("openai/small-1, ", "openai/small-1, api_key_env: TIERWISE_TEST_NO_KEY, "))
    assert ask(bench.router).model == "openai/small-2"
    assert bench.attempts()[0] == ("small-1", "serve", "missing_key", "exact")
    assert bench.server.count("small-1") == 0


def test_cost_is_that_of_the_reported_tokens(ask: Ask, wired: Callable[..., Wired]) -> None:
    bench = wired()
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 50,
        "total_tokens": 1050,
        "prompt_tokens_details": {"cached_tokens": 600},
    }
    bench.server.script("small-1", sure(usage=usage))
    answer = ask(bench.router)
    (line,) = bench.lines("attempt")
    assert (line["input_tokens"], line["cached_tokens"], line["output_tokens"]) == (1000, 600, 50)
    # no cached price is configured: 1,000 x $0.10 + 50 x $0.40 per million
    assert line["cost_nusd"] == answer.cost_nusd == 120_000


def test_32_calls_at_once_lose_and_double_nothing(
    wired: Callable[..., Wired], on_loop: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    bench = wired()
    flaky = (failing(500), sure(latency_s=0.05), sure(0.2), bad_json(), ok("nothing"), rate_limited(retry_after=0))
    bench.server.script("small-1", *(flaky * 6), sure())

    def complete(number: int) -> Answer:
        return bench.router.complete("invoice.extract", messages=MESSAGES, response_format=SCHEMA, run=f"job-{number}")

    async def together() -> list[Answer]:
        calls = [
            bench.router.acomplete("invoice.extract", messages=MESSAGES, response_format=SCHEMA) for _ in range(32)
        ]
        return await asyncio.gather(*calls)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(complete, range(32)))
    answers += on_loop(together())
    bench.router.close()
    ingest_once(bench.home)
    with reading(bench.home) as con:
        logged = con.execute("SELECT request_id FROM attempts ORDER BY 1").fetchall()
        spent = con.execute("SELECT sum(cost_nusd) FROM attempts").fetchone()
        calls = con.execute("SELECT call_id, cost_nusd FROM calls ORDER BY 1").fetchall()
    assert [request_id for (request_id,) in logged] == bench.server.request_ids()
    assert calls == sorted((answer.call_id, answer.cost_nusd) for answer in answers)
    assert spent == (sum(answer.cost_nusd for answer in answers),)


STREAMED: dict[str, tuple[tuple[Reply, ...], list[tuple[str, str, str | None, str]]]] = {
    "at once": ((streamed("a", "b"),), [("small-1", "serve", None, "exact")]),
    "with tokens that nobody reports": (
        (streamed("a", "b", where="never"),),
        [("small-1", "serve", None, "estimated")],
    ),
    "after a retry": (
        (failing(503), streamed("a", "b")),
        [("small-1", "serve", "server", "exact"), ("small-1", "retry", None, "exact")],
    ),
    "after a stream that broke before its first piece": (
        (Reply(events=(CUT,)), streamed("a", "b", where="finish")),
        [("small-1", "serve", "connection", "unknown"), ("small-1", "retry", None, "exact")],
    ),
    "by the other target": (
        (failing(401),),
        [("small-1", "serve", "auth", "exact"), ("small-2", "fallback", None, "exact")],
    ),
}


@pytest.mark.parametrize("name", STREAMED)
def test_streamed_call_logs_exactly_what_the_server_saw(name: str, read: Read, wired: Callable[..., Wired]) -> None:
    replies, expected = STREAMED[name]
    bench = wired()
    bench.server.script("small-2", streamed("a", "b"))
    bench.server.script("small-1", *replies)
    answer = read(bench.router)
    assert (answer.text, answer.reason) == ("ab", "streamed")
    assert bench.attempts() == expected
    assert answer.cost_nusd == sum(line["cost_nusd"] for line in bench.lines("attempt")) > 0
    assert bench.lines("attempt")[-1]["ttft_ms"] > 0
    assert sorted(line["request_id"] for line in bench.lines("attempt")) == bench.server.request_ids()


def test_stream_that_is_stopped_hangs_up_and_is_paid_for_what_came(read: Read, wired: Callable[..., Wired]) -> None:
    bench = wired()
    slowly = [event for number in range(300) for event in (chunk(f"piece {number} "), 0.02)]
    bench.server.script("small-1", Reply(events=tuple(slowly)))
    answer = read(bench.router, 3)
    (line,) = bench.lines("attempt")
    assert (answer.text, answer.reason) == ("piece 0 piece 1 piece 2 ", "stopped")
    assert (line["status"], line["cost_status"], line["output_tokens"] >= 6) == ("cancelled", "estimated", True)
    assert line["cost_nusd"] == answer.cost_nusd > 0
    assert bench.server.wait_for_leaving(line["request_id"])
    assert bench.server.request_ids() == [line["request_id"]]


def test_stream_closed_by_another_thread_wakes_the_one_that_waits_for_it(wired: Callable[..., Wired]) -> None:
    bench = wired(timeout_s=30.0)
    bench.server.script("small-1", after(streamed("Hello ", "you", " there"), 3, HANG))
    stream = bench.router.stream("invoice.extract", messages=MESSAGES)
    assert next(stream).text == "Hello "
    assert next(stream).text == "you"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: list(stream))
        stream.close()
        assert waiting.result(10) == []
    assert (stream.answer.text, stream.answer.reason) == ("Hello you", "stopped")
    assert bench.server.wait_for_leaving(bench.lines("attempt")[0]["request_id"])


@pytest.mark.parametrize(("event", "kind"), [(CUT, "connection"), (HANG, "timeout")], ids=["breaks", "falls silent"])
def test_stream_that_ends_in_the_middle_asks_nobody_else(
    event: str, kind: str, read: Read, wired: Callable[..., Wired]
) -> None:
    bench = wired(timeout_s=0.4)
    bench.server.script("small-1", after(streamed("Hello ", "you", " there"), 3, event))
    with pytest.raises(RouteExhaustedError) as caught:
        read(bench.router)
    assert (caught.value.partial_text, caught.value.cost_nusd > 0) == ("Hello you", True)
    assert bench.attempts() == [("small-1", "serve", kind, "estimated")]
    assert [line["request_id"] for line in bench.lines("attempt")] == bench.server.request_ids()


def test_32_streams_at_once_some_of_them_stopped_lose_and_double_nothing(
    wired: Callable[..., Wired], on_loop: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    bench = wired()
    flaky = (
        failing(500),
        streamed("a", "b", "c", where="every"),
        streamed(*"abc", where="never"),
        Reply(events=(CUT,)),
    )
    bench.server.script("small-1", *(flaky * 6), streamed("a", "b", "c"))
    bench.server.script("small-2", streamed("a", "b", "c"))
    bench.server.script("large", streamed("a", "b", "c"))
    most = [None, 1, 2] * 6

    async def together() -> list[Answer]:
        return await asyncio.gather(*[read_astream(bench.router, n) for n in most[:16]])

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: read_stream(bench.router, n), most[:16]))
    answers += on_loop(together())
    bench.router.close()
    ingest_once(bench.home)
    with reading(bench.home) as con:
        logged = con.execute("SELECT request_id FROM attempts ORDER BY 1").fetchall()
        statuses = dict(con.execute("SELECT reason, count(*) FROM calls WHERE status = 'ok' GROUP BY 1").fetchall())
        free = con.execute("SELECT count(*) FROM attempts WHERE status <> 'failed' AND cost_nusd <= 0").fetchone()
        calls = con.execute("SELECT call_id, cost_nusd FROM calls ORDER BY 1").fetchall()
    assert [request_id for (request_id,) in logged] == bench.server.request_ids()
    assert calls == sorted((answer.call_id, answer.cost_nusd) for answer in answers)
    assert (statuses, free) == ({"streamed": 12, "stopped": 20}, (0,))
