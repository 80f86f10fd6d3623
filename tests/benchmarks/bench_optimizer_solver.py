"""What the shared decision costs: 2,000 payload types of 12 policies. Prints figures beside limits; no gate."""

import time

import numpy as np
import pytest

from optimizer.knapsack import Row, choose, frontier
from optimizer.replay import Floats

pytestmark = pytest.mark.bench

TYPES, POLICIES, INSTANCES = 2_000, 12, 16


def _instance(seed: int, n_types: int = TYPES) -> tuple[Floats, Floats]:
    """Cost and loss per type and policy: dearer ones lose less, but for noise."""
    rng = np.random.default_rng(seed)
    volume = rng.lognormal(5.5, 1.3, (n_types, 1))
    cost = np.sort(rng.lognormal(-5, 1.2, (n_types, POLICIES)), axis=1)
    wrong = np.sort(rng.beta(2, 40, (n_types, POLICIES)), axis=1)[:, ::-1] + rng.normal(0, 0.003, (n_types, POLICIES))
    return volume * cost, volume * rng.lognormal(-1.5, 1, (n_types, 1)) * np.clip(wrong, 0, 1)


@pytest.mark.parametrize("n_types", [57, 300, TYPES])
def test_choice_and_frontier(n_types: int) -> None:
    took, cpu, gaps, hulls = [], [], [], []
    for seed in range(INSTANCES):
        cost, loss = _instance(seed, n_types)
        budget = float(loss.min(axis=1).sum()) * (1 + 0.05 * (1 + seed % 4))
        began, began_cpu = time.perf_counter(), time.process_time()
        found = choose(cost, loss, budget)
        took.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
        gaps.append(found.gap)
        assert found.loss <= budget * (1 + 1e-8)
        began = time.perf_counter()
        points = frontier(cost, loss).cost.size
        hulls.append(time.perf_counter() - began)
    print(
        f"\n  {n_types:,} types, {INSTANCES} instances: median {np.median(took):.3f} s, max {max(took):.2f} s"
        f" (limits 0.1 and 3), processor {np.median(cpu):.3f} and {max(cpu):.2f} s; gap median"
        f" {100 * np.median(gaps):.4f} %, max {100 * max(gaps):.3f} % (limit 0.3);"
        f" frontier of {points:,} points, max {max(hulls):.3f} s (limit 0.5)"
    )


def test_with_side_rows() -> None:
    cost, loss = _instance(3)
    now = loss.argmin(axis=1)
    use = np.ones_like(cost)
    use[np.arange(TYPES), now] = 0
    for budget, moves in ((np.inf, 20.0), (float(loss.min(axis=1).sum()) * 1.02, 60.0)):
        began = time.perf_counter()
        found = choose(cost, loss, budget, rows=(Row(name="moves", use=use, limit=moves),))
        print(
            f"  at most {moves:.0f} moves: {time.perf_counter() - began:.2f} s,"
            f" gap {100 * found.gap:.3f} %, {found.status}"
        )
