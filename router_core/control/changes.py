"""Edits of proposals on the bytes of a routing config: whether they still fit, made, and turned round."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from router_core.config import ANY_TYPE
from router_core.config.document import format_path, read
from router_core.config.tree import Location, same
from router_core.config.write import flow
from router_core.control.bodies import normal
from router_core.control.records import ConfigEdit
from router_core.control.splice import remove, splice
from router_core.errors import ChangeRefusedError, ConfigError

_SHOWN: Final = 120
_VERSIONS_REMEMBERED: Final = 4
_TYPES: Final = "payload_types"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Payload types whose rule differs between two versions of a config.

    Attributes:
        rules: Types with any difference; ``*`` stands for all types without a rule of their own.
        paths: Those among them whose path differs.
        named: Types with a rule of their own in the newer version.
    """

    rules: frozenset[str]
    paths: frozenset[str]
    named: frozenset[str]


# one change asks for the same few versions again and again, and reading YAML is the slowest part of it
@lru_cache(maxsize=_VERSIONS_REMEMBERED)
def plain_of(data: bytes) -> Any | None:
    """Return a config as plain data that is not to be changed, or None when it cannot be read."""
    try:
        document = read(data, source="routing config")
    except ConfigError:
        return None
    return None if document.problems else document.plain()


def edited(data: bytes, edits: Iterable[ConfigEdit]) -> bytes:
    """Return the file with the edits made, and no other byte changed.

    Raises:
        ChangeRefusedError: A value is not the one that the edit replaces.
        ConfigError: The file cannot be read, or there is no safe way to write an edit.
    """
    for edit in edits:
        misfit = misfit_of(plain_of(data), edit)
        if misfit is not None:
            raise ChangeRefusedError(misfit)
        data = remove(data, edit.path) if edit.after is None else splice(data, edit.path, normal(edit.after))
    return data


def misfit_of(plain: Any | None, edit: ConfigEdit) -> str | None:
    """Return why an edit does not fit a config, one sentence; None when it does."""
    if plain is None:
        return "the routing config cannot be read at present; mend it, or roll back to an earlier version"
    found = value_at(plain, edit.path)
    if same(found, normal(edit.before)):
        return None
    where = format_path(edit.path)
    return f"{where} is {_shown(found)} now and was {_shown(edit.before)} when this change was made: edited by hand?"


def inverse(edits: Sequence[ConfigEdit]) -> tuple[ConfigEdit, ...]:
    """Return the edits that take ``edits`` back."""
    return tuple(ConfigEdit(path=edit.path, before=edit.after, after=edit.before) for edit in reversed(edits))


def value_at(plain: Any, path: Location) -> Any:
    """Return the value at a path of plain data; None when there is nothing, or null."""
    for part in path:
        if isinstance(plain, dict):
            plain = cast("dict[Any, Any]", plain).get(part)
        elif isinstance(plain, list) and isinstance(part, int) and 0 <= part < len(cast("list[Any]", plain)):
            plain = cast("list[Any]", plain)[part]
        else:
            return None
    return plain


def touched(before: Any | None, after: Any | None) -> Touched:
    """Return the payload types that two configs treat differently; none when one of them cannot be read."""
    old, new = _rules(before), _rules(after)
    if old is None or new is None:
        return Touched(rules=frozenset(), paths=frozenset(), named=frozenset(new or ()))
    names = {*old, *new}
    rules = frozenset(name for name in names if not same(_rule(old, name), _rule(new, name)))
    paths = frozenset(name for name in rules if not same(_path(old, name), _path(new, name)))
    return Touched(rules=rules, paths=paths, named=frozenset(new))


def is_path_touched(found: Touched, payload_type: str) -> bool:
    """Return whether the path of a payload type differs, be it one without a rule of its own."""
    return payload_type in found.paths or (payload_type not in found.named and ANY_TYPE in found.paths)


def _rules(plain: Any | None) -> dict[str, Any] | None:
    if not isinstance(plain, dict):
        return None
    rules = cast("dict[str, Any]", plain).get(_TYPES)
    return cast("dict[str, Any]", rules) if isinstance(rules, dict) else None


def _rule(rules: Mapping[str, Any], name: str) -> Any:
    return rules.get(name, rules.get(ANY_TYPE))


def _path(rules: Mapping[str, Any], name: str) -> Any:
    return value_at(_rule(rules, name), ("path",))


def _shown(value: Any) -> str:
    if value is None:
        return "not there"
    text = flow(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
