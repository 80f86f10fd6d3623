import numpy as np
import pytest

from optimizer.evidence import Comparison, compare
from optimizer.replay import Way
from tests.pairs import make_answer, make_shadow, make_table


def way(*tiers: int, n: int, accept_at: float = 0.8) -> Way:
    shape = (n, len(tiers))
    return Way(
        tiers=tiers,
        accept_at=np.full(shape, accept_at),
        straight_below=np.full(shape, np.nan),
        accepts_missing=np.zeros(n, dtype=bool),
    )


def compared(rows, now=(1,), then=(0,)) -> Comparison:
    table = make_table(rows)
    n = table.type.size
    return compare(table, way(*now, n=n), way(*then, n=n), (1, 4))


def test_pair_of_a_shadow_is_counted_on_both_sides() -> None:
    rows = [
        make_answer(call=0, correct=1.0), make_shadow(call=0, correct=0.0),
        make_answer(call=1, correct=0.0), make_shadow(call=1, correct=1.0),
        make_answer(call=2, correct=1.0), make_shadow(call=2, correct=1.0),
        make_answer(call=3, correct=None), make_shadow(call=3, correct=1.0),
    ]  # fmt: skip
    found = compared(rows)
    assert (found.pairs[0], found.worse[0], found.better[0], found.with_shadow[0]) == (3, 1, 1, 3)
    assert found.calls.sum() == 4


def test_unknown_label_counts_against_the_proposed_path() -> None:
    rows = [make_answer(correct=0.0), make_shadow(correct=None, answer_match=False)]
    found = compared(rows)
    assert (found.pair_d.sum(), found.pair_slack.sum(), found.unknown[0]) == (0.0, 1.0, 1)


def test_rare_shadow_stands_for_the_calls_that_had_none() -> None:
    rows = [make_answer(call=0), make_shadow(call=0, propensity=0.02), make_answer(call=1), make_shadow(call=1)]
    assert compared(rows).weight.sum() == pytest.approx(51)


def test_rare_label_stands_for_the_calls_that_had_none() -> None:
    rows = [make_answer(label_propensity=0.5), make_shadow(label_propensity=0.25, propensity=0.1)]
    assert compared(rows).pair_weight.sum() == pytest.approx(40)


def test_answer_of_the_same_tier_on_both_paths_needs_no_label() -> None:
    went_up = [
        make_answer(tier=0, is_served=False, correct=None, confidence=0.2),
        make_answer(tier=1, correct=None),
    ]
    found = compared(went_up, now=(0, 1), then=(1,))
    assert (found.weight.sum(), found.weight_differ.sum(), found.pairs[0]) == (1, 0, 0)


def test_path_that_needs_an_answer_nobody_has_is_not_replayed() -> None:
    rows = [make_answer(call=0), make_shadow(call=0, confidence=0.1)]
    found = compared(rows, now=(1,), then=(0, 2))
    assert (found.calls.sum(), found.started.sum()) == (0, 1)


def test_costs_of_all_steps_add_up() -> None:
    rows = [make_answer(cost_usd=0.01, confidence=0.9), make_shadow(cost_usd=0.002, confidence=0.1)]
    assert compared(rows, then=(0, 1)).cost_d.sum() == pytest.approx(0.002)


def test_p95_of_the_proposed_path_weighs_rare_shadows() -> None:
    slow = [(1000.0 + i, 1.0) for i in range(5)]
    fast = [(100.0 + i, 0.1) for i in range(10)]
    rows = []
    for call, (latency_ms, propensity) in enumerate(slow + fast):
        rows += [make_answer(call=call), make_shadow(call=call, latency_ms=latency_ms, propensity=propensity)]
    # 100 fast calls, 5 slow ones: 95 % of 105 is 99.75
    assert compared(rows).p95_ms[0] == 109.0
