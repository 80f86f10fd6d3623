"""What runs now, who changed it and why, and the way back."""

from collections.abc import Mapping
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard import provenance
from dashboard.components import banner, bar, cards, dialogs, ledger, states, tables, versions
from dashboard.desk import Place
from dashboard.sums import LogState
from router_core.config import RoutingConfig, parse
from router_core.config.sections import PayloadType
from router_core.control.calibrations import Calibrations, calibrations_beside
from router_core.control.records import ConfigVersion
from router_core.control.reviews import Head
from router_core.errors import ConfigError, RouterError

LOOKED_BACK: Final = 50


def render(place: Place) -> None:
    """Draw the page from what ``place`` gives."""
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.title("Routing and audit", anchor=False, width="content")
        badge = st.empty()
    with states.Guarded():
        state = place.source.state()
        with badge:
            bar.demo_badge(state)
        _body(place, state)


def _body(place: Place, state: LogState) -> None:
    zone = ZoneInfo(state.zone)
    _note_hand_edit(place)
    head = place.desk.head()
    bar.desk_bar(state, place, f"config {head.version}" if head.version else "no config")
    banner.draw(place, zone)
    _running(place, head, zone)
    _types(place, head, zone)
    versions.draw(place, head, zone)
    ledger.draw(place, zone)
    dialogs.draw(place)


def _note_hand_edit(place: Place) -> None:
    try:
        place.desk.observe()
    except RouterError as error:
        # what is in the file is shown all the same, as not in history yet
        cards.plain(f"An edit by hand cannot be taken into history now: {fmt.logged(str(error))}")


def _running(place: Place, head: Head, zone: ZoneInfo) -> None:
    with st.container(border=True, key="running"):
        st.markdown("**What runs now**")
        st.text(str(head.path))
        st.markdown(fmt.markdown(running_words(head, zone)))
        if head.reason:
            cards.plain(f"Reason: {fmt.logged(head.reason)}")
        _step(place, head)
        if head.problem is not None:
            kept = next((version for version in place.desk.history(limit=2) if version.version != head.version), None)
            last = "the last good version" if kept is None else f"the last good version (such as {kept.version})"
            st.error(fmt.markdown(f"Routers refuse this file. Those that run keep {last}; new ones do not start."))
            st.text("\n".join(fmt.logged(line, longest=4_000) for line in head.problem[:4_000].splitlines()))


def running_words(head: Head, zone: ZoneInfo) -> str:
    """Return which version the file holds, since when, by whom and how."""
    if not head.version:
        return "There is no readable config."
    number = "not in history yet" if head.seq is None else f"change {head.seq}"
    by = f" by {fmt.logged(head.by)}" if head.by else ""
    what = " ".join((provenance.KINDS[head.kind], *head.proposal_ids))
    return f"Version {head.version} · {number} · {what}{by} · since {fmt.moment(head.since_us, zone)}"


def _step(place: Place, head: Head) -> None:
    in_step = head.seq is not None and head.kind != "hand"
    with st.container(horizontal=True, vertical_alignment="center", key="in_step"):
        if in_step:
            st.badge("✓ file in step with history", color="green")
            return
        word = "▲ edited outside, not in history yet" if head.seq is None else "▲ edited by hand, taken into history"
        st.badge(word, color="orange")
    before = _before(place, head)
    if before is not None:
        cards.lazy_diff("Show what was edited", key="hand_diff", of=partial(place.desk.diff, before, head.version))


def _before(place: Place, head: Head) -> str | None:
    known = place.desk.history(limit=2)
    if head.seq is None:
        return known[0].version if known else None
    return known[1].version if len(known) > 1 else None


def _types(place: Place, head: Head, zone: ZoneInfo) -> None:
    if head.config is None:
        return
    past = place.desk.history(limit=LOOKED_BACK)
    found = provenance.origins(head.config, ((version, _config(place, head, version)) for version in past))
    table = provenance_table(head, found, zone)
    with st.container(border=True, key="types"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Payload types**", width="content")
            tables.download(table, key="types_csv", stem=f"tierwise_routing_{head.version}")
        tables.show(table, key="types_table", alt="Path, origin and price of each payload type")
        cards.plain(f"{fmt.plural(len(table.rows), 'payload type')} · * stands for all others · times in {zone.key}")


def _config(place: Place, head: Head, version: ConfigVersion) -> RoutingConfig | None:
    there = calibrations_beside(head.path)
    return _parsed(place.desk.text(version.seq), there, there.seen)


@st.cache_resource(max_entries=200, show_spinner=False)
def _parsed(data: bytes, _there: Calibrations, seen: frozenset[tuple[str, int, int]]) -> RoutingConfig | None:
    del seen  # what is kept is kept for these files
    try:
        return parse(data, source="history", calibrations=_there)
    except ConfigError:
        return None


def provenance_table(head: Head, found: Mapping[str, provenance.Origin], zone: ZoneInfo) -> tables.Table:
    """Return one row per payload type of the running config: how it is routed, since when, by whom."""
    columns = (
        tables.Column(title="Payload type", name="payload_type", kind="text"),
        tables.Column(title="Path", name="path", kind="text", help="Tiers in order; in brackets: accepted from"),
        tables.Column(title="Since", name="since", kind="text"),
        tables.Column(title="By", name="by", kind="text"),
        tables.Column(title="Source", name="source", kind="text"),
        tables.Column(title="Error price", name="error_cost_usd", kind="usd", help="What a wrong answer costs"),
        tables.Column(title="Shadow", name="shadow", kind="text", help="Unserved calls made for evidence"),
        tables.Column(title="Critical", name="critical", kind="text", help="Never degraded by a limit"),
    )
    rules = {} if head.config is None else head.config.payload_types
    return tables.Table(
        columns=columns,
        rows=tuple(_type_row(name, rule, found[name], zone) for name, rule in rules.items()),
    )


def _type_row(name: str, rule: PayloadType, origin: provenance.Origin, zone: ZoneInfo) -> tuple[tables.Value, ...]:
    version = origin.version
    return (
        name,
        provenance.steps(rule.path),
        None if version is None else fmt.moment(version.since_us, zone),
        None if version is None else version.by,
        origin.source,
        None if rule.error_cost_usd is None else float(rule.error_cost_usd),
        provenance.shadows(rule),
        "critical" if rule.critical else "",
    )
