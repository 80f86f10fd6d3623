"""Logged calls, made ready to be replayed under daily limits: what each cost, and what its cheapest target would cost.

That alternative is known from the best source there is, and each call says which:

1. its own attempts on that target, or a shadow there: that is what it did cost;
2. the tokens of its served answer at that target's price, times a ratio: what calls of the type that were measured on
   both did cost there, over what the same arithmetic says of them. It takes in how the target counts and how much it
   writes;
3. the tokens of its served answer at that target's price, as the served model counted them, while too few calls of the
   type were measured on both;
4. nothing: without an answer there are no tokens, and the call counts at what it cost.

Prices are those of the given config at the time of the call. Targets count as healthy and capable.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from optimizer.simulate.caps import OWN, REPRICED, SCALED, UNKNOWN, Bytes, Calls, Flags, Ints
from optimizer.simulate.ratios import ratios_of
from optimizer.simulate.rehearsal import CostDoubt, Kind, Traffic
from optimizer.simulate.repricing import Tokens, reprice
from optimizer.simulate.uncapping import uncapped
from optimizer.traffic.labels import read_labels
from optimizer.traffic.names import Names
from optimizer.traffic.price_slots import prices_by_slot
from optimizer.traffic.rows import KindRow, Needs, TargetName, needs_of, read_calls, read_kinds
from router_core.decide.compile import Plans, compile_plans
from router_core.decide.guard import midnight_us
from router_core.prices import SLOT_US, PriceBook

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from router_core.config import RoutingConfig
    from router_core.decide.guard import Limit
    from router_core.types import Price

_NO_COST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class _Market:
    """Targets that a limit may move calls to, cheapest tier first, and which of them each kind of calls may use.

    Attributes:
        targets: The targets.
        allowed: Whether each kind may be moved to each target, shape ``(n_kinds, n_targets)``.
        book: Their prices.
    """

    targets: tuple[TargetName, ...]
    allowed: Flags
    book: PriceBook


@dataclass(slots=True)
class _Columns:
    """Columns of all calls, gathered batch by batch."""

    at_us: list[Ints] = field(default_factory=list[Ints])
    ended_us: list[Ints] = field(default_factory=list[Ints])
    seq: list[Ints] = field(default_factory=list[Ints])
    tie: list[Ints] = field(default_factory=list[Ints])
    kind: list[Ints] = field(default_factory=list[Ints])
    critical: list[Flags] = field(default_factory=list[Flags])
    degraded: list[Flags] = field(default_factory=list[Flags])
    cost_nusd: list[Ints] = field(default_factory=list[Ints])
    shadow_nusd: list[Ints] = field(default_factory=list[Ints])
    repriced_nusd: list[Ints] = field(default_factory=list[Ints])
    own_nusd: list[Ints] = field(default_factory=list[Ints])
    target: list[Ints] = field(default_factory=list[Ints])
    pair: list[Flags] = field(default_factory=list[Flags])
    taper_nusd: list[Ints] = field(default_factory=list[Ints])
    runs: Names = field(default_factory=Names)
    tags: Names = field(default_factory=Names)


def read_traffic(
    connection: "DuckDBPyConnection",
    config: "RoutingConfig",
    first: dt.date,
    until: dt.date,
    limits: "Sequence[Limit]" = (),
) -> Traffic:
    """Return the dated calls of some local days, whatever their source, ready to be replayed.

    Args:
        connection: The log, open for reading.
        config: Names the zone, the tiers, the prices, and the lowest tier of each payload type.
        first: First local day in the config's zone.
        until: The day after the last one.
        limits: What will be tried: what they look at beyond spend is read as well.
    """
    zone = ZoneInfo(config.timezone)
    days = tuple(first + dt.timedelta(number) for number in range((until - first).days))
    starts = np.array([midnight_us(day, zone) for day in (*days, until)], dtype=np.int64)
    window = {"first": _instant(starts[0]), "until": _instant(starts[-1])}
    rows = read_kinds(connection, window)
    types = [row.payload_type for row in rows]
    plans = compile_plans(config)
    market = _market(config, plans, types)
    columns, needs = _Columns(), needs_of(limits)
    for batch in read_calls(connection, rows, market.targets, window, needs):
        _add(columns, batch, market, needs)
    calls, capped, doubt, order = _calls(columns, market, types, starts)
    kinds = tuple(
        Kind(payload_type=row.payload_type, tier_served=row.tier_served, tier_capped=capped.get(row.payload_type))
        for row in rows
    )
    prices = [_error_cost(row, plans) for row in rows]
    labels = read_labels(connection, kinds, np.array(prices, dtype=np.float64), window)
    return uncapped(
        Traffic(
            zone=config.timezone,
            days=days,
            calls=calls,
            kinds=kinds,
            labels=labels,
            doubt=doubt,
            tags=columns.tags.read(),
            calls_tags=columns.tags.of_calls(order) if needs.tags else None,
        )
    )


def _instant(at_us: Any) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(at_us) / 1e6, dt.UTC).replace(tzinfo=None)


def _error_cost(row: KindRow, plans: Plans) -> float:
    """Return the price of a wrong answer: as logged, else as the config has it, else NaN."""
    plan = plans.plan_for(row.payload_type) if row.payload_type is not None else None
    known = row.error_cost_nusd if row.error_cost_nusd is not None else None if plan is None else plan.error_cost_nusd
    return float("nan") if known is None else float(known)


def _market(config: "RoutingConfig", plans: Plans, types: Sequence[str | None]) -> _Market:
    targets = tuple(TargetName(step.tier, target.model) for step in plans.tiers for target in step.targets)
    tiers = [step.tier for step in plans.tiers]
    allowed = np.zeros((len(types), len(targets)), dtype=np.bool_)
    for place, payload_type in enumerate(types):
        plan = plans.plan_for(payload_type) if payload_type is not None else None
        lowest = tiers.index(plan.min_tier) if plan is not None and plan.min_tier is not None else 0
        allowed[place] = [tiers.index(target.tier) >= lowest for target in targets]
    return _Market(targets, allowed, PriceBook(config.prices, config.on_unpriced, version=config.content_hash))


def _add(columns: _Columns, batch: "pa.RecordBatch", market: _Market, needs: Needs) -> None:
    """Take in a batch: what is kept of each call is a few numbers, its tokens and attempts are not."""
    found = {
        name: batch.column(name).to_numpy(zero_copy_only=False)
        for name in batch.schema.names
        if name not in ("run", "tags")
    }
    if needs.taper:
        columns.taper_nusd.append(found["taper_nusd"])
    if needs.runs:
        columns.runs.add(batch.column("run"))
    if needs.tags:
        columns.tags.add(batch.column("tags"))
    n_targets = len(market.targets)
    kind = found["kind"]
    tokens = Tokens(**{name: found[name] for name in ("input", "cached", "write_5m", "write_1h", "output")})
    target, repriced = _cheapest(tokens, found["at_us"], kind, market)
    own = _own_cost(
        target,
        np.column_stack([found[f"own{place}"] for place in range(n_targets)]),
        np.column_stack([found[f"shadow{place}"] for place in range(n_targets)]),
        market.targets,
    )
    columns.at_us.append(found["at_us"])
    columns.ended_us.append(found["ended_us"])
    columns.seq.append(found["seq"])
    columns.tie.append(found["tie"])
    columns.kind.append(kind)
    columns.critical.append(found["critical"])
    columns.degraded.append(found["degraded"])
    columns.cost_nusd.append(found["cost_nusd"])
    columns.shadow_nusd.append(found["shadow_nusd"])
    columns.repriced_nusd.append(repriced)
    columns.own_nusd.append(own)
    columns.target.append(target)
    columns.pair.append((own >= 0) & (repriced > 0) & (found["model"] != target))


def _cheapest(tokens: Tokens, at_us: Ints, kind: Ints, market: _Market) -> tuple[Ints, Ints]:
    """Return each call's cheapest allowed target, -1 without one, and its tokens' cost there, -1 if not known."""
    target = np.full(len(at_us), -1, dtype=np.int64)
    least = np.full(len(at_us), _NO_COST, dtype=np.int64)
    slots, slot = np.unique(at_us // SLOT_US, return_inverse=True)
    for place, candidate in enumerate(market.targets):
        cost = np.full(len(at_us), -1, dtype=np.int64)
        price_at = partial(_price_at, market.book, candidate.model)
        for price, its_slots in prices_by_slot(price_at, slots).items():
            rows = np.isin(slot, its_slots) if len(its_slots) < len(slots) else np.ones(len(at_us), dtype=np.bool_)
            cost[rows] = reprice(tokens.where(rows), price)
        # of equal ones the first, as the router picks
        better = market.allowed[kind, place] & (cost >= 0) & (cost < least)
        target[better], least[better] = place, cost[better]
    return target, np.where(target >= 0, least, -1)


def _price_at(book: PriceBook, model: str, slot: int) -> "Price | None":
    return book.price(model, slot * SLOT_US)


def _own_cost(target: Ints, asked: Ints, shadows: Ints, targets: Sequence[TargetName]) -> Ints:
    """Return what each call did cost on its cheapest target, fallbacks within that tier included; -1 if never there."""
    rows = np.arange(len(target))
    there = np.maximum(target, 0)
    tiers = list(dict.fromkeys(each.tier for each in targets))
    of_tier = np.array([tiers.index(each.tier) for each in targets])
    in_tier = np.column_stack([np.maximum(asked[:, of_tier == tier], 0).sum(axis=1) for tier in range(len(tiers))])
    own = np.where(asked[rows, there] >= 0, in_tier[rows, of_tier[there]], shadows[rows, there])
    return np.where(target >= 0, own, -1)


def _calls(
    columns: _Columns, market: _Market, types: Sequence[str | None], starts: Ints
) -> tuple[Calls, dict[str | None, str], CostDoubt, Ints]:
    """Return the calls in order, the tier each type is mostly moved to, how sure its cost is, and that order."""
    at_us = _joined(columns.at_us, np.int64)
    order = np.lexsort((_joined(columns.tie, np.int64), _joined(columns.seq, np.int64), at_us))
    kind = _joined(columns.kind, np.int64)[order]
    cost = _joined(columns.cost_nusd, np.int64)[order]
    target = _joined(columns.target, np.int64)[order]
    repriced, own = _joined(columns.repriced_nusd, np.int64)[order], _joined(columns.own_nusd, np.int64)[order]
    names = list(dict.fromkeys(types))
    of_type = np.array([names.index(name) for name in types], dtype=np.int64)
    # one group per payload type and target
    n_groups = len(names) * len(market.targets)
    group = np.where(target >= 0, of_type[kind] * len(market.targets) + target, 0) if len(kind) else kind
    ratios = ratios_of(group, _joined(columns.pair, np.bool_)[order], own, repriced, n_groups)
    cheapest, basis = _alternatives(cost, own, repriced, ratios.ratio[group])
    uses = np.bincount(group[target >= 0], minlength=n_groups).reshape(len(names), len(market.targets))
    mostly = uses.argmax(axis=1)
    capped = {
        name: market.targets[int(place)].tier for name, row, place in zip(names, uses, mostly, strict=True) if row.any()
    }
    usual = of_type * len(market.targets) + mostly[of_type]
    doubt = CostDoubt(
        scaled=ratios.spread[usual],
        scatter=ratios.scatter[usual],
        repriced=np.full(len(types), ratios.unmeasured),
    )
    at_us = at_us[order]
    calls = Calls(
        n_days=len(starts) - 1,
        n_kinds=len(types),
        day=(np.searchsorted(starts, at_us, "right") - 1).astype(np.int32),
        at_us=at_us,
        kind=kind.astype(np.int32),
        critical=_joined(columns.critical, np.bool_)[order],
        degraded=_joined(columns.degraded, np.bool_)[order],
        cost_nusd=cost,
        shadow_nusd=_joined(columns.shadow_nusd, np.int64)[order],
        cheapest_nusd=cheapest,
        basis=basis,
        taper_nusd=_joined(columns.taper_nusd, np.int64)[order] if columns.taper_nusd else None,
        run=columns.runs.of_calls(order) if columns.runs.is_read else None,
        ended_us=_joined(columns.ended_us, np.int64)[order],
    )
    return calls, capped, doubt, order


def _joined(parts: Sequence[Any], kind: Any) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)


def _alternatives(cost: Ints, own: Ints, repriced: Ints, ratio: np.ndarray) -> tuple[Ints, Bytes]:
    scaled = np.rint(repriced * np.nan_to_num(ratio)).astype(np.int64)
    sources = [own >= 0, (repriced >= 0) & ~np.isnan(ratio), repriced >= 0]
    basis = np.select(sources, [OWN, SCALED, REPRICED], UNKNOWN).astype(np.uint8)
    return np.select(sources, [own, scaled, repriced], cost), basis
