"""Laws of replayed limits of any period, scope and severity: the same as a loop over the router's own rule."""

import datetime as dt
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.simulate.caps import NEVER, UNLIMITED_NUSD, Calls, Ints
from optimizer.simulate.limits import Asked, sweep_all
from optimizer.simulate.states import CAPPED, STOPPED, TAPER, costs_of, states_of
from router_core.decide.guard import Limit, Per, Spend, is_back, judge, midnight_us, reached
from router_core.decide.periods import period_of

KINDS = 3
ZONE = ZoneInfo("Europe/Berlin")
# a week's end, a month's end, a day of 25 hours, and days without calls
FIRST = dt.date(2026, 10, 24)
DAYS = tuple(FIRST + dt.timedelta(number) for number in range(10))
STARTS = [midnight_us(day, ZONE) for day in (*DAYS, DAYS[-1] + dt.timedelta(1))]
STATES = {"normal": 0, "taper": TAPER, "capped": CAPPED, "stopped": STOPPED}


@dataclass
class Book:
    """One count in one period, kept with the router's own functions."""

    spend: Spend = field(default_factory=lambda: Spend(noncritical_nusd=0, critical_nusd=0))
    latched_us: int = 0


@dataclass
class Looped:
    """What one limit does, found call by call."""

    states: list[int] = field(default_factory=list[int])
    day_nusd: list[int] = field(default_factory=lambda: [0] * len(DAYS))
    moved: list[int] = field(default_factory=lambda: [0] * KINDS)
    rejected: list[int] = field(default_factory=lambda: [0] * KINDS)
    saved: list[int] = field(default_factory=lambda: [0] * KINDS)


def looped(calls: Calls, limit: Limit, scope: Ints | None) -> Looped:
    """Ask the router's rule before each call, as ``control.Guardrail`` does with one process and one call at a time."""
    out = Looped()
    books: dict[tuple[int, object], Book] = {}
    spent: list[tuple[int, int, int, bool]] = []
    began: dict[int, int] = {}
    by_state = costs_of(calls).by_state
    for row in range(len(calls.day)):
        at_us, critical, count = (
            int(calls.at_us[row]),
            bool(calls.critical[row]),
            0 if scope is None else int(scope[row]),
        )
        state = 0
        if count >= 0:
            period = period_of(limit, at_us, ZONE)
            book = books.setdefault((count, None if limit.per == "rolling" else period.key), Book())
            n, c = (
                sum(
                    nusd
                    for at, of, nusd, is_critical in spent
                    if of == count and is_critical is kind and period.start_us <= at
                )
                for kind in (False, True)
            )
            book.spend = Spend(
                noncritical_nusd=n, critical_nusd=c, latched=book.spend.latched, stopped=book.spend.stopped
            )
            run = -1 if calls.run is None else int(calls.run[row])
            is_running = False
            if limit.switch_at == "task" and run >= 0 and not critical:
                is_running = run in began and (not book.spend.latched or began[run] < book.latched_us)
                began.setdefault(run, at_us)
            turn(limit, book, at_us)
            state = STATES[judge(limit, book.spend, is_running=is_running).state]
        cost = int(by_state[state, row])
        if count >= 0:
            spent.append((at_us, count, cost, critical))
        kind, day = int(calls.kind[row]), int(calls.day[row])
        out.states.append(state)
        out.day_nusd[day] += cost
        out.saved[kind] += int(by_state[0, row]) - cost
        out.moved[kind] += state == CAPPED and not critical
        out.rejected[kind] += state == STOPPED and not critical
    return out


def turn(limit: Limit, book: Book, at_us: int) -> None:
    spend = book.spend
    if (spend.latched or spend.stopped) and is_back(limit, spend):
        book.spend = Spend(noncritical_nusd=spend.noncritical_nusd, critical_nusd=spend.critical_nusd)
        return
    now = reached(limit, spend)
    if now.latched and not spend.latched:
        book.latched_us = at_us
    book.spend = now


# few values, so that sums meet bounds exactly
money = st.sampled_from([0, 1, 2, 5, 5, 10, 1_000_000_007])
rows_of_calls = st.lists(
    st.tuples(st.integers(0, len(DAYS) - 1), st.integers(0, 95), st.integers(0, KINDS - 1), st.booleans(), money,
              st.sampled_from([0, 0, 4]), money, money, st.integers(-1, 2), st.integers(-1, 1)),
    max_size=30,
)  # fmt: skip
amounts = st.one_of(st.integers(0, 60), st.sampled_from([0, UNLIMITED_NUSD, 1_000_000_010]))
maybe = st.one_of(st.none(), amounts)


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    per: Per = draw(st.sampled_from(["day", "week", "month", "rolling"]))
    return Limit(
        name="any",
        limit_nusd=draw(amounts),
        critical_reserve_nusd=draw(st.one_of(st.just(0), amounts)),
        per=per,
        window_us=draw(st.sampled_from([1, 5, 30])) * 3_600_000_000 if per == "rolling" else 0,
        taper_nusd=draw(maybe),
        stop_nusd=draw(maybe),
        on_limit=draw(st.sampled_from(["cheapest", "reject"])),
        switch_at=draw(st.sampled_from(["call", "call", "task"])),
    )


