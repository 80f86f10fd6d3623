"""The decisions of a logged call, told: with the config that made them where that is at hand."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from router_core.call_log.receipts import AttemptRow, CallReceipt, CallRow
from router_core.decide.compile import compile_plans
from router_core.decide.trace import as_planned
from router_core.decide.trail import decisions, opening, replayed

if TYPE_CHECKING:
    from router_core.config import RoutingConfig
    from router_core.decide.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Why a call went as it did.

    Attributes:
        opening: Why it began as it did; None for a call that was not routed here.
        after: What was decided after an attempt, by its id.
        replays: Whether the same facts decide the same again; None without the config of the call's version.
    """

    opening: str | None
    after: Mapping[str, str]
    replays: bool | None


def trail_of(receipt: CallReceipt, config: "RoutingConfig | None") -> Trail:
    """Return the trail of a call.

    Args:
        receipt: The call and its attempts.
        config: The config of its version, if that is at hand; any other one is not used.
    """
    call = receipt.call
    if call.source != "router":
        return Trail(opening=None, after={}, replays=None)
    rows = [_mapping(attempt) for attempt in receipt.attempts]
    known = config if config is not None and config.content_hash == call.config_version else None
    plan, replays = (None, None) if known is None else _planned(known, _mapping(call), rows)
    return Trail(
        opening=opening(plan, _mapping(call)),
        after=dict(decisions(plan, _mapping(call), rows)),
        replays=replays,
    )


def _planned(
    config: "RoutingConfig", call: Mapping[str, Any], rows: list[dict[str, Any]]
) -> "tuple[Plan | None, bool | None]":
    """Return the call's plan and whether it replays; rows that no such plan can have made do not."""
    plans = compile_plans(config)
    plan = plans.plan_for(call["payload_type"])
    if plan is None:
        return None, False
    try:
        plan = as_planned(plan, plans.tiers, call, rows)
        return plan, replayed(plan, call, rows)
    except (AttributeError, LookupError, StopIteration, TypeError, ValueError):
        return plan, False


def _mapping(row: CallRow | AttemptRow) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}
