"""Where the numbers come from, whether they are whole, and how to bring more in."""

from collections.abc import Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import advice, identity
from dashboard import format as fmt
from dashboard.components import bar, cards, intake, states, tables
from dashboard.desk import Place, Workshop
from dashboard.holdings import Holdings
from dashboard.library import Library
from dashboard.sums import LogState
from router_core.call_log.doctor import Finding
from router_core.config import RoutingConfig
from router_core.control.access import Access

_MARKS: Final = {"ok": "✓ ok", "note": "○ worth knowing", "wrong": "■ wrong"}
_COLOURS: Final[Mapping[str, advice.BadgeColour]] = {"ok": "green", "note": "gray", "wrong": "red"}
_ORDER: Final = ("wrong", "note", "ok")


def render(place: Place, library: Library, workshop: Workshop, access: Access) -> None:
    """Draw the page from what it is given."""
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.title("Data and settings", anchor=False, width="content")
        badge = st.empty()
    with states.Guarded():
        state = library.state()
        with badge:
            bar.demo_badge(state)
        bar.desk_bar(state, place, f"log of {workshop.reading}")
        intake.draw(place, workshop, state, is_empty=not state.exists or not library.span().calls)
        zone = ZoneInfo(state.zone)
        _health(library.findings(), state)
        if state.exists:
            _holdings(library.holdings(), state, zone)
        _settings(place, library.rules(), access, state)


def _health(findings: Sequence[Finding], state: LogState) -> None:
    wrong = [finding for finding in findings if finding.state == "wrong"]
    with st.container(border=True, key="health"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            with st.container(horizontal=True, vertical_alignment="center", width="content"):
                st.markdown("**Health**", width="content")
                if wrong:
                    st.badge(f"■ {fmt.plural(len(wrong), 'thing')} to mend", color="red")
                else:
                    st.badge("✓ nothing to mend", color="green")
            tables.download(health_table(findings), key="health_csv", stem=fmt.file_stem("health", state.data_version))
        for finding in sorted(findings, key=lambda finding: _ORDER.index(finding.state)):
            _finding(finding)
        cards.plain("As tierwise doctor says it, looked at when this page was drawn.")


def _finding(finding: Finding) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"finding_{finding.name}"):
        st.badge(_MARKS[finding.state], color=_COLOURS[finding.state])
        st.markdown(f"**{fmt.markdown(finding.name)}**", width="content")
        st.markdown(fmt.markdown(fmt.logged(finding.text, longest=1_000)), width="content")
        if finding.mend:
            st.caption(fmt.markdown(f"→ {fmt.logged(finding.mend, longest=1_000)}"), width="content")


def health_table(findings: Sequence[Finding]) -> tables.Table:
    """Return one row per finding, what is wrong first."""
    columns = (
        tables.Column(title="State", name="state", kind="text"),
        tables.Column(title="What", name="name", kind="text"),
        tables.Column(title="Found", name="text", kind="text"),
        tables.Column(title="What to do", name="mend", kind="text"),
    )
    ordered = sorted(findings, key=lambda finding: _ORDER.index(finding.state))
    return tables.Table(
        columns=columns,
        rows=tuple((_MARKS[finding.state], finding.name, finding.text, finding.mend) for finding in ordered),
    )


def _holdings(found: Holdings, state: LogState, zone: ZoneInfo) -> None:
    with st.container(border=True, key="holdings"):
        st.markdown("**What the log holds**")
        facts = [(name, fmt.count(number), "rows") for name, number in found.rows.items()]
        facts.append(("lines not in it yet", fmt.byte_size(state.backlog_bytes), "written by routers"))
        facts.append(("labels complete to", fmt.instant(found.outcomes_as_of, zone), "late ones update their day"))
        with st.grid(5, min_column_width=150, gap="small"):
            for name, value, note in facts:
                lines = (f":small[{fmt.markdown(name)}]", f"**{fmt.markdown(value)}**", f":small[{note}]")
                st.markdown("  \n".join(lines))
        source = source_table(found, zone)
        tables.show(source, key="source_table", alt="Calls by where they came from")
        tables.download(source, key="source_csv", stem=fmt.file_stem("sources", state.data_version))
        refused = found.rows.get("quarantine", 0)
        if refused:
            st.markdown(f"**{fmt.markdown(fmt.plural(refused, 'line'))} could not be used**")
            tables.show(_refused(found), key="refused_table", alt="Lines that could not be used, by reason")
    with st.container(border=True, key="imports"):
        st.markdown("**Imports**")
        if not found.imports:
            cards.plain("Nothing was imported into this log.")
            return
        tables.show(import_table(found, zone), key="import_table", alt="Imports, newest first")
        tables.download(import_table(found, zone), key="import_csv", stem=fmt.file_stem("imports", state.data_version))


