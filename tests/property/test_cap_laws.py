"""Laws of replayed limits: the same as a loop over the router's own rule, to the nano-dollar."""

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.simulate.caps import BASES, NEVER, UNLIMITED_NUSD, Calls, Sweep, sweep
from optimizer.simulate.repricing import Tokens, reprice
from router_core.decide.guard import Limit, Spend, judge
from router_core.decide.receipt import receipt
from router_core.types import Price, Usage

KINDS = 3


@dataclass
class Looped:
    """What one limit does, found call by call."""

    capped_nusd: list[int] = field(default_factory=list[int])
    trip_us: list[int] = field(default_factory=list[int])
    left: list[bool] = field(default_factory=list[bool])
    moved: list[int] = field(default_factory=lambda: [0] * KINDS)
    already: list[int] = field(default_factory=lambda: [0] * KINDS)
    moved_by_basis: list[int] = field(default_factory=lambda: [0] * BASES)
    saved_nusd: list[int] = field(default_factory=lambda: [0] * KINDS)


def looped(calls: Calls, limit: Limit) -> Looped:
    """Ask the router's rule before each call, as the router does."""
    out = Looped()
    for day in range(calls.n_days):
        rows = [int(row) for row in np.flatnonzero(calls.day == day)]
        switch = _trip(calls, limit, rows)
        degraded = next((row for row in rows if calls.degraded[row]), None)
        left = degraded is not None and (switch is None or switch > degraded)
        if left:
            switch = None
        total = 0
        for row in rows:
            spent = int(calls.cost_nusd[row] + calls.shadow_nusd[row])
            if switch is None or row < switch:
                total += spent
                continue
            kind, critical, again = int(calls.kind[row]), calls.critical[row], calls.degraded[row]
            costs = int(calls.cost_nusd[row] if critical or again else calls.cheapest_nusd[row])
            out.saved_nusd[kind] += spent - costs
            total += costs
            if not critical and again:
                out.already[kind] += 1
            elif not critical:
                out.moved[kind] += 1
                out.moved_by_basis[int(calls.basis[row])] += 1
        out.capped_nusd.append(total)
        out.trip_us.append(NEVER if switch is None else int(calls.at_us[switch]))
        out.left.append(left)
    return out


def _trip(calls: Calls, limit: Limit, rows: list[int]) -> int | None:
    noncritical = critical = 0
    for row in rows:
        spend = Spend(noncritical_nusd=noncritical, critical_nusd=critical)
        if judge(limit, spend).state == "capped":
            return row
        spent = int(calls.cost_nusd[row] + calls.shadow_nusd[row])
        if calls.critical[row]:
            critical += spent
        else:
            noncritical += spent
    return None


# few values, so that sums meet limits exactly; a refund now and then
money = st.sampled_from([0, 1, 2, 5, 5, 10, 1_000_000_007, -3])
rows_of_calls = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, KINDS - 1), st.booleans(), st.sampled_from([False] * 9 + [True]), money,
              st.sampled_from([0, 0, 0, 4]), money, st.integers(0, BASES - 1)),
    max_size=30,
)  # fmt: skip
amounts = st.one_of(st.integers(0, 60), st.sampled_from([0, UNLIMITED_NUSD, 1_000_000_010]))
some_limits = st.lists(st.tuples(amounts, st.one_of(st.just(0), amounts)), min_size=1, max_size=6)


def make_calls(rows: list[tuple[int, int, bool, bool, int, int, int, int]]) -> Calls:
    rows = sorted(rows, key=lambda row: row[0])
    columns = list(zip(*rows, strict=True)) or [()] * 8
    day, kind, critical, degraded, cost, shadow, cheapest, basis = (np.array(column) for column in columns)
    return Calls(
        n_days=5,
        n_kinds=KINDS,
        day=day.astype(np.int32),
        at_us=np.arange(len(day), dtype=np.int64) * 10,
        kind=kind.astype(np.int32),
        critical=critical.astype(np.bool_),
        degraded=degraded.astype(np.bool_),
        cost_nusd=cost.astype(np.int64),
        shadow_nusd=shadow.astype(np.int64),
        cheapest_nusd=cheapest.astype(np.int64),
        basis=basis.astype(np.uint8),
    )


def make_limits(pairs: list[tuple[int, int]]) -> list[Limit]:
    return [Limit(name="daily", limit_nusd=limit, critical_reserve_nusd=reserve) for limit, reserve in pairs]


def one(swept: Sweep, place: int) -> Looped:
    return Looped(
        capped_nusd=swept.capped_nusd[place].tolist(),
        trip_us=swept.trip_us[place].tolist(),
        left=swept.left[place].tolist(),
        moved=swept.moved[place].tolist(),
        already=swept.already[place].tolist(),
        moved_by_basis=swept.moved_by_basis[place].tolist(),
        saved_nusd=swept.saved_nusd[place].tolist(),
    )


@settings(max_examples=400)
@given(rows_of_calls, some_limits)
def test_the_sweep_equals_a_loop_over_the_routers_rule(
    rows: list[tuple[int, int, bool, bool, int, int, int, int]], pairs: list[tuple[int, int]]
) -> None:
    calls, limits = make_calls(rows), make_limits(pairs)
    swept = sweep(calls, limits)
    assert [one(swept, place) for place in range(len(limits))] == [looped(calls, limit) for limit in limits]


