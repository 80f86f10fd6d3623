"""One call, start to end: asks ``decide`` what to do, and leaves doing it to whoever drives the generator.

The same generator serves a thread, an event loop and a simulation: it yields ``Send`` and ``Pause`` and is given back
the response, or has the failure thrown in. A streamed call yields ``Open`` in place of ``Send``, and is given back an
answer whose first piece is there; then ``Relay``, while that is handed out. Until then everything is as for any call.
"""

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from router_core.books import UPWARDS, Books
from router_core.clock import CallTime
from router_core.correcting import Correcting
from router_core.decide.capable import Needs
from router_core.decide.compare import Given
from router_core.decide.moves import (
    RECALLED,
    Accept,
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
)
from router_core.decide.plan import Plan
from router_core.decide.score import Score, asks_more
from router_core.decide.shadow import Served
from router_core.decide.step import served_at
from router_core.decide.trace import ON_PATH, facts_extra, recalled_extra
from router_core.effects import Begun, Disowned, Effect, Flow, Open, Pause, Relay, Send, Stopped
from router_core.errors import CallError, RequestRejectedError, RouteExhaustedError, RouterError
from router_core.free import Recalled, Start
from router_core.gate import Gate
from router_core.inflight import InFlight, receipt_of_answer, receipt_of_failure, refusal_of, retry_after_us
from router_core.lines import CallFacts, Line, Sent, checks_column
from router_core.purse import Purse
from router_core.record import blank, maker
from router_core.scoring import Scoring, score_request
from router_core.shadow import ServedCall, Shadows
from router_core.state import RouterState
from router_core.task import Task, examine, make_request
from router_core.types import (
    PRE_CHECK,
    Answer,
    AttemptRecord,
    AttemptStatus,
    Confidence,
    Response,
)

_NOTHING_ASKED = Facts()
_NOBODY: frozenset[str] = frozenset()
# ends of a call that might have left its step upwards
_STAYS = frozenset({"accepted", "accepted_unscored"})

