"""Will spend stay inside its limits: what is spent of each budget now, day by day, and what the limits did."""

import datetime as dt
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import budget_charts
from dashboard import format as fmt
from dashboard.components import bar, cards, filters, guard, panels, states, tables
from dashboard.components.links import Links
from dashboard.holdings import LogEvent
from dashboard.library import Library
from dashboard.sums import Filters, LogState, Overview, Point, Span
from router_core.config import RoutingConfig
from router_core.config.sections import Budget

_EVENTS = ("guard", "alert", "budget_store", "shadows_dropped")


def render(library: Library, links: Links) -> None:
    """Draw the page from what ``library`` gives."""
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.title("Budgets and alerts", anchor=False, width="content")
        badge = st.empty()
    with states.Guarded():
        state = library.state()
        with badge:
            bar.demo_badge(state)
        span = states.span_or_no_log(state, library.span, links)
        if span is None:
            return
        guard.draw(library, state)
        _body(library, links, state, span)


def _body(library: Library, links: Links, state: LogState, span: Span) -> None:
    chosen = filters.choose_days(span, state)
    if chosen is None:
        st.subheader("Nothing here has a time")
        st.text("A budget needs to know when calls were made, and this log holds undated evaluations only.")
        return
    period, words = chosen
    found = library.overview(Filters(period=period))
    bar.bar(state, period_words=words, calls=found.total.calls)
    rules = library.rules()
    stem = bar.stem(words, state, "budgets")
    _budgets(rules, links)
    for budget in rules.budgets if rules is not None else ():
        if budget.per != "day":
            continue
        if period.grain == "day":
            _days(budget, found, stem)
        else:
            cards.plain(f"Choose a shorter period to see days against the limit of {fmt.logged(budget.name)}.")
    _degraded(found, stem)
    _history(library.events(_EVENTS), ZoneInfo(state.zone), stem)


def _budgets(rules: RoutingConfig | None, links: Links) -> None:
    with st.container(border=True, key="budgets"):
        st.markdown("**Budgets in routing.yaml**")
        if rules is None or not rules.budgets:
            cards.plain(
                "There is no budget: nothing ever holds a call back. The cap simulator shows what one would do."
            )
        else:
            table = budget_table(rules.budgets)
            tables.show(table, key="budget_table", alt="Budgets: limit, period, what happens there")
            cards.plain(
                "Critical calls are never degraded. A running router takes a change of routing.yaml up within a second."
            )
        if st.button("Try another limit in the cap simulator", key="to_caps", icon=":material/tune:", type="tertiary"):
            links.page("caps")


def budget_table(budgets: Sequence[Budget]) -> tables.Table:
    """Return one row per budget of the config."""
    columns = (
        tables.Column(title="Budget", name="budget", kind="text"),
        tables.Column(title="Per", name="per", kind="text"),
        tables.Column(title="Limit", name="limit_usd", kind="usd"),
        tables.Column(title="At the limit", name="on_limit", kind="text"),
        tables.Column(title="Critical reserve", name="critical_reserve_usd", kind="usd"),
        tables.Column(title="Saves from", name="taper_from", kind="rate", help="No shadows from this share on"),
        tables.Column(title="Stops at", name="stop_usd", kind="usd", help="Non-critical calls are refused from here"),
        tables.Column(title="Covers", name="scope", kind="text"),
    )
    at_limit = {"cheapest": "cheapest target", "reject": "refused"}
    return tables.Table(
        columns=columns,
        rows=tuple(
            (
                budget.name,
                budget.per if budget.window_h is None else f"{budget.window_h} h rolling",
                float(budget.usd),
                at_limit[budget.on_limit],
                float(budget.critical_reserve_usd),
                budget.taper_from,
                None if budget.stop_usd is None else float(budget.stop_usd),
                _scope(budget),
            )
            for budget in budgets
        ),
    )


def _scope(budget: Budget) -> str:
    scope = budget.scope
    parts = [", ".join(scope.payload_types)] if scope.payload_types else []
    parts += [f"group {scope.group}"] if scope.group else []
    parts += [f"{key}={value}" for key, value in (scope.tag or {}).items()]
    parts += ["each run"] if scope.run else []
    return " · ".join(parts) or "everything"


def _days(budget: Budget, found: Overview, stem: str) -> None:
    limit_usd = float(budget.usd)
    name = fmt.logged(budget.name, longest=60)
    days = found.points
    over = sum(1 for point in days if point.sums.spend_nusd >= limit_usd * fmt.NANO)
    panels.draw(
        panels.Panel(
            key=f"days_{budget.name}",
            title=f"Spend per day against the budget {name}, USD",
            figure=lambda theme: budget_charts.spend_against_limit(days, limit_usd, theme),
            alt=budget_charts.spend_words(days, limit_usd),
            table=lambda: day_table(days, limit_usd),
            stem=f"{stem}_{name}",
            notes=(
                f"All spend of a day: {fmt.plural(over, 'day')} of {fmt.count(len(days))} at or over "
                f"{fmt.usd(limit_usd)}. Critical and degraded calls go on beyond the limit.",
            ),
        )
    )


