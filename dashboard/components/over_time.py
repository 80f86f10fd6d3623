"""What happened when: spend by tier, and beside it total cost, rates or latency, day by day."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard import charts
from dashboard import format as fmt
from dashboard.components import panels, tables
from dashboard.periods import Grain
from dashboard.sums import LogState, Overview, Span

_MEASURES = ("rates", "cost", "latency")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What the charts over time are about.

    Attributes:
        found: The sums.
        order: All tiers, cheapest first.
        grain: What one mark stands for.
        parts: Indices of days, weeks or months that the data do not fill.
        price_nusd: The reader's price of a wrong answer that carries none.
        stem: Name of what is downloaded, without its ending.
    """

    found: Overview
    order: Sequence[str]
    grain: Grain
    parts: Sequence[int]
    price_nusd: int | None
    stem: str


def parts(found: Overview, state: LogState, span: Span) -> tuple[int, ...]:
    """Return the indices of days, weeks or months that the period, the log's beginning or its end leaves unfinished."""
    known_until = state.now if state.as_of is None or (state.watched and not state.backlog_bytes) else state.as_of
    return tuple(
        i
        for i, point in enumerate(found.points)
        if point.slice.cut
        or (span.first_hour is not None and point.slice.start < span.first_hour < point.slice.end)
        or (point.slice.start <= known_until < point.slice.end)
    )


def draw(course: Course) -> None:
    """Draw both panels side by side."""
    left, right = st.columns([3, 2])
    with left:
        _spend(course)
    with right, st.container(border=True, height="stretch", key="second_panel"):
        _second(course)


def _spend(course: Course) -> None:
    found, grain = course.found, course.grain
    in_use = {row.name for row in found.by_tier}

    def looks(theme: charts.Theme) -> tuple[charts.TierLook, ...]:
        return tuple(look for look in charts.tier_looks(course.order, theme) if look.tier in in_use)

    panels.draw(
        panels.Panel(
            key="spend",
            title=f"Spend per {grain} by tier, USD",
            figure=lambda theme: charts.spend_over_time(
                found.points, looks(theme), theme, grain=grain, parts=course.parts
            ),
            alt=charts.spend_words(found.points, looks("light"), grain=grain),
            table=lambda: table(course),
            stem=f"{course.stem}_spend",
            notes=_legend(course),
        )
    )


def table(course: Course) -> tables.Table:
    """Return one row per day, week or month, with everything that the charts show."""
    in_use = {row.name for row in course.found.by_tier}
    looks = [look for look in charts.tier_looks(course.order, "light") if look.tier in in_use]
    titles = {look.tier: fmt.logged(look.tier) or charts.NO_TIER for look in looks}
    return tables.over_time(course.found.points, titles, parts=course.parts, price_nusd=course.price_nusd)


def _legend(course: Course) -> tuple[str, ...]:
    found, grain = course.found, course.grain
    hit = sum(1 for point in found.points if point.sums.degraded)
    words = (
        [f"▼ limit hit on {fmt.plural(hit, grain)}: {fmt.plural(found.total.degraded, 'degraded call')}"] if hit else []
    )
    words += [f"pale: part of a {grain}"] if course.parts else []
    return (" · ".join(words),) if words else ()


def _second(course: Course) -> None:
    found, grain = course.found, course.grain
    title = {
        "rates": f"Rates per {grain}, %",
        "cost": f"Total cost per {grain}, USD",
        "latency": f"Latency per {grain}, ms",
    }
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{title[st.session_state.get('measure') or 'rates']}**", width="content")
        chosen = st.segmented_control(
            "Measure", _MEASURES, default="rates", required=True, key="measure", label_visibility="collapsed"
        )
    theme = panels.theme()
    if chosen == "latency":
        figure = charts.latency_over_time(found.points, theme)
        key, alt, note = "latency", f"Lines of latency p50 and p95 per {grain}", "≈ from buckets, within 2.5 %"
    elif chosen == "cost":
        figure = charts.total_cost_over_time(
            found.points, theme, grain=grain, price_nusd=course.price_nusd, parts=course.parts
        )
        key, alt = "total_cost", f"Stacked bars of spend and observed error impact per {grain}, USD"
        note = "impact: of answers with a label, on the day of their call; labels of the last days may still come"
    else:
        figure = charts.rates_over_time(found.points, theme)
        key, alt = "rates", f"Lines of wrong, invalid and failed rates per {grain}, in percent"
        note = "wrong: of labelled answers, with 95 % interval · invalid, failed: of attempts"
        few = any(charts.has_few_labels(point) for point in found.points)
        note = f"{note} · hollow: fewer than {charts.FEW_LABELS} labels" if few else note
    st.plotly_chart(figure, key=f"{key}_chart", config=charts.config(f"{course.stem}_{key}"), alt=alt)
    st.caption(note)
