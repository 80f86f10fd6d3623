"""The cap simulator's controls: a slider and a number box that agree, and the reserve; all in the address."""

import streamlit as st

from dashboard import format as fmt
from dashboard.rehearsals import Scale, make_limit
from router_core.decide.guard import Limit
from router_core.types import NANO

_MOST_USD = 1_000_000_000.0
_LIMIT, _SLIDER, _RESERVE = "limit", "limit_slider", "reserve"


def choose(on: Scale, first: Limit) -> Limit:
    """Draw the controls and return the limit they are set to.

    The number box is what counts, and what the address holds.
    """
    with st.container(key="cap_controls", border=True):
        left, middle, right = st.columns([3, 1, 1], vertical_alignment="bottom")
        usd = middle.number_input(
            "Daily limit, USD",
            min_value=0.0,
            max_value=_MOST_USD,
            value=first.limit_nusd / NANO,
            step=on.step_usd,
            format=f"%.{on.decimals}f",
            key=_LIMIT,
            bind="query-params",
        )
        reserve = right.number_input(
            "Critical reserve, USD",
            min_value=0.0,
            max_value=_MOST_USD,
            value=first.critical_reserve_nusd / NANO,
            step=on.step_usd,
            format=f"%.{on.decimals}f",
            key=_RESERVE,
            bind="query-params",
            help="The part of the limit that non-critical calls may never use.",
        )
        # the same amount on both, also one between the slider's steps or beyond the traffic's scale
        top = max(on.top_usd, usd)
        st.session_state[_SLIDER] = usd
        left.slider(
            fmt.markdown(f"Daily limit, $0 to {fmt.usd(top)}"),
            0.0,
            top,
            step=on.step_usd,
            format=f"$%.{on.decimals}f",
            key=_SLIDER,
            on_change=_take_slider,
        )
    return make_limit(usd, reserve, first.name)


def _take_slider() -> None:
    st.session_state[_LIMIT] = float(st.session_state[_SLIDER])
