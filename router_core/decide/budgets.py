"""The budgets of a routing config → limits."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from router_core.config import ANY_TYPE
from router_core.decide.guard import EVERYTHING, Limit, Scope
from router_core.types import usd_to_nusd

if TYPE_CHECKING:
    from router_core.config import Budget, RoutingConfig

_HOUR_US = 3_600_000_000


def limits_of(config: "RoutingConfig") -> tuple[Limit, ...]:
    """Return the limits that a config sets, in its order."""
    return tuple(_limit(config, budget) for budget in config.budgets)


def _limit(config: "RoutingConfig", budget: "Budget") -> Limit:
    limit, reserve = usd_to_nusd(budget.usd), usd_to_nusd(budget.critical_reserve_usd)
    return Limit(
        name=budget.name,
        limit_nusd=limit,
        critical_reserve_nusd=reserve,
        per=budget.per,
        window_us=(budget.window_h or 0) * _HOUR_US,
        taper_nusd=None if budget.taper_from is None else round(budget.taper_from * (limit - reserve)),
        stop_nusd=None if budget.stop_usd is None else usd_to_nusd(budget.stop_usd),
        on_limit=budget.on_limit,
        on_store_failure=budget.on_store_failure,
        switch_at=budget.switch_at,
        scope=_scope(config, budget),
    )


def _scope(config: "RoutingConfig", budget: "Budget") -> Scope:
    said = budget.scope
    named = frozenset(config.payload_types) - {ANY_TYPE}
    types: frozenset[str] | None = None
    parts: list[str] = []
    if said.payload_types:
        types = frozenset(said.payload_types)
        parts.append(f"types:{','.join(sorted(types))}")
    if said.group is not None:
        # who is in the group may change; the group stays the same
        group = frozenset(name for name, rule in config.payload_types.items() if rule.group == said.group)
        types = group if types is None else types & group
        parts.append(f"group:{said.group}")
    if said.tag:
        parts.append(f"tag:{_pairs(said.tag.items())}")
    if types is None and not parts and not said.run:
        return EVERYTHING
    return Scope(
        identity="".join(f"{part};" for part in parts),
        payload_types=types,
        named=named if types is not None and ANY_TYPE in types else None,
        tags=tuple(sorted((said.tag or {}).items())),
        each_run=said.run,
    )


def _pairs(items: Iterable[tuple[str, str]]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(items))
