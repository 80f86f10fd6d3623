"""A payload type's config → the paths it could take instead, and the smallest edits that say so."""

from dataclasses import dataclass
from typing import Any

from router_core.config import RoutingConfig
from router_core.config.tree import Location
from router_core.control.records import ConfigEdit, Direction
from router_core.decide.plan import Plan, PlanStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path with its thresholds, tiers as indices.

    Attributes:
        tiers: Its tiers, in order.
        accept_at: Confidence at which each step's answer is served.
        straight_below: Confidence below which the steps in between are left out; None = never.
        on_raw: Whether these are confidences before any calibration.
    """

    tiers: tuple[int, ...]
    accept_at: tuple[float, ...]
    straight_below: tuple[float | None, ...]
    on_raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A path that a payload type could take instead of its present one.

    Attributes:
        route: The path.
        direction: Where the first tier goes.
        edits: What to change in the config.
        calibration: Id of the calibration that its thresholds are on the scale of; None = they are as they were.
    """

    route: Route
    direction: Direction
    edits: tuple[ConfigEdit, ...]
    calibration: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Thresholds of one path of one payload type, the last step left out.

    Attributes:
        accept_at: On the calibrated scale.
        straight_below: The same; None = never.
        raw_accept_at: The same cuts on raw confidences.
        raw_straight_below: The same.
    """

    accept_at: tuple[float, ...]
    straight_below: tuple[float | None, ...]
    raw_accept_at: tuple[float, ...]
    raw_straight_below: tuple[float | None, ...]


def route_of(steps: tuple[PlanStep, ...], tiers: tuple[str, ...]) -> Route:
    """Return the route of a plan's steps."""
    return Route(
        tiers=tuple(tiers.index(step.tier) for step in steps),
        accept_at=tuple(step.accept_at for step in steps),
        straight_below=tuple(step.straight_to_last_below for step in steps),
    )


def options_of(config: RoutingConfig, name: str, plan: Plan, tiers: tuple[PlanStep, ...]) -> tuple[Option, ...]:
    """Return the paths that start one or more tiers lower or higher, none below ``min_tier``.

    The steps above the new start stay as they are. A single tier may also be replaced by a cheaper one alone.

    Args:
        config: The config, as read from its file.
        name: The payload type; it has a section of its own.
        plan: Its compiled plan.
        tiers: One step per tier, cheapest first, at the default threshold.
    """
    names = tuple(step.tier for step in tiers)
    now = plan.steps
    lowest = names.index(plan.min_tier) if plan.min_tier is not None else 0
    start = names.index(now[0].tier)
    found: list[tuple[PlanStep, ...]] = []
    for index in range(lowest, len(names)):
        if index == start:
            continue
        first = next((step for step in now if step.tier == names[index]), tiers[index])
        above = tuple(step for step in now if names.index(step.tier) > index)
        if index < start and len(now) == 1:
            found.append((first,))
        found.append((first, *above))
    return tuple(
        Option(
            route=route_of(steps, names),
            direction="down" if names.index(steps[0].tier) < start else "up",
            edits=(_edit(config, name, now, steps),),
        )
        for steps in found
    )


def fitted_option(
    config: RoutingConfig, name: str, option: Option | None, cut: Cut, calibration: str, route: Route
) -> Option:
    """Return an option with fitted thresholds: of another path, or of the present one.

    Args:
        config: The config.
        name: The payload type.
        option: The other path; None = the present one.
        cut: The thresholds.
        calibration: The calibration that they are on the scale of.
        route: The path.
    """
    location: Location = ("payload_types", name, "path")
    before = config.written(location) or _plain(config, name)
    after = before if option is None else _after(option, before)
    fitted = [_with_cut(item, cut, step) for step, item in enumerate(after)]
    there = config.written(("payload_types", name, "calibration"))
    edits = [ConfigEdit(path=("payload_types", name, "calibration"), before=there, after=calibration)]
    edits = [edit for edit in edits if edit.before != edit.after]
    if fitted != before:
        edits.append(ConfigEdit(path=location, before=before, after=fitted))
    return Option(
        route=Route(
            tiers=route.tiers,
            accept_at=(*cut.raw_accept_at, route.accept_at[-1]),
            straight_below=(*cut.raw_straight_below, None),
            on_raw=True,
        ),
        direction="threshold" if option is None else option.direction,
        edits=tuple(edits),
        calibration=calibration,
    )


def _after(option: Option, before: list[Any]) -> list[Any]:
    """Return the path as an option's edit would have it written."""
    (edit,) = option.edits
    return [edit.after, *before[1:]] if edit.path[-1] == 0 else list(edit.after)


def _with_cut(item: Any, cut: Cut, step: int) -> Any:
    """Return a written step with its thresholds; the last step needs none."""
    if step >= len(cut.accept_at):
        return item
    kept = {"tier": item} if isinstance(item, str) else dict(item)
    kept.pop("straight_to_last_below", None)
    low = cut.straight_below[step]
    return {**kept, "accept_at": cut.accept_at[step], **({} if low is None else {"straight_to_last_below": low})}


def shadow_edits(config: RoutingConfig, name: str, rule: dict[str, Any], budget_usd: float) -> tuple[ConfigEdit, ...]:
    """Return the edits that give a payload type a shadow rule, and the budget that shadows need where there is none.

    A rule for the same tier and calls gets the new rate.

    Args:
        config: The config.
        name: The payload type.
        rule: The rule as plain data: tier, on, rate.
        budget_usd: Daily budget of all shadows, USD, for a config without one.
    """
    edits: list[ConfigEdit] = []
    if config.shadow_budget is None:
        # first: a rule without a budget is refused
        edits.append(ConfigEdit(path=("shadow_budget",), before=None, after={"per": "day", "usd": budget_usd}))
    location: Location = ("payload_types", name, "shadow")
    before: list[dict[str, Any]] | None = config.written(location)
    for place, each in enumerate(before or []):
        if (each.get("tier"), each.get("on", "accepted")) == (rule["tier"], rule["on"]):
            rate: Location = (*location, place, "rate")
            return (*edits, ConfigEdit(path=rate, before=each.get("rate"), after=rule["rate"]))
    # what holds anyway is not written
    written = {key: value for key, value in rule.items() if (key, value) != ("on", "accepted")}
    edits.append(ConfigEdit(path=location, before=before, after=[*(before or []), written]))
    return tuple(edits)


def _edit(config: RoutingConfig, name: str, now: tuple[PlanStep, ...], steps: tuple[PlanStep, ...]) -> ConfigEdit:
    location: Location = ("payload_types", name, "path")
    written = config.written(location) or _plain(config, name)
    kept = {step.tier: item for step, item in zip(now, written, strict=True)}
    after = [kept.get(step.tier, step.tier) for step in steps]
    if len(after) == len(written) and after[1:] == written[1:]:
        return ConfigEdit(path=(*location, 0), before=written[0], after=after[0])
    return ConfigEdit(path=location, before=written, after=after)


def _plain(config: RoutingConfig, name: str) -> list[Any]:
    """Return a path as it would be written, for a config that does not come from a file."""
    found: list[Any] = []
    for step in config.payload_types[name].path:
        options = {key: value for key, value in step if value is not None and key != "tier"}
        found.append({"tier": step.tier, **options} if options else step.tier)
    return found
