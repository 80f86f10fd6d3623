"""Plan + what happened so far → what to do next. Retry, fallback and escalation are decided here and nowhere else.

The driver appends a fact for everything that happened and asks again; the same facts always give the same decisions, so
a call can be replayed from its log.
"""

from dataclasses import replace
from typing import Literal

from router_core.decide.confidence import PAID
from router_core.decide.plan import Plan, PlanStep
from router_core.decide.score import Place, Score, next_score
from router_core.errors import ErrorKind
from router_core.record import maker, record
from router_core.types import Confidence, GuardState, Role

AcceptReason = Literal[
    "accepted",  # confident enough
    "accepted_unscored",  # no confidence, and the config accepts that
    "last_step",  # valid, and there is no higher step
    "escalation_failed",  # a higher step was tried or wanted, and could not answer
    "guard",  # a limit forbids going up
    "limits",  # the call's own limits forbid going on
    "streamed",  # its pieces were handed out as they came: it is served, whatever was found in it afterwards
]
ExhaustedReason = Literal["no_valid_answer", "limits", "guard", "bad_request", "content_policy", "broken_stream"]

RECALLED = 0
"""Number of an answer that an earlier run has paid for; requests are numbered from 1."""

_SURFACED: frozenset[ErrorKind] = frozenset({"bad_request", "content_policy"})
_RETRYABLE: frozenset[ErrorKind] = frozenset({"rate_limit", "timeout", "server", "connection", "bad_response"})
_BACKOFF_US = 500_000
# a provider that asks for more than this is left for another target, where there is one
_PATIENCE_US = 2_000_000


