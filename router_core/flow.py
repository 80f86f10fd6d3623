"""One call, start to end: asks ``decide`` what to do, and leaves doing it to whoever drives the generator.

The same generator serves a thread, an event loop and a simulation: it yields ``Send`` and ``Pause`` and is given back
the response, or has the failure thrown in.
"""

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from router_core.clock import CallTime
from router_core.decide.compare import Given
from router_core.decide.plan import Plan
from router_core.decide.score import Score, asks_more
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
    Scored,
    decide,
    served_at,
)
from router_core.decide.trace import facts_extra, opened_extra, recalled_extra
from router_core.errors import CallError, RouteExhaustedError
from router_core.free import Recalled, Start
from router_core.inflight import (
    InFlight,
    answered,
    exhausted,
    receipt_of_answer,
    receipt_of_failure,
    record_of,
    retry_after_us,
)
from router_core.lines import CallFacts, Closed, Line, Sent, attempt_line, call_line, checks_column, started_line
from router_core.record import maker, record
from router_core.scoring import judged_kind, score_request, size_kind, told_by_judge, told_by_sample, whom
from router_core.shadow import Shadows, served_call
from router_core.state import RouterState, tokens_of
from router_core.task import Task, examine, make_request
from router_core.types import (
    PRE_CHECK,
    Answer,
    AttemptRecord,
    AttemptStatus,
    Confidence,
    Price,
    Receipt,
    Request,
    Response,
    Role,
)


@record
class Send:
    """Send the request; give back the response or throw the failure."""

    request: Request


@record
class Pause:
    """Wait."""

    seconds: float


