"""Requests that tell how sure an answer is: what is sent to a judge or as a sample, and what their answers mean."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from router_core.checks import run_checks
from router_core.decide.calibration import calibrate
from router_core.decide.capable import Needs
from router_core.decide.compare import Given, same_answer
from router_core.decide.confidence import agreement, scored
from router_core.decide.judging import REPLY_SCHEMA, judge_messages, read_verdict
from router_core.decide.moves import (
    Facts,
    Scored,
)
from router_core.decide.plan import Plan, PlanTarget
from router_core.decide.score import Score
from router_core.errors import CallError
from router_core.inflight import InFlight, retry_after_us
from router_core.lines import Sent
from router_core.record import record
from router_core.state import RouterState
from router_core.task import Task, make_request
from router_core.types import AttemptStatus, Confidence, Question, Request, Response

# with these the same request gives the same answer, whatever it is worth
_FIXED: Final = frozenset({"seed", "n"})


@record
class Asked:
    """Whom a request about an answer goes to.

    Attributes:
        tier: Tier of the target.
        target: The target.
    """

    tier: str
    target: PlanTarget


@record
class Told:
    """What such a request came to.

    Attributes:
        status: ``ok``, ``failed``, or ``invalid`` for a reply that cannot be read or a sample that fails its checks.
        confidence: How sure the answer is by now.
        error_type: Kind of failure, if it is not ``ok``.
        message: What a failure said, redacted.
        billed: Whether a failed request was charged; None = not known.
    """

    status: AttemptStatus
    confidence: Confidence
    error_type: str | None = None
    message: str | None = None
    billed: bool | None = None

    def fact(self, action: Score, answer: InFlight, facts: Facts) -> Scored:
        """Return it as a fact of the call.

        Args:
            action: The request.
            answer: The answer that it was about.
            facts: The world afterwards.
        """
        return Scored(
            n=action.n,
            about=action.about,
            step=answer.sent.step,
            target=answer.sent.target_index,
            answered=self.status != "failed",
            confidence=self.confidence,
            facts=facts,
            refused=action.role == "sample" and self.error_type == "content_policy",
        )


class Scoring:
    """Requests about the answers of one call.

    Args:
        state: What all calls of the router share.
        task: What the caller asks for.
        plan: The call's plan.
    """

    def __init__(self, state: RouterState, task: Task, plan: Plan) -> None:
        self._state = state
        self._task = task
        self._plan = plan
        self._matches: dict[int, list[bool]] = {}

    def sent(self, action: Score, answer: InFlight, call_id: str, needs: Needs, now_us: int) -> Sent:
        """Return the request that is about to be sent.

        Args:
            action: What was decided.
            answer: The answer that it is about.
            call_id: The call.
            needs: What the task needs.
            now_us: Microseconds since the epoch.
        """
        state, asked = self._state, whom(self._plan, action)
        price = state.prices.price(asked.target.model, now_us)
        kind = size_kind(self._task.payload_type, action)
        # a judge is given none of the caller's arguments
        most = None if action.role == "judge" else needs.most_output_tokens
        return Sent(
            attempt_id=f"{call_id}-{action.n}",
            n=action.n,
            role=action.role,
            tier=asked.tier,
            target=asked.target,
            started_us=now_us,
            reserved_nusd=state.estimate_nusd(kind, asked.target, needs.about_tokens, price, most=most),
            step=action.step,
            target_index=action.target,
            about_attempt_id=answer.sent.attempt_id,
        )

    def told(self, action: Score, request: InFlight, response: Response, answer: InFlight) -> Told:
        """Return what came of a request, and note it on the request and the answer."""
        target, took_us = request.sent.target, request.ended_us - request.sent.started_us
        self._state.answered(size_kind(self._task.payload_type, action), target, response.usage, took_us)
        if action.role == "judge":
            told = told_by_judge(self._plan, request, response, answer)
        else:
            matches = self._matches.setdefault(action.about, [])
            told = told_by_sample(self._task, self._plan, request, response, answer, matches)
            matches += [] if request.answer_match is None else [request.answer_match]
        request.confidence = answer.confidence = told.confidence
        return told

    def not_told(self, request: InFlight, answer: InFlight, error: Exception, now_us: int) -> Told:
        """Return what a failure leaves: what was known of the answer before."""
        known = error if isinstance(error, CallError) else CallError(type(error).__name__, kind="internal")
        self._state.failed(request.sent, known.kind, retry_after_us(known), now_us, self._state.clock.draw())
        return Told(
            status="failed",
            confidence=answer.confidence,
            error_type=known.kind,
            message=str(known),
            billed=known.billed,
        )


def whom(plan: Plan, action: Score) -> Asked:
    """Return whom a request about an answer goes to."""
    if action.role == "judge" and plan.judge is not None:
        return Asked(tier=plan.judge.step.tier, target=plan.judge.step.targets[action.target])
    step = plan.steps[action.step]
    return Asked(tier=step.tier, target=step.targets[action.target])


def size_kind(payload_type: str, action: Score) -> str:
    """Return the name under which the sizes of such answers are remembered."""
    return judged_kind(payload_type) if action.role == "judge" else payload_type


def judged_kind(payload_type: str) -> str:
    """Return the name under which the sizes of verdicts on a payload type's answers are remembered."""
    return f"judge of {payload_type}"


