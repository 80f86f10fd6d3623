"""Frozen records that cross module boundaries.

Money is integer nano-dollars (``*_nusd``) or integer nano-dollars per million tokens (``*_nusd_per_m``); instants are
integer microseconds since the epoch, UTC (``*_us``); durations are seconds (``*_s``) or milliseconds (``*_ms``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from router_core.record import record

NANO = 1_000_000_000
PRE_CHECK = "pre_check"
"""What a call that a free rule has answered has as its reason, and in place of the tier that served."""
WITHHELD = "content_filter"
"""The finish reason of an answer that was withheld, in whole or in part: a refusal."""

Role = Literal["serve", "retry", "fallback", "escalate", "correct", "judge", "sample", "shadow"]
AttemptStatus = Literal["ok", "failed", "invalid", "cancelled", "unknown"]
CallStatus = Literal["ok", "failed", "rejected", "interrupted", "evaluation"]
CostStatus = Literal["provider", "exact", "estimated", "unpriced", "unknown"]
GuardState = Literal["normal", "taper", "capped", "stopped"]
ConfidenceSource = Literal["check", "logprob", "field", "judge", "agreement", "caller", "none"]
OutcomeSource = Literal["gold", "user", "judge", "transfer"]
Comparable = Literal["exact", "json", "number"]
Capability = Literal["tools", "vision", "schema", "logprobs"]
Message = Mapping[str, Any]


def usd_to_nusd(usd: Decimal) -> int:
    """Return USD as integer nano-dollars; fractions of a nano-dollar are cut."""
    return int(usd * NANO)


@record
class Usage:
    """Tokens of one request, as the provider counts them.

    Attributes:
        input_tokens: All prompt tokens, cached and cache-write ones included; None when not reported.
        cached_tokens: Prompt tokens read from the provider's cache.
        cache_write_5m_tokens: Prompt tokens written to the five-minute cache.
        cache_write_1h_tokens: Prompt tokens written to the one-hour cache.
        output_tokens: All completion tokens, reasoning included; None when not reported.
        reasoning_tokens: Completion tokens spent on reasoning.
        media_tokens: Prompt and completion tokens of sound, pictures or video, where the provider counts them apart.
        web_searches: Searches that the provider made for the answer; they cost extra, and no price row has them.
    """

    input_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int | None = None
    reasoning_tokens: int = 0
    media_tokens: int = 0
    web_searches: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One dated price row, in nano-dollars per million tokens (1 USD per million = 1_000_000_000).

    Attributes:
        input_nusd_per_m: Fresh prompt tokens.
        cached_nusd_per_m: Prompt tokens read from cache.
        write_5m_nusd_per_m: Prompt tokens written to the five-minute cache.
        write_1h_nusd_per_m: Prompt tokens written to the one-hour cache.
        output_nusd_per_m: Completion tokens.
        source: ``override``, ``genai-prices``, ``litellm`` or ``pessimistic``.
        date: ISO date from which the row holds, or the version of its list.
        reasoning_nusd_per_m: Completion tokens spent on reasoning, where they have a price of their own.
        max_output_tokens: The model's largest completion, when the list knows it.
        context_tokens: The largest input the model takes, when the list knows it.
        long_above_tokens: Input size above which every token of the request costs ``long_price``; None = never.
        long_price: The row for such long requests.
        is_stand_in: Whether it is the standard row in place of one for the service tier, which nobody has.
        is_text_only: Whether sound, pictures or video have prices of their own that are not in this row.
    """

    input_nusd_per_m: int
    cached_nusd_per_m: int
    write_5m_nusd_per_m: int
    write_1h_nusd_per_m: int
    output_nusd_per_m: int
    source: str
    date: str
    reasoning_nusd_per_m: int | None = None
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    long_above_tokens: int | None = None
    long_price: "Price | None" = None
    is_stand_in: bool = False
    is_text_only: bool = False


@record
class Abilities:
    """What a list knows of a model, beside its prices.

    Attributes:
        lacks: What it is known not to be able to do; what no list tells of is not in here.
        context_tokens: The largest input it takes; None = no list tells.
    """

    lacks: frozenset[Capability] = frozenset()
    context_tokens: int | None = None


@record
class Receipt:
    """What one request cost.

    Attributes:
        cost_nusd: The cost that counts, nano-dollars; None when it is not known.
        cost_status: How it is known.
        cost_source_nusd: What the provider itself reported, when it did.
        price: The price row it was computed with, when there was one.
    """

    cost_nusd: int | None
    cost_status: CostStatus
    cost_source_nusd: int | None = None
    price: Price | None = None


