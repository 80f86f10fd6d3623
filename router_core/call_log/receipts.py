"""Calls as the log has them: the newest ones, and the receipt of one."""

import datetime as dt
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from router_core.decide.receipt import ClassCost, by_class
from router_core.types import CheckResult, Price, Usage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call. The fields are the columns of the same name in ``calls``.

    Attributes:
        ts: Start of the call, UTC without a zone; None for a static evaluation.
        cost_nusd: Sum over all its attempts but shadows, nano-dollars.
    """

    call_id: str
    ts: dt.datetime | None
    run: str | None
    step: str | None
    payload_type: str | None
    tier_planned: str | None
    tier_served: str | None
    model_served: str | None
    served_attempt_id: str | None
    reason: str | None
    status: str | None
    error_type: str | None
    confidence: float | None
    confidence_source: str | None
    calibration: str | None
    degraded: bool | None
    guard_state: str | None
    escalations: int | None
    fallbacks: int | None
    attempts: int | None
    cost_nusd: int | None
    latency_ms: float | None
    config_version: str | None
    source: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt of a call, as logged. The fields are the columns of the same name in ``attempts``.

    Attributes:
        lines: Its receipt by token class; empty when no price was logged.
        adds_up: Whether the lines sum to the logged cost; None without lines.
        checks: Verdicts of its free checks.
        correct: Its best label, 0..1.
    """

    attempt_id: str
    n: int | None
    role: str | None
    propensity: float | None
    answer_match: bool | None
    tier: str | None
    request_model: str | None
    status: str | None
    error_type: str | None
    confidence: float | None
    confidence_source: str | None
    cost_nusd: int | None
    cost_status: str | None
    price_source: str | None
    price_date: str | None
    input_tokens: int | None
    output_tokens: int | None
    latency_ms: float | None
    correct: float | None
    checks: tuple[CheckResult, ...]
    lines: tuple[ClassCost, ...]
    adds_up: bool | None


_CALL_NAMES = tuple(field.name for field in fields(CallRow))
_PLAIN_NAMES = tuple(
    field.name for field in fields(AttemptRow) if field.name not in {"correct", "checks", "lines", "adds_up"}
)
_RECEIPT_NAMES = (
    "cached_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "price_in",
    "price_cached",
    "price_write",
    "price_out",
)


def newest_calls(con: "DuckDBPyConnection", limit: int = 20, payload_type: str | None = None) -> list[CallRow]:
    """Return the newest calls, newest first; calls without a time come last.

    Args:
        con: The log, open for reading.
        limit: Most calls returned.
        payload_type: Only calls of this payload type.
    """
    rows = con.execute(
        f"""SELECT {", ".join(_CALL_NAMES)} FROM calls WHERE $payload_type IS NULL OR payload_type = $payload_type
            ORDER BY ts DESC NULLS LAST, call_id DESC LIMIT $limit""",
        {"limit": limit, "payload_type": payload_type},
    ).fetchall()
    return [CallRow(**dict(zip(_CALL_NAMES, row, strict=True))) for row in rows]


def find_calls(con: "DuckDBPyConnection", start: str, limit: int = 5) -> list[CallRow]:
    """Return the call with this id, or else the calls whose ids start with it."""
    rows = con.execute(
        f"""SELECT {", ".join(_CALL_NAMES)} FROM calls WHERE starts_with(call_id, $start)
            ORDER BY call_id <> $start, call_id LIMIT $limit""",
        {"limit": limit, "start": start},
    ).fetchall()
    found = [CallRow(**dict(zip(_CALL_NAMES, row, strict=True))) for row in rows]
    return found[:1] if found and found[0].call_id == start else found


def attempts_of(con: "DuckDBPyConnection", call_id: str) -> list[AttemptRow]:
    """Return all attempts of a call in their order, shadows included."""
    names = (*_PLAIN_NAMES, *_RECEIPT_NAMES, "checks", "correct")
    rows = con.execute(
        f"""SELECT {", ".join(names)} FROM attempt_outcomes WHERE call_id = $call_id
            ORDER BY started_at NULLS LAST, n, attempt_id""",
        {"call_id": call_id},
    ).fetchall()
    return [_attempt(dict(zip(names, row, strict=True))) for row in rows]


def _attempt(row: dict[str, Any]) -> AttemptRow:
    lines = _receipt_lines(row)
    return AttemptRow(
        **{name: row[name] for name in _PLAIN_NAMES},
        correct=row["correct"],
        checks=_checks(row["checks"]),
        lines=lines,
        adds_up=sum(line.cost_nusd for line in lines) == row["cost_nusd"] if lines else None,
    )


def _receipt_lines(row: dict[str, Any]) -> tuple[ClassCost, ...]:
    if row["price_in"] is None or row["price_out"] is None:
        return ()
    # the log keeps one price for both kinds of cache write
    write = row["price_write"] if row["price_write"] is not None else row["price_in"]
    price = Price(
        input_nusd_per_m=row["price_in"],
        cached_nusd_per_m=row["price_cached"] if row["price_cached"] is not None else row["price_in"],
        write_5m_nusd_per_m=write,
        write_1h_nusd_per_m=write,
        output_nusd_per_m=row["price_out"],
        source=row["price_source"] or "",
        date=row["price_date"] or "",
    )
    usage = Usage(
        input_tokens=row["input_tokens"],
        cached_tokens=row["cached_tokens"] or 0,
        cache_write_5m_tokens=row["cache_write_5m_tokens"] or 0,
        cache_write_1h_tokens=row["cache_write_1h_tokens"] or 0,
        output_tokens=row["output_tokens"],
        reasoning_tokens=row["reasoning_tokens"] or 0,
    )
    return by_class(usage, price)


def _checks(logged: str | None) -> tuple[CheckResult, ...]:
    entries = cast("list[dict[str, Any]]", json.loads(logged)) if logged else []
    return tuple(
        CheckResult(name=entry.get("name", ""), ms=entry.get("ms") or 0.0, verdict=entry.get("verdict", "error"))
        for entry in entries
    )
