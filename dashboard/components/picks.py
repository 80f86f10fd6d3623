"""The filters of the Recommendations page, all of them in the address."""

from collections.abc import Mapping
from typing import Final, cast

import streamlit as st

from dashboard import advice
from dashboard.components import filters, states
from router_core.control.records import ProposalKind, ProposalState

STATE, RISK, KIND, FIND, PAGE, SHAPE = "state", "risk", "kind", "find", "page", "as"
_LABELS: Final[Mapping[advice.Group, str]] = {
    "open": "Open",
    "snoozed": "Snoozed",
    "applied": "Applied",
    "dismissed": "Dismissed",
    "expired": "Expired or replaced",
}
_KINDS: Final[Mapping[str, ProposalKind]] = {"moves": "move", "trials": "evidence"}


def headline(counts: Mapping[ProposalState, int]) -> str:
    """Return how many proposals are in each group: ``Open 5 · Snoozed 1 · ...``."""
    return " · ".join(f"{label} {advice.of_group(counts, group):,}" for group, label in _LABELS.items())


def choose() -> tuple[advice.Group, advice.Wish]:
    """Draw the filters and return the chosen group and wish."""
    for key, noun, options in (
        (STATE, "States", advice.GROUPS),
        (RISK, "Risks", advice.RISKS),
        (KIND, "Kinds", _KINDS),
    ):
        filters.note_unknown(key, noun, list(options), where="known here")
    with st.container(horizontal=True, vertical_alignment="bottom", key="picks"):
        group = st.segmented_control(
            "State", list(advice.GROUPS), default="open", required=True, key=STATE, bind="query-params", wrap=True
        )
        risks = st.pills(
            "Risk", list(advice.RISKS), selection_mode="multi", key=RISK, bind="query-params", help=_RISK_HELP
        )
        kind = st.pills("Kind", list(_KINDS), key=KIND, bind="query-params", help=_KIND_HELP)
        find = st.text_input(
            "Search", key=FIND, bind="query-params", placeholder="payload type, tier or id", width=200, max_chars=100
        )
    return cast("advice.Group", group or "open"), advice.Wish(
        risks=tuple(risks or ()), kind=_KINDS.get(kind or ""), find=find or ""
    )


def wants_table() -> bool:
    """Draw the switch between cards and a table, and return whether it is set to the table."""
    filters.note_unknown(SHAPE, "Views", ["cards", "table"], where="known here")
    chosen = st.segmented_control(
        "Show as",
        ["cards", "table"],
        default="cards",
        required=True,
        key=SHAPE,
        bind="query-params",
        label_visibility="collapsed",
    )
    return chosen == "table"


def clear() -> None:
    """Set every filter back, before the widgets are drawn."""
    st.session_state[RISK] = []
    st.session_state[KIND] = None
    st.session_state[FIND] = ""


def nothing_left(wish: advice.Wish) -> None:
    """Say that the filters leave nothing over."""
    named = [("Risk", ", ".join(wish.risks))] if wish.risks else []
    named += [("Kind", wish.kind)] if wish.kind else []
    named += [("Search", wish.find)] if wish.find.strip() else []
    states.no_match(named, clear)


_RISK_HELP = "By the upper end of the change of the wrong rate."
_KIND_HELP = "Moves change a path now; trials run shadows first, because the log cannot tell yet."
