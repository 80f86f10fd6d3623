"""The demo's scenario: figures from ``data/demo.json``, placed on type names and days by a seed. Pure."""

import datetime as dt
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from router_core.decide.guard import midnight_us

STAGES = ("extract", "classify", "decide")
_HOUR_S = 3600.0
_SATURDAY = 5
_NIGHT_SHARE = 0.12
_CHARS_PER_TOKEN = 4
_GOES_UP = 0.125


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPlan:
    """Which share of a type's accepted answers is compared with another tier's.

    Attributes:
        tier: The other tier.
        rate: The share, 0..1.
    """

    tier: str
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TypePlan:
    """How one payload type of the demo is routed and how good each tier is at it.

    Attributes:
        name: The payload type.
        stage: ``extract``, ``classify`` or ``decide``.
        finding: The finding that is planted on it, if any.
        path: Names of its tiers.
        critical: Whether limits leave it alone.
        accuracy: Share of right answers by tier.
        error_cost_usd: What a wrong answer costs.
        label_rate: Share of its calls that get outcomes.
        shadows: What is asked beside it for evidence.
        comparable: How two of its answers are compared.
        unscored: Whether its answers' confidence is not read; then no cheaper step before it can escalate.
    """

    name: str
    stage: str
    finding: str | None
    path: tuple[str, ...]
    critical: bool
    accuracy: Mapping[str, float]
    error_cost_usd: float
    label_rate: float
    shadows: tuple[ShadowPlan, ...]
    comparable: str
    unscored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualSpend:
    """What a usual weekday costs, USD.

    Attributes:
        all: Everything.
        critical: The part of critical calls, their shadows included.
        shadows: The part of shadows.
    """

    all: float
    critical: float
    shadows: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A demo with every choice of the seed made.

    Attributes:
        figures: The figures it was made from.
        seed: The seed.
        first_day: First local day.
        last_day: Last local day.
        zone: Zone of the days.
        types: The payload types by name.
        workflows: Payload types of each domain's documents, in working order, with the domain's share of documents.
        burst_days: Days with far more documents, on which the limit is hit.
        outage: First and last instant of the provider outage, microseconds since the epoch.
    """

    figures: Mapping[str, Any]
    seed: int
    first_day: dt.date
    last_day: dt.date
    zone: ZoneInfo
    types: Mapping[str, TypePlan]
    workflows: tuple[tuple[float, tuple[str, ...]], ...]
    burst_days: frozenset[dt.date]
    outage: tuple[int, int]

    @property
    def days(self) -> tuple[dt.date, ...]:
        """All days in order."""
        count = (self.last_day - self.first_day).days + 1
        return tuple(self.first_day + dt.timedelta(index) for index in range(count))

    @property
    def planted(self) -> dict[str, Any]:
        """What was planted where, for the marker file and for tests."""
        found = {plan.finding: plan.name for plan in self.types.values() if plan.finding is not None}
        return {
            **found,
            "burst_days": sorted(day.isoformat() for day in self.burst_days),
            "outage_us": list(self.outage),
            "outage_provider": self.figures["outage"]["provider"],
        }


def make_scenario(figures: Mapping[str, Any], seed: int, last_day: dt.date, days: int | None = None) -> Scenario:
    """Return the scenario of a seed.

    Args:
        figures: Contents of ``data/demo.json``.
        seed: Places findings on type names, bursts and the outage on days.
        last_day: Last local day.
        days: How many days; default as in the figures.
    """
    chance = random.Random(f"scenario {seed}")
    zone, length = ZoneInfo(figures["timezone"]), days or figures["days"]
    first_day = last_day - dt.timedelta(length - 1)
    domains = list(figures["domains"])
    chance.shuffle(domains)
    *main, rare = domains
    types: dict[str, TypePlan] = {}
    for stage in STAGES:
        slots = list(figures["slots"][stage])
        chance.shuffle(slots)
        for domain, slot in zip(main, slots, strict=True):
            types[f"{domain}.{stage}"] = _type_plan(f"{domain}.{stage}", stage, slot, figures)
    rare_type = f"{rare}.extract"
    types[rare_type] = _type_plan(rare_type, "extract", figures["slots"]["rare"][0], figures)
    workflows = [tuple(f"{domain}.{stage}" for stage in STAGES) for domain in main] + [(rare_type,)]
    eligible = [first_day + dt.timedelta(index) for index in range(length)]
    weekdays = [day for day in eligible if day.weekday() < _SATURDAY] or eligible
    bursts = min(figures["burst_days"], max(len(weekdays) // 4, 1))
    burst_days = frozenset(chance.sample(weekdays, bursts))
    quiet = [day for day in weekdays if day not in burst_days] or weekdays
    begin = dt.datetime.combine(chance.choice(quiet), dt.time(9), zone)
    start_us = round(begin.timestamp() * 1e6)
    return Scenario(
        figures=figures,
        seed=seed,
        first_day=first_day,
        last_day=last_day,
        zone=zone,
        types=types,
        workflows=tuple(zip(figures["domain_weights"], workflows, strict=True)),
        burst_days=burst_days,
        outage=(start_us, start_us + round(figures["outage"]["hours"] * _HOUR_S * 1e6)),
    )


def arrivals(scenario: Scenario, day: dt.date) -> list[tuple[int, int]]:
    """Return (instant in microseconds, index of the workflow) of a day's documents, in order of time.

    Most arrive in working hours; a burst day has ``burst_factor`` times as many.
    """
    chance = random.Random(f"arrivals {scenario.seed} {day.isoformat()}")
    figures = scenario.figures
    base = figures["documents_per_weekday" if day.weekday() < _SATURDAY else "documents_per_weekend_day"]
    factor = figures["burst_factor"] if day in scenario.burst_days else 1.0
    count = round(base * factor * chance.uniform(0.94, 1.06))
    midnight = midnight_us(day, scenario.zone) / 1e6
    length_s = midnight_us(day + dt.timedelta(1), scenario.zone) / 1e6 - midnight
    weights = [weight for weight, _ in scenario.workflows]
    chosen = chance.choices(range(len(weights)), weights, k=count)
    return sorted((round((midnight + _hour_of_day(chance) / 24 * length_s) * 1e6), index) for index in chosen)


def _hour_of_day(chance: random.Random) -> float:
    """Return an hour 0..24: a bell around 13:30 with a flat night below it."""
    if chance.random() < _NIGHT_SHARE:
        return chance.uniform(0, 23.5)
    return min(max(chance.gauss(13.5, 3.2), 0.0), 23.5)


def routing_yaml(scenario: Scenario) -> bytes:
    """Return the demo's routing config, as a person would write it."""
    figures = scenario.figures
    usual = usual_spend(scenario)
    limit, reserve = usual.all * figures["limit_factor"], usual.critical
    shadow_limit = usual.shadows * figures["shadow_limit_factor"]
    lines = [
        "# Routing of the simulated demo; every model, price and payload type here is invented.",
        "version: 1",
        f"timezone: {figures['timezone']}",
        "tiers:",
    ]
    for tier in ("cheap", "mid", "top"):
        models = [model for model, spec in figures["models"].items() if spec["tier"] == tier]
        targets = ", ".join(f"{{model: {model}, timeout_s: 30, max_output_tokens: 4000}}" for model in models)
        lines.append(f"  {tier}: [{targets}]")
    lines += ["defaults:", "  accept_at: 0.8          # uncalibrated placeholder", "payload_types:"]
    for plan in scenario.types.values():
        lines += [f"  {plan.name}:", *(f"    {line}" for line in _type_lines(plan))]
    lines += [
        "budgets:",
        f"  - {{name: daily, per: day, usd: {limit:.2f}, on_limit: cheapest, critical_reserve_usd: {reserve:.2f}}}",
        f"shadow_budget: {{per: day, usd: {shadow_limit:.2f}}}",
        "prices:                   # USD per million tokens",
    ]
    for model, spec in figures["models"].items():
        lines.append(f"  {model}: {{input: {spec['input']}, output: {spec['output']}}}")
    return ("\n".join(lines) + "\n").encode()


