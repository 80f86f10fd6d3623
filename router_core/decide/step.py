"""Plan + what happened so far → what to do next. Retry, fallback and escalation are decided here and nowhere else.

The driver appends a fact for everything that happened and asks again; the same facts always give the same decisions, so
a call can be replayed from its log.
"""

from dataclasses import replace
from typing import TypeGuard

from router_core.decide.breaker import Cause
from router_core.decide.confidence import PAID
from router_core.decide.moves import (
    Accept,
    AcceptReason,
    Action,
    Answered,
    Call,
    Check,
    Checked,
    Exhausted,
    ExhaustedReason,
    Fact,
    Facts,
    Failed,
    Merge,
    Merged,
    Opened,
    Returned,
    Scored,
    Trace,
)
from router_core.decide.plan import Plan, PlanStep
from router_core.decide.score import Place, Score, next_score
from router_core.errors import ErrorKind
from router_core.record import maker
from router_core.types import Confidence, Role

_SURFACED: frozenset[ErrorKind] = frozenset({"bad_request", "content_policy"})
_RETRYABLE: frozenset[ErrorKind] = frozenset({"rate_limit", "timeout", "server", "connection", "bad_response"})
_BACKOFF_US = 500_000
_LONGEST_BACKOFF_US = 20_000_000
# those who were all asked to wait equally long do not come back in the same moment
_SPREAD = 0.2
_LONGEST_SPREAD_US = 1_000_000
# a provider that asks for more than this is left for another target, where there is one
_PATIENCE_US = 2_000_000
# what ends a request
_ENDED = (Failed, Returned)
_NOBODY: frozenset[str] = frozenset()
_MADE = (*_ENDED, Scored)

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
        case Failed(kind="spoiled") as failed:
            return _alone(plan, trace, failed) or _after_failure(plan, trace, failed)
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


def left_for(plan: Plan, fact: Fact, action: Action) -> tuple[str, Cause] | None:
    """Return the tier that a call leaves upwards by this action and what for; None = it stays, or was never for it.

    A request too long for every window of a tier, or that needs what nobody in it can do, leaves nothing.
    """
    if not isinstance(action, Call):
        return None
    if isinstance(fact, Opened):
        if not action.step:
            return None
        cooling = fact.facts.down - fact.facts.unfit - fact.facts.unaffordable
        below = (step for step in plan.steps[: action.step] if any(one.name in cooling for one in step.targets))
        return next(((step.tier, "failures") for step in below), None)
    if isinstance(fact, Returned) or action.step <= fact.step:
        return None
    if isinstance(fact, Failed):
        return None if fact.kind == "context_overflow" else (plan.steps[fact.step].tier, "failures")
    return plan.steps[fact.step].tier, "answers"


def replay(plan: Plan, trace: Trace) -> tuple[Action, ...]:
    """Return the decision after each fact of a recorded trace, shape ``(len(trace),)``."""
    return tuple(decide(plan, trace[: end + 1]) for end in range(len(trace)))


def _begin(plan: Plan, facts: Facts) -> Action:
    for index, step in enumerate(plan.steps):
        target = _usable(step, facts, frozenset())
        if target is not None:
            return _call(plan, (), facts, step=index, target=target, role="serve") or Exhausted(reason="limits")
        if step.tier in facts.held and _takes_it((step,), facts):
            return Exhausted(reason="breaker")
    if _takes_it(plan.steps, facts) is None:
        return Exhausted(reason="incapable")
    if facts.down:  # where everything cools down, asking anyway is better than failing without having tried
        return _begin(plan, replace(facts, down=frozenset()))
    return Exhausted(reason="limits")


def _after_answer(plan: Plan, trace: Trace, answered: Answered) -> Action:
    n = answered.n
    if isinstance(answered, Checked) and answered.streamed:
        return Accept(n=n, reason="streamed")
    if isinstance(answered, Scored):
        n = answered.about
        if answered.refused:
            return Accept(n=n, reason="content_policy")
    elif not answered.valid:
        alone = _alone(plan, trace, answered) if isinstance(answered, Checked) and answered.packed else None
        return alone or _after_invalid(plan, trace, answered)
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
    forbids = "guard" if answered.facts.guard != "normal" else "breaker" if _is_held(plan, answered) else None
    if forbids is not None:
        return Accept(n=n, reason=forbids)
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
    held = _is_held(plan, answered)
    up = None if held or facts.guard == "capped" else _go_up(plan, trace, answered)
    if up is not None:
        return up
    model = plan.steps[answered.step].targets[answered.target].name
    tries = _tries(trace, answered.step, answered.target)
    if _best_valid(trace) is None and tries <= plan.retries and model not in facts.unaffordable | facts.unfit:
        again = _call(plan, trace, facts, step=answered.step, target=answered.target, role="retry")
        if again is not None:
            return again
    if _is_over(plan, trace, facts):
        return _finish(trace, "limits")
    return _finish(trace, "breaker" if held else "no_valid_answer")


