"""Reads of single calls: the ones behind a number, how well confidence tells right from wrong, and one receipt.

These are the only pages' reads of raw rows. They are asked for by a click, never by opening a page; they are bounded in
time by the period and in size by a number of rows.
"""

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from dashboard.periods import Period
from dashboard.sums import wilson
from router_core.call_log.ddl import call_labels
from router_core.call_log.receipts import CallReceipt, find_calls, receipt_of

if TYPE_CHECKING:
    import duckdb

CallKind = Literal["all", "wrong", "unanswered", "escalated", "degraded", "labelled"]
CALL_KINDS: Final[tuple[CallKind, ...]] = get_args(CallKind)
MOST_CALLS: Final = 100
MOST_EXPORTED: Final = 100_000
BINS: Final = 10
_KINDS: Final[dict[CallKind, str]] = {
    "all": "true",
    "wrong": "o.correct < 1",
    "unanswered": "c.status IN ('failed', 'rejected', 'interrupted')",
    "escalated": "c.escalations > 0",
    "degraded": "c.degraded",
    "labelled": "o.correct IS NOT NULL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWish:
    """Which calls to list.

    Attributes:
        period: Whole local days; None = the undated evaluations.
        payload_type: Their payload type; None = any.
        tiers: Tiers that served them, or were planned where none did; empty = all.
        kind: Which of them.
    """

    period: Period | None
    payload_type: str | None = None
    tiers: tuple[str, ...] = ()
    kind: CallKind = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLine:
    """One call in a list.

    Attributes:
        call_id: Its id.
        at: When it began, UTC; None for an undated evaluation.
        payload_type: Its payload type.
        tier_planned: The tier that its path began with.
        tier_served: The tier that answered.
        model: The model that answered.
        status: How it ended.
        reason: Why it went as it did.
        degraded: Whether a limit moved it down.
        escalations: How often it went up.
        confidence: Of the served answer, 0..1.
        correct: What its label says, 0..1; None = no label.
        attempts: Requests made for it, shadows left out.
        cost_nusd: What these cost, nano-dollars.
        latency_ms: How long it took.
        run: The caller's run.
        step: The caller's step.
    """

    call_id: str
    at: dt.datetime | None
    payload_type: str | None
    tier_planned: str | None
    tier_served: str | None
    model: str | None
    status: str | None
    reason: str | None
    degraded: bool | None
    escalations: int | None
    confidence: float | None
    correct: float | None
    attempts: int | None
    cost_nusd: int | None
    latency_ms: float | None
    run: str | None
    step: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Labelled calls whose confidence lies in one tenth of 0..1.

    Attributes:
        low: Where the tenth begins.
        calls: Labelled calls in it.
        confidence: Their mean confidence.
        correct: The share of them that was right.
        interval: Its 95 % interval (Wilson).
    """

    low: float
    calls: int
    confidence: float
    correct: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How often answers of a given confidence were right.

    Attributes:
        source: Where the confidence comes from.
        calibrated: Whether it went through a fitted curve.
        tier: The tier that answered.
        bins: The tenths that hold labelled calls, in order.
    """

    source: str
    calibrated: bool
    tier: str
    bins: tuple[Bin, ...]

    @property
    def calls(self) -> int:
        """Labelled calls."""
        return sum(each.calls for each in self.bins)

    @property
    def expected_error(self) -> float:
        """Mean distance of confidence and share right over the tenths, weighted by calls (ECE)."""
        return sum(each.calls * abs(each.confidence - each.correct) for each in self.bins) / max(1, self.calls)


def read_calls(
    connection: "duckdb.DuckDBPyConnection", wish: CallWish, limit: int = MOST_CALLS
) -> tuple[CallLine, ...]:
    """Return the newest calls that a wish asks for, newest first."""
    where, values = _where(wish)
    rows = connection.execute(
        f"""
        WITH chosen AS MATERIALIZED (
            SELECT call_id, ts, payload_type, tier_planned, tier_served, model_served, status, reason, degraded,
                escalations, confidence, attempts, cost_nusd, latency_ms, run, step, served_attempt_id
            FROM calls AS c WHERE {where} {_newest_first(wish.kind)}
        )
        SELECT c.call_id, c.ts, c.payload_type, c.tier_planned, c.tier_served, c.model_served, c.status, c.reason,
            c.degraded, c.escalations, c.confidence, o.correct, c.attempts, c.cost_nusd, c.latency_ms, c.run, c.step
        FROM chosen AS c LEFT JOIN ({call_labels("chosen", "outcomes")}) AS o ON o.call_id = c.call_id
        WHERE {_KINDS[wish.kind]} ORDER BY c.ts DESC NULLS LAST, c.call_id DESC LIMIT $limit
        """,
        {**values, "limit": limit},
    ).fetchall()
    return tuple(_line(row) for row in rows)


def _newest_first(kind: CallKind) -> str:
    """Return how many calls have to be looked at: what only labels tell, all of them tell."""
    if kind in ("wrong", "labelled"):
        return ""
    return f"AND {_KINDS[kind]} ORDER BY c.ts DESC NULLS LAST, c.call_id DESC LIMIT $limit"


def read_reliability(
    connection: "duckdb.DuckDBPyConnection", period: Period | None, payload_type: str
) -> tuple[Reliability, ...]:
    """Return how often answers of a payload type were right: by confidence, its source and the tier."""
    where, values = _where(CallWish(period=period, payload_type=payload_type))
    rows = connection.execute(
        f"""
        WITH answered AS MATERIALIZED (
            SELECT call_id, served_attempt_id, confidence, coalesce(confidence_source, '') AS said_by,
                calibration IS NOT NULL AS calibrated, coalesce(tier_served, '') AS tier
            FROM calls AS c WHERE {where} AND status = 'ok' AND confidence BETWEEN 0 AND 1
        )
        SELECT said_by, calibrated, tier, least(floor(confidence * {BINS}), {BINS - 1})::INTEGER AS tenth, count(*),
            avg(confidence), avg(o.correct)
        FROM answered JOIN ({call_labels("answered", "outcomes")}) AS o USING (call_id)
        WHERE o.correct IS NOT NULL GROUP BY ALL ORDER BY said_by, calibrated, tier, tenth
        """,
        values,
    ).fetchall()
    found: dict[tuple[str, bool, str], list[Bin]] = {}
    for source, calibrated, tier, tenth, calls, confidence, correct in rows:
        interval = wilson(correct * calls, calls) or (0.0, 1.0)
        found.setdefault((source, calibrated, tier), []).append(
            Bin(low=tenth / BINS, calls=calls, confidence=confidence, correct=correct, interval=interval)
        )
    curves = [
        Reliability(source=source, calibrated=calibrated, tier=tier, bins=tuple(bins))
        for (source, calibrated, tier), bins in found.items()
    ]
    return tuple(sorted(curves, key=lambda curve: -curve.calls))


def read_receipt(connection: "duckdb.DuckDBPyConnection", call_id: str) -> CallReceipt | tuple[str, ...]:
    """Return the receipt of the call with this id, or else the ids that start with it; at most five."""
    found = find_calls(connection, call_id) if call_id else []
    if len(found) == 1:
        return receipt_of(connection, found[0])
    return tuple(call.call_id for call in found)


def _where(wish: CallWish) -> tuple[str, dict[str, Any]]:
    parts, values = ["ts IS NULL"], dict[str, Any]()
    if wish.period is not None:
        parts = ["ts >= $first AND ts < $until"]
        values |= {"first": _naive(wish.period.start), "until": _naive(wish.period.end)}
    if wish.payload_type is not None:
        parts.append("coalesce(payload_type, '') = $payload_type")
        values["payload_type"] = wish.payload_type
    if wish.tiers:
        parts.append("list_contains($tiers::VARCHAR[], coalesce(tier_served, tier_planned, ''))")
        values["tiers"] = list(wish.tiers)
    return " AND ".join(parts), values


def _naive(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None)


def _line(row: tuple[Any, ...]) -> CallLine:
    call_id, at, *rest = row
    named: dict[str, Any] = dict(zip(tuple(CallLine.__dataclass_fields__)[2:], rest, strict=True))
    return CallLine(call_id=call_id, at=None if at is None else at.replace(tzinfo=dt.UTC), **named)
