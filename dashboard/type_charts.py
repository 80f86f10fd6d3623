"""Figures of payload types: cost against wrong answers, the break-even meter, the reliability curve."""

import math
from collections.abc import Sequence
from typing import Final

import plotly.graph_objects as go

from dashboard import format as fmt
from dashboard.break_even import BreakEven
from dashboard.charts import HEIGHT_PX, Theme, TierLook, finished, safe
from dashboard.drilldown import Reliability
from dashboard.sums import Cell

MOST_MARKS: Final = 500
_SYMBOLS: Final = {"": "circle", "/": "diamond", "x": "square", ".": "triangle-up", "\\": "star", "+": "cross"}
_INK: Final = {"light": "#31333F", "dark": "#FAFAFA"}
_GREY: Final = {"light": "#6B6B6B", "dark": "#A8A8A8"}
_SMALLEST_PX, _LARGEST_PX = 8, 44


def cost_against_wrong(cells: Sequence[Cell], looks: Sequence[TierLook]) -> go.Figure:
    """Return marks of payload types in tiers: USD per 1,000 attempts across (log), wrong rate up, size = calls.

    Cells without labels or known costs have no place on it.
    """
    placed = [cell for cell in cells if cell.sums.wrong_rate is not None and cell.sums.cost_per_1k_attempts_nusd]
    most = max((cell.sums.calls for cell in placed), default=1) or 1
    figure = go.Figure()
    for look in looks:
        mine = [cell for cell in placed[:MOST_MARKS] if cell.tier == look.tier]
        if not mine:
            continue
        figure.add_scatter(
            x=[_usd(cell.sums.cost_per_1k_attempts_nusd) for cell in mine],
            y=[(cell.sums.wrong_rate or 0.0) * 100 for cell in mine],
            mode="markers",
            cliponaxis=False,
            name=look.label,
            marker={
                "color": look.colour,
                "symbol": _SYMBOLS.get(look.pattern, "circle"),
                "size": [
                    _SMALLEST_PX + (_LARGEST_PX - _SMALLEST_PX) * math.sqrt(cell.sums.calls / most) for cell in mine
                ],
                "opacity": 0.8,
            },
            customdata=[_cell_words(cell) for cell in mine],
            hovertemplate="%{customdata}<extra>" + look.label + "</extra>",
        )
    finished(figure, y_title="Wrong answers", suffix="%")
    return figure.update_layout(
        hovermode="closest",
        xaxis={
            "type": "log",
            "title": {"text": "USD per 1,000 attempts (logarithmic)"},
            "tickprefix": "$",
            "dtick": "D2",
            "hoverformat": None,
        },
    )


def _cell_words(cell: Cell) -> str:
    sums = cell.sums
    parts = (
        safe(cell.payload_type or "(none)"),
        f"{fmt.usd(_usd(sums.cost_per_1k_attempts_nusd))} per 1k attempts",
        f"wrong {fmt.rate(sums.wrong_rate)}, {fmt.rate_interval(sums.wrong_interval)}",
        f"{fmt.count(sums.labelled)} labels, {fmt.plural(sums.calls, 'call')}",
    )
    return "<br>".join(parts)


def break_even_meter(steps: Sequence[BreakEven], theme: Theme) -> go.Figure:
    """Return one line per pair of tiers: where the saving is used up, and where the wrong answers are."""
    figure = go.Figure()
    rows = [f"{safe(step.dearer)} → {safe(step.cheaper)}" for step in steps]
    known = [(row, step) for row, step in zip(rows, steps, strict=True) if step.difference is not None]
    figure.add_scatter(
        x=[(step.difference or 0.0) * 100 for _, step in known],
        y=[row for row, _ in known],
        mode="markers",
        name="wrong answers: difference, 95% interval",
        marker={"symbol": "circle", "size": 11, "color": _INK[theme]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [((step.interval or (0.0, 0.0))[1] - (step.difference or 0.0)) * 100 for _, step in known],
            "arrayminus": [((step.difference or 0.0) - (step.interval or (0.0, 0.0))[0]) * 100 for _, step in known],
            "color": _INK[theme],
            "thickness": 2,
            "width": 6,
        },
        customdata=[_pp(step.difference) for _, step in known],
        hovertemplate="%{customdata}<extra>difference</extra>",
    )
    priced = [(row, step.point) for row, step in zip(rows, steps, strict=True) if step.point is not None]
    figure.add_scatter(
        x=[point * 100 for _, point in priced],
        y=[row for row, _ in priced],
        mode="markers",
        name="break-even",
        marker={"symbol": "line-ns-open", "size": 26, "line": {"width": 4}, "color": "#AA7A00"},
        customdata=[_pp(point) for _, point in priced],
        hovertemplate="%{customdata}<extra>break-even</extra>",
    )
    finished(figure, y_title="")
    figure.update_layout(
        height=120 + 60 * max(1, len(steps)),
        hovermode="closest",
        xaxis={
            "type": "linear",
            "title": {"text": "More wrong answers at the cheaper tier, percentage points"},
            "zeroline": True,
            "hoverformat": None,
        },
        yaxis={"type": "category", "title": {"text": ""}, "tickprefix": "", "rangemode": "normal"},
    )
    return figure


def break_even_words(steps: Sequence[BreakEven]) -> str:
    """Return what the meter shows, in a sentence per pair of tiers."""
    return " ".join(
        f"From {fmt.logged(step.dearer)} to {fmt.logged(step.cheaper)}: break-even at {_pp(step.point)}, observed "
        f"{_pp(step.difference)}."
        for step in steps
    )


def reliability_curve(curve: Reliability, theme: Theme) -> go.Figure:
    """Return the share of right answers over confidence, with 95 % intervals, and the line on which they agree."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="confidence = share right",
        line={"color": _GREY[theme], "dash": "dot", "width": 1.5},
        hoverinfo="skip",
    )
    bins = curve.bins
    most = max(each.calls for each in bins)
    figure.add_scatter(
        x=[each.confidence for each in bins],
        y=[each.correct for each in bins],
        mode="lines+markers",
        name="answers",
        line={"color": _INK[theme], "width": 2},
        marker={"size": [6 + 12 * math.sqrt(each.calls / most) for each in bins], "color": _INK[theme]},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [each.interval[1] - each.correct for each in bins],
            "arrayminus": [each.correct - each.interval[0] for each in bins],
            "color": _INK[theme],
            "thickness": 1,
            "width": 3,
        },
        customdata=[
            f"{fmt.rate(each.correct)} of {fmt.plural(each.calls, 'answer')} right at confidence {each.confidence:.2f}"
            for each in bins
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    finished(figure, y_title="Share right")
    return figure.update_layout(
        height=HEIGHT_PX,
        hovermode="closest",
        xaxis={
            "type": "linear",
            "range": [0, 1.02],
            "title": {"text": "Confidence"},
            "dtick": 0.2,
            "hoverformat": None,
        },
        yaxis={"range": [0, 1.02], "dtick": 0.2, "title": {"text": "Share right"}, "tickformat": ".0%"},
    )


def reliability_words(curve: Reliability) -> str:
    """Return what the curve shows, in a sentence."""
    parts = "; ".join(
        f"at {each.confidence:.2f} {fmt.rate(each.correct)} of {fmt.count(each.calls)}" for each in curve.bins
    )
    return f"Share of right answers by confidence: {parts}."


def _pp(fraction: float | None) -> str:
    return fmt.points_of(fraction)


def _usd(nusd: float | None) -> float:
    return 0.0 if nusd is None else nusd / fmt.NANO
