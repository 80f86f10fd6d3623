"""Changes of the config file: one at a time, carried out whole or not at all, in history and in the audit.

Order of a change: lock → settle what a crash has left → take a hand edit into history → re-read and compare → write
the intent → stage the new bytes → exchange, compare, fsync the folder → history, proposals and audit in one
transaction → tidy up. Whoever calls this holds the lock (``attempts``).
"""

import sqlite3
from dataclasses import replace
from typing import Final

from router_core.control import audit, endings, history, intake, intents, proposals
from router_core.control.attempts import Attempt
from router_core.control.changes import plain_of
from router_core.control.intents import Intent
from router_core.control.records import Entry
from router_core.control.reviews import Done
from router_core.control.site import Site
from router_core.control.states import DAY_US, WATCH_US, Step, decide
from router_core.control.swap import ExchangeFunction, StepFunction, exchange, has_swapped, put, stage, tidy
from router_core.errors import ChangeRefusedError, ConflictError

_HOW: Final = {"apply": "changed by another proposal", "undo": "changed by an undo", "rollback": "rolled back"}


def no_step(name: str) -> None:
    """Do nothing at a step of a change; a test stops its process there."""
    del name


class Changer:
    """Changes one site's config file.

    Args:
        site: The config and its home.
        trade: Lets two files trade names; ``OSError`` where the system cannot.
        at_step: Told of each step when it is done.
    """

    def __init__(self, site: Site, *, trade: ExchangeFunction = exchange, at_step: StepFunction = no_step) -> None:
        self._site = site
        self._trade = trade
        self._at_step = at_step

    def settle(self, seen: intake.Seen | None = None) -> None:
        """Finish or abandon what a crash has left, and take a hand edit into history: one seen before, and the file."""
        self._recover()
        if seen is not None:
            intake.take_seen(self._site, seen)
        intake.take_in(self._site)
        self._at_step("settled")

    def carry_out(self, intent: Intent, attempt: Attempt) -> Done:
        """Make a change; the file holds ``intent.before``.

        Raises:
            ConflictError: It does not any more: another save came in between, and stays.
            ChangeRefusedError: The file cannot be written.
        """
        self._at_step("planned")
        with self._site.store.writing() as con:
            intents.write(con, self._site.key, intent)
        self._at_step("intent")
        try:
            stage(intent.swap, intent.after, at_step=self._at_step)
            self._at_step("staged")
            put(intent.swap, intent.before, intent.after, trade=self._trade, at_step=self._at_step)
        except ConflictError as error:
            self._at_step("conflict")
            self._end(intent, "conflict", str(error))
            attempt.is_audited = True
            raise
        except OSError as error:
            self._recover()
            message = f"{intent.swap.target} cannot be changed ({error.strerror or error}); it is as it was"
            raise ChangeRefusedError(message) from error
        except ChangeRefusedError:
            self._recover()
            raise
        self._at_step("synced")
        done = self._finish(intent, "done")
        self._at_step("done")
        return replace(done, note=self._tidy(intent))

    def _finish(self, intent: Intent, result: str) -> Done:
        """Write down that a change took place: history, proposals and audit, all or nothing."""
        before, after = history.digest_of(intent.before), history.digest_of(intent.after)
        # what follows from the change is found out before the store is locked for others
        plain_before, plain_after = intake.readable(self._site, intent.before), plain_of(intent.after)
        with self._site.store.writing() as con:
            at_us = self._site.now_us()
            ended = endings.end_touched(
                con,
                plain_before,
                plain_after,
                at_us=at_us,
                how=_HOW[intent.action],
                takes_back=intent.action != "apply",
                spared=intent.proposal_ids,
            )
            about = (*intent.proposal_ids, *ended.taken_back)
            kept = history.add(
                con,
                self._site.key,
                intent.after,
                since_us=at_us,
                kind=intent.action,
                who=intent.actor.name,
                reason=intent.reason,
                proposal_ids=about,
                before_digest=before,
                ref_seq=intent.ref_seq,
            )
            said = [self._move(con, proposal_id, intent, kept.shown.seq) for proposal_id in intent.proposal_ids]
            said += [f"ended: {', '.join(ended.others)}"] * bool(ended.others)
            row = audit.make_row(
                intent.actor,
                intent.action,
                result,
                at_us,
                proposal_ids=about,
                reason=intent.reason,
                before=history.version_of(before),
                after=history.version_of(after),
                diff=intent.diff,
                detail="; ".join(text for text in said if text) or None,
            )
            audit_seq = audit.append(con, row).seq
            intents.mark_done(con, self._site.key)
            self._at_step("finishing")
        return Done(
            result="done",
            seq=kept.shown.seq,
            version=kept.shown.version,
            before_version=history.version_of(before),
            audit_seq=audit_seq,
        )

    def _move(self, con: sqlite3.Connection, proposal_id: str, intent: Intent, seq: int) -> str:
        """Move a proposal to where the change has put it; return why not, if not."""
        entry = proposals.find(con, proposal_id, intent.at_us)
        decision = decide(
            proposals.standing_of(entry),
            Step(
                action="apply" if intent.action == "apply" else "roll_back",
                at_us=intent.at_us,
                who=intent.actor.name,
                reason=intent.reason,
                until_us=intent.at_us + _watch_us(entry),
                seq=seq,
            ),
        )
        if decision.result == "refused":
            return f"{proposal_id}: {decision.refusal}"
        proposals.save(con, proposals.number_of(proposal_id), decision.standing)
        return ""

    def _recover(self) -> None:
        with self._site.store.reading() as con:
            intent = None if con is None else intents.pending(con, self._site.key)
        if intent is None:
            return
        self._at_step("recovering")
        if not intent.is_done:
            try:
                swapped = has_swapped(intent.swap, intent.before, intent.after, trade=self._trade)
            except ConflictError as error:
                self._end(intent, "conflict", f"{error} (found after a crash)")
                return
            self._at_step("judged")
            if not swapped:
                self._end(intent, "abandoned", "the program ended before the file was changed; it was not changed")
                return
            self._finish(intent, "recovered")
            self._at_step("done")
        self._tidy(intent)

    def _end(self, intent: Intent, result: str, detail: str) -> None:
        """Give up a change that did not take place."""
        kept = tidy(intent.swap, intent.before, intent.after)
        with self._site.store.writing() as con:
            row = audit.make_row(
                intent.actor,
                intent.action,
                result,
                self._site.now_us(),
                proposal_ids=intent.proposal_ids,
                reason=intent.reason,
                before=history.version_of(history.digest_of(intent.before)),
                after=None,
                diff=intent.diff,
                detail=f"{detail}; a later save to the old file is kept in {kept}" if kept else detail,
            )
            audit.append(con, row)
            intents.forget(con, self._site.key)

    def _tidy(self, intent: Intent) -> str | None:
        """Remove what lies beside the file after a change; return what the actor should know."""
        kept = tidy(intent.swap, intent.before, intent.after)
        self._at_step("tidied")
        note = None
        if kept is not None:
            note = f"the file was saved once more through its old copy; that text is kept in {kept}"
        with self._site.store.writing() as con:
            intents.forget(con, self._site.key)
            if note is not None:
                row = audit.make_row(intent.actor, intent.action, "conflict", self._site.now_us(), detail=note)
                audit.append(con, row)
        return note


def _watch_us(entry: Entry) -> int:
    """Return how long a change is watched: one that gathers evidence, as long as that takes."""
    days = entry.proposal.draft.shadow_days
    if entry.proposal.draft.kind != "evidence" or days is None:
        return WATCH_US
    return max(DAY_US, min(WATCH_US, round(days * DAY_US)))
