"""Decisions about proposals that leave the config as it is: publish, claim, release, dismiss, snooze."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from router_core.control import audit, proposals
from router_core.control.attempts import Attempt
from router_core.control.publishing import Ruling, rule
from router_core.control.records import Draft, Entry, Totals, Verdict
from router_core.control.reviews import HeldBack, PublishReport, Run
from router_core.control.site import Site
from router_core.control.states import EXPIRY_US, LIVE, Step, decide
from router_core.errors import ChangeRefusedError

_NO_LONGER = frozenset({"hold", "not_enough_evidence", "no_error_price", "no_calls"})
_REPLACED = "a later run proposes something else"
_UNSUPPORTED = "a later run no longer proposes it"
_PAST = {"claim": "claimed", "release": "released", "dismiss": "dismissed", "snooze": "snoozed"}


def take_step(site: Site, attempt: Attempt, proposal_id: str, step: Step) -> Entry:
    """Move one proposal and audit it.

    Raises:
        ConfigError: There is no such proposal.
        ChangeRefusedError: Its state does not allow it.
    """
    with site.store.writing() as con:
        proposals.settle(con, step.at_us)
        entry = proposals.find(con, proposal_id, step.at_us)
        decision = decide(proposals.standing_of(entry), step)
        if decision.result == "refused":
            raise ChangeRefusedError(
                f"{entry.proposal.proposal_id} cannot be {_PAST[attempt.action]}: {decision.refusal}"
            )
        proposals.save(con, proposals.number_of(proposal_id), decision.standing)
        row = audit.make_row(
            attempt.actor,
            attempt.action,
            decision.result,
            step.at_us,
            proposal_ids=[entry.proposal.proposal_id],
            reason=attempt.reason,
        )
        audit.append(con, row)
        return proposals.find(con, proposal_id, step.at_us)


def publish(
    site: Site,
    attempt: Attempt,
    drafts: Sequence[Draft],
    verdicts: Sequence[Verdict],
    window_us: tuple[int, int] | None,
    portfolio: Totals | None,
) -> PublishReport:
    """Put a run's drafts on offer, end what they replace, and store what the run said."""
    now_us = site.now_us()
    published: list[str] = []
    kept: list[str] = []
    superseded: list[str] = []
    held_back: list[HeldBack] = []
    by_type = {verdict.payload_type: verdict for verdict in verdicts}
    with site.store.writing() as con:
        proposals.settle(con, now_us)
        for draft in drafts:
            live = proposals.of_type(con, draft.payload_type, LIVE, now_us)
            turned_down = proposals.latest_of_change(con, draft, ("dismissed", "rolled_back"))
            ruling = rule(draft, live, turned_down, now_us)
            if ruling.result == "new":
                superseded += _make_room(con, ruling, now_us)
                new = proposals.add(con, draft, now_us, now_us + EXPIRY_US)
                published.append(new.proposal.proposal_id)
                standing_for = new.proposal.proposal_id
            else:
                standing_for = ruling.standing_for
                if ruling.result == "kept":
                    kept.append(standing_for or "")
                else:
                    held_back.append(HeldBack(payload_type=draft.payload_type, reason=ruling.reason))
            by_type[draft.payload_type] = _verdict(draft, by_type.get(draft.payload_type), ruling, standing_for)
        proposed = {draft.payload_type for draft in drafts}
        for verdict in verdicts:
            if verdict.verdict in _NO_LONGER and verdict.payload_type not in proposed:
                superseded += _withdraw(con, verdict.payload_type, now_us)
        run = proposals.add_run(
            con,
            Run(
                run_id=0,
                at_us=now_us,
                by=attempt.actor.name,
                window_us=window_us,
                verdicts=tuple(by_type.values()),
                portfolio=portfolio,
            ),
        )
        row = audit.make_row(
            attempt.actor,
            attempt.action,
            "done",
            now_us,
            proposal_ids=published,
            detail=f"{len(published)} published, {len(kept)} kept, {len(superseded)} superseded, "
            f"{len(held_back)} held back, of {len(drafts)}",
        )
        audit.append(con, row)
    return PublishReport(
        published=tuple(published),
        kept=tuple(kept),
        superseded=tuple(superseded),
        held_back=tuple(held_back),
        run=run,
    )


def _make_room(con: sqlite3.Connection, ruling: Ruling, now_us: int) -> tuple[str, ...]:
    _end(con, ruling.supersedes, Step(action="supersede", at_us=now_us, reason=_REPLACED))
    _end(con, ruling.confirms, Step(action="confirm", at_us=now_us, reason="the evidence is there: a move is proposed"))
    return ruling.supersedes


def _withdraw(con: sqlite3.Connection, payload_type: str, now_us: int) -> tuple[str, ...]:
    """End what is open of a type for which the latest evidence proposes nothing; what is claimed stays as it is."""
    found = proposals.of_type(con, payload_type, ("open", "snoozed"), now_us)
    ids = tuple(entry.proposal.proposal_id for entry in found)
    _end(con, ids, Step(action="supersede", at_us=now_us, reason=_UNSUPPORTED))
    return ids


def _end(con: sqlite3.Connection, proposal_ids: Sequence[str], step: Step) -> None:
    for proposal_id in proposal_ids:
        entry = proposals.find(con, proposal_id, step.at_us)
        proposals.save(con, proposals.number_of(proposal_id), decide(proposals.standing_of(entry), step).standing)


def _verdict(draft: Draft, said: Verdict | None, ruling: Ruling, proposal_id: str | None) -> Verdict:
    if ruling.result == "blocked":
        return Verdict(payload_type=draft.payload_type, verdict="blocked", text=ruling.reason, proposal_id=proposal_id)
    if said is None:
        kind = "move" if draft.kind == "move" else "not_enough_evidence"
        return Verdict(payload_type=draft.payload_type, verdict=kind, text="", proposal_id=proposal_id)
    return replace(said, proposal_id=proposal_id)
