"""What must hold of evidence and decisions, whatever the answers are."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from optimizer.answers import Table
from optimizer.evidence import compare
from optimizer.replay import Way
from optimizer.rules import RULES
from optimizer.solve import decide
from router_core.control.records import Interval
from tests.pairs import make_answer, make_facts, make_shadow, make_table
from tests.unit.optimizer.test_solve import make_judged

LABELS = st.sampled_from((None, 0.0, 0.5, 1.0))


@st.composite
def calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for call in range(draw(st.integers(1, 12))):
        rows.append(make_answer(call=call, correct=draw(LABELS)))
        match = draw(st.sampled_from((None, True, False)))
        rows.append(make_shadow(call=call, correct=draw(LABELS), answer_match=match))
    return rows


def way(tier: int, table: Table) -> Way:
    n = table.type.size
    one = np.full((n, 1), 0.8)
    return Way(tiers=(tier,), accept_at=one, straight_below=one * np.nan, accepts_missing=np.ones(n, dtype=bool))


@given(rows=calls())
def test_a_label_is_carried_over_only_from_a_label(rows: list[dict[str, Any]]) -> None:
    table = make_table(rows)
    for call, (served, shadow) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        low, high = table.wrong_low[call, 0], table.wrong_high[call, 0]
        if shadow["correct"] is not None:
            assert low == high == 1 - shadow["correct"]
        elif served["correct"] is None or shadow["answer_match"] is None:
            assert np.isnan(low)
        elif served["correct"] < 1 and not shadow["answer_match"]:
            assert (low, high) == (0, 1)
        else:
            assert low == high


@given(rows=calls(), truth=st.lists(st.sampled_from((0.0, 1.0)), min_size=12, max_size=12))
def test_an_unknown_label_never_speaks_for_the_move(rows: list[dict[str, Any]], truth: list[float]) -> None:
    told: list[dict[str, Any]] = []
    for served, shadow in zip(rows[::2], rows[1::2], strict=True):
        unknown = shadow["correct"] is None and shadow["answer_match"] is False and served["correct"] in (0.0, 0.5)
        told += [served, {**shadow, "correct": truth[shadow["call"]]} if unknown else shadow]
    table, complete = make_table(rows), make_table(told)
    found = compare(table, way(1, table), way(0, table), (1, 4))
    really = compare(complete, way(1, complete), way(0, complete), (1, 4))
    # whatever the labels are that nobody gave, the harm is not larger, nor smaller than what is left open
    assert found.pair_weight.sum() == really.pair_weight.sum()
    assert found.pair_d.sum() >= really.pair_d.sum()
    assert found.pair_d.sum() - found.pair_slack.sum() <= really.pair_d.sum()


@given(rows=calls())
def test_weights_of_one_give_the_plain_mean(rows: list[dict[str, Any]]) -> None:
    table = make_table(rows)
    found = compare(table, way(1, table), way(0, table), (1, 4))
    both = [
        (1 - shadow["correct"]) - (1 - served["correct"])
        for served, shadow in zip(rows[::2], rows[1::2], strict=True)
        if served["correct"] is not None and shadow["correct"] is not None and shadow["answer_match"] is None
    ]
    carried = [row for row in rows[1::2] if row["answer_match"] is not None]
    if both and not carried:
        assert np.isclose(found.pair_d.sum() / found.pair_weight.sum(), np.mean(both))


intervals = st.tuples(st.floats(-50, 50), st.floats(0, 60))


@given(options=st.lists(intervals, min_size=1, max_size=4), wider=st.floats(1, 5))
def test_a_wider_interval_never_turns_anything_into_a_move(options: list[tuple[float, float]], wider: float) -> None:
    def decision(factor: float) -> str:
        judged = tuple(
            replace(
                make_judged(),
                net_usd_month=Interval(mean=mean, low=mean - half * factor, high=mean + half * factor),
                p_net_positive=1.0 if mean - half * factor > 0 else 0.5,
            )
            for mean, half in options
        )
        return decide(make_facts(), judged, RULES).verdict

    if decision(1.0) != "move":
        assert decision(wider) != "move"
