"""What the schema cannot say: tiers that exist, paths that go up, limits that can be kept.

The checks read the plain data and not the models, so that a wrong type in one place hides no problem in another: each
small section is read leniently, without the keys that its own schema refuses.
"""

import zoneinfo
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from router_core.config.messages import suggestion
from router_core.config.paid import SOURCES, PaidRule, paid_problems
from router_core.config.rules import pre_check_problems
from router_core.config.sections import (
    SHADOW_BUDGET,
    Budget,
    CallLimits,
    ConfidenceOverride,
    ConfidenceRule,
    Defaults,
    Judge,
    LimitsOverride,
    Scope,
    Section,
    Step,
    Target,
)
from router_core.config.tree import Location
from router_core.types import PRE_CHECK

Found = tuple[Location, str]
S = TypeVar("S", bound=Section)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    tiers: tuple[str, ...]
    payload_types: tuple[str, ...]
    groups: tuple[str, ...]
    accept_at: float | None
    calibrations: tuple[str, ...]
    has_shadow_budget: bool
    confidence: ConfidenceRule
    attempts: int
    judge: Judge | None
    models: Mapping[str, tuple[str, ...]]


def semantic_problems(raw: Mapping[str, Any], calibrations: Collection[str]) -> list[Found]:
    """Return the problems of a config's plain data beyond its schema, in no particular order."""
    types = _mapping(raw.get("payload_types"))
    defaults = _mapping(raw.get("defaults"))
    groups = {group for each in types.values() if isinstance(group := _mapping(each).get("group"), str)}
    facts = _Facts(
        tiers=tuple(key for key in _mapping(raw.get("tiers")) if isinstance(key, str) and key),
        payload_types=tuple(key for key in types if isinstance(key, str) and key),
        groups=tuple(sorted(groups)),
        accept_at=_default_accept_at(defaults),
        calibrations=tuple(sorted(calibrations)),
        has_shadow_budget=raw.get("shadow_budget") is not None,
        confidence=_lenient(ConfidenceRule, defaults.get("confidence")) or ConfidenceRule(),
        attempts=(_lenient(CallLimits, defaults.get("limits")) or CallLimits()).attempts,
        judge=_lenient(Judge, raw.get("judge")),
        models={
            name: tuple(target.model for item in _items(each) if (target := _lenient(Target, item)) is not None)
            for name, each in _mapping(raw.get("tiers")).items()
            if isinstance(name, str)
        },
    )
    return [
        *_timezone(raw.get("timezone")),
        *_tier_names(_mapping(raw.get("tiers"))),
        *_targets(_mapping(raw.get("tiers"))),
        *_limits(("defaults",), defaults),
        *(found for name, each in types.items() for found in _payload_type(("payload_types", name), each, facts)),
        *_budgets(raw.get("budgets"), facts),
        *_known(("judge", "tier"), _mapping(raw.get("judge")).get("tier"), "tier", facts.tiers),
    ]


def _mapping(value: object) -> Mapping[Any, Any]:
    return cast("Mapping[Any, Any]", value) if isinstance(value, Mapping) else {}


