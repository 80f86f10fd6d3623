"""The moves that promise most, on the first page."""

import streamlit as st

from dashboard import advice
from dashboard import format as fmt
from dashboard.components.links import Links
from dashboard.desk import Place

SHOWN = 5
_READ = 200


def draw(place: Place, links: Links) -> None:
    """Draw the open moves with the highest sure gain, and what they promise together."""
    moves = [
        entry for entry in place.desk.entries(advice.GROUPS["open"], limit=_READ) if entry.proposal.draft.kind == "move"
    ]
    with st.container(border=True, height="stretch", key="opportunities"):
        st.markdown("**Top opportunities**")
        if not moves:
            st.caption(
                "No move is on offer. Recommendations says why, and what evidence is missing."
                if place.desk.latest_run() is not None
                else "Nobody has looked for moves yet: Recommendations does."
            )
        for entry in advice.ranked(moves)[:SHOWN]:
            draft = entry.proposal.draft
            name = fmt.markdown(fmt.logged(draft.payload_type, longest=60))
            net = f"{fmt.usd_signed(draft.net_usd_month.mean)} per month"
            sure = f"{fmt.usd_range(draft.net_usd_month.low, draft.net_usd_month.high)} (90%)"
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{name}** {fmt.markdown(advice.headline(draft))}", width="content")
                for badge in advice.badges(draft):
                    st.badge(badge.text, color=badge.colour)
            st.caption(fmt.markdown(f"{net} · {sure} · {entry.proposal.proposal_id}"))
        if st.button("All recommendations", key="to_recommendations", icon=":material/arrow_forward:", type="tertiary"):
            links.page("recommendations")
