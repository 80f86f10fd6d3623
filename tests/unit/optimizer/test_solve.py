from dataclasses import replace

import numpy as np
import pytest

from optimizer.judge import Judged, Samples
from optimizer.missing import wanted
from optimizer.rules import RULES
from optimizer.solve import decide, obstacle, risk_of
from router_core.control.records import Interval
from tests.pairs import make_facts, make_question, make_route


def interval(mean: float, half: float) -> Interval:
    return Interval(mean=mean, low=mean - half, high=mean + half)


def make_judged(net: float = 8.0, half: float = 4.0, **fields) -> Judged:
    none = np.zeros(1)
    judged = Judged(
        question=make_question(),
        seen=True,
        costed=True,
        pairs=500,
        accepted=500,
        worse=6,
        better=5,
        with_shadow=500,
        transferred=0,
        unknown=0,
        prior_weight=0.02,
        discordance=0.022,
        wrong_change=interval(0.002, 0.002),
        saving_usd_month=interval(10.0, 0.5),
        impact_usd_month=interval(2.0, 2.0),
        net_usd_month=interval(net, half),
        p_net_positive=0.99,
        p_harm=0.01,
        p_inverted=0.0,
        p95_ms=500.0,
        samples=Samples(wrong=none, cost_usd=none, wrong_call_sd=0.1, cost_call_sd=0.0, slack=0.0),
    )
    return replace(judged, **fields)


def test_best_of_the_safe_options_is_the_move() -> None:
    best = make_judged(20.0)
    decision = decide(make_facts(), (make_judged(8.0), best, make_judged(50.0, 60.0)), RULES)
    assert (decision.verdict, decision.chosen) == ("move", best)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"seen": False}, "unseen"),
        ({"costed": False}, "unseen"),
        ({"pairs": 99}, "few"),
        ({"p_net_positive": 0.89}, "unsure"),
        ({"net_usd_month": interval(8.0, 9.0)}, "unsure"),
        ({"net_usd_month": interval(0.5, 0.1)}, "small"),
    ],
)
def test_option_is_not_proposed(fields, why) -> None:
    assert obstacle(make_facts(), make_judged(**fields), RULES) == why


def test_path_of_several_steps_needs_pairs_of_calls_that_had_not_escalated() -> None:
    cascade = make_question(make_route(0, 1), make_route(1))
    assert obstacle(make_facts(), make_judged(question=cascade, accepted=29), RULES) == "few"
    assert obstacle(make_facts(), make_judged(question=cascade, accepted=30), RULES) is None


def test_path_above_the_latency_allowed_is_not_proposed() -> None:
    facts = make_facts(latency_slo_s=0.4)
    assert obstacle(facts, make_judged(), RULES) == "slow"
    assert decide(facts, (make_judged(),), RULES).verdict == "hold"


def test_tier_whose_answers_fail_their_checks_is_not_proposed() -> None:
    cheap, *others = make_facts().tiers
    facts = make_facts(tiers=(replace(cheap, unanswered=0.05), *others))
    assert obstacle(facts, make_judged(), RULES) == "invalid"


def test_narrow_interval_without_anything_to_win_is_a_hold() -> None:
    assert decide(make_facts(), (make_judged(0.1, 0.5),), RULES).verdict == "hold"


def test_wide_interval_is_not_enough_evidence_with_its_price() -> None:
    decision = decide(make_facts(), (make_judged(1.0, 60.0),), RULES)
    assert decision.verdict == "not_enough_evidence"
    assert decision.wanted is not None
    assert decision.wanted.cost_usd == pytest.approx(decision.wanted.shadows * 0.0002)
    assert decision.wanted.shadows == pytest.approx(decision.wanted.pairs / 0.35, abs=1)


def test_number_of_pairs_follows_the_formula_at_the_break_even_margin() -> None:
    # 1,000 USD saved per million calls at 0.10 USD a mistake: a move breaks even at 1 point more wrong
    facts = make_facts()
    unseen = make_judged(seen=False, pairs=0, discordance=0.05, net_usd_month=interval(0.0, 99.0))
    plan = wanted(facts, unseen, RULES)
    assert plan is not None
    assert plan.pairs == pytest.approx(6.18 * 0.05 / 0.01**2, abs=1)


def test_move_up_that_could_not_even_pay_without_any_mistake_needs_no_evidence() -> None:
    up = make_question(then=make_route(2))
    unseen = make_judged(question=up, seen=False, costed=False, pairs=0)
    # top costs 108 USD a month more, all mistakes together cost 40
    assert decide(make_facts(), (unseen,), RULES).verdict == "hold"


def test_type_without_labels_asks_for_evidence() -> None:
    unseen = make_judged(seen=False, costed=False, pairs=0)
    facts = make_facts(labels=0, label_rate=0.0, wrong_rate=None)
    decision = decide(facts, (unseen,), RULES)
    assert decision.verdict == "not_enough_evidence"
    assert decision.wanted is not None


@pytest.mark.parametrize(("high", "risk"), [(0.005, "low"), (0.02, "medium"), (0.021, "high")])
def test_risk_is_the_upper_bound_of_the_change(high, risk) -> None:
    change = Interval(mean=0.0, low=-0.01, high=high)
    assert risk_of(make_judged(wrong_change=change), RULES) == risk
