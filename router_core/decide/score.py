"""Whether to pay for another request that tells how sure an answer is: a judge's, or one more sample."""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from router_core.decide.confidence import PAID
from router_core.decide.plan import Plan, PlanTarget
from router_core.record import record


@record
class Score:
    """Make one request that tells how sure the answer of attempt ``about`` is.

    Attributes:
        n: 1-based number of the request.
        about: The answer's attempt.
        role: ``judge`` asks another model about the answer, ``sample`` asks the same target the same once more.
        step: Index of the answer's step.
        target: Index of whom to ask: among the judges, or among the step's targets.
        timeout_us: Time it may take.
    """

    n: int
    about: int
    role: Literal["judge", "sample"]
    step: int
    target: int
    timeout_us: int


@record
class Place:
    """Where an answer stands in its call.

    Attributes:
        n: Its attempt.
        step: Index of its step.
        target: Index of its target.
    """

    n: int
    step: int
    target: int


def asks_more(plan: Plan, step: int) -> bool:
    """Return whether the confidence of valid answers of this step takes requests of its own.

    The last step's answer is served whatever it is worth, so nothing is paid to learn that; on a path of one step
    nobody but the caller can want it. A degraded call pays for nothing.
    """
    return plan.confidence_source in PAID and not plan.degraded and (_has_step_above(plan, step) or step == 0)


def next_score(
    plan: Plan, answer: Place, told: Sequence[bool], *, made: int, left_us: int, barred: Collection[str]
) -> Score | None:
    """Return the next request about a valid answer, or None when there is none to make, or no room for it.

    Args:
        plan: The call's plan.
        answer: The answer.
        told: Of each earlier request about it, whether it was answered and told anything.
        made: Requests that the call has made.
        left_us: Microseconds that it has left.
        barred: Models that cool down, or cost more than the call may still spend.
    """
    wanted = plan.samples if plan.confidence_source == "agreement" else 1
    if not asks_more(plan, answer.step) or len(told) >= wanted or not all(told):
        return None
    # what is learned must leave room to act on it
    if made + _has_step_above(plan, answer.step) >= plan.attempts or left_us <= 0:
        return None
    asked = next((each for each in _whom(plan, answer) if each[1].name not in barred), None)
    if asked is None:
        return None
    return Score(
        n=made + 1,
        about=answer.n,
        role="judge" if plan.confidence_source == "judge" else "sample",
        step=answer.step,
        target=asked[0],
        timeout_us=min(round(asked[1].timeout_s * 1e6), left_us),
    )


def _whom(plan: Plan, answer: Place) -> Iterator[tuple[int, PlanTarget]]:
    """Yield whom the request may go to: the target itself, or the judges that may judge it, in their order."""
    target = plan.steps[answer.step].targets[answer.target]
    if plan.confidence_source == "agreement":
        yield answer.target, target
    elif plan.judge is not None:
        allowed = plan.judge.may_judge.get(target.model, frozenset())
        for index, judge in enumerate(plan.judge.step.targets):
            if judge.model in allowed:
                yield index, judge


def _has_step_above(plan: Plan, step: int) -> bool:
    return step < len(plan.steps) - 1
