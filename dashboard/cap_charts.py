"""Figures of the cap simulator: rehearsals in, Plotly figures out."""

import datetime as dt
from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from dashboard import format as fmt
from dashboard.charts import Theme, finished
from optimizer.simulate.rehearsal import Effect, Rehearsal

_CAPPED: Final = {"light": "#2458A6", "dark": "#8FBFFF"}
_ACTUAL: Final = {"light": "#8D94A1", "dark": "#717987"}
_INK: Final = {"light": "#31333F", "dark": "#FAFAFA"}
_WRONG: Final = {"light": "#B3261E", "dark": "#F2A09A"}
_BAND: Final = {"light": "rgba(179,38,30,0.18)", "dark": "rgba(242,160,154,0.22)"}
_FRONTIER_PX: Final = 260


def spend_per_day(rehearsal: Rehearsal, place: int, theme: Theme) -> go.Figure:
    """Return bars of spend per day under one limit before bars of what happened, the limit, and where it is reached."""
    days = [day.isoformat() for day in rehearsal.traffic.days]
    actual = [_usd(nusd) for nusd in rehearsal.sweep.actual_nusd]
    capped = [_usd(nusd) for nusd in rehearsal.sweep.capped_nusd[place]]
    effect = rehearsal.effects[place]
    limit = _usd(effect.limit.limit_nusd)
    figure = go.Figure()
    for name, values, colour in (
        ("what happened", actual, _ACTUAL[theme]),
        ("under the limit", capped, _CAPPED[theme]),
    ):
        figure.add_bar(
            x=days,
            y=values,
            name=name,
            marker={"color": colour},
            customdata=[fmt.usd(value) for value in values],
            hovertemplate="%{customdata}<extra>" + name + "</extra>",
        )
    figure.add_scatter(
        x=days,
        y=[limit] * len(days),
        mode="lines",
        name=f"limit {fmt.usd(limit)}",
        line={"color": _INK[theme], "dash": "dash", "width": 1.5},
        hoverinfo="skip",
    )
    _mark(figure, rehearsal, effect, dict(zip(days, actual, strict=True)), theme)
    figure.update_layout(barmode="overlay", bargap=0.2, hovermode="x unified")
    return finished(figure, y_title="USD per day", dollars=True)


def _mark(figure: go.Figure, rehearsal: Rehearsal, effect: Effect, actual: dict[str, float], theme: Theme) -> None:
    above = 0.05 * max(actual.values(), default=0.0)
    zone = ZoneInfo(rehearsal.traffic.zone)
    tripped = [(trip.day.isoformat(), f"reached at {_clock(trip.at_us, zone)}") for trip in effect.trips]
    left = [(day.isoformat(), "left as it was") for day in effect.left]
    for name, symbol, marks in (("limit reached", "x", tripped), ("left as it was", "diamond-open", left)):
        if marks:
            figure.add_scatter(
                x=[day for day, _ in marks],
                y=[actual[day] + above for day, _ in marks],
                mode="markers",
                name=name,
                marker={"symbol": symbol, "size": 9, "color": _INK[theme]},
                customdata=[words for _, words in marks],
                hovertemplate="%{customdata}<extra></extra>",
            )


def _clock(at_us: int, zone: dt.tzinfo) -> str:
    return dt.datetime.fromtimestamp(at_us / 1e6, zone).strftime("%H:%M %Z")


def spend_words(rehearsal: Rehearsal, place: int) -> str:
    """Return what ``spend_per_day`` shows, in a sentence for those who do not see it."""
    effect = rehearsal.effects[place]
    return (
        f"Bars of spend per day: {fmt.usd(fmt.nusd(effect.actual_nusd))} happened, "
        f"{fmt.usd(fmt.nusd(effect.capped_nusd))} under a limit of {fmt.usd(fmt.nusd(effect.limit.limit_nusd))} a day, "
        f"which is reached on {fmt.plural(len(effect.trips), 'day')}; "
        f"{fmt.plural(len(effect.left), 'day')} left as they were."
    )


