"""What a rehearsal of limits costs, beside a loop over the router's rule and a SQL query per limit. Prints figures."""

import datetime as dt
import multiprocessing
import resource
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pytest

from optimizer.simulate.caps import REPRICED, Calls, Sweep, sweep
from optimizer.simulate.harm import Labels
from optimizer.simulate.rehearsal import CostDoubt, Kind, Traffic, rehearse
from optimizer.traffic.reading import read_traffic
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.config import parse
from router_core.decide.guard import Limit, Spend, judge
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line
from tests.lived import live
from tests.traffic import CAPPED_CONFIG

pytestmark = pytest.mark.bench

N_CALLS, N_DAYS, N_TYPES, N_LIMITS, N_DRAWS = 1_000_000, 90, 300, 40, 200
MANY_CALLS = 10_000_000
N_SEEDS = 40
LOGGED_CALLS, LOGGED_DAYS = 100_000, 30
# spend before each call, the first that finds the limit reached, and what each side of it costs
SQL = """
WITH before AS (
    SELECT *, coalesce(sum(cost) FILTER (NOT critical) OVER earlier, 0) AS noncritical,
        coalesce(sum(cost) FILTER (critical) OVER earlier, 0) AS of_critical
    FROM calls WINDOW earlier AS (PARTITION BY day ORDER BY at_us ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
trips AS (
    SELECT day, min(at_us) AS trip FROM before
    WHERE noncritical + greatest(of_critical, $reserve) >= $limit GROUP BY day
)
SELECT sum(CASE WHEN at_us >= trip AND NOT critical THEN cheapest ELSE cost END),
    count(*) FILTER (at_us >= trip AND NOT critical)
FROM calls LEFT JOIN trips USING (day)"""


def _show(measure: str, target: str, *figures: str) -> None:
    print(f"  {measure:<58} {target:<16} {' / '.join(figures)}")


def _best_s(run: Callable[[], object], times: int = 3) -> float:
    taken: list[float] = []
    for _ in range(times):
        before = time.perf_counter()
        run()
        taken.append(time.perf_counter() - before)
    return min(taken)


def _make_calls(n_calls: int = N_CALLS) -> Calls:
    chance = np.random.default_rng(1)
    cost = chance.integers(10_000, 5_000_000, n_calls)
    return Calls(
        n_days=N_DAYS,
        n_kinds=N_TYPES,
        day=np.sort(chance.integers(0, N_DAYS, n_calls, dtype=np.int32)),
        at_us=np.arange(n_calls, dtype=np.int64),
        kind=chance.integers(0, N_TYPES, n_calls, dtype=np.int32),
        critical=chance.random(n_calls, dtype=np.float32) < np.float32(0.1),
        degraded=np.zeros(n_calls, dtype=np.bool_),
        cost_nusd=cost,
        shadow_nusd=np.zeros(n_calls, dtype=np.int64),
        cheapest_nusd=cost // 7,
        basis=np.full(n_calls, REPRICED, dtype=np.uint8),
    )


