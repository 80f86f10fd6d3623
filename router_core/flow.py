"""One call, start to end: asks ``decide`` what to do, and leaves doing it to whoever drives the generator.

The same generator serves a thread, an event loop and a simulation: it yields ``Send`` and ``Pause`` and is given back
the response, or has the failure thrown in. A streamed call yields ``Open`` in place of ``Send``, and is given back an
answer whose first piece is there; then ``Relay``, while that is handed out. Until then everything is as for any call.
"""

from collections.abc import Generator, Mapping
from typing import Any

from router_core.clock import CallTime
from router_core.decide.compare import Given
from router_core.decide.plan import Plan
from router_core.decide.shadow import Served
from router_core.decide.step import (
    RECALLED,
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
from router_core.decide.trace import facts_extra, opened_extra, recalled_extra
from router_core.effects import Begun, Disowned, Effect, Flow, Open, Pause, Relay, Send, Stopped
from router_core.errors import CallError, RouteExhaustedError
from router_core.free import Recalled, Start
from router_core.inflight import InFlight, receipt_of_answer, receipt_of_failure, record_of, retry_after_us
from router_core.lines import CallFacts, Closed, Line, Sent, attempt_line, call_line, checks_column, started_line
from router_core.record import maker
from router_core.shadow import ServedCall, Shadows
from router_core.state import RouterState, tokens_of
from router_core.task import Task, examine, make_request
from router_core.types import (
    PRE_CHECK,
    Answer,
    AttemptRecord,
    AttemptStatus,
    Confidence,
    Receipt,
    Response,
    Role,
)

_UPWARDS: frozenset[Role] = frozenset({"escalate", "correct"})
_NOTHING_ASKED = Facts()

_make_send = maker(Send)
_make_sent = maker(Sent)
_make_facts = maker(Facts)
_make_opened = maker(Opened)
_make_returned = maker(Returned)
_make_checked = maker(Checked)
_make_closed = maker(Closed)
_make_answer = maker(Answer)


class CallFlow:
    """The state of one call while it runs.

    Args:
        state: What all calls of the router share.
        task: What the caller asks for.
        plan: The call's plan.
        call: What is the same on all its log lines.
        shadows: Takes over what is to be asked once more, for evidence.
        time: Its instants.
        start: What it begins with, and what keeps its answers.
    """

    def __init__(
        self,
        state: RouterState,
        task: Task,
        plan: Plan,
        call: CallFacts,
        shadows: Shadows,
        time: CallTime,
        start: Start,
    ) -> None:
        self._state = state
        self._shadows = shadows
        self._task = task
        self._plan = plan
        self._call = call
        self._now_us = time.now_us
        self._start = start
        self._extra: Mapping[str, Any] | None = None
        self._input_tokens = tokens_of(task.messages)
        self._trace: list[Fact] = []
        self._answers: dict[int, InFlight] = {}
        self._records: list[AttemptRecord] = []
        self._unlogged: InFlight | None = None
        self._cost_nusd = 0
        self._opening = Facts()
        self._partial_text = ""
        self._is_closed = False

    def run(self) -> Flow:
        """Yield what is to be done until the call has its answer.

        Whatever ends it, every request has its lines, its money is booked once, and the call has its line.

        Raises:
            RouteExhaustedError: No target gave a valid answer, or a stream broke in the middle.
            Stopped: It was stopped before it had begun to answer.
            Disowned: It was.
        """
        try:
            return (yield from self._run())
        except Disowned:
            raise
        except Stopped as error:
            return self._stop(error)
        except BaseException as error:
            self._abandon(error)
            raise

    def _run(self) -> Flow:
        asked = self._start.pre_checked
        if asked is not None:
            self._extra = asked.extra()
            if asked.request is not None:
                self._answers[RECALLED] = asked.request
                return self._serve(RECALLED, PRE_CHECK, None, Facts())
        return (yield from self._decided(self._open()))

    def _open(self) -> Facts:
        """Begin the trace; return the world as it is."""
        opening = self._opening = self._facts(self._call.opened_us)
        self._trace.append(_make_opened(facts=opening))
        if self._start.recalled is not None:
            self._recall(self._start.recalled)
        return opening

    def _decided(self, opening: Facts) -> Flow:
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

    def _recall(self, recalled: Recalled) -> None:
        """Go on from an answer that an earlier run has paid for."""
        request = self._answers[RECALLED] = recalled.request
        fact = self._checked(RECALLED, request, valid=True)
        self._trace.append(fact)
        action = decide(self._plan, tuple(self._trace))
        told = recalled_extra(self._plan, fact, action, request.sent.attempt_id)
        self._extra = {"recalled": {**told, "checks": checks_column(request.checks)}}

    def _abandon(self, error: BaseException) -> None:
        """Log what is not logged yet of a call that ends here: cancelled, interrupted, or by a fault of the program."""
        if self._is_closed:
            return
        cause = "internal" if isinstance(error, Exception) else "cancelled"
        now_us = self._now_us()
        request, self._unlogged = self._unlogged, None
        if request is not None:
            if request.receipt is None:
                self._settle(request, self._lost(request, billed=None), now_us)
            status: AttemptStatus = "failed" if cause == "internal" else "cancelled"
            self._write_attempt(request, status, cause, type(error).__name__)
        self._close("failed", cause, now_us, error_type=cause)

    def _stop(self, stopped: Stopped) -> Answer:
        """Serve what has come of a streamed answer that the caller does not want to the end."""
        request, now_us = self._unlogged, self._now_us()
        if request is None or request.reading is None or request.receipt is not None:
            self._abandon(stopped)
            raise stopped
        self._unlogged = None
        self._settle(request, self._lost(request, billed=None), now_us)
        ended = request.ended("cancelled", None, None)
        self._records.append(record_of(request, ended))
        line = attempt_line(self._plan, self._call, request.sent, ended)
        return self._answer(request, "stopped", line, self._opening)

    def _lost(self, request: InFlight, *, billed: bool | None) -> Receipt:
        """Return what a request cost that did not come to its end: at least what has come of it, if anything has."""
        if request.reading is None:
            return receipt_of_failure(billed, request.price, request.sent)
        return receipt_of_answer(request, request.reading.received(), self._state.prices)

    def _request(self, action: Call) -> Generator[Effect, Response | Begun | None, None]:
        if action.wait_us:
            yield Pause(seconds=action.wait_us / 1e6)
        state, plan = self._state, self._plan
        step = plan.steps[action.step]
        target = step.targets[action.target]
        started_us = self._now_us()
        price = state.prices.price(target.model, started_us)
        reserved = state.estimate_nusd(self._task.payload_type, target, self._input_tokens, price)
        sent = _make_sent(
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
        reservation = state.guardrail.reserve(started_us, reserved, critical=plan.critical)
        request = self._unlogged = InFlight(sent, reservation, price)
        state.log(started_line(plan, self._call, sent))
        try:
            if self._task.is_streamed:
                response = yield from self._read(request, action.timeout_us)
            else:
                response = yield _make_send(
                    request=make_request(self._task, plan, self._call.call_id, sent, action.timeout_us / 1e6)
                )
        except CallError as error:
            self._failed(request, error)
        else:
            if not isinstance(response, Response):
                raise TypeError(f"a backend must return a Response, not {type(response).__name__}")
            self._returned(request, response)

    def _read(self, request: InFlight, timeout_us: int) -> Generator[Effect, Response | Begun | None, object]:
        sent = request.sent
        left_us = self._plan.deadline_us - (sent.started_us - self._call.opened_us)
        wire = make_request(self._task, self._plan, self._call.call_id, sent, timeout_us / 1e6, left_us / 1e6)
        begun = yield Open(request=wire)
        if not isinstance(begun, Begun):
            return begun
        if begun.first is not None:
            request.reading = begun.reading
            request.ttft_ms = (self._now_us() - sent.started_us) / 1000
            yield Relay()
        return begun.reading.received()

    def _returned(self, request: InFlight, response: Response) -> None:
        state, sent = self._state, request.sent
        got = receipt_of_answer(request, response, state.prices)
        self._settle(request, got, self._now_us())
        state.answered(self._task.payload_type, sent.target.model, response.usage)
        self._answers[sent.n] = request
        self._trace.append(_make_returned(n=sent.n, step=sent.step, target=sent.target_index))

    def _check(self, n: int) -> None:
        request = self._answers[n]
        valid = examine(self._task, self._plan, request)
        if valid and self._start.keeping is not None and not self._plan.degraded and request.sent.draft is None:
            self._start.keeping.keep(self._call.call_id, request, self._now_us())
        self._trace.append(self._checked(n, request, valid=valid))

    def _checked(self, n: int, request: InFlight, *, valid: bool) -> Checked:
        # what is served anyway needs no look at the world
        step = self._plan.steps[request.sent.step]
        streamed = request.reading is not None
        settled = streamed or (valid and request.sent.draft is None and served_at(self._plan, step, request.confidence))
        return _make_checked(
            n=n,
            step=request.sent.step,
            target=request.sent.target_index,
            valid=valid,
            confidence=request.confidence,
            corrects=request.sent.draft,
            streamed=streamed,
            facts=_NOTHING_ASKED if settled else self._facts(self._now_us()),
        )

    def _failed(self, request: InFlight, error: CallError) -> None:
        state, sent = self._state, request.sent
        now_us = self._now_us()
        self._settle(request, self._lost(request, billed=error.billed), now_us)
        if request.response is not None:
            self._partial_text = request.response.text
        wait_us = retry_after_us(error)
        state.failed(sent.target.model, error.kind, wait_us, now_us)
        fact = Failed(
            n=sent.n,
            step=sent.step,
            target=sent.target_index,
            kind=error.kind,
            retry_after_us=wait_us,
            draw=state.clock.draw(),
            streamed=request.reading is not None,
            facts=self._facts(now_us),
        )
        self._trace.append(fact)
        facts = facts_extra(fact, decide(self._plan, tuple(self._trace)))
        self._unlogged = None
        self._write_attempt(request, "failed", error.kind, str(error), facts)

    def _log_line(self, action: Action) -> Line | None:
        """Return the line of the answer that was just checked, now that its consequence is known."""
        fact, request = self._trace[-1], self._unlogged
        if request is None or not isinstance(fact, Checked):
            return None
        self._unlogged = None
        status, error_type = ("ok", None) if fact.valid else ("invalid", "invalid")
        ended = request.ended(status, error_type, facts_extra(fact, action))
        self._records.append(record_of(request, ended))
        return attempt_line(self._plan, self._call, request.sent, ended)

    def _write_attempt(
        self,
        request: InFlight,
        status: AttemptStatus,
        error_type: str,
        message: str,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        ended = request.ended(status, error_type, facts)
        self._records.append(record_of(request, ended, message))
        self._state.log(attempt_line(self._plan, self._call, request.sent, ended))

    def _settle(self, request: InFlight, got: Receipt, at_us: int) -> None:
        """Book what a request cost, once."""
        request.receipt, request.ended_us = got, at_us
        cost = got.cost_nusd or 0
        self._cost_nusd += cost
        self._state.guardrail.settle(request.reservation, cost, at_us)

    def _facts(self, now_us: int) -> Facts:
        state, plan = self._state, self._plan
        unaffordable: frozenset[str] = frozenset()
        if plan.cost_nusd is not None:
            left = plan.cost_nusd - self._cost_nusd
            unaffordable = state.dearer_than(left, self._task.payload_type, plan.steps, self._input_tokens, now_us)
        # the verdict of the call's start is in the plan; later ones can only forbid more
        guard = (
            "normal" if plan.critical else state.guardrail.verdict(now_us).state if self._trace else plan.guard_state
        )
        return _make_facts(
            elapsed_us=now_us - self._call.opened_us,
            guard=guard,
            down=state.down(now_us),
            unaffordable=unaffordable,
        )

    def _serve(self, n: int, reason: str, line: Line | None, opening: Facts) -> Answer:
        request, plan = self._answers[n], self._plan
        why = reason if plan.reason in ("path", "default_type") else plan.reason
        answer = self._answer(request, why, line, opening)
        if plan.shadows and n != RECALLED:  # what was paid for before had its shadows then
            self._shadow(request.sent, Given(text=answer.text, parsed=answer.parsed))
        return answer

    def _answer(self, request: InFlight, why: str, line: Line | None, opening: Facts) -> Answer:
        """Log the end of a call that serves this request's answer, and return that."""
        ended_us = self._now_us()
        plan, served, response = self._plan, request.sent, request.response
        self._close("ok", why, ended_us, served=served, confidence=request.confidence, line=line, opening=opening)
        return _make_answer(
            text="" if response is None else response.text,
            parsed=request.parsed,
            confidence=request.confidence,
            tier=served.tier,
            model=served.target.model,
            cost_nusd=self._cost_nusd,
            attempts=tuple(self._records),
            call_id=self._call.call_id,
            degraded=plan.degraded,
            reason=why,
            latency_ms=(ended_us - self._call.opened_us) / 1000,
            raw=None if response is None else response.raw,
            cache_hit=served.n == RECALLED and self._start.recalled is not None,
        )

    def _shadow(self, served: Sent, answer: Given) -> None:
        escalated = any(made.role in _UPWARDS for made in self._records)
        # a streamed answer is served even if it turns out invalid
        invalid = any(made.attempt_id == served.attempt_id and made.status == "invalid" for made in self._records)
        how = Served(
            is_accepted=served.step == 0 and not escalated and not invalid,
            answered=frozenset(made.tier for made in self._records if made.status == "ok"),
        )
        self._shadows.after(
            self._state,
            ServedCall(
                task=self._task,
                plan=self._plan,
                call=self._call,
                attempts=len(self._records),
                how=how,
                answer=answer,
            ),
        )

    def _exhausted(self, reason: str, line: Line | None, opening: Facts) -> RouteExhaustedError:
        last = self._records[-1].error_type if self._records else reason
        self._close("failed", reason, self._now_us(), error_type=last, line=line, opening=opening)
        tried = "; ".join(f"{made.tier}: {_told(made)}" for made in self._records) or "nothing was tried"
        count = len(self._records)
        return RouteExhaustedError(
            f"{self._call.payload_type}: no answer ({reason}) after {count} attempt{'s' * (count != 1)} [{tried}]",
            call_id=self._call.call_id,
            attempts=self._records,
            cost_nusd=self._cost_nusd,
            partial_text=self._partial_text,
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
        self._is_closed = True
        recalled = self._start.recalled
        escalations = fallbacks = 0
        for made in self._records:
            if made.role == "fallback":
                fallbacks += 1
            elif made.role in _UPWARDS:
                escalations += 1
        closed = _make_closed(
            status=status,
            reason=reason,
            ended_us=ended_us,
            served=served,
            confidence=confidence,
            error_type=error_type,
            cost_nusd=self._cost_nusd,
            attempts=len(self._records),
            escalations=escalations,
            fallbacks=fallbacks,
            opened=None if opening is None else opened_extra(opening),
            paid_by=None if recalled is None else recalled.call_id,
            is_recalled=recalled is not None and served is recalled.request.sent,
            extra=self._extra,
        )
        lines = [] if line is None else [line]
        self._state.log_call(*lines, call_line(self._plan, self._call, closed))


def _told(record: AttemptRecord) -> str:
    """Return how an attempt ended, in words that quote no answer; the checks' own words are in the error's attempts."""
    failed = [check.name for check in record.checks if check.verdict != "passed"]
    said = record.message or (f"invalid, failed {', '.join(failed)}" if failed else str(record.error_type))
    return said if said.startswith(record.model) else f"{record.model}: {said}"
