"""What litellm returned, in this package's words. Read by attribute name, so this module needs no client library."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final, cast

from router_core.types import NANO, WITHHELD, Response, Token, Usage

_SCHEMA_FORMATS: Final = frozenset({"json_schema", "json_object", "text"})
_NAME: Final = 64
# no request has so many tokens or costs a million dollars: what says so is no count, and would stop the books
_MOST_TOKENS: Final = 2**31 - 1
_MOST_NUSD: Final = 1_000_000 * NANO
_EMPTY: Final[Mapping[str, object]] = {}
_MEDIA: Final = ("audio", "image", "video")
_SEARCHES: Final = "web_search_requests"
_ANYWHERE: Final = frozenset({"global", "not_available"})


def response_of(raw: object) -> Response | None:
    """Return the client's response as a ``Response``; None when there is no answer in it."""
    choices = field_of(raw, "choices")
    if not isinstance(choices, Sequence) or not choices:
        return None
    choice = cast("Sequence[object]", choices)[0]
    message = field_of(choice, "message")
    if message is None:
        return None
    text = field_of(message, "content")
    usage = field_of(raw, "usage")
    tokens = tokens_of(choice)
    return Response(
        text=text if isinstance(text, str) else "",
        usage=usage_of(usage),
        response_model=text_of(field_of(raw, "model")),
        service_tier=service_tier_of(raw),
        finish_reason=WITHHELD if _refuses(message) else text_of(field_of(choice, "finish_reason")),
        cost_nusd=reported_nusd(usage),
        token_logprobs=tuple(token.logprob for token in tokens),
        tokens=told_tokens(tokens),
        raw=raw,
    )


def _refuses(message: object) -> bool:
    """Return whether the model refuses for the sake of safety; OpenAI ends such an answer to a schema with "stop"."""
    places = (message, field_of(message, "provider_specific_fields"))
    return any(text_of(field_of(place, "refusal")) is not None for place in places)


