"""The sections of a routing config, as frozen models that forbid unknown keys."""

import datetime as dt
import re
import unicodedata
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

SHADOW_BUDGET = "shadow_budget"
"""The name under which spend on shadows is counted beside that of the budgets."""

_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "must be a number")
    return value


def _printable(value: str) -> str:
    if any(unicodedata.category(character) in _CONTROL for character in value):
        raise PydanticCustomError("control_character", "must not hold control characters")
    if value != value.strip():
        raise PydanticCustomError("outer_space", "must not begin or end with a space")
    return value


def _variable(value: str) -> str:
    # says nothing of the value: it may be the key itself
    if not _VARIABLE.fullmatch(value):
        message = "must be the name of an environment variable, such as OPENAI_API_KEY, not the key itself"
        raise PydanticCustomError("secret", message)
    return value


def _address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise PydanticCustomError("address", "must begin with http:// or https://")
    return value


Fraction = Annotated[float, Field(ge=0, le=1, strict=True)]
Usd = Annotated[Decimal, BeforeValidator(_no_flag), Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=1_000_000_000, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(strict=True, le=1_000_000_000)]
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Variable = Annotated[str, AfterValidator(_variable)]
Address = Annotated[str, AfterValidator(_address)]


class Section(BaseModel):
    """Base of every section: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(Section):
    """One callable model in a tier.

    Attributes:
        model: ``provider/model``.
        timeout_s: Seconds after which one request is given up.
        max_output_tokens: Largest completion asked for; required once a budget exists, default from the price book.
        capabilities: All that it can do of these; None = what the price lists know of it, and else everything.
        context_tokens: The largest input it takes, tokens; None = what the price lists know, and else any.
    """

    model: Name
    timeout_s: Seconds = 60.0
    max_output_tokens: Annotated[Count, Field(gt=0)] | None = None
    capabilities: tuple[Literal["tools", "vision", "schema", "logprobs"], ...] | None = None
    context_tokens: Annotated[Count, Field(gt=0)] | None = None
    api_base: Address | None = None
    api_key_env: Variable | None = None


class Step(Section):
    """One step of a path. A bare tier name stands for a step with defaults.

    Attributes:
        tier: Name of the tier.
        accept_at: Confidence at which an answer of this step is served; None = ``defaults.accept_at``.
        straight_to_last_below: Confidence below which the steps between this one and the last are left out.
    """

    tier: Name
    accept_at: Fraction | None = None
    straight_to_last_below: Fraction | None = None


def _step(value: object) -> object:
    return {"tier": value} if isinstance(value, str) else value


Steps = Annotated[tuple[Annotated[Step, BeforeValidator(_step)], ...], Field(min_length=1)]


Source = Literal["auto", "check", "logprob", "field", "judge", "agreement", "caller", "none"]
OnMissing = Literal["escalate", "accept"]


class ConfidenceRule(Section):
    """Where confidence comes from, and what a missing one means.

    Attributes:
        source: The signal to read; ``auto`` = the best free one that an answer offers.
        on_missing: What an answer without confidence means.
        field: Name of the answer's field that source ``field`` reads.
        samples: How many more answers of the same target source ``agreement`` asks for.
    """

    source: Source = "auto"
    on_missing: OnMissing = "escalate"
    field: Name = "confidence"
    samples: Count = Field(default=3, ge=1, le=20)


class ConfidenceOverride(Section):
    """What a payload type says otherwise about confidence; None = as in ``defaults.confidence``."""

    source: Source | None = None
    on_missing: OnMissing | None = None
    field: Name | None = None
    samples: Annotated[Count, Field(ge=1, le=20)] | None = None


class CallLimits(Section):
    """Limits of one call, over retries, fallbacks and escalations.

    Attributes:
        attempts: Most requests.
        deadline_s: Seconds after which nothing is sent; no request gets more time than is left of them.
        cost_usd: Most money, USD; None = no limit.
        retries: Further requests to the same target after a failure.
    """

    attempts: Count = Field(default=6, ge=1, le=100)
    deadline_s: Seconds = 120.0
    cost_usd: Usd | None = None
    retries: Count = Field(default=1, ge=0, le=10)


class LimitsOverride(Section):
    """What a payload type says otherwise about the limits of a call; None = as in ``defaults.limits``."""

    attempts: Annotated[Count, Field(ge=1, le=100)] | None = None
    deadline_s: Seconds | None = None
    cost_usd: Usd | None = None
    retries: Annotated[Count, Field(ge=0, le=10)] | None = None


class Defaults(Section):
    """Values for payload types that do not say otherwise. ``accept_at`` is an uncalibrated placeholder."""

    confidence: ConfidenceRule = ConfidenceRule()
    accept_at: Fraction = 0.8
    limits: CallLimits = CallLimits()


class ShadowRule(Section):
    """An unserved call made for evidence.

    Attributes:
        tier: Tier that is asked.
        on: After which served calls: ``accepted`` = those whose first step's answer was served without escalation.
        rate: Share of these calls, 0..1; of several rules for one tier and call the highest counts.
    """

    tier: Name
    on: Literal["accepted", "all"] = "accepted"
    rate: Fraction


class PackRule(Section):
    """How small tasks of one payload type share a request."""

    max_items: Count = Field(ge=2, le=1000)
    max_wait_s: Seconds = 0.05


class Holdback(Section):
    """A random share that stays on the old path after a move."""

    path: Steps
    rate: Fraction
    unit: Literal["run", "call"] = "call"
    until: dt.date
    proposal: Name | None = None


class PreCheck(Section):
    r"""A free rule that may answer without any model: exactly one of ``regex``, ``table`` and ``callable``.

    Attributes:
        name: What the log calls it.
        regex: Pattern that is searched for in the text of the last user message.
        answer: What a match of ``regex`` answers: text, or data that is written as JSON; ``\g<group>`` in it stands
            for what a group has matched. Left out = the pattern's group ``answer``.
        table: Answers by the text of the last user message, without the space around it.
        callable: ``module:function``; gets the messages and returns the answer, or None.
    """

    name: Name
    regex: str | None = None
    answer: Any = None
    table: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    callable: str | None = None


class PayloadType(Section):
    """How calls of one payload type are routed.

    Attributes:
        error_cost_usd: What a wrong answer costs; None = no price set, shown as such.
        min_tier: Lowest tier a limit may degrade to; None = the lowest tier there is.
        latency_slo_s: Seconds the optimizer keeps p95 under.
    """

    path: Steps
    critical: Flag = False
    escalation: Literal["redo", "correct"] = "redo"
    error_cost_usd: Usd | None = None
    confidence: ConfidenceOverride | None = None
    limits: LimitsOverride | None = None
    calibration: Name | None = None
    shadow: tuple[ShadowRule, ...] = ()
    pack: PackRule | None = None
    holdback: Holdback | None = None
    comparable: Literal["exact", "json", "number"] | None = None
    min_tier: Name | None = None
    latency_slo_s: Seconds | None = None
    group: Name | None = None
    pre_checks: tuple[PreCheck, ...] = ()


class Scope(Section):
    """What a budget counts; empty = everything."""

    payload_types: tuple[Name, ...] = ()
    group: Name | None = None
    tag: dict[Name, Name] | None = None
    run: Flag = False


class Budget(Section):
    """One spend limit.

    Attributes:
        usd: The limit, USD per period.
        critical_reserve_usd: Part of it kept for critical calls.
        taper_from: Share of (limit - reserve) from which optional spending stops; None = no taper.
        stop_usd: Spend at which non-critical calls are rejected; None = never.
    """

    name: Name
    per: Literal["day", "week", "month", "rolling"] = "day"
    usd: Usd
    on_limit: Literal["cheapest", "reject"] = "cheapest"
    critical_reserve_usd: Usd = Decimal(0)
    taper_from: Fraction | None = None
    stop_usd: Usd | None = None
    on_store_failure: Literal["closed", "open"] = "closed"
    switch_at: Literal["call", "task"] = "call"
    scope: Scope = Scope()
    window_h: Annotated[Count, Field(gt=0)] | None = None


class ShadowBudget(Section):
    """Limit of all shadows together.

    Attributes:
        usd: Most that they may cost per period, USD; what is left must cover a shadow's estimate.
    """

    per: Literal["day"] = "day"
    usd: Usd


class PriceOverride(Section):
    """A price in USD per million tokens; 0 declares a model free. Cached and cache-write default to ``input``."""

    input: Usd
    output: Usd
    cached: Usd | None = None
    write_5m: Usd | None = None
    write_1h: Usd | None = None


class PessimisticPrice(PriceOverride):
    """The price of what nobody prices, USD per million tokens: never 0, which would make the unknown free."""

    input: Annotated[Usd, Field(gt=0)]
    output: Annotated[Usd, Field(gt=0)]


class Pessimistic(Section):
    """The price that unpriced models count at."""

    pessimistic: PessimisticPrice


class LogRule(Section):
    """How the call log is kept."""

    durability: Literal["fast", "fsync"] = "fast"


class Storage(Section):
    """Where the call log ends up."""

    sink: Literal["duckdb", "ducklake"] = "duckdb"
    catalog: str | None = None
    data: str | None = None


class Judge(Section):
    """A validator model, for payload types whose confidence has the source ``judge``.

    Attributes:
        tier: Tier of its targets; the first usable one that may judge the answer is asked.
        prompt: What it is told, instead of the built-in text; its reply must be ``{"confidence": 0..1}`` all the same.
        same_family: Whether a model may judge answers of its own family.
    """

    tier: Name
    prompt: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    same_family: Flag = False


def _unpriced(value: object) -> object:
    if isinstance(value, str) and value != "error":
        raise PydanticCustomError("unpriced", "must be error, or pessimistic with the prices to count at")
    return value


OnUnpriced = Annotated[Literal["error"] | Pessimistic, BeforeValidator(_unpriced)]


class CacheRule(Section):
    """The cache for retries: valid answers of calls with a run and a step, kept in the home.

    Attributes:
        ttl_s: How long an answer is kept, seconds.
        max_mb: Size of the file, MB, from which the oldest answers go.
    """

    enabled: Flag = False
    ttl_s: Seconds = 86_400.0
    max_mb: Count = Field(default=256, gt=0)


class Breaker(Section):
    """When so many calls of a payload type would leave a tier upwards that none does any more.

    Calls that fail there and calls with unsure answers are counted apart. Critical payload types are never held.

    Attributes:
        window_s: Time over which calls are counted, seconds.
        calls: Fewest calls within it that are judged at all.
        excess: How far above the usual share, as a part of what is left up to all calls; for failures the usual is 0.
        settle_s: Time after which a share of unsure answers that stays is the usual one, seconds.
    """

    enabled: Flag = True
    window_s: Seconds = 60.0
    calls: Count = Field(default=20, ge=2)
    excess: Annotated[Fraction, Field(gt=0, lt=1)] = 0.5
    settle_s: Seconds = 600.0


class HealthRule(Section):
    """When a failing target is left alone, and when a wave of escalations is stopped.

    Attributes:
        failures: Consecutive failures after which a target cools down.
        cooldown_s: How long it then stays unused, seconds; twice as long each time without an answer in between.
        longest_cooldown_s: How long at most, seconds, unless the provider itself asks for more.
    """

    failures: Count = Field(default=3, ge=1)
    cooldown_s: Seconds = 30.0
    longest_cooldown_s: Seconds = 900.0
    breaker: Breaker = Breaker()


class Alerts(Section):
    """Where alerts go, beside the log of the background process.

    Attributes:
        webhook: Address that each is posted to, signed with the key in ``TIERWISE_WEBHOOK_KEY``.
        call_above_usd: Cost of one call from which it is told of; None = no call is.
    """

    webhook: Address | None = None
    call_above_usd: Usd | None = None
