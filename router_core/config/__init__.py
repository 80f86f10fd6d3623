"""The routing config: parse, validate, diff. No disk.

::

    parse(data, *, source, calibrations=()) -> RoutingConfig     bytes of a file; ConfigError with every problem at once
    dump(config) -> bytes                                        parse(dump(config)) == config
    unsupported(config) -> tuple[Problem, ...]                   what the schema admits and is not built yet
    diff(old, new) -> tuple[Change, ...]                         path, before, after
    config.rule_for(payload_type) -> PayloadType | None          the type's section, else the one of "*", else None
    config.limits_of(rule) -> CallLimits                         of a PayloadType, defaults applied
    config.confidence_of(rule) -> ConfidenceRule                 of a PayloadType, defaults applied
    config.tier_names -> tuple[str, ...]                         cheapest first
    config.content_hash -> str                                   of the bytes: the config_version of the log
    config.problem(location, message) -> Problem                 with the line, when read from bytes
"""

from router_core.config.model import ANY_TYPE, RoutingConfig, content_hash
from router_core.config.parse import parse
from router_core.config.sections import (
    SHADOW_BUDGET,
    Alerts,
    Budget,
    CacheRule,
    CallLimits,
    ConfidenceOverride,
    ConfidenceRule,
    Defaults,
    HealthRule,
    Holdback,
    Judge,
    LimitsOverride,
    LogRule,
    PackRule,
    PayloadType,
    Pessimistic,
    PreCheck,
    PriceOverride,
    Scope,
    Section,
    ShadowBudget,
    ShadowRule,
    Step,
    Storage,
    Target,
)
from router_core.config.support import unsupported
from router_core.config.write import Change, diff, dump

__all__ = [
    "ANY_TYPE",
    "SHADOW_BUDGET",
    "Alerts",
    "Budget",
    "CacheRule",
    "CallLimits",
    "Change",
    "ConfidenceOverride",
    "ConfidenceRule",
    "Defaults",
    "HealthRule",
    "Holdback",
    "Judge",
    "LimitsOverride",
    "LogRule",
    "PackRule",
    "PayloadType",
    "Pessimistic",
    "PreCheck",
    "PriceOverride",
    "RoutingConfig",
    "Scope",
    "Section",
    "ShadowBudget",
    "ShadowRule",
    "Step",
    "Storage",
    "Target",
    "content_hash",
    "diff",
    "dump",
    "parse",
    "unsupported",
]
