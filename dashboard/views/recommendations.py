"""Which moves to make: what each promises, how sure that is, and one button to make it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import advice, identity
from dashboard import format as fmt
from dashboard.components import (
    banner,
    bar,
    cards,
    decisions,
    dialogs,
    offers,
    picks,
    searching,
    states,
    tables,
    verdicts,
)
from dashboard.desk import Place
from dashboard.spending import spend_by_type
from dashboard.sums import LogState
from router_core.control.records import Entry, ProposalState, Totals

PER_PAGE: Final = 20
MOST_OPEN: Final = 2_000
MOST_SEARCHED: Final = 500
MOST_AT_ONCE: Final = 20
_MANY: Final = 2
_DAY_US = 86_400_000_000
SNOOZES: Final[Mapping[str, int]] = {"1 day": _DAY_US, "1 week": 7 * _DAY_US, "1 month": 30 * _DAY_US}
"""How long a proposal may be put off, by its name, microseconds."""


def render(place: Place) -> None:
    """Draw the page from what ``place`` gives."""
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.title("Recommendations", anchor=False, width="content")
        badge = st.empty()
    with states.Guarded():
        state = place.source.state()
        with badge:
            bar.demo_badge(state)
        _body(place, state)


def _body(place: Place, state: LogState) -> None:
    zone = ZoneInfo(state.zone)
    run, counts = place.desk.latest_run(), place.desk.counts()
    bar.desk_bar(state, place, verdicts.when(run, zone))
    banner.draw(place, zone)
    if run is None and not any(counts.values()):
        searching.none_yet(place, state)
        return
    _offers(place, state, zone, None if run is None else run.portfolio)
    searching.again(place)
    verdicts.draw(run, zone)
    dialogs.draw(place)


def _offers(place: Place, state: LogState, zone: ZoneInfo, of_run: Totals | None) -> None:
    counts = place.desk.counts()
    still_open = place.desk.entries(advice.GROUPS["open"], limit=MOST_OPEN)
    promise = advice.possible(still_open, of_run)
    with st.container(key="totals"):
        st.markdown(f"**{fmt.markdown(picks.headline(counts))}**")
        st.markdown(f"Possible: {fmt.markdown(promise)}")
    _low_risk(place, still_open)
    group, wish = picks.choose()
    if picks.wants_table():
        _table(place, group, wish, still_open, state)
        return
    sheet = _sheet(place, group, wish, still_open, counts)
    if not sheet.entries:
        _nothing(group, wish)
        return
    spend = spend_by_type(place.source, state.zone)
    setting = cards.Setting(
        zone=zone,
        now_us=place.now_us(),
        spend_usd_month=spend if group == "open" else _not_asked,
        diff_of=partial(_diff_of, place),
        actions=partial(_actions, place),
    )
    for entry in sheet.entries:
        cards.draw(entry, setting)
    if sheet.note:
        cards.plain(sheet.note)


def _table(place: Place, group: advice.Group, wish: advice.Wish, still_open: Sequence[Entry], state: LogState) -> None:
    read = still_open if group == "open" else place.desk.entries(advice.GROUPS[group], limit=MOST_OPEN)
    kept = advice.matching(read, wish)
    if not kept:
        _nothing(group, wish)
        return
    table = offers.of(advice.ranked(kept) if group == "open" else kept, ZoneInfo(state.zone))
    with st.container(border=True, key="offers"):
        tables.show(table, key="offers_table", alt="Proposals: change, net, wrong rate, risk, evidence")
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            order = "highest sure gain first" if group == "open" else "newest first"
            st.caption(fmt.markdown(f"{fmt.plural(len(kept), 'proposal')}, {order}"), width="content")
            tables.download(table, key="offers_csv", stem=fmt.file_stem("proposals", group, state.config_version))


def _low_risk(place: Place, still_open: Sequence[Entry]) -> None:
    """Offer to review all open moves of low risk at once: they are applied as one change, or not at all."""
    safe = advice.ranked(
        [
            entry
            for entry in still_open
            if entry.state == "open"
            and entry.proposal.draft.kind == "move"
            and entry.proposal.draft.risk == "low"
            and entry.proposal.draft.net_usd_month.low > 0
        ]
    )[:MOST_AT_ONCE]
    if len(safe) < _MANY:
        return
    refused = identity.refusal(place.who(), "claim")
    st.button(
        f"Review {len(safe)} low-risk moves together",
        key="together",
        icon=":material/checklist:",
        disabled=refused is not None,
        help=_help(refused) or "Moves of low risk whose whole interval is a gain, as one change of the file.",
        on_click=partial(decisions.open_review, place, *(entry.proposal.proposal_id for entry in safe)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """The proposals of one page, and what to say about those that are not on it."""

    entries: tuple[Entry, ...]
    note: str = ""


def _sheet(
    place: Place,
    group: advice.Group,
    wish: advice.Wish,
    still_open: Sequence[Entry],
    counts: Mapping[ProposalState, int],
) -> _Sheet:
    total = advice.of_group(counts, group)
    states_of = advice.GROUPS[group]
    if group != "open" and not wish.is_set:
        # of thousands of closed ones only a page is read
        page = _page(total)
        entries = place.desk.entries(states_of, limit=PER_PAGE, offset=(page - 1) * PER_PAGE)
        return _Sheet(entries=entries, note=f"newest first, {fmt.count(total)} in all")
    read = still_open if group == "open" else place.desk.entries(states_of, limit=MOST_SEARCHED)
    kept = advice.matching(read, wish)
    kept = advice.ranked(kept) if group == "open" else kept
    page = _page(len(kept))
    note = f"the newest {fmt.count(len(read))} of {fmt.count(total)} were searched" if len(read) < total else ""
    return _Sheet(entries=kept[(page - 1) * PER_PAGE : page * PER_PAGE], note=note)


def _page(total: int) -> int:
    pages = -(-total // PER_PAGE)
    return st.pagination(pages, key=picks.PAGE, bind="query-params") if pages > 1 else 1


def _not_asked(_: object) -> None:
    return None


def _nothing(group: advice.Group, wish: advice.Wish) -> None:
    if wish.is_set:
        picks.nothing_left(wish)
    elif group == "open":
        st.subheader("No open proposal")
        st.markdown(
            "The last search found nothing better, or everything it found has been decided. Its reasons follow."
        )
    else:
        st.subheader("None here")


def _diff_of(place: Place, proposal_id: str) -> str:
    review = place.desk.review([proposal_id])
    return review.diff or review.refusal or ""


def _actions(place: Place, entry: Entry) -> None:
    proposal_id = entry.proposal.proposal_id
    actor = place.who()
    if entry.state in ("open", "claimed", "snoozed"):
        _decide(place, proposal_id, actor_refusal=identity.refusal(actor, "claim"))
    elif entry.seq is not None and entry.state != "rolled_back":
        refused = identity.refusal(actor, "undo")
        st.button(
            "Undo…",
            key=f"undo_{proposal_id}",
            icon=":material/undo:",
            disabled=refused is not None,
            help=_help(refused),
            on_click=partial(decisions.open_undo, place, entry.seq),
        )


def _decide(place: Place, proposal_id: str, *, actor_refusal: str | None) -> None:
    disabled, words = actor_refusal is not None, _help(actor_refusal)
    st.button(
        "Review and apply",
        key=f"review_{proposal_id}",
        type=cards.leading(),
        disabled=disabled,
        help=words,
        on_click=partial(decisions.open_review, place, proposal_id),
    )
    key = f"snooze_{proposal_id}"
    st.menu_button(
        "Snooze",
        list(SNOOZES),
        key=key,
        disabled=disabled,
        help=words,
        on_click=partial(_snooze, place, proposal_id, key),
    )
    st.button(
        "Dismiss…",
        key=f"dismiss_{proposal_id}",
        disabled=disabled,
        help=words,
        on_click=partial(decisions.open_dismissal, proposal_id),
    )


def _snooze(place: Place, proposal_id: str, key: str) -> None:
    chosen = st.session_state.get(key)
    if chosen in SNOOZES:
        decisions.snooze(place, proposal_id, place.now_us() + SNOOZES[chosen], f"snoozed for {chosen}")


def _help(refused: str | None) -> str | None:
    return None if refused is None else fmt.markdown(fmt.logged(refused))
