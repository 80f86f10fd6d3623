"""What another version of the config means for the proposals that are on offer or being watched."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from router_core.config import ANY_TYPE
from router_core.control import proposals
from router_core.control.changes import Touched, inverse, is_path_touched, misfit_of, touched
from router_core.control.records import Entry
from router_core.control.states import IN_FORCE, LIVE, NOT_MEASURED, ON_OFFER, Action, Step, decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Proposals that another version of the config has ended.

    Attributes:
        taken_back: Ids of those whose change is gone: rolled back.
        others: Ids of those that were on offer, or watched and not measured.
    """

    taken_back: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def end_touched(
    con: sqlite3.Connection,
    before: Any | None,
    after: Any | None,
    *,
    at_us: int,
    how: str,
    takes_back: bool,
    spared: Collection[str] = (),
) -> Ended:
    """End the proposals whose payload type another version of the config treats differently; return which.

    Args:
        con: Connection that may write.
        before: The version before, as plain data; None = it could not be read, and nothing is decided.
        after: The version now, likewise.
        at_us: When.
        how: What was done to it, e.g. ``edited by hand``.
        takes_back: Whether a move whose values are gone counts as rolled back; else it was not measured.
        spared: Ids that are not looked at.
    """
    found = touched(before, after)
    if after is None or not found.rules:
        return Ended()
    types = set(found.rules)
    if ANY_TYPE in types:
        types |= proposals.live_types(con, LIVE) - found.named
    ended: dict[str, bool] = {}
    for payload_type in sorted(types):
        for entry in proposals.of_type(con, payload_type, LIVE, at_us):
            step = _step(entry, found, after, at_us=at_us, how=how, takes_back=takes_back)
            if step is None or entry.proposal.proposal_id in spared:
                continue
            decision = decide(proposals.standing_of(entry), step)
            proposals.save(con, proposals.number_of(entry.proposal.proposal_id), decision.standing)
            ended[entry.proposal.proposal_id] = step.action == "roll_back"
    return Ended(
        taken_back=tuple(each for each, back in ended.items() if back),
        others=tuple(each for each, back in ended.items() if not back),
    )


def _step(entry: Entry, found: Touched, after: Any, *, at_us: int, how: str, takes_back: bool) -> Step | None:
    draft = entry.proposal.draft
    path_touched = is_path_touched(found, draft.payload_type)

    def step(action: Action, reason: str) -> Step:
        return Step(action=action, at_us=at_us, reason=reason)

    if entry.state in ON_OFFER and (path_touched or any(misfit_of(after, edit) for edit in draft.edits)):
        return step("supersede", f"its path was {how}")
    if entry.state in IN_FORCE:
        gone = any(misfit_of(after, edit) for edit in inverse(draft.edits))
        if takes_back and gone and not any(misfit_of(after, edit) for edit in draft.edits):
            return step("roll_back", f"its path was {how}")
        if path_touched or (gone and draft.kind == "evidence"):
            return step("supersede", f"{NOT_MEASURED}: its path was {how}")
    return None
