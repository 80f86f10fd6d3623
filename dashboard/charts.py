"""Figures: sums in, Plotly figures out. Logged names are escaped here, because Plotly reads HTML."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import plotly.graph_objects as go

from dashboard import format as fmt
from dashboard.periods import Grain
from dashboard.sums import NO_NAME, Point, Sums

Theme = Literal["light", "dark"]
HEIGHT_PX: Final = 320
_CONFIG: Final = {"displaylogo": False, "displayNotifier": False, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
FEW_LABELS: Final = 30
NO_TIER: Final = "(no tier)"

# least distance of the first three under protan, deutan and tritan simulation: ΔE 28 on white, 19 on dark
_LIGHT: Final = ("#4477AA", "#AA7A00", "#882255", "#117733", "#5B4A9F", "#A0522D")
_DARK: Final = ("#6699CC", "#DDAA33", "#EE6699", "#44BB99", "#AA99EE", "#E08A5A")
_NEUTRAL: Final = {"light": "#6B6B6B", "dark": "#A8A8A8"}
_PATTERNS: Final = ("", "/", "x", ".", "\\", "+")
_INK: Final = {"light": "#31333F", "dark": "#FAFAFA"}
_PATTERN_INK: Final = {"light": "rgba(255,255,255,0.6)", "dark": "rgba(14,17,23,0.5)"}
_PART_OPACITY = 0.45


def config(stem: str) -> dict[str, object]:
    """Return how a figure behaves in the browser: its picture is a PNG of twice the size, named ``stem``."""
    return {**_CONFIG, "toImageButtonOptions": {"format": "png", "scale": 2, "filename": stem}}


@dataclass(frozen=True, slots=True, kw_only=True)
class TierLook:
    """How one tier is drawn, everywhere.

    Attributes:
        tier: The tier, ``NO_NAME`` for none.
        label: Its name, safe in Plotly.
        colour: CSS colour.
        pattern: Plotly's pattern shape, "" for solid.
    """

    tier: str
    label: str
    colour: str
    pattern: str


def tier_looks(tiers: Sequence[str], theme: Theme) -> tuple[TierLook, ...]:
    """Return a look per tier; ``tiers`` are ordered, cheapest first.

    The cheapest, the middle and the dearest keep the same three looks whatever their number.
    """
    named = [tier for tier in tiers if tier != NO_NAME]
    colours = _LIGHT if theme == "light" else _DARK
    looks = [
        TierLook(tier=tier, label=safe(tier), colour=colours[place], pattern=_PATTERNS[place])
        for tier, place in zip(named, _places(len(named)), strict=True)
    ]
    if len(named) < len(tiers):
        looks.append(TierLook(tier=NO_NAME, label=NO_TIER, colour=_NEUTRAL[theme], pattern="-"))
    return tuple(looks)


def _places(number: int) -> list[int]:
    if number <= 1:
        return [0] * number
    between = [1, *(3 + i % 3 for i in range(number))][: number - 2]
    return [0, *between, 2]


def safe(name: str) -> str:
    """Return a logged name so that Plotly shows it letter by letter."""
    return html.escape(fmt.logged(name, longest=40))


def spend_over_time(
    points: Sequence[Point], looks: Sequence[TierLook], theme: Theme, *, grain: Grain, parts: Sequence[int] = ()
) -> go.Figure:
    """Return stacked bars of spend by tier.

    Args:
        points: One per day, week or month.
        looks: Tiers from the bottom of the stack to its top.
        theme: The page's theme.
        grain: What one bar stands for.
        parts: Indices of points that the data do not fill; drawn pale.
    """
    days = [point.slice.first.isoformat() for point in points]
    pale = [_PART_OPACITY if i in parts else 1.0 for i in range(len(points))]
    figure = go.Figure()
    for look in looks:
        spend = [_usd(point.spend_by_tier_nusd.get(look.tier, 0)) for point in points]
        figure.add_bar(
            x=days,
            y=spend,
            name=look.label,
            marker={
                "color": look.colour,
                "opacity": pale,
                "pattern": {
                    "shape": look.pattern,
                    "fillmode": "overlay",
                    "fgcolor": _PATTERN_INK[theme],
                    "size": 6,
                    "solidity": 0.2,
                },
            },
            customdata=[fmt.usd(amount) for amount in spend],
            hovertemplate="%{customdata}<extra>" + look.label + "</extra>",
        )
    _mark_limit_days(figure, points, days, theme)
    figure.update_layout(barmode="stack", bargap=0.15, hovermode="x unified")
    return finished(figure, y_title=f"USD per {grain}", dollars=True)


def _mark_limit_days(figure: go.Figure, points: Sequence[Point], days: Sequence[str], theme: Theme) -> None:
    hit = [i for i, point in enumerate(points) if point.sums.degraded]
    if not hit:
        return
    top = max(_usd(point.sums.spend_nusd) for point in points)
    figure.add_scatter(
        x=[days[i] for i in hit],
        y=[_usd(points[i].sums.spend_nusd) + top * 0.05 for i in hit],
        mode="markers",
        name="limit hit",
        marker={"symbol": "triangle-down", "size": 10, "color": _INK[theme]},
        customdata=[fmt.plural(points[i].sums.degraded, "degraded call") for i in hit],
        hovertemplate="%{customdata}<extra>limit hit</extra>",
    )


_IMPACT: Final = {"light": "#B3261E", "dark": "#F2A09A"}
_SPEND: Final = {"light": "#2458A6", "dark": "#8FBFFF"}


def total_cost_over_time(
    points: Sequence[Point], theme: Theme, *, grain: Grain, price_nusd: int | None, parts: Sequence[int] = ()
) -> go.Figure:
    """Return stacked bars of spend and, above it, of the observed error impact.

    Args:
        points: One per day, week or month.
        theme: The page's theme.
        grain: What one bar stands for.
        price_nusd: The reader's price of a wrong answer that carries none.
        parts: Indices of points that the data do not fill; drawn pale.
    """
    days = [point.slice.first.isoformat() for point in points]
    pale = [_PART_OPACITY if i in parts else 1.0 for i in range(len(points))]
    figure = go.Figure()
    for name, colour, pattern, amounts in (
        ("spend", _SPEND[theme], "", [_usd(point.sums.spend_nusd) for point in points]),
        ("observed impact", _IMPACT[theme], "x", [_usd(point.sums.impact_with(price_nusd)) for point in points]),
    ):
        figure.add_bar(
            x=days,
            y=amounts,
            name=name,
            marker={
                "color": colour,
                "opacity": pale,
                "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": _PATTERN_INK[theme], "size": 6},
            },
            customdata=[fmt.usd(amount) for amount in amounts],
            hovertemplate="%{customdata}<extra>" + name + "</extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.15, hovermode="x unified")
    return finished(figure, y_title=f"USD per {grain}", dollars=True)


_RATES: Final = (
    ("wrong", "circle", "solid", {"light": "#B3261E", "dark": "#F2A09A"}),
    ("invalid", "diamond", "dot", {"light": "#8A5A00", "dark": "#E0B44C"}),
    ("failed", "square", "dash", {"light": "#2458A6", "dark": "#8FBFFF"}),
)


def rates_over_time(points: Sequence[Point], theme: Theme) -> go.Figure:
    """Return lines of the wrong (with 95 % interval), invalid and failed rates, percent.

    Wrong rates of fewer than 30 labels are hollow, and the axis need not hold them: the last days' labels are still
    to come, and their intervals would press everything else flat.
    """
    days = [point.slice.first.isoformat() for point in points]
    figure = go.Figure()
    for name, symbol, dash, colours in _RATES:
        rates = [_rate(point.sums, name) for point in points]
        figure.add_scatter(
            x=days,
            y=[None if rate is None else rate * 100 for rate in rates],
            name=name,
            mode="lines+markers",
            line={"color": colours[theme], "dash": dash, "width": 2},
            marker={"symbol": [symbol + _hollow(point, name) for point in points], "size": 6},
            error_y=_wilson_bars(points, colours[theme]) if name == "wrong" else None,
            customdata=[_rate_words(point.sums, name) for point in points],
            hovertemplate="%{customdata}<extra>" + name + "</extra>",
        )
    figure.update_layout(hovermode="x unified")
    finished(figure, y_title="Percent", suffix="%")
    return figure.update_yaxes(range=[0, max(_highest(points), 0.001) * 105])


def has_few_labels(point: Point) -> bool:
    """Return whether a point's wrong rate rests on so few labels that it says little."""
    return 0 < point.sums.labelled < FEW_LABELS