def _make_limits(calls: Calls) -> list[Limit]:
    usual = int(calls.cost_nusd.sum()) // N_DAYS
    return [
        Limit(name="daily", limit_nusd=usual * place // 32, critical_reserve_nusd=usual // 20)
        for place in range(N_LIMITS)
    ]


def _loop(calls: Calls, limit: Limit) -> tuple[int, int]:
    """Return spend under a limit and the calls it moves, asking the router's rule before each call."""
    total = moved = noncritical = critical = 0
    latched, today = False, -1
    rows = zip(
        calls.day.tolist(), calls.critical.tolist(), calls.cost_nusd.tolist(), calls.cheapest_nusd.tolist(), strict=True
    )
    for day, is_critical, cost, cheapest in rows:
        if day != today:
            today, noncritical, critical, latched = day, 0, 0, False
        spend = Spend(noncritical_nusd=noncritical, critical_nusd=critical, latched=latched)
        latched = judge(limit, spend).state == "capped"
        if latched and not is_critical:
            moved += 1
            total += cheapest
            continue
        total += cost
        if is_critical:
            critical += cost
        else:
            noncritical += cost
    return total, moved


def _of(swept: Sweep, place: int) -> tuple[int, int]:
    return int(swept.capped_nusd[place].sum()), int(swept.moved[place].sum())


def test_a_million_calls_under_forty_limits() -> None:
    calls = _make_calls()
    limits = _make_limits(calls)
    swept = sweep(calls, limits)
    ours = _best_s(lambda: sweep(calls, limits))
    traffic = Traffic(
        zone="UTC",
        days=tuple(dt.date(2026, 1, 1) + dt.timedelta(day) for day in range(N_DAYS)),
        calls=calls,
        kinds=tuple(Kind(payload_type=f"t{n}", tier_served="top", tier_capped="cheap") for n in range(N_TYPES)),
        labels=Labels(
            sample=np.arange(N_TYPES),
            error_cost_nusd=np.full(N_TYPES, 1e9),
            **{name: np.full(N_TYPES, 50.0) for name in ("cheap", "now")},
            **{name: np.full(N_TYPES, 3.0) for name in ("cheap_wrong", "now_wrong")},
        ),
        doubt=CostDoubt(scaled=np.full(N_TYPES, 0.05), scatter=np.full(N_TYPES, 0.5), repriced=np.full(N_TYPES, 0.25)),
    )
    whole = _best_s(lambda: rehearse(traffic, limits, n_draws=N_DRAWS))
    middle = N_LIMITS // 2
    before = time.perf_counter()
    looped = _loop(calls, limits[middle])
    loop = (time.perf_counter() - before) * N_LIMITS
    with duckdb.connect(":memory:", config={"threads": 2}) as db:
        columns = {
            "day": calls.day, "at_us": calls.at_us, "critical": calls.critical, "cost": calls.cost_nusd,
            "cheapest": calls.cheapest_nusd,
        }  # fmt: skip
        db.register("given", columns)
        db.execute("CREATE TABLE calls AS FROM given")
        bound = {"limit": limits[middle].limit_nusd, "reserve": limits[middle].critical_reserve_nusd}
        found = db.execute(SQL, bound).fetchone()
        sql = _best_s(lambda: db.execute(SQL, bound).fetchone()) * N_LIMITS
    assert _of(swept, middle) == looped == found
    print()
    _show("measure", "target", "here")
    _show(f"{N_CALLS:,} calls x {N_LIMITS} limits, s", "-", f"{ours:.2f}")
    _show(f"  with wrong answers, net and steady of {N_DRAWS} joint draws, s", "0.5", f"{whole:.2f}")
    _show("  the same by a loop over the rule, s / times slower", "-", f"{loop:.0f}", f"{loop / ours:.0f}")
    _show("  the same by a SQL query per limit, s / times slower", "-", f"{sql:.1f}", f"{sql / ours:.0f}")


def test_ten_million_calls() -> None:
    """In a process of its own, so that its peak memory is that of this and nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        one, many, busy, peak = pool.submit(_sweep_many).result()
    _show(f"{MANY_CALLS:,} calls, one limit, row-exact, s", "1.5", f"{one:.2f}")
    _show(f"  {N_LIMITS} limits, s / processor time, s", "5", f"{many:.2f}", f"{busy:.2f}")
    _show("  the process's largest memory, its calls included, MB", "1,000", f"{peak:.0f}")


def _sweep_many() -> tuple[float, float, float, float]:
    calls = _make_calls(MANY_CALLS)
    limits = _make_limits(calls)
    one = _best_s(lambda: sweep(calls, limits[N_LIMITS // 2 :][:1]))
    many = _best_s(lambda: sweep(calls, limits))
    before = time.process_time()
    sweep(calls, limits)
    return one, many, time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def test_simulated_then_lived(tmp_path: Path) -> None:
    held: list[tuple[bool, bool, bool]] = []
    off: list[int] = []
    for seed in range(N_SEEDS):
        lived = live(tmp_path / str(seed), seed)
        held.append(lived.held)
        off += lived.trips_off.values()
        shutil.rmtree(tmp_path / str(seed))
    saved, degraded, wrong = (f"{sum(column)} of {N_SEEDS}" for column in zip(*held, strict=True))
    _show(
        f"simulated, then lived, {N_SEEDS} seeds: trips within one call",
        "all",
        f"{sum(o <= 1 for o in off)} of {len(off)}",
    )
    _show("  money saved inside its 90 % interval", "34 of 40", saved)
    _show("  calls degraded as said, one a day off at most", "34 of 40", degraded)
    _show("  further wrong answers inside their 90 % interval", "34 of 40", wrong)


def test_a_logged_month(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    _write(home)
    config = parse(CAPPED_CONFIG.encode(), source="routing.yaml")
    first = dt.datetime.fromtimestamp(START_US / 1e6, dt.UTC).date()
    until = first + dt.timedelta(LOGGED_DAYS + 1)

    def read() -> Traffic:
        with reading(home) as log:
            return read_traffic(log, config, first, until)

    traffic = read()
    assert len(traffic.calls.at_us) == LOGGED_CALLS
    limits = [Limit(name="daily", limit_nusd=place * 50_000_000) for place in range(42)]
    _show(f"read {LOGGED_CALLS:,} logged calls, ms", "-", f"{_best_s(read) * 1000:.0f}")
    _show("  rehearse 42 limits on them, ms", "300", f"{_best_s(lambda: rehearse(traffic, limits)) * 1000:.0f}")


def _write(home: Home) -> None:
    import orjson

    step_us = LOGGED_DAYS * 86_400_000_000 // LOGGED_CALLS
    with home.spool.joinpath("import.bench-1.jsonl").open("wb") as out:
        for number in range(LOGGED_CALLS):
            at, call_id, payload_type = START_US + number * step_us, f"c{number:08}", f"type.{number % 30}"
            ids = {"call_id": call_id, "payload_type": payload_type}
            served = {"tier": "top", "request_model": "b/large", "cost_nusd": 700_000 + number % 999}
            lines = [
                make_attempt_line(attempt_id=f"{call_id}-1", started_at=at, **ids, **served),
                make_call_line(
                    **ids,
                    ts=at,
                    served_attempt_id=f"{call_id}-1",
                    tier_served="top",
                    model_served="b/large",
                    seq=number,
                ),
            ]
            if number % 3 == 0:
                lines.append(make_outcome_line(call_id=call_id, correct=float(number % 7 > 0)))
            out.writelines(orjson.dumps(line) + b"\n" for line in lines)
    ingest_once(home)
