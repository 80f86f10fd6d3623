import asyncio
import concurrent.futures
import contextlib
import os
import subprocess
import sys
from typing import Any

import pydantic
import pytest

from router_core.backends.keys import _KEYS
from router_core.backends.litellm import LiteLLMBackend
from router_core.backends.litellm_response import response_of
from router_core.cache import can_keep
from router_core.decide.receipt import receipt
from router_core.errors import CallError, ErrorKind
from router_core.prices import PriceBook
from router_core.types import Response, Usage
from tests.contract.conftest import KEY, Send, body, hits, make_request
from tests.openai_server import (
    OpenAIServer,
    Reply,
    bad_json,
    closed_port,
    context_too_long,
    cut_short,
    dripping,
    dropped,
    failing,
    filtered,
    hanging,
    no_choices,
    ok,
    out_of_quota,
    rate_limited,
)

KEY_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
# litellm's own modules warn when some of them are first used
pytestmark = pytest.mark.usefixtures("key")


FAILURES: dict[str, tuple[Reply, ErrorKind, int | None, bool | None]] = {
    "429": (rate_limited(), "rate_limit", 429, False),
    "429 without quota": (out_of_quota(), "quota", 429, False),
    "402": (failing(402, "Payment required"), "quota", 402, False),
    "500": (failing(500), "server", 500, False),
    "500 with a page": (Reply(status=500, body=b"<html>oops</html>"), "server", 500, False),
    "502": (failing(502), "server", 502, None),
    "503": (failing(503), "server", 503, False),
    "504": (failing(504), "timeout", 504, None),
    "529": (failing(529, "overloaded"), "server", 529, False),
    "400": (failing(400, "no such parameter", kind="invalid_request_error"), "bad_request", 400, False),
    "422": (failing(422, "not processable"), "bad_request", 422, False),
    "401": (failing(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key"), "auth", 401, False),
    "403": (failing(403, "no access"), "auth", 403, False),
    "404": (failing(404, "no such model"), "not_found", 404, False),
    "context too long": (context_too_long(), "context_overflow", 400, False),
    "content filter": (filtered(), "content_policy", 400, False),
    "no JSON": (bad_json(), "bad_response", None, None),
    "a page": (Reply(body=b"<html>hello</html>"), "bad_response", None, None),
    "JSON null": (Reply(body=b"null"), "bad_response", None, None),
    "no choices": (no_choices(), "bad_response", None, None),
    "no message": (Reply(body={"choices": [{"index": 0, "finish_reason": "stop"}]}), "bad_response", None, None),
    "dropped": (dropped(), "connection", None, None),
    "cut short": (cut_short(), "connection", None, None),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_has_its_kind_after_exactly_one_request(name: str, send: Send, server: OpenAIServer) -> None:
    reply, kind, status, billed = FAILURES[name]
    request = make_request(server, reply)
    with pytest.raises(CallError) as caught:
        send(request)
    error = caught.value
    assert (error.kind, error.status_code, error.billed, hits(server, request)) == (kind, status, billed, 1)


@pytest.mark.parametrize("name", FAILURES)
def test_message_of_a_failure_is_one_short_line_without_the_key(name: str, send: Send, server: OpenAIServer) -> None:
    with pytest.raises(CallError) as caught:
        send(make_request(server, FAILURES[name][0]))
    text = str(caught.value)
    assert len(text) <= 200
    assert "\n" not in text
    assert KEY not in text
    assert "Traceback" not in text


def test_withheld_answer_comes_with_its_reason(send: Send, server: OpenAIServer) -> None:
    # what that means is the router's to say
    response = send(make_request(server, ok("I will", finish_reason="content_filter")))
    assert (response.finish_reason, response.usage.output_tokens) == ("content_filter", 3)


def test_refusal_to_fill_a_schema_is_an_answer_withheld(send: Send, server: OpenAIServer) -> None:
    message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    reply = Reply(body={"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": usage})
    response = send(make_request(server, reply, response_format=Invoice))
    assert (response.text, response.finish_reason) == ("", "content_filter")
    empty = Reply(body={"choices": [{"index": 0, "finish_reason": "stop", "message": message | {"refusal": None}}]})
    assert send(make_request(server, empty, response_format=Invoice)).finish_reason == "stop"


@pytest.mark.parametrize(("header", "wait_s"), [("7", 7.0), ("0", 0.0), ("1.5", 1.5), (None, None), ("soon", None)])
def test_retry_after_is_handed_on(header: str | None, wait_s: float | None, send: Send, server: OpenAIServer) -> None:
    with pytest.raises(CallError) as caught:
        send(make_request(server, rate_limited(retry_after=header)))
    assert caught.value.retry_after_s == wait_s


@pytest.mark.parametrize("reply", [hanging(), dripping()], ids=["silent", "a byte now and then"])
def test_unanswered_request_times_out_and_may_have_been_billed(reply: Reply, send: Send, server: OpenAIServer) -> None:
    request = make_request(server, reply, timeout_s=0.4)
    with pytest.raises(CallError) as caught:
        send(request)
    assert (caught.value.kind, caught.value.billed, hits(server, request)) == ("timeout", None, 1)


def test_refused_connection_is_known_not_to_be_billed(send: Send, server: OpenAIServer) -> None:
    request = make_request(server, api_base=f"http://127.0.0.1:{closed_port()}/v1")
    with pytest.raises(CallError) as caught:
        send(request)
    assert (caught.value.kind, caught.value.billed, hits(server, request)) == ("connection", False, 0)


def test_failure_that_the_caller_handles_is_no_cause(
    backend: LiteLLMBackend, loop: asyncio.AbstractEventLoop, server: OpenAIServer
) -> None:
    request = make_request(server, bad_json())

    async def ask_while_handling() -> Response:
        try:
            raise ConnectionRefusedError("the caller's own database")
        except ConnectionRefusedError:
            return await backend.acomplete(request)

    with pytest.raises(CallError) as caught:
        asyncio.run_coroutine_threadsafe(ask_while_handling(), loop).result(10)
    assert caught.value.kind == "bad_response"


def test_missing_key_names_its_variable(send: Send, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(CallError, match="OPENAI_API_KEY") as caught:
        send(make_request(server, api_base=None))
    assert (caught.value.kind, caught.value.billed) == ("missing_key", False)


def test_missing_key_of_a_target_names_the_configured_variable(send: Send, server: OpenAIServer) -> None:
    request = make_request(server, api_key_env="TIERWISE_TEST_NO_SUCH_KEY")
    with pytest.raises(CallError, match="TIERWISE_TEST_NO_SUCH_KEY") as caught:
        send(request)
    assert (caught.value.kind, hits(server, request)) == ("missing_key", 0)


def test_key_of_a_target_comes_from_its_variable(
    send: Send, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERWISE_TEST_KEY", "own-key")
    request = make_request(server, ok(), api_key_env="TIERWISE_TEST_KEY")
    send(request)
    sent = [hit.headers["authorization"] for hit in server.hits if hit.request_id == request.request_id]
    assert sent == ["Bearer own-key"]


OWN_MODELS = {
    "text-completion-openai": "gpt-3.5-turbo-instruct",
    "anthropic": "claude-opus-4-5",
    "gemini": "gemini-2.5-flash",
    "azure": "gpt-4o",
    "bedrock": "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "cohere": "command-r",
    "cohere_chat": "command-r",
}
# replicate's client knows its own address only
ADDRESSED = [*sorted(_KEYS.keys() - {"replicate"}), "custom_openai", "dashscope"]


@pytest.fixture
def every_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """Every key variable that there is, set to the same secret."""
    secret = "sentinel-secret"
    for name in {name for names in _KEYS.values() for name in names} - {"AWS_PROFILE", "AWS_ROLE_ARN"}:
        if not name.startswith(("AWS_WEB", "AWS_CONTAINER")):
            monkeypatch.setenv(name, secret)
    for name in ("DASHSCOPE_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("AWS_REGION_NAME", "us-east-1")
    return secret


@pytest.mark.parametrize("provider", ADDRESSED)
def test_no_providers_key_goes_to_an_address_that_is_not_its_own(
    provider: str, backend: LiteLLMBackend, server: OpenAIServer, every_key: str
) -> None:
    before = len(server.hits)
    model = f"{provider}/{OWN_MODELS.get(provider, 'some-model')}"
    # most of these clients cannot read this server's answer: what they have sent is what counts
    with contextlib.suppress(CallError):
        backend.complete(make_request(server, model=model))
    (hit,) = server.hits[before:]
    keys = {name: hit.headers[name] for name in KEY_HEADERS if name in hit.headers}
    assert set(keys.values()) <= {"none", "Bearer none"}
    assert len(keys) == 1
    assert every_key not in repr(hit)


def test_key_of_the_caller_goes_to_the_address_of_the_config(send: Send, server: OpenAIServer) -> None:
    request = make_request(server, ok(), params={"api_key": "callers-key"})
    send(request)
    sent = [hit.headers["authorization"] for hit in server.hits if hit.request_id == request.request_id]
    assert sent == ["Bearer callers-key"]


def test_credentials_of_the_machine_go_to_no_foreign_address(send: Send, server: OpenAIServer) -> None:
    before = len(server.hits)
    with pytest.raises(CallError, match="api_key_env") as caught:
        send(make_request(server, model="vertex_ai/gemini-2.5-flash"))
    assert (caught.value.kind, caught.value.billed, len(server.hits)) == ("missing_key", False, before)


def test_own_server_needs_no_key(send: Send, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert send(make_request(server, ok("hi"))).text == "hi"


def test_unknown_provider_is_a_bad_request(send: Send, server: OpenAIServer) -> None:
    with pytest.raises(CallError) as caught:
        send(make_request(server, model="nosuchprovider/model", api_base=None))
    assert (caught.value.kind, caught.value.billed) == ("bad_request", False)


@pytest.mark.parametrize("name", ["fallbacks", "num_retries", "model", "stream"])
def test_argument_that_would_hide_requests_is_refused(name: str, send: Send, server: OpenAIServer) -> None:
    request = make_request(server, params={name: ["x"]})
    with pytest.raises(CallError, match=name) as caught:
        send(request)
    assert (caught.value.kind, hits(server, request)) == ("bad_request", 0)


def test_retries_set_globally_in_litellm_stay_off(
    send: Send, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import litellm

    monkeypatch.setattr(litellm, "num_retries", 2)
    request = make_request(server, failing(500))
    with pytest.raises(CallError) as caught:
        send(request)
    assert (caught.value.kind, hits(server, request)) == ("server", 1)


def test_answer_carries_text_model_reason_and_usage(send: Send, server: OpenAIServer) -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 60,
        "total_tokens": 1060,
        "prompt_tokens_details": {"cached_tokens": 800},
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    reply = ok("a label", usage=usage, model="m-2026-01-01", service_tier="flex", finish_reason="length")
    response = send(make_request(server, reply))
    assert (response.text, response.response_model, response.finish_reason, response.service_tier) == (
        "a label",
        "m-2026-01-01",
        "length",
        "flex",
    )
    assert response.usage == Usage(input_tokens=1000, cached_tokens=800, output_tokens=60, reasoning_tokens=40)


def test_anthropics_own_words_for_caches_and_batches_are_charged_by_class(send: Send, server: OpenAIServer) -> None:
    usage = {
        "input_tokens": 2_500,  # without what was cached and written, unlike everybody else's
        "cache_read_input_tokens": 6_000,
        "cache_creation_input_tokens": 1_500,
        "cache_creation": {"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 500},
        "output_tokens": 200,
        "service_tier": "batch",
    }
    model = "anthropic/claude-opus-4-5"
    content = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "hi"}]}
    server.script("claude-opus-4-5", Reply(body={**content, "stop_reason": "end_turn", "usage": usage}))
    response = send(make_request(server, model=model))
    assert (response.text, response.service_tier) == ("hi", "batch")
    assert response.usage == Usage(
        input_tokens=10_000,
        cached_tokens=6_000,
        cache_write_5m_tokens=1_000,
        cache_write_1h_tokens=500,
        output_tokens=200,
    )
    price = PriceBook().price(model, 1_795_392_000_000_000, service_tier=response.service_tier)
    # half of 2,500 × 5 + 6,000 × 0.50 + 1,000 × 6.25 + 500 × 10 + 200 × 25 millionths
    assert receipt(response.usage, price).cost_nusd == 15_875_000


def test_usage_of_a_streams_last_chunk_reads_like_that_of_a_whole_answer(server: OpenAIServer) -> None:
    # a last chunk that also carries choices must not lose the cached tokens
    import litellm

    details = {"cached_tokens": 800}
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100, "prompt_tokens_details": details}
    choice: Any = {"index": 0, "finish_reason": "stop", "delta": {"role": "assistant", "content": "hi"}}
    chunk = litellm.ModelResponseStream(model="m", choices=[choice], usage=usage)
    whole = litellm.stream_chunk_builder([chunk], messages=[{"role": "user", "content": "hello"}])
    response = response_of(whole)
    assert response is not None
    assert response.usage == Usage(input_tokens=1_000, cached_tokens=800, output_tokens=100)


def test_computed_cost_is_not_a_reported_cost(send: Send, server: OpenAIServer) -> None:
    server.script("gpt-4o-mini", ok())
    response = send(make_request(server, model="openai/gpt-4o-mini"))
    assert response.cost_nusd is None


def test_cost_reported_by_the_provider_is_kept(send: Send, server: OpenAIServer) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": 0.000123456789}
    assert send(make_request(server, ok(usage=usage))).cost_nusd == 123457


def test_answer_without_usage_has_no_token_counts(send: Send, server: OpenAIServer) -> None:
    reply = Reply(body={"choices": ok().body["choices"]})
    assert send(make_request(server, reply)).usage == Usage()


def test_logprobs_are_asked_for_and_returned(send: Send, server: OpenAIServer) -> None:
    request = make_request(server, ok(logprobs=(-0.1, -2.5)), logprobs=True)
    assert send(request).token_logprobs == (-0.1, -2.5)
    assert body(server, request)["logprobs"] is True


def test_model_without_logprobs_is_asked_without_them(send: Send, server: OpenAIServer) -> None:
    server.script("gpt-5-mini", ok("fine"))
    request = make_request(server, model="openai/gpt-5-mini", logprobs=True)
    response = send(request)
    assert (response.text, response.token_logprobs) == ("fine", ())
    assert "logprobs" not in body(server, request)


def test_empty_content_is_an_empty_answer(send: Send, server: OpenAIServer) -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": None}}
    assert send(make_request(server, Reply(body={"choices": [choice]}))).text == ""


class Invoice(pydantic.BaseModel):
    total: float


@pytest.mark.parametrize("wanted", [Invoice, Invoice.model_json_schema()], ids=["class", "schema"])
def test_answer_format_reaches_the_model(wanted: Any, send: Send, server: OpenAIServer) -> None:
    request = make_request(server, ok('{"total": 1}'), response_format=wanted)
    send(request)
    sent = body(server, request)["response_format"]
    assert (sent["type"], list(sent["json_schema"]["schema"]["properties"])) == ("json_schema", ["total"])


def test_arguments_of_the_caller_reach_the_model(send: Send, server: OpenAIServer) -> None:
    params = {"temperature": 0, "seed": 7, "extra_headers": {"x-team": "ap"}}
    request = make_request(server, ok(), params=params, max_output_tokens=50)
    send(request)
    hit = next(hit for hit in server.hits if hit.request_id == request.request_id)
    sent = {key: hit.body[key] for key in ("temperature", "seed", "max_tokens")}
    assert (sent, hit.headers["x-team"]) == ({"temperature": 0, "seed": 7, "max_tokens": 50}, "ap")


def test_tools_reach_the_model_and_what_it_calls_comes_back(send: Send, server: OpenAIServer) -> None:
    tool = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}
    call = {"id": "call_1", "type": "function", "function": {"name": "book", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    choice = {"index": 0, "finish_reason": "stop", "message": message}  # as OpenAI ends it where the tool was forced
    reply = Reply(body={"choices": [choice], "usage": usage})
    params = {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "book"}}}
    request = make_request(server, reply, params=params)
    response = send(request)
    sent = body(server, request)
    assert sorted(sent) == ["messages", "model", "tool_choice", "tools"]
    assert sent["tools"] == [tool]
    assert response.raw.choices[0].message.tool_calls[0].function.name == "book"
    assert (response.text, can_keep(response)) == ("", False)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": ({"role": "user", "content": "half a character: \ud800"},)},
        {"messages": ({"role": "user", "content": [{"type": "text", "text": {1, 2}}]},)},
        {"params": {"seed": object()}},
    ],
    ids=["half a character", "message", "argument"],
)
def test_request_that_cannot_be_written_down_is_the_callers_fault(
    fields: dict[str, Any], send: Send, server: OpenAIServer
) -> None:
    request = make_request(server, ok(), **fields)
    with pytest.raises(CallError) as caught:
        send(request)
    assert (caught.value.kind, caught.value.billed, hits(server, request)) == ("bad_request", False, 0)


@pytest.mark.parametrize(("asked", "sent"), [(20, 20), (500, 50)])
def test_smaller_output_limit_holds(asked: int, sent: int, send: Send, server: OpenAIServer) -> None:
    request = make_request(server, ok(), params={"max_tokens": asked}, max_output_tokens=50)
    send(request)
    assert body(server, request)["max_tokens"] == sent


def test_request_id_travels_with_the_request(send: Send, server: OpenAIServer) -> None:
    request = make_request(server, ok())
    send(request)
    assert server.request_ids(request.model.removeprefix("openai/")) == [request.request_id]


def test_first_request_imports_litellm_without_touching_the_network() -> None:
    code = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda name, args: seen.append(args) if name == 'socket.getaddrinfo' else None)\n"
        "from router_core.backends.litellm import LiteLLMBackend\n"
        "backend = LiteLLMBackend()\n"
        "assert 'litellm' not in sys.modules\n"
        "backend.warmup()\n"
        "assert 'litellm' in sys.modules\n"
        "print(seen)"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LITELLM_")}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=120)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_cancelled_request_stays_cancelled(
    backend: LiteLLMBackend, loop: asyncio.AbstractEventLoop, server: OpenAIServer
) -> None:
    request = make_request(server, hanging(), timeout_s=30.0)
    before = server.count()
    future = asyncio.run_coroutine_threadsafe(backend.acomplete(request), loop)
    assert server.wait_for_hits(before + 1)
    future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(5)


def test_what_is_left_of_a_calls_time_makes_no_client_of_its_own(send: Send, server: OpenAIServer) -> None:
    # litellm keeps a client, with its connections, per timeout
    import litellm

    def clients() -> int:
        kept: Any = litellm.in_memory_llm_clients_cache
        return len(kept.cache_dict)

    send(make_request(server, ok(), timeout_s=50.0))
    before = clients()
    for timeout_s in (49.7, 48.123456, 44.4, 41.0):
        send(make_request(server, ok(), timeout_s=timeout_s))
    assert clients() == before
