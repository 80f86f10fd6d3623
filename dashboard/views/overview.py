"""The first page: what was spent, what went wrong, where, since when, and what to do about it."""

from collections.abc import Sequence

import streamlit as st

from dashboard import format as fmt
from dashboard.components import (
    bar,
    filters,
    guard,
    live,
    movers,
    notices,
    opportunities,
    over_time,
    pricing,
    states,
    tables,
    tiles,
)
from dashboard.components.links import Links
from dashboard.desk import Place
from dashboard.impact import estimate
from dashboard.library import Library
from dashboard.sums import LogState, Overview, Row, Source, Span, tier_order


def render(
    source: Source, place: Place | None = None, library: Library | None = None, links: Links | None = None
) -> None:
    """Draw the page.

    Args:
        source: The log.
        place: Proposals, for the top opportunities; None = they are left out.
        library: The log in detail, for what the guard says; None = that is left out.
        links: Ways to other pages.
    """
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.title("Overview", anchor=False, width="content")
        badge = st.empty()
    with states.Guarded():
        state = source.state()
        with badge:
            bar.demo_badge(state)
        span = states.span_or_no_log(state, source.span, links)
        if span is None:
            return
        if library is not None:
            guard.draw(library, state)
            live.draw(library, state)
        _body(source, state, span, place, library, links or Links())


def _body(
    source: Source, state: LogState, span: Span, place: Place | None, library: Library | None, links: Links
) -> None:
    choice = filters.choose(span, state)
    found = source.overview(choice.filters)
    bar.bar(state, period_words=choice.period_words, calls=found.total.calls)
    if not found.total.calls and not found.total.attempts:
        states.no_match(choice.named, filters.clear)
        return
    above = st.container()
    price_nusd = notices.draw(found, choice, span)
    with above:
        tiles.draw(tiles.overview_tiles(found.total, found.before, price_nusd))
        rules = None if library is None else library.rules()
        listed = pricing.listed_nusd(rules, [row.name for row in found.by_type])
        if said := pricing.words(estimate(found.cells, price_nusd, listed)):
            st.caption(fmt.markdown(said))
    order = tier_order(state.tiers, span.tiers)
    stem = bar.stem(choice.period_words, state)
    if choice.filters.period is not None:
        over_time.draw(
            over_time.Course(
                found=found,
                order=order,
                grain=choice.filters.period.grain,
                parts=over_time.parts(found, state, span),
                price_nusd=price_nusd,
                stem=stem,
            )
        )
    _aside(source, choice, found, place, links, price_nusd)
    _breakdown(found, order, price_nusd=price_nusd, stem=stem)


def _aside(
    source: Source, choice: filters.Choice, found: Overview, place: Place | None, links: Links, price_nusd: int | None
) -> None:
    if place is None:
        return
    left, right = st.columns(2)
    with left:
        opportunities.draw(place, links)
    with right:
        movers.draw(source, choice.filters, found, price_nusd)


def _breakdown(found: Overview, order: Sequence[str], *, price_nusd: int | None, stem: str) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Cost, speed and wrong answers by**", width="content")
            by = st.segmented_control(
                "By",
                ["payload type", "tier", "model"],
                default="payload type",
                required=True,
                key="by",
                bind="query-params",
                label_visibility="collapsed",
            )
            table = _table(by or "payload type", found, order, price_nusd)
            tables.download(table, key="csv", stem=f"{stem}_by-{(by or 'payload type').replace(' ', '-')}")
        tables.show(table, key="breakdown", alt=f"Cost, latency and rates by {fmt.logged(by)}")


def _table(by: str, found: Overview, order: Sequence[str], price_nusd: int | None) -> tables.Table:
    if by == "tier":
        ordered: list[Row] = sorted(found.by_tier, key=lambda row: order.index(row.name))
        return tables.by_tier(ordered, price_nusd=price_nusd)
    if by == "model":
        return tables.by_tier(found.by_model, price_nusd=price_nusd, title="Model", latency=False)
    return tables.by_type(found.by_type, price_nusd=price_nusd)
