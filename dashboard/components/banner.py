"""What the last decision led to, with its line of the audit and the way back."""

from functools import partial
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard import identity
from dashboard.components import decisions
from dashboard.desk import Place


def draw(place: Place, zone: ZoneInfo) -> None:
    """Draw the banner, if a decision of this session has come to anything."""
    done = decisions.outcome()
    if done is None:
        return
    with st.container(border=True, key="banner"):
        text = fmt.markdown(fmt.logged(done.text, longest=1_000))
        if decisions.is_news(done):
            # the banner is at the top of the page, and who decides about a card further down does not see it
            st.toast(text, icon=":material/check_circle:" if done.good else ":material/info:")
        if done.good:
            st.success(text, icon=":material/check_circle:")
        else:
            st.warning(text, icon=":material/info:")
        with st.container(horizontal=True, vertical_alignment="center"):
            if done.row is not None:
                st.caption(fmt.markdown(decisions.row_words(done.row, zone)), width="content")
            if done.undo_seq is not None:
                st.button(
                    "Undo",
                    key="banner_undo",
                    icon=":material/undo:",
                    disabled=identity.refusal(place.who(), "undo") is not None,
                    on_click=partial(decisions.open_undo, place, done.undo_seq),
                )
            st.button("Close", key="banner_close", type="tertiary", on_click=decisions.put_away)
