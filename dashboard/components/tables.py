"""Tables: sortable numbers on the page, the same rows as CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import streamlit as st

from dashboard import format as fmt
from dashboard.impact import Estimate
from dashboard.security import csv_cell
from dashboard.sums import NO_NAME, Cell, Point, Row

Kind = Literal["text", "count", "number", "points", "more", "fraction", "usd", "rate", "ms", "exact_ms"]
Value = str | float | None
MOST_ROWS = 1_000
_FORMATS = {
    "count": "%,d",
    "number": "%,.1f",
    "points": "%+.2f",
    "more": "%+d",
    "fraction": "%.3f",
    "rate": "%.2f%%",
    "ms": "≈ %,.0f ms",
    "exact_ms": "%,.0f ms",
}
_FIRST_LINE_PX, _NEXT_LINE_PX = 35, 22
_MOST_TALL_ROWS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        title: On the page.
        name: In the CSV, with its unit.
        kind: How its values are shown: USD as numbers, rates as fractions, latencies in milliseconds.
        help: What it means.
    """

    title: str
    name: str
    kind: Kind
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and rows of plain values; ``rows`` has shape ``(n_rows, n_columns)``."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def csv(self) -> str:
        """Return all rows as CSV, text cells safe in a spreadsheet."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        for row in self.rows:
            writer.writerow([csv_cell(value) for value in row])
        return out.getvalue()

    def parquet(self) -> bytes:
        """Return all rows as Parquet, text as it is: nothing runs what is in a cell there."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            column.name: pa.array([row[i] for row in self.rows], pa.string() if column.kind == "text" else pa.float64())
            for i, column in enumerate(self.columns)
        }
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out)
        return out.getvalue()


def show(
    table: Table,
    *,
    key: str,
    alt: str,
    lines: int = 1,
    pick: bool = False,
    trends: Sequence[Sequence[float]] | None = None,
) -> int | None:
    """Draw a table, at most 1,000 rows of it, and return which row was picked.

    Args:
        table: What to show.
        key: Its stable name.
        alt: What it holds, in a few words.
        lines: How many lines a row has; long text is wrapped over them.
        pick: Whether a row can be picked.
        trends: One series per row, drawn as a small line in a last column; None = no such column.
    """
    shown = table.rows[:MOST_ROWS]
    data: dict[str, Any] = {
        column.title: [_shown(row[i], column.kind) for row in shown] for i, column in enumerate(table.columns)
    }
    config = {
        column.title: _config(column, [row[i] for row in shown], pinned=i == 0)
        for i, column in enumerate(table.columns)
    }
    if trends is not None:
        data["Trend"] = [list(trend) for trend in trends[:MOST_ROWS]]
        config["Trend"] = st.column_config.LineChartColumn("Trend", help="Spend over the period", y_min=0)
    options: dict[str, Any] = (
        {"on_select": "rerun", "selection_mode": "single-row", "key": f"{key}_rows"} if pick else {}
    )
    with st.container(key=key):
        drawn = st.dataframe(
            pd.DataFrame(data),
            hide_index=True,
            column_config=config,
            placeholder=fmt.NOTHING,
            alt=alt,
            height="content" if lines > 1 and len(shown) <= _MOST_TALL_ROWS else "auto",
            row_height=None if lines == 1 else _FIRST_LINE_PX + _NEXT_LINE_PX * (lines - 1),
            **options,
        )
        if len(table.rows) > len(shown):
            st.caption(f"The first {len(shown):,} of {len(table.rows):,} rows; the CSV has them all.")
    picked = list(drawn.selection.rows) if pick else []
    return picked[0] if picked else None


def download(table: Table | Callable[[], Table], *, key: str, stem: str) -> None:
    """Draw buttons that download all rows as CSV and as Parquet; a function is asked for them when one is clicked."""
    made = table if callable(table) else lambda: table
    with st.container(horizontal=True, width="content", gap="small"):
        for word, mime, of in (
            ("CSV", "text/csv", lambda: made().csv()),
            ("Parquet", "application/vnd.apache.parquet", lambda: made().parquet()),
        ):
            st.download_button(
                word,
                of,
                f"{stem}.{word.lower()}",
                mime,
                key=key if word == "CSV" else f"{key}_parquet",
                on_click="ignore",
                icon=":material/download:",
                type="tertiary",
            )


def _shown(value: Value, kind: Kind) -> Value:
    if isinstance(value, str):
        return fmt.logged(value)
    return value * 100 if value is not None and kind == "rate" else value


def _config(column: Column, values: Sequence[Value], *, pinned: bool) -> Any:
    if column.kind == "text":
        return st.column_config.TextColumn(column.title, help=column.help, pinned=pinned)
    return st.column_config.NumberColumn(column.title, help=column.help, format=_number_format(column.kind, values))