def saved_by_limit(effects: Sequence[Effect], chosen: Effect, theme: Theme) -> go.Figure:
    """Return the line of spend saved over limits, the chosen one marked."""
    figure = go.Figure()
    _line(figure, effects, [fmt.nusd(effect.saved_nusd) or 0.0 for effect in effects], "saved", _CAPPED[theme])
    _chosen(figure, chosen, fmt.nusd(chosen.saved_nusd) or 0.0, theme)
    _frontier_layout(figure, "USD saved")
    return figure.update_yaxes(tickprefix="$")


def wrong_by_limit(effects: Sequence[Effect], chosen: Effect, theme: Theme) -> go.Figure:
    """Return the line of expected extra wrong answers over limits with its 90 % interval, the chosen one marked."""
    figure = go.Figure()
    limits = [_usd(effect.limit.limit_nusd) for effect in effects]
    bounds = [effect.harm.extra_wrong for effect in effects]
    figure.add_scatter(
        x=[*limits, *reversed(limits)],
        y=[*(bound.high for bound in bounds), *(bound.low for bound in reversed(bounds))],
        fill="toself",
        mode="lines",
        line={"width": 0, "color": _WRONG[theme]},
        fillcolor=_BAND[theme],
        name="90% interval",
        hoverinfo="skip",
    )
    _line(figure, effects, [bound.mean for bound in bounds], "extra wrong", _WRONG[theme])
    _chosen(figure, chosen, chosen.harm.extra_wrong.mean, theme)
    _frontier_layout(figure, "Wrong answers")
    return figure


def frontier_words(effects: Sequence[Effect], chosen: Effect) -> str:
    """Return what the two panels over limits show, in a sentence."""
    lowest = effects[0]
    return (
        f"Lines over daily limits from {fmt.usd(_usd(lowest.limit.limit_nusd))} to "
        f"{fmt.usd(_usd(effects[-1].limit.limit_nusd))}: from {fmt.usd(fmt.nusd(lowest.saved_nusd))} saved and "
        f"{_count(lowest.harm.extra_wrong.mean)} extra wrong answers down to none; at the chosen limit "
        f"{fmt.usd(fmt.nusd(chosen.saved_nusd))} and {_count(chosen.harm.extra_wrong.mean)}."
    )


def _line(figure: go.Figure, effects: Sequence[Effect], values: Sequence[float], name: str, colour: str) -> None:
    shown = fmt.usd if name == "saved" else _count
    figure.add_scatter(
        x=[_usd(effect.limit.limit_nusd) for effect in effects],
        y=list(values),
        mode="lines",
        name=name,
        line={"color": colour, "width": 2},
        customdata=[
            f"{fmt.usd(_usd(effect.limit.limit_nusd))} a day: {shown(value)}"
            for effect, value in zip(effects, values, strict=True)
        ],
        hovertemplate="%{customdata}<extra>" + name + "</extra>",
    )


def _chosen(figure: go.Figure, chosen: Effect, value: float, theme: Theme) -> None:
    limit = _usd(chosen.limit.limit_nusd)
    figure.add_scatter(
        x=[limit],
        y=[value],
        mode="markers",
        name="chosen limit",
        marker={"symbol": "circle", "size": 11, "color": _INK[theme]},
        hoverinfo="skip",
    )
    figure.add_vline(x=limit, line={"color": _INK[theme], "dash": "dot", "width": 1})


def _frontier_layout(figure: go.Figure, y_title: str) -> None:
    finished(figure, y_title=y_title)
    figure.update_layout(
        height=_FRONTIER_PX,
        xaxis={"type": "linear", "title": {"text": "Daily limit, USD"}, "tickprefix": "$", "rangemode": "tozero"},
    )


def _count(value: float) -> str:
    return fmt.count(round(value, 1) + 0.0)


def _usd(nusd: float) -> float:
    return float(nusd) / fmt.NANO
