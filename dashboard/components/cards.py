"""A proposal as a card of real page elements: a keyboard and a screen reader reach all of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import advice
from dashboard import format as fmt
from router_core.control.records import Draft, Entry
from router_core.errors import RouterError

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all cards of a page share.

    Attributes:
        zone: Reporting zone.
        now_us: The present, microseconds since the epoch.
        spend_usd_month: What a payload type costs now, USD per month, where that is known.
        diff_of: Gives the change of the file that a proposal would make now, as a unified diff, or why there is none.
        actions: Draws the buttons of an entry.
    """

    zone: ZoneInfo
    now_us: int
    spend_usd_month: Callable[[Draft], float | None]
    diff_of: Callable[[str], str]
    actions: Callable[[Entry], None]


def draw(entry: Entry, setting: Setting) -> None:
    """Draw one card."""
    draft = entry.proposal.draft
    key = entry.proposal.proposal_id
    with st.container(border=True, gap="xsmall", key=f"card_{key}"):
        _head(entry)
        figures(advice.facts(draft, setting.spend_usd_month(draft)))
        lines = [f"Evidence: {advice.evidence_words(draft.evidence)}. How it is known: {advice.known_by(draft)}."]
        lines += [f"Assumes: {fmt.logged('; '.join(draft.assumptions), longest=1_000)}"] if draft.assumptions else []
        # two spaces before a line break keep it
        st.markdown("  \n".join(f":small[{fmt.markdown(line)}]" for line in lines))
        if said := _history(entry, setting):
            plain(said)
        plain(_life(entry, setting))
        _evidence(entry)
        lazy_diff("Diff of the config", key=f"diff_{key}", of=partial(setting.diff_of, key))
        with st.container(horizontal=True, vertical_alignment="center", key=f"actions_{key}"):
            setting.actions(entry)


def _head(entry: Entry) -> None:
    draft = entry.proposal.draft
    with st.container(horizontal=True, vertical_alignment="center"):
        name = fmt.markdown(fmt.logged(draft.payload_type))
        st.markdown(f"**{name}**", width="content")
        st.markdown(fmt.markdown(advice.headline(draft)), width="content")
        for badge in advice.badges(draft):
            st.badge(badge.text, color=badge.colour)
        if entry.state not in ("open", "snoozed"):
            st.badge(advice.STATE_WORDS[entry.state], color="blue")


def figures(facts: Sequence[advice.Fact]) -> None:
    """Draw figures side by side; they fold to fewer columns where the page is narrow."""
    with st.grid(5, min_column_width=150, gap="small"):
        for fact in facts:
            lines = (f":small[{fmt.markdown(fact.label)}]", f"**{fmt.markdown(fact.value)}**")
            note = (f":small[{fmt.markdown(fact.note)}]",) if fact.note else ()
            st.markdown("  \n".join((*lines, *note)))


def leading() -> Literal["primary", "secondary"]:
    """Return the type of the button that leads on.

    A filled button has white letters, for which the dark theme's accent is too light.
    """
    return "secondary" if st.context.theme.type == "dark" else "primary"


def plain(text: str) -> None:
    """Draw a small line of text, letter by letter."""
    st.caption(fmt.markdown(text))


def _history(entry: Entry, setting: Setting) -> str:
    if entry.state == "open":
        return ""
    what = advice.STATE_WORDS[entry.state].capitalize()
    by = f" by {fmt.logged(entry.by)}" if entry.by else ""
    until = f" until {fmt.moment(entry.until_us, setting.zone)}" if entry.until_us is not None else ""
    why = f": {fmt.logged(entry.reason)}" if entry.reason else ""
    return f"{what}{by} since {fmt.moment(entry.since_us, setting.zone)}{until}{why}"


def _life(entry: Entry, setting: Setting) -> str:
    proposal = entry.proposal
    age = fmt.age((setting.now_us - proposal.created_us) / _SECOND_US)
    parts = [proposal.proposal_id, f"made {age}"]
    if entry.state in ("open", "claimed", "snoozed"):
        left_s = (proposal.expires_us - setting.now_us) / _SECOND_US
        parts.append(f"expires in {fmt.span_of(left_s)} ({fmt.moment(proposal.expires_us, setting.zone)})")
        parts += ["changes the routing config only", "can be undone"]
    return " · ".join(parts)


def _evidence(entry: Entry) -> None:
    # a closed expander costs nothing: what is in it is drawn when it is opened
    panel = st.expander("Evidence", key=f"evidence_{entry.proposal.proposal_id}", on_change="rerun", type="compact")
    if panel.open:
        with panel:
            lines = [f"{name}: {value}" for name, value in advice.details(entry)]
            lines += [f"assumes: {fmt.logged(each, longest=1_000)}" for each in entry.proposal.draft.assumptions]
            st.text("\n".join(lines))


def lazy_diff(label: str, *, key: str, of: Callable[[], str]) -> None:
    """Draw a diff that is made only when a reader opens it."""
    panel = st.expander(label, key=key, on_change="rerun", type="compact")
    if panel.open:
        with panel:
            try:
                diff(of())
            except RouterError as error:
                st.text(fmt.logged(str(error), longest=2_000))


def diff(text: str) -> None:
    """Draw a unified diff; its signs say what its colours say."""
    if not text:
        plain("No difference.")
        return
    shown = "\n".join(fmt.logged(line, longest=1_000) for line in text.splitlines())
    st.code(shown, language="diff", wrap_lines=True)
