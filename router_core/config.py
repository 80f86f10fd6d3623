"""The routing config: parse, validate, diff. No disk."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Section(BaseModel):
    """Base of every section: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(Section):
    """One callable model in a tier.

    Attributes:
        model: ``provider/model``.
        timeout_s: Seconds after which one request is given up.
        max_output_tokens: Largest completion asked for; required once a budget exists, default from the price book.
    """

    model: Name
    timeout_s: Seconds = 60.0
    max_output_tokens: int | None = Field(default=None, gt=0)
    capabilities: tuple[Literal["tools", "vision", "schema", "logprobs"], ...] | None = None
    context_tokens: int | None = Field(default=None, gt=0)
    api_base: str | None = None
    api_key_env: str | None = None


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


Path = Annotated[tuple[Annotated[Step, BeforeValidator(_step)], ...], Field(min_length=1)]


class ConfidenceRule(Section):
    """Where confidence comes from, and what a missing one means."""

    source: Literal["auto", "check", "logprob", "field", "judge", "agreement", "caller", "none"] = "auto"
    on_missing: Literal["escalate", "accept"] = "escalate"
    field: Name = "confidence"


class CallLimits(Section):
    """Limits of one call, over retries, fallbacks and escalations."""

    attempts: int = Field(default=6, ge=1, le=100)
    deadline_s: Seconds = 120.0
    cost_usd: Usd | None = None
    retries: int = Field(default=1, ge=0, le=10)


class Defaults(Section):
    """Values for payload types that do not say otherwise. ``accept_at`` is an uncalibrated placeholder."""

    confidence: ConfidenceRule = ConfidenceRule()
    accept_at: Fraction = 0.8
    limits: CallLimits = CallLimits()


class ShadowRule(Section):
    """An unserved call made for evidence."""

    tier: Name
    on: Literal["accepted", "all"] = "accepted"
    rate: Fraction


class PackRule(Section):
    """How small tasks of one payload type share a request."""

    max_items: int = Field(ge=2, le=1000)
    max_wait_s: Seconds = 0.05


class Holdback(Section):
    """A random share that stays on the old path after a move."""

    path: Path
    rate: Fraction
    unit: Literal["run", "call"] = "call"
    until: dt.date
    proposal: str | None = None


class PreCheck(Section):
    """A free rule that may answer without any model."""

    name: Name
    regex: str | None = None
    table: dict[str, Any] | None = None
    callable: str | None = None


class PayloadType(Section):
    """How calls of one payload type are routed.

    Attributes:
        error_cost_usd: What a wrong answer costs; None = no price set, shown as such.
        min_tier: Lowest tier a limit may degrade to; None = the lowest tier there is.
        latency_slo_s: Seconds the optimizer keeps p95 under.
    """

    path: Path
    critical: bool = False
    escalation: Literal["redo", "correct"] = "redo"
    error_cost_usd: Usd | None = None
    confidence: ConfidenceRule | None = None
    limits: CallLimits | None = None
    calibration: str | None = None
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
    tag: dict[str, str] | None = None
    run: bool = False


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
    window_h: int | None = Field(default=None, gt=0)


class ShadowBudget(Section):
    """Limit of all shadows together."""

    per: Literal["day"] = "day"
    usd: Usd


class PriceOverride(Section):
    """A price in USD per million tokens; 0 declares a model free. Cached and cache-write default to ``input``."""

    input: Usd
    output: Usd
    cached: Usd | None = None
    write_5m: Usd | None = None
    write_1h: Usd | None = None


class Pessimistic(Section):
    """The price that unpriced models count at."""

    pessimistic: PriceOverride


class LogRule(Section):
    """How the call log is kept."""

    durability: Literal["fast", "fsync"] = "fast"


class Storage(Section):
    """Where the call log ends up."""

    sink: Literal["duckdb", "ducklake"] = "duckdb"
    catalog: str | None = None
    data: str | None = None


class Judge(Section):
    """A validator model."""

    tier: Name | None = None


class CacheRule(Section):
    """The cache for retries."""

    enabled: bool = False
    ttl_s: Seconds = 86_400.0
    max_mb: int = Field(default=256, gt=0)


class HealthRule(Section):
    """When a failing target is left alone.

    Attributes:
        failures: Consecutive failures after which a target cools down.
        cooldown_s: How long it then stays unused, seconds.
    """

    failures: int = Field(default=3, ge=1)
    cooldown_s: Seconds = 30.0


class Alerts(Section):
    """Where alerts go."""

    webhook: str | None = None
    call_above_usd: Usd | None = None


class RoutingConfig(Section):
    """A whole routing config. ``tiers`` are ordered, cheapest first; targets stand in fallback order.

    Attributes:
        version: Version of the schema, always 1.
        timezone: IANA zone of day boundaries.
        content_hash: First 12 hex digits of the SHA-256 of the file's bytes: the ``config_version`` of the log.
    """

    version: Literal[1]
    timezone: str = "UTC"
    tiers: dict[Name, Annotated[tuple[Target, ...], Field(min_length=1)]] = Field(min_length=1)
    defaults: Defaults = Defaults()
    payload_types: dict[Name, PayloadType] = Field(min_length=1)
    budgets: tuple[Budget, ...] = ()
    shadow_budget: ShadowBudget | None = None
    prices: dict[Name, PriceOverride] = Field(default_factory=dict)
    on_unpriced: Literal["error"] | Pessimistic = "error"
    judge: Judge | None = None
    cache: CacheRule = CacheRule()
    health: HealthRule = HealthRule()
    log: LogRule = LogRule()
    storage: Storage = Storage()
    alerts: Alerts = Alerts()
    content_hash: str = ""