@given(rows_of_calls, some_limits)
def test_spend_and_savings_reconcile(
    rows: list[tuple[int, int, bool, bool, int, int, int, int]], pairs: list[tuple[int, int]]
) -> None:
    calls = make_calls(rows)
    swept = sweep(calls, make_limits(pairs))
    assert swept.actual_nusd.sum() == (calls.cost_nusd + calls.shadow_nusd).sum()
    assert (swept.saved_nusd.sum(axis=1) == swept.actual_nusd.sum() - swept.capped_nusd.sum(axis=1)).all()
    assert (swept.moved_by_basis.sum(axis=1) == swept.moved.sum(axis=1)).all()


@given(rows_of_calls, st.lists(amounts, min_size=2, max_size=6), amounts)
def test_a_lower_limit_degrades_no_fewer_calls_and_spends_no_more_where_the_alternative_is_cheaper(
    rows: list[tuple[int, int, bool, bool, int, int, int, int]], bounds: list[int], reserve: int
) -> None:
    made = make_calls(rows)
    cost = np.maximum(made.cost_nusd, 0)
    calls = replace(made, cost_nusd=cost, cheapest_nusd=np.clip(made.cheapest_nusd, 0, cost))
    swept = sweep(calls, make_limits([(bound, reserve) for bound in sorted(bounds)]))
    assert (np.diff(swept.capped_nusd, axis=0) >= 0).all()
    assert (np.diff(swept.moved, axis=0) <= 0).all()
    assert (np.diff(swept.saved_nusd, axis=0) <= 0).all()
    assert (swept.saved_nusd >= 0).all()


@given(rows_of_calls, amounts)
def test_a_limit_that_is_never_reached_changes_nothing_and_critical_spend_never_changes(
    rows: list[tuple[int, int, bool, bool, int, int, int, int]], reserve: int
) -> None:
    calls = make_calls(rows)
    never, always = make_limits([(UNLIMITED_NUSD, 0), (0, reserve)])
    swept = sweep(calls, [never, always])
    assert (swept.capped_nusd[0] == swept.actual_nusd).all()
    assert swept.critical_nusd.sum() == calls.cost_nusd[calls.critical].sum()
    # from the first call of each day on
    assert ((swept.trip_us[1] != NEVER) == (np.bincount(calls.day, minlength=5) > 0)).all()


rates = st.integers(0, 60_000_000_000)
counts = st.one_of(st.none(), st.integers(-5, 300_000))
parts = st.one_of(st.just(0), st.integers(-5, 300_000))


@st.composite
def prices(draw: st.DrawFn, depth: int = 2) -> Price:
    longer = draw(prices(depth - 1)) if depth and draw(st.booleans()) else None
    return Price(
        input_nusd_per_m=draw(rates),
        cached_nusd_per_m=draw(rates),
        write_5m_nusd_per_m=draw(rates),
        write_1h_nusd_per_m=draw(rates),
        output_nusd_per_m=draw(rates),
        source="override",
        date="",
        long_above_tokens=None if longer is None else draw(st.integers(0, 200_000)),
        long_price=longer,
    )


@given(st.lists(st.tuples(counts, parts, parts, parts, counts), min_size=1, max_size=5), prices())
def test_repricing_equals_a_receipt(requests: list[tuple[int | None, int, int, int, int | None]], price: Price) -> None:
    columns = [np.array([-1 if value is None else value for value in column]) for column in zip(*requests, strict=True)]
    got = reprice(
        Tokens(**dict(zip(("input", "cached", "write_5m", "write_1h", "output"), columns, strict=True))), price
    )
    for request, cost in zip(requests, got, strict=True):
        if any(value is None or value < 0 for value in (request[0], request[4])):
            assert cost == -1
            continue
        usage = Usage(
            input_tokens=request[0],
            cached_tokens=request[1],
            cache_write_5m_tokens=request[2],
            cache_write_1h_tokens=request[3],
            output_tokens=request[4],
        )
        assert cost == receipt(usage, price).cost_nusd


def test_an_amount_that_no_integer_holds_is_not_known() -> None:
    price = Price(
        input_nusd_per_m=10**18, cached_nusd_per_m=0, write_5m_nusd_per_m=0, write_1h_nusd_per_m=0,
        output_nusd_per_m=0, source="override", date="",
    )  # fmt: skip
    zeros = np.zeros(2, dtype=np.int64)
    tokens = Tokens(input=np.array([4, 40]), cached=zeros, write_5m=zeros, write_1h=zeros, output=zeros)
    assert reprice(tokens, price).tolist() == [4 * 10**12, -1]


def test_a_longer_row_is_reached_only_through_the_row_before_it() -> None:
    def row(rate: int, above: int | None = None, longer: Price | None = None) -> Price:
        return Price(
            input_nusd_per_m=rate * 10**9, cached_nusd_per_m=0, write_5m_nusd_per_m=0, write_1h_nusd_per_m=0,
            output_nusd_per_m=0, source="override", date="", long_above_tokens=above, long_price=longer,
        )  # fmt: skip

    zeros = np.zeros(2, dtype=np.int64)
    tokens = Tokens(input=np.array([500, 1_500]), cached=zeros, write_5m=zeros, write_1h=zeros, output=zeros)
    assert reprice(tokens, row(1, 1_000, row(2, 100, row(3)))).tolist() == [500_000, 3 * 1_500_000]
