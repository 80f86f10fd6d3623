"""Proposals from publication to undo: the one place where pages and commands decide about them.

Everything that writes re-checks role, state and version while it holds the lock, and leaves an audit row, also when it
is refused. What was there before a crash, or after it, is settled by the next write.
"""

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from router_core.call_log.home import Home
from router_core.control import audit, deciding, history, plans, proposals
from router_core.control.access import Access, Right, load_access
from router_core.control.attempts import Attempt, attempted
from router_core.control.calibrations import keep_calibration
from router_core.control.changer import Changer, no_step
from router_core.control.history import Kept, version_of
from router_core.control.intents import ConfigAction, Intent
from router_core.control.records import Actor, AuditRow, ConfigVersion, Draft, Entry, ProposalState, Totals, Verdict
from router_core.control.reviews import Done, Head, HeldBack, PublishReport, Review, Run, UndoOffer
from router_core.control.site import Site
from router_core.control.states import CLAIM_US, Action, Step
from router_core.control.store import locked
from router_core.control.swap import ExchangeFunction, StepFunction, Swap, exchange
from router_core.errors import ChangeRefusedError, ConflictError, NotAllowedError, StaleError

if TYPE_CHECKING:
    from router_core.config import RoutingConfig

__all__ = [
    "ChangeRefusedError",
    "ConflictError",
    "Desk",
    "Done",
    "Head",
    "HeldBack",
    "NotAllowedError",
    "PublishReport",
    "Review",
    "Run",
    "StaleError",
    "UndoOffer",
]


NO_FILES: Mapping[str, bytes] = MappingProxyType({})


