"""Figures of the cap simulator: what is drawn, and that it can be seen."""

from typing import Any

import pytest

from dashboard import cap_charts
from dashboard.charts import Theme
from optimizer.simulate.rehearsal import Rehearsal, rehearse
from router_core.decide.guard import Limit
from tests.traffic import FIRST, make_traffic
from tests.unit.dashboard.test_charts import BACKGROUND, contrast

USD = 1_000_000_000
THEMES: tuple[Theme, ...] = ("light", "dark")


def made(*usd: float, **traffic: Any) -> Rehearsal:
    return rehearse(make_traffic(**traffic), [Limit(name="d", limit_nusd=round(each * USD)) for each in usd])


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


@pytest.mark.parametrize("theme", THEMES)
def test_days_show_what_happened_what_the_limit_leaves_and_when_it_is_reached(theme: Theme) -> None:
    found = traces(cap_charts.spend_per_day(made(4), 0, theme))
    assert list(found["what happened"].y) == [10.0] * 3
    assert list(found["under the limit"].y) == pytest.approx([5.5] * 3)
    assert set(found["limit $4.00"].y) == {4.0}
    assert list(found["limit reached"].customdata) == ["reached at 08:40 CET"] * 3
    assert "left as it was" not in found


def test_days_left_as_they_were_are_marked_as_such() -> None:
    found = traces(cap_charts.spend_per_day(made(8, degraded_on=1), 0, "light"))
    assert list(found["left as it was"].x) == [FIRST.replace(day=21).isoformat()]


@pytest.mark.parametrize("theme", THEMES)
def test_marks_stand_out_from_the_page_and_from_each_other(theme: Theme) -> None:
    found = traces(cap_charts.spend_per_day(made(4), 0, theme))
    happened, capped = (found[name].marker.color for name in ("what happened", "under the limit"))
    assert contrast(happened, BACKGROUND[theme]) >= 3
    assert contrast(capped, BACKGROUND[theme]) >= 3
    assert contrast(happened, capped) >= 1.8


def test_the_frontier_marks_the_chosen_limit_on_both_panels() -> None:
    rehearsal = made(4, 0, 2, 4, 8, 20)
    chosen, *grid = rehearsal.effects
    saved = traces(cap_charts.saved_by_limit(grid, chosen, "light"))
    wrong = traces(cap_charts.wrong_by_limit(grid, chosen, "light"))
    assert list(saved["saved"].x) == list(wrong["extra wrong"].x) == [0, 2, 4, 8, 20]
    assert list(saved["saved"].y) == sorted(saved["saved"].y, reverse=True)
    for found in (saved, wrong):
        assert list(found["chosen limit"].x) == [4]
    assert len(wrong["90% interval"].x) == 10


def test_figures_are_said_in_words_too() -> None:
    rehearsal = made(4, 0, 20)
    assert "reached on 3 days" in cap_charts.spend_words(rehearsal, 0)
    words = cap_charts.frontier_words(rehearsal.effects[1:], rehearsal.effects[0])
    assert "at the chosen limit $13.50 and" in words


def test_an_empty_period_draws_nothing_and_does_not_fail() -> None:
    assert cap_charts.spend_per_day(made(4, days=0), 0, "light").data