@record
class Facts:
    """The world at the moment of a decision, as the driver saw it.

    Attributes:
        elapsed_us: Microseconds since the call's start.
        guard: The guard's present verdict; ``normal`` for critical calls.
        down: Models that cool down.
        unaffordable: Models whose next request is estimated dearer than what the call may still spend.
    """

    elapsed_us: int = 0
    guard: GuardState = "normal"
    down: frozenset[str] = frozenset()
    unaffordable: frozenset[str] = frozenset()


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
        facts: The world afterwards.
    """

    n: int
    step: int
    target: int
    valid: bool
    confidence: Confidence
    corrects: int | None = None
    streamed: bool = False
    facts: Facts


@record
class Merged:
    """The correction of attempt ``n`` was merged into its draft."""

    n: int
    step: int
    target: int
    valid: bool
    confidence: Confidence
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


Fact = Opened | Failed | Returned | Checked | Merged | Scored
Answered = Checked | Merged | Scored
# what ends a request
_ENDED = (Failed, Returned)
_MADE = (*_ENDED, Scored)


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

_make_call = maker(Call)
_make_check = maker(Check)
_make_accept = maker(Accept)


def decide(plan: Plan, trace: Trace) -> Action:
    """Return what to do next in a call.

    Args:
        plan: The call's plan.
        trace: Everything that happened so far, in order; begins with ``Opened``.
    """
    match trace[-1]:
        case Opened(facts=facts):
            return _begin(plan, facts)
        case Returned(n=n):
            return _make_check(n=n)
        case Failed() as failed:
            return _after_failure(plan, trace, failed)
        case Checked(n=n, corrects=int(draft), valid=True, streamed=False):
            return Merge(n=n, draft=draft)
        case Checked() | Merged() | Scored() as answered:
            return _after_answer(plan, trace, answered)


def served_at(plan: Plan, step: PlanStep, confidence: Confidence) -> bool:
    """Return whether a valid answer of this step is served once nothing more can be learned about it."""
    if confidence.value is None:
        return plan.on_missing == "accept"
    return confidence.value >= threshold(plan, step, confidence)


def threshold(plan: Plan, step: PlanStep, confidence: Confidence) -> float:
    """Return the confidence from which an answer of this step is served: on the scale that the confidence is on."""
    covered = confidence.calibration is not None or not plan.is_calibrated
    return step.accept_at if covered else plan.accept_uncalibrated_at


def replay(plan: Plan, trace: Trace) -> tuple[Action, ...]:
    """Return the decision after each fact of a recorded trace, shape ``(len(trace),)``."""
    return tuple(decide(plan, trace[: end + 1]) for end in range(len(trace)))


def _begin(plan: Plan, facts: Facts) -> Action:
    for index, step in enumerate(plan.steps):
        target = _usable(step, facts, frozenset())
        if target is not None:
            return _call(plan, (), facts, step=index, target=target, role="serve") or Exhausted(reason="limits")
    if facts.down:  # where everything cools down, asking anyway is better than failing without having tried
        return _begin(plan, replace(facts, down=frozenset()))
    return Exhausted(reason="limits")


def _after_answer(plan: Plan, trace: Trace, answered: Answered) -> Action:
    n = answered.n
    if isinstance(answered, Checked) and answered.streamed:
        return Accept(n=n, reason="streamed")
    if isinstance(answered, Scored):
        n = answered.about
    elif not answered.valid:
        return _after_invalid(plan, trace, answered)
    more = _score(plan, trace, answered, n) if plan.confidence_source in PAID else None
    if more is not None:
        return more
    if served_at(plan, plan.steps[answered.step], answered.confidence):
        unscored = answered.confidence.value is None
        return _make_accept(n=n, reason="accepted_unscored" if unscored else "accepted")
    return _not_sure_enough(plan, trace, answered, n)


def _not_sure_enough(plan: Plan, trace: Trace, answered: Answered, n: int) -> Action:
    if answered.step == len(plan.steps) - 1:
        return Accept(n=n, reason="last_step")
    if answered.facts.guard != "normal":
        return Accept(n=n, reason="guard")
    up = _go_up(plan, trace, answered)
    if up is not None:
        return up
    return Accept(n=n, reason="limits" if _is_over(plan, trace, answered.facts) else "escalation_failed")


def _score(plan: Plan, trace: Trace, answered: Answered, n: int) -> Score | None:
    """Return the next request that tells how sure a valid answer is, or None when there is none to make."""
    facts = answered.facts
    known = not isinstance(answered, Scored) and answered.confidence.value is not None
    if facts.guard != "normal" or known:  # known: an earlier run has paid for that too
        return None
    return next_score(
        plan,
        Place(n=n, step=answered.step, target=answered.target),
        [
            fact.answered and fact.confidence.value is not None
            for fact in trace
            if isinstance(fact, Scored) and fact.about == n
        ],
        made=_made(trace),
        left_us=plan.deadline_us - facts.elapsed_us,
        barred=facts.down | facts.unaffordable,
    )


def _after_invalid(plan: Plan, trace: Trace, answered: Checked | Merged) -> Action:
    facts = answered.facts
    if facts.guard == "stopped":
        return _finish(trace, "guard")
    up = None if facts.guard == "capped" else _go_up(plan, trace, answered)
    if up is not None:
        return up
    model = plan.steps[answered.step].targets[answered.target].model
    tries = _tries(trace, answered.step, answered.target)
    if _best_valid(trace) is None and tries <= plan.retries and model not in facts.unaffordable:
        again = _call(plan, trace, facts, step=answered.step, target=answered.target, role="retry")
        if again is not None:
            return again
    return _finish(trace, "limits" if _is_over(plan, trace, facts) else "no_valid_answer")


def _after_failure(plan: Plan, trace: Trace, failed: Failed) -> Action:
    facts = failed.facts
    if failed.streamed:
        return Exhausted(reason="broken_stream")  # what was handed out cannot be taken back
    if failed.kind in _SURFACED:
        return _finish(trace, "content_policy" if failed.kind == "content_policy" else "bad_request")
    if facts.guard == "stopped":
        return _finish(trace, "guard")
    other = _usable(plan.steps[failed.step], facts, _spent_targets(trace, failed.step))
    up = None if facts.guard == "capped" else _go_up(plan, trace, failed)
    fallback = other if other is None else _call(plan, trace, facts, step=failed.step, target=other, role="fallback")
    elsewhere = fallback or up
    retry = _retry(plan, trace, failed) if elsewhere is None or _is_soon(failed) else None
    action = retry or elsewhere
    if action is not None:
        return action
    if _is_over(plan, trace, facts):
        return _finish(trace, "limits")
    forbidden = facts.guard == "capped" and failed.step < len(plan.steps) - 1
    return _finish(trace, "guard" if forbidden else "no_valid_answer")


def _is_soon(failed: Failed) -> bool:
    """Return whether the provider does not ask for more patience than another target is worth."""
    return failed.retry_after_us is None or failed.retry_after_us <= _PATIENCE_US


def _retry(plan: Plan, trace: Trace, failed: Failed) -> Call | None:
    """Return the same request again, or None when that is pointless, too often or too dear."""
    facts, model = failed.facts, plan.steps[failed.step].targets[failed.target].model
    if failed.kind not in _RETRYABLE or model in facts.unaffordable:
        return None
    if _tries(trace, failed.step, failed.target) > plan.retries:
        return None
    # a pause that the provider asked for outlasts the cool-down that the same answer caused
    if failed.retry_after_us is None and model in facts.down:
        return None
    wait = _backoff_us(trace, failed)
    return _call(plan, trace, facts, step=failed.step, target=failed.target, role="retry", wait_us=wait)


def _go_up(plan: Plan, trace: Trace, fact: Failed | Answered) -> Call | None:
    """Return the next step's first usable target, or None when there is no higher step to go to."""
    last = len(plan.steps) - 1
    first = fact.step + 1
    if _is_hopeless(plan, fact):
        first = last
    for index in range(first, last + 1):
        target = _usable(plan.steps[index], fact.facts, frozenset())
        if target is not None:
            return _call(plan, trace, fact.facts, step=index, target=target, role="escalate")
    return None


