"""Figures of budgets: spend against its limit."""

from collections.abc import Sequence
from typing import Final

import plotly.graph_objects as go

from dashboard import format as fmt
from dashboard.charts import Theme, finished
from dashboard.sums import Point

_SPEND: Final = {"light": "#2458A6", "dark": "#8FBFFF"}
_INK: Final = {"light": "#31333F", "dark": "#FAFAFA"}


def spend_against_limit(points: Sequence[Point], limit_usd: float, theme: Theme) -> go.Figure:
    """Return bars of spend per day with the limit as a line, and marks on days on which calls were degraded."""
    days = [point.slice.first.isoformat() for point in points]
    spend = [point.sums.spend_nusd / fmt.NANO for point in points]
    figure = go.Figure()
    figure.add_bar(
        x=days,
        y=spend,
        name="spend",
        marker={"color": _SPEND[theme]},
        customdata=[fmt.usd(amount) for amount in spend],
        hovertemplate="%{customdata}<extra>spend</extra>",
    )
    figure.add_scatter(
        x=days,
        y=[limit_usd] * len(days),
        mode="lines",
        name=f"limit {fmt.usd(limit_usd)}",
        line={"color": _INK[theme], "dash": "dash", "width": 1.5},
        hoverinfo="skip",
    )
    hit = [i for i, point in enumerate(points) if point.sums.degraded]
    if hit:
        above = 0.05 * max([*spend, limit_usd])
        figure.add_scatter(
            x=[days[i] for i in hit],
            y=[max(spend[i], limit_usd) + above for i in hit],
            mode="markers",
            name="calls degraded",
            marker={"symbol": "triangle-down", "size": 10, "color": _INK[theme]},
            customdata=[fmt.plural(points[i].sums.degraded, "degraded call") for i in hit],
            hovertemplate="%{customdata}<extra></extra>",
        )
    figure.update_layout(bargap=0.15, hovermode="x unified")
    return finished(figure, y_title="USD per day", dollars=True)


def spend_words(points: Sequence[Point], limit_usd: float) -> str:
    """Return what the chart shows, in a sentence."""
    over = sum(1 for point in points if point.sums.spend_nusd >= limit_usd * fmt.NANO)
    total = sum(point.sums.spend_nusd for point in points)
    return (
        f"Bars of spend per day, {fmt.usd(fmt.nusd(total))} in all, against a limit of {fmt.usd(limit_usd)} a day, "
        f"which {fmt.plural(over, 'day')} reached."
    )
