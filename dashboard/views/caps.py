"""What a daily limit would have done to the calls in the log."""

import datetime as dt

import streamlit as st

from dashboard import cap_charts
from dashboard import format as fmt
from dashboard.components import bar, cap_controls, cap_results, filters, panels, scenarios, states, tables, tiles
from dashboard.periods import Period, local_day
from dashboard.rehearsals import CapSource, budget_yaml, first_limit, grid, scale
from dashboard.sums import LogState, Span
from optimizer.simulate.caps import sweep
from optimizer.simulate.rehearsal import Rehearsal, Traffic, rehearse
from optimizer.traffic.words import assumptions
from router_core.decide.guard import Limit
from router_core.errors import ConfigError


def render(source: CapSource) -> None:
    """Draw the page from what ``source`` gives."""
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.title("Cap simulator", anchor=False, width="content")
        st.badge("SIMULATION", icon=":material/history:", color="blue", help="Logged calls, replayed under a limit.")
        badge = st.empty()
    with states.Guarded():
        state = source.state()
        with badge:
            bar.demo_badge(state)
        span = states.span_or_no_log(state, source.span)
        if span is None:
            return
        _body(source, state, span)


def _body(source: CapSource, state: LogState, span: Span) -> None:
    chosen = filters.choose_days(span, state)
    if chosen is None:
        st.subheader("Nothing here has a time")
        st.text("A daily limit needs to know when calls were made, and this log holds undated evaluations only.")
        return
    period, words = chosen
    try:
        present = source.limit()
        traffic = source.traffic(_within(period, span))
    except ConfigError as error:
        st.subheader("A routing config is needed")
        st.text("Its tiers and prices say what a degraded call would cost, and its zone where a day begins.")
        st.text(fmt.logged(str(error), longest=2_000))
        return
    calls = len(traffic.calls.at_us)
    bar.bar(state, period_words=words, calls=calls)
    if not calls:
        st.subheader("No calls in this period")
        st.text("Choose a longer or another period above.")
        return
    _notes(traffic, present, state, begins_within=traffic.days[0] > period.first)
    _simulator(traffic, present)


def _within(period: Period, span: Span) -> Period:
    """Return the part of a period that the log covers: days before its beginning would only be empty."""
    if span.first_hour is None:
        return period
    first = max(period.first, local_day(span.first_hour, period.zone))
    return Period(first=min(first, period.last), until=period.until, zone=period.zone)


def _notes(traffic: Traffic, present: Limit | None, state: LogState, *, begins_within: bool) -> None:
    if present is None:
        words = ["routing.yaml has no budget yet; the limit to begin with is one that about every fifth day reaches"]
    else:
        words = [f"the limit to begin with is the present one, {fmt.usd(fmt.nusd(present.limit_nusd))} a day"]
    if begins_within:
        words.append(f"the log begins on {traffic.days[0]}")
    if traffic.days[-1] == local_day(state.now, traffic.zone):
        words.append("the last day is not over")
    st.caption(fmt.markdown(" · ".join(words)))


@st.fragment
def _simulator(traffic: Traffic, present: Limit | None) -> None:
    with states.Guarded():
        days_nusd = [int(nusd) for nusd in sweep(traffic.calls, ()).actual_nusd]
        on = scale(days_nusd, present)
        limit = cap_controls.choose(on, first_limit(days_nusd, present))
        compared = scenarios.kept(limit.name)
        rehearsal = rehearse(traffic, (limit, *compared, *grid(on, limit)))
        _results(rehearsal, len(compared))


def _results(rehearsal: Rehearsal, compared: int) -> None:
    traffic, effect = rehearsal.traffic, rehearsal.effects[0]
    others, frontier = rehearsal.effects[1 : 1 + compared], rehearsal.effects[1 + compared :]
    tiles.draw_with_notes(cap_results.cap_tiles(effect, len(traffic.days), len(traffic.calls.at_us)))
    st.caption(fmt.markdown(_counterfactual(rehearsal)))
    if (effect.already or effect.left) and not effect.moved:
        st.caption(
            "A limit was at work on some of these days when the calls were made. This one changes nothing that the "
            "log could show; try a lower one."
        )
    stem = _stem(rehearsal)
    panels.draw(
        panels.Panel(
            key="cap",
            title="Spend per day: what happened, and under the limit, USD",
            figure=lambda theme: cap_charts.spend_per_day(rehearsal, 0, theme),
            alt=cap_charts.spend_words(rehearsal, 0),
            table=lambda: cap_results.by_day(rehearsal, 0),
            stem=f"{stem}_days",
        )
    )
    left, right = st.columns(2)
    words = cap_charts.frontier_words(frontier, effect)
    with left:
        panels.draw(
            panels.Panel(
                key="saved",
                title="Spend saved, by daily limit, USD",
                figure=lambda theme: cap_charts.saved_by_limit(frontier, effect, theme),
                alt=words,
                table=lambda: scenarios.of(effect, frontier),
                stem=f"{stem}_frontier",
            )
        )
    with right:
        panels.draw(
            panels.Panel(
                key="wrong",
                title="Extra wrong answers, by daily limit",
                figure=lambda theme: cap_charts.wrong_by_limit(frontier, effect, theme),
                alt=words,
                table=lambda: scenarios.of(effect, frontier),
                stem=f"{stem}_frontier",
            )
        )
    _by_type(rehearsal)
    scenarios.draw(effect, others, stem)
    _small_print(rehearsal)


def _stem(rehearsal: Rehearsal) -> str:
    days = rehearsal.traffic.days
    limit = fmt.usd(fmt.nusd(rehearsal.effects[0].limit.limit_nusd)).removeprefix("$").replace(",", "")
    return f"tierwise_cap_{limit}_{_span(days[0], days[-1])}"


def _counterfactual(rehearsal: Rehearsal) -> str:
    effect = rehearsal.effects[0]
    labelled = int(rehearsal.traffic.labels.cheap.sum())
    return (
        "Simulated, and compared with what happened: degraded calls at the cost and the wrong rate of the cheaper tier "
        f"on the same payload type, from {fmt.plural(labelled, 'labelled answer')} there. Calls of types without such "
        f"evidence are unknown ({fmt.plural(effect.harm.unknown, 'call')}): they are in no figure of wrong answers or "
        "net."
    )


def _by_type(rehearsal: Rehearsal) -> None:
    table = cap_results.by_type(rehearsal.by_type(0))
    with st.container(border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**By payload type**", width="content")
            tables.download(table, key="csv", stem=_stem(rehearsal))
        tables.show(table, key="by_type", alt="Calls degraded, spend saved and extra wrong answers by payload type")


def _span(first: dt.date, last: dt.date) -> str:
    return f"{first}_to_{last}"


def _small_print(rehearsal: Rehearsal) -> None:
    effect = rehearsal.effects[0]
    with st.expander("What this assumes"):
        st.markdown("\n".join(f"- {fmt.markdown(words)}" for words in assumptions([effect])))
    with st.expander("This limit as a budget"):
        st.text("In routing.yaml; a running router takes it up within a second.")
        st.code(budget_yaml(effect.limit), language="yaml")
