"""Reads of the log's hourly rollups: a connection and filters in, frozen sums out.

No query here touches a raw table, but for hours in which a day begins. Values are always bound; names come from this
module.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from dashboard.periods import slices
from dashboard.sums import NO_NAME, Cell, Filters, Overview, Point, Row, Span, Sums
from router_core.call_log.backlog import read_offsets
from router_core.call_log.edges import rollups_cut_at
from router_core.call_log.rollups import bucket_quantile
from router_core.call_log.schema import LATENCY_BUCKET_RATIO

if TYPE_CHECKING:
    import duckdb

_MOST_NAMES = 2_000
_Kind = Literal["total", "payload_type", "tier", "model", "slice", "slice_tier", "type_tier"]
_Key = tuple[_Kind, str | tuple[str, str]]

# per rollup: where its tier and model stand, and what is summed
_TIER_OF_CALL = "coalesce(tier_served, tier_planned)"
_CALLS: Final = (
    "rollup_calls",
    _TIER_OF_CALL,
    "model_served",
    {
        "calls": "sum(n)",
        "unanswered": "sum(n) FILTER (status IN ('failed', 'rejected', 'interrupted'))",
        "degraded": "sum(degraded)",
        "escalated": "sum(escalated)",
    },
)
_ATTEMPTS: Final = (
    "rollup_attempts",
    "tier",
    "request_model",
    {
        "attempts": "sum(n)",
        "failed": "sum(n) FILTER (status = 'failed')",
        "invalid": "sum(n) FILTER (status = 'invalid')",
        "spend_nusd": "sum(cost_nusd)",
        "shadow_nusd": "sum(cost_nusd) FILTER (role = 'shadow')",
        "priced": "sum(n_cost)",
    },
)
_OUTCOMES: Final = (
    "rollup_outcomes",
    "tier_served",
    "model_served",
    {
        "labelled": "sum(n_labelled)",
        "wrong": "sum(wrong)",
        "impact_nusd": "sum(impact_nusd)",
        "wrong_unpriced": "sum(wrong_unpriced)",
    },
)
# GROUPING() of (payload_type, tier, model, slice): a set bit = summed over
_KINDS: Final[dict[int, _Kind]] = {
    0b1111: "total",
    0b0111: "payload_type",
    0b1011: "tier",
    0b1101: "model",
    0b1110: "slice",
    0b1010: "slice_tier",
    0b0011: "type_tier",
}
_SETS = "GROUPING SETS ((), (of_type), (of_tier), (of_model), (of_slice), (of_slice, of_tier), (of_type, of_tier))"


def read_span(connection: "duckdb.DuckDBPyConnection") -> Span:
    """Return what the log holds, from its rollups."""
    found = connection.execute(
        """
        SELECT min(hour), max(hour), coalesce(bool_or(hour IS NULL), false), coalesce(sum(calls), 0)
        FROM (SELECT hour, sum(n) AS calls FROM rollup_calls GROUP BY hour
              UNION ALL SELECT DISTINCT hour, 0 FROM rollup_attempts)
        """
    ).fetchone()
    first, last, undated, calls = found if found is not None else (None, None, False, 0)
    return Span(
        first_hour=_aware(first),
        last_hour=_aware(last),
        has_undated=bool(undated),
        calls=int(calls),
        payload_types=_names(connection, "payload_type", "payload_type"),
        tiers=_names(connection, _TIER_OF_CALL, "tier"),
    )


def read_progress(connection: "duckdb.DuckDBPyConnection") -> tuple[dict[str, int], dt.datetime | None]:
    """Return how many bytes of each segment are in the log, and when lines last came in (UTC)."""
    found = connection.execute("SELECT max(progress.at) FROM progress WHERE name = 'ingested'").fetchone()
    return read_offsets(connection), _aware(found[0] if found else None)


def _names(connection: "duckdb.DuckDBPyConnection", of_call: str, of_attempt: str) -> tuple[str, ...]:
    rows = connection.execute(
        f"""
        SELECT coalesce({of_call}, '') AS name FROM rollup_calls
        UNION SELECT coalesce({of_attempt}, '') FROM rollup_attempts
        ORDER BY name LIMIT {_MOST_NAMES}
        """
    ).fetchall()
    return tuple(str(name) for (name,) in rows)


def _aware(moment: dt.datetime | None) -> dt.datetime | None:
    return None if moment is None else moment.replace(tzinfo=dt.UTC)


def _naive(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(tzinfo=None)


def read_overview(connection: "duckdb.DuckDBPyConnection", filters: Filters) -> Overview:
    """Return the first page's sums."""
    pieces = slices(filters.period) if filters.period else ()
    found = _read(connection, filters, [piece.start for piece in pieces])
    return Overview(
        total=found.sums("total"),
        before=_read_before(connection, filters),
        by_type=found.rows("payload_type"),
        by_tier=found.rows("tier"),
        by_model=found.rows("model"),
        points=tuple(
            Point(slice=piece, sums=found.sums("slice", str(i)), spend_by_tier_nusd=found.spend_by_tier(i))
            for i, piece in enumerate(pieces)
        ),
        cells=found.cells(),
    )


