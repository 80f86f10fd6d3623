"""Small versions of the benchmarks with a known truth and on public evaluations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer.identify import bounds, choice_of, fair_labels, judged_mean, log_odds_ratio
from optimizer.judge import judge
from optimizer.rules import GUARDED, RULES
from tests.evaluations import area, judged, ladder_points, prices, read_cascade, read_mmlu, routed, simple_points
from tests.looks import look
from tests.pairs import make_question, make_route
from tests.worlds import difficulty_world, weekly_world

pytestmark = pytest.mark.slow
QUICK = 500


def test_estimates_meet_the_truth_where_hard_calls_escalate() -> None:
    world = difficulty_world(0, 0.02)
    questions = tuple(
        make_question(make_route(1), make_route(0), type=kind, calls_per_month=1e12) for kind in range(300)
    )
    found = judge(world.table, world.cells, questions, np.random.default_rng(0), replace(RULES, n_draws=QUICK))
    rows = [(each.wrong_change, truth) for each, truth in zip(found, world.truth, strict=True) if each.seen]
    off = np.array([change.mean - truth for change, truth in rows])
    assert np.sqrt((off**2).mean()) < 0.02
    assert 0.85 <= np.mean([change.low <= truth <= change.high for change, truth in rows]) <= 0.97


def test_weekly_looks_move_what_is_safe_and_little_else() -> None:
    found = look(weekly_world(1, n_types=150), 1, rules=replace(GUARDED, n_draws=QUICK))
    print(found.text())
    # 5 % of some forty moves, and two standard errors
    assert found.harmful <= 0.12 * found.moves
    assert found.found > 0.15
    assert found.coverage > 0.85


def test_nothing_moves_where_everything_is_harmful() -> None:
    found = look(weekly_world(2, n_types=150, weeks=6, all_harmful=True), 2, rules=replace(GUARDED, n_draws=QUICK))
    assert found.moves <= 0.01 * 150 * 6


def test_labels_that_prefer_mistakes_are_left_out_and_drawn_ones_stay() -> None:
    rng, n = np.random.default_rng(3), 20_000
    kind = rng.integers(0, 10, n)
    wrong = np.column_stack((rng.random(n) < 0.10, rng.random(n) < 0.05)).astype(np.float64)
    world = difficulty_world(0, 0.02, n_types=2)
    differs = (wrong[:, 0] != wrong[:, 1]).astype(np.float64)
    audited = rng.random(n) < 0.05
    reported = rng.random(n) < np.where(wrong[:, 1] == 1, 0.6, 0.2)
    seen = np.where((audited | reported)[:, None], wrong, np.nan)
    table = replace(
        world.table, type=kind, wrong_low=seen, wrong_high=seen, chance_known=audited | ~reported, differs=differs
    )
    kept, choice = fair_labels(table)
    assert not choice.is_fair
    assert choice.ratio > 1.25
    left = ~np.isnan(kept.wrong_low[:, 1])
    assert (left == audited).all()
    assert wrong[left, 1].mean() == pytest.approx(0.05, abs=0.02)
    assert np.nanmean(seen[:, 1]) > 0.09


def test_fair_labels_are_fair() -> None:
    rng = np.random.default_rng(4)
    fair = [
        choice_of(
            rng.integers(0, 10, 5000), rng.random(5000) < 0.3, (rng.random(5000) < 0.1).astype(np.float64)
        ).is_fair
        for _ in range(50)
    ]
    assert all(fair)


def test_a_judge_that_is_too_kind_is_corrected() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        truth = (rng.random(2000) < 0.10).astype(np.float64)
        judge_says = np.where(truth == 1, rng.random(2000) < 0.6, rng.random(2000) < 0.01).astype(np.float64)
        found = judged_mean(judge_says[200:], judge_says[:200], truth[:200])
        covered += abs(found.mean - 0.10) <= 1.645 * found.variance**0.5
    assert covered / 200 == pytest.approx(0.90, abs=0.06)


def test_bounds_hold_and_odds_do_not_depend_on_who_is_labelled() -> None:
    low, high = bounds(0.136, 0.22)
    assert low <= 0.05 <= high
    every, some = log_odds_ratio(300, 100), log_odds_ratio(180, 60)
    assert some.mean == pytest.approx(every.mean, abs=0.01)
    assert some.variance > every.variance


@pytest.mark.realdata
def test_subjects_of_mmlu_are_sent_to_whom_they_need(data_dir: Path) -> None:
    data = read_mmlu(data_dir)
    found = []
    for seed in range(10):
        seen, test = data.halves(seed)
        gain = np.zeros(seen.n_types)
        for each in judged(seen, 0, 1):
            gain[each.question.type] = -each.wrong_change.mean
        found.append(routed(test, gain[test.kind]))
    assert np.mean([each.apgr for each in found]) >= 0.65
    assert np.mean([each.cpt50 for each in found]) <= 0.30


@pytest.mark.realdata
def test_thresholds_by_type_beat_one_cascade_for_all(data_dir: Path) -> None:
    data = read_cascade(data_dir, "cost_usd")
    differences = []
    for seed in range(4):
        seen, test = data.halves(seed)
        costs = prices(data)
        one = area(simple_points(seen, test, costs)(222, False), test)
        differences.append(area(ladder_points(seen, test, costs), test) - one)
    assert np.mean(differences) < 0