def day_table(points: Sequence[Point], limit_usd: float) -> tables.Table:
    """Return one row per day: spend, its share of the limit, degraded calls."""
    columns = (
        tables.Column(title="Day", name="day", kind="text"),
        tables.Column(title="Spend", name="spend_usd", kind="usd"),
        tables.Column(title="Of the limit", name="of_limit", kind="rate"),
        tables.Column(title="Calls", name="calls", kind="count"),
        tables.Column(title="Degraded", name="degraded", kind="count"),
    )
    return tables.Table(
        columns=columns,
        rows=tuple(
            (
                point.slice.first.isoformat(),
                fmt.nusd(point.sums.spend_nusd),
                point.sums.spend_nusd / fmt.NANO / limit_usd if limit_usd else None,
                point.sums.calls,
                point.sums.degraded,
            )
            for point in points
        ),
    )


def _degraded(found: Overview, stem: str) -> None:
    """Say which payload types a limit moved down, and how their answers went."""
    rows = [row for row in found.by_type if row.sums.degraded]
    with st.container(border=True, key="degraded"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Degraded work**", width="content")
            if rows:
                tables.download(_degraded_table(found), key="degraded_csv", stem=f"{stem}_degraded")
        if not rows:
            cards.plain("No limit moved any call down in this period.")
            return
        tables.show(_degraded_table(found), key="degraded_table", alt="Calls that a limit moved down, by payload type")
        share = fmt.rate(found.total.degraded / found.total.calls) if found.total.calls else fmt.NOTHING
        cards.plain(f"{fmt.plural(found.total.degraded, 'call')}, {share} of all, went below their plan.")


def _degraded_table(found: Overview) -> tables.Table:
    columns = (
        tables.Column(title="Payload type", name="payload_type", kind="text"),
        tables.Column(title="Degraded", name="degraded", kind="count"),
        tables.Column(title="Of its calls", name="degraded_share", kind="rate"),
        tables.Column(title="Calls", name="calls", kind="count"),
    )
    rows = sorted((row for row in found.by_type if row.sums.degraded), key=lambda row: -row.sums.degraded)
    return tables.Table(
        columns=columns,
        rows=tuple(
            (
                row.name or "(none)",
                row.sums.degraded,
                row.sums.degraded / row.sums.calls if row.sums.calls else None,
                row.sums.calls,
            )
            for row in rows
        ),
    )


def _history(events: Sequence[LogEvent], zone: ZoneInfo, stem: str) -> None:
    with st.container(border=True, key="alerts"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**What the limits did, and who was told**", width="content")
            table = event_table(events, zone)
            if events:
                tables.download(table, key="alerts_csv", stem=f"{stem}_events")
        if not events:
            cards.plain("Nothing yet: no limit was reached, and nobody had to be told.")
            return
        tables.show(table, key="alerts_table", alt="Events of limits and alerts, newest first")
        cards.plain(f"{fmt.plural(len(events), 'event')}, newest first · times in {zone.key}")


def event_table(events: Sequence[LogEvent], zone: ZoneInfo) -> tables.Table:
    """Return one row per event."""
    columns = (
        tables.Column(title="When", name="at", kind="text"),
        tables.Column(title="What", name="event", kind="text"),
        tables.Column(title="State", name="state", kind="text"),
        tables.Column(title="Budget", name="budget", kind="text"),
        tables.Column(title="Limit", name="limit_usd", kind="usd"),
        tables.Column(title="Spent", name="spent_usd", kind="usd", help="When it was reached, reservations included"),
        tables.Column(title="Until", name="until", kind="text"),
        tables.Column(title="More", name="more", kind="text"),
    )
    return tables.Table(columns=columns, rows=tuple(_event(event, zone) for event in events))


_KNOWN = frozenset({"state", "budget", "limit_nusd", "noncritical_nusd", "critical_nusd", "until_us"})


def _event(event: LogEvent, zone: ZoneInfo) -> tuple[tables.Value, ...]:
    details = event.details
    spent = [details.get(key) for key in ("noncritical_nusd", "critical_nusd")]
    known = [amount for amount in spent if isinstance(amount, int)]
    limit, until_us = details.get("limit_nusd"), details.get("until_us")
    until = dt.datetime.fromtimestamp(until_us / 1e6, dt.UTC) if isinstance(until_us, int | float) else None
    text = details.get("text")
    more = ", ".join(f"{key}: {value}" for key, value in details.items() if key not in _KNOWN)
    return (
        fmt.instant(event.at, zone),
        event.event,
        str(details.get("state") or details.get("kind") or ""),
        str(details.get("budget") or ""),
        fmt.nusd(limit) if isinstance(limit, int) else None,
        fmt.nusd(sum(known)) if known else None,
        None if until is None else fmt.instant(until, zone),
        str(text) if text else more,
    )
