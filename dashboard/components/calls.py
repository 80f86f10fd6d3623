"""The calls behind a number: the newest ones of a kind, each with the way to its receipt."""

from collections.abc import Sequence
from functools import partial
from typing import Final, cast
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard.components import cards, filters, tables
from dashboard.components.links import Links
from dashboard.drilldown import CALL_KINDS, MOST_CALLS, MOST_EXPORTED, CallKind, CallLine, CallWish
from dashboard.library import Library
from dashboard.sums import Filters

KIND: Final = "calls"


def draw(library: Library, links: Links, chosen: Filters, payload_type: str, zone: ZoneInfo, stem: str) -> None:
    """Draw the calls when their panel is opened, or when the address asks for a kind of them."""
    filters.note_unknown(KIND, "Kinds of calls", list(CALL_KINDS), where="known here")
    asked = KIND in st.query_params
    panel = st.expander("Calls behind these numbers", key="calls_panel", expanded=asked, on_change="rerun")
    if not panel.open:
        return
    with panel:
        kind = st.segmented_control(
            "Which", list(CALL_KINDS), default="all", required=True, key=KIND, bind="query-params", wrap=True
        )
        wish = CallWish(
            period=chosen.period,
            payload_type=payload_type,
            tiers=chosen.tiers,
            kind=cast("CallKind", kind or "all"),
        )
        found = library.calls(wish)
        if not found:
            cards.plain("No such call on these days.")
            return
        picked = tables.show(
            of(found, zone), key="calls_table", alt="The newest calls: time, tiers, status, label, cost", pick=True
        )
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            newest = f"the newest {MOST_CALLS}" if len(found) == MOST_CALLS else fmt.plural(len(found), "call")
            st.caption(fmt.markdown(f"{newest}, newest first · pick a row for its receipt"), width="content")
            tables.download(partial(_all, library, wish, zone), key="calls_csv", stem=f"{stem}_calls")
        if picked is not None and picked < len(found):
            links.call(found[picked].call_id)
        chosen_id = st.selectbox(
            "Open a receipt", [line.call_id for line in found], index=None, key="open_call", placeholder="choose a call"
        )
        if chosen_id is not None:
            links.call(chosen_id)


def _all(library: Library, wish: CallWish, zone: ZoneInfo) -> tables.Table:
    return of(library.calls(wish, MOST_EXPORTED), zone)


def of(calls: Sequence[CallLine], zone: ZoneInfo) -> tables.Table:
    """Return one row per call."""
    columns = (
        tables.Column(title="When", name="at", kind="text"),
        tables.Column(title="Call", name="call_id", kind="text"),
        tables.Column(title="Planned", name="tier_planned", kind="text", help="First tier of its path"),
        tables.Column(title="Served", name="tier_served", kind="text"),
        tables.Column(title="Model", name="model_served", kind="text"),
        tables.Column(title="Status", name="status", kind="text"),
        tables.Column(title="Reason", name="reason", kind="text"),
        tables.Column(title="Confidence", name="confidence", kind="fraction"),
        tables.Column(title="Right", name="correct", kind="fraction", help="What its label says: 1 right, 0 wrong"),
        tables.Column(title="Attempts", name="attempts", kind="count"),
        tables.Column(title="Cost", name="cost_usd", kind="usd", help="Shadows left out"),
        tables.Column(title="Latency", name="latency_ms", kind="exact_ms"),
        tables.Column(title="Run", name="run", kind="text"),
        tables.Column(title="Step", name="step", kind="text"),
    )
    return tables.Table(
        columns=columns,
        rows=tuple(
            (
                fmt.NOTHING if line.at is None else line.at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
                line.call_id,
                line.tier_planned,
                line.tier_served,
                line.model,
                line.status,
                f"{line.reason or ''}{' (degraded)' if line.degraded and line.reason != 'degraded' else ''}",
                line.confidence,
                line.correct,
                line.attempts,
                fmt.nusd(line.cost_nusd),
                line.latency_ms,
                line.run,
                line.step,
            )
            for line in calls
        ),
    )