def _hollow(point: Point, name: str) -> str:
    return "-open" if name == "wrong" and has_few_labels(point) else ""


def _highest(points: Sequence[Point]) -> float:
    firm = [point for point in points if not has_few_labels(point)] or points
    intervals = [point.sums.wrong_interval for point in firm]
    rates = [point.sums.invalid_rate for point in points] + [point.sums.failed_rate for point in points]
    return max([high for _, high in filter(None, intervals)] + [rate for rate in rates if rate], default=0.0)


def _rate(sums: Sums, name: str) -> float | None:
    return {"wrong": sums.wrong_rate, "invalid": sums.invalid_rate, "failed": sums.failed_rate}[name]


def _rate_words(sums: Sums, name: str) -> str:
    words = fmt.rate(_rate(sums, name))
    if name != "wrong" or sums.wrong_interval is None:
        return words
    return f"{words}, {fmt.rate_interval(sums.wrong_interval)}, {fmt.count(sums.labelled)} labelled"


def _wilson_bars(points: Sequence[Point], colour: str) -> dict[str, object]:
    above: list[float] = []
    below: list[float] = []
    for point in points:
        rate, interval = point.sums.wrong_rate, point.sums.wrong_interval
        above.append((interval[1] - rate) * 100 if rate is not None and interval else 0.0)
        below.append((rate - interval[0]) * 100 if rate is not None and interval else 0.0)
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "color": colour,
        "thickness": 1,
        "width": 0,
    }


