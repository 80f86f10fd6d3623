"""Unserved requests made for evidence after a call was served: in the background, inside a budget of their own.

A shadow never delays, changes or fails the call that it follows. It is on record like any attempt: a ``started`` line
before the request, an ``attempt`` line after it. It teaches the router nothing about the health of targets or the size
of answers, so that calls go the same way with and without it.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from router_core.backends import Backend
from router_core.background import Background
from router_core.clock import CallTime
from router_core.control.budgets import EventFunction, Guardrail, Reservation
from router_core.decide.capable import can_take, needs_of
from router_core.decide.compare import Given, same_answer
from router_core.decide.plan import Plan
from router_core.decide.shadow import Served, ShadowChoice, choose_shadows, draw_of
from router_core.errors import CallError, place_of
from router_core.inflight import InFlight, receipt_of_answer, receipt_of_failure, record_of, refusal_of
from router_core.lines import CallFacts, Sent, attempt_line, started_line
from router_core.state import RouterState
from router_core.task import Task, examine, make_request
from router_core.types import AttemptRecord, AttemptStatus, Receipt, Response, ShadowAnswer

# running shadows may end before the log is closed; an exit is not held up for longer
_GRACE_S: Final = 2.0
# the same for what has ended and is about to be logged
_WRITE_S: Final = 0.5
# a budget that is spent drops every shadow from then on: they are told of once an hour, not one by one
_TELL_EVERY_US: Final = 3_600_000_000
_logger = logging.getLogger("router_core.shadow")

AnswerFunction = Callable[[ShadowAnswer], object]
"""Told of each shadow that has ended, from the thread that made it; may come before the call itself returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedCall:
    """A call that was served, as far as its shadows need to know it.

    Attributes:
        task: What was asked for.
        plan: The call's plan.
        call: What is the same on all its lines.
        attempts: How many attempts it took.
        how: How it was served.
        answer: What was served.
    """

    task: Task
    plan: Plan
    call: CallFacts
    attempts: int
    how: Served
    answer: Given


@dataclass(frozen=True, slots=True)
class _Running:
    """A shadow that is on record as started."""

    state: RouterState
    served: ServedCall
    request: InFlight
    own: Reservation
    time: CallTime


