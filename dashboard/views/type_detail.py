"""Everything about one payload type: how it is routed, what each tier costs and gets wrong, and the calls behind it."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import advice, type_charts
from dashboard import format as fmt
from dashboard.break_even import BreakEven, break_evens
from dashboard.components import (
    bar,
    calls,
    cards,
    confidence,
    filters,
    notices,
    over_time,
    panels,
    pricing,
    states,
    tables,
    tiles,
)
from dashboard.components.links import Links
from dashboard.desk import Place
from dashboard.impact import estimate
from dashboard.library import Library
from dashboard.provenance import shadows, steps
from dashboard.sums import NO_NAME, Filters, LogState, Overview, Span, tier_order

ID = "id"
_READ = 2_000


def render(place: Place, library: Library, links: Links) -> None:
    """Draw the page of the payload type that the address names."""
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        if st.button("Payload types", key="back", icon=":material/arrow_back:", type="tertiary"):
            links.page("types")
        badge = st.empty()
    with states.Guarded():
        state = library.state()
        with badge:
            bar.demo_badge(state)
        span = states.span_or_no_log(state, library.span, links)
        if span is None:
            return
        name = _choose(span)
        if name is None:
            st.subheader("Which payload type?")
            st.text("Choose one above.")
            return
        _body(place, library, links, state, span, name)


def _choose(span: Span) -> str | None:
    labels = filters.labels(span.payload_types)
    filters.note_unknown(ID, "Payload types", list(labels))
    label = st.selectbox(
        "Payload type", list(labels), index=None, key=ID, bind="query-params", placeholder="choose one", width=420
    )
    return None if label is None else labels[label]


def _body(place: Place, library: Library, links: Links, state: LogState, span: Span, name: str) -> None:
    st.title(fmt.markdown(fmt.logged(name, longest=80) if name != NO_NAME else "(none)"), anchor=False)
    choice = filters.choose(span, state, types=False)
    chosen = Filters(period=choice.filters.period, payload_types=(name,), tiers=choice.filters.tiers)
    found = library.overview(chosen)
    bar.bar(state, period_words=choice.period_words, calls=found.total.calls)
    _routing(place, library, links, name)
    if not found.total.calls and not found.total.attempts:
        states.no_match((("Payload type", name), *choice.named), filters.clear)
        return
    above = st.container()
    price_nusd = notices.draw(found, choice, span)
    listed = pricing.listed_nusd(library.rules(), [name])
    with above:
        tiles.draw(tiles.overview_tiles(found.total, found.before, price_nusd))
        with st.container(border=True, key="impact"):
            pricing.draw(estimate(found.cells, price_nusd, listed))
    order = tier_order(state.tiers, span.tiers)
    stem = bar.stem(choice.period_words, state, fmt.logged(name, longest=40))
    _tiers(found, order, price_nusd, listed.get(name), stem)
    if chosen.period is not None:
        over_time.draw(
            over_time.Course(
                found=found,
                order=order,
                grain=chosen.period.grain,
                parts=over_time.parts(found, state, span),
                price_nusd=price_nusd,
                stem=stem,
            )
        )
    confidence.draw(library, chosen.period, name, stem)
    calls.draw(library, links, chosen, name, ZoneInfo(state.zone), stem)


def _routing(place: Place, library: Library, links: Links, name: str) -> None:
    """Say how the payload type is routed now, and what is on offer for it."""
    rule = pricing.rule_of(library.rules(), name)
    with st.container(border=True, key="routed"):
        with st.container(horizontal=True, vertical_alignment="center"):
            path = "not in the routing config" if rule is None else f"now on {fmt.logged(steps(rule.path))}"
            st.markdown(f"**{fmt.markdown(path)}**", width="content")
            if rule is not None and rule.critical:
                st.badge("critical: never degraded", icon=":material/priority_high:", color="blue")
        if rule is not None:
            price = "no error price set" if rule.error_cost_usd is None else fmt.usd(float(rule.error_cost_usd))
            parts = [f"a wrong answer costs {price}" if rule.error_cost_usd is not None else price]
            parts += [f"shadows: {fmt.logged(shadows(rule))}"] if rule.shadow else ["no shadows"]
            parts.append(confidence.state_words(rule))
            cards.plain(" · ".join(parts))
        _offer(place, name)
        with st.container(horizontal=True):
            if st.button("Recommendations", key="to_recommendations", icon=":material/lightbulb:", type="tertiary"):
                links.page("recommendations")
            if st.button("Routing and audit", key="to_routing", icon=":material/history:", type="tertiary"):
                links.page("routing")


def _offer(place: Place, name: str) -> None:
    offers = [
        entry
        for entry in place.desk.entries(advice.GROUPS["open"], limit=_READ)
        if entry.proposal.draft.payload_type == name
    ]
    for entry in offers[:1]:
        with st.container(horizontal=True, vertical_alignment="center", key="offer"):
            st.markdown(fmt.markdown(f"Proposed: {advice.in_short(entry)}"), width="content")
            for badge in advice.badges(entry.proposal.draft):
                st.badge(badge.text, color=badge.colour)


def _tiers(found: Overview, order: Sequence[str], price_nusd: int | None, listed_nusd: int | None, stem: str) -> None:
    rows = sorted(found.by_tier, key=lambda row: order.index(row.name))
    table = tables.by_tier(rows, price_nusd=price_nusd, detail=True)
    with st.container(border=True, key="tiers"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Tiers compared: the same payload type, the same days**", width="content")
            tables.download(table, key="tiers_csv", stem=f"{stem}_tiers")
        tables.show(table, key="tiers_table", alt="Cost, latency and rates of each tier")
        models = tables.by_tier(found.by_model, price_nusd=price_nusd, title="Model", latency=False, detail=True)
        with st.expander("By model", key="models", on_change="rerun", type="compact") as panel:
            if panel.open:
                tables.show(models, key="models_table", alt="Cost and rates of each model")
                tables.download(models, key="models_csv", stem=f"{stem}_models")
    price = listed_nusd if listed_nusd is not None else _mean_price(found, price_nusd)
    _meter(break_evens({row.name: row.sums for row in rows}, order, price), price, stem)


def _mean_price(found: Overview, price_nusd: int | None) -> float | None:
    """Return what a wrong answer of the type cost in the mean, where the config does not say."""
    total = found.total
    priced = total.wrong if price_nusd is not None else total.wrong - total.wrong_unpriced
    return total.impact_with(price_nusd) / priced if priced > 0 else price_nusd


def _meter(pairs: Sequence[BreakEven], price_nusd: float | None, stem: str) -> None:
    if not pairs:
        return
    at = "no error price is set: it cannot be said" if price_nusd is None else f"{fmt.usd(price_nusd / fmt.NANO)} each"
    panels.draw(
        panels.Panel(
            key="break_even",
            title="Break-even: how many more wrong answers the cheaper tier may give",
            figure=lambda theme: type_charts.break_even_meter(pairs, theme),
            alt=type_charts.break_even_words(pairs),
            table=lambda: break_even_table(pairs),
            stem=f"{stem}_break-even",
            notes=(
                f"wrong answers at {at}. Dot left of the yellow line: the cheaper tier pays; right of it: the dearer.",
                "Of answers served, which are not the same calls: harder ones are escalated. Recommendations compare "
                "both tiers on the same calls.",
            ),
        )
    )


def break_even_table(pairs: Sequence[BreakEven]) -> tables.Table:
    """Return one row per pair of tiers."""
    columns = (
        tables.Column(title="From", name="dearer", kind="text"),
        tables.Column(title="To", name="cheaper", kind="text"),
        tables.Column(title="Saved per 1k", name="saved_per_1k_usd", kind="usd", help="Per 1,000 attempts"),
        tables.Column(title="Break-even, pp", name="break_even_pp", kind="points", help="More wrong answers allowed"),
        tables.Column(title="Observed, pp", name="difference_pp", kind="points", help="Wrong rate, to less from"),
        tables.Column(title="95% interval", name="difference_pp_95", kind="text"),
        tables.Column(title="Says", name="side", kind="text"),
        tables.Column(title="Labels from", name="labels_dearer", kind="count"),
        tables.Column(title="Labels to", name="labels_cheaper", kind="count"),
    )
    return tables.Table(
        columns=columns,
        rows=tuple(
            (
                pair.dearer or "(none)",
                pair.cheaper or "(none)",
                pair.saved_nusd * 1000 / fmt.NANO,
                None if pair.point is None else pair.point * 100,
                None if pair.difference is None else pair.difference * 100,
                fmt.NOTHING if pair.interval is None else fmt.points_range(*pair.interval),
                pair.side,
                pair.labels[1],
                pair.labels[0],
            )
            for pair in pairs
        ),
    )
