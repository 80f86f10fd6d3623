"""Decisions on a page: what is being asked, the one write that answers it, and what came of it.

Every write happens in a callback, which Streamlit runs before it draws anything. It asks anew who acts and hands the
version that the reader saw to the desk, which re-checks both. What was asked is kept in the session until it is
answered, so a second click of the same button finds nothing left to do.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import streamlit as st

from dashboard import format as fmt
from dashboard import identity
from dashboard.desk import Desk, Place
from router_core.control.records import Actor, AuditRow
from router_core.control.reviews import Done
from router_core.errors import ConflictError, NotAllowedError, RouterError, StaleError

Question = Literal["apply", "undo", "rollback", "dismiss"]

_ASKED, _SAID, _DONE, _TOLD, _WRITES = "asked", "asked_said", "done", "done_told", "writes_s"
_FOR_ANOTHER = " It stays claimed by you, so that somebody else can apply it now."
_NEWEST_ROWS = 20
_TOO_MANY = "Too many changes in one minute; nothing was changed. Wait a little, then repeat."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a dialog asks.

    Attributes:
        question: What it is about.
        proposal_ids: Of ``apply`` and ``dismiss``; several are applied as one change.
        seq: Of ``undo`` and ``rollback``: the config version's number.
        expected_version: Config version that the reader sees the change of.
        claimed: Those of them that opening it took into review.
    """

    question: Question
    proposal_ids: tuple[str, ...] = ()
    seq: int | None = None
    expected_version: str = ""
    claimed: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Names the dialog's fields, the same while the change in it is shown anew."""
        return f"{self.question}_{'_'.join(self.proposal_ids) or self.seq}"

    @property
    def named(self) -> str:
        """The proposals it is about, in words."""
        return ", ".join(self.proposal_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a decision led to, until the reader puts it away.

    Attributes:
        text: What happened.
        good: Whether it is what was asked for.
        row: Its line in the audit.
        undo_seq: Config version that can be undone.
    """

    text: str
    good: bool = True
    row: AuditRow | None = None
    undo_seq: int | None = None


def asked() -> Asked | None:
    """Return what the session is being asked."""
    return st.session_state.get(_ASKED)


def said() -> str | None:
    """Return what the last try to answer it came to, when that was a refusal."""
    return st.session_state.get(_SAID)


def outcome() -> Outcome | None:
    """Return what the last decision led to."""
    return st.session_state.get(_DONE)


def is_news(done: Outcome) -> bool:
    """Return whether an outcome is told for the first time."""
    if st.session_state.get(_TOLD) is done:
        return False
    st.session_state[_TOLD] = done
    return True


def put_away() -> None:
    """Forget the last decision's outcome."""
    st.session_state.pop(_DONE, None)


def leave_claimed(question: Asked) -> None:
    """Close a review and leave the proposal claimed, for somebody else to apply."""
    if asked() == question:
        _forget()
        stay = "stays" if len(question.proposal_ids) == 1 else "stay"
        st.session_state[_DONE] = Outcome(text=f"{question.named} {stay} claimed for 15 minutes.")


def open_review(place: Place, *proposal_ids: str) -> None:
    """Ask whether to apply proposals, as one change, and take them into review."""
    claimed: list[str] = []
    note = None
    for proposal_id in proposal_ids:
        try:
            place.desk.claim(proposal_id, place.who())
            claimed.append(proposal_id)
        except (RouterError, OSError) as error:
            # somebody else may have it in review: reading it is still fine, and the desk decides about applying
            note = _told(error)
    asked_now = Asked(
        question="apply", proposal_ids=proposal_ids, expected_version=_head(place.desk), claimed=tuple(claimed)
    )
    _ask(asked_now, note)


def open_undo(place: Place, seq: int) -> None:
    """Ask whether to undo a config version."""
    _ask(Asked(question="undo", seq=seq, expected_version=_head(place.desk)))


def open_rollback(place: Place, seq: int) -> None:
    """Ask whether to go back to a config version."""
    _ask(Asked(question="rollback", seq=seq, expected_version=_head(place.desk)))


def open_dismissal(proposal_id: str) -> None:
    """Ask why to dismiss a proposal."""
    _ask(Asked(question="dismiss", proposal_ids=(proposal_id,)))


def close(place: Place) -> None:
    """Ask nothing more, and give a proposal in review back."""
    open_now = asked()
    _forget()
    for proposal_id in open_now.claimed if open_now is not None else ():
        try:
            place.desk.release(proposal_id, place.who())
        except (RouterError, OSError) as error:
            st.session_state[_DONE] = Outcome(text=_told(error), good=False)


def answer(place: Place, expected: Asked, reason: Callable[[], str]) -> None:
    """Do what was asked, once.

    Args:
        place: Where.
        expected: What the clicked button was drawn for.
        reason: Gives the reason as it stands at the click.
    """
    if asked() != expected:
        return
    try:
        if _rate_is_spent():
            st.session_state[_SAID] = _TOO_MANY
            return
        found = _write(place, expected, place.who(), reason())
    except StaleError as error:
        st.session_state[_ASKED] = replace(expected, expected_version=error.head_version)
        st.session_state[_SAID] = (
            f"{_sentence(error)} Nothing was changed; below is the change as it would be made now."
        )
    except ConflictError as error:
        st.session_state[_ASKED] = replace(expected, expected_version=_head(place.desk))
        st.session_state[_SAID] = f"{error}"
    except NotAllowedError as error:
        # who has the role and is refused all the same needs a second person, for whom the proposal stays claimed
        second = bool(expected.claimed) and identity.refusal(place.who(), "apply") is None
        st.session_state[_ASKED] = replace(expected, claimed=() if second else expected.claimed)
        st.session_state[_SAID] = f"{_sentence(error)}{_FOR_ANOTHER if second else ''}"
    except (RouterError, OSError) as error:
        st.session_state[_SAID] = _told(error)
    else:
        _forget()
        st.session_state[_DONE] = found


def snooze(place: Place, proposal_id: str, until_us: int, reason: str) -> None:
    """Put a proposal off."""
    if _rate_is_spent():
        st.session_state[_DONE] = Outcome(text=_TOO_MANY, good=False)
        return
    try:
        place.desk.snooze(proposal_id, place.who(), until_us, reason)
    except (RouterError, OSError) as error:
        st.session_state[_DONE] = Outcome(text=_told(error), good=False)
    else:
        st.session_state[_DONE] = Outcome(text=f"{proposal_id} {reason}.")


def _write(place: Place, question: Asked, actor: Actor, reason: str) -> Outcome:
    desk, expected = place.desk, question.expected_version
    if question.question == "dismiss":
        desk.dismiss(question.named, actor, reason)
        return Outcome(text=f"{question.named} dismissed.")
    if question.question == "apply":
        done = desk.apply(question.proposal_ids, actor, reason, expected_version=expected)
    elif question.question == "undo":
        done = desk.undo(question.seq or 0, actor, reason, expected_version=expected)
    else:
        done = desk.rollback(question.seq or 0, actor, reason, expected_version=expected)
    return _outcome(desk, question, done)


def _outcome(desk: Desk, question: Asked, done: Done) -> Outcome:
    what = {
        "apply": f"{question.named} {'is' if len(question.proposal_ids) == 1 else 'are'} applied",
        "undo": f"Change {question.seq} is undone",
        "rollback": f"The config is as it was at {question.seq} again",
    }[question.question]
    again = " already; nothing was changed twice" if done.result == "already" else ""
    note = f" {done.note}" if done.note else ""
    row = next((row for row in desk.audit(limit=_NEWEST_ROWS) if row.seq == done.audit_seq), None)
    undo_seq = done.seq if question.question == "apply" else None
    return Outcome(text=f"{what}{again}.{note}", row=row, undo_seq=undo_seq)


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"The files cannot be written ({error.strerror or error}). Look at what runs now before you try again."
    return _sentence(error)


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def _ask(question: Asked, note: str | None = None) -> None:
    st.session_state[_ASKED] = question
    st.session_state.pop(_DONE, None)
    if note is None:
        st.session_state.pop(_SAID, None)
    else:
        st.session_state[_SAID] = note


def _forget() -> None:
    st.session_state.pop(_ASKED, None)
    st.session_state.pop(_SAID, None)


def _rate_is_spent() -> bool:
    writes = identity.within_rate(st.session_state.get(_WRITES, ()), time.monotonic())
    if writes is None:
        return True
    st.session_state[_WRITES] = writes
    return False


def _head(desk: Desk) -> str:
    return desk.head().version


def row_words(row: AuditRow, zone: fmt.dt.tzinfo) -> str:
    """Return a line of the audit in words: who, when, from which version to which."""
    parts = [f"audit {row.seq}", f"{fmt.logged(row.who)} ({row.role})", fmt.moment(row.at_us, zone)]
    if row.before and row.after:
        parts.append(f"config {fmt.logged(row.before)} → {fmt.logged(row.after)}")
    if row.reason:
        parts.append(fmt.logged(row.reason))
    return " · ".join(parts)
