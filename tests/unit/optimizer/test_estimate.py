import numpy as np
import pytest

from optimizer.estimate import Effects, posterior_of
from optimizer.rules import RULES


def effects(wrong, sd) -> Effects:
    wrong = np.asarray(wrong, dtype=np.float64)
    fixed = np.zeros_like(wrong)
    return Effects(
        seen=~np.isnan(wrong),
        wrong=wrong,
        wrong_var=np.broadcast_to(np.asarray(sd, dtype=np.float64) ** 2, wrong.shape).copy(),
        wrong_call_var=fixed + 0.05,
        slack=fixed,
        discordance=fixed + 0.05,
        costed=np.ones(wrong.size, dtype=bool),
        cost=fixed,
        cost_var=fixed,
        cost_call_var=fixed,
        escalated=fixed,
    )


def posterior(wrong, sd, pairs=1000, seed=1):
    made = effects(wrong, sd)
    return posterior_of(made, np.full(made.wrong.size, float(pairs)), np.random.default_rng(seed), RULES)


def test_many_pairs_keep_their_own_mean() -> None:
    found = posterior([0.05, -0.02, 0.1, 0.0, 0.03], 1e-4)
    assert found.draws.mean(axis=0) == pytest.approx([0.05, -0.02, 0.1, 0.0, 0.03], abs=1e-3)
    assert found.prior_weight.max() < 0.01


def test_few_pairs_lean_on_the_other_types() -> None:
    sds = np.array([0.002] * 20 + [0.2])
    wrong = np.array([0.02] * 20 + [0.5])
    found = posterior(wrong, sds)
    assert found.draws.mean(axis=0)[-1] == pytest.approx(0.02, abs=0.02)
    assert found.prior_weight[-1] > 0.9


def test_few_types_have_a_weak_prior_around_zero() -> None:
    found = posterior([0.05, 0.01], 0.02)
    weight = 0.02**2 / (0.02**2 + RULES.weak_prior_sd**2)
    assert found.prior_weight == pytest.approx([weight, weight])
    assert found.draws.mean(axis=0) == pytest.approx([0.05 * (1 - weight), 0.01 * (1 - weight)], abs=2e-3)


def test_type_without_pairs_has_the_prior_alone() -> None:
    found = posterior([0.05, np.nan], 0.02)
    assert found.prior_weight[1] == 1.0
    assert found.draws[:, 1].std() == pytest.approx(RULES.weak_prior_sd, rel=0.1)


def test_below_a_hundred_pairs_intervals_are_a_quarter_wider() -> None:
    narrow, wide = posterior([0.05], 0.02, pairs=100), posterior([0.05], 0.02, pairs=99)
    assert wide.draws.std() == pytest.approx(1.25 * narrow.draws.std())


def test_same_seed_gives_the_same_draws() -> None:
    wrong = np.linspace(-0.02, 0.05, 9)
    assert np.array_equal(posterior(wrong, 0.01).draws, posterior(wrong, 0.01).draws)


def test_shrinkage_meets_the_numerical_integral() -> None:
    """The posterior of one type against the integral over beta and tau, by brute force."""
    wrong, sd = np.array([0.00, 0.02, 0.05, 0.03, 0.01, 0.04]), 0.02
    draws = posterior(wrong, sd, seed=7).draws[:, 2]
    spread = max(3 * float(np.std(wrong)), 0.02)
    taus = (np.arange(300) + 0.5) * spread / 300
    betas = np.linspace(-0.1, 0.15, 501)
    tau, beta = taus[:, None], betas[None, :]
    total = sd**2 + tau**2
    fits = -0.5 * np.log(total) - (wrong[:, None, None] - beta) ** 2 / (2 * total)
    log_weight = fits.sum(axis=0)
    weight = np.exp(log_weight - log_weight.max())
    share = sd**2 / total
    mean = (weight * (share * beta + (1 - share) * wrong[2])).sum() / weight.sum()
    assert draws.mean() == pytest.approx(mean, abs=1e-3)