def _read_before(connection: "duckdb.DuckDBPyConnection", filters: Filters) -> Sums | None:
    if filters.period is None:
        return None
    before = filters.period.before()
    covered = connection.execute("SELECT min(hour) <= ? FROM rollup_calls", [_naive(before.start)]).fetchone()
    if covered is None or not covered[0]:
        return None
    earlier = Filters(period=before, payload_types=filters.payload_types, tiers=filters.tiers)
    return _read_total(connection, earlier)


def _read_total(connection: "duckdb.DuckDBPyConnection", filters: Filters) -> Sums:
    bound = _bound(filters)
    log = _relations(connection, filters, ())
    found: dict[str, Any] = {}
    for table, tier, _, measures in (_CALLS, _ATTEMPTS, _OUTCOMES):
        summed = ", ".join(measures.values())
        query = f"SELECT {summed} FROM {log[table]} AS log WHERE {_where(tier, filters)}"
        row = connection.execute(query, bound).fetchone() or ()
        found |= {name: value or 0 for name, value in zip(measures, row, strict=True)}
    where = _where("tier_served", filters)
    query = f"SELECT bucket, sum(n) FROM {log['rollup_latency']} AS log WHERE {where} GROUP BY bucket"
    counts = dict(connection.execute(query, bound).fetchall())
    return Sums(p50_ms=bucket_quantile(counts, 0.50), p95_ms=bucket_quantile(counts, 0.95), **found)


def _relations(
    connection: "duckdb.DuckDBPyConnection", filters: Filters, starts: Sequence[dt.datetime]
) -> Mapping[str, str]:
    """Return what to read for each rollup, so that it is cut where the period and its slices begin and end."""
    edges = (filters.period.start, filters.period.end) if filters.period else ()
    return rollups_cut_at(connection, [_naive(instant) for instant in (*edges, *starts)])


class _Found:
    """Measures by kind of group and name, and the spend by slice and tier."""

    def __init__(self) -> None:
        self._measures: dict[_Key, dict[str, Any]] = defaultdict(dict)
        self._spend: dict[int, dict[str, int]] = defaultdict(dict)

    def add(self, kind: _Kind, name: str | tuple[str, str], measures: Mapping[str, Any]) -> None:
        self._measures[kind, name].update(measures)

    def add_spend(self, piece: int, tier: str, spend_nusd: int) -> None:
        self._spend[piece][tier] = spend_nusd

    def sums(self, kind: _Kind, name: str | tuple[str, str] = NO_NAME) -> Sums:
        return Sums(**self._measures.get((kind, name), {}))

    def rows(self, kind: _Kind) -> tuple[Row, ...]:
        named = [Row(name=str(name), sums=self.sums(kind, name)) for of, name in self._measures if of == kind]
        # the latency of an unanswered call has no tier, while the call counts where it was planned
        found = [row for row in named if row.sums.calls or row.sums.attempts]
        return tuple(sorted(found, key=lambda row: (-row.sums.spend_nusd, -row.sums.calls, row.name)))

    def cells(self) -> tuple[Cell, ...]:
        found = [
            Cell(payload_type=name[0], tier=name[1], sums=self.sums("type_tier", name))
            for _, name in self._measures
            if isinstance(name, tuple)
        ]
        return tuple(
            sorted(found, key=lambda cell: (-cell.sums.spend_nusd, -cell.sums.calls, cell.payload_type, cell.tier))
        )

    def spend_by_tier(self, piece: int) -> Mapping[str, int]:
        return dict(self._spend.get(piece, {}))


