"""What happened → spool lines. Column names and units: ``call_log/schema.py``."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from router_core.decide.plan import Plan, PlanTarget
from router_core.record import record
from router_core.types import AttemptStatus, CallStatus, CheckResult, Confidence, Price, Receipt, Role, Usage

Line = dict[str, Any]
_NO_USAGE = Usage()


@record
class CallFacts:
    """What is the same on every line of one call.

    Attributes:
        call_id: The call's id.
        opened_us: When it began, microseconds since the epoch.
        payload_type: Its payload type.
        run: The caller's job.
        step: The caller's step in the job.
        tags: The caller's tags.
        prompt_hash: Hash of the system prompt.
    """

    call_id: str
    opened_us: int
    payload_type: str
    run: str | None
    step: str | None
    tags: Mapping[str, str] | None
    prompt_hash: str | None


@record
class Sent:
    """One request that was sent.

    Attributes:
        attempt_id: The attempt's id; of an unpacked request also the request's; "" where a pre-check answered.
        n: 1-based number in the call.
        role: Why it was made.
        tier: Tier of the target.
        target: Whom it was sent to.
        started_us: When, microseconds since the epoch.
        reserved_nusd: Estimated cost set aside, nano-dollars.
        step: Index of the step in the plan; -1 of a shadow, which is on no path.
        target_index: Index of the target in the step.
        draft: Attempt that it corrects.
        propensity: Probability with which it was chosen, if it was chosen by chance.
        about_attempt_id: The attempt whose answer a judge or a sample is about.
    """

    attempt_id: str
    n: int
    role: Role
    tier: str
    target: PlanTarget
    started_us: int
    reserved_nusd: int
    step: int
    target_index: int
    draft: int | None = None
    propensity: float | None = None
    about_attempt_id: str | None = None


@record
class Ended:
    """How a request ended.

    Attributes:
        ended_us: When.
        status: How.
        receipt: What it cost.
        usage: Tokens, as far as reported.
        error_type: Kind of failure, if it failed.
        confidence: Confidence of the answer, if there is one.
        checks: Verdicts on the answer.
        response_model: The model that the provider says has answered.
        service_tier: The provider's service tier.
        ttft_ms: Time to the first token.
        answer_match: Whether the answer is the served one too, of a shadow that can be compared.
        correction: What became of the corrections it has brought, of a request that asked for some.
        facts: What a replay needs beyond the columns.
    """

    ended_us: int
    status: AttemptStatus
    receipt: Receipt
    usage: Usage = _NO_USAGE
    error_type: str | None = None
    confidence: Confidence | None = None
    checks: tuple[CheckResult, ...] = ()
    response_model: str | None = None
    service_tier: str | None = None
    ttft_ms: float | None = None
    answer_match: bool | None = None
    correction: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] | None = None


def started_line(plan: Plan, call: CallFacts, sent: Sent, budgets: Sequence[tuple[str, str]] = ()) -> Line:
    """Return the line that precedes a request.

    Args:
        plan: The call's plan.
        call: The call.
        sent: The request.
        budgets: What its money is counted under, budget and scope each.
    """
    item: Line = {
        "attempt_id": sent.attempt_id,
        "call_id": call.call_id,
        "n": sent.n,
        "payload_type": call.payload_type,
        "config_version": plan.config_version,
        "critical": plan.critical,
        "role": sent.role,
        "tier": sent.tier,
        "tier_planned": plan.tier_planned,
        "provider_name": provider_of(sent.target.model),
        "request_model": sent.target.model,
        "prompt_hash": call.prompt_hash,
        "reserved_nusd": sent.reserved_nusd,
        "error_cost_nusd": plan.error_cost_nusd,
        "guard_state": plan.guard_state,
        "budget_scope": plan.budget,
        "degraded": plan.degraded,
    }
    if call.run is not None:
        item["run"] = call.run
    if call.step is not None:
        item["step"] = call.step
    if call.tags:
        item["tags"] = call.tags
    if plan.holdback is not None:
        item["holdback"] = plan.holdback
    if sent.propensity is not None:
        item["propensity"] = sent.propensity
    if sent.about_attempt_id is not None:
        item["about_attempt_id"] = sent.about_attempt_id
    if budgets:
        item["budgets"] = budgets
    return {"k": "started", "request_id": sent.attempt_id, "at": sent.started_us, "items": [item]}


def attempt_line(plan: Plan, call: CallFacts, sent: Sent, ended: Ended) -> Line:
    """Return the line of an ended attempt; columns that would be NULL are left out."""
    receipt, price = ended.receipt, ended.receipt.price
    line: Line = {
        "k": "attempt",
        "attempt_id": sent.attempt_id,
        "request_id": sent.attempt_id,
        "call_id": call.call_id,
        "n": sent.n,
        "started_at": sent.started_us,
        "ended_at": ended.ended_us,
        "payload_type": call.payload_type,
        "config_version": plan.config_version,
        "critical": plan.critical,
        "role": sent.role,
        "tier": sent.tier,
        "provider_name": provider_of(sent.target.model),
        "request_model": sent.target.model,
        "cost_nusd": receipt.cost_nusd,
        "cost_status": receipt.cost_status,
        "latency_ms": (ended.ended_us - sent.started_us) / 1000,
        "status": ended.status,
        "source": "router",
    }
    if call.run is not None:
        line["run"] = call.run
    if call.prompt_hash is not None:
        line["prompt_hash"] = call.prompt_hash
    _add_answer(line, sent, ended)
    if price is not None:
        add_price(line, price)
    if ended.confidence is not None:
        line["confidence"], line["confidence_source"] = ended.confidence.value, ended.confidence.source
        line["calibration"] = ended.confidence.calibration
    if ended.checks:
        line["checks"] = checks_column(ended.checks)
    extra = _attempt_extra(ended)
    if sent.target.number > 1:
        extra["target"] = sent.target.name
    if extra:
        line["extra"] = extra
    return line


def _add_answer(line: Line, sent: Sent, ended: Ended) -> None:
    """Add what an attempt may have: one test each, because a call should not wait for a dict of what it has not."""
    if ended.response_model is not None:
        line["response_model"] = ended.response_model
    if ended.service_tier is not None:
        line["service_tier"] = ended.service_tier
    add_tokens(line, ended.usage)
    if ended.receipt.cost_source_nusd is not None:
        line["cost_source_nusd"] = ended.receipt.cost_source_nusd
    if ended.error_type is not None:
        line["error_type"] = ended.error_type
    if ended.ttft_ms is not None:
        line["ttft_ms"] = ended.ttft_ms
    if sent.propensity is not None:
        line["propensity"] = sent.propensity
    if sent.about_attempt_id is not None:
        line["about_attempt_id"] = sent.about_attempt_id
    if ended.answer_match is not None:
        line["answer_match"] = ended.answer_match


def _attempt_extra(ended: Ended) -> Line:
    """Return what belongs to a row and has no column: seldom used prices and counts, and what a replay needs."""
    extra = price_extra(ended.usage, ended.receipt.price)
    if ended.confidence is not None and ended.confidence.raw is not None:
        # what the next calibration is fitted on
        extra["confidence_raw"] = ended.confidence.raw
    if ended.correction is not None:
        extra["correction"] = ended.correction
    return extra if ended.facts is None else {"facts": ended.facts} | extra


def checks_column(checks: Sequence[CheckResult]) -> list[Line]:
    """Return the column of an answer's verdicts."""
    return [{"name": check.name, "ms": round(check.ms, 3), "verdict": check.verdict} for check in checks]


