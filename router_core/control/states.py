"""PURE: where a proposal stands, and where it may go next.

::

    open → claimed → applied → watching → confirmed | rolled_back | superseded (not measured)
    open → dismissed | snoozed → open | expired | superseded

Time moves some states on by itself (``as_of``); everything else is a ``Step`` somebody asks for (``decide``).
"""

from dataclasses import dataclass, replace
from typing import Literal

from router_core.control.records import ProposalState

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
EXPIRY_US = 21 * DAY_US
CLAIM_US = HOUR_US // 4
WATCH_US = 28 * DAY_US
QUIET_US = 28 * DAY_US
"""How long a change that was dismissed or rolled back does not return without new evidence."""

NOT_MEASURED = "not measured"
_UNWATCHED = f"{NOT_MEASURED}: its time ran out, and nothing measures moves yet"

Action = Literal["claim", "release", "apply", "dismiss", "snooze", "supersede", "roll_back", "confirm"]

ON_OFFER: frozenset[ProposalState] = frozenset({"open", "claimed", "snoozed"})
IN_FORCE: frozenset[ProposalState] = frozenset({"applied", "watching"})
BLOCKING: frozenset[ProposalState] = frozenset({"claimed", "applied", "watching"})
"""While one of these, its payload type gets no other proposal."""
MADE: frozenset[ProposalState] = frozenset({"applied", "watching", "confirmed"})
LIVE: frozenset[ProposalState] = ON_OFFER | IN_FORCE
_ENDED: frozenset[ProposalState] = frozenset({"superseded"})

_FROM: dict[Action, frozenset[ProposalState]] = {
    "claim": ON_OFFER,
    "release": frozenset({"claimed"}),
    "apply": ON_OFFER,
    "dismiss": ON_OFFER,
    "snooze": ON_OFFER,
    "supersede": LIVE,
    # a watch that ended unmeasured leaves the change in force
    "roll_back": MADE | _ENDED,
    "confirm": IN_FORCE,
}
_ALREADY: dict[Action, frozenset[ProposalState]] = {
    "claim": frozenset(),
    "release": frozenset({"open"}),
    "apply": MADE,
    "dismiss": frozenset({"dismissed"}),
    "snooze": frozenset(),
    "supersede": _ENDED,
    "roll_back": frozenset({"rolled_back"}),
    "confirm": frozenset({"confirmed"}),
}
_TO: dict[Action, ProposalState] = {
    "claim": "claimed",
    "release": "open",
    "apply": "watching",
    "dismiss": "dismissed",
    "snooze": "snoozed",
    "supersede": "superseded",
    "roll_back": "rolled_back",
    "confirm": "confirmed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one proposal stands.

    Attributes:
        state: Its state.
        since_us: Since when.
        expires_us: When its offer ends.
        who: Who moved it there; None = the program.
        reason: Why.
        until_us: When this state ends by itself; of an open one that is ``expires_us``.
        seq: Number of the config version that applied it.
    """

    state: ProposalState
    since_us: int
    expires_us: int
    who: str | None = None
    reason: str | None = None
    until_us: int | None = None
    seq: int | None = None

    @property
    def lapses_us(self) -> int | None:
        """When time alone moves it on; None = never."""
        return self.expires_us if self.state == "open" else self.until_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is asked for.

    Attributes:
        action: The step.
        at_us: When.
        who: By whom; None = the program.
        reason: Why.
        until_us: Of ``claim``, ``snooze`` and ``apply``: until when.
        seq: Of ``apply``: the config version it makes.
        may_release: Of ``release``: whether another's claim may be ended.
    """

    action: Action
    at_us: int
    who: str | None = None
    reason: str | None = None
    until_us: int | None = None
    seq: int | None = None
    may_release: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What comes of a step.

    Attributes:
        standing: Where the proposal stands after it.
        result: ``already`` = it stood there before; ``refused`` = it stays where it was.
        refusal: Why it was refused; empty otherwise.
    """

    standing: Standing
    result: Literal["done", "already", "refused"]
    refusal: str = ""


def as_of(standing: Standing, now_us: int) -> Standing:
    """Return where a proposal stands at ``now_us`` when nobody does anything."""
    while (lapses_us := standing.lapses_us) is not None and lapses_us <= now_us:
        standing = _lapsed(standing, lapses_us)
    return standing


def decide(standing: Standing, step: Step) -> Decision:
    """Return what a step makes of a proposal that stands as given at the step's instant."""
    now = as_of(standing, step.at_us)
    if now.state in _ALREADY[step.action]:
        return Decision(standing=now, result="already")
    if now.state not in _FROM[step.action]:
        return Decision(standing=now, result="refused", refusal=_said(now))
    refusal = _refusal(now, step)
    if refusal:
        return Decision(standing=now, result="refused", refusal=refusal)
    return Decision(standing=_taken(now, step), result="done")


def _taken(now: Standing, step: Step) -> Standing:
    return replace(
        now,
        state=_TO[step.action],
        since_us=step.at_us,
        who=step.who,
        reason=step.reason,
        until_us=step.until_us if step.action in {"claim", "snooze", "apply"} else None,
        seq=step.seq if step.action == "apply" else now.seq,
    )


def _refusal(now: Standing, step: Step) -> str:
    if step.action == "claim" and now.state == "claimed" and now.who != step.who:
        return f"it is claimed by {now.who}; wait until that ends, or ask for its release"
    if step.action == "release" and now.who != step.who and not step.may_release:
        return f"it is claimed by {now.who}, who alone may release it"
    if step.action == "snooze" and (step.until_us is None or step.until_us <= step.at_us):
        return "a snooze must end in the future"
    if step.action == "roll_back" and now.seq is None:
        return _said(now)
    return ""


def _lapsed(standing: Standing, at_us: int) -> Standing:
    state: ProposalState = "open"
    reason: str | None = None
    if standing.state == "open":
        state, reason = "expired", "its time ran out"
    elif standing.state == "watching":
        state, reason = "superseded", _UNWATCHED
    return replace(standing, state=state, since_us=at_us, who=None, reason=reason, until_us=None)


def _said(now: Standing) -> str:
    because = f" ({now.reason})" if now.reason else ""
    return f"it is {now.state.replace('_', ' ')}{because}"
