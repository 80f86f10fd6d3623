"""Which payload types cost, are slow, or go wrong; a row leads to everything about one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import streamlit as st

from dashboard import advice, charts, type_charts
from dashboard import format as fmt
from dashboard.components import bar, filters, notices, panels, pricing, states, tables, tiles
from dashboard.components.links import Links
from dashboard.desk import Place
from dashboard.impact import Estimate, estimate
from dashboard.library import Library
from dashboard.sums import Cell, LogState, Overview, Row, Span, tier_order

GROUPINGS: Final = ("type", "type and tier", "tier", "model")
_READ = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """One table, with the payload type that each row leads to; empty where it leads nowhere."""

    table: tables.Table
    leads_to: tuple[str, ...] = ()


def render(place: Place, library: Library, links: Links) -> None:
    """Draw the page from what ``library`` gives."""
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.title("Payload types", anchor=False, width="content")
        badge = st.empty()
    with states.Guarded():
        state = library.state()
        with badge:
            bar.demo_badge(state)
        span = states.span_or_no_log(state, library.span, links)
        if span is None:
            return
        _body(place, library, links, state, span)


def _body(place: Place, library: Library, links: Links, state: LogState, span: Span) -> None:
    choice = filters.choose(span, state)
    found = library.overview(choice.filters)
    bar.bar(state, period_words=choice.period_words, calls=found.total.calls)
    if not found.total.calls and not found.total.attempts:
        states.no_match(choice.named, filters.clear)
        return
    price_nusd = notices.draw(found, choice, span)
    order = tier_order(state.tiers, span.tiers)
    listed = pricing.listed_nusd(library.rules(), [row.name for row in found.by_type])
    _totals(found, price_nusd, listed)
    _table(place, links, found, order, price_nusd, listed, bar.stem(choice.period_words, state))
    _scatter(found, order, price_nusd, bar.stem(choice.period_words, state, "cost-and-wrong"))


def _totals(found: Overview, price_nusd: int | None, listed: dict[str, int]) -> None:
    """Say what wrong answers cost in all: observed, and estimated apart from it."""
    tiles.draw(tiles.cost_tiles(found.total, found.before, price_nusd))
    with st.container(border=True, key="impact"):
        pricing.draw(estimate(found.cells, price_nusd, listed))


def _table(
    place: Place,
    links: Links,
    found: Overview,
    order: Sequence[str],
    price_nusd: int | None,
    listed: dict[str, int],
    stem: str,
) -> None:
    filters.note_unknown("group", "Groupings", GROUPINGS, where="known here")
    with st.container(border=True, key="types"):
        with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
            with st.container(horizontal=True, vertical_alignment="bottom", width="content"):
                group = st.segmented_control(
                    "Group by", GROUPINGS, default="type", required=True, key="group", bind="query-params"
                )
                sought = st.text_input(
                    "Search", key="find", bind="query-params", placeholder="part of a name", width=220, max_chars=100
                )
            sheet = _sheet(place, found, order, group or "type", sought or "", price_nusd, listed)
            tables.download(sheet.table, key="csv", stem=f"{stem}_by-{(group or 'type').replace(' ', '-')}")
        if not sheet.table.rows:
            st.caption("No name holds what you search for.")
            return
        picked = tables.show(
            sheet.table,
            key="types_table",
            alt=f"Cost, latency, rates and error impact by {group}",
            pick=bool(sheet.leads_to),
        )
        words = [f"{fmt.plural(len(sheet.table.rows), 'row')}, dearest first"]
        words += ["pick a row to open its payload type"] if sheet.leads_to else []
        st.caption(fmt.markdown(" · ".join(words)))
        if sheet.leads_to:
            _open(links, sheet.leads_to, picked)


def _open(links: Links, names: Sequence[str], picked: int | None) -> None:
    """Lead on to the picked row's payload type; a box does the same for those who do not use a mouse."""
    if picked is not None and picked < len(names):
        links.payload_type(names[picked])
    labels = filters.labels(list(dict.fromkeys(names)))
    chosen = st.selectbox(
        "Open a payload type", list(labels), index=None, key="open_type", placeholder="choose one", width=340
    )
    if chosen is not None:
        links.payload_type(labels[chosen])