def _is_hopeless(plan: Plan, fact: Failed | Answered) -> bool:
    """Return whether an answer's confidence is so low that the steps in between are left out."""
    if isinstance(fact, Failed) or (isinstance(fact, Checked | Merged) and not fact.valid):
        return False
    value, below = fact.confidence.value, plan.steps[fact.step].straight_to_last_below
    if value is None or below is None:
        return False
    # the bound is on the scale of the calibration: of a value that it does not cover it says nothing
    return value < below and (fact.confidence.calibration is not None or not plan.is_calibrated)


def _call(
    plan: Plan, trace: Trace, facts: Facts, *, step: int, target: int, role: Role, wait_us: int = 0
) -> Call | None:
    """Return the request, or None when the call's limits leave no room for it."""
    left_us = plan.deadline_us - facts.elapsed_us - wait_us
    made = _made(trace)
    if made >= plan.attempts or left_us <= 0:
        return None
    timeout_us = round(plan.steps[step].targets[target].timeout_s * 1e6)
    timeout_us = min(timeout_us, left_us)
    draft = _best_valid(trace) if plan.escalation == "correct" else None
    if draft is not None and role == "escalate":
        role = "correct"
    return _make_call(
        n=made + 1, step=step, target=target, role=role, wait_us=wait_us, timeout_us=timeout_us, draft=draft
    )


def _is_over(plan: Plan, trace: Trace, facts: Facts) -> bool:
    """Return whether the call's own limits leave no room for any request."""
    return _made(trace) >= plan.attempts or plan.deadline_us <= facts.elapsed_us


def _made(trace: Trace) -> int:
    made = 0
    for fact in trace:
        if isinstance(fact, _MADE):
            made += 1
    return made


def _finish(trace: Trace, reason: ExhaustedReason) -> Accept | Exhausted:
    """Return the best earlier valid answer, marked, or the end."""
    best = _best_valid(trace)
    if best is None:
        return Exhausted(reason=reason)
    marks: dict[ExhaustedReason, AcceptReason] = {"limits": "limits", "guard": "guard"}
    return Accept(n=best, reason=marks.get(reason, "escalation_failed"))


def _usable(step: PlanStep, facts: Facts, spent: frozenset[int]) -> int | None:
    down, unaffordable = facts.down, facts.unaffordable
    for index, target in enumerate(step.targets):
        if index not in spent and target.model not in down and target.model not in unaffordable:
            return index
    return None


def _spent_targets(trace: Trace, step: int) -> frozenset[int]:
    return frozenset(fact.target for fact in trace if isinstance(fact, _ENDED) and fact.step == step)


def _tries(trace: Trace, step: int, target: int) -> int:
    return sum(isinstance(fact, _ENDED) and fact.step == step and fact.target == target for fact in trace)


def _best_valid(trace: Trace) -> int | None:
    """Return the latest valid answer's attempt; steps only go up, so it comes from the highest tier."""
    valid = [
        fact.n
        for fact in trace
        if (isinstance(fact, Merged) or (isinstance(fact, Checked) and fact.corrects is None)) and fact.valid
    ]
    return valid[-1] if valid else None


def _backoff_us(trace: Trace, failed: Failed) -> int:
    """Return the pause before a retry: what the provider asks, else 0.5 s doubling, jittered to 50-100 %."""
    if failed.retry_after_us is not None:
        return failed.retry_after_us
    doublings = _tries(trace, failed.step, failed.target) - 1
    return round(_BACKOFF_US * 2**doublings * (0.5 + failed.draw / 2))
