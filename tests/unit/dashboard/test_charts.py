"""Figures: colours, patterns, marks and escaped names."""

import datetime as dt
import math
from typing import Any

import pytest

from dashboard import charts
from dashboard.charts import Theme
from dashboard.periods import Period, slices
from dashboard.sums import NO_NAME, Point, Sums

BACKGROUND = {"light": "#FFFFFF", "dark": "#0E1117"}


def points(*spends: dict[str, int], degraded_on: int | None = None) -> tuple[Point, ...]:
    first = dt.date(2026, 11, 1)
    cut = slices(Period(first=first, until=first + dt.timedelta(days=len(spends)), zone="UTC"))
    return tuple(
        Point(
            slice=piece,
            sums=Sums(
                calls=10, spend_nusd=sum(spend.values()), degraded=3 if i == degraded_on else 0, labelled=i, wrong=i / 2
            ),
            spend_by_tier_nusd=spend,
        )
        for i, (piece, spend) in enumerate(zip(cut, spends, strict=True))
    )


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_tier_stands_out_from_the_page(theme: Theme) -> None:
    looks = charts.tier_looks(("a", "b", "c", "d", "e", "f", NO_NAME), theme)
    assert [look.tier for look in looks if contrast(look.colour, BACKGROUND[theme]) < 3] == []


@pytest.mark.parametrize("number", range(2, 7))
def test_cheapest_and_dearest_look_the_same_whatever_their_number(number: int) -> None:
    looks = charts.tier_looks([f"t{i}" for i in range(number)], "light")
    assert (looks[0].colour, looks[0].pattern) == ("#4477AA", "")
    assert (looks[-1].colour, looks[-1].pattern) == ("#882255", "x")
    assert len({(look.colour, look.pattern) for look in looks}) == number


def test_bars_stack_from_cheap_to_top_and_add_up() -> None:
    looks = charts.tier_looks(("cheap", "mid", "top"), "light")
    days = points({"cheap": 1_000_000_000, "top": 4_000_000_000}, {"mid": 500_000_000})
    figure: Any = charts.spend_over_time(days, looks, "light", grain="day")
    assert [trace.name for trace in figure.data] == ["cheap", "mid", "top"]
    assert [sum(trace.y[i] for trace in figure.data) for i in range(2)] == [5.0, 0.5]
    assert figure.layout.barmode == "stack"
    assert figure.layout.yaxis.rangemode == "tozero"
    assert figure.layout.yaxis.title.text == "USD per day"


def test_part_days_are_pale_and_limit_days_are_marked() -> None:
    days = points({"top": 1_000_000_000}, {"top": 2_000_000_000}, degraded_on=1)
    figure: Any = charts.spend_over_time(days, charts.tier_looks(("top",), "light"), "light", grain="day", parts=(0,))
    bars, marks = figure.data
    assert bars.marker.opacity[0] < bars.marker.opacity[1] == 1
    assert list(marks.x) == ["2026-11-02"]
    assert marks.name == "limit hit"
    assert marks.customdata == ("3 degraded calls",)


def test_a_hostile_tier_name_is_inert_in_a_figure() -> None:
    name = '<a href="https://evil.example">x</a>\u202e'
    (look,) = charts.tier_looks((name,), "light")
    assert "<" not in look.label
    assert "\u202e" not in look.label
    figure: Any = charts.spend_over_time(points({name: 1}), (look,), "light", grain="day")
    assert "<a" not in figure.to_json()


def test_wrong_rates_carry_their_interval_and_days_without_labels_have_a_gap() -> None:
    figure: Any = charts.rates_over_time(points({}, {}, {}), "light")
    wrong = figure.data[0]
    assert wrong.y[0] is None
    assert list(wrong.y[1:]) == [50.0, 50.0]
    assert wrong.error_y.array[1] > wrong.error_y.array[2] > 0


def test_wrong_rates_of_few_labels_are_hollow_and_do_not_set_the_scale() -> None:
    cut = slices(Period(first=dt.date(2026, 11, 1), until=dt.date(2026, 11, 3), zone="UTC"))
    sums = (Sums(calls=900, labelled=300, wrong=12), Sums(calls=900, labelled=2, wrong=1))
    days = [Point(slice=piece, sums=one, spend_by_tier_nusd={}) for piece, one in zip(cut, sums, strict=True)]
    figure: Any = charts.rates_over_time(days, "light")
    assert list(figure.data[0].marker.symbol) == ["circle", "circle-open"]
    assert 4 < figure.layout.yaxis.range[1] < 10


def test_latency_lines_have_gaps_where_nothing_was_measured() -> None:
    figure: Any = charts.latency_over_time(points({}, {}), "dark")
    assert all(value is None for trace in figure.data for value in trace.y)
    assert [trace.name for trace in figure.data] == ["p95", "p50"]


def test_the_alternative_text_says_what_the_bars_show() -> None:
    days = points({"cheap": 1_000_000_000}, {"top": 2_000_000_000}, degraded_on=0)
    words = charts.spend_words(days, charts.tier_looks(("cheap", "top"), "light"), grain="day")
    assert "cheap $1.00" in words
    assert "most on 2026-11-02 with $2.00" in words
    assert "limit was hit on 1 day" in words


def test_no_points_make_an_empty_figure_without_nan() -> None:
    figures: list[Any] = [charts.rates_over_time((), "light"), charts.spend_over_time((), (), "light", grain="day")]
    for figure in figures:
        assert "NaN" not in figure.to_json()
        assert math.isfinite(figure.layout.height)
