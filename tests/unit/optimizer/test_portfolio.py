import numpy as np
import pytest

from optimizer.drafting import Context, draft_of, path_text
from optimizer.judge import Samples
from optimizer.portfolio import combined, total
from optimizer.rules import RULES
from router_core.control.records import Draft, Interval
from tests.pairs import make_facts
from tests.unit.optimizer.test_solve import make_judged

RNG_SEED = 3


def make_draft(name: str, net: Interval | None = None) -> Draft:
    context = Context(
        tiers=("cheap", "mid", "top"),
        base_version="v1",
        window_us=(0, 1),
        undated=frozenset(),
        volume_given=True,
        shadow_budget_usd=None,
        error_price_given=frozenset(),
        seed=0,
        rules=RULES,
    )
    judged = make_judged() if net is None else make_judged(net_usd_month=net)
    return draft_of(make_facts(name=name), judged, context)


def make_samples(wrong: np.ndarray, *, slack: float = 0.0) -> Samples:
    cost = np.full(wrong.size, -0.001)
    return Samples(wrong=wrong, cost_usd=cost, wrong_call_sd=0.0, cost_call_sd=0.0, slack=slack)


def test_total_adds_draw_by_draw() -> None:
    shared = np.random.default_rng(1).normal(0.0, 0.01, 4000)
    together = {"a": make_samples(shared), "b": make_samples(shared)}
    against = {"a": make_samples(shared), "b": make_samples(-shared)}
    drafts = [make_draft("a"), make_draft("b")]
    volumes = {"a": 1000.0, "b": 1000.0}
    wide = total(drafts, together, volumes, np.random.default_rng(RNG_SEED))
    none = total(drafts, against, volumes, np.random.default_rng(RNG_SEED))
    assert wide.saving_usd.mean == pytest.approx(2.0)
    assert wide.wrong_rate_change.high == pytest.approx(0.01645, rel=0.1)
    assert none.wrong_rate_change.high == pytest.approx(0.0, abs=1e-12)


def test_total_is_for_the_volume_given() -> None:
    samples = {"a": make_samples(np.zeros(10))}
    found = total([make_draft("a")], samples, {"a": 50.0}, np.random.default_rng(RNG_SEED))
    assert (found.calls, found.saving_usd.mean) == (50.0, pytest.approx(0.05))


def test_expected_totals_are_the_sums_of_what_each_move_promises() -> None:
    rng = np.random.default_rng(1)
    cost = np.full(400, -0.001)
    samples = {
        name: Samples(wrong=rng.normal(0.01, 0.02, 400), cost_usd=cost, wrong_call_sd=0.3, cost_call_sd=0.1, slack=0.0)
        for name in "ab"
    }
    drafts = [make_draft("a"), make_draft("b")]
    found = total(drafts, samples, {"a": 1000.0, "b": 500.0}, np.random.default_rng(RNG_SEED))
    wrong = 1000 * samples["a"].wrong.mean() + 500 * samples["b"].wrong.mean()
    assert found.saving_usd.mean == pytest.approx(1.5)
    assert found.wrong_rate_change.mean == pytest.approx(wrong / 1500)
    assert found.net_usd.mean == pytest.approx(1.5 - found.impact_usd.mean)


def test_bounded_labels_leave_room_on_the_good_side() -> None:
    samples = {"a": make_samples(np.zeros(10), slack=0.01)}
    found = total([make_draft("a")], samples, {"a": 100.0}, np.random.default_rng(RNG_SEED))
    assert found.wrong_rate_change.low == pytest.approx(-0.01)
    assert found.net_usd.high == pytest.approx(0.1 + 0.1 * 100 * 0.01)


def test_half_widths_of_independent_proposals_add_up_as_squares() -> None:
    three, four = Interval(mean=10.0, low=7.0, high=13.0), Interval(mean=20.0, low=16.0, high=24.0)
    net = combined([make_draft("a", three), make_draft("b", four)]).net_usd
    assert (net.mean, net.low, net.high) == pytest.approx((30.0, 25.0, 35.0))


def test_nothing_adds_up_to_nothing() -> None:
    assert combined([]).net_usd == Interval(mean=0.0, low=0.0, high=0.0)
    assert total([], {}, {}, np.random.default_rng(0)).moves == 0


def test_an_arrow_never_stands_within_a_path() -> None:
    assert path_text(("cheap", "mid")) == "cheap > mid"