def latency_over_time(points: Sequence[Point], theme: Theme) -> go.Figure:
    """Return lines of the median and the 95th percentile of call latency, milliseconds."""
    days = [point.slice.first.isoformat() for point in points]
    ink = _INK[theme]
    figure = go.Figure()
    for name, dash, symbol, values in (
        ("p95", "solid", "circle", [point.sums.p95_ms for point in points]),
        ("p50", "dash", "square", [point.sums.p50_ms for point in points]),
    ):
        figure.add_scatter(
            x=days,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": ink, "dash": dash, "width": 2},
            marker={"symbol": symbol, "size": 6},
            customdata=[fmt.latency(value, approximate=True) for value in values],
            hovertemplate="%{customdata}<extra>" + name + "</extra>",
        )
    figure.update_layout(hovermode="x unified")
    return finished(figure, y_title="Milliseconds", suffix="")


def spend_words(points: Sequence[Point], looks: Sequence[TierLook], *, grain: Grain) -> str:
    """Return what ``spend_over_time`` shows, in a sentence for those who do not see it."""
    if not points:
        return "No spend."
    by_tier: Mapping[str, int] = {
        look.label: sum(point.spend_by_tier_nusd.get(look.tier, 0) for point in points) for look in looks
    }
    parts = ", ".join(f"{label} {fmt.usd(fmt.nusd(spend))}" for label, spend in by_tier.items())
    hit = fmt.plural(sum(1 for point in points if point.sums.degraded), grain)
    dearest = max(points, key=lambda point: point.sums.spend_nusd)
    return (
        f"Stacked bars of spend per {grain} by tier from {points[0].slice.first} on: {parts}; most on "
        f"{dearest.slice.first} with {fmt.usd(fmt.nusd(dearest.sums.spend_nusd))}; the limit was hit on {hit}."
    )


def _usd(nusd: int) -> float:
    return nusd / fmt.NANO


def finished(figure: go.Figure, *, y_title: str, dollars: bool = False, suffix: str = "") -> go.Figure:
    """Return the figure, laid out as all figures over days are."""
    figure.update_layout(
        height=HEIGHT_PX,
        showlegend=True,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left", "traceorder": "normal"},
        yaxis={
            "title": {"text": y_title},
            "rangemode": "tozero",
            "tickprefix": "$" if dollars else "",
            "ticksuffix": suffix,
            "tickformat": ",~r",
            "automargin": True,
        },
        xaxis={"type": "date", "hoverformat": "%Y-%m-%d", "automargin": True},
    )
    return figure