def _number_format(kind: Kind, values: Sequence[Value]) -> str:
    if kind == "usd":
        if any(isinstance(value, int | float) and value < 0 for value in values) and _reaches_a_dollar(values):
            return "dollar"  # a printf form would write $-2.00
        sizes = [abs(value) for value in values if isinstance(value, int | float) and value]
        # enough for the smallest, yet not a row of zeros behind each large amount
        decimals = min(fmt.money_decimals(min(sizes)), max(4, fmt.money_decimals(max(sizes)))) if sizes else 2
        return f"$%,.{decimals}f"
    return _FORMATS[kind]


def _reaches_a_dollar(values: Sequence[Value]) -> bool:
    return max((abs(value) for value in values if isinstance(value, int | float)), default=0.0) >= 1


_Measure = tuple[Column, Callable[[Any], Value]]


def _usd(nusd: float | None) -> float | None:
    return None if nusd is None else nusd / fmt.NANO


def _rate_columns() -> tuple[_Measure, ...]:
    return (
        (
            Column(title="Failed", name="failed_rate", kind="rate", help="Share of attempts whose request failed"),
            lambda sums: sums.failed_rate,
        ),
        (
            Column(title="Invalid", name="invalid_rate", kind="rate", help="Share of attempts that failed a check"),
            lambda sums: sums.invalid_rate,
        ),
        (
            Column(title="Wrong", name="wrong_rate", kind="rate", help="Share of labelled answers that were wrong"),
            lambda sums: sums.wrong_rate,
        ),
        (
            Column(title="95% interval", name="wrong_rate_95", kind="text", help="Of the wrong rate (Wilson)"),
            lambda sums: fmt.rate_interval(sums.wrong_interval).removesuffix(" (95%)"),
        ),
        (
            Column(title="Labelled", name="labelled", kind="count", help="Served calls with an outcome"),
            lambda sums: sums.labelled,
        ),
    )


def _latency_columns() -> tuple[_Measure, ...]:
    return (
        (Column(title="p50", name="p50_ms", kind="ms", help="Median latency of calls"), lambda sums: sums.p50_ms),
        (Column(title="p95", name="p95_ms", kind="ms", help="95th percentile"), lambda sums: sums.p95_ms),
    )


def _impact_columns(price_nusd: int | None) -> tuple[_Measure, ...]:
    return (
        (
            Column(
                title="Observed impact", name="observed_impact_usd", kind="usd", help="What labelled wrong answers cost"
            ),
            lambda sums: _usd(sums.impact_with(price_nusd)) if sums.labelled else None,
        ),
        (
            Column(title="Total cost", name="total_cost_usd", kind="usd", help="Spend plus observed impact"),
            lambda sums: _usd(sums.spend_nusd + sums.impact_with(price_nusd)),
        ),
    )


def _spend_columns(whole_nusd: int) -> tuple[_Measure, ...]:
    return (
        (Column(title="Spend", name="spend_usd", kind="usd"), lambda sums: _usd(sums.spend_nusd)),
        (
            Column(title="Share", name="spend_share", kind="rate", help="Of the spend in this table"),
            lambda sums: sums.spend_nusd / whole_nusd if whole_nusd else None,
        ),
    )


def _detail_columns() -> tuple[_Measure, ...]:
    return (
        (
            Column(title="Failed, 95%", name="failed_rate_95", kind="text", help="Of the failed rate (Wilson)"),
            lambda sums: fmt.rate_interval(sums.failed_interval).removesuffix(" (95%)"),
        ),
        (
            Column(title="Invalid, 95%", name="invalid_rate_95", kind="text", help="Of the invalid rate (Wilson)"),
            lambda sums: fmt.rate_interval(sums.invalid_interval).removesuffix(" (95%)"),
        ),
        (
            Column(title="Coverage", name="label_coverage", kind="rate", help="Answered calls that have a label"),
            lambda sums: sums.coverage,
        ),
    )


def with_estimates(table: Table, estimates: Sequence[Estimate]) -> Table:
    """Return a table with the estimated impact of each row behind its other columns: a second number, never a sum."""
    columns = (
        Column(
            title="Estimated impact",
            name="estimated_impact_usd",
            kind="usd",
            help="Observed impact plus what is expected among answers without a label",
        ),
        Column(title="Estimate, 95%", name="estimated_impact_usd_95", kind="text", help="Interval of the estimate"),
        Column(
            title="Unknown calls",
            name="unknown_calls",
            kind="count",
            help="Answered calls of a payload type and tier without any label or price: in no estimate",
        ),
    )
    rows = tuple((*row, *(_estimate_cells(each))) for row, each in zip(table.rows, estimates, strict=True))
    return Table(columns=(*table.columns, *columns), rows=rows)


def _estimate_cells(found: Estimate) -> tuple[Value, ...]:
    if not found.says_anything:
        return None, fmt.NOTHING, found.unknown
    return _usd(found.mean_nusd), estimate_interval(found).removesuffix(" (95%)"), found.unknown


