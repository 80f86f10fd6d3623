"""What can happen in a call, as facts, and what can be done next, as actions."""

from typing import Literal

from router_core.decide.score import Score
from router_core.errors import ErrorKind
from router_core.record import record
from router_core.types import Confidence, GuardState, Role

AcceptReason = Literal[
    "accepted",  # confident enough
    "accepted_unscored",  # no confidence, and the config accepts that
    "last_step",  # valid, and there is no higher step
    "escalation_failed",  # a higher step was tried or wanted, and could not answer
    "guard",  # a limit forbids going up
    "limits",  # the call's own limits forbid going on
    "streamed",  # its pieces were handed out as they came: it is served, whatever was found in it afterwards
    "breaker",  # so many calls of the type would go up that none does
    "content_policy",  # asked the same once more, the provider declined the content: nobody else may be asked
]
ExhaustedReason = Literal[
    "no_valid_answer",  # nobody is left to ask
    "limits",  # the call's own limits forbid going on
    "guard",  # a limit forbids going up
    "bad_request",  # the request itself is refused: nobody else is asked
    "content_policy",  # the provider declines the content: nobody else may be asked
    "incapable",  # no target takes a request like this
    "breaker",  # so many calls of the type would go up that none does
    "broken_stream",  # what was handed out cannot be taken back
]

RECALLED = 0
"""Number of an answer that an earlier run has paid for; requests are numbered from 1."""


@record
class Facts:
    """The world at the moment of a decision, as the driver saw it.

    Attributes:
        elapsed_us: Microseconds since the call's start.
        guard: The guard's present verdict; ``normal`` for critical calls.
        down: Targets that are left alone, by name.
        unaffordable: Targets whose next request is estimated dearer than what the call may still spend.
        unfit: Targets that cannot take a request like the call's.
        held: Tiers that no call of its type may leave upwards now, for a cause like the call's own.
    """

    elapsed_us: int = 0
    guard: GuardState = "normal"
    down: frozenset[str] = frozenset()
    unaffordable: frozenset[str] = frozenset()
    unfit: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()


@record
class Opened:
    """The call began."""

    facts: Facts


@record
class Failed:
    """Attempt ``n`` failed.

    Attributes:
        n: 1-based number of the attempt.
        step: Index of its step in the plan.
        target: Index of its target in the step.
        kind: How it failed.
        retry_after_us: Wait that the provider asked for.
        draw: Uniform 0..1 for the jitter of a backoff.
        streamed: Whether pieces of its answer were handed out before.
        facts: The world afterwards.
    """

    n: int
    step: int
    target: int
    kind: ErrorKind
    retry_after_us: int | None = None
    draw: float = 0.0
    streamed: bool = False
    facts: Facts


@record
class Returned:
    """Attempt ``n`` came back with an answer, not yet checked."""

    n: int
    step: int
    target: int


@record
class Checked:
    """The answer of attempt ``n`` was checked.

    With number ``RECALLED`` it is a valid answer that an earlier run has paid for, checked again: it stands before
    every request, is none itself, and the path goes on from its step. Of several kept ones it is the furthest up.

    Attributes:
        n: 1-based number of the attempt, or ``RECALLED``.
        step: Index of its step.
        target: Index of its target.
        valid: Whether every check passed.
        confidence: How sure it is.
        corrects: The draft's attempt number, when this was a correction.
        streamed: Whether it was handed out piece by piece, before it was checked.
        correctable: Whether it is a valid answer of which only some fields are doubtful.
        packed: Whether it came from a request that was shared with other tasks.
        facts: The world afterwards.
    """

    n: int
    step: int
    target: int
    valid: bool
    confidence: Confidence
    corrects: int | None = None
    streamed: bool = False
    correctable: bool = False
    packed: bool = False
    facts: Facts


@record
class Merged:
    """The correction of attempt ``n`` was merged into its draft.

    Attributes:
        n: 1-based number of the attempt.
        step: Index of its step.
        target: Index of its target.
        valid: Whether the corrections were not refused and every check of the merged answer passed.
        confidence: How sure it is of what was doubtful before.
        correctable: Whether some fields are still doubtful, and only some.
        facts: The world afterwards.
    """

    n: int
    step: int
    target: int
    valid: bool
    confidence: Confidence
    correctable: bool = False
    facts: Facts


@record
class Scored:
    """Request ``n``, which was to tell how sure the answer of attempt ``about`` is, has ended.

    Attributes:
        n: 1-based number of the request.
        about: The answer's attempt.
        step: Index of the answer's step.
        target: Index of the answer's target.
        answered: Whether there was an answer; after a request that failed no other is made.
        refused: Whether the answer's own target, asked the same once more, declined the content.
        confidence: How sure the answer is by now.
        facts: The world afterwards.
    """

    n: int
    about: int
    step: int
    target: int
    answered: bool
    confidence: Confidence
    facts: Facts
    refused: bool = False


Fact = Opened | Failed | Returned | Checked | Merged | Scored
Answered = Checked | Merged | Scored


@record
class Call:
    """Make one request.

    Attributes:
        n: 1-based number of the attempt.
        step: Index of the step.
        target: Index of the target in the step.
        role: Why.
        wait_us: Pause before it.
        timeout_us: Time it may take.
        draft: Attempt whose answer is to be corrected, for role ``correct``.
    """

    n: int
    step: int
    target: int
    role: Role
    wait_us: int = 0
    timeout_us: int
    draft: int | None = None


@record
class Check:
    """Check the answer of attempt ``n`` and measure its confidence."""

    n: int


@record
class Merge:
    """Merge the correction of attempt ``n`` into the draft of attempt ``draft``."""

    n: int
    draft: int


@record
class Accept:
    """Serve the answer of attempt ``n``, or the one that was ``RECALLED``."""

    n: int
    reason: AcceptReason


@record
class Exhausted:
    """There is nothing to serve and nothing left to try."""

    reason: ExhaustedReason


Action = Call | Score | Check | Merge | Accept | Exhausted
Trace = tuple[Fact, ...]
