"""Spend, read from the log's attempts."""

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from router_core.call_log.receipt_sql import computed_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SpendKey = Literal["payload_type", "tier", "model", "role", "day", "run"]
SPEND_KEYS: Final[tuple[SpendKey, ...]] = get_args(SpendKey)

_KEY_SQL: Final[dict[SpendKey, str]] = {
    "payload_type": "a.payload_type",
    "tier": "a.tier",
    "model": "a.request_model",
    "role": "a.role",
    "day": "strftime(timezone($zone, timezone('UTC', a.started_at)), '%Y-%m-%d')",
    "run": "a.run",
}

# what our prices give, where there is something to compare it with
_OURS: Final = f"(CASE WHEN a.cost_source_nusd IS NOT NULL THEN {computed_sql('a')} END)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendFilter:
    """Which attempts count; None = all.

    Attributes:
        since: First instant, UTC; attempts without a time (static evaluations) are then left out.
        until: First instant that no longer counts, UTC; the same holds.
        source: ``router``, ``import`` or ``logger``.
        role: Role of the attempts.
        tier: Their tier.
        model: The model asked for.
        payload_type: Their payload type.
    """

    since: dt.datetime | None = None
    until: dt.datetime | None = None
    source: str | None = None
    role: str | None = None
    tier: str | None = None
    model: str | None = None
    payload_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRow:
    """Sums and means over the attempts of one key.

    Attributes:
        key: Value of the grouping column; None where the log has none (no tier, no run, no time).
        attempts: Attempts, all roles.
        calls: Calls they belong to.
        n_cost: Attempts with a cost.
        n_unknown_cost: Attempts whose cost is not known: unpriced, or the process died before it heard.
        cost_nusd: Sum of the costs, nano-dollars.
        cost_per_1k_usd: Mean over the attempts with a cost, x 1000; USD.
        correct_rate: Mean of ``correct`` over the attempts with a label, 0..1.
        n_labels: Attempts with a label.
        latency_mean_s: Mean latency of the attempts that have one, seconds.
        latency_p50_s: Its median.
        latency_p95_s: Its 95th percentile, interpolated.
        failed: Attempts whose request failed.
        invalid: Attempts whose answer failed a check.
        n_reported: Attempts of which the provider reported the cost, and our prices give one as well.
        reported_nusd: Sum of what providers reported for these, nano-dollars.
        drift_nusd: That less what our prices give for them, nano-dollars: what our prices are off by.
        cost_month_usd: What a month of such calls costs, from the calls per month given at import; None without.
    """

    key: str | None
    attempts: int
    calls: int
    n_cost: int
    n_unknown_cost: int
    cost_nusd: int
    cost_per_1k_usd: float | None
    correct_rate: float | None
    n_labels: int
    latency_mean_s: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    failed: int
    invalid: int
    n_reported: int
    reported_nusd: int
    drift_nusd: int
    cost_month_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedScale:
    """How a static evaluation scales to a month.

    Attributes:
        calls: Calls in the evaluation.
        calls_per_month: Calls of this kind made in a month.
    """

    calls: int
    calls_per_month: int


def spend(
    con: "DuckDBPyConnection",
    by: SpendKey = "payload_type",
    where: SpendFilter | None = None,
    zone: str = "UTC",
) -> list[SpendRow]:
    """Return one row per key, dearest first. Spend is always the sum over attempts.

    Args:
        con: The log, open for reading.
        by: What to group by.
        where: Which attempts count.
        zone: IANA zone of day boundaries.
    """
    clause, values = _conditions(where or SpendFilter())
    if by == "day":
        values["zone"] = zone
    rows = con.execute(
        f"""
        SELECT {_KEY_SQL[by]} AS key, count(*), count(DISTINCT a.call_id), count(a.cost_nusd),
               count(*) FILTER (a.cost_status IN ('unknown', 'unpriced')), coalesce(sum(a.cost_nusd), 0),
               avg(a.cost_nusd) / 1e6, avg(a.correct), count(a.correct), avg(a.latency_ms) / 1000,
               quantile_cont(a.latency_ms, 0.5) / 1000, quantile_cont(a.latency_ms, 0.95) / 1000,
               count(*) FILTER (a.status = 'failed'), count(*) FILTER (a.status = 'invalid'),
               count(a.cost_source_nusd - {_OURS}), coalesce(sum(a.cost_source_nusd) FILTER ({_OURS} IS NOT NULL), 0),
               coalesce(sum(a.cost_source_nusd - {_OURS}), 0), bool_and(a.source = 'import')
        FROM attempt_outcomes AS a
        WHERE {clause} GROUP BY 1 ORDER BY {"1 DESC NULLS LAST" if by == "day" else "6 DESC, 1 NULLS LAST"}
        """,
        values,
    ).fetchall()
    scale = imported_scale(con)
    return [_spend_row(row, scale) for row in rows]


def imported_scale(con: "DuckDBPyConnection") -> ImportedScale | None:
    """Return how the log scales to a month, if it holds exactly one evaluation, imported with its calls per month."""
    rows = con.execute("SELECT details FROM events WHERE event = 'import' ORDER BY \"at\"").fetchall()
    latest = {facts["sha256"]: facts for facts in (json.loads(row[0]) for row in rows)}
    if len(latest) != 1:
        return None
    (facts,) = latest.values()
    if not facts.get("calls_per_month") or not facts.get("calls"):
        return None
    return ImportedScale(calls=int(facts["calls"]), calls_per_month=int(facts["calls_per_month"]))


def _conditions(where: SpendFilter) -> tuple[str, dict[str, object]]:
    tests = {
        "since": "a.started_at >= $since",
        "until": "a.started_at < $until",
        "source": "a.source = $source",
        "role": "a.role = $role",
        "tier": "a.tier = $tier",
        "model": "a.request_model = $model",
        "payload_type": "a.payload_type = $payload_type",
    }
    values = {name: getattr(where, name) for name in tests if getattr(where, name) is not None}
    for name in ("since", "until"):
        if name in values:
            values[name] = values[name].astimezone(dt.UTC).replace(tzinfo=None)
    return " AND ".join(tests[name] for name in values) or "true", values


def _spend_row(row: tuple[Any, ...], scale: ImportedScale | None) -> SpendRow:
    key, attempts, calls, n_cost, n_unknown_cost, cost_nusd, per_1k, correct, n_labels, mean, p50, p95, *rest = row
    failed, invalid, n_reported, reported, drift, is_imported = rest
    month = None
    if scale is not None and is_imported and per_1k is not None:
        month = per_1k / 1000 * scale.calls_per_month * calls / scale.calls
    return SpendRow(
        key=key,
        attempts=attempts,
        calls=calls,
        n_cost=n_cost,
        n_unknown_cost=n_unknown_cost,
        cost_nusd=int(cost_nusd),
        cost_per_1k_usd=per_1k,
        correct_rate=correct,
        n_labels=n_labels,
        latency_mean_s=mean,
        latency_p50_s=p50,
        latency_p95_s=p95,
        failed=failed,
        invalid=invalid,
        n_reported=n_reported,
        reported_nusd=int(reported),
        drift_nusd=int(drift),
        cost_month_usd=month,
    )
