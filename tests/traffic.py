"""Traffic for rehearsals, in memory and as a log: valid by default, small numbers."""

import datetime as dt
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from optimizer.simulate.caps import REPRICED, Calls
from optimizer.simulate.harm import NONE, SAME, Labels
from optimizer.simulate.rehearsal import Kind, Traffic
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.spool import Spool
from router_core.decide.guard import midnight_us
from router_core.types import NANO
from tests.builders import make_attempt_line, make_call_line, make_outcome_line
from tests.routers import ROUTING

FIRST = dt.date(2026, 11, 20)
ZONE = "Europe/Berlin"


def make_traffic(
    *,
    days: int = 3,
    per_day: int = 10,
    names: tuple[str, ...] = ("a.judged", "b.unknown", "c.kept"),
    degraded_on: int = -1,
) -> Traffic:
    """Return ``per_day`` calls a day of 1 USD, 0.10 USD on cheap, in turn of each type; the tenth call is critical.

    Labels speak for the first type (10 % wrong on cheap, none now, 0.50 USD each); calls of the third keep their
    answer. On the day ``degraded_on`` the second half of the calls were degraded already.
    """
    n = days * per_day
    place = np.arange(n) % per_day
    day = np.repeat(np.arange(days), per_day)
    zone = ZoneInfo(ZONE)
    starts = np.array([midnight_us(FIRST + dt.timedelta(number), zone) for number in range(days)])
    samples = [0, NONE, SAME]
    calls = Calls(
        n_days=days,
        n_kinds=len(names),
        day=day.astype(np.int32),
        at_us=starts[day] + (8 * 3600 + place * 600) * 1_000_000 if n else np.empty(0, dtype=np.int64),
        kind=(np.arange(n) % max(len(names), 1)).astype(np.int32),
        critical=place == 9,
        degraded=(day == degraded_on) & (place >= per_day // 2) & (place != 9),
        cost_nusd=np.full(n, NANO, dtype=np.int64),
        shadow_nusd=np.zeros(n, dtype=np.int64),
        cheapest_nusd=np.full(n, NANO // 10, dtype=np.int64),
        basis=np.full(n, REPRICED, dtype=np.uint8),
    )
    labels = Labels(
        sample=np.array([samples[number % 3] for number in range(len(names))], dtype=np.int64),
        error_cost_nusd=np.full(len(names), 0.5 * NANO),
        cheap=np.array([100.0]),
        cheap_wrong=np.array([10.0]),
        now=np.array([100.0]),
        now_wrong=np.array([0.0]),
    )
    return Traffic(
        zone=ZONE,
        days=tuple(FIRST + dt.timedelta(number) for number in range(days)),
        calls=calls,
        kinds=tuple(Kind(payload_type=name, tier_served="top", tier_capped="cheap") for name in names),
        labels=labels,
    )


CAPPED_CONFIG = (
    ROUTING.replace("version: 1\n", f"version: 1\ntimezone: {ZONE}\n").replace(
        "payload_types:\n", "payload_types:\n  y.write: {path: [top], error_cost_usd: 0.5}\n"
    )
    + "budgets: [{name: daily, usd: 0.03, critical_reserve_usd: 0.002}]\n"
)


def write_capped_log(home: Home, *, days: int = 5, per_day: int = 60, demo: bool = False) -> None:
    """Write calls that top has served, 0.0007 USD each, and their config, whose budget was not at work on them.

    In turn: y.write with a shadow on cheap, y.write, x.extract without any label, x.decide (critical). Of y.write all
    answers are labelled right, and of its shadows every third is labelled wrong.
    """
    home.create()
    home.root.joinpath("routing.yaml").write_text(CAPPED_CONFIG)
    if demo:
        home.demo_marker.write_text("{}")
    zone = ZoneInfo(ZONE)
    spool = Spool(home.spool)
    for number in range(days * per_day):
        day, place = divmod(number, per_day)
        at_us = midnight_us(FIRST + dt.timedelta(day), zone) + place * 82_800_000_000 // per_day
        spool.write(*_call_lines(number, at_us))
    spool.close()
    ingest_once(home)


def _call_lines(number: int, at_us: int) -> Iterator[dict[str, Any]]:
    payload_type = ("y.write", "y.write", "x.extract", "x.decide")[number % 4]
    critical, call_id = payload_type == "x.decide", f"c{number:06}"
    attempt = make_attempt_line(
        attempt_id=f"{call_id}-1", call_id=call_id, payload_type=payload_type, critical=critical, started_at=at_us,
        tier="top", request_model="b/large", input_tokens=100, output_tokens=10, cost_nusd=700_000,
    )  # fmt: skip
    yield attempt
    yield make_call_line(
        call_id=call_id, ts=at_us, payload_type=payload_type, critical=critical, served_attempt_id=f"{call_id}-1",
        tier_planned="top", tier_served="top", model_served="b/large", cost_nusd=700_000,
        error_cost_nusd=500_000_000, seq=number,
    )  # fmt: skip
    if payload_type == "y.write":
        yield make_outcome_line(call_id=call_id, correct=1.0, received_at=at_us + 3_600_000_000)
    if number % 4 == 0:
        yield attempt | {
            "attempt_id": f"{call_id}-2", "role": "shadow", "tier": "cheap", "request_model": "a/small",
            "cost_nusd": 14_000, "propensity": 0.5,
        }  # fmt: skip
        yield make_outcome_line(
            call_id=call_id, attempt_id=f"{call_id}-2", correct=float(number % 3 > 0), received_at=at_us + 3_600_000_000
        )
