"""What the routers are doing at this moment: a tile that renews itself while they write."""

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard.components import guard, states
from dashboard.library import Library
from dashboard.periods import Period, local_day
from dashboard.sums import Filters, LogState

EVERY_S: Final = 10
_LIVE_FOR_S: Final = 120.0


def is_live(state: LogState) -> bool:
    """Return whether lines came in within the last two minutes, and a process takes more in as they come."""
    return (
        state.watched
        and not state.demo
        and state.as_of is not None
        and (state.now - state.as_of).total_seconds() < _LIVE_FOR_S
    )


def draw(library: Library, state: LogState) -> None:
    """Draw the tile, while routers write."""
    if not is_live(state):
        return

    @st.fragment(run_every=EVERY_S)
    def tile() -> None:
        with states.Guarded("retry_live"):
            _tile(library)

    tile()


def _tile(library: Library) -> None:
    state = library.state()
    zone = ZoneInfo(state.zone)
    today = local_day(state.now, state.zone)
    total = library.overview(
        Filters(period=Period(first=today, until=today + dt.timedelta(days=1), zone=state.zone))
    ).total
    held = guard.held_now(library.events((guard.EVENT,)), state.now)
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="live"):
        st.badge("live" if is_live(state) else "quiet", icon=":material/sensors:", color="green")
        words = (
            f"today {fmt.plural(total.calls, 'call')}",
            fmt.usd(fmt.nusd(total.spend_nusd)),
            fmt.plural(total.degraded, "degraded call"),
            "guard "
            + (", ".join(f"{each.state} ({fmt.logged(each.budget, longest=40)})" for each in held) or "normal"),
            f"as of {fmt.instant(state.as_of, zone)}",
        )
        st.markdown(fmt.markdown(" · ".join(words)), width="content")
