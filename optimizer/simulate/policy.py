"""All calls of a log under another routing config: cost, escalations, latency and wrong answers.

A call is *replayed* where the log has every answer that the other path asks for: then what it costs and serves is
known. Where the log has not, a sample of the type's calls may stand for the rest, calls that went up by themselves and
calls that did not apart (``evidence``): such calls are *estimated*. Without a fair sample they are *unknown*, and their
payload type is in no figure of cost or of wrong answers.

What was served in fact is what it is compared with, not what the present config would serve.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.answers import Table
from optimizer.estimate import Effects, effects_of, posterior_of
from optimizer.evidence import Comparison, compare, joint_propensity
from optimizer.paths import Route
from optimizer.replay import NOBODY, Flags, Floats, Ints, Served, Way, replay
from optimizer.rules import Rules
from router_core.control.records import Interval

_Z_90: Final = 1.6448536269514722


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One payload type under the other config.

    Attributes:
        name: The payload type.
        route: Its path there, tiers as columns of the table; None = it has none that can be replayed.
        excuse: Why it has none.
        accepts_missing: Whether an unscored answer is served.
        error_cost_usd: Price of a wrong answer, USD; None = it has none.
    """

    name: str
    route: Route | None
    excuse: str = ""
    accepts_missing: bool = False
    error_cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """What the log says of its calls; rows as in the table.

    Attributes:
        table: Their answers. ``type`` is the place in the list of payload types, ``group`` is 0.
        served: What was served in fact.
        cost_usd: What each call did cost, shadows apart, USD, shape ``(n_calls,)``.
        latency_ms: How long it took; nan = not known.
    """

    table: Table
    served: Served
    cost_usd: Floats
    latency_ms: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeOutcome:
    """One payload type under the other config; intervals are 90 % ones.

    Attributes:
        name: The payload type.
        excuse: Why nothing can be said; "" = something can.
        calls: Its calls in the log.
        replayed: Calls of which the log has every answer needed.
        estimated: Calls that a sample stands for.
        unknown: Calls of which the log cannot tell what they would have cost or served.
        labelled: Of the calls whose answer would differ, those that are labelled on both sides.
        cost_usd: What they did cost.
        then_usd: What they would have cost; None = not known.
        escalated: Share of calls that went beyond their first step, 0..1.
        then_escalated: The same under the other config; None = not known.
        latency_ms: Mean latency; None = not known.
        then_latency_ms: The same under the other config.
        p95_ms: p95 of latency; None = not known.
        then_p95_ms: The same under the other config.
        extra_wrong: Further wrong answers, signed; None = not known.
        impact_usd: What they cost, signed; None = not known, or a wrong answer has no price.
    """

    name: str
    excuse: str
    calls: int
    replayed: int
    estimated: int
    unknown: int
    labelled: int
    cost_usd: float
    then_usd: Interval | None
    escalated: float
    then_escalated: Interval | None
    latency_ms: float | None
    then_latency_ms: Interval | None
    p95_ms: float | None
    then_p95_ms: float | None
    extra_wrong: Interval | None
    impact_usd: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A whole log under another config.

    Attributes:
        types: One per payload type, dearest first.
        calls: All calls.
        replayed: Calls of which the log has every answer needed.
        estimated: Calls that a sample stands for.
        unknown: Calls of which the log cannot tell.
        cost_usd: What all calls did cost.
        known_cost_usd: The part of payload types whose cost under the other config is known.
        then_usd: What these would have cost.
        judged: Calls of payload types whose wrong answers are known.
        extra_wrong: Their further wrong answers, signed.
        priced: Calls of those whose wrong answers have a price.
        impact_usd: What these cost, signed.
        net_calls: Calls of payload types of which cost and priced wrong answers are known.
        net_usd: Their spend saved less what their further wrong answers cost, signed.
    """

    types: tuple[TypeOutcome, ...]
    calls: int
    replayed: int
    estimated: int
    unknown: int
    cost_usd: float
    known_cost_usd: float
    then_usd: Interval
    judged: int
    extra_wrong: Interval
    priced: int
    impact_usd: Interval
    net_calls: int
    net_usd: Interval


def actual_of(table: Table, is_served: Flags, latency_ms: Floats) -> Served:
    """Return what was served in fact.

    Args:
        table: The answers.
        is_served: Which answer was, shape ``(n_calls, n_tiers)``.
        latency_ms: How long each call took.
    """
    asked = table.answers.answered & ~table.is_shadow
    return Served(
        known=np.ones(len(is_served), dtype=np.bool_),
        tier=np.where(is_served.any(axis=1), is_served.argmax(axis=1), NOBODY),
        asked=asked,
        cost_usd=np.where(asked, table.answers.cost_usd, 0.0).sum(axis=1),
        latency_ms=latency_ms,
    )


def simulate_policy(facts: Facts, asks: Sequence[Ask], rng: np.random.Generator, rules: Rules) -> Outcome:
    """Return what the calls would have cost and served under another config.

    Args:
        facts: The calls as they were.
        asks: The payload types, one per value of ``facts.table.type``, in its order.
        rng: Source of all draws.
        rules: Constants of estimates.
    """
    first = _usual_tier(facts, len(asks))
    groups: defaultdict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
    for place, ask in enumerate(asks):
        if ask.route is not None:
            groups[int(first[place]), ask.route.tiers].append(place)
    drawn: dict[int, _Drawn] = {}
    for (tier, _), places in sorted(groups.items()):
        for found in _compared(facts, asks, np.array(places), tier, rng, rules):
            drawn[found.place] = found
    types = [drawn[place] if place in drawn else _excused(facts, ask, place) for place, ask in enumerate(asks)]
    return _total([each for each in types if each.outcome.calls], rules.n_draws)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A payload type's outcome with the draws behind it, for totals; None = not known."""

    place: int
    outcome: TypeOutcome
    saved_usd: Floats | None
    wrong: Floats | None
    price_usd: float | None


