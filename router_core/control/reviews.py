"""What the pages and commands are shown before a change of the config, and told after it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from router_core.control.records import ChangeKind, Entry, Totals, Verdict

if TYPE_CHECKING:
    from router_core.config import RoutingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The routing config as it stands in the file.

    Attributes:
        path: The file.
        version: Content hash of its bytes; empty when it cannot be read.
        seq: Its number in history; None = a hand edit that history has not taken in yet.
        since_us: When this version was first seen; of one not in history, when the file was last written.
        kind: How it came about.
        by: Who, where that is known.
        reason: Why, where that is known.
        proposal_ids: Proposals it applies, or takes back.
        config: The config; None when routers refuse the file.
        problem: Why they do; None when they do not.
    """

    path: Path
    version: str
    seq: int | None
    since_us: int
    kind: ChangeKind
    by: str | None = None
    reason: str | None = None
    proposal_ids: tuple[str, ...] = ()
    config: "RoutingConfig | None" = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A change as it would be made now.

    Attributes:
        entries: The proposals it applies; none for a rollback.
        head_version: Version it would be made on: pass it on as ``expected_version``.
        stale: Whether the config has changed since one of the proposals was made.
        diff: Unified diff of the file; empty when the change is refused.
        refusal: Why it cannot be made; None = it can.
        reason: A reason, filled in beforehand.
    """

    entries: tuple[Entry, ...]
    head_version: str
    stale: bool
    diff: str
    refusal: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoOffer:
    """How one applied change would be taken back now.

    Attributes:
        seq: The change.
        head_version: Version it would be done on: pass it on as ``expected_version``.
        exact: Whether the file becomes what it was, byte for byte; else the inverse change is made on the present file.
        diff: Unified diff of the file; empty when undo is refused.
        refusal: Why it cannot be done; None = it can.
        reason: A reason, filled in beforehand.
        proposal_ids: Proposals it takes back.
    """

    seq: int
    head_version: str
    exact: bool
    diff: str
    refusal: str | None
    reason: str
    proposal_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A change that is made.

    Attributes:
        result: ``already`` when it had been made before; then nothing was changed now.
        seq: Number of the version that it made.
        version: Content hash of that version.
        before_version: Content hash of the version before it.
        audit_seq: Its row in the audit.
        note: Something the actor should know; None = nothing.
    """

    result: Literal["done", "already"]
    seq: int
    version: str
    before_version: str
    audit_seq: int
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the optimizer.

    Attributes:
        run_id: Counted per home.
        at_us: When.
        by: Who started it.
        window_us: First and last instant of the evidence; None = undated evaluations, or nothing at all.
        verdicts: One per payload type.
        portfolio: What its moves promise together; None = it has none.
    """

    run_id: int
    at_us: int
    by: str
    window_us: tuple[int, int] | None
    verdicts: tuple[Verdict, ...]
    portfolio: Totals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """A draft that did not become a proposal.

    Attributes:
        payload_type: Its type.
        reason: Why, one sentence.
    """

    payload_type: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """What became of a run's drafts.

    Attributes:
        published: Ids of the new proposals.
        kept: Ids of those that say the same and stay as they are.
        superseded: Ids of those that ended.
        held_back: Drafts that were not published.
        run: The run as it was stored.
    """

    published: tuple[str, ...]
    kept: tuple[str, ...]
    superseded: tuple[str, ...]
    held_back: tuple[HeldBack, ...]
    run: Run