Effect = Send | Pause
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
Flow = Generator[Effect, Response | None, Answer]


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
        self._matches: dict[int, list[bool]] = {}
        self._unlogged: InFlight | None = None
        self._cost_nusd = 0
        self._is_closed = False

    def run(self) -> Flow:
        """Yield what is to be done until the call has its answer.

        Whatever ends it, every request has its lines, its money is booked once, and the call has its line.

        Raises:
            RouteExhaustedError: No target gave a valid answer.
        """
        try:
            return (yield from self._run())
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
        opening = self._facts(self._call.opened_us)
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
                case Score():
                    if line is not None:
                        self._state.log(line)
                    yield from self._score(action)
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
        request = self._unlogged
        if request is not None:
            if request.receipt is None:
                self._settle(request, receipt_of_failure(None, request.price, request.sent), now_us)
            status: AttemptStatus = "failed" if cause == "internal" else "cancelled"
            self._write_attempt(request, status, cause, type(error).__name__)
        self._close("failed", cause, now_us, error_type=cause)

    def _request(self, action: Call) -> Generator[Effect, Response | None, None]:
        if action.wait_us:
            yield Pause(seconds=action.wait_us / 1e6)
        state, plan = self._state, self._plan
        step = plan.steps[action.step]
        target = step.targets[action.target]
        started_us = self._now_us()
        price = state.prices.price(target.model, started_us)
        sent = _make_sent(
            attempt_id=f"{self._call.call_id}-{action.n}",
            n=action.n,
            role=action.role,
            tier=step.tier,
            target=target,
            started_us=started_us,
            reserved_nusd=state.estimate_nusd(self._task.payload_type, target, self._input_tokens, price),
            step=action.step,
            target_index=action.target,
            draft=action.draft,
        )
        request = self._begin(sent, price)
        try:
            response = yield _make_send(
                request=make_request(self._task, plan, self._call.call_id, sent, action.timeout_us / 1e6)
            )
        except CallError as error:
            self._failed(request, error)
        else:
            self._returned(request, answered(response))

    def _begin(self, sent: Sent, price: Price | None) -> InFlight:
        """Set the money aside and log that the request begins."""
        reservation = self._state.guardrail.reserve(sent.started_us, sent.reserved_nusd, critical=self._plan.critical)
        request = self._unlogged = InFlight(sent, reservation, price)
        self._state.log(started_line(self._plan, self._call, sent))
        return request

    def _score(self, action: Score) -> Generator[Effect, Response | None, None]:
        """Ask how sure an answer is. Whatever becomes of that, the call goes on: at worst it has no confidence."""
        state, plan, answer = self._state, self._plan, self._answers[action.about]
        asked, started_us = whom(plan, action), self._now_us()
        price = state.prices.price(asked.target.model, started_us)
        kind = size_kind(self._task.payload_type, action)
        sent = _make_sent(
            attempt_id=f"{self._call.call_id}-{action.n}",
            n=action.n,
            role=action.role,
            tier=asked.tier,
            target=asked.target,
            started_us=started_us,
            reserved_nusd=state.estimate_nusd(kind, asked.target, self._input_tokens, price),
            step=action.step,
            target_index=action.target,
            about_attempt_id=answer.sent.attempt_id,
        )
        request = self._begin(sent, price)
        try:
            response = yield Send(request=score_request(self._task, plan, sent, answer, action.timeout_us / 1e6))
            self._told(action, request, answered(response))
        except Exception as error:  # noqa: BLE001 - an answer is there: what fails beside it must not lose it
            self._not_told(action, request, error)

    def _told(self, action: Score, request: InFlight, response: Response) -> None:
        state, plan, answer = self._state, self._plan, self._answers[action.about]
        got = receipt_of_answer(request, response, state.prices)
        self._settle(request, got, self._now_us())
        state.answered(size_kind(self._task.payload_type, action), request.sent.target.model, response.usage)
        if action.role == "judge":
            told = told_by_judge(plan, request, response, answer)
        else:
            matches = self._matches.setdefault(action.about, [])
            told = told_by_sample(self._task, plan, request, response, answer, matches)
            matches += [] if request.answer_match is None else [request.answer_match]
        request.confidence = answer.confidence = told.confidence
        if action.about != RECALLED:
            place = action.about - 1
            self._records[place] = replace(self._records[place], confidence=told.confidence)
        fact = self._scored(action, answered=True)
        self._write_attempt(request, told.status, None if told.status == "ok" else "invalid", None, fact)
        if self._start.keeping is not None and not isinstance(decide(plan, tuple(self._trace)), Score):
            self._start.keep_score(self._call.call_id, answer, request, self._now_us())

    def _not_told(self, action: Score, request: InFlight, error: Exception) -> None:
        if self._unlogged is not request:
            raise error  # it is on record already: the fault is not the request's
        known = error if isinstance(error, CallError) else CallError(str(type(error).__name__), kind="internal")
        now_us = self._now_us()
        if request.receipt is None:
            self._settle(request, receipt_of_failure(known.billed, request.price, request.sent), now_us)
            self._state.failed(request.sent.target.model, known.kind, retry_after_us(known), now_us)
        request.response = None
        self._write_attempt(request, "failed", known.kind, str(known), self._scored(action, answered=False))

    def _scored(self, action: Score, *, answered: bool) -> Mapping[str, Any] | None:
        """Take note of a request about an answer; return what its row must carry beyond its columns."""
        answer = self._answers[action.about]
        fact = Scored(
            n=action.n,
            about=action.about,
            step=answer.sent.step,
            target=answer.sent.target_index,
            answered=answered,
            confidence=answer.confidence,
            facts=self._facts(self._now_us()),
        )
        self._trace.append(fact)
        return facts_extra(fact, decide(self._plan, tuple(self._trace)))

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
        settled = (
            valid
            and request.sent.draft is None
            and not asks_more(self._plan, request.sent.step)
            and served_at(self._plan, step, request.confidence)
        )
        return _make_checked(
            n=n,
            step=request.sent.step,
            target=request.sent.target_index,
            valid=valid,
            confidence=request.confidence,
            corrects=request.sent.draft,
            facts=_NOTHING_ASKED if settled else self._facts(self._now_us()),
        )

    def _failed(self, request: InFlight, error: CallError) -> None:
        state, sent = self._state, request.sent
        now_us = self._now_us()
        self._settle(request, receipt_of_failure(error.billed, request.price, sent), now_us)
        wait_us = retry_after_us(error)
        state.failed(sent.target.model, error.kind, wait_us, now_us)
        fact = Failed(
            n=sent.n,
            step=sent.step,
            target=sent.target_index,
            kind=error.kind,
            retry_after_us=wait_us,
            draw=state.clock.draw(),
            facts=self._facts(now_us),
        )
        self._trace.append(fact)
        facts = facts_extra(fact, decide(self._plan, tuple(self._trace)))
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
        error_type: str | None,
        message: str | None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self._unlogged = None
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
            kind, tokens = self._task.payload_type, self._input_tokens
            unaffordable = state.dearer_than(left, kind, plan.steps, tokens, now_us)
            if plan.judge is not None:
                unaffordable |= state.dearer_than(left, judged_kind(kind), (plan.judge.step,), tokens, now_us)
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
        ended_us = self._now_us()
        served, response = request.sent, request.response
        why = reason if plan.reason in ("path", "default_type") else plan.reason
        text = "" if response is None else response.text
        self._close("ok", why, ended_us, served=served, confidence=request.confidence, line=line, opening=opening)
        if plan.shadows and n != RECALLED:  # what was paid for before had its shadows then
            given = Given(text=text, parsed=request.parsed)
            after = served_call(self._task, plan, self._call, served, self._records, given)
            self._shadows.after(self._state, after)
        return _make_answer(
            text=text,
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
            cache_hit=n == RECALLED and self._start.recalled is not None,
        )

    def _exhausted(self, reason: str, line: Line | None, opening: Facts) -> RouteExhaustedError:
        last = self._records[-1].error_type if self._records else reason
        self._close("failed", reason, self._now_us(), error_type=last, line=line, opening=opening)
        return exhausted(self._call, reason, self._records, self._cost_nusd)

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
