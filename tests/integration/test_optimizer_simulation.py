"""Worlds whose truth is known: do the intervals cover, and how often is a worthless move proposed?"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from optimizer.answers import ANSWER_COLUMNS, tabulate
from optimizer.judge import judge
from optimizer.rules import RULES
from optimizer.solve import obstacle
from tests.pairs import make_facts, make_question, make_route, make_world

pytestmark = pytest.mark.slow

ERROR_COST_USD = 0.10


@dataclass
class Score:
    """How a run of worlds went; counts of types.

    Attributes:
        types: All.
        covered: The coming month's change of the wrong rate lay in its interval.
        moves: A move was proposed.
        losing: Of these: the truth is that it wins nothing.
    """

    types: int = 0
    covered: int = 0
    moves: int = 0
    losing: int = 0


def score(n_types: int, seeds: range, *, shadow_rate: float, change: float | None = None) -> Score:
    found = Score()
    for seed in seeds:
        world = make_world(n_types, seed, change=None if change is None else np.full(n_types, change))
        table, cells = world.observed(shadow_rate, 0.35)
        month = [max(int(calls) // 2, 1) for calls in world.calls]
        questions = tuple(
            make_question(type=kind, calls_per_month=float(month[kind]), error_cost_usd=ERROR_COST_USD)
            for kind in range(n_types)
        )
        for kind, judged in enumerate(judge(table, cells, questions, np.random.default_rng(seed), RULES)):
            change_seen = world.month(kind, month[kind])
            facts = make_facts(calls_per_month=float(month[kind]), error_cost_usd=ERROR_COST_USD)
            is_move = obstacle(facts, judged, RULES) is None
            found.types += 1
            found.covered += judged.wrong_change.low <= change_seen <= judged.wrong_change.high
            found.moves += is_move
            found.losing += is_move and world.saving_usd[kind] <= ERROR_COST_USD * world.change[kind] + 1e-12
    return found


@pytest.mark.parametrize(
    ("n_types", "seeds", "shadow_rate"),
    [(40, range(10), 0.05), (40, range(10), 0.20), (3, range(100), 0.10)],
    ids=["many types, few pairs", "many types, many pairs", "too few types to pool"],
)
def test_ninety_percent_intervals_cover_the_coming_month(n_types: int, seeds: range, shadow_rate: float) -> None:
    found = score(n_types, seeds, shadow_rate=shadow_rate)
    print(f"coverage {found.covered / found.types:.3f} of {found.types} types")
    assert 0.85 <= found.covered / found.types <= 0.96


def test_worthless_moves_are_rarely_proposed_where_types_are_pooled() -> None:
    # every move would exactly break even: the hardest world there is
    found = score(40, range(10), shadow_rate=0.10, change=0.01)
    print(f"false moves {found.losing / found.types:.3f} of {found.types} types")
    assert found.losing / found.types <= 0.02


def test_worthless_moves_of_a_type_alone_are_proposed_in_one_of_twenty_cases() -> None:
    # without others to lean on, the 5 % end of the interval is the guard; 8 % = 5 % and two standard errors of 300
    found = score(1, range(300), shadow_rate=0.10, change=0.01)
    print(f"false moves {found.losing / found.types:.3f} of {found.types} types")
    assert found.losing / found.types <= 0.08


def test_estimate_meets_the_truth_where_the_hard_calls_escalate() -> None:
    """Cheap → mid, one in ten accepted calls shadowed: what mid alone would change is known from all calls."""
    rng, n, rate = np.random.default_rng(5), 60_000, 0.1
    difficulty = rng.normal(size=n)
    wrong = [(difficulty + rng.normal(size=n) > limit).astype(float) for limit in (1.8, 2.4)]
    confidence = 1 / (1 + np.exp(-(3.0 - 1.5 * difficulty + rng.normal(size=n))))
    went_up = confidence < 0.8
    drawn = went_up | (rng.random(n) < rate)
    truth = float(np.where(went_up, 0.0, wrong[1] - wrong[0]).mean())
    calls = np.flatnonzero(drawn)
    frame = pl.concat(
        pl.DataFrame(
            {
                "call": calls,
                "type": np.zeros(calls.size, dtype=np.int32),
                "group": np.zeros(calls.size, dtype=np.int32),
                "tier": np.full(calls.size, tier, dtype=np.int32),
                "is_shadow": (tier == 1) & ~went_up[drawn],
                "is_served": went_up[drawn] if tier == 1 else ~went_up[drawn],
                "valid": np.full(calls.size, fill_value=True),
                "confidence": confidence[drawn] if tier == 0 else np.full(calls.size, 0.9),
                "raw": confidence[drawn] if tier == 0 else np.full(calls.size, 0.9),
                "cost_usd": np.full(calls.size, 0.001),
                "latency_ms": np.full(calls.size, 500.0),
                "propensity": np.full(calls.size, rate),
                "correct": 1 - wrong[tier][drawn],
                "label_propensity": np.ones(calls.size),
                "answer_match": pl.Series([None] * calls.size, dtype=pl.Boolean),
                "weight": np.ones(calls.size),
            },
            schema_overrides=ANSWER_COLUMNS,
        )
        for tier in (0, 1)
    )
    cells = np.zeros((1, 4, 2))
    cells[0, 0] = (~went_up).sum(), went_up.sum()
    question = make_question(make_route(0, 1), make_route(1), calls_per_month=float(n))
    (judged,) = judge(tabulate(frame, 3), cells, (question,), np.random.default_rng(0), RULES)
    naive = float((wrong[1] - wrong[0])[drawn].mean())
    assert judged.wrong_change.mean == pytest.approx(truth, abs=3 * (0.05 / (rate * n)) ** 0.5)
    assert abs(naive - truth) > 0.02
    assert judged.wrong_change.low <= truth <= judged.wrong_change.high


def test_harmful_moves_are_never_proposed() -> None:
    found = score(40, range(5), shadow_rate=0.10, change=0.03)
    assert found.moves == 0


def test_moves_that_pay_are_found() -> None:
    found = score(40, range(5), shadow_rate=0.20, change=0.0)
    print(f"found {found.moves / found.types:.2f} of the moves that pay")
    assert found.moves / found.types >= 0.9
