"""The first page: what was spent, what went wrong, where, and since when."""

from collections.abc import Sequence
from decimal import Decimal

import streamlit as st

from dashboard import charts
from dashboard import format as fmt
from dashboard.components import bar, filters, states, tables, tiles
from dashboard.periods import Grain, local_day
from dashboard.sums import LogState, Overview, Row, Source, Span, Sums, tier_order


def render(source: Source) -> None:
    """Draw the page from what ``source`` gives."""
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.title("Overview", anchor=False, width="content")
        badge = st.empty()
    with states.Guarded():
        state = source.state()
        with badge:
            bar.demo_badge(state)
        span = source.span() if state.exists else None
        if span is None or (span.last_hour is None and not span.has_undated):
            states.no_log()
            return
        _body(source, state, span)


def _body(source: Source, state: LogState, span: Span) -> None:
    choice = filters.choose(span, state)
    found = source.overview(choice.filters)
    bar.bar(state, period_words=choice.period_words, calls=found.total.calls)
    if not found.total.calls and not found.total.attempts:
        states.no_match(choice.named, filters.clear)
        return
    above = st.container()
    price_nusd = _notices(found, choice, span)
    with above:
        tiles.draw(tiles.overview_tiles(found.total, found.before, price_nusd))
    file_words = choice.period_words.replace(" ", "_")
    order = tier_order(state.tiers, span.tiers)
    if choice.filters.period is not None:
        _over_time(
            found, order, grain=choice.filters.period.grain, parts=parts(found, state, span), file_words=file_words
        )
    _breakdown(found, order, price_nusd=price_nusd, file_words=file_words)


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


def _notices(found: Overview, choice: filters.Choice, span: Span) -> int | None:
    total, period = found.total, choice.filters.period
    words: list[str] = []
    if period is not None and found.before is not None:
        words.append(f"changes against {period.before().first} to {period.before().last}")
    if period is not None and span.first_hour is not None and period.start < span.first_hour:
        words.append(f"the log begins on {local_day(span.first_hour, period.zone)}")
    if total.coverage is not None:
        words.append(f"labels cover {fmt.rate(total.coverage)} of the answered calls")
    if total.unpriced:
        attempts = f"{fmt.count(total.unpriced)} of {fmt.plural(total.attempts, 'attempt')}"
        words.append(f"the cost of {attempts} is not known, and spend leaves it out")
    if words:
        st.caption(fmt.markdown(" · ".join(words)))
    return _price(total)


def _price(total: Sums) -> int | None:
    if not total.wrong_unpriced:
        return None
    with st.container(horizontal=True, vertical_alignment="center", key="price_row"):
        wrong = fmt.plural(total.wrong_unpriced, "wrong answer")
        price = st.number_input(
            "Price of a wrong answer without one, USD",
            min_value=0.0,
            value=None,
            step=0.1,
            format="%.4f",
            key="price",
            bind="query-params",
            placeholder="not set",
            width=300,
        )
        if price is None:
            st.caption(f"{wrong} carry no error price, so error impact and total cost leave them out.")
            return None
        st.caption(fmt.markdown(f"{wrong} counted at {fmt.usd(price)} each, your figure."))
    return int(Decimal(str(price)) * fmt.NANO)


def _over_time(found: Overview, order: Sequence[str], *, grain: Grain, parts: Sequence[int], file_words: str) -> None:
    theme = _theme()
    in_use = {row.name for row in found.by_tier}
    looks = tuple(look for look in charts.tier_looks(order, theme) if look.tier in in_use)
    table = tables.over_time(
        found.points, {look.tier: fmt.logged(look.tier) or charts.NO_TIER for look in looks}, parts=parts
    )
    left, right = st.columns([3, 2])
    with left, st.container(border=True, height="stretch"):
        if _panel(f"Spend per {grain} by tier, USD", key="spend") == "chart":
            figure = charts.spend_over_time(found.points, looks, theme, grain=grain, parts=parts)
            words = charts.spend_words(found.points, looks, grain=grain)
            st.plotly_chart(figure, key="spend_chart", config=charts.CONFIG, alt=words)
            _spend_legend(found, grain, parts)
        else:
            tables.show(table, key="spend_table", alt=f"Spend per {grain}")
            tables.download(table, key="spend_csv", file_name=f"tierwise_spend_{file_words}.csv")
    with right, st.container(border=True, height="stretch"):
        _second_chart(found, theme, grain)


def _panel(title: str, *, key: str) -> str:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{title}**", width="content")
        chosen = st.segmented_control(
            "View", ["chart", "table"], default="chart", required=True, key=f"{key}_view", label_visibility="collapsed"
        )
    return chosen or "chart"


def _spend_legend(found: Overview, grain: Grain, parts: Sequence[int]) -> None:
    hit = sum(1 for point in found.points if point.sums.degraded)
    words = (
        [f"▼ limit hit on {fmt.plural(hit, grain)}: {fmt.plural(found.total.degraded, 'degraded call')}"] if hit else []
    )
    words += [f"pale: part of a {grain}"] if parts else []
    if words:
        st.caption(fmt.markdown(" · ".join(words)))


def _second_chart(found: Overview, theme: charts.Theme, grain: Grain) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        is_latency = st.session_state.get("measure") == "latency"
        title = f"Latency per {grain}, ms" if is_latency else f"Rates per {grain}, %"
        st.markdown(f"**{title}**", width="content")
        chosen = st.segmented_control(
            "Measure", ["rates", "latency"], default="rates", required=True, key="measure", label_visibility="collapsed"
        )
    if chosen == "latency":
        figure = charts.latency_over_time(found.points, theme)
        st.plotly_chart(
            figure, key="latency_chart", config=charts.CONFIG, alt=f"Lines of latency p50 and p95 per {grain}"
        )
        st.caption("≈ from buckets, within 2.5 %")
    else:
        figure = charts.rates_over_time(found.points, theme)
        alt = f"Lines of wrong, invalid and failed rates per {grain}, in percent"
        st.plotly_chart(figure, key="rates_chart", config=charts.CONFIG, alt=alt)
        words = "wrong: of labelled answers, with 95 % interval · invalid, failed: of attempts"
        few = any(charts.has_few_labels(point) for point in found.points)
        st.caption(f"{words} · hollow: fewer than {charts.FEW_LABELS} labels" if few else words)


def _breakdown(found: Overview, order: Sequence[str], *, price_nusd: int | None, file_words: str) -> None:
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
            tables.download(
                table, key="csv", file_name=f"tierwise_by_{(by or 'type').replace(' ', '_')}_{file_words}.csv"
            )
        tables.show(table, key="breakdown", alt=f"Cost, latency and rates by {by}")


def _table(by: str, found: Overview, order: Sequence[str], price_nusd: int | None) -> tables.Table:
    if by == "tier":
        ordered: list[Row] = sorted(found.by_tier, key=lambda row: order.index(row.name))
        return tables.by_tier(ordered, price_nusd=price_nusd)
    if by == "model":
        return tables.by_tier(found.by_model, price_nusd=price_nusd, title="Model", latency=False)
    return tables.by_type(found.by_type, price_nusd=price_nusd)


def _theme() -> charts.Theme:
    return "dark" if st.context.theme.type == "dark" else "light"
