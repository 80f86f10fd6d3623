"""How providers tell their tokens, in their own words over real HTTP: whole answers and streams, read as one usage."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from router_core.decide.receipt import receipt
from router_core.prices import PriceBook
from router_core.types import Usage
from tests.contract.conftest import Read, Send, make_request
from tests.openai_server import Event, OpenAIServer, Reply, ok, streamed

NOW_US = 1_795_392_000_000_000
# litellm's own modules warn when some of them are first used
pytestmark = [
    pytest.mark.usefixtures("key"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_(computed_)?fields' attribute on the instance"),
]


@dataclass(frozen=True)
class Row:
    """What a provider says, and what that means."""

    model: str
    said: Mapping[str, Any]
    usage: Usage


def _gemini(usage: Usage, **said: Any) -> Row:
    return Row("gemini/gemini-2.5-flash", said, usage)


ROWS = {
    "Gemini, thoughts beside the candidates": _gemini(
        Usage(input_tokens=1_000, cached_tokens=800, output_tokens=100, reasoning_tokens=40),
        promptTokenCount=1_000,
        cachedContentTokenCount=800,
        candidatesTokenCount=60,
        thoughtsTokenCount=40,
        totalTokenCount=1_100,
    ),
    "Gemini, thoughts within the candidates": _gemini(
        Usage(input_tokens=1_000, output_tokens=60, reasoning_tokens=40),
        promptTokenCount=1_000,
        candidatesTokenCount=60,
        thoughtsTokenCount=40,
        totalTokenCount=1_060,
    ),
    "Gemini, thoughts and nothing said": _gemini(
        Usage(input_tokens=1_000, output_tokens=40, reasoning_tokens=40),
        promptTokenCount=1_000,
        thoughtsTokenCount=40,
        totalTokenCount=1_040,
    ),
    "Gemini, what its tools have read": _gemini(
        Usage(input_tokens=1_250, output_tokens=60),
        promptTokenCount=1_000,
        toolUsePromptTokenCount=250,
        candidatesTokenCount=60,
        totalTokenCount=1_310,
    ),
    "Gemini, a recording": _gemini(
        Usage(input_tokens=1_000, output_tokens=60, media_tokens=900),
        promptTokenCount=1_000,
        promptTokensDetails=[{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 900}],
        candidatesTokenCount=60,
        totalTokenCount=1_060,
    ),
    "DeepSeek, hits and misses of its cache": Row(
        "deepseek/deepseek-chat",
        {
            "prompt_tokens": 1_000,
            "completion_tokens": 60,
            "total_tokens": 1_060,
            "prompt_cache_hit_tokens": 800,
            "prompt_cache_miss_tokens": 200,
        },
        Usage(input_tokens=1_000, cached_tokens=800, output_tokens=60),
    ),
    "DeepSeek, reasoning within the output": Row(
        "deepseek/deepseek-reasoner",
        {
            "prompt_tokens": 1_000,
            "completion_tokens": 60,
            "total_tokens": 1_060,
            "prompt_cache_hit_tokens": 0,
            "prompt_cache_miss_tokens": 1_000,
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
        Usage(input_tokens=1_000, output_tokens=60, reasoning_tokens=40),
    ),
    "xAI, reasoning beside the output": Row(
        "xai/grok-4",
        {
            "prompt_tokens": 1_000,
            "completion_tokens": 60,
            "total_tokens": 1_100,
            "prompt_tokens_details": {"cached_tokens": 800},
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
        Usage(input_tokens=1_000, cached_tokens=800, output_tokens=100, reasoning_tokens=40),
    ),
    "Moonshot, cached tokens at the top": Row(
        "moonshot/kimi-k2-0905-preview",
        {"prompt_tokens": 1_000, "completion_tokens": 60, "total_tokens": 1_060, "cached_tokens": 800},
        Usage(input_tokens=1_000, cached_tokens=800, output_tokens=60),
    ),
    "vLLM, no details": Row(
        "hosted_vllm/own-model",
        {"prompt_tokens": 1_000, "completion_tokens": 60, "total_tokens": 1_060, "prompt_tokens_details": None},
        Usage(input_tokens=1_000, output_tokens=60),
    ),
    "OpenRouter, writes to a cache": Row(
        "openrouter/anthropic/claude-sonnet-4.5",
        {
            "prompt_tokens": 1_000,
            "completion_tokens": 60,
            "total_tokens": 1_060,
            "prompt_tokens_details": {"cached_tokens": 300, "cache_write_tokens": 500},
        },
        Usage(input_tokens=1_000, cached_tokens=300, cache_write_5m_tokens=500, output_tokens=60),
    ),
}


def _candidate(text: str, finish: str | None = None) -> dict[str, Any]:
    reason = {} if finish is None else {"finishReason": finish}
    return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **reason}]}


def _whole(row: Row) -> Reply:
    if not row.model.startswith("gemini/"):
        return ok("hi you", usage=row.said)
    return Reply(body={**_candidate("hi you", "STOP"), "usageMetadata": dict(row.said), "modelVersion": "m"})


def _streamed(row: Row) -> Reply:
    if not row.model.startswith("gemini/"):
        return streamed("hi ", "you", usage=row.said)
    events: list[Event] = [
        b"data: %b\n\n" % json.dumps(event).encode()
        for event in (_candidate("hi "), {**_candidate("you", "STOP"), "usageMetadata": dict(row.said)})
    ]
    return Reply(events=tuple(events))


def _place(server: OpenAIServer, row: Row) -> Mapping[str, Any]:
    """Where the row's client finds this server: Gemini's puts the method behind whatever it is given."""
    return {"model": row.model, "api_base": server.base_url, "params": {"api_key": "callers-key"}}


def _scripted(row: Row) -> str:
    # Gemini's client names the model in the path, not in the body
    return "None" if row.model.startswith("gemini/") else row.model.partition("/")[2]


@pytest.mark.parametrize("name", ROWS)
def test_tokens_of_a_whole_answer_are_read_by_class(name: str, send: Send, server: OpenAIServer) -> None:
    row = ROWS[name]
    server.script(_scripted(row), _whole(row))
    response = send(make_request(server, **_place(server, row)))
    assert (response.text, response.usage) == ("hi you", row.usage)


@pytest.mark.parametrize("name", ROWS)
def test_tokens_of_a_stream_are_the_same(name: str, read: Read, server: OpenAIServer) -> None:
    row = ROWS[name]
    server.script(_scripted(row), _streamed(row))
    reader = read(make_request(server, **_place(server, row)))
    assert reader.text() == "hi you"
    assert (reader.received().usage, reader.received().is_counted) == (row.usage, False)


def test_thoughts_are_paid_as_output_and_cached_tokens_as_cached() -> None:
    row = ROWS["Gemini, thoughts beside the candidates"]
    price = PriceBook().price(row.model, NOW_US)
    assert price is not None
    fresh, cached, said = price.input_nusd_per_m, price.cached_nusd_per_m, price.output_nusd_per_m
    assert cached < fresh
    thought = said if price.reasoning_nusd_per_m is None else price.reasoning_nusd_per_m
    cost = (200 * fresh + 800 * cached + 60 * said + 40 * thought) / 1_000_000
    assert receipt(row.usage, price).cost_nusd == pytest.approx(cost, abs=1)
