"""A routing config → one ready plan per payload type, compiled once per config version."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, get_args

from router_core.config import ANY_TYPE, SHADOW_BUDGET
from router_core.config.paid import may_judge
from router_core.decide.breaker import BreakerRule
from router_core.decide.budgets import limits_of
from router_core.decide.calibration import Calibration, Curve, Entry, Isotonic, Logistic
from router_core.decide.guard import EVERYTHING, Limit
from router_core.decide.health import CoolDown
from router_core.decide.judging import PROMPT
from router_core.decide.plan import HoldbackRule, JudgeRule, PackRule, Plan, PlanStep, PlanTarget, ShadowRule
from router_core.types import Abilities, Capability, usd_to_nusd

if TYPE_CHECKING:
    from router_core.config import PayloadType, RoutingConfig, Step, Target
    from router_core.config.calibration import IsotonicEntry, LogisticEntry

AbilityFunction = Callable[[str], Abilities]
"""Gets a model; returns what is known of it beside the config."""

_Key = tuple[str, str | None, str | None]
_ALL: Final[frozenset[Capability]] = frozenset(get_args(Capability))


def _nothing_known(model: str) -> Abilities:  # noqa: ARG001 - an AbilityFunction
    return Abilities()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """Everything the router needs of one config version.

    Attributes:
        by_type: Plan per payload type, before any limit.
        other: Plan of payload types that the config does not name; None = they are refused.
        tiers: One step per tier, cheapest first, at the default threshold.
        limits: The spend limits; none = nothing ever blocks.
        shadow_limit: The daily limit of all shadows together; without a shadow budget it is 0.
    """

    by_type: dict[str, Plan]
    other: Plan | None
    tiers: tuple[PlanStep, ...]
    limits: tuple[Limit, ...]
    shadow_limit: Limit

    @property
    def limit(self) -> Limit | None:
        """The first daily limit on everything; None = there is none."""
        return next((one for one in self.limits if one.per == "day" and one.scope == EVERYTHING), None)

    def plan_for(self, payload_type: str) -> Plan | None:
        """Return the plan of a payload type, or None when it is unknown and nothing stands for unknown ones."""
        known = self.by_type.get(payload_type)
        if known is None and self.other is not None:
            return replace(self.other, payload_type=payload_type)
        return known


def compile_plans(
    config: "RoutingConfig", abilities: AbilityFunction = _nothing_known, zone: dt.tzinfo = dt.UTC
) -> Plans:
    """Return the plans of a config.

    Args:
        config: The config.
        abilities: Tells what is known of a model; what the config says of a target comes before that.
        zone: Zone of days.
    """
    numbers = _numbers(config)
    tiers = {tier: _tier_step(config, tier, abilities, numbers) for tier in config.tiers}
    by_type = {
        name: _plan(config, name, rule, tiers, zone) for name, rule in config.payload_types.items() if name != ANY_TYPE
    }
    fallback = config.payload_types.get(ANY_TYPE)
    return Plans(
        by_type=by_type,
        other=None
        if fallback is None
        else replace(_plan(config, ANY_TYPE, fallback, tiers, zone), reason="default_type"),
        tiers=tuple(tiers.values()),
        limits=limits_of(config),
        shadow_limit=Limit(
            name=SHADOW_BUDGET,
            limit_nusd=0 if config.shadow_budget is None else usd_to_nusd(config.shadow_budget.usd),
        ),
    )


def cool_down_of(config: "RoutingConfig") -> CoolDown:
    """Return when targets cool down."""
    rule = config.health
    return CoolDown(
        failures=rule.failures,
        first_us=round(rule.cooldown_s * 1e6),
        longest_us=round(rule.longest_cooldown_s * 1e6),
    )


def breaker_rule_of(config: "RoutingConfig") -> BreakerRule:
    """Return when the escalation breaker opens."""
    rule = config.health.breaker
    return BreakerRule(
        enabled=rule.enabled,
        window_us=round(rule.window_s * 1e6),
        calls=rule.calls,
        excess=rule.excess,
        settle_us=round(rule.settle_s * 1e6),
    )


def _plan(config: "RoutingConfig", name: str, rule: "PayloadType", tiers: dict[str, PlanStep], zone: dt.tzinfo) -> Plan:
    confidence = config.confidence_of(rule)
    limits = config.limits_of(rule)
    steps = tuple(_step(config, step, tiers[step.tier]) for step in rule.path)
    held = _holdback(config, rule, tiers, zone)
    return Plan(
        payload_type=name,
        config_version=config.content_hash,
        steps=steps,
        tier_planned=steps[0].tier,
        attempts=limits.attempts,
        deadline_us=round(limits.deadline_s * 1e6),
        cost_nusd=None if limits.cost_usd is None else usd_to_nusd(limits.cost_usd),
        retries=limits.retries,
        confidence_source=confidence.source,
        confidence_field=confidence.field,
        samples=confidence.samples,
        judge=_judge(config, (*steps, *(() if held is None else held.steps)), tiers)
        if confidence.source == "judge"
        else None,
        is_calibrated=rule.calibration is not None,
        calibration=_calibration(config, name, rule),
        accept_uncalibrated_at=config.defaults.accept_at,
        on_missing=confidence.on_missing,
        escalation=rule.escalation,
        critical=rule.critical,
        error_cost_nusd=None if rule.error_cost_usd is None else usd_to_nusd(rule.error_cost_usd),
        min_tier=rule.min_tier,
        # of several limits the tightest is named, which differs from call to call
        budget=config.budgets[0].name if config.budgets else None,
        shadows=tuple(ShadowRule(tier=each.tier, on=each.on, rate=each.rate) for each in rule.shadow),
        comparable=rule.comparable,
        holdback_rule=held,
        pack=None
        if rule.pack is None
        else PackRule(
            max_items=rule.pack.max_items,
            max_wait_s=rule.pack.max_wait_s,
            confidence_source=confidence.source,
            confidence_field=confidence.field,
        ),
    )


def _holdback(
    config: "RoutingConfig", rule: "PayloadType", tiers: dict[str, PlanStep], zone: dt.tzinfo
) -> HoldbackRule | None:
    held = rule.holdback
    if held is None:
        return None
    ends = dt.datetime.combine(held.until, dt.time(), zone)
    return HoldbackRule(
        name=held.proposal or "holdback",
        steps=tuple(_step(config, step, tiers[step.tier]) for step in held.path),
        rate=held.rate,
        unit=held.unit,
        until_us=round(ends.timestamp() * 1e6),
    )


def _judge(config: "RoutingConfig", steps: tuple[PlanStep, ...], tiers: dict[str, PlanStep]) -> JudgeRule | None:
    rule = config.judge
    if rule is None:
        return None
    step = tiers[rule.tier]
    judges = [target.model for target in step.targets]
    answering = {target.model for each in steps for target in each.targets}
    return JudgeRule(
        step=step,
        prompt=rule.prompt or PROMPT,
        may_judge={
            model: frozenset(judge for judge in judges if rule.same_family or may_judge(judge, model))
            for model in sorted(answering)
        },
    )


def _calibration(config: "RoutingConfig", name: str, rule: "PayloadType") -> Calibration | None:
    file = config.calibration_of(rule)
    if file is None or rule.calibration is None:
        return None
    entries = tuple(
        Entry(
            model=entry.model,
            source=entry.source,
            curve=_curve(entry),
            response_model=entry.response_model,
            judge=entry.judge,
        )
        for entry in file.entries
        if entry.payload_type == name
    )
    # a curve for one snapshot goes before one for whichever answers
    ordered = sorted(entries, key=lambda entry: entry.response_model is None)
    return Calibration(calibration_id=rule.calibration, entries=tuple(ordered))


def _curve(entry: "LogisticEntry | IsotonicEntry") -> Curve:
    return Logistic(a=entry.a, b=entry.b) if entry.method == "logistic" else Isotonic(knots=entry.knots)


def _step(config: "RoutingConfig", step: "Step", tier: PlanStep) -> PlanStep:
    return replace(
        tier,
        accept_at=config.defaults.accept_at if step.accept_at is None else step.accept_at,
        straight_to_last_below=step.straight_to_last_below,
    )


def _numbers(config: "RoutingConfig") -> dict[_Key, int]:
    """Return the number of each target among those with its model; one that stands in two tiers is one target."""
    numbers: dict[_Key, int] = {}
    seen: dict[str, int] = {}
    for target in (each for targets in config.tiers.values() for each in targets):
        if _key(target) not in numbers:
            seen[target.model] = numbers[_key(target)] = seen.get(target.model, 0) + 1
    return numbers


def _key(target: "Target") -> _Key:
    return target.model, target.api_base, target.api_key_env


def _tier_step(config: "RoutingConfig", tier: str, abilities: AbilityFunction, numbers: dict[_Key, int]) -> PlanStep:
    targets = tuple(_target(target, abilities(target.model), numbers[_key(target)]) for target in config.tiers[tier])
    return PlanStep(tier=tier, targets=targets, accept_at=config.defaults.accept_at)


def _target(target: "Target", known: Abilities, number: int) -> PlanTarget:
    said = target.capabilities
    return PlanTarget(
        model=target.model,
        timeout_s=target.timeout_s,
        max_output_tokens=target.max_output_tokens,
        api_base=target.api_base,
        api_key_env=target.api_key_env,
        context_tokens=known.context_tokens if target.context_tokens is None else target.context_tokens,
        lacks=known.lacks if said is None else _ALL.difference(said),
        number=number,
    )
