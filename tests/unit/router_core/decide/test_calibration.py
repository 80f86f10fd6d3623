"""Curves do what their formulas say, and only for what they were fitted for."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.decide.calibration import Calibration, Curve, Entry, Isotonic, Logistic, apply, calibrate
from router_core.types import NO_CONFIDENCE, Confidence

FRACTIONS = st.floats(0, 1)
LOGISTICS = st.builds(Logistic, a=st.floats(1e-3, 100), b=st.floats(-100, 100))
ISOTONICS = st.builds(
    lambda xs, ys: Isotonic(knots=tuple(zip(sorted(xs), sorted(ys[: len(xs)]), strict=True))),
    st.lists(FRACTIONS, min_size=2, max_size=8, unique=True),
    st.lists(FRACTIONS, min_size=8, max_size=8),
)
CURVES: st.SearchStrategy[Curve] = st.one_of(LOGISTICS, ISOTONICS)


@given(CURVES, st.lists(FRACTIONS, min_size=2, max_size=8))
def test_a_curve_keeps_the_order_and_the_range(curve: Curve, values: list[float]) -> None:
    found = [apply(curve, value) for value in sorted(values)]
    assert all(0 <= value <= 1 for value in found)
    assert all(before <= after + 1e-12 for before, after in itertools.pairwise(found))


@given(st.floats(1e-6, 1 - 1e-6))
def test_logistic_of_slope_one_changes_nothing(value: float) -> None:
    assert apply(Logistic(a=1, b=0), value) == pytest.approx(value, rel=1e-6)


@given(st.floats(0.001, 0.999), st.floats(0.1, 5), st.floats(-5, 5))
def test_logistic_is_linear_in_the_logit(value: float, a: float, b: float) -> None:
    found = apply(Logistic(a=a, b=b), value)
    z = a * math.log(value / (1 - value)) + b
    assert found == pytest.approx(1 / (1 + math.exp(-z)), rel=1e-9)


def test_logistic_of_certainty_stays_finite() -> None:
    assert apply(Logistic(a=1000, b=1000), 1.0) == pytest.approx(1.0)
    assert apply(Logistic(a=1000, b=-1000), 0.0) == pytest.approx(0.0)


@given(ISOTONICS)
def test_isotonic_goes_through_its_knots_and_is_level_beyond_them(curve: Isotonic) -> None:
    for x, y in curve.knots:
        assert apply(curve, x) == pytest.approx(y, abs=1e-12)
    assert apply(curve, 0.0) == curve.knots[0][1]
    assert apply(curve, 1.0) == curve.knots[-1][1]


def test_isotonic_is_straight_between_knots() -> None:
    assert apply(Isotonic(knots=((0.2, 0.1), (0.6, 0.5))), 0.3) == pytest.approx(0.2)


RAW = Confidence(value=0.5, source="field", fields=(("total", 0.5),))
CURVE = Logistic(a=1, b=1)
FITTED = Calibration(
    calibration_id="cal-1",
    entries=(
        Entry(model="a/small", source="field", curve=Logistic(a=1, b=-1), response_model="small-2026"),
        Entry(model="a/small", source="field", curve=CURVE),
        Entry(model="a/small", source="judge", curve=CURVE, judge="b/large"),
    ),
)


def test_calibrated_value_keeps_what_it_was_made_of() -> None:
    found = calibrate(RAW, FITTED, model="a/small")
    assert found.value == pytest.approx(0.731, abs=1e-3)
    assert (found.raw, found.calibration, found.source, found.fields) == (0.5, "cal-1", "field", RAW.fields)


def test_a_curve_for_the_snapshot_that_answered_goes_before_one_for_any() -> None:
    found = calibrate(RAW, FITTED, model="a/small", response_model="small-2026")
    assert found.value == pytest.approx(0.269, abs=1e-3)


@pytest.mark.parametrize(
    ("confidence", "model", "judge"),
    [
        (RAW, "a/other", None),
        (Confidence(value=0.5, source="logprob"), "a/small", None),
        (Confidence(value=0.5, source="judge"), "a/small", "b/other"),
    ],
    ids=["another model", "another source", "another judge"],
)
def test_what_no_curve_was_fitted_for_stays_as_it_is_and_uncalibrated(
    confidence: Confidence, model: str, judge: str | None
) -> None:
    assert calibrate(confidence, FITTED, model=model, judge=judge) == confidence


def test_no_confidence_is_never_calibrated_into_one() -> None:
    assert calibrate(NO_CONFIDENCE, FITTED, model="a/small") is NO_CONFIDENCE
    assert calibrate(RAW, None, model="a/small") is RAW
