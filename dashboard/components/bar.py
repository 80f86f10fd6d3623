"""The line under every page's title: which period, which zone, how many calls, how fresh."""

from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard import identity
from dashboard.desk import Place
from dashboard.sums import LogState

_MARK = " · "


def bar(state: LogState, *, period_words: str, calls: int) -> None:
    """Draw the line, and an amber chip when lines wait to be taken in."""
    parts = [period_words, state.zone, fmt.plural(calls, "call"), f"data as of {_fresh(state)}"]
    parts += [f"config {state.config_version}"] if state.config_version else []
    with st.container(horizontal=True, vertical_alignment="center", key="bar"):
        st.caption(fmt.markdown(_MARK.join(parts)), width="content")
        _stale(state)


def stem(period_words: str, state: LogState, what: str = "") -> str:
    """Return the beginning of the names of what a page gives away: window, zone and version of the data."""
    days = period_words.split(" (", maxsplit=1)[0].replace(" to ", "_")
    return fmt.file_stem(*days.split("_"), state.zone, state.data_version, what)


def _fresh(state: LogState) -> str:
    if state.as_of is None:
        return fmt.NOTHING
    age = fmt.age((state.now - state.as_of).total_seconds())
    return f"{fmt.instant(state.as_of, ZoneInfo(state.zone))} ({age})"


def _stale(state: LogState) -> None:
    if state.stale:
        st.badge("stale", icon=":material/schedule:", color="orange", help="Lines wait, and nobody takes them in.")
    if state.backlog_bytes:
        waiting = fmt.byte_size(state.backlog_bytes)
        st.caption(fmt.markdown(f"{waiting} written by routers, not in these numbers yet"), width="content")


def demo_badge(state: LogState) -> None:
    """Say that everything shown was simulated, when it was."""
    if state.demo:
        st.badge("DEMO DATA (simulated)", icon=":material/science:", color="violet")


def desk_bar(state: LogState, place: Place, words: str) -> None:
    """Draw the line of a page on which somebody decides: what it shows, how fresh, and who decides."""
    actor = place.who()
    with st.container(horizontal=True, vertical_alignment="center", key="bar"):
        st.badge(fmt.markdown(fmt.logged(identity.words(actor))), icon=":material/person:", color="gray")
        st.caption(fmt.markdown(_MARK.join((words, state.zone, f"data as of {_fresh(state)}"))), width="content")
        _stale(state)
    refused = identity.refusal(actor, "apply")
    if refused:
        st.caption(fmt.markdown(f"You can look at everything here. {fmt.logged(refused)}"))
    if place.trouble:
        with st.container(key="trouble"):
            st.warning("access.yaml cannot be used, so everybody is a viewer until it is mended.")
            st.text(fmt.logged(place.trouble, longest=2_000))