def _read(connection: "duckdb.DuckDBPyConnection", filters: Filters, starts: Sequence[dt.datetime]) -> _Found:
    found = _Found()
    log = _relations(connection, filters, starts)
    for table, tier, model, measures in (_CALLS, _ATTEMPTS, _OUTCOMES):
        summed = ", ".join(f"{expression} AS {name}" for name, expression in measures.items())
        rows = connection.execute(
            f"""
            WITH chosen AS (
                SELECT log.*, coalesce(payload_type, '') AS of_type, coalesce({tier}, '') AS of_tier,
                    coalesce({model}, '') AS of_model, of_slice
                FROM {log[table]} AS log {_ASOF_SLICE} WHERE {_where(tier, filters)}
            )
            SELECT grouping(of_type, of_tier, of_model, of_slice), of_type, of_tier, of_model, of_slice, {summed}
            FROM chosen GROUP BY {_SETS}
            """,
            _bound(filters, starts),
        ).fetchall()
        for grouping, payload_type, tier_name, model_name, piece, *values in rows:
            kind = _KINDS[grouping]
            if kind == "slice_tier":
                if table == "rollup_attempts" and piece is not None:
                    found.add_spend(piece, tier_name, int(values[list(measures).index("spend_nusd")] or 0))
                continue
            name = {
                "payload_type": payload_type,
                "tier": tier_name,
                "model": model_name,
                "slice": str(piece),
                "type_tier": (payload_type, tier_name),
            }
            found.add(
                kind, name.get(kind, NO_NAME), {key: value or 0 for key, value in zip(measures, values, strict=True)}
            )
    _add_quantiles(connection, filters, starts, log["rollup_latency"], found)
    return found


def _add_quantiles(
    connection: "duckdb.DuckDBPyConnection",
    filters: Filters,
    starts: Sequence[dt.datetime],
    latencies: str,
    found: _Found,
) -> None:
    # The nearest-rank quantile's bucket is the first whose cumulated count reaches the rank. Each side groups by few
    # keys: all of them at once took four times as long on the 1.3 M rows of 10 M calls.
    where = _where("tier_served", filters)
    rows = connection.execute(
        f"""
        WITH by_name AS (
            SELECT coalesce(payload_type, '') AS of_type, coalesce(tier_served, '') AS of_tier, bucket, sum(n) AS n
            FROM {latencies} AS log WHERE {where} AND bucket IS NOT NULL GROUP BY ALL
        ),
        by_hour AS (
            SELECT hour, bucket, sum(n) AS n FROM {latencies} AS log WHERE {where} AND bucket IS NOT NULL GROUP BY ALL
        ),
        counted AS (
            SELECT ['payload_type', 'tier', 'total'][grouping(of_type, of_tier)] AS kind,
                coalesce(of_type, of_tier, '') AS name, bucket, sum(n) AS n
            FROM by_name GROUP BY GROUPING SETS ((bucket), (of_type, bucket), (of_tier, bucket))
            UNION ALL
            SELECT 'slice', of_slice::VARCHAR, bucket, sum(n) FROM by_hour {_ASOF_SLICE} GROUP BY ALL
        ),
        ranked AS (
            SELECT *, sum(n) OVER (PARTITION BY kind, name ORDER BY bucket) AS reached,
                sum(n) OVER (PARTITION BY kind, name) AS whole
            FROM counted
        )
        SELECT kind, name, min(bucket) FILTER (reached >= 0.50 * whole), min(bucket) FILTER (reached >= 0.95 * whole)
        FROM ranked GROUP BY ALL
        """,
        _bound(filters, starts),
    ).fetchall()
    for kind, name, middle, high in rows:
        found.add(kind, name, {"p50_ms": _middle_ms(middle), "p95_ms": _middle_ms(high)})


def _middle_ms(bucket: int) -> float:
    return LATENCY_BUCKET_RATIO ** (bucket + 0.5)


# of_slice = index of the last start at or before the hour
_ASOF_SLICE = """
    ASOF LEFT JOIN (
        SELECT unnest($starts::TIMESTAMP[]) AS start, generate_subscripts($starts::TIMESTAMP[], 1) - 1 AS of_slice
    ) ON hour >= start
"""


def _where(tier: str, filters: Filters) -> str:
    parts = ["hour >= $first AND hour < $until" if filters.period else "hour IS NULL"]
    if filters.payload_types:
        parts.append("list_contains($payload_types::VARCHAR[], coalesce(payload_type, ''))")
    if filters.tiers:
        parts.append(f"list_contains($tiers::VARCHAR[], coalesce({tier}, ''))")
    return " AND ".join(parts)


def _bound(filters: Filters, starts: Sequence[dt.datetime] | None = None) -> dict[str, Any]:
    bound: dict[str, Any] = {} if starts is None else {"starts": [_naive(start) for start in starts]}
    if filters.period:
        bound |= {"first": _naive(filters.period.start), "until": _naive(filters.period.end)}
    if filters.payload_types:
        bound["payload_types"] = list(filters.payload_types)
    if filters.tiers:
        bound["tiers"] = list(filters.tiers)
    return bound