def _after_failure(plan: Plan, trace: Trace, failed: Failed) -> Action:
    facts = failed.facts
    if failed.streamed:
        return Exhausted(reason="broken_stream")  # what was handed out cannot be taken back
    if failed.kind in _SURFACED:
        return _finish(trace, "content_policy" if failed.kind == "content_policy" else "bad_request")
    if facts.guard == "stopped":
        return _finish(trace, "guard")
    other = _usable(plan.steps[failed.step], facts, _spent_targets(trace, failed.step))
    held = _is_held(plan, failed)
    up = None if held or facts.guard == "capped" else _go_up(plan, trace, failed)
    fallback = other if other is None else _call(plan, trace, facts, step=failed.step, target=other, role="fallback")
    elsewhere = fallback or up
    retry = _retry(plan, trace, failed) if elsewhere is None or _is_soon(failed) else None
    action = retry or elsewhere
    if action is not None:
        return action
    if _is_over(plan, trace, facts):
        return _finish(trace, "limits")
    return _finish(trace, _why_stuck(plan, failed, held=held))


def _why_stuck(plan: Plan, failed: Failed, *, held: bool) -> ExhaustedReason:
    """Return why nobody is asked after a failure, though the call's limits would allow it."""
    if failed.facts.guard == "capped" and failed.step < len(plan.steps) - 1:
        return "guard"
    if held:
        return "breaker"
    return "incapable" if _takes_it(plan.steps[failed.step :], failed.facts) is None else "no_valid_answer"


def _alone(plan: Plan, trace: Trace, fact: Failed | Checked) -> Call | None:
    """Return the request that a task makes by itself after one that it shared came to nothing for it."""
    name = plan.steps[fact.step].targets[fact.target].name
    if fact.facts.guard == "stopped" or name in fact.facts.down | fact.facts.unaffordable | fact.facts.unfit:
        return None
    return _call(plan, trace, fact.facts, step=fact.step, target=fact.target, role="serve")


def _is_held(plan: Plan, fact: Failed | Answered) -> bool:
    """Return whether the breaker keeps a call from going up; a request too long for its window is no mass symptom."""
    overflown = isinstance(fact, Failed) and fact.kind == "context_overflow"
    return plan.steps[fact.step].tier in fact.facts.held and not overflown


def _is_soon(failed: Failed) -> bool:
    """Return whether the provider does not ask for more patience than another target is worth."""
    return failed.retry_after_us is None or failed.retry_after_us <= _PATIENCE_US


def _retry(plan: Plan, trace: Trace, failed: Failed) -> Call | None:
    """Return the same request again, or None when that is pointless, too often or too dear."""
    facts, model = failed.facts, plan.steps[failed.step].targets[failed.target].name
    if failed.kind not in _RETRYABLE or model in facts.unaffordable | facts.unfit:
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
    draft = _draft(plan, trace)
    if draft is not None:  # whether it is tried for the first time or again: it asks for corrections
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
    marks: dict[ExhaustedReason, AcceptReason] = {"limits": "limits", "guard": "guard", "breaker": "breaker"}
    return Accept(n=best, reason=marks.get(reason, "escalation_failed"))


def _usable(step: PlanStep, facts: Facts, spent: frozenset[int]) -> int | None:
    barred = (
        facts.down | facts.unaffordable | facts.unfit if facts.down or facts.unaffordable or facts.unfit else _NOBODY
    )
    if not barred and not spent:
        return 0 if step.targets else None
    for index, target in enumerate(step.targets):
        if index not in spent and target.name not in barred:
            return index
    return None


def _takes_it(steps: tuple[PlanStep, ...], facts: Facts) -> str | None:
    """Return a target that could take the call's request, whatever else keeps it from being asked."""
    return next((one.name for step in steps for one in step.targets if one.name not in facts.unfit), None)


def _spent_targets(trace: Trace, step: int) -> frozenset[int]:
    return frozenset(fact.target for fact in trace if isinstance(fact, _ENDED) and fact.step == step)


def _tries(trace: Trace, step: int, target: int) -> int:
    """Return how often a target was asked in a step; a shared request that came to nothing for the task is no try."""
    tries = sum(isinstance(fact, _ENDED) and fact.step == step and fact.target == target for fact in trace)
    return tries - sum(_is_spoiled(fact) and fact.step == step and fact.target == target for fact in trace)


def _is_spoiled(fact: Fact) -> TypeGuard[Failed | Checked]:
    if isinstance(fact, Failed):
        return fact.kind == "spoiled"
    return isinstance(fact, Checked) and fact.packed and not fact.valid


def _best_valid(trace: Trace) -> int | None:
    """Return the latest valid answer's attempt; steps only go up, so it comes from the highest tier."""
    best = _best(trace)
    return None if best is None else best.n


def _best(trace: Trace) -> Checked | Merged | None:
    for fact in reversed(trace):
        if (isinstance(fact, Merged) or (isinstance(fact, Checked) and fact.corrects is None)) and fact.valid:
            return fact
    return None


def _draft(plan: Plan, trace: Trace) -> int | None:
    """Return the attempt whose answer is to be corrected; None where the task is to be done."""
    best = _best(trace) if plan.escalation == "correct" else None
    return best.n if best is not None and best.correctable else None


def _backoff_us(trace: Trace, failed: Failed) -> int:
    """Return the pause before a retry.

    What the provider asks and up to a fifth more, at most a second; else 0.5 s doubling up to 20 s, of which 50-100 %.
    """
    asked = failed.retry_after_us
    if asked is not None:
        return asked + round(failed.draw * min(asked * _SPREAD, _LONGEST_SPREAD_US))
    doublings = _tries(trace, failed.step, failed.target) - 1
    return round(min(_BACKOFF_US * 2**doublings, _LONGEST_BACKOFF_US) * (0.5 + failed.draw / 2))