@record
class Confidence:
    """How sure an answer is, and who says so.

    Attributes:
        value: 0..1, or None when nothing told.
        source: Where the value comes from; ``none`` with ``value=None``.
        calibration: Id of the calibration that was applied; None = uncalibrated.
        raw: What the source itself said, 0..1, where a calibration has turned it into ``value``; else None.
        fields: What the answer says of its single fields, ``(name, 0..1)`` each, where the source is a mapping.
    """

    value: float | None
    source: ConfidenceSource
    calibration: str | None = None
    raw: float | None = None
    fields: tuple[tuple[str, float], ...] = ()


NO_CONFIDENCE = Confidence(value=None, source="none")


@record
class CheckResult:
    """Verdict of one free check.

    Attributes:
        name: The check's name.
        ms: How long it took, milliseconds.
        verdict: ``passed``, ``failed``, or ``error`` (the check itself raised; counts as failed).
        detail: Why, in the check's words; never logged, because it may quote the answer.
        grade: How well it passed, 0..1, where the check returned a number; else None.
    """

    name: str
    ms: float
    verdict: Literal["passed", "failed", "error"]
    detail: str | None = None
    grade: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The answer that a judge is asked about.

    Attributes:
        model: Who gave it, ``provider/model``.
        messages: What was asked.
        text: The answer.
    """

    model: str
    messages: Sequence[Message]
    text: str


@record
class Request:
    """One request to one target, as a backend receives it.

    Attributes:
        request_id: Unique per request sent.
        call_id: The call it is made for.
        payload_type: The call's payload type.
        model: ``provider/model`` of the target.
        messages: Chat messages, as the caller gave them.
        response_format: pydantic model class or JSON schema the answer should follow.
        timeout_s: Seconds after which the request is given up; of a stream, the longest wait for its next chunk.
        max_output_tokens: Limit of the target, if it has one.
        logprobs: Whether token log-probabilities are wanted, where the target has them.
        alternatives: Whether the likeliest other tokens are wanted beside them.
        only_known_logprobs: Whether they are wanted only where that is certain: a target that merely may have them
            could refuse the request for asking.
        params: The caller's extra keyword arguments, unchanged.
        api_base: Address of the target's API; None = the provider's own.
        api_key_env: Name of the environment variable with the target's key; None = the provider's usual one.
        role: Why it is made.
        question: What a judge is asked about, for role ``judge``; it stands in the messages too.
        total_s: Seconds that a stream may take from its start to its end; None = no such limit.
    """

    request_id: str
    call_id: str
    payload_type: str
    model: str
    messages: Sequence[Message]
    response_format: Any = None
    timeout_s: float = 60.0
    max_output_tokens: int | None = None
    logprobs: bool = False
    alternatives: bool = False
    only_known_logprobs: bool = False
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    api_base: str | None = None
    api_key_env: str | None = None
    role: Role = "serve"
    question: Question | None = None
    total_s: float | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        text: What it adds to the answer's text; "" of a piece that carries something else (a tool call, reasoning).
        raw: The client's own object.
    """

    text: str
    raw: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token of an answer, and what the model could have said instead.

    Attributes:
        text: The token.
        logprob: Its natural log-probability.
        others: The likeliest tokens in its place, ``(text, log-probability)`` each; it may be among them.
    """

    text: str
    logprob: float
    others: tuple[tuple[str, float], ...] = ()


@record
class PackShare:
    """One task's share of a request that it shared with others.

    Attributes:
        request_id: The request.
        items: How many tasks shared it.
        receipt: What this task's share cost.
        spoiled: Why there is no answer for it in the reply; None = there is one.
        said: What its answer says of itself beside its text, 0..1.
        alone_nusd: What a request of its own would have cost, nano-dollars; None = not known.
        alone_input_tokens: How large its prompt would have been, tokens.
    """

    request_id: str
    items: int
    receipt: Receipt
    spoiled: str | None = None
    said: float | None = None
    alone_nusd: int | None = None
    alone_input_tokens: int = 0


@record
class Response:
    """What a backend returns for one request.

    Attributes:
        text: The answer's text ("" when the model said nothing).
        usage: Tokens, as reported.
        response_model: The model that the provider says has answered.
        service_tier: The provider's service tier, when it said so.
        finish_reason: ``stop``, ``length``, ...
        cost_nusd: Cost reported by the provider itself, nano-dollars.
        token_logprobs: Natural log-probabilities of the answer's tokens, shape ``(n_tokens,)``; empty if none came.
        tokens: The same tokens with their texts, shape ``(n_tokens,)``; empty if the target did not tell these.
        ttft_ms: Time to the first token, for streams.
        raw: The client's own response object, for the caller.
        is_counted: Whether tokens were counted on this side, because the provider has not (yet) told them all.
        pack: Its share of the request, where that was shared with other tasks.
    """

    text: str
    usage: Usage
    response_model: str | None = None
    service_tier: str | None = None
    finish_reason: str | None = None
    cost_nusd: int | None = None
    token_logprobs: tuple[float, ...] = ()
    tokens: tuple[Token, ...] = ()
    ttft_ms: float | None = None
    raw: Any = None
    is_counted: bool = False
    pack: PackShare | None = None


@record
class AttemptRecord:
    """One request made for one call, as the caller may inspect it.

    Attributes:
        attempt_id: Its id in the log.
        request_id: The request it was part of.
        n: 1-based position in the call.
        role: Why it was made.
        tier: Tier of the target.
        model: The target's model.
        status: How it ended.
        error_type: Kind of the failure, if it failed.
        message: What the failure said, redacted; never logged.
        confidence: Confidence of its answer.
        checks: Verdicts of the free checks.
        receipt: What it cost.
        latency_ms: Wall time of the request.
        text: Text of its answer, if that was valid; never logged.
        parsed: The validated object of a valid answer, when ``response_format`` was given.
        about_attempt_id: The attempt whose answer a judge or a sample is about; None for all others.
    """

    attempt_id: str
    request_id: str
    n: int
    role: Role
    tier: str
    model: str
    status: AttemptStatus
    error_type: str | None
    message: str | None
    confidence: Confidence
    checks: tuple[CheckResult, ...]
    receipt: Receipt
    latency_ms: float
    text: str | None = field(default=None, repr=False)
    parsed: Any = field(default=None, repr=False)
    about_attempt_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowAnswer:
    """What became of one shadow: a request made for evidence, beside an answer that was served.

    Attributes:
        call_id: The call it was made for.
        attempt_id: Its own id, for ``router.outcome(call_id, attempt_id=...)``.
        payload_type: The call's payload type.
        tier: Tier of its target.
        model: The target's model.
        status: How it ended; only ``ok`` is an answer to compare or label.
        text: The answer's text when the status is ``ok``, else None; never logged.
        parsed: The validated object of such an answer, when ``response_format`` was given.
    """

    call_id: str
    attempt_id: str
    payload_type: str
    tier: str
    model: str
    status: AttemptStatus
    text: str | None = field(default=None, repr=False)
    parsed: Any = field(default=None, repr=False)


@record
class AnswerField:
    """One field of an answer that was merged from a draft and its corrections.

    Attributes:
        name: The field.
        confidence: How sure the attempt that gave it was of it, 0..1.
        attempt_id: That attempt.
        tier: Its tier.
        model: Its model.
    """

    name: str
    confidence: float
    attempt_id: str
    tier: str
    model: str


@record
class Answer:
    """The answer to one call.

    Attributes:
        text: The served answer's text.
        parsed: The validated object, when ``response_format`` was given; else None.
        confidence: How sure it is, and who says so.
        tier: Tier that served; ``pre_check`` where a free rule did.
        model: Model that served; ``pre_check/`` and its name where a free rule did.
        cost_nusd: Sum over all attempts of the call, nano-dollars; unknown costs count at their reserved estimate.
        attempts: Every attempt, in order; none of an answer that cost nothing.
        call_id: The call's id in the log.
        degraded: True when a limit moved the call below its plan.
        reason: Why this answer was served, e.g. ``accepted``, ``last_step``, ``escalation_failed``, ``guard``,
            ``content_policy``, ``pre_check``.
        latency_ms: Wall time of the whole call.
        raw: The client's own response object of the served attempt; None of an answer that cost nothing.
        cache_hit: Whether an earlier run has paid for it.
        fields: Where each field comes from, of an answer that was merged from a draft and its corrections; else ().
    """

    text: str
    parsed: Any
    confidence: Confidence
    tier: str
    model: str
    cost_nusd: int
    attempts: tuple[AttemptRecord, ...]
    call_id: str
    degraded: bool
    reason: str
    latency_ms: float
    raw: Any = None
    cache_hit: bool = False
    fields: tuple[AnswerField, ...] = ()

    @property
    def cost_usd(self) -> float:
        """What the call cost, in USD."""
        return self.cost_nusd / NANO
