import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.knapsack import Row, choose, frontier, in_words


def instance(seed: int, n: int = 5, p: int = 4):
    rng = np.random.default_rng(seed)
    volume = rng.lognormal(5, 1.3, (n, 1))
    cost = volume * np.sort(rng.lognormal(-5, 1.2, (n, p)), axis=1)
    return cost, volume * np.sort(rng.beta(2, 40, (n, p)), axis=1)[:, ::-1]


def best(cost, loss, budget: float, use=None, limit: float = np.inf) -> float | None:
    rows = np.arange(cost.shape[0])
    totals = [
        cost[rows, picks].sum()
        for picks in map(list, itertools.product(range(cost.shape[1]), repeat=cost.shape[0]))
        if loss[rows, picks].sum() <= budget and (use is None or use[rows, picks].sum() <= limit)
    ]
    return min(totals, default=None)


@given(seed=st.integers(0, 10_000), slack=st.floats(1.0, 3.0))
def test_choice_is_the_best_of_all(seed: int, slack: float) -> None:
    cost, loss = instance(seed)
    budget = float(loss.min(axis=1).sum()) * slack
    found = choose(cost, loss, budget, gap=1e-9)
    assert found.status == "solved"
    assert found.loss <= budget * (1 + 1e-8)
    assert found.cost == pytest.approx(best(cost, loss, budget * (1 + 1e-9)), rel=1e-6)
    assert found.bound <= found.cost * (1 + 1e-9)


@given(seed=st.integers(0, 10_000), moves=st.integers(0, 5))
def test_at_most_so_many_types_move(seed: int, moves: int) -> None:
    cost, loss = instance(seed)
    now = loss.argmin(axis=1)
    use = np.ones_like(cost)
    use[np.arange(now.size), now] = 0
    budget = float(loss.min(axis=1).sum()) * 1.5
    found = choose(cost, loss, budget, rows=(Row(name="moves", use=use, limit=moves),), gap=1e-9)
    assert found.status == "solved"
    assert (found.picks != now).sum() <= moves
    assert found.cost == pytest.approx(best(cost, loss, budget, use, moves), rel=1e-6)


def test_what_cannot_be_kept_is_named_with_its_least() -> None:
    cost, loss = instance(1)
    least = float(loss.min(axis=1).sum())
    found = choose(cost, loss, least * 0.9)
    assert found.status == "infeasible"
    assert found.broken == ("loss", pytest.approx(least))


def test_frontier_is_convex_and_its_points_are_choices() -> None:
    cost, loss = instance(3, n=40, p=6)
    found = frontier(cost, loss)
    rows = np.arange(40)
    assert (np.diff(found.price) >= -1e-9).all()
    assert (np.diff(found.loss) <= 1e-12).all()
    for point in (0, found.cost.size // 2, found.cost.size - 1):
        picks = found.picks(point)
        assert cost[rows, picks].sum() == pytest.approx(found.cost[point])
        assert loss[rows, picks].sum() == pytest.approx(found.loss[point])
    # no choice at the price of a point is cheaper than the point
    price = float(found.price[found.price.size // 2])
    at = np.searchsorted(found.price, price, side="right")
    assert (cost + price * loss).min(axis=1).sum() == pytest.approx(found.cost[at] + price * found.loss[at])


@pytest.mark.parametrize("n", [1, 100_000])
def test_one_type_and_a_hundred_thousand(n: int) -> None:
    cost, loss = instance(4, n=n, p=3)
    found = choose(cost, loss, float(loss.min(axis=1).sum()) * 1.2)
    assert found.status == "solved"
    assert found.gap < 0.05 or n == 1


def test_all_free_and_all_equal() -> None:
    found = choose(np.zeros((4, 3)), np.zeros((4, 3)), 0.0)
    assert (found.status, found.cost, found.gap) == ("solved", 0.0, 0.0)
    assert frontier(np.zeros((4, 3)), np.zeros((4, 3))).cost.tolist() == [0.0]


def test_choices_without_a_cost_are_no_choices() -> None:
    cost, loss = instance(5)
    cost[:, 0] = np.nan
    assert (choose(cost, loss, np.inf).picks > 0).all()
    cost[0] = np.nan
    with pytest.raises(ValueError, match="1 payload types have no choice"):
        choose(cost, loss, np.inf)


def test_price_in_words() -> None:
    assert in_words(2.5) == "we pay $2.50 of model cost to avoid $1.00 of mistakes"
    assert "does not bind" in in_words(0.0)
