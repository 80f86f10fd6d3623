"""What a limit's further wrong answers could have bought: payload types moved to their cheapest target all day.

A limit moves whatever comes after it is reached, worthwhile or not. The same number of further wrong answers is better
spent on the kinds of calls that save most per wrong answer, from morning to evening: one shadow price for all
(optimizer.md 6; Dekoninck et al., A Unified Approach to Routing and Cascading for LLMs, 2410.10347).
"""

from dataclasses import dataclass

import numpy as np

from optimizer.simulate.caps import Calls, Flags, Sweep, sweep
from optimizer.simulate.harm import NONE, Changes, Floats, Labels
from router_core.decide.guard import Limit
from router_core.types import NANO


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """Moving chosen kinds of calls all day, at as many further wrong answers as a limit brings.

    Attributes:
        saved_usd: What that saves.
        limit_saved_usd: What the limit saves on calls that labels speak for: what to compare it with.
        extra_wrong: Its further wrong answers: those of the limit, or fewer where there is nothing more to be moved.
    """

    saved_usd: float
    limit_saved_usd: float
    extra_wrong: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SteadyWay:
    """Kinds of calls in the order in which moving them pays.

    Attributes:
        known: Whether labels speak for each kind, shape ``(n_kinds,)``.
        change: Change of the wrong rate of each, same shape.
        wrong: Running sum of further wrong answers over the order, from 0.
        saved_usd: Running sum of what is saved, from 0.
    """

    known: Flags
    change: Floats
    wrong: Floats
    saved_usd: Floats

    def at(self, swept: Sweep, place: int) -> Steady | None:
        """Return what could have been saved at as many further wrong answers as a limit brings."""
        if not self.known.any():
            return None
        budget = float(swept.moved[place] @ self.change)
        # what makes answers better comes first, so sums of wrong answers fall and then rise
        least = int(np.flatnonzero(self.wrong == self.wrong.min())[-1])
        wrong, saved = self.wrong[least:], self.saved_usd[least:]
        spent = min(max(budget, float(wrong[0])), float(wrong[-1]))
        return Steady(
            saved_usd=float(np.interp(spent, wrong, saved)),
            limit_saved_usd=float(swept.saved_nusd[place, self.known].sum()) / NANO,
            extra_wrong=spent,
        )


def steady_way(calls: Calls, labels: Labels, changes: Changes) -> SteadyWay:
    """Return the kinds of calls in the order in which moving them all day pays, by what is saved per wrong answer."""
    everything = sweep(calls, [Limit(name="all day", limit_nusd=0)])
    moved, saved = everything.moved[0].astype(np.float64), everything.saved_nusd[0] / NANO
    known = labels.sample != NONE
    change = np.zeros(len(moved))
    judged = labels.sample >= 0
    change[judged] = changes.mean[labels.sample[judged]]
    wrong = moved * change
    worth = known & (saved > 0)
    rate = np.divide(saved, wrong, out=np.full(len(wrong), np.inf), where=wrong > 0)
    order = np.flatnonzero(worth)[np.argsort(-np.where(wrong <= 0, np.inf, rate)[worth], kind="stable")]
    order = order[np.argsort(wrong[order] > 0, kind="stable")]
    return SteadyWay(
        known=known,
        change=change,
        wrong=np.concatenate([[0.0], np.cumsum(wrong[order])]),
        saved_usd=np.concatenate([[0.0], np.cumsum(saved[order])]),
    )