def add_tokens(line: Line, usage: Usage) -> None:
    """Add the columns of a request's tokens; those that are 0, or that nobody told, are left out."""
    if usage.input_tokens is not None:
        line["input_tokens"] = usage.input_tokens
    if usage.output_tokens is not None:
        line["output_tokens"] = usage.output_tokens
    if usage.cached_tokens:
        line["cached_tokens"] = usage.cached_tokens
    if usage.cache_write_5m_tokens:
        line["cache_write_5m_tokens"] = usage.cache_write_5m_tokens
    if usage.cache_write_1h_tokens:
        line["cache_write_1h_tokens"] = usage.cache_write_1h_tokens
    if usage.reasoning_tokens:
        line["reasoning_tokens"] = usage.reasoning_tokens


def add_price(line: Line, price: Price) -> None:
    """Add the columns of the price row that a request was costed with."""
    line["price_in"] = price.input_nusd_per_m
    line["price_cached"] = price.cached_nusd_per_m
    line["price_write"] = price.write_5m_nusd_per_m
    line["price_out"] = price.output_nusd_per_m
    line["price_source"] = price.source
    line["price_date"] = price.date


def price_extra(usage: Usage, price: Price | None) -> Line:
    """Return the seldom used prices and counts that a receipt needs and no column has."""
    if not (usage.cache_write_1h_tokens or usage.reasoning_tokens or usage.media_tokens or usage.web_searches):
        return {}
    extra: Line = {}
    if price is not None and usage.cache_write_1h_tokens:
        extra["price_write_1h"] = price.write_1h_nusd_per_m
    if price is not None and usage.reasoning_tokens and price.reasoning_nusd_per_m is not None:
        extra["price_reasoning"] = price.reasoning_nusd_per_m
    if usage.media_tokens:
        extra["media_tokens"] = usage.media_tokens
    if usage.web_searches:
        extra["web_searches"] = usage.web_searches
    return extra