def _usual_tier(facts: Facts, n_types: int) -> Ints:
    """Return the tier that has served most calls of each type; the first where none has."""
    n_tiers = facts.table.is_shadow.shape[1]
    answered = facts.served.tier != NOBODY
    cell = facts.table.type[answered] * n_tiers + facts.served.tier[answered]
    return np.bincount(cell, minlength=n_types * n_tiers).reshape(n_types, n_tiers).argmax(axis=1)


def _compared(
    facts: Facts, every: Sequence[Ask], places: Ints, tier: int, rng: np.random.Generator, rules: Rules
) -> list[_Drawn]:
    """Return the outcomes of types that one tier mostly serves now, and whose other paths take the same tiers."""
    asks = [every[place] for place in places]
    position = np.full(len(every), -1, dtype=np.int64)
    position[places] = np.arange(len(places))
    rows = np.flatnonzero(position[facts.table.type] >= 0)
    table = _numbered(facts.table.rows(rows), position)
    served = _rows(facts.served, rows)
    now = Way(
        tiers=(tier,),
        accept_at=np.zeros((len(rows), 1)),
        straight_below=np.full((len(rows), 1), np.nan),
        accepts_missing=np.ones(len(rows), dtype=np.bool_),
    )
    then = _way(asks, table.type)
    found = compare(table, now, then, (len(asks), 1), served)
    calls = np.zeros((len(asks), 1, 2))
    np.add.at(calls[:, 0], (table.type, table.stratum), 1.0)
    effects = effects_of(found, calls, rules)
    wrong = posterior_of(effects, found.pairs, rng, rules).draws
    sums = _Sums(table, served, replay(table.answers, then), calls[:, 0, :])
    evidence = _Evidence(found, effects, wrong, sums)
    own = Facts(table=table, served=served, cost_usd=facts.cost_usd[rows], latency_ms=facts.latency_ms[rows])
    return [_outcome(ask, int(places[k]), own, evidence, k, rng) for k, ask in enumerate(asks)]


def _numbered(table: Table, position: Ints) -> Table:
    return replace(table, type=position[table.type])


def _rows(served: Served, rows: Ints) -> Served:
    return Served(
        known=served.known[rows],
        tier=served.tier[rows],
        asked=served.asked[rows],
        cost_usd=served.cost_usd[rows],
        latency_ms=served.latency_ms[rows],
    )


def _way(asks: Sequence[Ask], position: Ints) -> Way:
    routes = [ask.route for ask in asks if ask.route is not None]
    accept = np.array([route.accept_at for route in routes], dtype=np.float64)
    straight = np.array(
        [[np.nan if value is None else value for value in route.straight_below] for route in routes], dtype=np.float64
    )
    return Way(
        tiers=routes[0].tiers,
        accept_at=accept[position],
        straight_below=straight[position],
        accepts_missing=np.array([ask.accepts_missing for ask in asks])[position],
    )


