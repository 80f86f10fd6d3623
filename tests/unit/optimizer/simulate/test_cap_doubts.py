"""What a rehearsal is not sure of: degraded calls put back, the alternative's cost, and what else could be done."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.simulate.caps import SCALED, sweep
from optimizer.simulate.ratios import FEWEST_PAIRS, USUAL_SPREAD, ratios_of
from optimizer.simulate.rehearsal import CostDoubt, rehearse
from optimizer.simulate.uncapping import uncapped
from router_core.decide.guard import Limit
from router_core.types import NANO
from tests.traffic import FIRST, make_traffic

NOTHING = Limit(name="daily", limit_nusd=0)


def test_degraded_calls_are_put_back_to_what_others_of_their_type_cost() -> None:
    """On the second day half of the calls were degraded at 1 USD each; elsewhere a call costs ten times cheapest."""
    made = make_traffic(days=3, per_day=40, degraded_on=1)
    traffic = uncapped(made)
    assert traffic.uncapped is not None
    assert list(traffic.uncapped.days) == [made.days[1]]
    assert traffic.uncapped.calls == int(made.calls.degraded.sum()) == 20
    assert not traffic.calls.degraded.any()
    assert traffic.uncapped.extra_nusd.tolist() == [0, 20 * 9 * NANO, 0]
    # under a limit of nothing these calls cost what they did
    assert sweep(traffic.calls, [NOTHING]).capped_nusd[0, 1] == 20 * NANO + 19 * NANO // 10 + NANO


def test_calls_that_are_put_back_are_of_all_kinds_of_their_type_as_often_as_others_are() -> None:
    """One type, which its kinds 0, 1 and 2 have served as 7 : 2 : 1; a limit moved all of its calls to kind 2."""
    made = make_traffic(days=2, per_day=100, names=("a", "a", "a"))
    place = np.arange(200) % 100
    normal = np.where(place % 10 < 7, 0, np.where(place % 10 < 9, 1, 2))
    degraded = made.calls.day == 1
    kind = np.where(degraded, 2, normal).astype(np.int32)
    calls = replace(made.calls, kind=kind, degraded=degraded, critical=np.zeros(200, dtype=np.bool_))
    found = uncapped(replace(made, calls=calls)).calls
    assert np.bincount(found.kind[degraded], minlength=3).tolist() == pytest.approx([70, 20, 10], abs=1)


def test_a_type_that_only_a_limit_has_seen_stays_degraded() -> None:
    made = make_traffic(days=1, per_day=30)
    calls = replace(made.calls, degraded=(made.calls.kind == 1) & ~made.calls.critical)
    traffic = uncapped(replace(made, calls=calls))
    assert traffic.uncapped is None
    assert traffic.calls.degraded.sum() == calls.degraded.sum()
    (effect,) = rehearse(traffic, [Limit(name="daily", limit_nusd=2 * NANO)]).effects
    assert effect.left == (FIRST,)


@given(seed=st.integers(0, 1000), factor=st.sampled_from([0.5, 1.0, 2.0]))
def test_a_ratio_is_a_ratio_of_sums_and_its_spread_shrinks_with_pairs(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    n = 4 * FEWEST_PAIRS
    repriced = rng.integers(1_000, 9_000, n)
    own = np.rint(repriced * factor * rng.lognormal(0, 0.3, n)).astype(np.int64)
    group = np.zeros(n, dtype=np.int64)
    few, many = np.arange(n) < FEWEST_PAIRS, np.ones(n, dtype=np.bool_)
    found = ratios_of(group, many, own, repriced, 2)
    assert found.ratio[0] == pytest.approx(own.sum() / repriced.sum())
    assert np.isnan(found.ratio[1])
    assert found.spread[1] == 0
    assert found.unmeasured == USUAL_SPREAD
    assert 0 < found.spread[0] < 2 * ratios_of(group, few, own, repriced, 2).spread[0]


def test_too_few_pairs_are_no_ratio() -> None:
    pairs = np.arange(FEWEST_PAIRS) > 0
    ones = np.ones(FEWEST_PAIRS, dtype=np.int64)
    assert np.isnan(ratios_of(ones * 0, pairs, ones, ones, 1).ratio[0])


def test_what_is_not_known_of_the_alternatives_cost_widens_what_is_saved() -> None:
    made = make_traffic()
    calls = replace(made.calls, basis=np.full(30, SCALED, dtype=np.uint8))
    sure = rehearse(replace(made, calls=calls), [NOTHING]).effects[0]
    doubt = CostDoubt(scaled=np.full(3, 0.2), scatter=np.zeros(3), repriced=np.full(3, 0.9))
    unsure = rehearse(replace(made, calls=calls, doubt=doubt), [NOTHING], n_draws=4_000).effects[0]
    assert sure.saved_usd.low == sure.saved_usd.high == pytest.approx(27 * 0.9)
    # three types of nine calls at 0.10 USD, each off by a fifth
    half = 1.645 * 0.2 * 0.9 * 3**0.5
    assert unsure.saved_usd.mean == sure.saved_usd.mean
    assert unsure.saved_usd.high - unsure.saved_usd.low == pytest.approx(2 * half, rel=0.1)
    assert unsure.net_usd.high - unsure.net_usd.low > sure.net_usd.high - sure.net_usd.low


def test_the_same_seed_gives_the_same_intervals_and_another_one_does_not() -> None:
    made = make_traffic()
    one, same, other = (rehearse(made, [NOTHING], seed=seed).effects[0] for seed in (1, 1, 2))
    assert one.harm == same.harm
    assert one.harm.extra_wrong != other.harm.extra_wrong


def test_moving_what_pays_most_all_day_saves_no_less_at_as_many_wrong_answers() -> None:
    """Kind 0 is judged: 10 % more wrong; kind 2 keeps its answers and is free to move; kind 1 is unknown."""
    rehearsal = rehearse(make_traffic(), [Limit(name="daily", limit_nusd=usd * NANO) for usd in (0, 2, 4, 6, 100)])
    for effect in rehearsal.effects:
        steady = effect.steady
        assert steady is not None
        assert steady.saved_usd >= steady.limit_saved_usd - 1e-9
        assert steady.extra_wrong == pytest.approx(effect.harm.extra_wrong.mean)
    # without a single wrong answer kind 2 is moved: nine calls, 0.90 USD each
    never = rehearsal.effects[-1].steady
    assert never is not None
    assert (never.saved_usd, never.limit_saved_usd) == (pytest.approx(9 * 0.9), 0.0)