class Shadows:
    """All shadows of one router.

    Args:
        backend: Model client.
        budget: What all shadows of the home may spend together.
        background: Where they run.
        on_event: Logs something that happened outside a call: name, details, instant.
        on_answer: Told of each shadow that has ended; None = nobody asks.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        budget: Guardrail,
        background: Background,
        on_event: EventFunction,
        on_answer: AnswerFunction | None,
    ) -> None:
        self._backend = backend
        self._budget = budget
        self._background = background
        self._on_event = on_event
        self._on_answer = on_answer
        self._is_closed = False
        self._callback_failed = False
        self._renew()

    def _renew(self) -> None:
        # A signal handler may close the router in the middle of anything: hence re-entrant, and no other lock is taken
        # under this one, for the interrupted thread may hold that.
        self._books = threading.Condition(threading.RLock())
        self._running: dict[str, _Running] = {}
        self._ending = 0
        self._dropped: Counter[str] = Counter()
        self._told_us: int | None = None

    def after(self, state: RouterState, served: ServedCall) -> None:
        """Send the shadows of a served call on their way; never waits, never raises."""
        try:
            self._send_off(state, served)
        except Exception as error:  # noqa: BLE001 - the call is served, whatever becomes of its shadows
            _logger.warning("shadows: none was made of a call: %s", place_of(error))

    def close(self, now_us: int) -> None:
        """Let running shadows end for a moment, drop the waiting ones, and leave no started one without its line."""
        never_began = self._background.close(_GRACE_S)
        with self._books:
            self._is_closed = True
            left = list(self._running.values())
            if never_began:
                self._dropped["closed"] += never_began
        for running in left:
            self._end(running, "cancelled", "cancelled", _unknown(running), running.time.now_us())
        with self._books:
            self._books.wait_for(lambda: not self._ending, _WRITE_S)
            told = self._take_dropped(now_us)
        self._tell(told, now_us)

    def after_fork(self) -> None:
        """Begin anew in a forked child: what runs, waits and is counted is the parent's."""
        self._renew()
        self._background.after_fork()

    def _send_off(self, state: RouterState, served: ServedCall) -> None:
        plan = served.plan
        draws = {rule.tier: draw_of(served.call.call_id, rule.tier) for rule in plan.shadows}
        chosen = choose_shadows(plan, served.how, plan.guard_state, draws)
        if not chosen:
            return
        served = replace(served, task=_snapshot(served.task))
        for number, choice in enumerate(chosen, start=served.attempts + 1):
            if not self._background.submit(partial(self._run, state, served, choice, number)):
                self._drop("queue", state.clock.now_us())

    def _run(self, state: RouterState, served: ServedCall, choice: ShadowChoice, number: int) -> None:
        running = self._start(state, served, choice, number)
        if running is None:
            return
        request, now_us = running.request, running.time.now_us
        timeout_s = request.sent.target.timeout_s
        try:
            response = self._backend.complete(
                make_request(served.task, served.plan, served.call.call_id, request.sent, timeout_s)
            )
            self._answered(running, response)
        except CallError as error:
            got = receipt_of_failure(error.billed, request.price, request.sent)
            self._end(running, "failed", error.kind, got, now_us())
        except Exception:  # noqa: BLE001 - a backend or a check that breaks is a failed attempt, nobody else's trouble
            self._end(running, "failed", "internal", _unknown(running), now_us())
        except BaseException:
            self._end(running, "cancelled", "cancelled", _unknown(running), now_us())
            raise

    def _start(self, state: RouterState, served: ServedCall, choice: ShadowChoice, number: int) -> _Running | None:
        """Set the money aside and log that the request begins; None when it must not be made."""
        plan, time = served.plan, CallTime(state.clock)
        now_us = time.start_us
        down, needs = state.down(), needs_of(served.task.messages, served.task.params, served.task.response_format)
        step = next(step for step in state.tiers if step.tier == choice.tier)
        usable = (i for i, target in enumerate(step.targets) if target.name not in down and can_take(needs, target))
        place = next(usable, None)
        if place is None:
            return self._drop("no_target", now_us)
        target = step.targets[place]
        price = state.prices.price(target.model, now_us)
        about, most = needs.about_tokens, needs.most_output_tokens
        reserved = state.estimate_nusd(plan.payload_type, target, about, price, most=most, shadow=True)
        own = self._budget.admit(now_us, reserved, served.call, critical=False)
        if own is None:
            return self._drop("budget", now_us)
        of_day = state.guardrail.admit(now_us, reserved, served.call, critical=plan.critical)
        if of_day is None:
            self._budget.settle(own, 0, now_us)
            return self._drop("guard", now_us)
        sent = Sent(
            attempt_id=f"{served.call.call_id}-{number}",
            n=number,
            role="shadow",
            tier=choice.tier,
            target=target,
            started_us=now_us,
            reserved_nusd=reserved,
            step=-1,
            target_index=place,
            propensity=choice.propensity,
        )
        running = _Running(state, served, InFlight(sent, of_day, price), own, time)
        with self._books:  # what is booked here is ended by its own thread or by close
            is_late = self._is_closed
            if not is_late:
                self._running[sent.attempt_id] = running
        if is_late:
            self._settle(running, 0, now_us)
            return self._drop("closed", now_us)
        state.log(started_line(plan, served.call, sent, [*of_day.keys, *own.keys]))
        return running

    def _answered(self, running: _Running, response: Response) -> None:
        state, served, request = running.state, running.served, running.request
        plan, sent = served.plan, request.sent
        got = receipt_of_answer(request, response, state.prices)
        ended_us = running.time.now_us()
        refusal = refusal_of(sent.target.model, response)
        if refusal is not None:
            self._end(running, "failed", refusal.kind, got, ended_us)
            return
        is_valid = examine(served.task, plan, request)
        if is_valid:
            request.answer_match = _compared(served, Given(text=response.text, parsed=request.parsed))
        state.shadowed(plan.payload_type, sent.target.model, response.usage)
        status, error_type = ("ok", None) if is_valid else ("invalid", "invalid")
        self._end(running, status, error_type, got, ended_us)

    def _end(
        self, running: _Running, status: AttemptStatus, error_type: str | None, got: Receipt, ended_us: int
    ) -> None:
        """Book and log how a shadow ended, once, and tell whoever asks."""
        request, served = running.request, running.served
        with self._books:
            if self._running.pop(request.sent.attempt_id, None) is None:
                return
            self._ending += 1
        try:
            request.receipt, request.ended_us = got, ended_us
            self._settle(running, got.cost_nusd or 0, ended_us)
            ended = request.ended(status, error_type, None)
            running.state.log(attempt_line(served.plan, served.call, request.sent, ended))
        finally:
            with self._books:
                self._ending -= 1
                self._books.notify_all()
        if self._on_answer is not None:
            self._answer(self._on_answer, served, record_of(request, ended))

    def _answer(self, on_answer: AnswerFunction, served: ServedCall, record: AttemptRecord) -> None:
        answer = ShadowAnswer(
            call_id=served.call.call_id,
            attempt_id=record.attempt_id,
            payload_type=served.call.payload_type,
            tier=record.tier,
            model=record.model,
            status=record.status,
            text=record.text,
            parsed=record.parsed,
        )
        try:
            on_answer(answer)
        except Exception as error:  # noqa: BLE001 - the caller's function may raise anything
            if not self._callback_failed:
                self._callback_failed = True
                _logger.warning("shadows: on_shadow raises %s; this is said once", place_of(error))

    def _settle(self, running: _Running, cost_nusd: int, at_us: int) -> None:
        running.state.guardrail.settle(running.request.reservation, cost_nusd, at_us)
        self._budget.settle(running.own, cost_nusd, at_us)

    def _drop(self, reason: str, now_us: int) -> None:
        """Count a shadow that is not made, and leave a record of it now and then."""
        told: dict[str, object] = {}
        with self._books:
            self._dropped[reason] += 1
            if self._told_us is None or abs(now_us - self._told_us) >= _TELL_EVERY_US:
                told = self._take_dropped(now_us)
        self._tell(told, now_us)

    def _take_dropped(self, now_us: int) -> dict[str, object]:
        taken: dict[str, object] = {**self._dropped}
        self._dropped.clear()
        if taken:
            self._told_us = now_us
        return taken

    def _tell(self, dropped: dict[str, object], now_us: int) -> None:
        if dropped:
            self._on_event("shadows_dropped", dropped, now_us)


def _snapshot(task: Task) -> Task:
    """Return the task as it is now: callers go on to append the answer to the list of messages they have passed."""
    messages: list[Mapping[str, object]] = [dict(message) for message in task.messages]
    return replace(task, messages=messages, params=dict(task.params))


def _compared(served: ServedCall, other: Given) -> bool | None:
    """Return whether the answer is the served one too; None when the type's answers are not, or cannot be, compared."""
    plan = served.plan
    if plan.comparable is None:
        return None
    try:
        return same_answer(plan.comparable, served.answer, other, plan.confidence_field)
    except Exception:  # noqa: BLE001 - the caller's model may refuse to be dumped; then nothing is said
        return None


def _unknown(running: _Running) -> Receipt:
    return receipt_of_failure(None, running.request.price, running.request.sent)
