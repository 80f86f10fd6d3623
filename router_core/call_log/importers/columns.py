"""What the fields of somebody else's log mean together: status, times, costs and tags as this log's columns."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from router_core.call_log.importers import values
from router_core.call_log.importers.costs import Cost
from router_core.lines import add_price, add_tokens, price_extra
from router_core.types import Usage

Columns = dict[str, Any]
Fields = Mapping[str, Any]

_OK_WORDS: Final = frozenset(
    {"success", "succeeded", "successful", "ok", "completed", "complete", "done", "finished", "stop", "true", "default"}
    | {"debug", "warning", "info", "unset", "status_code_ok", "status_code_unset", "cached"}
)
_FAILED_WORDS: Final = frozenset(
    {"failure", "failed", "fail", "error", "errored", "exception", "false", "timeout", "rejected", "status_code_error"}
)
_HTTP_OK: Final = range(200, 400)
_CANCELLED_WORDS: Final = frozenset({"cancelled", "canceled", "aborted"})


def to_status(raw: Any) -> tuple[str, str | None]:
    """Return an attempt's status and, for an HTTP status of failure, what to call it."""
    if isinstance(raw, bool):
        return ("ok" if raw else "failed"), None
    word = str(raw).strip().lower()
    if word in _OK_WORDS:
        return "ok", None
    if word in _FAILED_WORDS:
        return "failed", "timeout" if word == "timeout" else None
    if word in _CANCELLED_WORDS:
        return "cancelled", "cancelled"
    try:
        code = int(word)
    except ValueError as error:
        message = "is neither success nor failure nor an HTTP status"
        raise ValueError(message) from error
    if code in {0, 1}:
        return ("ok" if code else "failed"), None
    return ("ok", None) if code in _HTTP_OK else ("failed", f"http_{code}")


def model_name(provider: str | None, model: str | None) -> str | None:
    """Return ``provider/model`` as the router names targets; the bare model where no provider is told."""
    if not model:
        return None
    if not provider or model.lower().startswith(f"{provider.lower()}/"):
        return model
    return f"{provider.lower()}/{model}"


def failure_of(found: Fields) -> tuple[str, str | None]:
    """Return status and kind of failure; a row with a kind of failure has failed."""
    status, named = found.get("status", ("failed" if found.get("error_type") else "ok", None))
    if status == "ok":
        return status, None
    code = found.get("error_code")
    return status, found.get("error_type") or named or (f"http_{code}" if code else "unknown")


def times_of(found: Fields, started: int) -> Columns:
    """Return end, latency and time to the first token, as far as the fields tell them."""
    times: Columns = {}
    ended = found.get("ended_at")
    latency = found.get("latency_ms")
    if latency is None and "latency_s" in found:
        latency = found["latency_s"] * 1000
    if ended is not None and ended < started:
        ended = None
    if latency is None and ended is not None:
        latency = (ended - started) / 1000
    if ended is None and latency is not None:
        ended = started + round(latency * 1000)
    if latency is not None:
        times["latency_ms"], times["ended_at"] = latency, ended
    first, ttft = found.get("first_token_at"), found.get("ttft_ms")
    if ttft is None and "ttft_s" in found:
        ttft = found["ttft_s"] * 1000
    # without streaming the first token is written down as the last one
    if ttft is None and first is not None and first != ended and first >= started:
        ttft = (first - started) / 1000
    if ttft is not None:
        times["ttft_ms"] = ttft
    return times


def cost_columns(usage: Usage, cost: Cost) -> Columns:
    """Return tokens, costs and prices; ``price_extra`` holds what has no column."""
    columns: Columns = {
        "cost_status": cost.status,
        "cost_nusd": cost.nusd,
        "cost_source_nusd": cost.source_nusd,
        "computed_nusd": cost.computed_nusd,
    }
    row = {name: value for name, value in columns.items() if value is not None}
    add_tokens(row, usage)
    if cost.price is not None:
        add_price(row, cost.price)
        extra = price_extra(usage, cost.price)
        if extra:
            row["price_extra"] = extra
    return row


def tag_pairs(raw: Any) -> Iterator[tuple[str, str]]:
    """Yield tags of an object, or of a list of words of which some are ``name:value`` or ``name=value``."""
    if isinstance(raw, dict):
        pairs = cast("dict[str, Any]", raw)
        yield from ((name, str(value)) for name, value in pairs.items() if isinstance(value, str | int | float))
        return
    for word in values.to_list(raw):
        # LiteLLM's own tags: which client called
        if not isinstance(word, str) or word.startswith("User-Agent:"):
            continue
        name, separator, value = word.partition(":" if ":" in word else "=")
        yield (name.strip(), value.strip()) if name and separator and value else (word, "true")