def score_request(task: Task, plan: Plan, sent: Sent, answer: InFlight, timeout_s: float) -> Request:
    """Return the request that a judge or the target itself is given about an answer.

    A sample is the task once more. What would make it repeat itself is left out: a seed, and a temperature of 0.
    """
    call_id, _, _ = sent.attempt_id.rpartition("-")
    if sent.role == "sample" or plan.judge is None:
        params = {
            name: value
            for name, value in task.params.items()
            if name not in _FIXED and not (name == "temperature" and value == 0)
        }
        return replace(make_request(task, plan, call_id, sent, timeout_s), params=params, logprobs=False)
    text = "" if answer.response is None else answer.response.text
    question = Question(model=answer.sent.target.model, messages=task.messages, text=text)
    return Request(
        request_id=sent.attempt_id,
        call_id=call_id,
        payload_type=task.payload_type,
        model=sent.target.model,
        messages=judge_messages(plan.judge.prompt, question),
        response_format=REPLY_SCHEMA,
        timeout_s=timeout_s,
        max_output_tokens=sent.target.max_output_tokens,
        api_base=sent.target.api_base,
        api_key_env=sent.target.api_key_env,
        role=sent.role,
        question=question,
    )


def told_by_judge(plan: Plan, request: InFlight, response: Response, answer: InFlight) -> Told:
    """Return what a judge's reply says of an answer."""
    confidence = scored(read_verdict(response.text), "judge")
    judge = request.sent.target.model
    return Told(
        status="invalid" if confidence.value is None else "ok",
        error_type="invalid" if confidence.value is None else None,
        confidence=_calibrated(plan, confidence, answer, judge=judge),
    )


def told_by_sample(
    task: Task, plan: Plan, request: InFlight, response: Response, answer: InFlight, earlier: Sequence[bool]
) -> Told:
    """Return what one more sample says of an answer, and note on the sample whether it is the same.

    A sample that fails its checks is another answer; where answers cannot be compared, samples tell nothing.

    Args:
        task: What was asked for.
        plan: The call's plan.
        request: The sample.
        response: What came back.
        answer: The answer.
        earlier: Of each earlier sample, whether it was the same.
    """
    checked = run_checks(response.text, task.response_format, task.checks)
    request.parsed, request.checks = checked.parsed, checked.results
    mine = Given(text="" if answer.response is None else answer.response.text, parsed=answer.parsed)
    request.answer_match = (
        _same(plan, mine, Given(text=response.text, parsed=checked.parsed)) if checked.valid else False
    )
    matches = [] if request.answer_match is None else [*earlier, request.answer_match]
    return Told(
        status="ok" if checked.valid else "invalid",
        error_type=None if checked.valid else "invalid",
        confidence=_calibrated(plan, scored(agreement(matches), "agreement"), answer),
    )


def _same(plan: Plan, mine: Given, other: Given) -> bool | None:
    if plan.comparable is None:
        return None
    try:
        return same_answer(plan.comparable, mine, other, plan.confidence_field)
    except Exception:  # noqa: BLE001 - the caller's model may refuse to be dumped; then nothing is said
        return None


def _calibrated(plan: Plan, confidence: Confidence, answer: InFlight, judge: str | None = None) -> Confidence:
    snapshot = None if answer.response is None else answer.response.response_model
    return calibrate(confidence, plan.calibration, model=answer.sent.target.model, response_model=snapshot, judge=judge)
