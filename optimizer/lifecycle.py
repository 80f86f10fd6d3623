"""Proposals from publication to undo: the one place where pages and commands decide about them.

Everything that writes re-checks role, state and version while it holds the lock, and leaves an audit row, also when it
is refused. What was there before a crash, or after it, is settled by the next write.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from router_core.call_log.home import Home
from router_core.control import audit, history, proposals
from router_core.control.access import Access, load_access
from router_core.control.records import Actor, AuditRow, ConfigVersion, Draft, Entry, ProposalState, Verdict
from router_core.control.reviews import Done, Head, HeldBack, PublishReport, Review, Run, UndoOffer
from router_core.control.site import Site
from router_core.errors import ChangeRefusedError, ConflictError, NotAllowedError, StaleError

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


class Desk:
    """One home's proposals, config history and audit.

    Objects are cheap and hold nothing open: threads may share one, processes have their own.

    Args:
        home: The home; a store that is not there reads as empty.
        config: The routing config.
        now_us: The clock, microseconds since the epoch.
    """

    def __init__(self, home: Home, config: Path, now_us: Callable[[], int]) -> None:
        self._site = Site(home, config, now_us)

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
        raise NotImplementedError

    def undo_offer(self, seq: int) -> UndoOffer:
        """Return how the change that made version ``seq`` would be taken back now.

        Raises:
            ConfigError: There is no such version.
        """
        raise NotImplementedError

    def review_rollback(self, seq: int) -> Review:
        """Return what going back to version ``seq`` would change now.

        Raises:
            ConfigError: There is no such version.
        """
        raise NotImplementedError

    def observe(self) -> None:
        """Take a hand edit of the file into history, and settle what a crash has left."""
        raise NotImplementedError

    def publish(
        self,
        drafts: Sequence[Draft],
        verdicts: Sequence[Verdict],
        actor: Actor,
        *,
        window_us: tuple[int, int] | None = None,
    ) -> PublishReport:
        """Put a run's drafts on offer, and end what they replace. The same drafts again change nothing.

        Args:
            drafts: At most one per payload type.
            verdicts: What the run says of every payload type it looked at; stored with the proposals' ids.
            actor: Who started the run.
            window_us: First and last instant of the run's evidence.

        Raises:
            NotAllowedError: The actor's role does not allow it.
        """
        raise NotImplementedError

    def claim(self, proposal_id: str, actor: Actor) -> Entry:
        """Mark a proposal as being looked at, for 15 minutes; claiming one's own again begins anew.

        Raises:
            ChangeRefusedError: Role or state do not allow it, or somebody else has it.
        """
        raise NotImplementedError

    def release(self, proposal_id: str, actor: Actor) -> Entry:
        """End a claim; an admin may end another's.

        Raises:
            ChangeRefusedError: Role or state do not allow it, or somebody else has it.
        """
        raise NotImplementedError

    def dismiss(self, proposal_id: str, actor: Actor, reason: str) -> Entry:
        """Turn a proposal down; it does not return for 28 days unless the evidence changes.

        Raises:
            ChangeRefusedError: Role, state or reason do not allow it.
        """
        raise NotImplementedError

    def snooze(self, proposal_id: str, actor: Actor, until_us: int, reason: str) -> Entry:
        """Put a proposal away until an instant.

        Raises:
            ChangeRefusedError: Role, state, instant or reason do not allow it.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def undo(self, seq: int, actor: Actor, reason: str, *, expected_version: str) -> Done:
        """Take an applied change back, as ``undo_offer`` shows it; raises as ``apply`` does."""
        raise NotImplementedError

    def rollback(self, seq: int, actor: Actor, reason: str, *, expected_version: str) -> Done:
        """Give the file the bytes of version ``seq`` again, as a new version; raises as ``apply`` does."""
        raise NotImplementedError

    def _bytes(self, version: str) -> bytes:
        now = self._site.look()
        if now.data is not None and now.version == version:
            return now.data
        with self._site.store.reading() as con:
            return history.bytes_of_version(con, version)
