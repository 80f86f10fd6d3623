"""Labelled answers → a calibration for each payload type, and thresholds on its scale.

What is written is what a router can run: a file of curves per payload type, model and source, named by its bytes, and
for each step of a path ``accept_at`` and ``straight_to_last_below``. Thresholds are found on one half of the calls with
answers of several tiers; the other half judges them, so that they are not praised for chance.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
import polars as pl

from optimizer.answers import Table
from optimizer.calibrate import Curves, Labels, Quality, families, fit, logits, quality
from optimizer.paths import Cut
from optimizer.replay import Floats, Ints
from optimizer.thresholds import Ladder, Sight, learn, start_at
from router_core.config.calibration import FittedSource, calibration_id

FEWEST_LABELS: Final = 30
"""Labels of a payload type, model and source from which a curve of its own is written."""
_FOLDS: Final = 5
_DIGITS: Final = 4
_MOST_SAMPLE: Final = 20_000
_NEVER_REACHED: Final = 2.0

SCORED_COLUMNS: Final = {
    "payload_type": pl.String,
    "dated": pl.Boolean,
    "tier": pl.String,
    "model": pl.String,
    "source": pl.String,
    "raw": pl.Float64,
    "correct": pl.Float64,
    "weight": pl.Float64,
}
"""One row per labelled answer with a confidence: raw confidence, share right, 1 / chance of its label and of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The curve of one payload type, model and source: ``p = logistic(a logit(raw) + b)``."""

    model: str
    source: str
    a: float
    b: float
    labels: int

    def scaled(self, raw: float) -> float:
        """Return a raw confidence on the calibrated scale, 0..1; what lies outside 0..1 stays outside."""
        if raw <= 0.0 or raw >= 1.0:
            return raw
        z = self.a * float(logits(np.array(raw))) + self.b
        return float(1 / (1 + np.exp(-z)))

    def raw(self, p: float) -> float:
        """Return the raw confidence that stands at ``p`` on the calibrated scale."""
        if p <= 0.0:
            return 0.0
        if p >= 1.0:
            return _NEVER_REACHED
        z = (float(np.log(p / (1 - p))) - self.b) / self.a
        return float(1 / (1 + np.exp(-np.clip(z, -700, 700))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """The calibration of one payload type.

    Attributes:
        calibration_id: Its name.
        data: Its bytes.
        by_tier: The curve of each tier's most labelled model and source.
        ece: Expected calibration error of these curves on answers they were not fitted on, the largest of them.
    """

    calibration_id: str
    data: bytes
    by_tier: Mapping[str, Curve]
    ece: float


def calibrations(scored: pl.DataFrame, names: Sequence[str], judge: str | None, seed: int) -> dict[str, Calibrated]:
    """Return the calibration of every payload type that has labels enough, by name.

    Args:
        scored: ``SCORED_COLUMNS``; rows of other types are left out.
        names: The payload types.
        judge: Who judged, ``provider/model``, for source ``judge``; None = not known, and those are left out.
        seed: Of folds and bootstrap.
    """
    index = pl.DataFrame({"payload_type": list(names), "kind": range(len(names))}, schema_overrides={"kind": pl.Int64})
    known = [source for source in get_args(FittedSource) if source != "judge" or judge is not None]
    frame = scored.filter(pl.col("source").is_in(known), pl.col("raw").is_between(0, 1)).join(index, on="payload_type")
    found: dict[str, list[tuple[str, Curve, Quality]]] = {}
    for (model, source), part in sorted(frame.group_by("model", "source"), key=lambda item: str(item[0])):
        if part.height < FEWEST_LABELS:
            continue
        ordered = part.sort("kind", "tier", "raw", "correct", "weight")
        for name, tier, curve, fitted in _curves(str(model), str(source), ordered, names, seed):
            found.setdefault(name, []).append((tier, curve, fitted))
    return {name: _calibrated(name, curves, judge) for name, curves in found.items()}


def _curves(
    model: str, source: str, part: pl.DataFrame, names: Sequence[str], seed: int
) -> list[tuple[str, str, Curve, Quality]]:
    """Return name, tier, curve and quality of each type with labels enough; none when the curves are certainly off."""
    labels = Labels(
        confidence=part["raw"].to_numpy(),
        correct=part["correct"].to_numpy(),
        kind=part["kind"].to_numpy(),
        weight=part["weight"].to_numpy(),
    )
    curves = fit(labels, len(names))
    fitted = _unseen(labels, curves, len(names), seed)
    if fitted.is_off():
        return []
    tiers = part.group_by("kind").agg(pl.col("tier").mode().sort().first(), pl.len().alias("n")).sort("kind")
    return [
        (
            str(names[kind]),
            str(tier),
            Curve(
                model=model,
                source=source,
                a=round(float(curves.slope[kind]), _DIGITS),
                b=round(float(curves.intercept[kind]), _DIGITS),
                labels=n,
            ),
            fitted,
        )
        for kind, tier, n in tiers.iter_rows()
        if n >= FEWEST_LABELS and round(float(curves.slope[kind]), _DIGITS) > 0
    ]


def _unseen(labels: Labels, curves: Curves, n_kinds: int, seed: int) -> Quality:
    """Return how well such curves fit answers they were not fitted on: five folds, at the sizes that were found."""
    rng = np.random.default_rng([seed, labels.correct.size])
    rows = np.arange(labels.correct.size)
    if rows.size > _MOST_SAMPLE:
        rows = np.sort(rng.choice(rows, _MOST_SAMPLE, replace=False))
    fold = rng.integers(0, _FOLDS, rows.size)
    p = np.empty(rows.size)
    for number in range(_FOLDS):
        rest, held = rows[fold != number], rows[fold == number]
        if not held.size or not rest.size:
            continue
        own = fit(_rows(labels, rest), n_kinds, sizes=curves.sizes)
        p[fold == number] = own.apply(labels.confidence[held], labels.kind[held])
    return quality(p, labels.correct[rows], rng, n_boot=50)


def _rows(labels: Labels, rows: Ints) -> Labels:
    return Labels(
        confidence=labels.confidence[rows],
        correct=labels.correct[rows],
        kind=labels.kind[rows],
        weight=labels.weight[rows],
    )


def _calibrated(name: str, curves: Sequence[tuple[str, Curve, Quality]], judge: str | None) -> Calibrated:
    entries = [
        {
            "payload_type": name,
            "model": curve.model,
            "source": curve.source,
            "method": "logistic",
            "a": curve.a,
            "b": curve.b,
            **({"judge": judge} if curve.source == "judge" else {}),
            "fit": {"n": curve.labels, "ece": round(fitted.ece, 3), "brier": round(fitted.brier, 3)},
        }
        for _, curve, fitted in curves
    ]
    data = json.dumps({"version": 1, "entries": entries}, indent=1).encode() + b"\n"
    by_tier: dict[str, Curve] = {}
    for tier, curve, _ in sorted(curves, key=lambda each: each[1].labels):
        by_tier[tier] = curve
    return Calibrated(
        calibration_id=calibration_id(data),
        data=data,
        by_tier=by_tier,
        ece=max(fitted.ece for _, _, fitted in curves),
    )


def halves(table: Table) -> tuple[Table, Table]:
    """Return every other call of each payload type and the rest: one half finds thresholds, one judges them."""
    order = np.argsort(table.type, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    first = np.bincount(table.type, minlength=1).cumsum() - np.bincount(table.type, minlength=1)
    odd = (place - first[table.type]) % 2 == 1
    return table.rows(~odd), table.rows(odd)


def ladder_of(table: Table, names: Sequence[str], cost_usd: Floats) -> Ladder | None:
    """Return what a table says of when to go up; None when none of its answers has a raw confidence and a label.

    Args:
        table: Calls with answers of several tiers.
        names: The payload types that its indices stand for.
        cost_usd: Cost of an answer, shape ``(n_types, n_tiers)``; nan = not known.
    """
    raw = table.answers.raw
    known = table.wrong_low == table.wrong_high
    if raw is None or np.isnan(raw).all() or not known.any():
        return None
    # a call is in the table because of its shadow: it stands for those without
    drawn = 1.0 / table.propensity.min(axis=1, keepdims=True)
    sight = Sight(
        kind=table.type,
        confidence=np.where(table.answers.valid, raw, np.nan),
        correct=np.where(known, 1.0 - table.wrong_low, np.nan),
        weight=drawn / table.label_propensity,
    )
    return learn(sight, cost_usd, families(names))


def cuts(
    ladder: Ladder,
    tiers: tuple[int, ...],
    price_usd: Floats,
    names: Sequence[str],
    tier_names: Sequence[str],
    found: Mapping[str, Calibrated],
) -> dict[str, Cut]:
    """Return the thresholds of a path for every payload type for which they say something.

    Args:
        ladder: What was learned.
        tiers: Indices of the path's tiers, two or more.
        price_usd: Price of a wrong answer, shape ``(n_types,)``.
        names: The payload types.
        tier_names: Names of the tiers.
        found: Their calibrations.
    """
    part = ladder.only(tiers)
    start = start_at(part, 0, price_usd)
    out: dict[str, Cut] = {}
    for kind, name in enumerate(names):
        calibrated = found.get(name)
        if calibrated is None or not np.isfinite(start.cost_usd[kind] + start.wrong[kind]):
            continue
        curves = [calibrated.by_tier.get(tier_names[tier]) for tier in tiers[:-1]]
        cut = _cut(start.accept_at[kind], start.straight_below[kind], curves)
        if cut is not None:
            out[name] = cut
    return out


def _cut(accept: Floats, straight: Floats, curves: Sequence[Curve | None]) -> Cut | None:
    accepts: list[float] = []
    straights: list[float | None] = []
    raws: list[float] = []
    raw_straights: list[float | None] = []
    for step, curve in enumerate(curves):
        if curve is None:
            return None
        p = round(curve.scaled(float(accept[step])), 3)
        if not 0.0 < p < 1.0:
            # always or never served: that is another path
            return None
        low = round(curve.scaled(float(straight[step])), 3)
        has_low = step < len(curves) - 1 and 0.0 < low < 1.0
        accepts.append(p)
        raws.append(curve.raw(p))
        straights.append(min(low, p) if has_low else None)
        raw_straights.append(curve.raw(min(low, p)) if has_low else None)
    return Cut(
        accept_at=tuple(accepts),
        straight_below=tuple(straights),
        raw_accept_at=tuple(raws),
        raw_straight_below=tuple(raw_straights),
    )
