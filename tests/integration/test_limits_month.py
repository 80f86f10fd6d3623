"""A month of real arrivals under one daily limit, on a virtual clock, through the real router.

The arrivals and token counts are those of a public trace of conversations, an hour long; each day is that hour, thinned
by chance and stretched to the day's length, once and a half as busy on some days as on others.
"""

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from router_core.config import parse
from router_core.control.limits_now import worst_request
from router_core.decide.budgets import limits_of
from router_core.decide.guard import midnight_us
from router_core.decide.promise import Load, Promise
from router_core.prices import PriceBook
from router_core.testing import Script
from router_core.types import Request, Response
from tests.routers import SCHEMA, Bench, open_bench, reply

pytestmark = pytest.mark.realdata

FILE = "traffic_azure_llm_2023_conv.parquet"
ZONE = ZoneInfo("Europe/Berlin")
FIRST, DAYS = dt.date(2026, 10, 12), 30  # the clocks go back on the 25th: a day of 25 hours
ROUTING = """\
version: 1
timezone: Europe/Berlin
tiers:
  cheap: [{model: a/small, context_tokens: 16000, max_output_tokens: 1000}]
  mid: [{model: a/medium, context_tokens: 16000, max_output_tokens: 1000}]
  top: [{model: b/large, context_tokens: 16000, max_output_tokens: 1000}]
defaults: {accept_at: 0.8}
payload_types:
  extract: {path: [cheap, mid, top], shadow: [{tier: mid, rate: 0.05}]}
  write: {path: [top]}
  decide: {path: [top], critical: true}
prices:
  a/small: {input: 0.1, output: 0.4}
  a/medium: {input: 1, output: 4}
  b/large: {input: 5, output: 20}
budgets: [{name: daily, usd: 1.5, critical_reserve_usd: 0.1, taper_from: 0.75}]
shadow_budget: {usd: 0.05}
"""


@dataclass
class Day:
    """The calls of one local day, in order, and what its attempts cost."""

    calls: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    spent: int = 0
    critical: int = 0
    degraded: int = 0

    @property
    def tripped_us(self) -> int | None:
        return next((call["ts"] for call in self.calls if call["degraded"]), None)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Bench:
    trace = pq.read_table(data_dir / FILE).to_pylist()
    span_s = max(row["t_s"] for row in trace) + 1
    chance = random.Random(7)

    def answered(request: Request) -> Response:
        tokens = request.messages[-1]["content"].split()
        sure = float(tokens[2])
        return reply(confidence=sure, input_tokens=int(tokens[0]), output_tokens=int(tokens[1]))

    models: dict[str, Script] = dict.fromkeys(("a/small", "a/medium", "b/large"), answered)
    bench = open_bench(tmp_path_factory.mktemp("month"), models, ROUTING, midnight_us(FIRST, ZONE))
    for day in (FIRST + dt.timedelta(number) for number in range(DAYS)):
        begin_us, end_us = midnight_us(day, ZONE), midnight_us(day + dt.timedelta(1), ZONE)
        rows = sorted(chance.sample(trace, chance.randrange(150, 600)), key=lambda row: row["t_s"])
        for row in rows:
            at_us = begin_us + round(row["t_s"] / span_s * (end_us - begin_us - 60_000_000))
            bench.clock.set(max(bench.clock.now_us(), at_us))
            kind = chance.choices(("extract", "write", "decide"), (6, 3, 1))[0]
            content = f"{row['prompt_tokens']} {row['completion_tokens']} {chance.choice((0.5, 0.9, 0.9))}"
            messages = [{"role": "user", "content": content}]
            bench.router.complete(kind, messages=messages, response_format=SCHEMA)
    bench.router.close()
    return bench


@pytest.fixture(scope="module")
def days(bench: Bench) -> dict[dt.date, Day]:
    found: defaultdict[dt.date, Day] = defaultdict(Day)
    degraded: dict[str, bool] = {}
    for call in bench.lines("call"):
        degraded[call["call_id"]] = call["degraded"]
        found[dt.datetime.fromtimestamp(call["ts"] / 1e6, ZONE).date()].calls.append(call)
    for attempt in bench.lines("attempt"):
        day = found[dt.datetime.fromtimestamp(attempt["started_at"] / 1e6, ZONE).date()]
        day.spent += attempt["cost_nusd"]
        if attempt["critical"]:
            day.critical += attempt["cost_nusd"]
        elif degraded[attempt["call_id"]]:
            day.degraded += attempt["cost_nusd"]
    return dict(found)


def test_every_day_is_within_the_promise_and_enough_of_them_trip(days: dict[dt.date, Day]) -> None:
    config = parse(ROUTING.encode(), source="r")
    (limit,) = limits_of(config)
    prices = PriceBook(config.prices, config.on_unpriced, version="v")
    worst = worst_request(config, prices, midnight_us(FIRST, ZONE))
    promise = Promise(limit=limit, load=Load(processes=1, concurrent=1), worst_nusd=worst.nusd)
    assert len(days) == DAYS
    tripped = [day for day in days.values() if day.tripped_us is not None]
    assert 10 <= len(tripped) < DAYS
    for day in days.values():
        assert day.spent <= promise.most_nusd + day.critical + day.degraded
    # the limit is what keeps them there: at its trip a day has spent it, with what is kept for critical calls
    for day in tripped:
        planned = day.spent - day.critical - day.degraded
        assert planned + max(day.critical, limit.critical_reserve_nusd) >= limit.limit_nusd


def test_work_is_finished_critical_calls_are_never_degraded_and_degraded_ones_are_marked(
    days: dict[dt.date, Day], bench: Bench
) -> None:
    calls = [call for day in days.values() for call in day.calls]
    assert {call["status"] for call in calls} == {"ok"}
    assert not any(call["degraded"] for call in calls if call["critical"])
    moved = [call for call in calls if call["tier_planned"] == "top" and call["tier_served"] == "cheap"]
    assert len(moved) > 100
    degraded = [call for call in calls if call["degraded"]]
    assert all(call["degraded"] for call in moved)
    for call in degraded:
        assert (call["tier_served"], call["guard_state"], call["budget_scope"]) == ("cheap", "capped", "daily")
        assert (call["reason"], call["escalations"]) == ("degraded", 0)
    events = [line["details"] for line in bench.lines("event") if line["event"] == "guard"]
    tripped = [day.isoformat() for day in sorted(days) if days[day].tripped_us is not None]
    assert [event["period"] for event in events if event["state"] == "capped"] == tripped
    assert set(tripped) <= {event["period"] for event in events if event["state"] == "taper"}


def test_taper_comes_before_the_limit_and_the_limit_ends_with_the_day(days: dict[dt.date, Day], bench: Bench) -> None:
    shadows = [line["started_at"] for line in bench.lines("attempt") if line["role"] == "shadow"]
    assert len(shadows) > 50
    for day in days.values():
        if day.tripped_us is None:
            continue
        states = [call["guard_state"] for call in day.calls if not call["critical"]]
        order = list(dict.fromkeys(states))
        assert order == ["normal", "taper", "capped"]
        assert states == sorted(states, key=order.index)  # each once, in this order: it latches
        tapered = [call for call in day.calls if call["guard_state"] == "taper" and not call["critical"]]
        assert all(call["escalations"] == 0 and not call["degraded"] for call in tapered)
        assert not [at_us for at_us in shadows if tapered[0]["ts"] < at_us <= day.calls[-1]["ts"]]
