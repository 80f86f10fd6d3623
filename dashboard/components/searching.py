"""Looking for moves from a page, and what to say before anybody has."""

from functools import partial

import streamlit as st

from dashboard import format as fmt
from dashboard import identity
from dashboard.components import cards, states
from dashboard.desk import Place
from dashboard.sums import LogState

_WANTED, _FOUND = "search_wanted", "search_found"


def none_yet(place: Place, state: LogState) -> None:
    """Say how proposals come into being, and offer to look for some."""
    if not state.exists:
        states.no_log()
        return
    st.subheader("Nobody has looked for moves yet")
    st.markdown("A search reads the log and the routing config and says about each payload type what to do:")
    st.code("tierwise propose", language=None)
    again(place, primary=True)


def again(place: Place, *, primary: bool = False) -> None:
    """Draw the button that looks for moves, and the progress of a search that was asked for."""
    refused = identity.refusal(place.who(), "propose")
    with st.container(key="search"):
        st.button(
            "Look for moves now",
            key="look",
            type=cards.leading() if primary else "secondary",
            icon=":material/search:",
            disabled=refused is not None,
            help=None if refused is None else fmt.markdown(fmt.logged(refused)),
            on_click=partial(_want, place),
        )
        if st.session_state.pop(_WANTED, False):
            _look(place)
        failed = st.session_state.get(_FOUND)
        if failed:
            st.error("The search for moves failed.")
            st.text(failed)


def _want(place: Place) -> None:
    if identity.refusal(place.who(), "propose") is None:
        st.session_state[_WANTED] = True


def _look(place: Place) -> None:
    with st.status("Looking for moves in the log…", expanded=True):
        found = place.search()
    st.session_state[_FOUND] = None if found.ok else fmt.logged(found.said, longest=2_000)
    st.rerun()
