"""A rehearsal of daily limits on logged traffic: the sweep's exact sums beside what labels say about the answers."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.simulate.caps import NEVER, Calls, Ints, Sweep, sweep
from optimizer.simulate.harm import Harm, Labels, harm
from router_core.control.records import Interval
from router_core.decide.guard import Limit
from router_core.types import NANO


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
class Traffic:
    """Logged calls, ready to be replayed.

    Attributes:
        zone: IANA zone of the days.
        days: The local days, in order and without gaps.
        calls: The calls.
        kinds: What their kinds are.
        labels: What labels say about the kinds.
    """

    zone: str
    days: tuple[dt.date, ...]
    calls: Calls
    kinds: tuple[Kind, ...]
    labels: Labels

    @property
    def type_of_kind(self) -> Ints:
        """Index of the payload type of each kind, shape ``(n_kinds,)``: in order of first appearance."""
        names = {name: place for place, name in enumerate(dict.fromkeys(kind.payload_type for kind in self.kinds))}
        return np.array([names[kind.payload_type] for kind in self.kinds], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A day on which a limit is reached, and when."""

    day: dt.date
    at_us: int


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
        moved_by_basis: ``moved`` by how the cost of the alternative is known, in the order of ``caps.OWN`` ...
        harm: What moving ``moved`` does to answers.
        net_usd: Saved minus what further wrong answers cost, as far as that is known: total cost saved, signed.
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
    moved_by_basis: tuple[int, ...]
    harm: Harm
    net_usd: Interval

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
    """

    payload_type: str | None
    calls: int
    tiers_capped: tuple[str, ...]
    moved: int
    already: int
    saved_nusd: int
    harm: Harm

    @property
    def net_usd(self) -> Interval:
        """Saved minus what further wrong answers cost, signed."""
        return _net(self.saved_nusd, self.harm)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rehearsal:
    """Several limits on the same traffic.

    Attributes:
        traffic: The traffic.
        sweep: Exact sums of each limit.
        effects: One per limit, in the order given.
    """

    traffic: Traffic
    sweep: Sweep
    effects: tuple[Effect, ...]

    def by_type(self, place: int) -> tuple[TypeEffect, ...]:
        """Return what the limit at this place does to each payload type, most degraded first."""
        kinds, swept = self.traffic.kinds, self.sweep
        calls = np.bincount(self.traffic.calls.kind, minlength=len(kinds))
        places: dict[str | None, list[int]] = {}
        for index, kind in enumerate(kinds):
            places.setdefault(kind.payload_type, []).append(index)
        found = [
            TypeEffect(
                payload_type=payload_type,
                calls=int(calls[own].sum()),
                tiers_capped=tuple(dict.fromkeys(filter(None, (kinds[index].tier_capped for index in own)))),
                moved=int(swept.moved[place, own].sum()),
                already=int(swept.already[place, own].sum()),
                saved_nusd=int(swept.saved_nusd[place, own].sum()),
                harm=_harm_of(swept.moved[place], own, self.traffic.labels),
            )
            for payload_type, own in places.items()
        ]
        return tuple(sorted(found, key=lambda row: (-row.moved - row.already, row.payload_type or "")))


def rehearse(traffic: Traffic, limits: Sequence[Limit]) -> Rehearsal:
    """Return what each limit would have done to the traffic.

    Raises:
        ValueError: A limit or a reserve is out of range; see ``caps.sweep``.
    """
    swept = sweep(traffic.calls, limits)
    effects = tuple(_effect(traffic, swept, place) for place in range(len(limits)))
    return Rehearsal(traffic=traffic, sweep=swept, effects=effects)


def _effect(traffic: Traffic, swept: Sweep, place: int) -> Effect:
    limit = swept.limits[place]
    done = harm(swept.moved[place], traffic.labels)
    capped = swept.capped_nusd[place]
    saved = int(swept.saved_nusd[place].sum())
    return Effect(
        limit=limit,
        trips=tuple(
            Trip(day=day, at_us=int(at_us))
            for day, at_us in zip(traffic.days, swept.trip_us[place], strict=True)
            if at_us != NEVER
        ),
        left=tuple(day for day, left in zip(traffic.days, swept.left[place], strict=True) if left),
        actual_nusd=int(swept.actual_nusd.sum()),
        capped_nusd=int(capped.sum()),
        critical_nusd=int(swept.critical_nusd.sum()),
        days_over=int((capped > limit.limit_nusd).sum()),
        moved=int(swept.moved[place].sum()),
        already=int(swept.already[place].sum()),
        moved_by_basis=tuple(int(number) for number in swept.moved_by_basis[place]),
        harm=done,
        net_usd=_net(saved, done),
    )


def _harm_of(moved: np.ndarray, own: Sequence[int], labels: Labels) -> Harm:
    some = np.zeros_like(moved)
    some[own] = moved[own]
    return harm(some, labels)


def _net(saved_nusd: int, done: Harm) -> Interval:
    saved, impact = saved_nusd / NANO, done.impact_usd
    return Interval(mean=saved - impact.mean, low=saved - impact.high, high=saved - impact.low)
