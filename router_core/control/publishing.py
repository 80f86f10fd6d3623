"""PURE: whether a draft becomes a proposal, given those there are of its payload type."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from router_core.control.bodies import change_key
from router_core.control.records import Draft, Entry, Interval
from router_core.control.states import BLOCKING, IN_FORCE, QUIET_US

_LABELS = {"dismissed": "dismissed", "rolled_back": "rolled back"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What becomes of a draft.

    Attributes:
        result: ``new`` = a proposal of its own; ``kept`` = one says the same already; ``blocked`` = none now.
        standing_for: Id of the proposal that stands for it, or in its way.
        supersedes: Ids of the proposals that end when it is published.
        confirms: Ids of evidence proposals that have done what they were for.
        reason: Why it is blocked or kept, one sentence.
    """

    result: Literal["new", "kept", "blocked"]
    standing_for: str | None = None
    supersedes: tuple[str, ...] = ()
    confirms: tuple[str, ...] = ()
    reason: str = ""


def rule(draft: Draft, live: Sequence[Entry], turned_down: Sequence[Entry], now_us: int) -> Ruling:
    """Return what becomes of a draft.

    Args:
        draft: The draft.
        live: The type's proposals that are on offer, applied or watched.
        turned_down: The newest dismissed and the newest rolled back proposal that asked for the same.
        now_us: The present instant.
    """
    waiting = _in_the_way(draft, live)
    if waiting is not None:
        return waiting
    for entry in turned_down:
        if now_us - entry.since_us < QUIET_US and not has_new_evidence(entry.proposal.draft, draft):
            days = -(-(entry.since_us + QUIET_US - now_us) // 86_400_000_000)
            because = f" ({entry.reason})" if entry.reason else ""
            reason = (
                f"{entry.proposal.proposal_id} asked for the same and was {_LABELS[entry.state]}{because}; "
                f"without new evidence it returns in {days} days"
            )
            return Ruling(result="blocked", standing_for=entry.proposal.proposal_id, reason=reason)
    on_offer = [entry.proposal.proposal_id for entry in live if entry.state in {"open", "snoozed"}]
    # what gathered evidence for a move has done its work once the move can be judged
    confirms = [entry.proposal.proposal_id for entry in live if entry.state in IN_FORCE]
    return Ruling(result="new", supersedes=tuple(on_offer), confirms=tuple(confirms))


def is_materially_different(old: Draft, new: Draft) -> bool:
    """Return whether a number of the new draft lies outside the old one's interval for it."""
    return any(
        not _within(interval, value.mean)
        for interval, value in (
            (old.saving_usd_month, new.saving_usd_month),
            (old.net_usd_month, new.net_usd_month),
            (old.wrong_rate_change, new.wrong_rate_change),
        )
    )


def has_new_evidence(old: Draft, new: Draft) -> bool:
    """Return whether evidence changed so much that a change which was turned down may be proposed again.

    It did when the pairs have at least doubled, or the net gain changed its sign or left its old interval.
    """
    doubled = new.evidence.pairs > old.evidence.pairs and new.evidence.pairs >= 2 * old.evidence.pairs
    before, after = old.net_usd_month, new.net_usd_month
    return doubled or (before.mean > 0) != (after.mean > 0) or not _within(before, after.mean)


def _in_the_way(draft: Draft, live: Sequence[Entry]) -> Ruling | None:
    for entry in live:
        old = entry.proposal.draft
        same = change_key(old) == change_key(draft)
        here = entry.proposal.proposal_id
        if entry.state in BLOCKING:
            if old.kind == "evidence" and draft.kind == "move" and entry.state in IN_FORCE:
                continue
            state = "being looked at" if entry.state == "claimed" else "in force and being watched"
            return Ruling(result="blocked", standing_for=here, reason=f"{here} of this type is {state}")
        if same and entry.state == "snoozed":
            return Ruling(result="kept", standing_for=here, reason=f"{here} says the same and is snoozed")
        if same and not is_materially_different(old, draft):
            return Ruling(result="kept", standing_for=here, reason=f"{here} says the same")
    return None


def _within(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high
