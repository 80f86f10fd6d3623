"""What the last search for moves said about every payload type."""

from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard.components import tables
from router_core.control.reviews import Run

WORDS: Final[Mapping[str, str]] = {
    "move": "move",
    "hold": "hold",
    "not_enough_evidence": "not enough evidence",
    "no_error_price": "no error price",
    "blocked": "blocked",
    "no_calls": "no calls",
}


def when(run: Run | None, zone: ZoneInfo) -> str:
    """Return when the last search was, and of what."""
    if run is None:
        return "no search for moves yet"
    parts = [f"last search for moves {fmt.moment(run.at_us, zone)}"]
    if run.window_us is not None:
        first, last = (fmt.moment(us, zone)[:10] for us in run.window_us)
        parts.append(f"evidence of {first} to {last}")
    return " · ".join(parts)


def draw(run: Run | None, zone: ZoneInfo) -> None:
    """Draw one row per payload type: verdict and sentence."""
    if run is None or not run.verdicts:
        return
    table = of(run)
    with st.container(border=True, key="verdicts"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**What the last search said about each payload type**", width="content")
            tables.download(table, key="verdicts_csv", stem="tierwise_verdicts")
        tables.show(table, key="verdicts_table", alt="Verdict and reason by payload type", lines=3)
        st.caption(fmt.markdown(when(run, zone)))


def of(run: Run) -> tables.Table:
    """Return one row per payload type."""
    return tables.Table(
        columns=(
            tables.Column(title="Payload type", name="payload_type", kind="text"),
            tables.Column(title="Verdict", name="verdict", kind="text"),
            tables.Column(title="Why", name="why", kind="text"),
            tables.Column(title="Proposal", name="proposal_id", kind="text"),
        ),
        rows=tuple(
            (row.payload_type, WORDS.get(row.verdict, row.verdict), row.text, row.proposal_id) for row in run.verdicts
        ),
    )
