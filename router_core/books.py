"""What one call has asked for, what that cost, and the lines that say so."""

from collections.abc import Mapping
from typing import Any

from router_core.decide.moves import (
    Action,
    Checked,
    Fact,
    Facts,
    Merged,
)
from router_core.decide.plan import Plan
from router_core.decide.trace import ON_PATH, facts_extra, opened_extra
from router_core.free import Start
from router_core.inflight import InFlight, receipt_of_answer, receipt_of_failure, record_of
from router_core.lines import CallFacts, Closed, Line, Sent, attempt_line, call_line, started_line
from router_core.record import maker
from router_core.state import RouterState
from router_core.types import AttemptRecord, AttemptStatus, Confidence, Price, Receipt, Role

UPWARDS: frozenset[Role] = frozenset({"escalate", "correct"})
"""Roles that go a step up."""
_make_closed = maker(Closed)


class Books:
    """The requests of one call: each has its lines, and its money is booked once.

    Args:
        state: What all calls of the router share.
        plan: The call's plan.
        call: What is the same on all its lines.
        start: What it begins with.

    Attributes:
        records: Its attempts, in order.
        unlogged: The request whose end is not on record yet.
        cost_nusd: What all of them cost, nano-dollars.
        extra: What the call's row must carry beyond its columns.
        is_closed: Whether the call has its line.
    """

    def __init__(self, state: RouterState, plan: Plan, call: CallFacts, start: Start) -> None:
        self._state = state
        self._plan = plan
        self._call = call
        self._start = start
        self.records: list[AttemptRecord] = []
        self.unlogged: InFlight | None = None
        self.cost_nusd = 0
        self.extra: Mapping[str, Any] | None = None
        self.is_closed = False

    def begin(self, sent: Sent, price: Price | None) -> InFlight:
        """Set the money aside and log that the request begins."""
        call, critical = self._call, self._plan.critical
        reservation = self._state.guardrail.reserve(sent.started_us, sent.reserved_nusd, call, critical=critical)
        request = self.unlogged = InFlight(sent, reservation, price)
        self._state.log(started_line(self._plan, call, sent, reservation.keys))
        return request

    def lost(self, request: InFlight, *, billed: bool | None) -> Receipt:
        """Return what a request cost that did not come to its end: at least what has come of it, if anything has."""
        if request.reading is None:
            return receipt_of_failure(billed, request.price, request.sent)
        return receipt_of_answer(request, request.reading.received(), self._state.prices)

    def take_line(self, fact: Fact, action: Action) -> Line | None:
        """Return the line of the answer that was just checked, now that its consequence is known."""
        request = self.unlogged
        if request is None or not isinstance(fact, Checked | Merged):
            return None
        if isinstance(fact, Checked) and fact.corrects is not None:
            return None  # corrections go on record once it is known what became of them
        status, error_type = ("ok", None) if fact.valid else ("invalid", "invalid")
        return self.take(request, status, error_type, facts=facts_extra(fact, action))

    def take(
        self,
        request: InFlight,
        status: AttemptStatus,
        error_type: str | None,
        *,
        message: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Line:
        """Put the open request on record; return its line, which is to be written."""
        self.unlogged = None
        ended = request.ended(status, error_type, facts)
        self.records.append(record_of(request, ended, message))
        return attempt_line(self._plan, self._call, request.sent, ended)

    def write_attempt(
        self,
        request: InFlight,
        status: AttemptStatus,
        error_type: str | None,
        message: str | None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Put the open request on record and log it."""
        self._state.log(self.take(request, status, error_type, message=message, facts=facts))

    def settle(self, request: InFlight, got: Receipt, at_us: int) -> None:
        """Book what a request cost, once."""
        request.receipt, request.ended_us = got, at_us
        cost = got.cost_nusd or 0
        self.cost_nusd += cost
        self._state.guardrail.settle(request.reservation, cost, at_us)

    def close(
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
        """Log how the call ended, with the line of its last answer if that is not written yet."""
        self.is_closed = True
        recalled, redoes = self._start.recalled, self._start.redoes
        escalations = fallbacks = 0
        tier = None
        for made in self.records:
            if made.role == "fallback":
                fallbacks += 1
            elif made.role == "escalate" or (made.role == "correct" and made.tier != tier):
                escalations += 1
            tier = made.tier if made.role in ON_PATH else tier
        closed = _make_closed(
            status=status,
            reason=reason,
            ended_us=ended_us,
            served=served,
            confidence=confidence,
            error_type=error_type,
            cost_nusd=self.cost_nusd,
            attempts=len(self.records),
            escalations=escalations,
            fallbacks=fallbacks,
            opened=None if opening is None else opened_extra(opening),
            linked=redoes if recalled is None else recalled.call_id,
            is_recalled=recalled is not None and served is recalled.request.sent,
            extra=self.extra if redoes is None else {**(self.extra or {}), "redoes": redoes},
        )
        lines = [] if line is None else [line]
        self._state.log_call(*lines, call_line(self._plan, self._call, closed))