def source_table(found: Holdings, zone: ZoneInfo) -> tables.Table:
    """Return one row per source of calls."""
    columns = (
        tables.Column(title="Source", name="source", kind="text"),
        tables.Column(title="Calls", name="calls", kind="count"),
        tables.Column(title="First hour", name="first", kind="text"),
        tables.Column(title="Last hour", name="last", kind="text"),
    )
    return tables.Table(
        columns=columns,
        rows=tuple(
            (share.source or "(none)", share.calls, fmt.instant(share.first, zone), fmt.instant(share.last, zone))
            for share in found.sources
        ),
    )


def import_table(found: Holdings, zone: ZoneInfo) -> tables.Table:
    """Return one row per import."""
    columns = (
        tables.Column(title="When", name="at", kind="text"),
        tables.Column(title="File", name="file", kind="text"),
        tables.Column(title="Read as", name="format", kind="text"),
        tables.Column(title="Brought", name="rows", kind="count", help="Calls or rows that were new"),
    )
    return tables.Table(
        columns=columns,
        rows=tuple((fmt.instant(each.at, zone), each.file, each.format, each.rows) for each in found.imports),
    )


def _refused(found: Holdings) -> tables.Table:
    columns = (
        tables.Column(title="Reason", name="reason", kind="text"),
        tables.Column(title="Lines", name="lines", kind="count"),
    )
    return tables.Table(columns=columns, rows=found.refused)


def _settings(place: Place, rules: RoutingConfig | None, access: Access, state: LogState) -> None:
    with st.container(border=True, key="settings"):
        st.markdown("**Settings**")
        zone = f"Reporting zone: {state.zone}"
        words = [
            f"{zone}, from routing.yaml"
            if rules is not None
            else f"{zone}: there is no usable routing.yaml to say other",
            "Currency: USD; amounts are kept to the nano-dollar",
            f"Tiers, cheapest first: {', '.join(fmt.logged(tier, longest=60) for tier in state.tiers) or 'none set'}",
        ]
        if rules is not None:
            words.append(f"Prices set by hand: {fmt.count(len(rules.prices))}; others come from the price lists")
        st.text("\n".join(words))
        if rules is not None and rules.prices:
            prices = price_table(rules)
            cards.plain("Prices set by hand, USD per million tokens:")
            tables.show(prices, key="price_table", alt="Prices set in routing.yaml, USD per million tokens")
        with st.container(horizontal=True):
            st.button("Clear what pages keep", key="clear_caches", help="Reads everything anew.", on_click=_clear)
    with st.container(border=True, key="access"):
        st.markdown("**Who may do what**")
        st.text(fmt.logged(identity.words(place.who()), longest=300))
        tables.show(role_table(access), key="role_table", alt="Roles by name, as access.yaml gives them")
        two = access.two_person_above_usd_month
        words = ["Roles are in access.yaml beside routing.yaml; who is not in it may look."]
        words += [f"From {fmt.usd(two)} a month on, a change takes two people."] if two is not None else []
        cards.plain(" ".join(words))


def _clear() -> None:
    st.cache_data.clear()
    st.cache_resource.clear()


def price_table(rules: RoutingConfig) -> tables.Table:
    """Return one row per price that the config sets, USD per million tokens."""
    columns = (
        tables.Column(title="Model", name="model", kind="text"),
        tables.Column(title="Input", name="input_usd_per_m", kind="usd"),
        tables.Column(title="Cached", name="cached_usd_per_m", kind="usd"),
        tables.Column(title="Output", name="output_usd_per_m", kind="usd"),
    )
    return tables.Table(
        columns=columns,
        rows=tuple(
            (model, float(price.input), None if price.cached is None else float(price.cached), float(price.output))
            for model, price in rules.prices.items()
        ),
    )


_MAY: Final = {
    "viewer": "look at everything",
    "analyst": "look, claim, snooze and dismiss proposals, look for moves, import",
    "approver": "what an analyst may, and apply, undo and roll back changes",
    "admin": "what an approver may, and release what others claimed",
}


def role_table(access: Access) -> tables.Table:
    """Return one row per name with a role, and what the role allows."""
    columns = (
        tables.Column(title="Who", name="who", kind="text"),
        tables.Column(title="Role", name="role", kind="text"),
        tables.Column(title="May", name="may", kind="text"),
    )
    roles = dict(access.roles) or {"local": "approver"}
    return tables.Table(columns=columns, rows=tuple((name, role, _MAY[role]) for name, role in roles.items()))
