"""Tables: sortable numbers on the page, the same rows as CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import streamlit as st

from dashboard import format as fmt
from dashboard.security import csv_cell
from dashboard.sums import NO_NAME, Point, Row

Kind = Literal["text", "count", "number", "usd", "rate", "ms"]
Value = str | float | None
MOST_ROWS = 1_000
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


def show(table: Table, *, key: str, alt: str, lines: int = 1) -> None:
    """Draw a table, at most 1,000 rows of it; long text is wrapped over as many lines as a row has."""
    shown = table.rows[:MOST_ROWS]
    data = {column.title: [_shown(row[i], column.kind) for row in shown] for i, column in enumerate(table.columns)}
    config = {
        column.title: _config(column, [row[i] for row in shown], pinned=i == 0)
        for i, column in enumerate(table.columns)
    }
    with st.container(key=key):
        st.dataframe(
            pd.DataFrame(data),
            hide_index=True,
            column_config=config,
            placeholder=fmt.NOTHING,
            alt=alt,
            height="content" if lines > 1 and len(shown) <= _MOST_TALL_ROWS else "auto",
            row_height=None if lines == 1 else _FIRST_LINE_PX + _NEXT_LINE_PX * (lines - 1),
        )
        if len(table.rows) > len(shown):
            st.caption(f"The first {len(shown):,} of {len(table.rows):,} rows; the CSV has them all.")


def download(table: Table | Callable[[], Table], *, key: str, file_name: str) -> None:
    """Draw a button that downloads all rows as CSV; a function is asked for them when it is clicked."""
    made = table.csv if isinstance(table, Table) else lambda: table().csv()
    st.download_button(
        "CSV", made, file_name, "text/csv", key=key, on_click="ignore", icon=":material/download:", type="tertiary"
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
    return {"count": "%,d", "number": "%,.1f", "rate": "%.2f%%", "ms": "≈ %,.0f ms"}[kind]


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


def by_type(rows: Sequence[Row], *, price_nusd: int | None) -> Table:
    """Return one row per payload type."""
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
    )
    return _table(Column(title="Payload type", name="payload_type", kind="text"), rows, measures)


def by_tier(rows: Sequence[Row], *, price_nusd: int | None, title: str = "Tier", latency: bool = True) -> Table:
    """Return one row per tier (or model): what was spent there, and how the calls it served went."""
    measures: tuple[_Measure, ...] = (
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
    )
    return _table(Column(title=title, name=title.lower(), kind="text"), rows, measures)


def over_time(points: Sequence[Point], tiers: Mapping[str, str], *, parts: Sequence[int]) -> Table:
    """Return one row per day, week or month; ``tiers`` maps tiers to their titles, in order."""
    columns = (
        Column(title="From", name="from", kind="text"),
        Column(title="Spend", name="spend_usd", kind="usd"),
        *(Column(title=title, name=f"spend_{title}_usd", kind="usd") for title in tiers.values()),
        Column(title="Calls", name="calls", kind="count"),
        Column(title="Degraded", name="degraded", kind="count", help="Calls moved down by a limit"),
        *(column for column, _ in (*_rate_columns(), *_latency_columns())),
        Column(title="Whole", name="whole", kind="text", help="Whether the data cover all of it"),
    )
    rows = tuple(
        (
            point.slice.first.isoformat(),
            _usd(point.sums.spend_nusd),
            *(_usd(point.spend_by_tier_nusd.get(tier, 0)) for tier in tiers),
            point.sums.calls,
            point.sums.degraded,
            *(measure(point.sums) for _, measure in (*_rate_columns(), *_latency_columns())),
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
