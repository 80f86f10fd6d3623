"""Where each payload type's routing comes from: which version of the config last changed it, by whom, why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from router_core.config import RoutingConfig
from router_core.config.sections import PayloadType, Step
from router_core.control.records import ChangeKind, ConfigVersion

KINDS: Final[Mapping[ChangeKind, str]] = {
    "first": "first seen",
    "hand": "edited by hand",
    "apply": "applied",
    "undo": "undone",
    "rollback": "rolled back",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a payload type's rule comes from.

    Attributes:
        version: The version that made the rule what it is now; None = older than what was looked at.
        source: Proposals, or the kind of change.
    """

    version: ConfigVersion | None
    source: str


def origins(now: RoutingConfig, versions: Iterable[tuple[ConfigVersion, RoutingConfig | None]]) -> Mapping[str, Origin]:
    """Return the origin of every payload type of a config.

    Args:
        now: The config that runs.
        versions: Versions, newest first, with their configs, None = it cannot be used; read as far as it takes.
    """
    found: dict[str, Origin] = {}
    pending = dict(now.payload_types)
    changed_by: ConfigVersion | None = None
    for version, config in versions:
        if not pending:
            break
        # what a version that never ran says of a rule does not matter
        rules = now.payload_types if config is None else config.payload_types
        for name in [name for name, rule in pending.items() if rules.get(name) != rule]:
            found[name] = _origin(changed_by)
            del pending[name]
        changed_by = version if config is not None or changed_by is None else changed_by
    # what never differed is as old as the oldest version
    return found | {name: _origin(changed_by) for name in pending}


def _origin(version: ConfigVersion | None) -> Origin:
    if version is None:
        return Origin(version=None, source="not in history yet")
    named = ", ".join(version.proposal_ids)
    kind = KINDS[version.kind]
    return Origin(version=version, source=named if version.kind == "apply" and named else f"{kind} {named}".strip())


def steps(path: Sequence[Step]) -> str:
    """Return a path with the confidence at which each step is accepted: ``cheap (0.8) › top``."""
    return " › ".join(step.tier if step.accept_at is None else f"{step.tier} ({step.accept_at:g})" for step in path)


def shadows(rule: PayloadType) -> str:
    """Return a payload type's shadows, ``top 2%``."""
    return ", ".join(f"{shadow.tier} {shadow.rate:.0%}" for shadow in rule.shadow)