def estimate_interval(found: Estimate) -> str:
    """Return the 95 % interval of an estimated impact, ``$3.10 to $4.80 (95%)``."""
    low, high = _usd(found.low_nusd), _usd(found.high_nusd)
    return f"{fmt.usd_short(low)} to {fmt.usd_short(high)} (95%)"


def by_type(rows: Sequence[Row], *, price_nusd: int | None, detail: bool = False) -> Table:
    """Return one row per payload type; in detail with the intervals of all rates and the label coverage."""
    measures: tuple[_Measure, ...] = (
        (Column(title="Calls", name="calls", kind="count"), lambda sums: sums.calls),
        *_spend_columns(sum(row.sums.spend_nusd for row in rows)),
        (
            Column(title="Cost per 1k", name="cost_per_1k_calls_usd", kind="usd", help="Spend per 1,000 calls"),
            lambda sums: _usd(sums.cost_per_1k_nusd),
        ),
        *_impact_columns(price_nusd),
        *_latency_columns(),
        *_rate_columns(),
        (
            Column(title="Degraded", name="degraded", kind="count", help="Calls moved down by a limit"),
            lambda sums: sums.degraded,
        ),
        *(_detail_columns() if detail else ()),
    )
    return _table(Column(title="Payload type", name="payload_type", kind="text"), rows, measures)


def by_tier(
    rows: Sequence[Row], *, price_nusd: int | None, title: str = "Tier", latency: bool = True, detail: bool = False
) -> Table:
    """Return one row per tier (or model): what was spent there, and how the calls it served went."""
    return _table(
        Column(title=title, name=title.lower(), kind="text"),
        rows,
        _at_tier(rows, price_nusd, latency=latency, detail=detail),
    )


def by_type_and_tier(cells: Sequence[Cell], *, price_nusd: int | None) -> Table:
    """Return one row per payload type and tier."""
    rows = [Row(name=cell.payload_type, sums=cell.sums) for cell in cells]
    table = _table(
        Column(title="Payload type", name="payload_type", kind="text"),
        rows,
        _at_tier(rows, price_nusd, latency=False, detail=True),
    )
    tier = Column(title="Tier", name="tier", kind="text")
    return Table(
        columns=(table.columns[0], tier, *table.columns[1:]),
        rows=tuple((row[0], cell.tier or "(none)", *row[1:]) for row, cell in zip(table.rows, cells, strict=True)),
    )


def _at_tier(rows: Sequence[Row], price_nusd: int | None, *, latency: bool, detail: bool) -> tuple[_Measure, ...]:
    return (
        (Column(title="Attempts", name="attempts", kind="count", help="Of all roles"), lambda sums: sums.attempts),
        *_spend_columns(sum(row.sums.spend_nusd for row in rows)),
        (
            Column(
                title="Cost per 1k",
                name="cost_per_1k_attempts_usd",
                kind="usd",
                help="Mean known cost per 1,000 attempts",
            ),
            lambda sums: _usd(sums.cost_per_1k_attempts_nusd),
        ),
        (
            Column(
                title="Calls served", name="calls_served", kind="count", help="Unanswered calls count where planned"
            ),
            lambda sums: sums.calls,
        ),
        *_impact_columns(price_nusd),
        *(_latency_columns() if latency else ()),
        *_rate_columns(),
        *(_detail_columns() if detail else ()),
    )


def over_time(
    points: Sequence[Point], tiers: Mapping[str, str], *, parts: Sequence[int], price_nusd: int | None = None
) -> Table:
    """Return one row per day, week or month; ``tiers`` maps tiers to their titles, in order."""
    measures = (*_impact_columns(price_nusd), *_rate_columns(), *_latency_columns())
    columns = (
        Column(title="From", name="from", kind="text"),
        Column(title="Spend", name="spend_usd", kind="usd"),
        *(Column(title=title, name=f"spend_{title}_usd", kind="usd") for title in tiers.values()),
        Column(title="Calls", name="calls", kind="count"),
        Column(title="Degraded", name="degraded", kind="count", help="Calls moved down by a limit"),
        *(column for column, _ in measures),
        Column(title="Whole", name="whole", kind="text", help="Whether the data cover all of it"),
    )
    rows = tuple(
        (
            point.slice.first.isoformat(),
            _usd(point.sums.spend_nusd),
            *(_usd(point.spend_by_tier_nusd.get(tier, 0)) for tier in tiers),
            point.sums.calls,
            point.sums.degraded,
            *(measure(point.sums) for _, measure in measures),
            "part" if i in parts else "whole",
        )
        for i, point in enumerate(points)
    )
    return Table(columns=columns, rows=rows)


def _table(name: Column, rows: Sequence[Row], measures: tuple[_Measure, ...]) -> Table:
    return Table(
        columns=(name, *(column for column, _ in measures)),
        rows=tuple(
            (row.name if row.name != NO_NAME else "(none)", *(measure(row.sums) for _, measure in measures))
            for row in rows
        ),
    )
