"""Sums of the log and the config → the facts of every payload type that can be judged, and why the others cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from optimizer.answers import ANSWER_COLUMNS
from optimizer.facts import Facts, Shadows, Tier
from optimizer.log_facts import LogFacts
from optimizer.paths import route_of
from optimizer.replay import Floats
from router_core.call_log.reports import ImportedScale
from router_core.config import ANY_TYPE, PayloadType, RoutingConfig
from router_core.control.records import VerdictKind
from router_core.decide.compile import compile_plans
from router_core.decide.plan import Plan, PlanStep
from router_core.prices import PriceBook
from router_core.types import NANO, Price

_DAY_US: Final = 86_400_000_000
_MONTH_DAYS: Final = 30.0
# one failed check in a hundred answers, before any was seen
_FAILED, _ANSWERED = 1.0, 100.0

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excuse:
    """Why a payload type is not judged."""

    verdict: VerdictKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """All payload types of the config and of the log.

    Attributes:
        names: Their names, in order.
        index: Their indices.
        plans: Compiled plans of those that are judged.
        tier_steps: One step per tier, cheapest first, at the default threshold.
        facts: Facts of those that are judged.
        excuses: Why the others are not.
        undated: Those whose evidence is an evaluation without times.
        has_dated: Whether any payload type has calls in the window.
        error_price_given: Those whose error price was given for this run.
        n_groups: Number of groups: one per tier that calls began with, one for all else.
        group_calls: Calls by type and group, shape ``(n_types, n_groups)``.
    """

    names: tuple[str, ...]
    index: Mapping[str, int]
    plans: Mapping[str, Plan]
    tier_steps: tuple[PlanStep, ...]
    facts: Mapping[str, Facts]
    excuses: Mapping[str, Excuse]
    undated: frozenset[str]
    has_dated: bool
    error_price_given: frozenset[str]
    n_groups: int
    group_calls: Floats

    def answers(self, log: LogFacts, until_us: int, half_life_days: float) -> pl.DataFrame:
        """Return the answers of the judged types in their period, names as indices, older calls worth less."""
        age_days = (until_us - pl.col("at_us")) / _DAY_US
        kinds = pl.DataFrame(
            {
                "payload_type": list(self.facts),
                "type": [self.index[name] for name in self.facts],
                "dated": [name not in self.undated for name in self.facts],
            },
            schema={"payload_type": pl.String, "type": pl.Int32, "dated": pl.Boolean},
        )
        names = [step.tier for step in self.tier_steps]
        places = pl.DataFrame({"tier": names, "place": list(range(len(names)))}, schema_overrides={"place": pl.Int32})
        planned = places.rename({"tier": "tier_planned", "place": "group"})
        return (
            log.answers.join(kinds, on=["payload_type", "dated"])
            .join(places, on="tier")
            .drop("tier")
            .rename({"place": "tier"})
            .join(planned, on="tier_planned", how="left")
            .with_columns(pl.col("group").fill_null(len(names)), (0.5 ** (age_days / half_life_days)).alias("weight"))
            .select(pl.col(name).cast(kind) for name, kind in ANSWER_COLUMNS.items())
        )

    def scored(self, log: LogFacts) -> pl.DataFrame:
        """Return the labelled answers with a confidence of the judged types in their period."""
        kinds = pl.DataFrame(
            {"payload_type": list(self.facts), "dated": [name not in self.undated for name in self.facts]},
            schema={"payload_type": pl.String, "dated": pl.Boolean},
        )
        return log.scored.join(kinds, on=["payload_type", "dated"])

    def costs(self) -> Floats:
        """Return the cost of one request by type and tier, USD, shape ``(n_types, n_tiers)``; nan = not known."""
        found = np.full((len(self.names), len(self.tier_steps)), np.nan)
        for name, facts in self.facts.items():
            costs = [np.nan if tier.cost_usd is None else tier.cost_usd for tier in facts.tiers]
            found[self.index[name]] = costs
        return found

    def prices(self) -> Floats:
        """Return the price of a wrong answer by type, USD, shape ``(n_types,)``; 0 where it is not judged."""
        found = np.zeros(len(self.names))
        for name, facts in self.facts.items():
            found[self.index[name]] = facts.error_cost_usd
        return found


def make_market(
    log: LogFacts,
    config: RoutingConfig,
    window_us: tuple[int, int],
    scale: ImportedScale | None,
    error_cost_usd: float | None,
) -> Market:
    """Return what is known of every payload type.

    Args:
        log: Sums of the log.
        config: The routing config.
        window_us: First and last instant of the window, microseconds since the epoch.
        scale: How an evaluation scales to a month; None = its calls stand for a month's.
        error_cost_usd: Price of a wrong answer where the config has none, USD.
    """
    maker = _Maker(log, config, window_us, scale, error_cost_usd)
    return maker.market()


class _Maker:
    def __init__(
        self,
        log: LogFacts,
        config: RoutingConfig,
        window_us: tuple[int, int],
        scale: ImportedScale | None,
        error_cost_usd: float | None,
    ) -> None:
        self._config = config
        self._window = window_us
        self._scale = scale
        self._error_cost = error_cost_usd
        self._tiers = config.tier_names
        self._plans = compile_plans(config)
        self._volumes = {(r["payload_type"], r["dated"]): r for r in log.volumes.iter_rows(named=True)}
        self._ways = _grouped(log.ways, "tier_planned")
        self._labels = _grouped(log.labels, "tier_planned")
        self._seen = _grouped(log.tiers, "tier")
        book = PriceBook(config.prices, config.on_unpriced, version=config.content_hash)
        self._prices = {name: book.price(targets[0].model, window_us[1]) for name, targets in config.tiers.items()}

    def market(self) -> Market:
        known = {name for name in self._config.payload_types if name != ANY_TYPE}
        names = tuple(sorted(known | {name for name, _ in self._volumes}))
        undated = frozenset(
            name for name in names if not self._calls(name, dated=True) and self._calls(name, dated=False)
        )
        given = frozenset(name for name in names if self._needs_price(name) and self._error_cost is not None)
        excuses = {name: excuse for name in names if (excuse := self._excuse(name, name in undated)) is not None}
        judged = [name for name in names if name not in excuses]
        group_calls = np.zeros((len(names), len(self._tiers) + 1))
        for place, name in enumerate(names):
            for planned, rows in self._ways.get((name, name not in undated), {}).items():
                group = self._tiers.index(planned) if planned in self._tiers else len(self._tiers)
                group_calls[place, group] += sum(row["calls"] for row in rows)
        return Market(
            names=names,
            index={name: place for place, name in enumerate(names)},
            plans={name: self._plans.by_type[name] for name in judged},
            tier_steps=self._plans.tiers,
            facts={name: self._facts(name, dated=name not in undated) for name in judged},
            excuses=excuses,
            undated=undated,
            has_dated=any(dated for _, dated in self._volumes),
            error_price_given=given,
            n_groups=group_calls.shape[1],
            group_calls=group_calls,
        )

    def _calls(self, name: str, *, dated: bool) -> int:
        return self._volumes.get((name, dated), {}).get("calls", 0)

    def _needs_price(self, name: str) -> bool:
        rule = self._config.payload_types.get(name)
        return rule is not None and rule.error_cost_usd is None

    def _excuse(self, name: str, is_undated: bool) -> Excuse | None:
        rule = self._config.payload_types.get(name)
        if not self._calls(name, dated=not is_undated):
            return Excuse(verdict="no_calls", text="no calls on its path in the window")
        obstacle = self._obstacle(rule)
        if obstacle is not None:
            return Excuse(verdict="blocked", text=obstacle)
        if self._needs_price(name) and self._error_cost is None:
            text = "no price of a wrong answer: set error_cost_usd, or give one with --error-cost-usd"
            return Excuse(verdict="no_error_price", text=text)
        return None

    def _obstacle(self, rule: PayloadType | None) -> str | None:
        """Return why no path of a payload type can be proposed; None = nothing is in the way."""
        if rule is None and ANY_TYPE in self._config.payload_types:
            return f"it runs under {ANY_TYPE!r}: give it a section of its own in payload_types first"
        if rule is None:
            return "the config does not name it: its calls are refused"
        if rule.holdback is not None:
            return "a holdback is measuring its last move"
        if rule.escalation != "redo":
            return "its escalations correct the draft: answers of single tiers cannot be compared"
        return None

    def _facts(self, name: str, *, dated: bool) -> Facts:
        rule, plan = self._config.payload_types[name], self._plans.by_type[name]
        volume, key = self._volumes[(name, dated)], (name, dated)
        calls = int(volume["calls"])
        now = route_of(plan.steps, self._tiers)
        way = next(iter(self._ways.get(key, {}).get(plan.tier_planned, [])), None)
        mine = self._labels.get(key, {}).get(plan.tier_planned, [])
        everybody = [row for rows in self._labels.get(key, {}).values() for row in rows]
        tiers = tuple(self._tier(key, tier) for tier in self._tiers)
        price = self._error_cost if rule.error_cost_usd is None else float(rule.error_cost_usd)
        measured = way is not None and way["n_cost"] > 0
        alone = tiers[now.tiers[0]].cost_usd if len(now.tiers) == 1 else None
        return Facts(
            name=name,
            now=now,
            tiers=tiers,
            calls=calls,
            degraded=int(volume["degraded"]),
            days=int(volume["days"]),
            calls_per_month=self._per_month(volume, dated=dated),
            cost_usd=way["cost_usd"] / way["n_cost"] if way is not None and measured else alone,
            wrong_rate=_weighted_rate(mine),
            labels=sum(row["labels"] for row in mine),
            label_rate=sum(row["labels"] for row in everybody) / max(calls, 1),
            has_unknown_chance=any(row["label_propensity"] is None for row in everybody),
            p95_ms=None if way is None else way["p95_ms"],
            error_cost_usd=price or 0.0,
            latency_slo_s=rule.latency_slo_s,
            critical=rule.critical,
            shadows=tuple(
                Shadows(tier=self._tiers.index(each.tier), on=each.on, rate=each.rate) for each in rule.shadow
            ),
        )

    def _per_month(self, volume: Row, *, dated: bool) -> float:
        calls = float(volume["calls"])
        if not dated:
            return calls if self._scale is None else calls * self._scale.calls_per_month / self._scale.calls
        since, until = self._window
        # a payload type that began within the window is not diluted by the days before
        span_days = max((until - max(since, volume["first_us"])) / _DAY_US, 1.0)
        return calls * _MONTH_DAYS / span_days

    def _tier(self, key: tuple[str, bool], tier: str) -> Tier:
        row = next(iter(self._seen.get(key, {}).get(tier, [])), None)
        if row is not None and row["n_cost"]:
            cost, repriced = row["cost_usd"] / row["n_cost"], False
        else:
            cost, repriced = self._repriced(key, self._prices[tier]), True
        valid, invalid = (0, 0) if row is None else (row["valid"], row["invalid"])
        return Tier(
            unanswered=(invalid + _FAILED) / (valid + invalid + _ANSWERED),
            cost_usd=cost,
            is_repriced=repriced,
            is_scored=row is not None and row["scored"] > 0,
            is_unseen=valid + invalid == 0,
        )

    def _repriced(self, key: tuple[str, bool], price: Price | None) -> float | None:
        """Return the list price of the type's mean request, USD: tokens as other tiers used them."""
        rows = [row for rows in self._seen.get(key, {}).values() for row in rows]
        n_tokens = sum(row["n_tokens"] for row in rows)
        if price is None or not n_tokens:
            return None
        inputs = sum(row["input_tokens"] for row in rows) / n_tokens
        outputs = sum(row["output_tokens"] for row in rows) / n_tokens
        return (inputs * price.input_nusd_per_m + outputs * price.output_nusd_per_m) / 1e6 / NANO


def _grouped(frame: pl.DataFrame, column: str) -> dict[tuple[str, bool], dict[str | None, list[Row]]]:
    found: dict[tuple[str, bool], dict[str | None, list[Row]]] = {}
    for row in frame.iter_rows(named=True):
        by_value = found.setdefault((row["payload_type"], row["dated"]), {})
        by_value.setdefault(row[column], []).append(row)
    return found


def _weighted_rate(rows: list[Row]) -> float | None:
    """Return the wrong rate, labels weighted by 1 / the chance with which they were drawn where that is known."""
    weights = [1.0 / (row["label_propensity"] or 1.0) for row in rows]
    total = sum(weight * row["labels"] for weight, row in zip(weights, rows, strict=True))
    if not total:
        return None
    return sum(weight * row["wrong"] for weight, row in zip(weights, rows, strict=True)) / total