def usage_of(usage: object) -> Usage:
    """Return the token counts: input includes cached and written tokens, output includes reasoning.

    litellm fills counts it did not get with 0; since no prompt has 0 tokens, nothing reported reads as None. Where the
    total says that reasoning was counted beside the output (as xAI does), it is added to it.
    """
    prompt, output, total = (_count(usage, f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if not prompt and not output:
        return Usage()
    details = field_of(usage, "prompt_tokens_details")
    cached = _count(details, "cached_tokens") or _count(usage, "cache_read_input_tokens")
    cached = cached or _count(usage, "cached_tokens")  # Moonshot
    written = _count(details, "cache_write_tokens") or _count(details, "cache_creation_tokens")
    written = written or _count(usage, "cache_creation_input_tokens")
    split = field_of(details, "cache_creation_token_details")
    hour = _count(split, "ephemeral_1h_input_tokens")
    minutes = _count(split, "ephemeral_5m_input_tokens") or max(0, written - hour)
    answered = field_of(usage, "completion_tokens_details")
    reasoning = _count(answered, "reasoning_tokens")
    if reasoning and total == prompt + output + reasoning:
        output += reasoning
    return Usage(
        input_tokens=prompt or None,
        cached_tokens=cached,
        cache_write_5m_tokens=minutes,
        cache_write_1h_tokens=hour,
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
        media_tokens=sum(_count(side, f"{kind}_tokens") for side in (details, answered) for kind in _MEDIA),
        web_searches=_count(field_of(usage, "server_tool_use"), _SEARCHES) or _count(details, _SEARCHES),
    )


def service_tier_of(raw: object) -> str | None:
    """Return what kind of service was charged: the response's own word for it, or what Anthropic says in its usage.

    Its fast mode and its work within one country have prices of their own too; the latter is told as
    ``inference_geo=us``.
    """
    tier = text_of(field_of(raw, "service_tier"))
    if tier is not None:
        return tier
    usage = field_of(raw, "usage")
    if field_of(usage, "speed") == "fast":
        return "fast"
    place = text_of(field_of(usage, "inference_geo"))
    if place is not None and place.lower() not in _ANYWHERE:
        return f"inference_geo={place}"
    return text_of(field_of(usage, "service_tier"))


def reported_nusd(usage: object) -> int | None:
    """Return the cost that the provider itself wrote into its usage, nano-dollars; None when it did not.

    A number (OpenRouter, xAI) or a breakdown with ``total_cost`` (Perplexity). With a key of the user's own at
    OpenRouter (``is_byok``), the cost is its fee, and what the provider behind it charges comes on top.
    """
    cost = field_of(usage, "cost")
    if cost is not None and not isinstance(cost, int | float | str):
        cost = field_of(cost, "total_cost")
    fee = _nusd(cost)
    if fee is None or not field_of(usage, "is_byok"):
        return fee
    behind = _nusd(field_of(field_of(usage, "cost_details"), "upstream_inference_cost"))
    return None if behind is None else fee + behind


def response_format_of(wanted: Any) -> Any:
    """Return the caller's answer format as litellm takes it: classes and complete formats as they are, schemas wrapped.

    A bare schema becomes ``strict`` only if it closes its root object: providers refuse strict for open schemas.
    """
    if not isinstance(wanted, Mapping):
        return wanted
    schema = cast("Mapping[str, Any]", wanted)
    if schema.get("type") in _SCHEMA_FORMATS:
        return dict(schema)
    title = str(schema.get("title", "answer"))
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in title)[:_NAME]
    inner: dict[str, Any] = {"name": name or "answer", "schema": dict(schema)}
    if schema.get("additionalProperties") is False:
        inner["strict"] = True
    return {"type": "json_schema", "json_schema": inner}


def tokens_of(choice: object) -> tuple[Token, ...]:
    """Return a choice's tokens with their log-probabilities; one whose text nobody told has none."""
    content = field_of(field_of(choice, "logprobs"), "content")
    if not isinstance(content, Sequence):
        return ()
    found: list[Token] = []
    for token in cast("Sequence[object]", content):
        logprob = field_of(token, "logprob")
        if isinstance(logprob, int | float):
            text = text_of(field_of(token, "token")) or ""
            found.append(Token(text=text, logprob=float(logprob), others=_others(token)))
    return tuple(found)


def told_tokens(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Return the tokens, or none where the text of one is missing: they could not be found in the answer."""
    return tuple(tokens) if all(token.text for token in tokens) else ()


def _others(token: object) -> tuple[tuple[str, float], ...]:
    listed = field_of(token, "top_logprobs")
    if not isinstance(listed, Sequence):
        return ()
    pairs = ((field_of(other, "token"), field_of(other, "logprob")) for other in cast("Sequence[object]", listed))
    return tuple(
        (text, float(value)) for text, value in pairs if isinstance(text, str) and isinstance(value, int | float)
    )


def field_of(thing: object, name: str) -> object:
    """Return a field of one of the client's objects, whether it is a mapping, a model or anything else; else None."""
    if thing is None:
        return None
    if isinstance(thing, Mapping):
        return cast("Mapping[str, object]", thing).get(name)
    own: Mapping[str, object] = getattr(thing, "__dict__", _EMPTY)
    if name in own:
        return own[name]
    # a model says that it has no such field by raising, which takes longer than all else here
    extra: object = getattr(thing, "__pydantic_extra__", thing)
    if extra is not thing:
        return cast("Mapping[str, object]", extra or _EMPTY).get(name)
    return getattr(thing, name, None)


def _count(thing: object, name: str) -> int:
    value = field_of(thing, name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_TOKENS else 0


def text_of(value: object) -> str | None:
    """Return a value that is text and not empty, else None."""
    return value if isinstance(value, str) and value else None


def _nusd(usd: object) -> int | None:
    if isinstance(usd, bool) or not isinstance(usd, int | float | str):
        return None
    try:
        exact = Decimal(str(usd)) * NANO
    except InvalidOperation:
        return None
    if not exact.is_finite() or not 0 <= exact <= _MOST_NUSD:
        return None
    return int(exact.to_integral_value(rounding=ROUND_HALF_EVEN))
