"""The dialogs in which a decision is made: what would change, why, and one button."""

from functools import partial

import streamlit as st

from dashboard import advice, identity
from dashboard import format as fmt
from dashboard.components import cards, decisions, states
from dashboard.components.decisions import Asked
from dashboard.desk import Place
from router_core.control.records import Entry
from router_core.errors import RouterError

SHORTEST_REASON, LONGEST_REASON = 5, 200
DISMISSALS = (
    "Not worth the risk",
    "The evidence does not fit our calls",
    "Planned otherwise",
    "Tried before",
    "Another reason",
)


def draw(place: Place) -> None:
    """Draw the dialog of what the session is being asked, if it is being asked anything."""
    question = decisions.asked()
    if question is None:
        return

    @st.dialog(_title(question), width="large", on_dismiss=partial(decisions.close, place))
    def dialog() -> None:
        now = decisions.asked()
        if now is None:
            # answered by the callback that has just run: the page behind has to be drawn anew
            st.rerun()
        with st.container(key="dialog"), states.Guarded():
            _body(place, now)

    dialog()


def _title(question: Asked) -> str:
    titles = {
        "apply": f"Apply {question.named}",
        "dismiss": f"Dismiss {question.named}",
        "undo": f"Undo change {question.seq}",
        "rollback": f"Roll back to {question.seq}",
    }
    return fmt.markdown(titles[question.question])


def _body(place: Place, question: Asked) -> None:
    if told := decisions.said():
        _notice(told)
    try:
        if question.question == "apply":
            _apply(place, question)
        elif question.question == "dismiss":
            _dismiss(place, question)
        elif question.question == "undo":
            _undo(place, question)
        else:
            _rollback(place, question)
    except RouterError as error:
        st.text(fmt.logged(str(error), longest=2_000))
        st.button("Close", key="dialog_close", on_click=partial(decisions.close, place))


def _notice(text: str) -> None:
    with st.container(key="dialog_said"):
        st.warning(fmt.markdown(fmt.logged(text, longest=1_000)), icon=":material/info:")


def _apply(place: Place, question: Asked) -> None:
    review = place.desk.review(question.proposal_ids)
    for entry in review.entries:
        _about(entry)
    if len(review.entries) > 1:
        # what they promise together, with the moves taken as independent
        st.markdown(f"**Together:** {fmt.markdown(advice.possible(review.entries))}")
    if review.stale and not review.refusal:
        cards.plain("The config has changed since this was proposed; this is the change as it would be made now.")
    _diff(review.diff, review.refusal)
    reason = _reason(question, review.reason)
    _answer(place, question, "Apply", review.refusal, action="apply", reason_key=reason)


def _about(entry: Entry) -> None:
    draft = entry.proposal.draft
    name = fmt.markdown(fmt.logged(draft.payload_type))
    st.markdown(f"**{name}** {fmt.markdown(advice.headline(draft))}")
    with st.container(horizontal=True, vertical_alignment="center"):
        for badge in advice.badges(draft):
            st.badge(badge.text, color=badge.colour)
    cards.figures(advice.facts(draft))


def _undo(place: Place, question: Asked) -> None:
    offer = place.desk.undo_offer(question.seq or 0)
    if offer.refusal is None:
        exact = "Nothing was saved since: the file becomes what it was before, byte for byte."
        inverse = "The file was changed since: only this change is taken back, all later ones stay."
        st.markdown(exact if offer.exact else inverse)
    _diff(offer.diff, offer.refusal)
    reason = _reason(question, offer.reason)
    _answer(place, question, "Undo", offer.refusal, action="undo", reason_key=reason)


def _rollback(place: Place, question: Asked) -> None:
    review = place.desk.review_rollback(question.seq or 0)
    st.markdown("The file becomes what it was then; this makes a new entry in the history, and nothing is lost.")
    _diff(review.diff, review.refusal)
    reason = _reason(question, review.reason)
    _answer(place, question, "Roll back", review.refusal, action="rollback", reason_key=reason)


def _dismiss(place: Place, question: Asked) -> None:
    choice = st.selectbox("Reason", DISMISSALS, key=f"why_{question.key}")
    st.text_input("In your words", key=f"reason_{question.key}", max_chars=LONGEST_REASON - len(choice) - 2)
    cards.plain("The same change is not proposed again for 28 days unless the evidence changes.")
    _answer(place, question, "Dismiss", None, action="dismiss", reason_key=f"reason_{question.key}")


def _diff(text: str, refused: str | None) -> None:
    # of a refused change there is none to show, which does not mean that nothing would change
    if refused is None:
        cards.diff(text)


def _reason(question: Asked, prefilled: str) -> str:
    key = f"reason_{question.key}"
    label = f"Reason ({SHORTEST_REASON} to {LONGEST_REASON} characters)"
    st.text_input(label, prefilled[:LONGEST_REASON], key=key, max_chars=LONGEST_REASON)
    return key


def _answer(
    place: Place, question: Asked, label: str, refused: str | None, *, action: identity.Action, reason_key: str
) -> None:
    actor = place.who()
    why_not = identity.refusal(actor, action) or refused
    if why_not:
        _notice(why_not)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(fmt.markdown(fmt.logged(identity.words(actor))), width="content")
        with st.container(horizontal=True, width="content"):
            st.button("Cancel", key="dialog_cancel", on_click=partial(decisions.close, place))
            if question.claimed and identity.refusal(actor, action):
                st.button("Leave it claimed", key="dialog_leave", on_click=partial(decisions.leave_claimed, question))
            st.button(
                label,
                key="dialog_do",
                type=cards.leading(),
                disabled=why_not is not None,
                on_click=partial(decisions.answer, place, question, partial(_reason_of, question, reason_key)),
            )


def _reason_of(question: Asked, key: str) -> str:
    written = str(st.session_state.get(key) or "").strip()
    if question.question != "dismiss":
        return written
    choice = st.session_state.get(f"why_{question.key}") or DISMISSALS[-1]
    return f"{choice}: {written}" if written else str(choice)