class _Sums:
    """What replayed calls of each type say of all its calls: weighted so that each stratum counts as often as it is."""

    def __init__(self, table: Table, present: Served, proposed: Served, cells: Floats) -> None:
        usable = proposed.known & (proposed.tier != NOBODY)
        weight = np.where(usable, 1.0 / joint_propensity(table, present, proposed), 0.0)
        cell = table.type * 2 + table.stratum
        in_cell = np.bincount(cell, weight, cells.size)
        factor = np.divide(cells.ravel(), in_cell, out=np.zeros(cells.size), where=in_cell > 0)
        self._weight = weight * factor[cell]
        self._present, self._proposed = present, proposed

    def replayed(self, own: Flags) -> int:
        return int(self._proposed.known[own].sum())

    def saved_usd(self, own: Flags) -> float | None:
        """Return what a type would have saved, where that is known of every call; else None."""
        saved = (self._present.cost_usd - self._proposed.cost_usd)[own]
        return float(saved.sum()) if self._proposed.known[own].all() and not np.isnan(saved).any() else None

    def serves_the_same(self, own: Flags) -> bool:
        """Return whether every call would have been served by the tier that served it."""
        same = self._proposed.known & (self._proposed.tier == self._present.tier)
        return bool(same[own].all())

    def escalated(self, own: Flags) -> Interval | None:
        return self._mean((self._proposed.asked.sum(axis=1) > 1).astype(np.float64), own)

    def latency_ms(self, own: Flags) -> Interval | None:
        return self._mean(self._proposed.latency_ms, own)

    def _mean(self, values: Floats, own: Flags) -> Interval | None:
        keep = own & (self._weight > 0) & ~np.isnan(values)
        weight, values = self._weight[keep], values[keep]
        if not weight.size:
            return None
        mean = float(np.average(values, weights=weight))
        size = float(weight.sum() ** 2 / (weight**2).sum())
        spread = float(np.average((values - mean) ** 2, weights=weight))
        # what is known of all calls is certain
        half = _Z_90 * float(np.sqrt(spread / size * (1.0 - keep.sum() / own.sum())))
        return Interval(mean=mean, low=mean - half, high=mean + half)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What is known of the types of one comparison."""

    found: Comparison
    effects: Effects
    wrong: Floats
    sums: _Sums

    def saved_usd(self, k: int, own: Flags, rng: np.random.Generator) -> Floats | None:
        """Return draws of what a type would have saved, USD; None = not known."""
        exact, n = self.sums.saved_usd(own), float(own.sum())
        if exact is not None:
            return np.full(len(self.wrong), exact)
        if not self.effects.costed[k]:
            return None
        unseen = max(1.0 - float(self.found.cost_calls[k].sum()) / n, 0.0)
        variance = float(self.effects.cost_var[k]) * unseen * n**2 + float(self.effects.cost_call_var[k]) * unseen * n
        return -n * float(self.effects.cost[k]) + np.sqrt(variance) * rng.standard_normal(len(self.wrong))

    def extra_wrong(self, k: int, own: Flags, rng: np.random.Generator) -> Floats | None:
        """Return draws of a type's further wrong answers; None = not known."""
        if self.sums.serves_the_same(own):
            return np.zeros(len(self.wrong))
        if not self.effects.seen[k]:
            return None
        n = float(own.sum())
        unlabelled = max(1.0 - float(self.found.pairs[k]) / n, 0.0)
        sd = np.sqrt(float(self.effects.wrong_call_var[k]) * n * unlabelled)
        return n * self.wrong[:, k] + sd * rng.standard_normal(len(self.wrong))


def _outcome(ask: Ask, place: int, facts: Facts, evidence: _Evidence, k: int, rng: np.random.Generator) -> _Drawn:
    """Return the outcome of one type; ``facts`` are those of its comparison, where it has the number ``k``."""
    own = facts.table.type == k
    n, cost = int(own.sum()), float(facts.cost_usd[own].sum())
    saved, extra = evidence.saved_usd(k, own, rng), evidence.extra_wrong(k, own, rng)
    replayed = evidence.sums.replayed(own)
    estimated = 0 if saved is None else n - replayed
    slack = n * float(evidence.effects.slack[k]) if evidence.effects.seen[k] else 0.0
    wrong = None if extra is None else _interval(extra, below=slack)
    p95 = float(evidence.found.p95_ms[k])
    outcome = replace(
        _plain(facts, ask, own),
        replayed=replayed,
        estimated=estimated,
        unknown=n - replayed - estimated,
        labelled=int(evidence.found.pair_calls[k].sum()),
        then_usd=None if saved is None else _interval(cost - saved),
        then_escalated=None if saved is None else evidence.sums.escalated(own),
        then_latency_ms=None if saved is None else evidence.sums.latency_ms(own),
        then_p95_ms=None if saved is None or np.isnan(p95) else p95,
        extra_wrong=wrong,
        impact_usd=None if wrong is None or ask.error_cost_usd is None else _times(wrong, ask.error_cost_usd),
    )
    return _Drawn(place, outcome, saved, extra, ask.error_cost_usd)


