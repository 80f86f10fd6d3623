"""Answers at hand → what another path would have served, a vectorised copy of ``router_core.decide``.

``replay`` follows the rules of ``decide.step`` for a call in which every answer is already known: an answer that is
valid and confident enough is served, another one goes to the next step, the last step serves what is valid, and when
nothing is left the best earlier valid answer is served. It knows nothing of limits, retries and outages: those have no
part in the comparison of two paths. A property test holds it equal to a loop over ``decide``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

NOBODY = -1
"""Tier index of a call that no answer was served for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers at hand, one row per call and one column per tier, cheapest first; shapes ``(n_calls, n_tiers)``.

    Attributes:
        answered: Whether the tier gave an answer.
        valid: Whether it passed its checks.
        confidence: 0..1; nan = not scored.
        cost_usd: All requests of the call to this tier, USD; nan = not known.
        latency_ms: The same in time; nan = not known.
        raw: Confidence before any calibration; nan = not scored, None = nobody asks.
    """

    answered: Flags
    valid: Flags
    confidence: Floats
    cost_usd: Floats
    latency_ms: Floats
    raw: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A path for each call: all take the same tiers, at thresholds of their own.

    Attributes:
        tiers: Indices of the path's tiers.
        accept_at: Confidence at which a step's answer is served, shape ``(n_calls, n_steps)``.
        straight_below: Confidence below which the steps up to the last are left out, same shape; nan = never.
        accepts_missing: Whether an unscored answer is served, shape ``(n_calls,)``.
        on_raw: Whether thresholds are about confidences before any calibration.
    """

    tiers: tuple[int, ...]
    accept_at: Floats
    straight_below: Floats
    accepts_missing: Flags
    on_raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a path would have served, one row per call; shapes ``(n_calls,)``.

    Attributes:
        known: Whether every answer that the path needed is at hand; the rest means nothing where it is not.
        tier: Index of the tier whose answer is served; ``NOBODY`` when none is valid.
        asked: Which tiers were asked, shape ``(n_calls, n_tiers)``.
        cost_usd: What they cost, USD; nan = not known.
        latency_ms: How long they took one after the other; nan = not known.
    """

    known: Flags
    tier: Ints
    asked: Flags
    cost_usd: Floats
    latency_ms: Floats


def replay(answers: Answers, way: Way) -> Served:
    """Return what a path would have served in each call."""
    n_calls = answers.answered.shape[0]
    last = len(way.tiers) - 1
    known = np.ones(n_calls, dtype=np.bool_)
    going = np.ones(n_calls, dtype=np.bool_)
    straight = np.zeros(n_calls, dtype=np.bool_)
    tier = np.full(n_calls, NOBODY, dtype=np.int64)
    asked_of = np.zeros_like(answers.answered)
    cost, latency = np.zeros(n_calls), np.zeros(n_calls)
    confidences = answers.raw if way.on_raw and answers.raw is not None else answers.confidence
    for index, column in enumerate(way.tiers):
        asked = going if index == last else going & ~straight
        known &= ~(asked & ~answers.answered[:, column])
        asked_of[:, column] = asked
        cost = np.where(asked, cost + answers.cost_usd[:, column], cost)
        latency = np.where(asked, latency + answers.latency_ms[:, column], latency)
        valid = asked & answers.valid[:, column]
        # the latest valid answer is the one to fall back on
        tier = np.where(valid, column, tier)
        confidence = confidences[:, column]
        scored = ~np.isnan(confidence)
        enough = np.where(scored, confidence >= way.accept_at[:, index], way.accepts_missing)
        straight |= valid & ~enough & scored & (confidence < way.straight_below[:, index])
        going = going & ~(valid & enough)
    return Served(known=known, tier=tier, asked=asked_of, cost_usd=cost, latency_ms=latency)
