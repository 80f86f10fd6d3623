"""Who may do what: ``access.yaml`` beside the routing config, which no apply and no rollback touches.

::

    roles: {ada@example.com: approver, bob@example.com: analyst, local: approver}
    two_person_above_usd_month: 5000

Without the file, and on this machine only, the local user is an approver and nobody else may do anything. A file that
cannot be used makes everybody a viewer until it is mended.
"""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from router_core.config.document import Document, format_path, read
from router_core.config.tree import Location
from router_core.control.config_file import read_config
from router_core.control.records import RoleName
from router_core.errors import ConfigError, Problem

ACCESS_NAME: Final = "access.yaml"
LOCAL: Final = "local"
Right = Literal["decide", "change"]
"""``decide`` = claim, dismiss, snooze, publish; ``change`` = apply, undo, roll back."""

_ROLES: Final[tuple[RoleName, ...]] = get_args(RoleName)
_LEAST: Final[Mapping[Right, RoleName]] = {"decide": "analyst", "change": "approver"}
_KEYS: Final = ("roles", "two_person_above_usd_month")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Roles, as one file gives them.

    Attributes:
        roles: Role by name; ``local`` stands for the local single user.
        two_person_above_usd_month: From more than this on, by saving or net, it takes two people; None = never.
        problem: Why the file cannot be used; None = it can, or there is none.
    """

    roles: Mapping[str, RoleName] = field(default_factory=dict[str, RoleName])
    two_person_above_usd_month: float | None = None
    problem: str | None = None

    def role_of(self, name: str, *, local: bool) -> RoleName:
        """Return somebody's role.

        Args:
            name: Their name or address, as the identity provider gives it.
            local: Whether they are the local single user: at this machine's command line, or on a page on loopback.
        """
        if self.problem is not None:
            return "viewer"
        if local:
            return self.roles.get(LOCAL, "approver")
        # somebody who is called "local" elsewhere is not the local user
        return "viewer" if name == LOCAL else self.roles.get(name, "viewer")


def load_access(config: Path) -> Access:
    """Return who may do what with a routing config. It does not fail: a broken file is told in ``problem``."""
    path = access_file(config)
    try:
        data, _ = read_config(path)
        return parse_access(data, source=str(path))
    except FileNotFoundError:
        # a link that leads nowhere is no decision to do without roles
        if path.is_symlink():
            return Access(problem=f"{path} is a link to a file that does not exist, so everybody is a viewer")
        return Access()
    except OSError as error:
        return Access(problem=f"{path} cannot be read ({error.strerror or error}), so everybody is a viewer")
    except ConfigError as error:
        return Access(problem=f"{error}\nUntil it is mended, everybody is a viewer.")


def access_file(config: Path) -> Path:
    """Return where the roles of a routing config are kept."""
    return config.absolute().parent / ACCESS_NAME


def account_name() -> str:
    """Return the name of the account that this process runs under, as the system has it and not the environment."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        # a container may run under a number that has no name
        return f"user {uid}"


def parse_access(data: bytes, *, source: str) -> Access:
    """Return the roles that ``data`` holds.

    Raises:
        ConfigError: It cannot be used; carries every problem.
    """
    try:
        document = read(data, source=source)
    except ConfigError as error:
        if data.strip(b"\xef\xbb\xbf \t\r\n"):
            raise
        message = "is empty; write roles: {name: role}, or remove the file"
        raise ConfigError(source, [Problem(path="", message=message)]) from error
    raw = document.plain()
    if not isinstance(raw, dict):
        message = "must be a mapping with the keys roles and two_person_above_usd_month"
        raise ConfigError(source, [*document.problems, Problem(path="", message=message, line=1)])
    held = cast("dict[Any, Any]", raw)
    problems = [*document.problems, *_unknown_keys(document, held), *_roles(document, held.get("roles", {}))]
    if (limit := held.get("two_person_above_usd_month")) is not None and not _is_amount(limit):
        message = "must be an amount in USD per month, 0 or more"
        problems.append(_problem(document, ("two_person_above_usd_month",), message))
    if problems:
        raise ConfigError(source, sorted(problems, key=lambda problem: problem.line or 0))
    return Access(roles=held.get("roles", {}), two_person_above_usd_month=None if limit is None else float(limit))


def may(role: RoleName, right: Right) -> bool:
    """Return whether a role has a right."""
    return _ROLES.index(role) >= _ROLES.index(_LEAST[right])


def lesser(one: RoleName, other: RoleName) -> RoleName:
    """Return the role that allows less."""
    return one if _ROLES.index(one) <= _ROLES.index(other) else other


def least_role(right: Right) -> RoleName:
    """Return the least role that has a right."""
    return _LEAST[right]


def _unknown_keys(document: Document, held: Mapping[Any, Any]) -> list[Problem]:
    known = " and ".join(_KEYS)
    return [
        _problem(document, (key if isinstance(key, str) else str(key),), f"is not known here; known are {known}")
        for key in held
        if key not in _KEYS
    ]


def _roles(document: Document, roles: Any) -> list[Problem]:
    if not isinstance(roles, dict):
        return [_problem(document, ("roles",), "must be a mapping of names to roles")]
    known = ", ".join(_ROLES)
    problems: list[Problem] = []
    for name, role in cast("dict[Any, Any]", roles).items():
        if not isinstance(name, str) or not name.strip():
            problems.append(_problem(document, ("roles", str(name)), "must be a name, written in quotes"))
        elif role not in _ROLES:
            problems.append(_problem(document, ("roles", name), f"{role!r} is no role; choose one of {known}"))
    return problems


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _problem(document: Document, location: Location, message: str) -> Problem:
    return Problem(path=format_path(location), message=message, line=document.line_of(location))
