"""What the schema admits and this version does not do yet."""

from collections.abc import Iterator

from router_core.config.model import RoutingConfig
from router_core.config.sections import Budget, Scope, Section
from router_core.config.tree import Location
from router_core.errors import Problem

Place = tuple[Location, str]

_NOT_YET = "is not yet supported; remove it"


def unsupported(config: RoutingConfig) -> tuple[Problem, ...]:
    """Return a problem for everything in a valid config that this version does not do yet."""
    places = [
        *_budgets(config),
        *_sections(config),
    ]
    return tuple(config.problem(location, message) for location, message in places)


def _set(section: Section, location: Location, keys: tuple[str, ...]) -> Iterator[Place]:
    for key in keys:
        if getattr(section, key):
            yield (*location, key), _NOT_YET


def _budgets(config: RoutingConfig) -> Iterator[Place]:
    for index, budget in enumerate(config.budgets):
        if index:
            yield ("budgets", index), "more than one budget is not yet supported; keep one"
        else:
            yield from _budget(budget)


def _budget(budget: Budget) -> Iterator[Place]:
    location: Location = ("budgets", 0)
    for key, only in (("per", "day"), ("on_limit", "cheapest"), ("on_store_failure", "closed"), ("switch_at", "call")):
        if (value := getattr(budget, key)) != only:
            yield (*location, key), f"{value} is not yet supported; write {only}"
    for key in ("taper_from", "stop_usd"):
        if getattr(budget, key) is not None:
            yield (*location, key), _NOT_YET
    if budget.scope != Scope():
        yield (*location, "scope"), _NOT_YET


def _sections(config: RoutingConfig) -> Iterator[Place]:
    if config.storage.sink != "duckdb":
        yield ("storage", "sink"), f"{config.storage.sink} is not yet supported; write duckdb"
    yield from _set(config.storage, ("storage",), ("catalog", "data"))
    for key in ("webhook", "call_above_usd"):
        if getattr(config.alerts, key) is not None:
            yield ("alerts", key), _NOT_YET
