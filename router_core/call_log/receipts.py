"""Calls as the log has them: the newest ones, and the receipt of one."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from router_core.call_log.ddl import LABEL_ORDER
from router_core.call_log.logged import checks_of, mapping_of, price_of, usage_of
from router_core.call_log.receipt_sql import computed_sql
from router_core.decide.receipt import ClassCost, by_class
from router_core.types import CheckResult

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call. The fields are the columns of the same name in ``calls``.

    Attributes:
        ts: Start of the call, UTC without a zone; None for a static evaluation.
        cost_nusd: Sum over all its attempts but shadows, nano-dollars.
        tags: The caller's tags.
        extra: What has no column of its own.
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
    budget_scope: str | None
    critical: bool | None
    holdback: str | None
    cache_hit: bool | None
    linked_call_id: str | None
    escalations: int | None
    fallbacks: int | None
    attempts: int | None
    cost_nusd: int | None
    error_cost_nusd: int | None
    latency_ms: float | None
    config_version: str | None
    tags: Mapping[str, Any]
    source: str | None
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The label that counts for an attempt. The fields are columns of ``outcomes``.

    Attributes:
        correct: 0..1.
        error_nusd: What the error cost, nano-dollars; None when the label does not say.
        source: Who says so.
        received_at: When it came, UTC without a zone.
    """

    correct: float | None
    error_nusd: int | None
    source: str | None
    received_at: dt.datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt of a call, as logged. The fields are columns of ``attempts``, but those described here.

    Attributes:
        computed_nusd: What its tokens cost at its prices, nano-dollars; None without either.
        drift_nusd: What the provider reported less that; None without either.
        lines: That cost by token class; empty when no price was logged.
        adds_up: Whether the lines sum to the logged cost; None without lines.
        items: Calls that shared its request.
        checks: Verdicts of its free checks.
        label: Its best label.
        extra: What has no column of its own.
    """

    attempt_id: str
    request_id: str | None
    n: int | None
    role: str | None
    about_attempt_id: str | None
    started_at: dt.datetime | None
    tier: str | None
    request_model: str | None
    response_model: str | None
    service_tier: str | None
    status: str | None
    error_type: str | None
    confidence: float | None
    confidence_source: str | None
    calibration: str | None
    propensity: float | None
    answer_match: bool | None
    cost_nusd: int | None
    cost_status: str | None
    cost_source_nusd: int | None
    price_source: str | None
    price_date: str | None
    input_tokens: int | None
    cached_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    latency_ms: float | None
    ttft_ms: float | None
    computed_nusd: int | None
    drift_nusd: int | None
    lines: tuple[ClassCost, ...]
    adds_up: bool | None
    items: int
    checks: tuple[CheckResult, ...]
    label: Label | None
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReceipt:
    """One call with all its attempts.

    Attributes:
        call: The call.
        attempts: Its attempts in order, shadows left out: what the call cost is the sum over these.
        shadows: Its shadows, which are no part of that.
        cost_nusd: That sum, nano-dollars; costs that are not known count as 0.
        without_cost: How many of the attempts have no known cost.
    """

    call: CallRow
    attempts: tuple[AttemptRow, ...]
    shadows: tuple[AttemptRow, ...]
    cost_nusd: int
    without_cost: int


_CALL_NAMES = tuple(field.name for field in fields(CallRow))
_DERIVED = frozenset({"computed_nusd", "drift_nusd", "lines", "adds_up", "items", "checks", "label", "extra"})
_PLAIN_NAMES = tuple(field.name for field in fields(AttemptRow) if field.name not in _DERIVED)
_PRICES = ("price_in", "price_cached", "price_write", "price_out")


def newest_calls(
    con: "DuckDBPyConnection",
    limit: int = 20,
    payload_type: str | None = None,
    *,
    run: str | None = None,
    only_degraded: bool = False,
) -> list[CallRow]:
    """Return the newest calls, newest first; calls without a time come last.

    Args:
        con: The log, open for reading.
        limit: Most calls returned.
        payload_type: Only calls of this payload type.
        run: Only calls of this run.
        only_degraded: Only calls that a limit had served below their plan and no later call has made up for.
    """
    rows = con.execute(
        f"""SELECT {", ".join(_CALL_NAMES)} FROM calls
            WHERE ($payload_type IS NULL OR payload_type = $payload_type) AND ($run IS NULL OR run = $run)
            AND (NOT $only_degraded OR (degraded AND status = 'ok' AND NOT EXISTS (
                SELECT 1 FROM calls AS later WHERE later.linked_call_id = calls.call_id AND later.status = 'ok'
            )))
            ORDER BY ts DESC NULLS LAST, call_id DESC LIMIT $limit""",
        {"limit": limit, "payload_type": payload_type, "run": run, "only_degraded": only_degraded},
    ).fetchall()
    return [_call(row) for row in rows]


def find_calls(con: "DuckDBPyConnection", start: str, limit: int = 5) -> list[CallRow]:
    """Return the call with this id, or else the calls whose ids start with it."""
    # ids lie nearly in order, so the bound leaves out most of a long log
    rows = con.execute(
        f"""SELECT {", ".join(_CALL_NAMES)} FROM calls WHERE call_id >= $start AND starts_with(call_id, $start)
            ORDER BY call_id <> $start, call_id LIMIT $limit""",
        {"limit": limit, "start": start},
    ).fetchall()
    found = [_call(row) for row in rows]
    return found[:1] if found and found[0].call_id == start else found


def receipt_of(con: "DuckDBPyConnection", call: CallRow) -> CallReceipt:
    """Return a call's receipt.

    Args:
        con: The log, open for reading.
        call: The call.
    """
    names = (*_PLAIN_NAMES, *_PRICES, "checks", "extra")
    rows = con.execute(
        f"""SELECT {", ".join(names)}, {computed_sql("a")} FROM attempts AS a WHERE call_id = $call_id
            ORDER BY started_at NULLS LAST, n, attempt_id""",
        {"call_id": call.call_id},
    ).fetchall()
    named = [dict(zip((*names, "computed_nusd"), row, strict=True)) for row in rows]
    labels = _labels(con, call)
    packed = _items(con, named)
    found = [_attempt(row, labels.get(row["attempt_id"]), packed[row["request_id"]]) for row in named]
    counted = tuple(attempt for attempt in found if attempt.role != "shadow")
    return CallReceipt(
        call=call,
        attempts=counted,
        shadows=tuple(attempt for attempt in found if attempt.role == "shadow"),
        cost_nusd=sum(attempt.cost_nusd or 0 for attempt in counted),
        without_cost=sum(attempt.cost_nusd is None for attempt in counted),
    )


def _call(row: tuple[Any, ...]) -> CallRow:
    named: dict[str, Any] = dict(zip(_CALL_NAMES, row, strict=True))
    named.update({name: mapping_of(named[name]) for name in ("tags", "extra")})
    return CallRow(**named)


def _labels(con: "DuckDBPyConnection", call: CallRow) -> dict[str, Label]:
    """Return the label that counts for each labelled attempt of a call."""
    rows = con.execute(
        f"""SELECT coalesce(o.attempt_id, $served) AS labelled, o.correct, o.error_nusd, o.source, o.received_at
            FROM outcomes AS o WHERE o.call_id = $call_id AND coalesce(o.attempt_id, $served) IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY labelled ORDER BY {LABEL_ORDER}) = 1""",
        {"call_id": call.call_id, "served": call.served_attempt_id},
    ).fetchall()
    return {row[0]: Label(correct=row[1], error_nusd=row[2], source=row[3], received_at=row[4]) for row in rows}


def _items(con: "DuckDBPyConnection", rows: list[dict[str, Any]]) -> defaultdict[str | None, int]:
    """Return how many rows each request has; those named like their only attempt have one."""
    counts: defaultdict[str | None, int] = defaultdict(lambda: 1)
    shared = {row["request_id"] for row in rows if row["request_id"] not in (None, row["attempt_id"])}
    if shared:
        found = con.execute(
            "SELECT request_id, count(*) FROM attempts WHERE request_id IN (SELECT unnest(?)) GROUP BY request_id",
            [sorted(shared)],
        ).fetchall()
        counts.update(found)
    return counts


def _attempt(row: dict[str, Any], label: Label | None, items: int) -> AttemptRow:
    extra = mapping_of(row["extra"])
    computed, cost = row["computed_nusd"], row["cost_nusd"]
    share = cost if items > 1 else None
    lines = by_class(usage_of(row), price_of(row, extra), share) if computed is not None else ()
    reported = row["cost_source_nusd"]
    return AttemptRow(
        **{name: row[name] for name in _PLAIN_NAMES},
        computed_nusd=computed,
        drift_nusd=None if reported is None or computed is None else reported - computed,
        lines=lines,
        adds_up=sum(line.cost_nusd for line in lines) == cost if lines else None,
        items=items,
        checks=checks_of(row["checks"]),
        label=label,
        extra=extra,
    )
