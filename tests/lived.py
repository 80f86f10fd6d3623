"""The same traffic twice, without a limit and under one that a real router keeps: what was said, what came of it."""

import datetime as dt
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from optimizer.simulate.rehearsal import Effect, rehearse
from optimizer.traffic.reading import read_traffic
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.clock import VirtualClock
from router_core.config import parse
from router_core.decide.guard import Limit, midnight_us
from router_core.testing import FakeBackend, Reply, make_router
from router_core.types import NANO, Request, Usage
from tests.routers import ROUTING, reply

ZONE = ZoneInfo("Europe/Berlin")
FIRST = dt.date(2026, 11, 2)
DAYS, PER_DAY = 8, 90
DEAREST_SHADOW_USD = 0.00025
WRONG = {"a/small": 0.16, "b/small": 0.16, "a/medium": 0.06, "b/large": 0.03}
_SHADOW = "shadow: [{tier: cheap, on: all, rate: 0.3}]"
UNLIMITED = (
    ROUTING.replace("version: 1\n", "version: 1\ntimezone: Europe/Berlin\n")
    .replace("}]", ", max_output_tokens: 400}]")
    .replace("}, {", ", max_output_tokens: 400}, {")
    .replace("path: [cheap, mid, top], error_cost_usd: 0.5", f"path: [mid], error_cost_usd: 0.5, {_SHADOW}")
    .replace("payload_types:\n", f"payload_types:\n  y.write: {{path: [top], error_cost_usd: 2, {_SHADOW}}}\n")
    + "shadow_budget: {per: day, usd: 1000}\n"
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What a real router did with the traffic.

    Attributes:
        home: Its home.
        spend_nusd: All that was spent, shadows included.
        first_degraded: Place among the day's non-critical calls of the first one that was degraded, by day.
        degraded: Calls that were.
        wrong: Calls of which the world knows that their answer is wrong.
    """

    home: Home
    spend_nusd: int
    first_degraded: dict[str, int]
    degraded: int
    wrong: int


@dataclass(frozen=True)
class Lived:
    """What was predicted of a limit, and what it then did."""

    predicted: Effect
    free: Run
    limited: Run
    predicted_first: dict[str, int]

    @property
    def trips_off(self) -> dict[str, int]:
        """By how many non-critical calls each tripped day's trip was off; a day only one of them has counts as far."""
        days = self.predicted_first.keys() | self.limited.first_degraded.keys()
        far = PER_DAY
        return {
            day: abs(self.predicted_first.get(day, far) - self.limited.first_degraded.get(day, 3 * far)) for day in days
        }

    @property
    def held(self) -> tuple[bool, bool, bool]:
        """Whether the money saved, the calls degraded and the further wrong answers were as predicted."""
        saved = (self.free.spend_nusd - self.limited.spend_nusd) / NANO
        wrong = self.limited.wrong - self.free.wrong
        predicted = self.predicted
        # the trip may be one call off each day; and near a limit a real router leaves out shadows that it may not cover
        room = len(self.limited.first_degraded)
        shadows = room * DEAREST_SHADOW_USD
        return (
            predicted.saved_usd.low <= saved <= predicted.saved_usd.high + shadows,
            abs(predicted.moved - self.limited.degraded) <= room,
            predicted.harm.extra_wrong.low <= wrong <= predicted.harm.extra_wrong.high,
        )


class TrafficClock(VirtualClock):
    """A clock whose ids are those of the instant, so that what ids decide by chance is the same in both runs."""

    def set(self, now_us: int) -> None:
        """Move to an instant."""
        super().set(now_us)
        self._given = 0

    def new_id(self, at_us: int) -> str:
        """Return the id of the instant, and of how many were given there."""
        self._given += 1
        digest = hashlib.blake2b(f"{self.now_us()} {self._given}".encode(), digest_size=6).hexdigest()
        return f"{at_us:014x}{digest}"


def live(folder: Path, seed: int, share: float = 0.6) -> Lived:
    """Return a prediction and its fulfilment: the limit is a share of a usual day's spend."""
    free = _run(folder / "free", seed, UNLIMITED)
    usual = free.spend_nusd // DAYS
    limit = Limit(name="daily", limit_nusd=int(usual * share), critical_reserve_nusd=usual // 20)
    budget = (
        f"budgets: [{{name: daily, usd: {limit.limit_nusd / NANO:.9f}, "
        f"critical_reserve_usd: {limit.critical_reserve_nusd / NANO:.9f}}}]\n"
    )
    limited = _run(folder / "limited", seed, UNLIMITED + budget)
    with reading(free.home) as log:
        config = parse(UNLIMITED.encode(), source="r")
        traffic = read_traffic(log, config, FIRST, FIRST + dt.timedelta(DAYS))
        rows = log.execute("SELECT epoch_us(ts) FROM calls WHERE NOT critical ORDER BY ts").fetchall()
    (effect,) = rehearse(traffic, [limit], seed=seed).effects
    instants = [row[0] for row in rows]
    first: dict[str, int] = {}
    for trip in effect.trips:
        begin = midnight_us(trip.day, ZONE)
        first[trip.day.isoformat()] = sum(begin <= at < trip.at_us for at in instants)
    return Lived(effect, free, limited, first)


def _run(folder: Path, seed: int, routing: str) -> Run:
    def answer(request: Request) -> Reply:
        number = int(str(request.messages[1]["content"]).rsplit(" ", 1)[1])
        size = _chance(seed, number, "size")
        # cheap writes a third more than others, now more and now less
        more = 1 + 0.66 * _chance(seed, number, "more") if request.model.endswith("small") else 1.0
        usage = Usage(input_tokens=200 + round(900 * size), output_tokens=round((20 + 150 * size) * more))
        return reply("no" if is_wrong(seed, number, request.model) else "yes", usage=usage)

    folder.mkdir(parents=True)
    clock = TrafficClock(midnight_us(FIRST, ZONE))
    clock.set(midnight_us(FIRST, ZONE))
    backend = FakeBackend(dict.fromkeys(WRONG, answer), default=reply(), clock=clock, latency_s=0.5)
    told: list[Any] = []
    router = make_router(folder, routing, backend, home=folder / "home", clock=clock, on_shadow=told.append)
    chance = random.Random(seed)
    first: dict[str, int] = {}
    spend = degraded = wrong = number = 0
    for day in (FIRST + dt.timedelta(place) for place in range(DAYS)):
        noncritical = 0
        begin = midnight_us(day, ZONE)
        for at_us in sorted(chance.sample(range(begin, begin + 86_000_000_000, 10_000_000), PER_DAY)):
            payload_type = chance.choices(("x.extract", "y.write", "x.decide"), (5, 4, 1))[0]
            is_labelled = chance.random() < 0.6
            clock.set(at_us)
            messages = [{"role": "system", "content": "Do."}, {"role": "user", "content": f"Document {number}"}]
            got = router.complete(payload_type, messages=messages)
            missed = is_wrong(seed, number, got.model)
            wrong += missed
            if is_labelled:
                router.outcome(got.call_id, correct=not missed)
            while told:
                shadow = told.pop()
                right = not is_wrong(seed, number, shadow.model)
                router.outcome(shadow.call_id, attempt_id=shadow.attempt_id, correct=right)
            if got.degraded:
                degraded += 1
                first.setdefault(day.isoformat(), noncritical)
            noncritical += payload_type != "x.decide"
            number += 1
    router.close()
    home = Home(folder / "home")
    ingest_once(home)
    with reading(home) as log:
        row = log.execute("SELECT sum(cost_nusd)::BIGINT FROM attempts").fetchone()
    spend = 0 if row is None else row[0]
    return Run(home, spend, first, degraded, wrong)


def is_wrong(seed: int, number: int, model: str) -> bool:
    """Whether a model's answer to a task is wrong: what the world knows."""
    return _chance(seed, number, model[2:]) < WRONG[model]


def _chance(seed: int, number: int, what: str) -> float:
    digest = hashlib.blake2b(f"{seed} {number} {what}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
