"""The line under every page's title: which period, which zone, how many calls, how fresh."""

from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard.sums import LogState

_MARK = " · "


def bar(state: LogState, *, period_words: str, calls: int) -> None:
    """Draw the line, and an amber chip when lines wait to be taken in."""
    fresh = fmt.NOTHING
    if state.as_of is not None:
        age = fmt.age((state.now - state.as_of).total_seconds())
        fresh = f"{fmt.instant(state.as_of, ZoneInfo(state.zone))} ({age})"
    parts = (period_words, state.zone, fmt.plural(calls, "call"), f"data as of {fresh}")
    with st.container(horizontal=True, vertical_alignment="center", key="bar"):
        st.caption(fmt.markdown(_MARK.join(parts)), width="content")
        if state.stale:
            st.badge("stale", icon=":material/schedule:", color="orange", help="Lines wait, and nobody takes them in.")
        if state.backlog_bytes:
            waiting = fmt.byte_size(state.backlog_bytes)
            st.caption(fmt.markdown(f"{waiting} written by routers, not in these numbers yet"), width="content")


def demo_badge(state: LogState) -> None:
    """Say that everything shown was simulated, when it was."""
    if state.demo:
        st.badge("DEMO DATA (simulated)", icon=":material/science:", color="violet")
