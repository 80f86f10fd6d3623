"""Worlds whose truth is known (generators in ``tests.worlds``): are estimates and moves right? Prints figures; no gate.

False = of the moves, those that make more than two points more answers wrong; losing = those that lose money; power =
share of the types that lose nothing which were moved within twelve weekly looks; regret = share of the gain that is
missed of an oracle which moves exactly what pays and does no harm.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.judge import judge
from optimizer.rules import GUARDED, RULES
from optimizer.solve import obstacle
from tests.evaluations import Evaluation, judged, read_cascade, read_mmlu
from tests.looks import Looks, look
from tests.pairs import make_facts, make_question, make_route
from tests.worlds import difficulty_world, weekly_world

pytestmark = pytest.mark.bench

SEEDS = 6
QUICK = 1000
DECAY = 0.841
VARIANTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "as it is": ({}, {}),
    "as it is, dollars alone": ({}, {"rules": replace(RULES, n_draws=QUICK)}),
    "60 % labelled, 5 days late": ({}, {"label_rate": 0.6, "delay_weeks": 5 / 7}),
    "labels carried over one way": ({}, {"transfer": True}),
    "5 points worse from week 6, half-life 4 weeks": ({"drift_at": 5}, {"keep": DECAY}),
    "new types each week": ({"newcomers": True}, {}),
    "one dominating type": ({"dominating": True}, {}),
    "all harmful": ({"all_harmful": True}, {}),
}


@pytest.mark.parametrize("shadow_rate", [0.01, 0.02, 0.05])
def test_estimates_of_what_the_cheap_tier_would_get_wrong(shadow_rate: float) -> None:
    errors: list[tuple[float, float, float]] = []
    for seed in range(SEEDS):
        world = difficulty_world(seed, shadow_rate)
        questions = tuple(
            make_question(make_route(1), make_route(0), type=kind, calls_per_month=1e12)
            for kind in range(world.truth.size)
        )
        found = judge(world.table, world.cells, questions, np.random.default_rng(seed), replace(RULES, n_draws=QUICK))
        rows = [(each.wrong_change, truth) for each, truth in zip(found, world.truth, strict=True) if each.seen]
        off = np.array([change.mean - truth for change, truth in rows])
        held = np.mean([change.low <= truth <= change.high for change, truth in rows])
        errors.append((float(off.mean()), float(np.sqrt((off**2).mean())), float(held)))
    m, s = np.mean(errors, axis=0), np.std(errors, axis=0)
    print(
        f"\n  300 types, {100 * shadow_rate:g} % shadows, {SEEDS} seeds: bias {m[0]:+.4f}, RMSE {m[1]:.4f} ± {s[1]:.4f}"
        f" (limit .020 at 2 %), coverage {m[2]:.3f} ± {s[2]:.3f} (limit .87 to .96)"
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_twelve_weekly_looks(name: str) -> None:
    world, looks = VARIANTS[name]
    arguments: dict[str, Any] = {"rules": replace(GUARDED, n_draws=QUICK), **looks}
    found = [look(weekly_world(seed, **world), seed, **arguments) for seed in range(SEEDS)]
    print(f"\n  {name}: {_text(found)}")


def _text(found: list[Looks]) -> str:
    moves = max(sum(each.moves for each in found), 1)
    power, regret = [each.found for each in found], [each.regret for each in found]
    weekly = sum(each.moves for each in found) / sum(each.types for each in found) / 12
    return (
        f"moved {100 * weekly:.2f} % of types a week, false {100 * sum(each.harmful for each in found) / moves:.1f} %,"
        f" losing {100 * sum(each.losing for each in found) / moves:.1f} %, power {100 * np.mean(power):.0f} ±"
        f" {100 * np.std(power):.0f} %, coverage {np.mean([each.coverage for each in found]):.3f}, regret"
        f" {np.mean(regret):.2f} ± {np.std(regret):.2f} (limits: false 5 %, losing 3 %, power 33 %, coverage .87;"
        " of all harmful: 1 % a week)"
    )


@pytest.mark.realdata
def test_placebo(data_dir: Path) -> None:
    """The answers of both tiers to every query are exchanged at random: nothing is to be won."""
    for label, data in (("MMLU", read_mmlu(data_dir)), ("cascade logs", read_cascade(data_dir, "cost_usd"))):
        moves = types = 0
        for seed in range(10 * SEEDS):
            found = judged(_exchanged(data, seed), 0, 1, seed)
            facts = make_facts(cost_usd=float(data.cost_usd.mean()), wrong_rate=0.0)
            moves += sum(obstacle(facts, each, replace(RULES, min_pairs=30)) is None for each in found)
            types += len(found)
        print(f"  placebo, {label}: {100 * moves / types:.2f} % of types moved (nominal 5 %)")


def _exchanged(data: Evaluation, seed: int) -> Evaluation:
    swap = np.random.default_rng(seed).random(data.kind.size) < 0.5
    order = np.where(swap[:, None], (1, 0), (0, 1))
    wrong, cost, sure = (
        np.take_along_axis(each[:, :2], order, axis=1) for each in (data.wrong, data.cost_usd, data.confidence)
    )
    return Evaluation(data.names, data.kind, wrong, cost, sure)
