"""Traffic for rehearsals that needs no log: valid by default, small numbers."""

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np

from optimizer.simulate.caps import REPRICED, Calls
from optimizer.simulate.harm import NONE, SAME, Labels
from optimizer.simulate.rehearsal import Kind, Traffic
from router_core.decide.guard import midnight_us
from router_core.types import NANO

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
