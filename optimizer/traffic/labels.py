"""Labels of the log, sorted by what they say about moving calls to their cheapest tier."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.simulate.harm import NONE, SAME, Floats, Labels
from optimizer.simulate.rehearsal import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FEWEST_LABELS: Final = 20
"""Labelled answers on each side from which a sample speaks."""

_SERVED = """
SELECT payload_type, tier_served, coalesce(degraded, false), count(*), sum(1 - correct)
FROM call_outcomes WHERE ts >= $first AND ts < $until AND correct IS NOT NULL AND status = 'ok' GROUP BY ALL"""
# answers that were not served: drafts of escalated calls, and shadows
_UNSERVED = """
SELECT calls.payload_type, calls.tier_served, attempts.tier, count(*), sum(1 - attempts.correct)
FROM attempt_outcomes AS attempts JOIN calls USING (call_id)
WHERE calls.ts >= $first AND calls.ts < $until AND attempts.correct IS NOT NULL AND calls.status = 'ok'
    AND attempts.attempt_id <> calls.served_attempt_id AND attempts.role NOT IN ('judge', 'sample')
    AND NOT coalesce(calls.degraded, false)
GROUP BY ALL"""


@dataclass(frozen=True, slots=True)
class Count:
    """Labelled answers and how many of them are wrong: sum of 1 - correct."""

    labelled: float = 0.0
    wrong: float = 0.0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.labelled + other.labelled, self.wrong + other.wrong)

    @property
    def speaks(self) -> bool:
        """Whether there are enough to say something."""
        return self.labelled >= FEWEST_LABELS


@dataclass(frozen=True, slots=True)
class Counts:
    """Labels by (payload type, tier served), and of unserved answers by (payload type, tier served, their tier).

    Attributes:
        served: Of served answers.
        degraded: Of answers to calls that a limit had moved.
        unserved: Of drafts and shadows.
    """

    served: Mapping[tuple[str | None, str | None], Count]
    degraded: Mapping[tuple[str | None, str | None], Count]
    unserved: Mapping[tuple[str | None, str | None, str | None], Count]


def read_labels(
    connection: "DuckDBPyConnection",
    kinds: Sequence[Kind],
    error_cost_nusd: Floats,
    window: Mapping[str, dt.datetime],
) -> Labels:
    """Return what the labels of a window say about moving each kind of calls.

    A call that its cheapest tier has served keeps its answer. Of the others, in this order:

    1. Answers of the cheapest tier on calls of the same kind that were not served (drafts, shadows), beside the served
       answers of that kind.
    2. Answers of calls of the type that a limit had moved already, beside the served answers of all its other calls;
       this compares the whole type, so it is also about the calls that keep their answer.

    Whatever is labelled counts as a fair sample. Calls without an answer belong to no sample.

    Args:
        connection: The log, open for reading.
        kinds: The kinds of calls.
        error_cost_nusd: Price of a wrong answer of each, NaN where it has none.
        window: ``first`` and ``until``: naive UTC instants between which the calls lie.
    """
    served: dict[tuple[str | None, str | None], Count] = {}
    degraded: dict[tuple[str | None, str | None], Count] = {}
    for payload_type, tier, by_limit, labelled, wrong in connection.execute(_SERVED, dict(window)).fetchall():
        (degraded if by_limit else served)[payload_type, tier] = Count(labelled, wrong)
    unserved = {
        (payload_type, tier_served, tier): Count(labelled, wrong)
        for payload_type, tier_served, tier, labelled, wrong in connection.execute(_UNSERVED, dict(window)).fetchall()
    }
    return sort_labels(kinds, error_cost_nusd, Counts(served, degraded, unserved))


def sort_labels(kinds: Sequence[Kind], error_cost_nusd: Floats, counts: Counts) -> Labels:
    """Return the sample that speaks for each kind; see ``read_labels``."""
    by_type: dict[str | None, list[int]] = {}
    for place, kind in enumerate(kinds):
        by_type.setdefault(kind.payload_type, []).append(place)
    sample = np.full(len(kinds), NONE, dtype=np.int64)
    samples: list[tuple[Count, Count]] = []
    for payload_type, places in by_type.items():
        own = [kinds[place] for place in places]
        pairs = [_of_kind(kind, counts) for kind in own]
        whole = _of_type(payload_type, own, counts)
        if whole is not None and any(pair is None and _changes(kind) for pair, kind in zip(pairs, own, strict=True)):
            pairs = [whole] * len(own)
            samples.append(whole)
            sample[[place for place in places if kinds[place].tier_served is not None]] = len(samples) - 1
            continue
        for place, kind, pair in zip(places, own, pairs, strict=True):
            if kind.tier_served is not None and kind.tier_served == kind.tier_capped:
                sample[place] = SAME
            elif pair is not None:
                samples.append(pair)
                sample[place] = len(samples) - 1
    return Labels(
        sample=sample,
        error_cost_nusd=error_cost_nusd,
        cheap=np.array([cheap.labelled for cheap, _ in samples], dtype=np.float64),
        cheap_wrong=np.array([cheap.wrong for cheap, _ in samples], dtype=np.float64),
        now=np.array([now.labelled for _, now in samples], dtype=np.float64),
        now_wrong=np.array([now.wrong for _, now in samples], dtype=np.float64),
    )


def _changes(kind: Kind) -> bool:
    return kind.tier_served is not None and kind.tier_served != kind.tier_capped


def _of_kind(kind: Kind, counts: Counts) -> tuple[Count, Count] | None:
    if not _changes(kind) or kind.tier_capped is None:
        return None
    cheap = counts.unserved.get((kind.payload_type, kind.tier_served, kind.tier_capped), Count())
    now = counts.served.get((kind.payload_type, kind.tier_served), Count())
    return (cheap, now) if cheap.speaks and now.speaks else None


def _of_type(payload_type: str | None, own: Sequence[Kind], counts: Counts) -> tuple[Count, Count] | None:
    tier = own[0].tier_capped
    cheap = counts.degraded.get((payload_type, tier), Count())
    now = sum((counts.served.get((payload_type, kind.tier_served), Count()) for kind in own), Count())
    return (cheap, now) if tier is not None and cheap.speaks and now.speaks else None
