"""Raw confidence → calibrated confidence: how often answers of this confidence were right.

A calibration holds one curve per payload type, model and source. Where none was fitted for exactly these, the value
stays as it is and counts as uncalibrated: a curve says nothing about another model.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from router_core.types import Confidence

EDGE: Final = 1e-6
"""Confidences are cut to [EDGE, 1 - EDGE] before their logit is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic:
    """p = logistic(a · logit(confidence) + b), Platt's scaling on the logit (Platt 1999; a > 0).

    Attributes:
        a: Slope.
        b: Intercept.
    """

    a: float
    b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Isotonic:
    """Straight lines between knots, level beyond them (Zadrozny & Elkan 2002).

    Attributes:
        knots: ``(confidence, share right)`` each; the first rise, the second never fall.
    """

    knots: tuple[tuple[float, float], ...]


Curve = Logistic | Isotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fitted curve, and what it was fitted for.

    Attributes:
        model: ``provider/model`` of the target that answered.
        source: Where the raw confidence came from.
        curve: The curve.
        response_model: The snapshot that the provider said has answered; None = whichever.
        judge: ``provider/model`` of the judge, for source ``judge``.
    """

    model: str
    source: str
    curve: Curve
    response_model: str | None = None
    judge: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The curves that one calibration file has for one payload type.

    Attributes:
        calibration_id: The file's name, a hash of its bytes.
        entries: Its curves.
    """

    calibration_id: str
    entries: tuple[Entry, ...]


def calibrate(
    confidence: Confidence,
    calibration: Calibration | None,
    *,
    model: str,
    response_model: str | None = None,
    judge: str | None = None,
) -> Confidence:
    """Return the confidence on the calibrated scale, or as it is when no curve was fitted for it.

    Args:
        confidence: As measured.
        calibration: The payload type's calibration; None = it has none.
        model: The target that answered.
        response_model: The model that the provider said has answered.
        judge: Who judged, for source ``judge``.
    """
    if calibration is None or confidence.value is None:
        return confidence
    for entry in calibration.entries:
        if (
            entry.model == model
            and entry.source == confidence.source
            and entry.response_model in (None, response_model)
            and entry.judge == judge
        ):
            value = apply(entry.curve, confidence.value)
            return replace(confidence, value=value, raw=confidence.value, calibration=calibration.calibration_id)
    return confidence


def apply(curve: Curve, value: float) -> float:
    """Return the calibrated confidence, 0..1.

    Args:
        curve: The curve.
        value: Raw confidence, 0..1.
    """
    if isinstance(curve, Isotonic):
        return _interpolated(curve.knots, value)
    cut = min(max(value, EDGE), 1 - EDGE)
    z = curve.a * math.log(cut / (1 - cut)) + curve.b
    # two forms, so that neither end overflows
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def _interpolated(knots: Sequence[tuple[float, float]], value: float) -> float:
    after = bisect_right(knots, value, key=lambda knot: knot[0])
    if after == 0:
        return knots[0][1]
    if after == len(knots):
        return knots[-1][1]
    (x0, y0), (x1, y1) = knots[after - 1], knots[after]
    share = (value - x0) / (x1 - x0)
    return min(max(y0 + share * (y1 - y0), y0), y1)
