"""When to go up: three tiers with confidences of their own, on queries that were not seen. Prints figures; no gate.

The reference is one cascade for all types: of all single tiers, pairs and triples over thresholds the one that is best
on the seen half, at each price of a mistake. The area is defined in ``tests.evaluations.area``.
"""

from pathlib import Path

import numpy as np
import pytest

from optimizer.calibrate import Labels, fit, quality
from optimizer.replay import Ints
from tests.evaluations import (
    Evaluation,
    area,
    ladder_points,
    prices,
    read_cascade,
    simple_points,
    simple_policies,
)

pytestmark = [pytest.mark.bench, pytest.mark.realdata]

HALVES = 20
TIERS = ("8B", "70B", "405B")


def _areas(data: Evaluation, seed: int) -> dict[str, float]:
    seen, test = data.halves(seed)
    costs = prices(data)
    _, singles, pairs = simple_policies(seen)
    points = simple_points(seen, test, costs)
    cheapest = np.array(
        [
            (np.take_along_axis(test.cost_usd, pick, 1).mean(), np.take_along_axis(test.wrong, pick, 1).mean())
            for pick in ((test.cost_usd + price * test.wrong).argmin(axis=1)[:, None] for price in costs)
        ]
    )
    everything = len(simple_policies(seen)[0])
    found = {
        "one cascade for all types": points(everything, False),
        "one cascade, pairs only": points(pairs, False),
        "mix of single tiers": points(singles, False),
        "a tier per type, raw optimum": points(singles, True),
        "start and threshold per type, raw optimum": points(pairs, True),
        "the optimizer": ladder_points(seen, test, costs),
        "oracle of every query": cheapest,
    }
    return {name: area(each, test) for name, each in found.items()}


@pytest.mark.parametrize("cost", ["cost_usd", "answer_cost_usd"])
def test_area_under_error_and_cost(data_dir: Path, cost: str) -> None:
    data = read_cascade(data_dir, cost)
    right = " / ".join(f"{100 * each:.1f}" for each in 1 - data.wrong.mean(axis=0))
    print(f"\n  {data.kind.size:,} queries, {data.n_types} types, {right} % right, {HALVES} halves, {cost}")
    rows = [_areas(data, seed) for seed in range(HALVES)]
    base = np.array([row["one cascade for all types"] for row in rows])
    for name in rows[0]:
        own = np.array([row[name] for row in rows])
        d = own - base
        print(
            f"  {name}: area {own.mean():.4f}, to the one cascade {d.mean():+.4f} ± {d.std():.4f},"
            f" better in {int((d < 0).sum())}"
        )
    print("  limit for the optimizer: difference < 0, better in >= 17 of 20")


def test_calibration(data_dir: Path) -> None:
    data = read_cascade(data_dir, "cost_usd")
    for tier, name in enumerate(TIERS):
        shrunk, plain = np.zeros((HALVES, 4)), np.zeros((HALVES, 4))
        for seed in range(HALVES):
            seen, test = data.halves(seed)
            for out, kinds in ((shrunk, (seen.kind, test.kind)), (plain, (0 * seen.kind, 0 * test.kind))):
                out[seed] = _quality(seen, test, tier, kinds)
        for method, found in (("shrunk per type", shrunk), ("one Platt curve", plain)):
            m = found.mean(axis=0)
            print(
                f"  {name}, {method}: ECE {m[0]:.4f} ± {found[:, 0].std():.4f}, Brier {m[1]:.3f},"
                f" AUROC {m[2]:.3f}, AURC {m[3]:.3f}"
            )
    print("  limit: ECE <= .03 per tier, or no worse than one Platt curve")


def _quality(seen: Evaluation, test: Evaluation, tier: int, kinds: tuple[Ints, Ints]) -> tuple[float, ...]:
    labels = Labels(
        confidence=seen.confidence[:, tier],
        correct=1 - seen.wrong[:, tier],
        kind=kinds[0],
        weight=np.ones(seen.kind.size),
    )
    n_kinds = int(max(kinds[0].max(), kinds[1].max())) + 1
    curves = fit(labels, n_kinds)
    p = curves.apply(test.confidence[:, tier], kinds[1])
    found = quality(p, 1 - test.wrong[:, tier], np.random.default_rng(0), n_boot=0)
    return found.ece, found.brier, found.auroc or 0.0, found.aurc
