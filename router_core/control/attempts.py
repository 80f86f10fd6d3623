"""One attempt to write: under the lock, with role and reason checked, and audited whatever comes of it."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from router_core.control import audit
from router_core.control.access import Access, Right, least_role, lesser, load_access, may
from router_core.control.records import Actor, RoleName
from router_core.control.site import Site
from router_core.control.store import locked
from router_core.errors import ChangeRefusedError, ConfigError, ConflictError, NotAllowedError

REASON_CHARS: Final = (5, 200)
_LOCAL: Final = frozenset({"local", "command"})
_IDS_AUDITED: Final = 100
_ID_CHARS: Final = 40


@dataclass(slots=True)
class Attempt:
    """What the audit is to say of an attempt that is refused.

    Attributes:
        actor: Who, with the role that counts: the lesser of the one they came with and the one they have now.
        action: What.
        proposal_ids: About what.
        reason: Why.
        access: Who may do what at this moment.
        before: Version of the config it was to change.
        diff: How.
        is_audited: Whether a row says it already.
    """

    actor: Actor
    action: str
    proposal_ids: tuple[str, ...]
    reason: str | None
    access: Access
    before: str | None = None
    diff: str | None = None
    is_audited: bool = field(default=False)


@contextmanager
def attempted(
    site: Site,
    action: str,
    actor: Actor,
    right: Right,
    *,
    proposal_ids: Sequence[str] = (),
    reason: str | None = None,
    settle: Callable[[], None],
) -> Generator[Attempt]:
    """Hold the lock for one attempt; a refusal that leaves the block is audited.

    Args:
        site: The config and its home.
        action: What is attempted, as audited.
        actor: Who attempts it.
        right: What they need.
        proposal_ids: What it is about.
        reason: Why; None = it needs none.
        settle: Run first: brings the store up to what the file is.

    Raises:
        NotAllowedError: The actor may not.
        ChangeRefusedError: The reason is no reason, or somebody else holds the lock for long.
        StoreError: The store cannot be used.
    """
    access = load_access(site.config)
    attempt = Attempt(
        actor=replace(actor, name=audit.storable(actor.name), role=role_now(access, actor)),
        action=action,
        proposal_ids=tuple(each[:_ID_CHARS] for each in proposal_ids[:_IDS_AUDITED]),
        reason=None if reason is None else audit.storable(reason.strip()),
        access=access,
    )
    site.home.create()
    try:
        with locked(site.home.control_lock) as won:
            if not won:
                raise ChangeRefusedError("another change is being made just now; try again")
            _refuse_unfit(attempt, right)
            settle()
            yield attempt
    except (ChangeRefusedError, ConfigError) as error:
        if not attempt.is_audited:
            _audit_refusal(site, attempt, error)
        raise


def role_now(access: Access, actor: Actor) -> RoleName:
    """Return the role that counts for an actor at this moment."""
    if actor.auth == "none":
        return "viewer"
    return lesser(actor.role, access.role_of(actor.name, local=actor.auth in _LOCAL))


def _refuse_unfit(attempt: Attempt, right: Right) -> None:
    if not may(attempt.actor.role, right):
        because = f" {attempt.access.problem}" if attempt.access.problem else ""
        raise NotAllowedError(
            f"{attempt.actor.name} is {_article(attempt.actor.role)} and may not {attempt.action}; "
            f"that takes {_article(least_role(right))}.{because}"
        )
    if attempt.reason is not None:
        least, most = REASON_CHARS
        if not least <= len(attempt.reason) <= most:
            raise ChangeRefusedError(
                f"a reason of {least} to {most} characters is needed, this one has {len(attempt.reason)}"
            )


def _audit_refusal(site: Site, attempt: Attempt, error: ChangeRefusedError | ConfigError) -> None:
    row = audit.make_row(
        attempt.actor,
        attempt.action,
        "conflict" if isinstance(error, ConflictError) else "refused",
        site.now_us(),
        proposal_ids=attempt.proposal_ids,
        reason=attempt.reason,
        before=attempt.before,
        diff=attempt.diff,
        detail=str(error),
    )
    with site.store.writing() as con:
        audit.append(con, row)


def _article(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"
