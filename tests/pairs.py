"""Answers of several tiers to the same calls, valid by default, and simulated ones whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from optimizer.answers import ANSWER_COLUMNS, Table, tabulate
from optimizer.facts import Facts, Tier
from optimizer.judge import Question
from optimizer.paths import Option, Route
from optimizer.replay import Floats

TIERS = ("cheap", "mid", "top")
COSTS_USD = (0.0002, 0.0012, 0.012)


def make_answer(**columns: Any) -> dict[str, Any]:
    """Return one answer: of the mid tier, served, right."""
    return {
        "call": 0,
        "type": 0,
        "group": 1,
        "tier": 1,
        "is_shadow": False,
        "is_served": True,
        "valid": True,
        "confidence": 0.9,
        "raw": 0.9,
        "cost_usd": 0.001,
        "latency_ms": 500.0,
        "propensity": None,
        "correct": 1.0,
        "label_propensity": 1.0,
        "answer_match": None,
        "weight": 1.0,
        **columns,
    }


def make_shadow(**columns: Any) -> dict[str, Any]:
    """Return one shadow of the cheap tier, right."""
    shadow = {"tier": 0, "is_shadow": True, "is_served": False, "cost_usd": 0.0001, "propensity": 1.0}
    return make_answer(**{**shadow, **columns})


def make_table(rows: Sequence[dict[str, Any]], n_tiers: int = 3) -> Table:
    """Return the table of some answers."""
    return tabulate(pl.DataFrame(list(rows), schema=ANSWER_COLUMNS), n_tiers)


def make_route(*tiers: int, accept_at: float = 0.8) -> Route:
    """Return a path at one threshold."""
    return Route(tiers=tiers, accept_at=(accept_at,) * len(tiers), straight_below=(None,) * len(tiers))


def make_question(now: Route | None = None, then: Route | None = None, **fields: Any) -> Question:
    """Return the question whether mid should become cheap, at 10,000 calls a month and 0.10 USD a mistake."""
    now, then = now or make_route(1), then or make_route(0)
    values: dict[str, Any] = {
        "type": 0,
        "now": now,
        "option": Option(route=then, direction="down" if then.tiers[0] < now.tiers[0] else "up", edits=()),
        "accepts_missing": False,
        "calls_per_month": 10_000.0,
        "error_cost_usd": 0.10,
        **fields,
    }
    return Question(**values)


def make_facts(**fields: Any) -> Facts:
    """Return the facts of a payload type on mid: 20,000 calls in 56 days, 4 % wrong."""
    values: dict[str, Any] = {
        "name": "invoice.extract",
        "now": make_route(1),
        "tiers": tuple(
            Tier(unanswered=0.01, cost_usd=cost, is_repriced=False, is_scored=True, is_unseen=False)
            for cost in COSTS_USD
        ),
        "calls": 20_000,
        "degraded": 0,
        "days": 56,
        "calls_per_month": 10_000.0,
        "cost_usd": COSTS_USD[1],
        "wrong_rate": 0.04,
        "labels": 7_000,
        "label_rate": 0.35,
        "has_unknown_chance": False,
        "p95_ms": 900.0,
        "error_cost_usd": 0.10,
        "latency_slo_s": None,
        "critical": False,
        **fields,
    }
    return Facts(**values)


@dataclass(frozen=True)
class World:
    """Payload types on mid with shadows of cheap, of which the truth is known; arrays over types.

    Attributes:
        wrong_now: Wrong rate of mid.
        change: True change of the wrong rate from mid to cheap.
        saving_usd: True saving per call.
        calls: Calls in the window.
        rng: Draws answers.
    """

    wrong_now: Floats
    change: Floats
    saving_usd: Floats
    calls: np.ndarray
    rng: np.random.Generator

    def observed(self, shadow_rate: float, label_rate: float) -> tuple[Table, Floats]:
        """Return the table of a window and the calls per cell."""
        frames: list[pl.DataFrame] = []
        start = 0
        for kind, n in enumerate(self.calls):
            shadowed = int(self.rng.binomial(n, shadow_rate))
            wrong_mid, wrong_cheap = self._answers(kind, shadowed)
            labelled = self.rng.random(shadowed) < label_rate
            cost_mid = COSTS_USD[1] * self.rng.lognormal(-0.02, 0.2, shadowed)
            for tier, wrong, cost in ((1, wrong_mid, cost_mid), (0, wrong_cheap, cost_mid - self.saving_usd[kind])):
                correct = np.where(labelled, 1.0 - wrong, np.nan)
                frames.append(
                    pl.DataFrame(
                        {
                            "call": start + np.arange(shadowed),
                            "type": np.full(shadowed, kind),
                            "group": np.full(shadowed, 1),
                            "tier": np.full(shadowed, tier),
                            "is_shadow": np.full(shadowed, tier == 0),
                            "is_served": np.full(shadowed, tier == 1),
                            "valid": np.full(shadowed, fill_value=True),
                            "confidence": np.full(shadowed, 0.9),
                            "raw": np.full(shadowed, 0.9),
                            "cost_usd": cost,
                            "latency_ms": np.full(shadowed, 500.0),
                            "propensity": np.full(shadowed, shadow_rate if tier == 0 else np.nan),
                            "correct": correct,
                            "label_propensity": np.full(shadowed, label_rate),
                            "answer_match": pl.Series([None] * shadowed, dtype=pl.Boolean),
                            "weight": np.ones(shadowed),
                        },
                        schema_overrides=ANSWER_COLUMNS,
                    ).with_columns(pl.col("correct").fill_nan(None), pl.col("propensity").fill_nan(None))
                )
            start += shadowed
        cells = np.zeros((self.calls.size, 4, 2))
        cells[:, 1, 0] = self.calls
        return tabulate(pl.concat(frames), 3), cells

    def month(self, kind: int, calls: int) -> float:
        """Return the change of the wrong rate that a month of new calls would show."""
        wrong_mid, wrong_cheap = self._answers(kind, calls)
        return float((wrong_cheap - wrong_mid).mean())

    def _answers(self, kind: int, n: int) -> tuple[Floats, Floats]:
        """Return wrongness of mid and cheap: both wrong often together, as hard items are hard for both."""
        both = 0.6 * min(self.wrong_now[kind], self.wrong_now[kind] + self.change[kind])
        worse = self.wrong_now[kind] + self.change[kind] - both
        better = self.wrong_now[kind] - both
        drawn = self.rng.random(n)
        is_both, is_worse = drawn < both, (drawn >= both) & (drawn < both + worse)
        is_better = (drawn >= both + worse) & (drawn < both + worse + better)
        return (is_both | is_better).astype(np.float64), (is_both | is_worse).astype(np.float64)


def make_world(n_types: int, seed: int, *, change: Sequence[float] | Floats | None = None) -> World:
    """Return a world of payload types: 3 to 9 % wrong on mid, changes around +1 point, volumes lognormal."""
    rng = np.random.default_rng(seed)
    wrong_now = rng.uniform(0.03, 0.09, n_types)
    drawn = np.maximum(rng.normal(0.01, 0.015, n_types), -0.02) if change is None else np.asarray(change)
    return World(
        wrong_now=wrong_now,
        change=drawn,
        saving_usd=np.full(n_types, 0.001),
        calls=np.exp(rng.normal(9.3, 0.8, n_types)).astype(np.int64),
        rng=rng,
    )
