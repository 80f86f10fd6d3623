import numpy as np
import pytest

from optimizer.pooling import design, pool


def units(seed: int, n: int, spread: float, sd: float, slope: float = 0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    truth = 0.02 + slope * x + rng.normal(0, spread, n)
    return truth, truth + rng.normal(0, sd, n), np.full(n, sd**2), x[:, None]


def test_ninety_percent_of_truths_lie_in_their_intervals() -> None:
    held = []
    for seed in range(10):
        truth, d, v, x = units(seed, 300, 0.03, 0.03, slope=0.04)
        draws = pool(d, v, x).draws(np.random.default_rng(seed), 1000)
        low, high = np.quantile(draws, (0.05, 0.95), axis=0)
        held.append(((low <= truth) & (truth <= high)).mean())
    assert np.mean(held) == pytest.approx(0.90, abs=0.03)


def test_shrinking_is_closer_to_the_truth_than_what_is_seen() -> None:
    truth, d, v, x = units(1, 200, 0.02, 0.04, slope=0.03)
    with_x, without = pool(d, v, x).mean, pool(d, v).mean
    own, blind, seen = (np.sqrt(((each - truth) ** 2).mean()) for each in (with_x, without, d))
    assert own < blind < seen


def test_two_sorts_are_told_apart_where_there_are_two() -> None:
    rng = np.random.default_rng(2)
    truth = np.where(rng.random(300) < 0.5, 0.0, 0.15)
    sd = 0.03
    d = truth + rng.normal(0, sd, 300)
    found = pool(d, np.full(300, sd**2))
    assert found.two_sorts > 0.99
    # an estimate of 0.03 is most likely chance: one normal prior would leave it at 0.03
    near = np.abs(d - 0.03) < 0.01
    assert np.abs(found.mean[near]).max() < 0.015
    one, _, _, _ = units(3, 300, 0.05, 0.03)
    assert pool(one, np.full(300, 0.03**2)).two_sorts < 0.5


def test_mean_and_probability_are_those_of_the_draws() -> None:
    rng = np.random.default_rng(4)
    d = np.concatenate((rng.normal(0, 0.03, 40), rng.normal(0.2, 0.05, 20)))
    found = pool(d, np.full(60, 0.03**2))
    draws = found.draws(np.random.default_rng(5), 40_000)
    assert draws.mean(axis=0) == pytest.approx(found.mean, abs=2e-3)
    assert draws.std(axis=0) == pytest.approx(found.sd, rel=0.05)
    assert (draws > 0.02).mean(axis=0) == pytest.approx(found.p_above(0.02), abs=0.02)


def test_covariates_that_do_not_vary_or_are_too_many_are_left_out() -> None:
    assert design(20, np.ones((20, 1))).shape == (20, 1)
    assert design(6, np.random.default_rng(0).normal(size=(6, 3))).shape == (6, 1)
    assert design(20, np.arange(20.0)[:, None]).shape == (20, 2)


def test_exact_and_equal_units_are_no_trouble() -> None:
    found = pool(np.zeros(40), np.zeros(40))
    assert found.mean == pytest.approx(np.zeros(40), abs=1e-9)
    assert np.isfinite(found.draws(np.random.default_rng(0), 10)).all()
