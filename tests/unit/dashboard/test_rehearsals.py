"""Which limits the simulator offers."""

import pytest

from dashboard.rehearsals import STEPS, Scale, budget_yaml, first_limit, grid, make_limit, scale
from router_core.config import parse
from router_core.decide.guard import Limit
from tests.routers import ROUTING

USD = 1_000_000_000


@pytest.mark.parametrize("highest", [0.000_02, 0.003, 0.7, 1.0, 3.63, 49.99, 1_234.5, 98_765.0])
def test_a_scale_holds_the_dearest_day_in_at_most_a_hundred_round_steps(highest: float) -> None:
    on = scale([round(highest * USD), 1], None)
    assert highest < on.top_usd <= highest * 1.5
    assert 20 <= round(on.top_usd / on.step_usd) <= 100
    assert f"{on.step_usd:e}"[0] in "125"
    assert on.nearest(highest) == pytest.approx(highest, abs=on.step_usd)


def test_a_scale_holds_the_present_limit() -> None:
    assert scale([USD], Limit(name="d", limit_nusd=50 * USD)).top_usd > 50


def test_days_without_spend_have_a_scale_all_the_same() -> None:
    assert scale([0, 0], None) == Scale(top_usd=1.0, step_usd=0.01)


def test_the_present_limit_comes_first_else_one_that_a_fifth_of_the_days_reach() -> None:
    present = Limit(name="d", limit_nusd=50 * USD)
    assert first_limit([USD], present) == present
    days = [day * USD for day in range(1, 11)]
    first = first_limit(days, None)
    assert sum(day >= first.limit_nusd for day in days) == 3
    assert first_limit([], None).limit_nusd == 0


def test_a_typed_limit_is_exact_to_the_nano_dollar() -> None:
    assert make_limit(0.1, 0.000_000_001) == Limit(name="daily", limit_nusd=100_000_000, critical_reserve_nusd=1)


def test_the_grid_covers_the_scale_with_the_chosen_reserve() -> None:
    limits = grid(Scale(top_usd=4.0, step_usd=0.1), make_limit(3.3, 0.5))
    assert len(limits) == STEPS + 1
    assert (limits[0].limit_nusd, limits[-1].limit_nusd) == (0, 4 * USD)
    assert {limit.critical_reserve_nusd for limit in limits} == {USD // 2}


def test_the_limit_is_shown_as_a_config_takes_it() -> None:
    text = budget_yaml(make_limit(2.2, 0.000_01))
    (budget,) = parse((ROUTING + text).encode(), source="routing.yaml").budgets
    assert (float(budget.usd), float(budget.critical_reserve_usd)) == (2.2, 0.000_01)