_make_send = maker(Send)
_make_sent = maker(Sent)
_make_facts = maker(Facts)
_make_opened = maker(Opened)
_make_returned = maker(Returned)
_make_checked = maker(Checked)


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
        needs: What its request needs.
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
        needs: Needs,
    ) -> None:
        self._state = state
        self._shadows = shadows
        self._task = task
        self._plan = plan
        self._call = call
        self._now_us = time.now_us
        self._start = start
        self._books = Books(state, plan, call, start)
        self._needs = needs
        self._gate = Gate(state, plan, needs)
        self._trace: list[Fact] = []
        self._answers: dict[int, InFlight] = {}
        self._scoring: Scoring | None = None
        self._correcting = Correcting(task, plan)
        self._partial_text = ""

    def run(self) -> Flow:
        """Yield what is to be done until the call has its answer.

        Whatever ends it, every request has its lines, its money is booked once, and the call has its line.

        Raises:
            RequestRejectedError: No target of the path can take such a request; nothing was sent.
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
            self._books.extra = asked.extra()
            if asked.request is not None:
                self._answers[RECALLED] = asked.request
                return self._serve(RECALLED, PRE_CHECK, None)
        self._trace.append(_make_opened(facts=self._facts(self._call.opened_us)))
        if self._start.recalled is not None:
            self._recall(self._start.recalled)
        return (yield from self._decided())

    def _decided(self) -> Flow:
        while True:
            action = self._gate.next(self._trace)
            line = self._books.take_line(self._trace[-1], action)
            match action:
                case Call():
                    if line is not None:
                        self._state.log(line)
                    yield from self._request(action)
                case Score():
                    if line is not None:
                        self._state.log(line)
                    yield from self._score(action)
                case Check():
                    raise NotImplementedError("an answer is checked when it comes")
                case Accept(n=n, reason=reason):
                    return self._serve(n, reason, line)
                case Exhausted(reason=reason):
                    raise self._exhausted(reason, line)
                case Merge(n=n, draft=draft):
                    self._merge(n, draft)

    def _recall(self, recalled: Recalled) -> None:
        """Go on from an answer that an earlier run has paid for."""
        request = self._answers[RECALLED] = recalled.request
        fact = self._checked(RECALLED, request, valid=True)
        self._trace.append(fact)
        action = self._gate.next(self._trace)
        last = self._trace[-1]
        told = recalled_extra(self._plan, last if isinstance(last, Checked) else fact, action, request.sent.attempt_id)
        self._books.extra = {"recalled": {**told, "checks": checks_column(request.checks)}}

    def _abandon(self, error: BaseException) -> None:
        """Log what is not logged yet of a call that ends here: cancelled, interrupted, or by a fault of the program."""
        if self._books.is_closed:
            return
        cause = "internal" if isinstance(error, Exception) else "cancelled"
        now_us = self._now_us()
        request = self._books.unlogged
        if request is not None:
            if request.receipt is None:
                self._books.settle(request, self._books.lost(request, billed=None), now_us)
                self._state.withdrawn(request.sent.target)
            status: AttemptStatus = "failed" if cause == "internal" else "cancelled"
            self._books.write_attempt(request, status, cause, type(error).__name__)
        self._books.close("failed", cause, now_us, error_type=cause)

    def _stop(self, stopped: Stopped) -> Answer:
        """Serve what has come of a streamed answer that the caller does not want to the end."""
        request, now_us = self._books.unlogged, self._now_us()
        if request is None or request.reading is None or request.receipt is not None:
            self._abandon(stopped)
            raise stopped
        self._books.settle(request, self._books.lost(request, billed=None), now_us)
        self._state.withdrawn(request.sent.target)
        line = self._books.take(request, "cancelled", None)
        return self._answer(request, "stopped", line)

    def _request(self, action: Call) -> Generator[Effect, Response | Begun | None, None]:
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
            reserved_nusd=state.estimate_nusd(
                self._correcting.kind(action.draft),
                target,
                self._needs.about_tokens,
                price,
                most=self._needs.most_output_tokens,
            ),
            step=action.step,
            target_index=action.target,
            draft=action.draft,
            propensity=plan.propensity,
        )
        request = self._books.begin(sent, price)
        try:
            if self._task.is_streamed:
                response = yield from self._read(request, action.timeout_us)
            else:
                response = yield _make_send(
                    request=self._correcting.wire(sent, self._call.call_id, action.timeout_us / 1e6)
                )
        except CallError as error:
            self._failed(request, error)
        else:
            answer = _answered(response)
            refusal = refusal_of(target.model, answer)
            if refusal is None:
                self._returned(request, answer)
            else:
                self._failed(request, refusal, answer)

    def _score(self, action: Score) -> Generator[Effect, Response | Begun | None, None]:
        """Ask how sure an answer is. Whatever becomes of that, the call goes on: at worst it has no confidence."""
        state, answer = self._state, self._answers[action.about]
        scoring = self._scoring = self._scoring or Scoring(state, self._task, self._plan)
        sent = scoring.sent(action, answer, self._call.call_id, self._needs, self._now_us())
        request = self._books.begin(sent, state.prices.price(sent.target.model, sent.started_us))
        try:
            wire = score_request(self._task, self._plan, sent, answer, action.timeout_us / 1e6)
            response = _answered((yield _make_send(request=wire)))
            self._books.settle(request, receipt_of_answer(request, response, state.prices), self._now_us())
            refusal = refusal_of(sent.target.model, response)
            if refusal is not None:
                raise refusal
            told = scoring.told(action, request, response, answer)
        except Exception as error:  # noqa: BLE001 - an answer is there: what fails beside it must not lose it
            told, now_us = scoring.not_told(request, answer, error, self._now_us()), self._now_us()
            if request.receipt is None:
                self._books.settle(request, receipt_of_failure(told.billed, request.price, sent), now_us)
        if action.about != RECALLED:
            place = action.about - 1
            self._books.records[place] = replace(self._books.records[place], confidence=told.confidence)
        fact = told.fact(action, answer, self._facts(self._now_us()))
        self._trace.append(fact)
        facts = self._decided_facts()
        if told.confidence.value is not None and not isinstance(self._gate.next(self._trace), Score):
            self._keep_told(action, answer, told.confidence)
        self._books.write_attempt(request, told.status, told.error_type, told.message, facts)

    def _keep_told(self, action: Score, answer: InFlight, confidence: Confidence) -> None:
        """Keep how sure an answer is, now that nothing more is asked about it: half of the samples would tell less."""
        keeping, recalled = self._start.keeping, self._start.recalled
        if keeping is not None:
            paid_by = recalled.call_id if recalled is not None and action.about == RECALLED else self._call.call_id
            keeping.keep(paid_by, answer, self._now_us(), confidence)

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
        self._books.settle(request, got, self._now_us())
        kind = self._correcting.kind(sent.draft)
        state.answered(kind, sent.target, response.usage, request.ended_us - sent.started_us)
        self._answers[sent.n] = request
        self._trace.append(_make_returned(n=sent.n, step=sent.step, target=sent.target_index))
        self._check(sent.n)

    def _check(self, n: int) -> None:
        request = self._answers[n]
        valid = request.sent.draft is not None or examine(self._task, self._plan, request)
        if valid and request.sent.draft is None:
            self._keep(request)
        self._trace.append(self._checked(n, request, valid=valid))

    def _merge(self, n: int, draft: int) -> None:
        request = self._answers[n]
        fact = self._correcting.merged(request, draft, self._facts(self._now_us()))
        if fact.valid:
            self._keep(request, fact.confidence)
        self._trace.append(fact)

    def _keep(self, request: InFlight, told: Confidence | None = None) -> None:
        """Keep a valid answer for a run that comes after this one."""
        if self._start.keeping is not None and not self._plan.degraded:
            self._start.keeping.keep(self._call.call_id, request, self._now_us(), told)

    def _checked(self, n: int, request: InFlight, *, valid: bool) -> Checked:
        # what is served anyway needs no look at the world
        step = self._plan.steps[request.sent.step]
        streamed = request.reading is not None
        settled = streamed or (
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
            streamed=streamed,
            correctable=valid and not settled and self._correcting.note(n, request),
            packed=request.response is not None and request.response.pack is not None,
            facts=_NOTHING_ASKED if settled else self._facts(self._now_us()),
        )

    def _failed(self, request: InFlight, error: CallError, answer: Response | None = None) -> None:
        """Take note of a failed request, of which there may be an answer all the same that has been paid for."""
        state, sent = self._state, request.sent
        now_us = self._now_us()
        if answer is None:
            got = self._books.lost(request, billed=error.billed)
        else:
            got = receipt_of_answer(request, answer, state.prices)
        self._books.settle(request, got, now_us)
        if request.reading is not None and request.response is not None:
            self._partial_text = request.response.text
        wait_us, draw = retry_after_us(error), state.clock.draw()
        state.failed(sent, error.kind, wait_us, now_us, draw)
        if error.kind == "context_overflow":
            self._gate.overflown(sent.target)
        fact = Failed(
            n=sent.n,
            step=sent.step,
            target=sent.target_index,
            kind=error.kind,
            retry_after_us=wait_us,
            draw=draw,
            streamed=request.reading is not None,
            facts=self._facts(now_us),
        )
        self._trace.append(fact)
        self._books.write_attempt(request, "failed", error.kind, str(error), self._decided_facts())

    def _decided_facts(self) -> Mapping[str, Any] | None:
        """Decide what follows; return what the row of the last fact must carry for a replay."""
        action = self._gate.next(self._trace)
        last = self._trace[-1]
        return facts_extra(last, action) if isinstance(last, Failed | Scored) else None

    def _facts(self, now_us: int) -> Facts:
        state, plan = self._state, self._plan
        unaffordable: frozenset[str] = _NOBODY
        if plan.cost_nusd is not None:
            last = self._trace[-1] if self._trace else None
            unaffordable = Purse(state, plan, self._needs).too_dear(last, self._books.cost_nusd, now_us)
        # the verdict of the call's start is in the plan; later ones can only forbid more
        guard = plan.guard_state
        if plan.critical:
            guard = "normal"
        elif self._trace:
            guard = state.guardrail.verdict(now_us, self._call).state
        return _make_facts(
            elapsed_us=now_us - self._call.opened_us,
            guard=guard,
            down=state.down(),
            unaffordable=unaffordable,
            unfit=self._gate.unfit,
        )

    def _serve(self, n: int, reason: str, line: Line | None) -> Answer:
        request, plan = self._answers[n], self._plan
        if n != RECALLED and reason in _STAYS and not plan.critical and request.sent.step < len(plan.steps) - 1:
            self._state.stayed(plan.payload_type, request.sent.tier)
        answer = self._answer(request, reason if plan.reason in ("path", "default_type") else plan.reason, line)
        if plan.shadows and n != RECALLED:  # what was paid for before had its shadows then
            self._shadow(request.sent, Given(text=answer.text, parsed=answer.parsed))
        return answer

    def _answer(self, request: InFlight, why: str, line: Line | None) -> Answer:
        """Log the end of a call that serves this request's answer, and return that."""
        ended_us = self._now_us()
        plan, served, response = self._plan, request.sent, request.response
        recalled = self._start.recalled
        confidence, opening = request.confidence, self._opening
        self._books.close("ok", why, ended_us, served=served, confidence=confidence, line=line, opening=opening)
        if plan.degraded and self._start.keeping is not None:
            self._start.keeping.note_degraded(self._call.call_id, ended_us)
        answer: Any = blank(Answer)
        answer.text = "" if response is None else response.text
        answer.parsed = request.parsed
        answer.confidence = request.confidence
        answer.tier = served.tier
        answer.model = served.target.model
        answer.cost_nusd = self._books.cost_nusd
        answer.attempts = tuple(self._books.records)
        answer.call_id = self._call.call_id
        answer.degraded = plan.degraded
        answer.reason = why
        answer.latency_ms = (ended_us - self._call.opened_us) / 1000
        answer.raw = None if response is None else response.raw
        answer.cache_hit = recalled is not None and served is recalled.request.sent
        answer.fields = self._correcting.fields(
            served.n, self._books.records, None if recalled is None else recalled.request
        )
        return answer

    def _shadow(self, served: Sent, answer: Given) -> None:
        escalated = any(made.role in UPWARDS for made in self._books.records)
        # a streamed answer is served even if it turns out invalid
        invalid = any(made.attempt_id == served.attempt_id and made.status == "invalid" for made in self._books.records)
        how = Served(
            is_accepted=served.step == 0 and not escalated and not invalid,
            answered=frozenset(
                made.tier for made in self._books.records if made.status == "ok" and made.role in ON_PATH
            ),
        )
        self._shadows.after(
            self._state.whole,
            ServedCall(
                task=self._task,
                plan=self._plan,
                call=self._call,
                attempts=len(self._books.records),
                how=how,
                answer=answer,
            ),
        )

    @property
    def _opening(self) -> Facts | None:
        """The world as it was when the call began, and what kept it from beginning otherwise."""
        first = self._trace[0] if self._trace else None
        return first.facts if isinstance(first, Opened) else None

    def _exhausted(self, reason: str, line: Line | None) -> RouterError:
        now_us, opening = self._now_us(), self._opening
        if reason == "incapable" and not self._books.records:
            self._books.close("rejected", reason, now_us, error_type=reason, line=line, opening=opening)
            why = self._gate.why_incapable()
            return RequestRejectedError(f"{self._call.payload_type}: no target of its path can take this: {why}")
        last = self._books.records[-1].error_type if self._books.records else reason
        self._books.close("failed", reason, now_us, error_type=last, line=line, opening=opening)
        why: str = reason
        if reason in ("limits", "no_valid_answer"):
            purse = Purse(self._state, self._plan, self._needs)
            why += purse.note(self._trace[-1], len(self._books.records), self._books.cost_nusd, now_us)
        tried = "; ".join(f"{made.tier}: {_how(made)}" for made in self._books.records) or "nothing was tried"
        count = len(self._books.records)
        return RouteExhaustedError(
            f"{self._call.payload_type}: no answer ({why}) after {count} attempt{'s' * (count != 1)} [{tried}]",
            call_id=self._call.call_id,
            attempts=self._books.records,
            cost_nusd=self._books.cost_nusd,
            partial_text=self._partial_text,
        )


def _answered(response: object) -> Response:
    if not isinstance(response, Response):
        raise TypeError(f"a backend must return a Response, not {type(response).__name__}")
    return response


def _how(record: AttemptRecord) -> str:
    """Return how an attempt ended, in words that quote no answer; the checks' own words are in the error's attempts."""
    failed = [check.name for check in record.checks if check.verdict != "passed"]
    said = record.message or (f"invalid, failed {', '.join(failed)}" if failed else str(record.error_type))
    return said if said.startswith(record.model) else f"{record.model}: {said}"
