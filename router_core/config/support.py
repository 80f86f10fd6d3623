"""What the schema admits and this version does not do yet."""

from collections.abc import Iterator

from router_core.config.model import RoutingConfig
from router_core.config.sections import Section
from router_core.config.tree import Location
from router_core.errors import Problem

Place = tuple[Location, str]

_NOT_YET = "is not yet supported; remove it"


def unsupported(config: RoutingConfig) -> tuple[Problem, ...]:
    """Return a problem for everything in a valid config that this version does not do yet."""
    return tuple(config.problem(location, message) for location, message in _sections(config))


def _set(section: Section, location: Location, keys: tuple[str, ...]) -> Iterator[Place]:
    for key in keys:
        if getattr(section, key):
            yield (*location, key), _NOT_YET


def _sections(config: RoutingConfig) -> Iterator[Place]:
    if config.storage.sink != "duckdb":
        yield ("storage", "sink"), f"{config.storage.sink} is not yet supported; write duckdb"
    yield from _set(config.storage, ("storage",), ("catalog", "data"))
