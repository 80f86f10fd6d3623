"""What came of a litellm stream, in this package's words.

litellm fills in a usage of its own making where the provider reports none. Only what stands on one of the provider's
chunks is taken as reported, wherever that is: on a last chunk without choices, on one with them, on every chunk
(growing), at the start and at the end (as Anthropic does), or nowhere. Everything is read by attribute name, so this
module needs no client library.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from router_core.backends.litellm_response import (
    field_of,
    reported_nusd,
    service_tier_of,
    text_of,
    tokens_of,
    told_tokens,
    usage_of,
)
from router_core.types import Response, Usage

# what a caller may wait for, beside the text
_CARRIED: Final = ("tool_calls", "function_call", "reasoning_content", "thinking_blocks", "refusal", "audio", "images")

TokenCounter = Callable[[str], int]
"""Counts the tokens of a text, as well as it can be done without the provider."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk.

    Attributes:
        text: What it adds to the answer's text.
        carries: Whether there is anything in it for the caller.
    """

    text: str
    carries: bool


def piece_of(raw: object) -> Piece:
    """Return what one of litellm's chunks adds to the (first) answer."""
    text, carries = "", False
    for choice in _sequence(field_of(raw, "choices")):
        delta = field_of(choice, "delta")
        said = field_of(delta, "content")
        if isinstance(said, str) and said:
            carries = True
            if not field_of(choice, "index"):
                text += said
        carries = carries or any(field_of(delta, name) for name in _CARRIED)
    return Piece(text, carries)


def response_of_chunks(
    chunks: Sequence[object],
    *,
    text: str,
    is_whole: bool,
    finish_reason: str | None,
    response_model: str | None,
    raw: object,
    count_prompt: Callable[[], int],
    count: TokenCounter,
) -> Response:
    """Return what a stream amounts to, as far as it has come.

    Tokens are the provider's where the stream is whole and it told them; else they are the larger of what it has told
    so far and what is counted here.

    Args:
        chunks: Everything received, in order.
        text: The answer's text as far as it was handed out.
        is_whole: Whether the provider has said that the answer is finished.
        finish_reason: Why it ended, in the provider's words.
        response_model: The model that the provider says has answered.
        raw: The client's own response, for the caller.
        count_prompt: Counts the prompt's tokens.
        count: Counts those of a text.
    """
    told = merged(usage_of(usage) for usage in map(_usage, chunks) if usage is not None)
    is_told = is_whole and told.input_tokens is not None and told.output_tokens is not None
    usage = told if is_told else _at_least(told, received=_paid_text(chunks), count_prompt=count_prompt, count=count)
    costs = [cost for cost in map(reported_nusd, map(_usage, chunks)) if cost is not None]
    tokens = [token for choice in _choices(chunks) for token in tokens_of(choice)]
    tiers = [tier for tier in map(service_tier_of, chunks) if tier is not None]
    return Response(
        text=text,
        usage=usage,
        response_model=response_model or next(filter(None, (text_of(field_of(c, "model")) for c in chunks)), None),
        service_tier=tiers[-1] if tiers else None,
        # where a certain tool was asked for, OpenAI ends with "stop"; of whole answers the client sets that right
        finish_reason="tool_calls" if finish_reason == "stop" and _calls_tools(chunks) else finish_reason,
        cost_nusd=costs[-1] if costs and is_told else None,
        token_logprobs=tuple(token.logprob for token in tokens),
        tokens=told_tokens(tokens),
        raw=raw,
        is_counted=not is_told,
    )


def merged(reports: Iterable[Usage]) -> Usage:
    """Return what several reports about one request say together: a later count holds, but 0 or nothing undoes none."""
    whole = Usage()
    for report in reports:
        whole = Usage(
            input_tokens=_later(whole.input_tokens, report.input_tokens),
            cached_tokens=report.cached_tokens or whole.cached_tokens,
            cache_write_5m_tokens=report.cache_write_5m_tokens or whole.cache_write_5m_tokens,
            cache_write_1h_tokens=report.cache_write_1h_tokens or whole.cache_write_1h_tokens,
            output_tokens=_later(whole.output_tokens, report.output_tokens),
            reasoning_tokens=report.reasoning_tokens or whole.reasoning_tokens,
            media_tokens=report.media_tokens or whole.media_tokens,
            web_searches=report.web_searches or whole.web_searches,
        )
    return whole


def prompt_text(response_format: Any) -> str:
    """Return what an answer format adds to a prompt; providers count it as a part of it."""
    if isinstance(response_format, Mapping):
        return json.dumps(response_format, default=str)
    schema_of = field_of(response_format, "model_json_schema")
    return json.dumps(schema_of()) if callable(schema_of) else ""


def _later(known: int | None, told: int | None) -> int | None:
    return known if not told and known is not None else told


def _at_least(told: Usage, *, received: str, count_prompt: Callable[[], int], count: TokenCounter) -> Usage:
    output = max(told.output_tokens or 0, count(received) if received else 0)
    prompt = told.input_tokens if told.input_tokens is not None else count_prompt()
    return replace(told, input_tokens=prompt, output_tokens=output)


def _paid_text(chunks: Sequence[object]) -> str:
    """Return everything received that counts as output: text, reasoning and tool calls of every choice."""
    parts: list[str] = []
    for choice in _choices(chunks):
        delta = field_of(choice, "delta")
        functions = [field_of(call, "function") for call in _sequence(field_of(delta, "tool_calls"))]
        functions.append(field_of(delta, "function_call"))
        said = [field_of(delta, name) for name in ("content", "reasoning_content", "refusal")]
        said += [field_of(function, name) for function in functions for name in ("name", "arguments")]
        parts += [part for part in said if isinstance(part, str)]
    return "".join(parts)


def _calls_tools(chunks: Sequence[object]) -> bool:
    return any(field_of(field_of(choice, "delta"), "tool_calls") for choice in _choices(chunks))


def _choices(chunks: Sequence[object]) -> list[object]:
    return [choice for chunk in chunks for choice in _sequence(field_of(chunk, "choices"))]


def _usage(chunk: object) -> object:
    return field_of(chunk, "usage")


def _sequence(thing: object) -> Sequence[object]:
    is_one = isinstance(thing, Sequence) and not isinstance(thing, str)
    return cast("Sequence[object]", thing) if is_one else ()
