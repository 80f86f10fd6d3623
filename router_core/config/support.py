"""What the schema admits and this version does not do yet."""

from collections.abc import Iterator

from router_core.config.model import RoutingConfig
from router_core.config.sections import PayloadType, Section
from router_core.config.tree import Location
from router_core.errors import Problem

Place = tuple[Location, str]

_NOT_YET = "is not yet supported; remove it"
_TYPE_KEYS = ("pack", "holdback")


def unsupported(config: RoutingConfig) -> tuple[Problem, ...]:
    """Return a problem for everything in a valid config that this version does not do yet."""
    places = [
        *(found for name, each in config.payload_types.items() for found in _payload_type(name, each)),
        *_sections(config),
    ]
    return tuple(config.problem(location, message) for location, message in places)


def _set(section: Section, location: Location, keys: tuple[str, ...]) -> Iterator[Place]:
    for key in keys:
        if getattr(section, key):
            yield (*location, key), _NOT_YET


def _payload_type(name: str, settings: PayloadType) -> Iterator[Place]:
    location: Location = ("payload_types", name)
    yield from _set(settings, location, _TYPE_KEYS)
    if settings.escalation != "redo":
        yield (*location, "escalation"), f"{settings.escalation} is not yet supported; write redo"


def _sections(config: RoutingConfig) -> Iterator[Place]:
    if config.storage.sink != "duckdb":
        yield ("storage", "sink"), f"{config.storage.sink} is not yet supported; write duckdb"
    yield from _set(config.storage, ("storage",), ("catalog", "data"))