Row = tuple[int, int, int, bool, int, int, int, int, int, int]


def make_calls(rows: list[Row]) -> tuple[Calls, Ints]:
    """Return calls and the count that each belongs to. Many come at the same instant; some days have none."""
    placed = sorted(rows, key=lambda row: (row[0], row[1]))
    columns = list(zip(*placed, strict=True)) or [()] * 10
    day, slot, kind, critical, cost, shadow, cheapest, taper, run, count = (np.array(column) for column in columns)
    day = day.astype(np.int32)
    at_us = np.array(STARTS, dtype=np.int64)[day] + slot.astype(np.int64) * 900_000_000
    calls = Calls(
        n_days=len(DAYS),
        n_kinds=KINDS,
        day=day,
        at_us=at_us,
        kind=kind.astype(np.int32),
        critical=critical.astype(np.bool_),
        degraded=np.zeros(len(day), dtype=np.bool_),
        cost_nusd=cost.astype(np.int64),
        shadow_nusd=shadow.astype(np.int64),
        cheapest_nusd=cheapest.astype(np.int64),
        basis=np.zeros(len(day), dtype=np.uint8),
        taper_nusd=np.minimum(taper, cost).astype(np.int64),
        run=run.astype(np.int64),
    )
    return calls, count.astype(np.int64)


@settings(max_examples=400)
@given(rows_of_calls, limits(), st.booleans())
def test_any_limit_equals_a_loop_over_the_routers_rule(rows: list[Row], limit: Limit, scoped: bool) -> None:
    calls, counts = make_calls(rows)
    scope = counts if scoped else None
    swept, expected = sweep_all(calls, [Asked(limit=limit, scope=scope)], DAYS), looped(calls, limit, scope)
    assert states_of(calls, costs_of(calls), limit, scope, DAYS).tolist() == expected.states
    assert swept.capped_nusd[0].tolist() == expected.day_nusd
    assert swept.moved[0].tolist() == expected.moved
    assert swept.rejected[0].tolist() == expected.rejected
    assert swept.saved_nusd[0].tolist() == expected.saved
    first = [
        next((int(calls.at_us[row]) for row, state in enumerate(expected.states)
              if calls.day[row] == day and state >= CAPPED), NEVER)
        for day in range(len(DAYS))
    ]  # fmt: skip
    assert swept.trip_us[0].tolist() == first


@given(rows_of_calls, st.lists(st.tuples(amounts, amounts), min_size=1, max_size=4))
def test_a_plain_daily_limit_is_the_same_by_either_way(rows: list[Row], pairs: list[tuple[int, int]]) -> None:
    calls, _ = make_calls(rows)
    plain = [
        Asked(limit=Limit(name="daily", limit_nusd=limit, critical_reserve_nusd=reserve)) for limit, reserve in pairs
    ]
    everything = np.zeros(len(calls.day), dtype=np.int64)
    scoped = [Asked(limit=one.limit, scope=everything) for one in plain]
    by_grid, one_by_one = sweep_all(calls, plain, DAYS), sweep_all(calls, scoped, DAYS)
    mixed = sweep_all(calls, [*plain, *scoped], DAYS)
    for name in (
        "actual_nusd",
        "critical_nusd",
        "capped_nusd",
        "trip_us",
        "moved",
        "saved_nusd",
        "moved_by_basis",
        "doubtful_nusd",
    ):
        assert (getattr(by_grid, name) == getattr(one_by_one, name)).all(), name
        if name not in ("actual_nusd", "critical_nusd"):
            both = np.concatenate([getattr(by_grid, name), getattr(by_grid, name)])
            assert (getattr(mixed, name) == both).all(), name


@given(rows_of_calls, st.lists(amounts, min_size=2, max_size=5), limits())
def test_a_lower_limit_moves_no_fewer_calls_where_nothing_else_is_set(
    rows: list[Row], bounds: list[int], like: Limit
) -> None:
    calls, _ = make_calls(rows)
    asked = [
        Asked(limit=Limit(name="any", limit_nusd=bound, per="week" if like.per == "rolling" else like.per))
        for bound in sorted(bounds)
    ]
    swept = sweep_all(calls, asked, DAYS)
    assert (np.diff(swept.moved.sum(axis=1)) <= 0).all()