class Desk:
    """One home's proposals, config history and audit.

    Objects are cheap and hold nothing open: threads may share one, processes have their own.

    Args:
        home: The home; a store that is not there reads as empty.
        config: The routing config.
        now_us: The clock, microseconds since the epoch.
        trade: Lets two files trade names in one step; refuses with ``OSError`` where the system cannot.
        at_step: Told of each step of a change when it is done.
    """

    def __init__(
        self,
        home: Home,
        config: Path,
        now_us: Callable[[], int],
        *,
        trade: ExchangeFunction = exchange,
        at_step: StepFunction = no_step,
    ) -> None:
        self._site = Site(home, config, now_us, self._admit)
        self._changer = Changer(self._site, trade=trade, at_step=at_step)

    def entries(
        self, states: Collection[ProposalState] | None = None, *, limit: int = 100, offset: int = 0
    ) -> tuple[Entry, ...]:
        """Return proposals as they stand now, newest first: all, or those in the given states."""
        with self._site.store.reading() as con:
            if con is None:
                return ()
            return proposals.entries(con, states, self._site.now_us(), limit=limit, offset=offset)

    def counts(self) -> Mapping[ProposalState, int]:
        """Return how many proposals are in each state now; every state is there."""
        with self._site.store.reading() as con:
            if con is None:
                return dict.fromkeys(proposals.STATES, 0)
            return proposals.counts(con, self._site.now_us())

    def entry(self, proposal_id: str) -> Entry:
        """Return one proposal as it stands now.

        Raises:
            ConfigError: There is none of that id.
        """
        with self._site.store.reading() as con:
            return proposals.find(con, proposal_id, self._site.now_us())

    def latest_run(self) -> Run | None:
        """Return what the last run of the optimizer said of each payload type; None = there was none."""
        with self._site.store.reading() as con:
            return None if con is None else proposals.latest_run(con)

    def access(self) -> Access:
        """Return who may do what; ``problem`` says why nobody may do anything."""
        return load_access(self._site.config)

    def head(self) -> Head:
        """Return the config as it stands in the file."""
        with self._site.store.reading() as con:
            return self._site.head(con)

    def history(self, *, limit: int = 50, offset: int = 0) -> tuple[ConfigVersion, ...]:
        """Return the config's versions, newest first."""
        with self._site.store.reading() as con:
            return () if con is None else history.listed(con, self._site.key, limit=limit, offset=offset)

    def diff(self, before: str, after: str) -> str:
        """Return the unified diff of two versions of the config, empty when they are equal.

        Args:
            before: A ``config_version`` of history, or the present one.
            after: The same.

        Raises:
            ConfigError: A version is not known.
        """
        if before == after:
            return ""
        names = (before, after)
        return history.text_diff(self._bytes(before), self._bytes(after), source=self._site.config.name, names=names)

    def text(self, seq: int) -> bytes:
        """Return the bytes of one version of the config.

        Raises:
            ConfigError: There is none of that number.
        """
        with self._site.store.reading() as con:
            kept = history.find(con, self._site.key, seq)
            return b"" if con is None else history.bytes_of(con, kept.digest)

    def audit(
        self, *, limit: int = 100, offset: int = 0, action: str | None = None, who: str | None = None
    ) -> tuple[AuditRow, ...]:
        """Return audit rows, newest first: all, or those of one action or one actor."""
        with self._site.store.reading() as con:
            return () if con is None else audit.rows(con, limit=limit, offset=offset, action=action, who=who)

    def verify_audit(self) -> int | None:
        """Return the number of the first audit row that was tampered with; None when the chain holds."""
        with self._site.store.reading() as con:
            return None if con is None else audit.verify(con)

    def review(self, proposal_ids: Sequence[str]) -> Review:
        """Return what applying these proposals would change now.

        Raises:
            ConfigError: There is no such proposal.
        """
        with self._site.store.reading() as con:
            plan = plans.plan_apply(self._site, con, proposal_ids)
        stale = any(entry.proposal.draft.base_version != plan.now.version for entry in plan.entries)
        return _review(plan, plans.apply_reason(plan.entries), stale=stale)

    def undo_offer(self, seq: int) -> UndoOffer:
        """Return how the change that made version ``seq`` would be taken back now.

        Raises:
            ConfigError: There is no such version.
        """
        with self._site.store.reading() as con:
            plan = plans.plan_undo(self._site, con, seq)
        ids = tuple(entry.proposal.proposal_id for entry in plan.entries)
        shown = _review(plan, plans.undo_reason(seq, ids), stale=False)
        return UndoOffer(
            seq=seq,
            head_version=shown.head_version,
            exact=plan.exact,
            diff=shown.diff,
            refusal=shown.refusal,
            reason=shown.reason,
            proposal_ids=ids,
        )

    def review_rollback(self, seq: int) -> Review:
        """Return what going back to version ``seq`` would change now.

        Raises:
            ConfigError: There is no such version.
        """
        with self._site.store.reading() as con:
            plan = plans.plan_rollback(self._site, con, seq)
        return _review(plan, f"Back to version {seq}", stale=False)

    def observe(self) -> None:
        """Take a hand edit of the file into history, and settle what a crash has left."""
        self._site.home.create()
        with locked(self._site.home.control_lock) as won:
            if won:
                self._changer.settle()

    def publish(
        self,
        drafts: Sequence[Draft],
        verdicts: Sequence[Verdict],
        actor: Actor,
        *,
        window_us: tuple[int, int] | None = None,
        portfolio: Totals | None = None,
        calibrations: Mapping[str, bytes] = NO_FILES,
    ) -> PublishReport:
        """Put a run's drafts on offer, and end what they replace. The same drafts again change nothing.

        Args:
            drafts: At most one per payload type.
            verdicts: What the run says of every payload type it looked at; stored with the proposals' ids.
            actor: Who started the run.
            window_us: First and last instant of the run's evidence.
            portfolio: What the run's moves promise together; stored as it is.
            calibrations: Files that drafts name, by id; they are written beside the config first.

        Raises:
            NotAllowedError: The actor's role does not allow it.
        """
        with self._attempted("propose", actor, "decide") as attempt:
            for data in calibrations.values():
                keep_calibration(self._site.config, data)
            return deciding.publish(self._site, attempt, drafts, verdicts, window_us, portfolio)

    def claim(self, proposal_id: str, actor: Actor) -> Entry:
        """Mark a proposal as being looked at, for 15 minutes; claiming one's own again begins anew.

        Raises:
            ChangeRefusedError: Role or state do not allow it, or somebody else has it.
        """
        return self._take("claim", proposal_id, actor, until_us=self._site.now_us() + CLAIM_US)

    def release(self, proposal_id: str, actor: Actor) -> Entry:
        """End a claim; an admin may end another's.

        Raises:
            ChangeRefusedError: Role or state do not allow it, or somebody else has it.
        """
        return self._take("release", proposal_id, actor)

    def dismiss(self, proposal_id: str, actor: Actor, reason: str) -> Entry:
        """Turn a proposal down; it does not return for 28 days unless the evidence changes.

        Raises:
            ChangeRefusedError: Role, state or reason do not allow it.
        """
        return self._take("dismiss", proposal_id, actor, reason=reason)

    def snooze(self, proposal_id: str, actor: Actor, until_us: int, reason: str) -> Entry:
        """Put a proposal away until an instant.

        Raises:
            ChangeRefusedError: Role, state, instant or reason do not allow it.
        """
        return self._take("snooze", proposal_id, actor, reason=reason, until_us=until_us)

    def apply(self, proposal_ids: Sequence[str], actor: Actor, reason: str, *, expected_version: str) -> Done:
        """Make the proposals' change in the file, as one new version.

        Args:
            proposal_ids: What to apply.
            actor: Who applies it.
            reason: Why, 5 to 200 characters.
            expected_version: The version that was reviewed, ``Review.head_version``.

        Raises:
            NotAllowedError: The role does not allow it, or it takes a second person.
            StaleError: The file is not that version any more; carries the change as it would be now.
            ConflictError: Another save came in between; both texts are kept.
            ChangeRefusedError: State or reason do not allow it, or the value was edited by hand.
            ConfigError: There is no such proposal, or the changed config would not be valid.
        """
        with self._attempted("apply", actor, "change", proposal_ids, reason) as attempt:
            with self._site.store.reading() as con:
                plan = plans.plan_apply(self._site, con, proposal_ids)
            if plan.done is None:
                todo = [entry for entry in plan.entries if entry.proposal.proposal_id in plan.todo]
                plans.refuse_alone(attempt.access, todo, attempt.actor)
            return self._change(attempt, "apply", plan, expected_version)

    def undo(self, seq: int, actor: Actor, reason: str, *, expected_version: str) -> Done:
        """Take an applied change back, as ``undo_offer`` shows it; raises as ``apply`` does."""
        with self._attempted("undo", actor, "change", (), reason) as attempt:
            with self._site.store.reading() as con:
                plan = plans.plan_undo(self._site, con, seq)
            attempt.proposal_ids = tuple(entry.proposal.proposal_id for entry in plan.entries)
            return self._change(attempt, "undo", plan, expected_version, ref_seq=seq)

    def rollback(self, seq: int, actor: Actor, reason: str, *, expected_version: str) -> Done:
        """Give the file the bytes of version ``seq`` again, as a new version; raises as ``apply`` does."""
        with self._attempted("rollback", actor, "change", (), reason) as attempt:
            with self._site.store.reading() as con:
                plan = plans.plan_rollback(self._site, con, seq)
            return self._change(attempt, "rollback", plan, expected_version, ref_seq=seq)

    def _attempted(
        self,
        action: str,
        actor: Actor,
        right: Right,
        proposal_ids: Sequence[str] = (),
        reason: str | None = None,
    ) -> AbstractContextManager[Attempt]:
        return attempted(
            self._site,
            action,
            actor,
            right,
            proposal_ids=proposal_ids,
            reason=reason,
            settle=self._changer.settle,
        )

    def _take(
        self, action: Action, proposal_id: str, actor: Actor, *, reason: str | None = None, until_us: int | None = None
    ) -> Entry:
        with self._attempted(action, actor, "decide", (proposal_id,), reason) as attempt:
            step = Step(
                action=action,
                at_us=self._site.now_us(),
                who=attempt.actor.name,
                reason=attempt.reason,
                until_us=until_us,
                may_release=attempt.actor.role == "admin",
            )
            return deciding.take_step(self._site, attempt, proposal_id, step)

    def _change(
        self, attempt: Attempt, action: ConfigAction, plan: plans.Plan, expected: str, *, ref_seq: int | None = None
    ) -> Done:
        attempt.before, attempt.diff = plan.now.version or None, plan.diff or None
        if plan.done is not None:
            return self._already(attempt, plan.done)
        if plan.now.data is not None and plan.now.version != expected and plan.after is not None:
            raise StaleError(
                f"the config is version {plan.now.version} now and not {expected or 'none'}, which was reviewed; "
                "look at the change as it would be now",
                head_version=plan.now.version,
                diff=plan.diff,
            )
        if plan.refusal is not None:
            raise plan.refusal
        if plan.now.data is None or plan.after is None:
            raise ChangeRefusedError("there is nothing to change")
        intent = Intent(
            action=action,
            actor=attempt.actor,
            reason=attempt.reason or "",
            at_us=self._site.now_us(),
            proposal_ids=plan.todo,
            ref_seq=ref_seq,
            diff=plan.diff,
            swap=Swap.beside(self._site.config, uuid.uuid4().hex[:8]),
            before=plan.now.data,
            after=plan.after,
        )
        return self._changer.carry_out(intent, attempt)

    def _already(self, attempt: Attempt, kept: Kept) -> Done:
        row = audit.make_row(
            attempt.actor,
            attempt.action,
            "already",
            self._site.now_us(),
            proposal_ids=attempt.proposal_ids,
            reason=attempt.reason,
            before=attempt.before,
            after=kept.shown.version,
        )
        with self._site.store.writing() as con:
            return Done(
                result="already",
                seq=kept.shown.seq,
                version=kept.shown.version,
                before_version=version_of(kept.before_digest or ""),
                audit_seq=audit.append(con, row).seq,
            )

    def _admit(self, config: "RoutingConfig") -> None:
        from router_core.admission import admit

        admit(config, str(self._site.config), self._site.now_us())

    def _bytes(self, version: str) -> bytes:
        now = self._site.look()
        if now.data is not None and now.version == version:
            return now.data
        with self._site.store.reading() as con:
            return history.bytes_of_version(con, version)


def _review(plan: plans.Plan, reason: str, *, stale: bool) -> Review:
    refusal = None if plan.refusal is None else str(plan.refusal)
    if plan.done is not None:
        refusal = f"it is done already: version {plan.done.shown.seq}"
    return Review(
        entries=plan.entries,
        head_version=plan.now.version,
        stale=stale,
        diff="" if refusal else plan.diff,
        refusal=refusal,
        reason=reason,
    )