def _items(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _lenient(model: type[S], raw: object) -> S | None:
    """Return ``raw`` as a section without the keys that are wrong by themselves; None when not enough is left."""
    kept = dict(_mapping(raw))
    try:
        return model.model_validate(kept)
    except ValidationError as error:
        for detail in error.errors():
            kept.pop(detail["loc"][0] if detail["loc"] else None, None)
    try:
        return model.model_validate(kept)
    except ValidationError:
        return None


def _default_accept_at(defaults: Mapping[Any, Any]) -> float | None:
    read = _lenient(Defaults, {key: value for key, value in defaults.items() if key == "accept_at"})
    trusted = read is not None and ("accept_at" in read.model_fields_set or "accept_at" not in defaults)
    return read.accept_at if read is not None and trusted else None


def _known(location: Location, value: object, kind: str, known: tuple[str, ...]) -> Iterator[Found]:
    if isinstance(value, str) and value and value not in known:
        listed = f"; there are: {', '.join(known)}" if known else ""
        yield location, f"unknown {kind} {value!r}{suggestion(value, known) or listed}"


def _timezone(zone: object) -> Iterator[Found]:
    if not isinstance(zone, str) or zone == "UTC":
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = sorted(zoneinfo.available_timezones())
        hint = suggestion(zone, known) or "; write an IANA name such as Europe/Berlin"
        missing = "; this machine has no time zone data: install the package tzdata" if not known else ""
        yield ("timezone",), f"unknown time zone {zone!r}{missing or hint}"


def _tier_names(tiers: Mapping[Any, Any]) -> Iterator[Found]:
    if PRE_CHECK in tiers:
        yield ("tiers", PRE_CHECK), "is the name that answers of pre-checks are counted under; choose another"


def _targets(tiers: Mapping[Any, Any]) -> Iterator[Found]:
    for name, targets in tiers.items():
        seen: dict[tuple[str | None, ...], int] = {}
        for index, raw in enumerate(_items(targets)):
            target = _lenient(Target, raw)
            if target is None:
                continue
            key = (target.model, target.api_base, target.api_key_env)
            if key in seen:
                message = f"the same target as tiers.{name}[{seen[key]}]; a fallback to it would change nothing"
                yield ("tiers", name, index), message
            seen.setdefault(key, index)


def _limits(location: Location, holder: Mapping[Any, Any]) -> Iterator[Found]:
    limits = _lenient(LimitsOverride, holder.get("limits"))
    if limits is not None and limits.cost_usd == 0:
        message = "a call could never make a request that costs anything; set more than 0, or null for no limit"
        yield (*location, "limits", "cost_usd"), message


def _payload_type(location: Location, raw: object, facts: _Facts) -> Iterator[Found]:
    settings = _mapping(raw)
    path = settings.get("path")
    yield from _path((*location, "path"), path, facts)
    yield from _limits(location, settings)
    minimum = settings.get("min_tier")
    yield from _known((*location, "min_tier"), minimum, "tier", facts.tiers)
    last = max((index for index in _tier_indexes(path, facts)), default=None)
    if minimum in facts.tiers and last is not None and facts.tiers.index(minimum) > last:
        message = f"{minimum!r} is above every tier of the path, so a limit would raise calls to it; lower it"
        yield (*location, "min_tier"), message
    yield from _shadows((*location, "shadow"), settings.get("shadow"), facts)
    yield from pre_check_problems((*location, "pre_checks"), _items(settings.get("pre_checks")))
    yield from _path((*location, "holdback", "path"), _mapping(settings.get("holdback")).get("path"), facts)
    calibration = settings.get("calibration")
    if isinstance(calibration, str) and calibration not in facts.calibrations:
        hint = suggestion(calibration, facts.calibrations) or "; its file is not in calibrations/ beside the config"
        yield (*location, "calibration"), f"unknown calibration {calibration!r}{hint}"
    yield from _paid_confidence(location, settings, facts)


def _paid_confidence(location: Location, settings: Mapping[Any, Any], facts: _Facts) -> Iterator[Found]:
    own = _lenient(ConfidenceOverride, settings.get("confidence")) or ConfidenceOverride()
    limits = _lenient(LimitsOverride, settings.get("limits")) or LimitsOverride()
    source = own.source or facts.confidence.source
    if source == "logprob" and settings.get("pack") is not None:
        message = (
            "tasks that share a request have no log-probabilities of their own; leave it out, or take field or auto"
        )
        yield (*location, "pack"), message
    if source not in SOURCES:
        return
    place: Location = (*location, "confidence", "source") if own.source else ("defaults", "confidence", "source")
    rule = PaidRule(
        payload_type=str(location[-1]),
        source=source,
        samples=own.samples or facts.confidence.samples,
        attempts=limits.attempts or facts.attempts,
        models=tuple(facts.models.get(step.tier, ()) for step in _steps(settings.get("path")) if step is not None),
        is_comparable=settings.get("comparable") is not None,
        judge=facts.judge,
        judges=() if facts.judge is None else facts.models.get(facts.judge.tier, ()),
    )
    yield from ((place, message) for message in paid_problems(rule))


def _shadows(location: Location, rules: object, facts: _Facts) -> Iterator[Found]:
    seen: dict[tuple[object, object], int] = {}
    for index, raw in enumerate(_items(rules)):
        rule = _mapping(raw)
        tier, on = rule.get("tier"), rule.get("on", "accepted")
        yield from _known((*location, index, "tier"), tier, "tier", facts.tiers)
        if not isinstance(tier, str) or not isinstance(on, str):
            continue
        if (tier, on) in seen:
            message = f"shadows of {tier!r} on {on} calls have their rate in shadow[{seen[tier, on]}]; keep one"
            yield (*location, index), message
        seen.setdefault((tier, on), index)
    if _items(rules) and not facts.has_shadow_budget:
        message = "shadows cost money beside the calls; say how much: shadow_budget: {per: day, usd: 1.00}"
        yield location, message


def _steps(path: object) -> list[Step | None]:
    return [_lenient(Step, {"tier": step} if isinstance(step, str) else step) for step in _items(path)]


def _tier_indexes(path: object, facts: _Facts) -> Iterator[int]:
    for step in _steps(path):
        if step is not None and step.tier in facts.tiers:
            yield facts.tiers.index(step.tier)


def _path(location: Location, path: object, facts: _Facts) -> Iterator[Found]:
    highest: tuple[int, int] | None = None
    steps = _steps(path)
    for index, step in enumerate(steps):
        if step is None:
            continue
        yield from _known((*location, index, "tier"), step.tier, "tier", facts.tiers)
        yield from _threshold((*location, index), step, _items(path)[index], facts, last=index == len(steps) - 1)
        if step.tier not in facts.tiers:
            continue
        rank = facts.tiers.index(step.tier)
        if highest is not None and rank <= highest[0]:
            before = f"step {highest[1]} ({facts.tiers[highest[0]]})"
            same = rank == highest[0]
            message = f"repeats the tier of {before}" if same else f"{step.tier!r} is below the tier of {before}"
            yield (*location, index, "tier"), f"{message}; a path goes up: {' < '.join(facts.tiers)}"
        if highest is None or rank > highest[0]:
            highest = (rank, index)


def _threshold(location: Location, step: Step, raw: object, facts: _Facts, *, last: bool) -> Iterator[Found]:
    jump = step.straight_to_last_below
    if jump is None:
        return
    place = (*location, "straight_to_last_below")
    if last:
        yield place, "has no use on the last step, which no step follows; remove it"
        return
    refused = step.accept_at is None and _mapping(raw).get("accept_at") is not None
    accept_at = facts.accept_at if step.accept_at is None else step.accept_at
    if not refused and accept_at is not None and jump >= accept_at:
        of = "defaults.accept_at" if step.accept_at is None else "accept_at"
        yield place, f"{jump} must be below {of} ({accept_at}); an answer from there on is accepted"


def _budgets(raw: object, facts: _Facts) -> Iterator[Found]:
    names: dict[str, int] = {}
    for index, each in enumerate(_items(raw)):
        location: Location = ("budgets", index)
        name = _mapping(each).get("name")
        if isinstance(name, str) and name in names:
            yield (*location, "name"), f"{name!r} is already the name of budgets[{names[name]}]; choose another"
        if name == SHADOW_BUDGET:
            yield (*location, "name"), f"{name!r} is the name that shadows are counted under; choose another"
        if isinstance(name, str):
            names.setdefault(name, index)
        budget = _lenient(Budget, {"name": "unnamed", **_mapping(each)})
        if budget is not None:
            yield from _budget(location, budget)
        scope = _lenient(Scope, _mapping(each).get("scope"))
        if scope is not None:
            for place, kind in enumerate(scope.payload_types):
                yield from _known(
                    (*location, "scope", "payload_types", place), kind, "payload type", facts.payload_types
                )
            yield from _known((*location, "scope", "group"), scope.group, "group", facts.groups)


def _budget(location: Location, budget: Budget) -> Iterator[Found]:
    if budget.usd == 0:
        yield (*location, "usd"), "must be more than 0; to use the cheapest tier always, change the paths"
    elif budget.critical_reserve_usd >= budget.usd:
        message = f"must be less than usd ({budget.usd}), or nothing is left for calls that are not critical"
        yield (*location, "critical_reserve_usd"), message
    if budget.stop_usd is not None and budget.stop_usd < budget.usd:
        message = f"must be at least usd ({budget.usd}): calls are stopped after they were moved to the cheapest tier"
        yield (*location, "stop_usd"), message
    if budget.taper_from == 0:
        yield (*location, "taper_from"), "must be more than 0, or optional spending never starts"
    if budget.per == "rolling" and budget.window_h is None:
        yield (*location, "window_h"), "is required with per: rolling; write the length of the window in hours"
    if budget.per != "rolling" and budget.window_h is not None:
        yield (*location, "window_h"), f"has no use with per: {budget.per}; remove it or write per: rolling"
