"""Answers of the log as arrays, with what is known of their labels.

Grain: one row per call with answers of at least two tiers. A label of an answer itself always counts. Where answers can
be compared, a shadow may take over the label of the served answer, one-sidedly: the same answer is as wrong as the
served one; another answer is wrong when the served one is right; another answer beside a wrong one stays unknown.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from optimizer.replay import Answers, Flags, Floats, Ints

ACCEPTED: Final = 0
ESCALATED: Final = 1

ANSWER_COLUMNS: Final = {
    "call": pl.Int64,
    "type": pl.Int32,
    "group": pl.Int32,
    "tier": pl.Int32,
    "is_shadow": pl.Boolean,
    "is_served": pl.Boolean,
    "valid": pl.Boolean,
    "confidence": pl.Float64,
    "raw": pl.Float64,
    "cost_usd": pl.Float64,
    "latency_ms": pl.Float64,
    "propensity": pl.Float64,
    "correct": pl.Float64,
    "label_propensity": pl.Float64,
    "answer_match": pl.Boolean,
    "weight": pl.Float64,
}
"""One row per call and tier that answered: index of the call, of its payload type and of the tier its path began with
(``group``), index of the tier, and the answer's own facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The answers as arrays, one row per call; the columns of two-dimensional ones are tiers.

    Attributes:
        answers: What ``replay`` needs.
        type: Index of the payload type.
        group: Index of the tier that the call's own path began with: calls of one design.
        stratum: ``ESCALATED`` when two tiers or more answered before the call was served, else ``ACCEPTED``.
        is_shadow: Whether the answer is a shadow's.
        propensity: Chance that the answer is there at all; 1 unless it is a shadow.
        wrong_low: Least that the answer can be wrong, 0..1; nan = not labelled.
        wrong_high: Most that it can be wrong.
        transferred: Whether its label was carried over from the served answer.
        label_propensity: Chance that its label is there; 1 where that is not known.
        chance_known: Whether that chance is known of every label of the call, shape ``(n_calls,)``.
        differs: 1 where two tiers say different things, 0 where the same, nan where it is not known.
        weight: What the call is worth: older ones are worth less.
    """

    answers: Answers
    type: Ints
    group: Ints
    stratum: Ints
    is_shadow: Flags
    propensity: Floats
    wrong_low: Floats
    wrong_high: Floats
    transferred: Flags
    label_propensity: Floats
    chance_known: Flags
    differs: Floats
    weight: Floats

    def rows(self, keep: Flags | Ints) -> "Table":
        """Return the table of some calls."""
        return Table(
            answers=Answers(
                answered=self.answers.answered[keep],
                valid=self.answers.valid[keep],
                confidence=self.answers.confidence[keep],
                cost_usd=self.answers.cost_usd[keep],
                latency_ms=self.answers.latency_ms[keep],
                raw=None if self.answers.raw is None else self.answers.raw[keep],
            ),
            type=self.type[keep],
            group=self.group[keep],
            stratum=self.stratum[keep],
            is_shadow=self.is_shadow[keep],
            propensity=self.propensity[keep],
            wrong_low=self.wrong_low[keep],
            wrong_high=self.wrong_high[keep],
            transferred=self.transferred[keep],
            label_propensity=self.label_propensity[keep],
            chance_known=self.chance_known[keep],
            differs=self.differs[keep],
            weight=self.weight[keep],
        )


def tabulate(frame: pl.DataFrame, n_tiers: int) -> Table:
    """Return the table of a frame with ``ANSWER_COLUMNS``, calls in order of ``call``.

    Args:
        frame: One row per call and tier; a call and tier at most once.
        n_tiers: Number of tiers.
    """
    frame = frame.sort("call", "tier")
    first = frame.group_by("call", maintain_order=True).agg(
        pl.col("type").first(),
        pl.col("group").first(),
        (~pl.col("is_shadow")).sum().alias("serving"),
        pl.col("weight").first(),
    )
    row = frame.select(pl.col("call").rle_id()).to_series().to_numpy().astype(np.int64)
    column = frame["tier"].to_numpy().astype(np.int64)
    shape = (first.height, n_tiers)

    def spread(name: str) -> Floats:
        out = np.full(shape, np.nan)
        out[row, column] = frame[name].cast(pl.Float64).to_numpy()
        return out

    correct, is_served, match = spread("correct"), spread("is_served") == 1, spread("answer_match")
    is_shadow, label_propensity = spread("is_shadow") == 1, spread("label_propensity")
    is_labelled = ~np.isnan(correct)
    low, high, transferred = _transferred(1.0 - correct, is_served, is_shadow, match)
    # a label that was carried over was there by the chance of the one it came from
    of_served = np.nanmax(np.where(is_served, label_propensity, -1.0), axis=1, initial=-1.0)[:, None]
    label_propensity = np.where(transferred & (of_served > 0), of_served, label_propensity)
    return Table(
        answers=Answers(
            answered=~np.isnan(spread("valid")),
            valid=spread("valid") == 1,
            confidence=spread("confidence"),
            cost_usd=spread("cost_usd"),
            latency_ms=spread("latency_ms"),
            raw=spread("raw"),
        ),
        type=first["type"].to_numpy().astype(np.int64),
        group=first["group"].to_numpy().astype(np.int64),
        stratum=np.where(first["serving"].to_numpy() > 1, ESCALATED, ACCEPTED).astype(np.int64),
        is_shadow=is_shadow,
        propensity=_chances(np.where(is_shadow, spread("propensity"), 1.0)),
        wrong_low=low,
        wrong_high=high,
        transferred=transferred,
        label_propensity=_chances(label_propensity),
        chance_known=np.logical_not((is_labelled & np.isnan(spread("label_propensity"))).any(axis=1)).reshape(-1),
        differs=np.where(np.isnan(match).all(axis=1), np.nan, (match == 0).any(axis=1)),
        weight=first["weight"].fill_null(1.0).to_numpy(),
    )


def _chances(values: Floats) -> Floats:
    return np.where(values > 0, values, 1.0)


def _transferred(wrong: Floats, is_served: Flags, is_shadow: Flags, match: Floats) -> tuple[Floats, Floats, Flags]:
    """Return bounds of every answer's wrongness and where they were carried over from the served answer.

    The same answer is as wrong as the served one. Another answer is wrong when the served one is right. When the served
    one is wrong, another answer may be right or wrong as well: it stays between 0 and 1. An own label always wins.
    """
    served = np.where(is_served, wrong, np.nan)
    known = ~np.isnan(served)
    from_served = np.where(known.any(axis=1), np.where(known, served, 0.0).sum(axis=1), np.nan)[:, None]
    open_ = is_shadow & np.isnan(wrong) & ~np.isnan(match) & ~np.isnan(from_served)
    same = open_ & (match == 1)
    differs = open_ & (match == 0)
    low = np.where(same, from_served, np.where(differs, np.where(from_served == 0, 1.0, 0.0), wrong))
    high = np.where(same, from_served, np.where(differs, 1.0, wrong))
    return low, high, open_