def _sheet(
    place: Place,
    found: Overview,
    order: Sequence[str],
    group: str,
    sought: str,
    price_nusd: int | None,
    listed: dict[str, int],
) -> _Sheet:
    def holds(name: str) -> bool:
        return sought.strip().casefold() in name.casefold()

    if group == "tier":
        rows = sorted((row for row in found.by_tier if holds(row.name)), key=lambda row: order.index(row.name))
        table = tables.by_tier(rows, price_nusd=price_nusd, detail=True)
        of_tier = [_estimate_of(found.cells, price_nusd, listed, tier=row.name) for row in rows]
        return _Sheet(table=tables.with_estimates(table, of_tier))
    if group == "model":
        models = [row for row in found.by_model if holds(row.name)]
        return _Sheet(table=tables.by_tier(models, price_nusd=price_nusd, title="Model", latency=False, detail=True))
    if group == "type and tier":
        cells = [cell for cell in found.cells if holds(cell.payload_type)]
        table = tables.by_type_and_tier(cells, price_nusd=price_nusd)
        of_cell = [estimate([cell], price_nusd, listed) for cell in cells]
        return _Sheet(table=tables.with_estimates(table, of_cell), leads_to=tuple(cell.payload_type for cell in cells))
    kept = [row for row in found.by_type if holds(row.name)]
    table = tables.with_estimates(
        tables.by_type(kept, price_nusd=price_nusd, detail=True), _estimates(found.cells, kept, price_nusd, listed)
    )
    return _Sheet(table=_with_advice(place, table, kept), leads_to=tuple(row.name for row in kept))


def _estimates(
    cells: Sequence[Cell], rows: Sequence[Row], price_nusd: int | None, listed: dict[str, int]
) -> list[Estimate]:
    of_type: dict[str, list[Cell]] = {}
    for cell in cells:
        of_type.setdefault(cell.payload_type, []).append(cell)
    return [estimate(of_type.get(row.name, ()), price_nusd, listed) for row in rows]


def _estimate_of(cells: Sequence[Cell], price_nusd: int | None, listed: dict[str, int], *, tier: str) -> Estimate:
    return estimate([cell for cell in cells if cell.tier == tier], price_nusd, listed)


def _with_advice(place: Place, table: tables.Table, rows: Sequence[Row]) -> tables.Table:
    """Return the table with what is proposed for each payload type behind its figures."""
    offers = {
        entry.proposal.draft.payload_type: entry for entry in place.desk.entries(advice.GROUPS["open"], limit=_READ)
    }
    column = tables.Column(title="Advice", name="advice", kind="text", help="What is on offer for it now")
    words = [advice.in_short(offers[row.name]) if row.name in offers else "" for row in rows]
    return tables.Table(
        columns=(*table.columns, column),
        rows=tuple((*row, word) for row, word in zip(table.rows, words, strict=True)),
    )


def _scatter(found: Overview, order: Sequence[str], price_nusd: int | None, stem: str) -> None:
    labelled = [cell for cell in found.cells if cell.sums.labelled and cell.sums.priced]
    if not labelled:
        return

    def figure(theme: charts.Theme) -> object:
        return type_charts.cost_against_wrong(labelled, charts.tier_looks(order, theme))

    left_out = len(found.cells) - len(labelled)
    notes = ["one mark per payload type and tier; its size is the number of calls"]
    notes += [f"{fmt.plural(left_out, 'pair')} without labels or costs left out"] if left_out else []
    panels.draw(
        panels.Panel(
            key="scatter",
            title="Cost against wrong answers, by payload type and tier",
            figure=figure,  # pyright: ignore[reportArgumentType]
            alt=f"Marks of {fmt.plural(len(labelled), 'pair')} of payload type and tier: cost across, wrong rate up",
            table=lambda: tables.by_type_and_tier(labelled, price_nusd=price_nusd),
            stem=stem,
            notes=(" · ".join(notes),),
        )
    )