def _type_lines(plan: TypePlan) -> list[str]:
    lines = [f"path: [{', '.join(plan.path)}]", f"error_cost_usd: {plan.error_cost_usd}"]
    if plan.critical:
        lines.append("critical: true")
    if plan.unscored:
        lines.append("confidence: {source: none, on_missing: accept}")
    if plan.shadows:
        rules = ", ".join(f"{{tier: {each.tier}, on: accepted, rate: {each.rate}}}" for each in plan.shadows)
        lines += [f"comparable: {plan.comparable}", f"shadow: [{rules}]"]
    return lines


def usual_spend(scenario: Scenario) -> UsualSpend:
    """Return what a usual weekday costs; one call in eight goes a step up."""
    figures = scenario.figures
    everything = critical = shadows = 0.0
    for weight, workflow in scenario.workflows:
        for name in workflow:
            plan = scenario.types[name]
            calls = weight * figures["documents_per_weekday"]
            steps = [request_usd(plan.stage, tier, figures) for tier in plan.path]
            accepted = 1.0 if len(steps) == 1 else 1 - _GOES_UP
            beside = (
                calls * accepted * sum(each.rate * request_usd(plan.stage, each.tier, figures) for each in plan.shadows)
            )
            usd = calls * (steps[0] + _GOES_UP * sum(steps[1:])) + beside
            everything += usd
            critical += usd if plan.critical else 0.0
            shadows += beside
    return UsualSpend(all=everything, critical=critical, shadows=shadows)


def request_usd(stage: str, tier: str, figures: Mapping[str, Any]) -> float:
    """Return what one request of a stage costs on the first model of a tier, USD."""
    prompt = figures["prompts"][stage]
    spec = next(spec for spec in figures["models"].values() if spec["tier"] == tier)
    tokens_in, tokens_out = prompt["input_chars"] / _CHARS_PER_TOKEN, prompt["output_tokens"] * spec["output_factor"]
    return (spec["input"] * tokens_in + spec["output"] * tokens_out) / 1e6


def prompt_of(plan: TypePlan, figures: Mapping[str, Any], document: str) -> list[dict[str, str]]:
    """Return the messages of one task: a long system prompt that all of a type share, and the document's name."""
    system = _system_prompt(plan.stage, plan.name, figures["prompts"][plan.stage]["input_chars"])
    return [{"role": "system", "content": system}, {"role": "user", "content": document}]


@lru_cache(maxsize=64)
def _system_prompt(stage: str, name: str, size: int) -> str:
    rule = f"You {stage} documents of type {name}. Answer as JSON with the keys answer and confidence. "
    return (rule * math.ceil(size / len(rule)))[:size]


def _type_plan(name: str, stage: str, slot: Mapping[str, Any], figures: Mapping[str, Any]) -> TypePlan:
    return TypePlan(
        name=name,
        stage=stage,
        finding=slot["finding"],
        path=tuple(slot["path"]),
        critical=slot.get("critical", False),
        accuracy=slot["accuracy"],
        error_cost_usd=slot["error_cost_usd"],
        label_rate=slot.get("label_rate", figures["label_rate"]),
        shadows=tuple(ShadowPlan(tier=each["tier"], rate=each["rate"]) for each in slot.get("shadow", ())),
        comparable=figures["prompts"][stage]["comparable"],
        unscored=slot.get("unscored", False),
    )
