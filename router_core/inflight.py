"""One request from its reservation to its log line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from router_core.control.budgets import NOTHING_RESERVED, Reservation
from router_core.decide.receipt import receipt
from router_core.errors import CallError
from router_core.lines import Ended, Sent
from router_core.prices import PriceBook
from router_core.record import blank
from router_core.types import (
    NO_CONFIDENCE,
    WITHHELD,
    AttemptRecord,
    AttemptStatus,
    CheckResult,
    Confidence,
    Price,
    Receipt,
    Response,
)

# a provider that asks for more than a day's pause is not taken at its word
_LONGEST_WAIT_S = 86_400.0


class Incoming(Protocol):
    """An answer that comes in piece by piece."""

    def received(self) -> Response:
        """Return what has come so far."""
        ...


@dataclass(slots=True)
class InFlight:
    """A request that has money set aside and no log line yet.

    Attributes:
        sent: What was sent.
        reservation: What was set aside for it.
        price: The target's price when it was sent.
        response: What came back, if anything did.
        receipt: What it cost; None until that is booked.
        ended_us: When it ended, microseconds since the epoch.
        parsed: The answer in the wanted format.
        confidence: Confidence of the answer.
        checks: Verdicts on the answer.
        answer_match: Whether it is the served answer too; None = not compared.
        reading: Its answer while that comes in piece by piece.
        ttft_ms: Time to the first of these pieces.
        correction: What became of the corrections it has brought; None of a request that asked for none.
    """

    sent: Sent
    reservation: Reservation
    price: Price | None
    response: Response | None = None
    receipt: Receipt | None = None
    ended_us: int = 0
    parsed: Any = None
    confidence: Confidence = NO_CONFIDENCE
    checks: tuple[CheckResult, ...] = ()
    answer_match: bool | None = None
    reading: Incoming | None = None
    ttft_ms: float | None = None
    correction: Mapping[str, Any] | None = None

    def ended(self, status: AttemptStatus, error_type: str | None, facts: Mapping[str, Any] | None) -> Ended:
        """Return how it ended, for its line.

        Raises:
            ValueError: Its cost is not booked yet.
        """
        if self.receipt is None:
            raise ValueError("a request is logged after its cost is booked")
        response = self.response
        if response is None:
            return Ended(
                ended_us=self.ended_us, status=status, receipt=self.receipt, error_type=error_type, facts=facts
            )
        ended: Any = blank(Ended)
        ended.ended_us = self.ended_us
        ended.status = status
        ended.receipt = self.receipt
        ended.usage = response.usage
        ended.error_type = error_type
        ended.confidence = self.confidence
        ended.checks = self.checks
        ended.response_model = response.response_model
        ended.service_tier = response.service_tier
        ended.ttft_ms = response.ttft_ms if self.ttft_ms is None else self.ttft_ms
        ended.answer_match = self.answer_match
        ended.correction = self.correction
        ended.facts = facts
        return ended


def unpaid(sent: Sent, response: Response) -> InFlight:
    """Return an answer that no request of this call was made for, as if it had come back from one.

    Args:
        sent: Where it comes from.
        response: The answer.
    """
    return InFlight(
        sent,
        NOTHING_RESERVED,
        None,
        response,
        receipt=Receipt(cost_nusd=0, cost_status="exact"),
    )


def record_of(request: InFlight, ended: Ended, message: str | None = None) -> AttemptRecord:
    """Return the attempt as the caller may inspect it."""
    sent = request.sent
    answer = request.response if ended.status == "ok" else None
    pack = None if request.response is None else request.response.pack
    made: Any = blank(AttemptRecord)
    made.attempt_id = sent.attempt_id
    made.request_id = sent.attempt_id if pack is None else pack.request_id
    made.n = sent.n
    made.role = sent.role
    made.tier = sent.tier
    made.model = sent.target.model
    made.status = ended.status
    made.error_type = ended.error_type
    made.message = message
    made.confidence = ended.confidence or NO_CONFIDENCE
    made.checks = ended.checks
    made.receipt = ended.receipt
    made.latency_ms = (ended.ended_us - sent.started_us) / 1000
    made.text = None if answer is None else answer.text
    made.parsed = None if answer is None else request.parsed
    made.about_attempt_id = sent.about_attempt_id
    return made


def receipt_of_answer(request: InFlight, response: Response, prices: PriceBook) -> Receipt:
    """Take in what came back and return what it cost, at the price of the service tier that answered."""
    sent = request.sent
    request.response = response
    if response.pack is not None:
        return response.pack.receipt
    if response.service_tier is not None:
        request.price = prices.price(sent.target.model, sent.started_us, service_tier=response.service_tier)
    got = receipt(response.usage, request.price, reported_nusd=response.cost_nusd, estimated=response.is_counted)
    return _never_free(got, sent)


def receipt_of_failure(billed: bool | None, price: Price | None, sent: Sent) -> Receipt:
    """Return 0 for what was certainly not charged, else the reserved estimate, openly unknown; without a price none."""
    if billed is False:
        return Receipt(cost_nusd=0, cost_status="exact", price=price)
    return Receipt(cost_nusd=None if price is None else sent.reserved_nusd, cost_status="unknown", price=price)


def _never_free(got: Receipt, sent: Sent) -> Receipt:
    """Return the receipt; an answer whose tokens nobody reported counts at its reserved estimate."""
    if got.cost_nusd is None and got.cost_status == "unknown":
        return Receipt(cost_nusd=sent.reserved_nusd, cost_status="unknown", price=got.price)
    return got


def is_withheld(response: Response) -> bool:
    """Return whether the provider has withheld an answer, in whole or in part."""
    return response.finish_reason == WITHHELD


def refusal_of(model: str, response: Response) -> CallError | None:
    """Return the failure that an answer is if the provider has withheld it, in whole or in part; else None.

    A refusal that comes as an answer is still a refusal: another model must not be asked to get around it.
    """
    if not is_withheld(response):
        return None
    text = f"{model}: answer withheld by the provider's content filter"
    return CallError(text, kind="content_policy", billed=None)


def retry_after_us(error: CallError) -> int | None:
    """Return the pause that a provider asks for; what is no sensible one is none."""
    asked = error.retry_after_s
    return round(asked * 1e6) if asked is not None and 0 <= asked <= _LONGEST_WAIT_S else None
