"""Every row of the table of what providers answer: whom the router asks next, and how often, over real HTTP.

Pauses are on a virtual clock; the requests are real.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router_core import Answer, CallError, RouteExhaustedError, Router
from router_core.backends.litellm import LiteLLMBackend
from router_core.clock import VirtualClock
from router_core.types import Request
from tests.openai_server import (
    OpenAIServer,
    Reply,
    bad_json,
    closed_port,
    context_too_long,
    cut_short,
    dropped,
    failing,
    filtered,
    hanging,
    ok,
    out_of_quota,
    rate_limited,
)

ROUTING = """\
version: 1
tiers:
  cheap:
    - {{model: openai/first-{n}, api_base: "{first}", timeout_s: {timeout_s}, context_tokens: 8000}}
    - {{model: openai/second-{n}, api_base: "{base}", context_tokens: 8000}}
  top: [{{model: openai/large-{n}, api_base: "{base}", context_tokens: 100000}}]
defaults: {{accept_at: 0, confidence: {{on_missing: accept}}, limits: {{retries: 1}}}}
payload_types: {{x.extract: {{path: [cheap, top]}}}}
on_unpriced: {{pessimistic: {{input: 1, output: 1}}}}
"""
_numbers = itertools.count(1)

Asked = dict[str, int]


@dataclass(frozen=True, slots=True)
class Table:
    """A router whose first target always answers one thing, and how often each target was asked."""

    router: Router
    server: OpenAIServer
    number: int

    def ask(self, **params: Any) -> Answer | RouteExhaustedError:
        try:
            return self.router.complete("x.extract", messages=[{"role": "user", "content": "hello"}], **params)
        except RouteExhaustedError as error:
            return error

    @property
    def asked(self) -> Asked:
        counts = {name: self.server.count(f"{name}-{self.number}") for name in ("first", "second", "large")}
        return {name: count for name, count in counts.items() if count}


@pytest.fixture
def table(
    tmp_path: Path, server: OpenAIServer, backend: LiteLLMBackend, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Table]]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-table-0123456789")
    opened: list[Router] = []

    def open_table(reply: Reply, *, refused: bool = False, timeout_s: float = 10.0) -> Table:
        number = next(_numbers)
        server.script(f"first-{number}", reply)
        first = f"http://127.0.0.1:{closed_port()}/v1" if refused else server.base_url
        text = ROUTING.format(n=number, base=server.base_url, first=first, timeout_s=timeout_s)
        (tmp_path / "routing.yaml").write_text(text)
        clock = VirtualClock(1_795_435_200_000_000)
        opened.append(Router.open(tmp_path / "routing.yaml", home=tmp_path / "home", backend=backend, clock=clock))
        return Table(opened[-1], server, number)

    yield open_table
    for router in opened:
        router.close()


AGAIN = {"first": 2, "second": 1}
ELSEWHERE = {"first": 1, "second": 1}
NOWHERE = {"first": 1}
ROWS: dict[str, tuple[Reply, Asked, bool]] = {
    # name: what the first target answers, who is asked for one call, whether the next call leaves it alone
    "429, soon": (rate_limited(retry_after=0), AGAIN, False),
    "429, in a minute": (rate_limited(retry_after=60), ELSEWHERE, True),
    "429, no quota": (out_of_quota(), ELSEWHERE, True),
    "402": (failing(402, "Payment required"), ELSEWHERE, True),
    "500": (failing(500), AGAIN, False),
    "502": (failing(502), AGAIN, False),
    "503": (failing(503), AGAIN, False),
    "504": (failing(504), AGAIN, False),
    "529": (failing(529), AGAIN, False),
    "401": (failing(401), ELSEWHERE, True),
    "403": (failing(403), ELSEWHERE, True),
    "404": (failing(404), ELSEWHERE, True),
    "context too long": (context_too_long(), {"first": 1, "large": 1}, False),
    "content filter": (filtered(), NOWHERE, False),
    "content filter, as an answer": (ok("", finish_reason="content_filter"), NOWHERE, False),
    "content filter, half an answer": (ok("I will", finish_reason="content_filter"), NOWHERE, False),
    "400": (failing(400, "no such parameter", kind="invalid_request_error"), NOWHERE, False),
    "422": (failing(422), NOWHERE, False),
    "dropped": (dropped(), AGAIN, False),
    "cut short": (cut_short(), AGAIN, False),
    "no JSON": (bad_json(), AGAIN, False),
}


@pytest.mark.parametrize("name", ROWS)
def test_row_decides_who_is_asked_next_and_how_often(name: str, table: Callable[..., Table]) -> None:
    reply, asked, is_left_alone = ROWS[name]
    bench = table(reply)
    end = bench.ask()
    assert bench.asked == asked
    assert isinstance(end, RouteExhaustedError) is (asked == NOWHERE)
    before = bench.asked["first"]
    bench.ask()
    assert (bench.asked["first"] == before) is is_left_alone


def test_hanging_target_is_asked_once_more_at_most(table: Callable[..., Table]) -> None:
    bench = table(hanging(), timeout_s=0.2)
    assert isinstance(bench.ask(), Answer)
    assert bench.asked == AGAIN


def test_refused_connection_is_tried_once_more_at_most(table: Callable[..., Table]) -> None:
    bench = table(ok(), refused=True)
    answer = bench.ask()
    assert isinstance(answer, Answer)
    assert [(made.role, made.error_type) for made in answer.attempts] == [
        ("serve", "connection"),
        ("retry", "connection"),
        ("fallback", None),
    ]


def test_parameter_that_the_client_knows_the_model_not_to_take_reaches_nobody(
    server: OpenAIServer, backend: LiteLLMBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-table-0123456789")
    request = Request(
        request_id="r",
        call_id="c",
        payload_type="x",
        model="openai/o3-mini",
        messages=({"role": "user", "content": "hello"},),
        params={"presence_penalty": 1},
        api_base=server.base_url,
    )
    before = server.count()
    with pytest.raises(CallError) as caught:
        backend.complete(request)
    assert (caught.value.kind, caught.value.billed, server.count() - before) == ("bad_request", False, 0)


# how other providers and servers of one's own say the same
WORDS: dict[str, tuple[Reply, str]] = {
    "vLLM, too long": (
        failing(400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"),
        "context_overflow",
    ),
    "llama.cpp, too long": (
        failing(
            400, "the request exceeds the available context size, try increasing it", kind="exceed_context_size_error"
        ),
        "context_overflow",
    ),
    "Google, too long": (
        failing(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        "context_overflow",
    ),
    "xAI, too long": (
        failing(400, "This model's maximum prompt length is 131072 but the request contains 200000 tokens."),
        "context_overflow",
    ),
    "Mistral, too long": (
        failing(
            400,
            "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        ),
        "context_overflow",
    ),
    "gateway, body too large": (failing(413, "Request Entity Too Large"), "context_overflow"),
    "Azure, filtered": (
        failing(400, "The response was filtered", code="content_filter", kind="ResponsibleAIPolicyViolation"),
        "content_policy",
    ),
    "OpenAI, invalid_prompt": (
        failing(400, "Invalid prompt: your prompt was flagged as potentially violating our usage policy."),
        "content_policy",
    ),
    "DeepSeek, no money": (failing(402, "Insufficient Balance"), "quota"),
    "Anthropic, overloaded": (failing(529, "Overloaded", kind="overloaded_error"), "server"),
}


@pytest.mark.parametrize("name", WORDS)
def test_other_words_for_the_same_have_the_same_kind(name: str, table: Callable[..., Table]) -> None:
    reply, kind = WORDS[name]
    bench = table(reply)
    end = bench.ask()
    first = end.attempts[0]
    assert (first.error_type, bench.asked["first"]) == (kind, 2 if kind == "server" else 1)