@record
class Closed:
    """How a call ended.

    Attributes:
        status: How.
        reason: Why this answer, or why none.
        ended_us: When.
        served: The served attempt; None = none.
        confidence: Confidence of the served answer.
        error_type: What stood in the way, if nothing was served.
        cost_nusd: Sum over its attempts, nano-dollars.
        attempts: How many there were.
        escalations: How many went a step up.
        fallbacks: How many went to another target of the tier.
        opened: What a replay needs of the world at its start.
        linked: The call of an earlier run that has paid for what its answer gave to this one, or that was served below
            its plan and this one makes up for; None = neither.
        is_recalled: Whether that answer is the one that is served.
        extra: What else belongs to the row and has no column.
    """

    status: CallStatus
    reason: str
    ended_us: int
    served: Sent | None = None
    confidence: Confidence | None = None
    error_type: str | None = None
    cost_nusd: int = 0
    attempts: int = 0
    escalations: int = 0
    fallbacks: int = 0
    opened: Mapping[str, Any] | None = None
    linked: str | None = None
    is_recalled: bool = False
    extra: Mapping[str, Any] | None = None


def call_line(plan: Plan, call: CallFacts, closed: Closed) -> Line:
    """Return the line of an ended call, without worker and seq; columns that would be NULL are left out."""
    line: Line = {
        "k": "call",
        "call_id": call.call_id,
        "ts": call.opened_us,
        "payload_type": call.payload_type,
        "config_version": plan.config_version,
        "tier_planned": plan.tier_planned,
        "reason": closed.reason,
        "critical": plan.critical,
        "guard_state": plan.guard_state,
        "degraded": plan.degraded,
        "escalations": closed.escalations,
        "fallbacks": closed.fallbacks,
        "cost_nusd": closed.cost_nusd,
        "attempts": closed.attempts,
        "latency_ms": (closed.ended_us - call.opened_us) / 1000,
        "status": closed.status,
        "cache_hit": closed.is_recalled,
        "source": "router",
    }
    if call.run is not None:
        line["run"] = call.run
    if call.step is not None:
        line["step"] = call.step
    if plan.holdback is not None:
        line["holdback"] = plan.holdback
    if closed.linked is not None:
        line["linked_call_id"] = closed.linked
    _add_served(line, plan, closed)
    if plan.error_cost_nusd is not None:
        line["error_cost_nusd"] = plan.error_cost_nusd
    if closed.error_type is not None:
        line["error_type"] = closed.error_type
    if call.tags:
        line["tags"] = call.tags
    if closed.opened is not None:
        line["extra"] = {"opened": closed.opened}
    if closed.extra:
        line["extra"] = {**line.get("extra", {}), **closed.extra}
    return line


def _add_served(line: Line, plan: Plan, closed: Closed) -> None:
    served, confidence = closed.served, closed.confidence
    if served is not None:
        if served.attempt_id:
            line["served_attempt_id"] = served.attempt_id
        line["tier_served"] = served.tier
        line["model_served"] = served.target.model
    if plan.budget is not None:
        line["budget_scope"] = plan.budget
    if confidence is not None:
        if confidence.value is not None:
            line["confidence"] = confidence.value
        line["confidence_source"] = confidence.source
        if confidence.calibration is not None:
            line["calibration"] = confidence.calibration


@lru_cache(maxsize=1024)
def provider_of(model: str) -> str:
    """Return the provider part of ``provider/model``; the whole name when it has none."""
    return model.partition("/")[0]
