"""Streams through litellm and a real HTTP server: pieces, usage wherever a provider puts it, stops, stalls, breaks."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from router_core.backends.litellm import LiteLLMBackend
from router_core.cache import can_keep
from router_core.decide.receipt import receipt
from router_core.errors import CallError, ErrorKind
from router_core.prices import PriceBook
from router_core.types import Response, Usage
from tests.contract.conftest import Read, hits, make_request
from tests.openai_server import (
    CUT,
    HANG,
    Event,
    OpenAIServer,
    Reply,
    after,
    anthropic_streamed,
    chunk,
    context_too_long,
    dripping,
    dropped,
    failing,
    hanging,
    ok,
    rate_limited,
    streamed,
)

USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 60,
    "total_tokens": 1060,
    "prompt_tokens_details": {"cached_tokens": 800},
    "completion_tokens_details": {"reasoning_tokens": 40},
}
REPORTED = Usage(input_tokens=1000, cached_tokens=800, output_tokens=60, reasoning_tokens=40)
# litellm's own modules warn when some of them are first used
pytestmark = [
    pytest.mark.usefixtures("key"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_(computed_)?fields' attribute on the instance"),
]


def await_(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return condition()


@pytest.mark.parametrize("where", ["after", "finish", "content", "every"])
def test_usage_is_read_wherever_the_provider_puts_it(where: str, read: Read, server: OpenAIServer) -> None:
    request = make_request(server, streamed("Hel", "lo ", "you", usage=USAGE, where=where))
    reader = read(request)
    assert reader.text() == "Hello you"
    response = reader.received()
    assert (response.text, response.usage, response.is_counted) == ("Hello you", REPORTED, False)
    assert hits(server, request) == 1


def test_stream_and_whole_answer_of_the_same_tokens_cost_the_same(
    read: Read, server: OpenAIServer, backend: LiteLLMBackend
) -> None:
    price = PriceBook().price("openai/gpt-4o-mini", 1_795_392_000_000_000)
    reader = read(make_request(server, streamed("Hello", usage=USAGE, where="content")))
    reader.text()
    whole = backend.complete(make_request(server, ok("Hello", usage=USAGE)))
    assert receipt(reader.received().usage, price) == receipt(whole.usage, price)


def test_usage_is_asked_for_beside_the_callers_own_options(read: Read, server: OpenAIServer) -> None:
    request = make_request(server, streamed("x"), params={"stream_options": {"extra": 1}, "temperature": 0})
    read(request).text()
    body = next(hit.body for hit in server.hits if hit.request_id == request.request_id)
    assert (body["stream"], body["stream_options"]) == (True, {"extra": 1, "include_usage": True})


def test_tokens_that_nobody_reports_are_counted_here_and_never_zero(read: Read, server: OpenAIServer) -> None:
    reader = read(make_request(server, streamed("Hello ", "you there", where="never")))
    assert reader.text() == "Hello you there"
    response = reader.received()
    usage = response.usage
    assert response.is_counted
    assert usage.output_tokens == 3
    assert usage.input_tokens is not None
    assert 1 <= usage.input_tokens <= 20


def test_anthropics_usage_of_start_and_end_is_one_usage(read: Read, server: OpenAIServer) -> None:
    start = {
        "input_tokens": 2_500,
        "cache_read_input_tokens": 6_000,
        "cache_creation_input_tokens": 1_500,
        "cache_creation": {"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 500},
        "output_tokens": 1,
        "service_tier": "batch",
    }
    server.script("claude-opus-4-5", anthropic_streamed("Hel", "lo", start=start, end={"output_tokens": 200}))
    reader = read(make_request(server, model="anthropic/claude-opus-4-5"))
    assert reader.text() == "Hello"
    response = reader.received()
    assert (response.service_tier, response.is_counted) == ("batch", False)
    assert response.usage == Usage(
        input_tokens=10_000,
        cached_tokens=6_000,
        cache_write_5m_tokens=1_000,
        cache_write_1h_tokens=500,
        output_tokens=200,
    )


def test_anthropics_prompt_is_exact_and_its_answer_counted_after_a_stop(read: Read, server: OpenAIServer) -> None:
    start = {"input_tokens": 2_500, "cache_read_input_tokens": 6_000, "output_tokens": 1}
    reply = anthropic_streamed("One two three", " four", start=start, end={"output_tokens": 200})
    server.script("claude-opus-4-5", after(reply, 3, HANG))
    reader = read(make_request(server, model="anthropic/claude-opus-4-5"))
    assert reader.next() is not None
    reader.close()
    response = reader.received()
    assert response.is_counted
    assert response.usage == Usage(input_tokens=8_500, cached_tokens=6_000, output_tokens=3)


def test_answer_carries_model_reason_tier_cost_and_the_whole_response(read: Read, server: OpenAIServer) -> None:
    usage = {**USAGE, "cost": 0.000123456789}
    reply = streamed("a ", "label", usage=usage, model="m-2026-01-01", service_tier="flex")
    reader = read(make_request(server, reply))
    reader.text()
    response = reader.received()
    assert (response.response_model, response.finish_reason, response.service_tier) == ("m-2026-01-01", "stop", "flex")
    assert response.cost_nusd == 123_457
    assert response.raw.choices[0].message.content == "a label"


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])  # OpenAI says "stop" where a certain tool was asked for
def test_tool_calls_are_handed_out_counted_and_put_together(finish: str, read: Read, server: OpenAIServer) -> None:
    def part(**call: Any) -> dict[str, Any]:
        return chunk(delta={"tool_calls": [{"index": 0, **call}]})

    events: tuple[Event, ...] = (
        part(id="call_1", type="function", function={"name": "book", "arguments": ""}),
        part(function={"arguments": '{"total":'}),
        part(function={"arguments": " 12}"}),
        chunk(finish=finish),
    )
    tool = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}
    reader = read(make_request(server, Reply(events=(*events, b"data: [DONE]\n\n")), params={"tools": [tool]}))
    first = reader.next()
    assert first is not None
    assert (first.text, first.raw.choices[0].delta.tool_calls[0].function.name) == ("", "book")
    assert reader.text() == ""
    response = reader.received()
    assert response.raw.choices[0].message.tool_calls[0].function.arguments == '{"total": 12}'
    assert (response.is_counted, (response.usage.output_tokens or 0) >= 4) == (True, True)
    assert (response.finish_reason, can_keep(response)) == ("tool_calls", False)


def test_pieces_without_anything_in_them_are_not_handed_out(read: Read, server: OpenAIServer) -> None:
    reader = read(make_request(server, streamed("Hello", where="after")))
    assert [reader.next(), reader.next()][1] is None


def test_empty_answer_ends_at_once(read: Read, server: OpenAIServer) -> None:
    reader = read(make_request(server, streamed(usage={"prompt_tokens": 7, "completion_tokens": 0})))
    assert reader.next() is None
    response = reader.received()
    assert (response.text, response.usage, response.is_counted) == ("", Usage(input_tokens=7, output_tokens=0), False)


FAILURES: dict[str, tuple[Reply, ErrorKind, int | None, bool | None]] = {
    "429": (rate_limited(), "rate_limit", 429, False),
    "500": (failing(500), "server", 500, False),
    "context too long": (context_too_long(), "context_overflow", 400, False),
    "401": (failing(401, "Incorrect API key", code="invalid_api_key"), "auth", 401, False),
    "dropped": (dropped(), "connection", None, None),
    "cut before the first piece": (Reply(events=(CUT,)), "connection", None, None),
    "ended before the first piece": (Reply(events=(b"data: [DONE]\n\n",)), "bad_response", None, None),
    "no JSON": (Reply(events=(b"data: {no\n\n",)), "bad_response", None, None),
    "an error event": (Reply(events=({"error": {"message": "overloaded", "code": 500}},)), "server", None, None),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_before_the_first_piece_has_its_kind_after_one_request(
    name: str, read: Read, server: OpenAIServer
) -> None:
    reply, kind, status, billed = FAILURES[name]
    request = make_request(server, reply)
    with pytest.raises(CallError) as caught:
        read(request).next()
    error = caught.value
    assert (error.kind, error.status_code, error.billed, hits(server, request)) == (kind, status, billed, 1)


BREAKS: dict[str, tuple[tuple[Event, ...], ErrorKind]] = {
    # a reset throws away what was not read yet: the pause lets it be
    "the connection breaks": ((0.3, CUT), "connection"),
    "the stream ends without an end": ((), "bad_response"),
    "an error comes instead": (({"error": {"message": "overloaded", "code": 503}},), "server"),
    "nothing more comes": ((HANG,), "timeout"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_break_in_the_middle_keeps_what_was_received(name: str, read: Read, server: OpenAIServer) -> None:
    then, kind = BREAKS[name]
    reply = after(streamed("Hello ", "you there", " and more"), 3, *then)
    request = make_request(server, reply, timeout_s=0.4 if kind == "timeout" else 10.0)
    reader = read(request)
    with pytest.raises(CallError) as caught:
        reader.text()
    response = reader.received()
    assert (caught.value.kind, response.text) == (kind, "Hello you there")
    assert (response.is_counted, response.usage.output_tokens) == (True, 3)
    assert hits(server, request) == 1


@pytest.mark.parametrize("reply", [hanging(), dripping(), Reply(events=(HANG,))], ids=["silent", "drip", "no piece"])
def test_first_piece_that_does_not_come_times_out(reply: Reply, read: Read, server: OpenAIServer) -> None:
    request = make_request(server, reply, timeout_s=0.4)
    with pytest.raises(CallError) as caught:
        read(request).next()
    assert (caught.value.kind, caught.value.billed, hits(server, request)) == ("timeout", None, 1)


def test_stream_that_never_pauses_for_long_still_ends_at_its_limit(read: Read, server: OpenAIServer) -> None:
    slowly: list[Event] = []
    for number in range(200):
        slowly += [chunk(f"{number} "), 0.05]
    reader = read(make_request(server, Reply(events=tuple(slowly)), timeout_s=5.0, total_s=0.4))
    began = time.monotonic()
    with pytest.raises(CallError) as caught:
        reader.text()
    assert (caught.value.kind, time.monotonic() - began < 3) == ("timeout", True)


@pytest.mark.parametrize("pieces", [(), ("I ", "will")], ids=["nothing", "half an answer"])
def test_withheld_stream_ends_with_its_reason(pieces: tuple[str, ...], read: Read, server: OpenAIServer) -> None:
    # what that means is the router's to say
    events: tuple[Event, ...] = (*map(chunk, pieces), chunk(finish="content_filter"), b"data: [DONE]\n\n")
    reader = read(make_request(server, Reply(events=events)))
    assert reader.text() == "".join(pieces)
    assert reader.received().finish_reason == "content_filter"


def test_early_stop_closes_the_connection_and_counts_what_came(read: Read, server: OpenAIServer) -> None:
    slowly: list[Event] = [chunk("One two three four five")]
    for _ in range(500):
        slowly += [0.02, chunk(" more")]
    request = make_request(server, Reply(events=tuple(slowly)))
    reader = read(request)
    first = reader.next()
    assert first is not None
    reader.close()
    response = reader.received()
    assert server.wait_for_leaving(request.request_id)
    assert (response.text, response.is_counted) == ("One two three four five", True)
    assert (response.usage.output_tokens or 0) >= 5
    assert (response.usage.input_tokens or 0) >= 1


def test_early_stop_of_a_silent_stream_closes_the_connection_too(read: Read, server: OpenAIServer) -> None:
    request = make_request(server, after(streamed("Hello", " you"), 2, HANG), timeout_s=60.0)
    reader = read(request)
    assert reader.next() is not None
    reader.close()
    assert server.wait_for_leaving(request.request_id)
    assert reader.next() is None


def test_growing_usage_counts_as_reported_up_to_the_stop(read: Read, server: OpenAIServer) -> None:
    reply = after(streamed("a", "b", "c", "d", usage=USAGE, where="every"), 3, HANG)
    reader = read(make_request(server, reply))
    assert [reader.next(), reader.next()][1] is not None
    reader.close()
    response = reader.received()
    assert (response.usage.input_tokens, response.usage.cached_tokens, response.usage.output_tokens) == (1000, 800, 2)
    assert response.is_counted


def test_stop_after_the_last_word_finds_the_usage_that_has_come(backend: LiteLLMBackend, server: OpenAIServer) -> None:
    # a blocking caller's thread has read on meanwhile
    reading = backend.stream(make_request(server, streamed("Hel", "lo", usage=USAGE, where="finish")))
    assert reading.next_chunk() is not None
    assert await_(lambda: not reading.received().is_counted)
    reading.close()
    assert reading.received().usage == REPORTED


def test_nothing_is_sent_before_the_first_piece_is_asked_for(read: Read, server: OpenAIServer) -> None:
    request = make_request(server, streamed("x"))
    reader = read(request)
    before = set(threading.enumerate())
    reader.close()
    assert reader.next() is None
    assert await_(lambda: not [t for t in set(threading.enumerate()) - before if t.name == "tierwise-stream"])
    assert hits(server, request) == 0


def test_missing_key_stays_a_missing_key(read: Read, server: OpenAIServer) -> None:
    request = make_request(server, api_key_env="TIERWISE_TEST_NO_SUCH_KEY")
    with pytest.raises(CallError, match="TIERWISE_TEST_NO_SUCH_KEY") as caught:
        read(request).next()
    assert (caught.value.kind, hits(server, request)) == ("missing_key", 0)


def test_reading_threads_end_with_their_streams(backend: LiteLLMBackend, server: OpenAIServer) -> None:
    before = set(threading.enumerate())
    readings = [backend.stream(make_request(server, streamed("a", "b"))) for _ in range(8)]
    for reading in readings:
        reading.next_chunk()
        reading.close()
    assert await_(lambda: not [t for t in set(threading.enumerate()) - before if t.name == "tierwise-stream"])


def test_received_before_anything_came_is_nothing_said(read: Read, server: OpenAIServer) -> None:
    response: Response = read(make_request(server, streamed("x"))).received()
    assert (response.text, response.is_counted, response.usage.output_tokens) == ("", True, 0)
