"""Routing config → bytes, and what two configs differ in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from router_core.config.builder import format_path
from router_core.config.model import RoutingConfig
from router_core.config.scalars import text_of
from router_core.config.tree import Location

_ABSENT = object()
_DEEPEST = "    "


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One value that differs.

    Attributes:
        path: Where, in the notation of problems; a list is one value.
        before: Its old value as one line of YAML; None = it was not there.
        after: Its new value as one line of YAML; None = it is gone.
    """

    path: str
    before: str | None
    after: str | None


def dump(config: RoutingConfig) -> bytes:
    """Return ``config`` as YAML that parses to an equal config; what was left out stays left out."""
    return "".join(_block(_written(config), "")).encode()


def diff(old: RoutingConfig, new: RoutingConfig) -> tuple[Change, ...]:
    """Return what differs between two configs, defaults filled in, in the order of the schema."""
    changes: list[Change] = []
    if list(old.tiers) != list(new.tiers) and set(old.tiers) == set(new.tiers):
        changes.append(Change(path="tiers", before=flow(list(old.tiers)), after=flow(list(new.tiers))))
    _compare((), old.model_dump(), new.model_dump(), changes)
    return tuple(changes)


def flow(value: Any) -> str:
    """Return plain data as YAML on one line.

    Raises:
        TypeError: There is no YAML for a value in it.
    """
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return "{" + ", ".join(f"{text_of(key)}: {flow(inner)}" for key, inner in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(inner) for inner in cast("list[Any]", value)) + "]"
    return text_of(value)


def _written(config: RoutingConfig) -> dict[str, Any]:
    return {"version": config.version, **config.model_dump(exclude_unset=True)}


def _block(data: Mapping[str, Any], indent: str) -> list[str]:
    """Return a mapping in block style down to the third level, where lines stay readable in flow style."""
    lines: list[str] = []
    for key, value in data.items():
        if isinstance(value, Mapping) and value and len(indent) < len(_DEEPEST):
            lines.append(f"{indent}{text_of(key)}:\n")
            lines += _block(cast("Mapping[str, Any]", value), indent + "  ")
        else:
            lines.append(f"{indent}{text_of(key)}: {flow(value)}\n")
    return lines


def _compare(location: Location, old: Any, new: Any, changes: list[Change]) -> None:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        before, after = cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", new)
        for key in dict.fromkeys([*before, *after]):
            _compare((*location, key), before.get(key, _ABSENT), after.get(key, _ABSENT), changes)
    elif old != new:
        changes.append(Change(path=format_path(location), before=_said(old), after=_said(new)))


def _said(value: Any) -> str | None:
    return None if value is _ABSENT else flow(value)
