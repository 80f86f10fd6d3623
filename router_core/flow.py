"""One call, start to end: asks ``decide`` what to do, and leaves doing it to whoever drives the generator.

The same generator serves a thread, an event loop and a simulation: it yields ``Send`` and ``Pause`` and is given back
the response, or has the failure thrown in.
"""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from router_core.checks import CheckFunction, run_checks
from router_core.control.budgets import Reservation
from router_core.decide.confidence import measure
from router_core.decide.plan import Plan
from router_core.decide.receipt import receipt
from router_core.decide.step import (
    Accept,
    Action,
    Call,
    Check,
    Checked,
    Exhausted,
    Fact,
    Facts,
    Failed,
    Merge,
    Opened,
    Returned,
    decide,
    served_at,
)
from router_core.decide.trace import facts_extra, opened_extra
from router_core.errors import CallError, RouteExhaustedError
from router_core.lines import CallFacts, Closed, Ended, Line, Sent, attempt_line, call_line, started_line
from router_core.state import RouterState
from router_core.types import (
    NO_CONFIDENCE,
    Answer,
    AttemptRecord,
    CheckResult,
    Confidence,
    Message,
    Price,
    Receipt,
    Request,
    Response,
)

ConfidenceFunction = Callable[[Any], float | None]
"""Gets the parsed answer (the text when no format was asked for); returns 0..1 or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the caller asks for; see ``Router.complete``."""

    payload_type: str
    messages: Sequence[Message]
    response_format: Any = None
    checks: tuple[CheckFunction, ...] = ()
    confidence: ConfidenceFunction | None = None
    run: str | None = None
    step: str | None = None
    tags: Mapping[str, str] | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; give back the response or throw the failure."""

    request: Request


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


Effect = Send | Pause
Flow = Generator[Effect, Response | None, Answer]


@dataclass(slots=True)
class _Pending:
    """A request that came back and is not logged yet."""

    sent: Sent
    reservation: Reservation
    price: Price | None
    response: Response
    ended_us: int
    receipt: Receipt
    parsed: Any = None
    confidence: Confidence = NO_CONFIDENCE
    checks: tuple[CheckResult, ...] = ()


class CallFlow:
    """The state of one call while it runs.

    Args:
        state: What all calls of the router share.
        task: What the caller asks for.
        plan: The call's plan.
        call: What is the same on all its log lines.
    """

    def __init__(self, state: RouterState, task: Task, plan: Plan, call: CallFacts) -> None:
        self._state = state
        self._task = task
        self._plan = plan
        self._call = call
        self._trace: list[Fact] = []
        self._answers: dict[int, _Pending] = {}
        self._sent: dict[int, Sent] = {}
        self._records: list[AttemptRecord] = []
        self._unlogged: _Pending | None = None
        self._cost_nusd = 0

    def run(self) -> Flow:
        """Yield what is to be done until the call has its answer.

        Raises:
            RouteExhaustedError: No target gave a valid answer.
        """
        opening = self._facts(self._call.opened_us)
        self._trace.append(Opened(facts=opening))
        while True:
            action = decide(self._plan, tuple(self._trace))
            line = self._log_line(action)
            match action:
                case Call():
                    if line is not None:
                        self._state.log(line)
                    yield from self._request(action)
                case Check(n=n):
                    self._check(n)
                case Accept(n=n, reason=reason):
                    return self._serve(n, reason, line, opening)
                case Exhausted(reason=reason):
                    raise self._exhausted(reason, line, opening)
                case Merge():
                    raise NotImplementedError("corrections are refused when the config is opened")

    def _request(self, action: Call) -> Generator[Effect, Response | None, None]:
        if action.wait_us:
            yield Pause(action.wait_us / 1e6)
        state, plan = self._state, self._plan
        step = plan.steps[action.step]
        target = step.targets[action.target]
        started_us = state.clock.now_us()
        price = state.prices.price(target.model, started_us)
        reserved = state.estimate_nusd(self._task.payload_type, target, self._task.messages, price)
        sent = Sent(
            attempt_id=f"{self._call.call_id}-{action.n}",
            n=action.n,
            role=action.role,
            tier=step.tier,
            target=target,
            started_us=started_us,
            reserved_nusd=reserved,
            step=action.step,
            target_index=action.target,
            draft=action.draft,
        )
        self._sent[action.n] = sent
        reservation = state.guardrail.reserve(started_us, reserved, critical=plan.critical)
        state.log(started_line(plan, self._call, sent))
        try:
            response = yield Send(self._wire(sent, action))
        except CallError as error:
            self._failed(sent, reservation, price, error)
        except BaseException as error:
            self._cancelled(sent, reservation, price, error)
            raise
        else:
            if response is None:
                raise TypeError("a Send must be answered with a Response")
            self._returned(sent, reservation, price, response)

    def _wire(self, sent: Sent, action: Call) -> Request:
        task = self._task
        return Request(
            request_id=sent.attempt_id,
            call_id=self._call.call_id,
            payload_type=task.payload_type,
            model=sent.target.model,
            messages=task.messages,
            response_format=task.response_format,
            timeout_s=action.timeout_us / 1e6,
            max_output_tokens=sent.target.max_output_tokens,
            logprobs=self._plan.confidence_source == "logprob",
            params=task.params,
            api_base=sent.target.api_base,
            api_key_env=sent.target.api_key_env,
        )

    def _returned(self, sent: Sent, reservation: Reservation, price: Price | None, response: Response) -> None:
        state = self._state
        ended_us = state.clock.now_us()
        if response.service_tier is not None:
            price = state.prices.price(sent.target.model, sent.started_us, service_tier=response.service_tier)
        got = _never_free(receipt(response.usage, price, reported_nusd=response.cost_nusd), sent)
        state.answered(self._task.payload_type, sent.target.model, response.usage)
        self._settle(reservation, got, ended_us)
        pending = _Pending(sent, reservation, price, response, ended_us, got)
        self._answers[sent.n] = self._unlogged = pending
        self._trace.append(Returned(n=sent.n, step=sent.step, target=sent.target_index))

    def _check(self, n: int) -> None:
        task, pending = self._task, self._answers[n]
        checked = run_checks(pending.response.text, task.response_format, task.checks)
        pending.parsed, pending.checks = checked.parsed, checked.results
        if checked.valid:
            subject = pending.response.text if task.response_format is None else checked.parsed
            said = _caller_confidence(task.confidence, subject)
            pending.confidence = measure(
                self._plan.confidence_source,
                caller=said,
                parsed=checked.parsed,
                field=self._plan.confidence_field,
                token_logprobs=pending.response.token_logprobs,
            )
        # what is served anyway needs no look at the world
        step = self._plan.steps[pending.sent.step]
        settled = checked.valid and pending.sent.draft is None and served_at(self._plan, step, pending.confidence)
        fact = Checked(
            n=n,
            step=pending.sent.step,
            target=pending.sent.target_index,
            valid=checked.valid,
            confidence=pending.confidence,
            corrects=pending.sent.draft,
            facts=Facts() if settled else self._facts(self._state.clock.now_us()),
        )
        self._trace.append(fact)

    def _failed(self, sent: Sent, reservation: Reservation, price: Price | None, error: CallError) -> None:
        state = self._state
        ended_us = state.clock.now_us()
        got = _receipt_of_failure(error.billed, price, sent)
        self._settle(reservation, got, ended_us)
        retry_after_us = None if error.retry_after_s is None else round(error.retry_after_s * 1e6)
        state.failed(sent.target.model, error.kind, retry_after_us, ended_us)
        fact = Failed(
            n=sent.n,
            step=sent.step,
            target=sent.target_index,
            kind=error.kind,
            retry_after_us=retry_after_us,
            draw=state.clock.draw(),
            facts=self._facts(ended_us),
        )
        self._trace.append(fact)
        action = decide(self._plan, tuple(self._trace))
        ended = Ended(
            ended_us=ended_us,
            status="failed",
            receipt=got,
            error_type=error.kind,
            facts=facts_extra(fact, action),
        )
        self._write_attempt(sent, ended, str(error))

    def _cancelled(self, sent: Sent, reservation: Reservation, price: Price | None, error: BaseException) -> None:
        ended_us = self._state.clock.now_us()
        got = _receipt_of_failure(None, price, sent)
        self._settle(reservation, got, ended_us)
        self._write_attempt(
            sent,
            Ended(ended_us=ended_us, status="cancelled", receipt=got, error_type="cancelled"),
            type(error).__name__,
        )
        self._close("failed", "cancelled", ended_us, error_type="cancelled")

    def _log_line(self, action: Action) -> Line | None:
        """Return the line of the answer that was just checked, now that its consequence is known."""
        fact = self._trace[-1]
        if self._unlogged is None or not isinstance(fact, Checked):
            return None
        pending, self._unlogged = self._unlogged, None
        ended = Ended(
            ended_us=pending.ended_us,
            status="ok" if fact.valid else "invalid",
            receipt=pending.receipt,
            usage=pending.response.usage,
            error_type=None if fact.valid else "invalid",
            confidence=pending.confidence,
            checks=pending.checks,
            response_model=pending.response.response_model,
            service_tier=pending.response.service_tier,
            ttft_ms=pending.response.ttft_ms,
            facts=facts_extra(fact, action),
        )
        self._records.append(_record(pending.sent, ended))
        return attempt_line(self._plan, self._call, pending.sent, ended)

    def _write_attempt(self, sent: Sent, ended: Ended, message: str) -> None:
        self._records.append(_record(sent, ended, message))
        self._state.log(attempt_line(self._plan, self._call, sent, ended))

    def _settle(self, reservation: Reservation, got: Receipt, at_us: int) -> None:
        cost = got.cost_nusd or 0
        self._cost_nusd += cost
        self._state.guardrail.settle(reservation, cost, at_us)

    def _facts(self, now_us: int) -> Facts:
        state, plan = self._state, self._plan
        unaffordable: frozenset[str] = frozenset()
        if plan.cost_nusd is not None:
            left = plan.cost_nusd - self._cost_nusd
            unaffordable = state.dearer_than(left, self._task.payload_type, plan.steps, self._task.messages, now_us)
        # the verdict of the call's start is in the plan; later ones can only forbid more
        guard = (
            "normal" if plan.critical else state.guardrail.verdict(now_us).state if self._trace else plan.guard_state
        )
        return Facts(
            elapsed_us=now_us - self._call.opened_us,
            guard=guard,
            down=state.down(now_us),
            unaffordable=unaffordable,
        )

    def _serve(self, n: int, reason: str, line: Line | None, opening: Facts) -> Answer:
        pending, plan = self._answers[n], self._plan
        ended_us = self._state.clock.now_us()
        served = pending.sent
        why = reason if plan.reason in ("path", "default_type") else plan.reason
        self._close("ok", why, ended_us, served=served, confidence=pending.confidence, line=line, opening=opening)
        return Answer(
            text=pending.response.text,
            parsed=pending.parsed,
            confidence=pending.confidence,
            tier=served.tier,
            model=served.target.model,
            cost_nusd=self._cost_nusd,
            attempts=tuple(self._records),
            call_id=self._call.call_id,
            degraded=plan.degraded,
            reason=why,
            latency_ms=(ended_us - self._call.opened_us) / 1000,
            raw=pending.response.raw,
        )

    def _exhausted(self, reason: str, line: Line | None, opening: Facts) -> RouteExhaustedError:
        last = self._records[-1].error_type if self._records else reason
        self._close("failed", reason, self._state.clock.now_us(), error_type=last, line=line, opening=opening)
        tried = "; ".join(
            f"{record.tier} {record.model}: {record.message or record.error_type}" for record in self._records
        )
        return RouteExhaustedError(
            f"{self._call.payload_type}: no answer ({reason}) after {len(self._records)} attempts [{tried}]",
            call_id=self._call.call_id,
            attempts=self._records,
            cost_nusd=self._cost_nusd,
        )

    def _close(
        self,
        status: Any,
        reason: str,
        ended_us: int,
        *,
        served: Sent | None = None,
        confidence: Confidence | None = None,
        error_type: str | None = None,
        line: Line | None = None,
        opening: Facts | None = None,
    ) -> None:
        roles = [record.role for record in self._records]
        closed = Closed(
            status=status,
            reason=reason,
            ended_us=ended_us,
            served=served,
            confidence=confidence,
            error_type=error_type,
            cost_nusd=self._cost_nusd,
            attempts=len(roles),
            escalations=sum(role in ("escalate", "correct") for role in roles),
            fallbacks=roles.count("fallback"),
            opened=None if opening is None else opened_extra(opening),
        )
        lines = [] if line is None else [line]
        self._state.log_call(*lines, call_line(self._plan, self._call, closed))


def template_hash(messages: Sequence[Message]) -> str | None:
    """Return the hash of the system prompt, 16 hex digits, or None without one; texts themselves are never logged."""
    system = tuple([str(message.get("content")) for message in messages if message.get("role") == "system"])
    return _hash_of(system) if system else None


@lru_cache(maxsize=512)
def _hash_of(texts: tuple[str, ...]) -> str:
    return hashlib.blake2b("\x00".join(texts).encode(), digest_size=8).hexdigest()


def _caller_confidence(function: ConfidenceFunction | None, subject: Any) -> float | None:
    if function is None:
        return None
    try:
        return function(subject)
    except Exception:  # noqa: BLE001 - the caller's function may raise anything; then it told nothing
        return None


def _receipt_of_failure(billed: bool | None, price: Price | None, sent: Sent) -> Receipt:
    """Return 0 for what was certainly not charged, else the reserved estimate, openly unknown."""
    if billed is False:
        return Receipt(cost_nusd=0, cost_status="exact", price=price)
    return Receipt(cost_nusd=sent.reserved_nusd, cost_status="unknown", price=price)


def _never_free(got: Receipt, sent: Sent) -> Receipt:
    """Return the receipt; an answer whose tokens nobody reported counts at its reserved estimate."""
    if got.cost_nusd is None and got.cost_status == "unknown":
        return Receipt(cost_nusd=sent.reserved_nusd, cost_status="unknown", price=got.price)
    return got


def _record(sent: Sent, ended: Ended, message: str | None = None) -> AttemptRecord:
    return AttemptRecord(
        attempt_id=sent.attempt_id,
        request_id=sent.attempt_id,
        n=sent.n,
        role=sent.role,
        tier=sent.tier,
        model=sent.target.model,
        status=ended.status,
        error_type=ended.error_type,
        message=message,
        confidence=ended.confidence or NO_CONFIDENCE,
        checks=ended.checks,
        receipt=ended.receipt,
        latency_ms=(ended.ended_us - sent.started_us) / 1000,
    )
