"""A rehearsal of daily limits on logged traffic: the sweep's exact sums beside what labels say about the answers."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.simulate.caps import NEVER, Calls, Flags, Ints, Sweep
from optimizer.simulate.harm import Changes, Floats, Harm, Labels, draw_changes, harm, interval_of
from optimizer.simulate.limits import Asked, sweep_all
from optimizer.simulate.steady import Steady, SteadyWay, steady_way
from router_core.control.records import Interval
from router_core.decide.guard import EVERYTHING, Limit, Scope
from router_core.types import NANO

_LONGEST_CALL_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Calls that the evidence treats alike.

    Attributes:
        payload_type: Their payload type; None = the log has none.
        tier_served: The tier that served them; None = they got no answer.
        tier_capped: The tier that a limit moves them to; None = no target is known for them.
    """

    payload_type: str | None
    tier_served: str | None
    tier_capped: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostDoubt:
    """How far off the cost of a kind's alternative may be, as a share of it: standard deviations, shape ``(n_kinds,)``.

    Attributes:
        scaled: Where it is scaled by what was measured on both targets; one error holds for all calls of a type.
        scatter: What one call by itself is off there.
        repriced: Where it is the served answer's tokens at another price; one error holds for all calls of a type.
    """

    scaled: Floats
    scatter: Floats
    repriced: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Uncapped:
    """Calls that a limit had degraded, put back to what they would have cost without it.

    Attributes:
        days: The days on which there are any.
        calls: How many.
        extra_nusd: By how much spend is higher so, per day of the traffic, shape ``(n_days,)``.
    """

    days: tuple[dt.date, ...]
    calls: int
    extra_nusd: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traffic:
    """Logged calls, ready to be replayed.

    Attributes:
        zone: IANA zone of the days.
        days: The local days, in order and without gaps.
        calls: The calls.
        kinds: What their kinds are.
        labels: What labels say about the kinds.
        doubt: How sure the cost of the alternative is; None = as if it were exact.
        uncapped: What was put back to its cost without a limit; None = nothing was.
        tags: Sets of tags, as ``calls_tags`` names them.
        calls_tags: Which of them each call has, -1 = none, shape ``(n_calls,)``; None = they were not read.
    """

    zone: str
    days: tuple[dt.date, ...]
    calls: Calls
    kinds: tuple[Kind, ...]
    labels: Labels
    doubt: CostDoubt | None = None
    uncapped: Uncapped | None = None
    tags: tuple[Mapping[str, str], ...] = ()
    calls_tags: Ints | None = None

    def asked(self, limit: Limit) -> Asked:
        """Return a limit with the calls that it counts.

        Raises:
            ValueError: It asks for tags or runs that were not read.
        """
        scope = limit.scope
        if scope == EVERYTHING:
            return Asked(limit=limit)
        if (scope.tags and self.calls_tags is None) or (scope.each_run and self.calls.run is None):
            raise ValueError(f"limit {limit.name}: its tags or runs were not read")
        tags = np.full(len(self.calls.kind), -1, dtype=np.int64) if self.calls_tags is None else self.calls_tags
        pairs, of_call = np.unique(np.stack([self.calls.kind, tags]), axis=1, return_inverse=True)
        counted = np.array([self._counts(scope, int(kind), int(tag)) for kind, tag in pairs.T], dtype=np.bool_)
        is_counted = counted[of_call] if len(counted) else np.zeros(0, dtype=np.bool_)
        one = np.zeros(len(tags), dtype=np.int64) if not scope.each_run or self.calls.run is None else self.calls.run
        return Asked(limit=limit, scope=np.where(is_counted, one, -1))

    def _counts(self, scope: Scope, kind: int, tag: int) -> bool:
        call = _Counted(
            payload_type=self.kinds[kind].payload_type or "",
            run="some" if scope.each_run else None,
            tags=None if tag < 0 else self.tags[tag],
        )
        return scope.key_of(call) is not None

    @property
    def type_of_kind(self) -> Ints:
        """Index of the payload type of each kind, shape ``(n_kinds,)``: in order of first appearance."""
        names = {name: place for place, name in enumerate(dict.fromkeys(kind.payload_type for kind in self.kinds))}
        return np.array([names[kind.payload_type] for kind in self.kinds], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """What a limit's scope looks at."""

    payload_type: str
    run: str | None
    tags: Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A day on which a limit is reached, and when.

    Attributes:
        day: The local day.
        at_us: The instant, microseconds since the epoch.
        in_flight: Calls that had begun and were not answered yet.
        in_flight_nusd: What they did cost: a real limit knows only an estimate of it by then.
    """

    day: dt.date
    at_us: int
    in_flight: int = 0
    in_flight_nusd: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one limit would have done to the traffic.

    Attributes:
        limit: The limit.
        trips: Days on which it is reached.
        left: Days left as they were: a limit had degraded calls on them, and this one would be reached later or never.
        actual_nusd: Spend as it happened.
        capped_nusd: Spend under the limit.
        critical_nusd: Spend of critical calls, the same in both.
        days_over: Days on which spend under the limit is above the limit all the same.
        moved: Calls degraded that were not degraded in the log.
        already: Calls degraded that were degraded in the log too.
        rejected: Calls refused.
        tapered: Calls whose answer is served where they had gone on for want of confidence; what that does to answers
            is not known.
        moved_by_basis: ``moved`` by how the cost of the alternative is known, in the order of ``caps.OWN`` ...
        harm: What moving ``moved`` does to answers.
        saved_usd: What the limit saves, with the 90 % interval that comes of not knowing the alternative's cost.
        net_usd: Saved minus what further wrong answers cost, as far as that is known: total cost saved, signed.
        steady: What another way of moving calls would have saved at as many further wrong answers; None = no labels
            speak for any call.
        uncapped: What was put back to its cost without a limit; None = nothing was.
    """

    limit: Limit
    trips: tuple[Trip, ...]
    left: tuple[dt.date, ...]
    actual_nusd: int
    capped_nusd: int
    critical_nusd: int
    days_over: int
    moved: int
    already: int
    rejected: int
    tapered: int
    moved_by_basis: tuple[int, ...]
    harm: Harm
    saved_usd: Interval
    net_usd: Interval
    steady: Steady | None
    uncapped: Uncapped | None

    @property
    def saved_nusd(self) -> int:
        """What the limit saves, signed: negative where the alternative is dearer than what happened."""
        return self.actual_nusd - self.capped_nusd

    @property
    def degraded(self) -> int:
        """All calls that the limit degrades."""
        return self.moved + self.already


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeEffect:
    """What one limit would have done to one payload type; see ``Effect``.

    Attributes:
        payload_type: Which; None = the log has none.
        calls: Its calls in the traffic, critical ones included.
        tiers_capped: Where its calls are moved to.
        moved: Calls degraded that were not degraded in the log.
        already: Calls degraded that were degraded in the log too.
        saved_nusd: Spend saved, signed.
        harm: What moving ``moved`` does to answers.
        net_usd: Saved minus what further wrong answers cost, signed.
    """

    payload_type: str | None
    calls: int
    tiers_capped: tuple[str, ...]
    moved: int
    already: int
    saved_nusd: int
    harm: Harm
    net_usd: Interval


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rehearsal:
    """Several limits on the same traffic.

    Attributes:
        traffic: The traffic.
        sweep: Exact sums of each limit.
        effects: One per limit, in the order given.
        odds: Draws of what is not known, the same for all limits.
    """

    traffic: Traffic
    sweep: Sweep
    effects: tuple[Effect, ...]
    odds: "Odds"

    def by_type(self, place: int) -> tuple[TypeEffect, ...]:
        """Return what the limit at this place does to each payload type, most degraded first."""
        kinds, swept = self.traffic.kinds, self.sweep
        calls = np.bincount(self.traffic.calls.kind, minlength=len(kinds))
        places: dict[str | None, list[int]] = {}
        for index, kind in enumerate(kinds):
            places.setdefault(kind.payload_type, []).append(index)
        found: list[TypeEffect] = []
        for payload_type, own in places.items():
            some = np.zeros(len(kinds), dtype=np.bool_)
            some[own] = True
            drawn, done = self.odds.outcome(self.traffic, swept, place, some)
            saved = int(swept.saved_nusd[place, own].sum())
            found.append(
                TypeEffect(
                    payload_type=payload_type,
                    calls=int(calls[own].sum()),
                    tiers_capped=tuple(dict.fromkeys(filter(None, (kinds[index].tier_capped for index in own)))),
                    moved=int(swept.moved[place, own].sum()),
                    already=int(swept.already[place, own].sum()),
                    saved_nusd=saved,
                    harm=done,
                    net_usd=_net(drawn, done, saved / NANO),
                )
            )
        return tuple(sorted(found, key=lambda row: (-row.moved - row.already, row.payload_type or "")))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Odds:
    """Draws of what is not known.

    Attributes:
        changes: Of the change of the wrong rate in each sample.
        cost: Errors of the alternative's cost in standard deviations, shape ``(n_draws, n_kinds)``: one per type.
        chance: The same for what single calls are off, shape ``(n_draws,)``.
    """

    changes: Changes
    cost: Floats
    chance: Floats

    def outcome(self, traffic: Traffic, swept: Sweep, place: int, kinds: Flags) -> tuple[Floats, Harm]:
        """Return draws of what a limit saves on some kinds of calls, USD, and what it does to their answers."""
        saved = np.full(len(self.cost), float(swept.saved_nusd[place, kinds].sum()) / NANO)
        if traffic.doubt is not None:
            off = swept.doubtful_nusd[place] * np.column_stack([traffic.doubt.scaled, traffic.doubt.repriced])
            saved -= self.cost[:, kinds] @ (off[kinds].sum(axis=1) / NANO)
            # independent errors of so many calls add up as their squares do
            alone = (swept.doubtful_nusd[place, :, 0] / NANO * traffic.doubt.scatter) ** 2
            moved = np.maximum(swept.moved[place], 1)
            saved -= self.chance * float(np.sqrt((alone / moved)[kinds].sum()))
        return saved, harm(np.where(kinds, swept.moved[place], 0), traffic.labels, self.changes)


def rehearse(traffic: Traffic, limits: Sequence[Limit], *, seed: int = 0, n_draws: int = 400) -> Rehearsal:
    """Return what each limit would have done to the traffic.

    Args:
        traffic: The calls.
        limits: The limits.
        seed: Seed of all draws.
        n_draws: How many joint draws the intervals rest on.

    Raises:
        ValueError: An amount is out of range, or a limit asks for tags or runs that were not read.
    """
    swept = sweep_all(traffic.calls, [traffic.asked(limit) for limit in limits], traffic.days)
    rng = np.random.default_rng(seed)
    changes = draw_changes(traffic.labels, n_draws, rng)
    of_type = rng.standard_normal((n_draws, int(traffic.type_of_kind.max(initial=-1)) + 1))
    odds = Odds(changes=changes, cost=of_type[:, traffic.type_of_kind], chance=rng.standard_normal(n_draws))
    way = steady_way(traffic.calls, traffic.labels, changes)
    effects = tuple(_effect(traffic, swept, place, odds, way) for place in range(len(limits)))
    return Rehearsal(traffic=traffic, sweep=swept, effects=effects, odds=odds)


def _effect(traffic: Traffic, swept: Sweep, place: int, odds: Odds, way: SteadyWay) -> Effect:
    limit = swept.limits[place]
    saved, done = odds.outcome(traffic, swept, place, np.ones(len(traffic.kinds), dtype=np.bool_))
    capped = swept.capped_nusd[place]
    saved_usd = int(swept.saved_nusd[place].sum()) / NANO
    return Effect(
        limit=limit,
        trips=tuple(
            _trip(traffic, day, int(at_us)) for day, at_us in enumerate(swept.trip_us[place]) if at_us != NEVER
        ),
        left=tuple(day for day, left in zip(traffic.days, swept.left[place], strict=True) if left),
        actual_nusd=int(swept.actual_nusd.sum()),
        capped_nusd=int(capped.sum()),
        critical_nusd=int(swept.critical_nusd.sum()),
        days_over=int((capped > limit.limit_nusd).sum()),
        moved=int(swept.moved[place].sum()),
        already=int(swept.already[place].sum()),
        rejected=int(swept.rejected[place].sum()),
        tapered=int(swept.tapered[place].sum()),
        moved_by_basis=tuple(int(number) for number in swept.moved_by_basis[place]),
        harm=done,
        saved_usd=interval_of(saved, saved_usd),
        net_usd=_net(saved, done, saved_usd),
        steady=way.at(swept, place),
        uncapped=traffic.uncapped,
    )


def _trip(traffic: Traffic, day: int, at_us: int) -> Trip:
    calls = traffic.calls
    if calls.ended_us is None:
        return Trip(day=traffic.days[day], at_us=at_us)
    begin = int(np.searchsorted(calls.at_us, at_us - _LONGEST_CALL_US))
    rows = slice(begin, int(np.searchsorted(calls.at_us, at_us)))
    flying = calls.ended_us[rows] > at_us
    return Trip(
        day=traffic.days[day],
        at_us=at_us,
        in_flight=int(flying.sum()),
        in_flight_nusd=int(calls.cost_nusd[rows][flying].sum()),
    )


def _net(saved: Floats, done: Harm, mean: float) -> Interval:
    return interval_of(saved - done.impact_draws, mean - done.impact_usd.mean)