def _excused(facts: Facts, ask: Ask, place: int) -> _Drawn:
    own = facts.table.type == place
    return _Drawn(place, replace(_plain(facts, ask, own), excuse=ask.excuse), None, None, None)


def _plain(facts: Facts, ask: Ask, own: Flags) -> TypeOutcome:
    """Return a payload type as it was, with nothing known of the other config."""
    latency = facts.latency_ms[own]
    latency = latency[~np.isnan(latency)]
    n = int(own.sum())
    return TypeOutcome(
        name=ask.name,
        excuse="",
        calls=n,
        replayed=0,
        estimated=0,
        unknown=n,
        labelled=0,
        cost_usd=float(facts.cost_usd[own].sum()),
        then_usd=None,
        escalated=float((facts.served.asked[own].sum(axis=1) > 1).mean()) if n else 0.0,
        then_escalated=None,
        latency_ms=float(latency.mean()) if latency.size else None,
        then_latency_ms=None,
        p95_ms=float(np.quantile(latency, 0.95, method="inverted_cdf")) if latency.size else None,
        then_p95_ms=None,
        extra_wrong=None,
        impact_usd=None,
    )


def _total(types: Sequence[_Drawn], n_draws: int) -> Outcome:
    outcomes = [each.outcome for each in types]
    costed = [each for each in types if each.saved_usd is not None]
    judged = [each for each in types if each.wrong is not None]
    priced = [each for each in judged if each.price_usd is not None]
    both = [each for each in priced if each.saved_usd is not None]
    nothing = np.zeros(n_draws)
    known = sum(each.outcome.cost_usd for each in costed)
    wrong = sum((each.wrong for each in judged if each.wrong is not None), nothing)
    impact = sum((_impact(each) for each in priced), nothing)
    net = sum((each.saved_usd - _impact(each) for each in both if each.saved_usd is not None), nothing)
    slack = sum(_slack(each) for each in judged)
    slack_usd = sum(_slack(each) * (each.price_usd or 0.0) for each in priced)
    return Outcome(
        types=tuple(sorted(outcomes, key=lambda each: (-each.cost_usd, each.name))),
        calls=sum(each.calls for each in outcomes),
        replayed=sum(each.replayed for each in outcomes),
        estimated=sum(each.estimated for each in outcomes),
        unknown=sum(each.unknown for each in outcomes),
        cost_usd=sum(each.cost_usd for each in outcomes),
        known_cost_usd=known,
        then_usd=_interval(known - sum((each.saved_usd for each in costed if each.saved_usd is not None), nothing)),
        judged=sum(each.outcome.calls for each in judged),
        extra_wrong=_interval(wrong, below=slack),
        priced=sum(each.outcome.calls for each in priced),
        impact_usd=_interval(impact, below=slack_usd),
        net_calls=sum(each.outcome.calls for each in both),
        net_usd=_interval(net, above=sum(_slack(each) * (each.price_usd or 0.0) for each in both)),
    )


def _impact(drawn: _Drawn) -> Floats:
    return np.zeros(1) if drawn.wrong is None else drawn.wrong * (drawn.price_usd or 0.0)


def _slack(drawn: _Drawn) -> float:
    """Return how many of a type's further wrong answers may be right, for labels that are only bounded."""
    known = drawn.outcome.extra_wrong
    if known is None or drawn.wrong is None:
        return 0.0
    return max(float(np.quantile(drawn.wrong, 0.05)) - known.low, 0.0)


def _times(interval: Interval, price: float) -> Interval:
    return Interval(mean=interval.mean * price, low=interval.low * price, high=interval.high * price)


def _interval(draws: Floats, *, below: float = 0.0, above: float = 0.0) -> Interval:
    low, high = (float(each) for each in np.quantile(draws, (0.05, 0.95)))
    return Interval(mean=float(draws.mean()), low=low - below, high=high + above)
