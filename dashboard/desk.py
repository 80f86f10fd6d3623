"""What the pages ask of the desk that keeps proposals, config history and audit, and who acts there."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from dashboard.sums import Source
from router_core.control.records import Actor, AuditRow, ConfigVersion, Entry, ProposalState

FORMATS: Final = ("auto", "table", "litellm-spend", "litellm-payload", "langfuse", "helicone", "otel", "outcomes")

if TYPE_CHECKING:
    from router_core.control.reviews import Done, Head, Review, Run, UndoOffer


class Desk(Protocol):
    """One home's proposals, config history and audit: as ``optimizer.lifecycle.Desk`` keeps them.

    Reads never write. Writes check role, state and version themselves and are audited, refused ones too.
    """

    def entries(
        self, states: Collection[ProposalState] | None = None, *, limit: int = 100, offset: int = 0
    ) -> tuple[Entry, ...]:
        """Return proposals, newest first."""
        ...

    def counts(self) -> Mapping[ProposalState, int]:
        """Return how many proposals are in each state."""
        ...

    def latest_run(self) -> "Run | None":
        """Return what the last search for moves said."""
        ...

    def head(self) -> "Head":
        """Return the config that runs now."""
        ...

    def history(self, *, limit: int = 50, offset: int = 0) -> tuple[ConfigVersion, ...]:
        """Return versions of the config, newest first."""
        ...

    def diff(self, before: str, after: str) -> str:
        """Return the unified diff of two versions."""
        ...

    def audit(
        self, *, limit: int = 100, offset: int = 0, action: str | None = None, who: str | None = None
    ) -> tuple[AuditRow, ...]:
        """Return what was done, newest first."""
        ...

    def verify_audit(self) -> int | None:
        """Return the first row that the audit's chain of hashes does not vouch for; None = the chain holds."""
        ...

    def text(self, seq: int) -> bytes:
        """Return the bytes of one version."""
        ...

    def observe(self) -> None:
        """Take an edit by hand into history."""
        ...

    def review(self, proposal_ids: Sequence[str]) -> "Review":
        """Return what applying proposals would do now."""
        ...

    def undo_offer(self, seq: int) -> "UndoOffer":
        """Return what undoing a version would do now."""
        ...

    def review_rollback(self, seq: int) -> "Review":
        """Return what going back to a version would do now."""
        ...

    def claim(self, proposal_id: str, actor: Actor) -> Entry:
        """Take a proposal into review."""
        ...

    def release(self, proposal_id: str, actor: Actor) -> Entry:
        """Give a proposal back."""
        ...

    def apply(self, proposal_ids: Sequence[str], actor: Actor, reason: str, *, expected_version: str) -> "Done":
        """Apply proposals to the config."""
        ...

    def undo(self, seq: int, actor: Actor, reason: str, *, expected_version: str) -> "Done":
        """Take a version's change back."""
        ...

    def rollback(self, seq: int, actor: Actor, reason: str, *, expected_version: str) -> "Done":
        """Make a version of history the config again."""
        ...

    def dismiss(self, proposal_id: str, actor: Actor, reason: str) -> Entry:
        """Turn a proposal down."""
        ...

    def snooze(self, proposal_id: str, actor: Actor, until_us: int, reason: str) -> Entry:
        """Put a proposal off."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How one run of a command ended: whether well, and what it said."""

    ok: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportWish:
    """How an uploaded file is to be read.

    Attributes:
        format: One of ``FORMATS``.
        tiers: ``tier=model,...``; empty = as the routing config says.
        maps: ``COLUMN=FIELD`` each.
        payload_type_from: Places of the payload type, separated by commas; empty = found.
        skip_bad: Whether bad rows are left out instead of refusing the file.
    """

    format: str = "auto"
    tiers: str = ""
    maps: tuple[str, ...] = ()
    payload_type_from: str = ""
    skip_bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """How calls are brought into a home's log.

    Attributes:
        make_demo: Simulates the demo below the home.
        import_upload: Imports an uploaded file, given its name, its bytes, how it is read, and whether that is only
            tried.
        reading: The home whose log the page shows, as a path.
    """

    make_demo: Callable[[], Search]
    import_upload: Callable[[str, bytes, ImportWish, bool], Search]
    reading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a page on which somebody decides is given.

    Attributes:
        source: The log.
        desk: Proposals, history and audit.
        who: Finds out who acts; asked again at every write.
        search: Looks for moves, and returns when that is over.
        now_us: The clock, microseconds since the epoch.
        trouble: What is wrong with ``access.yaml``, if anything is.
    """

    source: Source
    desk: Desk
    who: Callable[[], Actor]
    search: Callable[[], Search]
    now_us: Callable[[], int]
    trouble: str | None = None
