"""One choice per payload type under budgets that they share: a multiple-choice knapsack.

    min  sum_k cost[k, x_k]    s.t.  sum_k loss[k, x_k] <= budget,  side rows,  x_k among the allowed choices

By Lagrange: at a price of lambda for a unit of loss every type chooses by itself, and the best lambda gives a lower
bound (Everett 1963). Greedy use of what is left of the budget gives a feasible choice. Where the two are not close,
choices whose reduced cost is above the gap are out for good (variable fixing), and what remains goes to HiGHS.
Estimates are far less certain than a gap of 1e-3; the gap that was reached is told.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from optimizer.replay import Flags, Floats, Ints

GAP: Final = 1e-3
_BISECTIONS: Final = 60
_ROUNDS: Final = 60
_SLACK: Final = 1e-9
_RETRY_GAP: Final = 3e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A side row: ``sum_k use[k, x_k] <= limit``.

    Attributes:
        name: What it stands for.
        use: What each choice takes of it, 0 or more, shape ``(n_types, n_choices)``.
        limit: Its size.
    """

    name: str
    use: Floats
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The choice of every type.

    Attributes:
        status: ``solved``, or ``infeasible``: no choice keeps all limits; then ``picks`` loses least.
        picks: Index of each type's choice, shape ``(n_types,)``.
        cost: Total cost.
        loss: Total loss.
        bound: No choice within the limits costs less.
        price: Lambda: what the last unit of loss avoided costs; 0 where the budget does not bind.
        broken: Of an infeasible problem: the limit that cannot be kept, and the least that it would have to be.
    """

    status: Literal["solved", "infeasible"]
    picks: Ints
    cost: float
    loss: float
    bound: float
    price: float
    broken: tuple[str, float] | None = None

    @property
    def gap(self) -> float:
        """How much cheaper another choice could be at most, as a share of the cost."""
        return max(self.cost - self.bound, 0.0) / max(abs(self.cost), 1e-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Choices that no other beats in both cost and loss, hulls only: from cheapest to least loss.

    Attributes:
        cost: Total cost of each, rising, shape ``(n_points,)``.
        loss: Total loss of each, falling.
        price: What a unit of loss less costs between a point and the next, shape ``(n_points - 1,)``.
        type: The type that changes its choice there, same shape.
        pick: Its new choice.
        start: Choice of every type at the first point, shape ``(n_types,)``.
    """

    cost: Floats
    loss: Floats
    price: Floats
    type: Ints
    pick: Ints
    start: Ints

    def picks(self, point: int) -> Ints:
        """Return the choice of every type at a point, shape ``(n_types,)``."""
        found = self.start.copy()
        found[self.type[:point]] = self.pick[:point]
        return found


def choose(
    cost: Floats,
    loss: Floats,
    budget: float,
    *,
    allowed: Flags | None = None,
    rows: tuple[Row, ...] = (),
    gap: float = GAP,
    time_limit_s: float = 1.0,
) -> Choice:
    """Return the cheapest choice within the limits.

    Args:
        cost: Cost of each choice, shape ``(n_types, n_choices)``.
        loss: Its loss, same shape.
        budget: Largest total loss; inf = none.
        allowed: Which choices there are; None = all that have a cost and a loss.
        rows: Side rows.
        gap: Gap at which the search ends.
        time_limit_s: How long the core's solver may take, seconds; it takes it up to three times as long.

    Raises:
        ValueError: A type has no choice.
    """
    finite = np.isfinite(cost) & np.isfinite(loss)
    usable = finite if allowed is None else finite & allowed
    if not usable.any(axis=1).all():
        raise ValueError(f"{int((~usable.any(axis=1)).sum())} payload types have no choice with a cost and a loss")
    limits = (Row(name="loss", use=loss, limit=budget), *rows)
    limits = tuple(each for each in limits if np.isfinite(each.limit))
    problem = _Problem(np.where(usable, cost, np.inf), loss, usable, limits)
    broken = problem.impossible()
    if broken is not None:
        picks = np.where(usable, broken[2], np.inf).argmin(axis=1)
        return problem.choice("infeasible", picks, -np.inf, np.zeros(len(limits)), broken[:2])
    if not limits:
        picks = problem.cost.argmin(axis=1)
        return problem.choice("solved", picks, float(problem.cost.min(axis=1).sum()), np.zeros(0))
    bound, prices, picks = problem.relaxed()
    found = problem.best_improved(picks) if picks is not None else None
    if found is None or problem.gap_of(found, bound) > gap:
        found, bound, proven = problem.core(found, bound, prices, gap, time_limit_s)
        if proven is not None:
            return problem.choice("infeasible", proven, bound, prices, ("all limits together", float("nan")))
        if found is not None and problem.gap_of(found, bound) > _RETRY_GAP:
            found, bound, _ = problem.core(found, bound, prices, gap, 2 * time_limit_s)
    if found is None:
        return problem.choice("infeasible", problem.loss_only(), bound, prices, ("all limits together", float("nan")))
    return problem.choice("solved", found, bound, prices)


def frontier(cost: Floats, loss: Floats, allowed: Flags | None = None) -> Frontier:
    """Return the Pareto frontier of total cost and loss: each type's lower hull, all slopes sorted.

    Args:
        cost: Cost of each choice, shape ``(n_types, n_choices)``.
        loss: Its loss, same shape.
        allowed: Which choices there are; None = all that have a cost and a loss.

    Raises:
        ValueError: A type has no choice.
    """
    finite = np.isfinite(cost) & np.isfinite(loss)
    usable = finite if allowed is None else finite & allowed
    if not usable.any(axis=1).all():
        raise ValueError(f"{int((~usable.any(axis=1)).sum())} payload types have no choice with a cost and a loss")
    types, picks, slopes, starts = _hulls(np.where(usable, cost, np.inf), np.where(usable, loss, np.inf))
    order = np.argsort(slopes, kind="stable")
    types, picks, slopes = types[order], picks[order], slopes[order]
    rows = np.arange(cost.shape[0])
    # what a step changes depends on the choice before it, which is the type's step before
    before = _previous(types, picks, starts)
    costs = np.concatenate(([cost[rows, starts].sum()], cost[types, picks] - cost[types, before]))
    losses = np.concatenate(([loss[rows, starts].sum()], loss[types, picks] - loss[types, before]))
    return Frontier(cost=np.cumsum(costs), loss=np.cumsum(losses), price=slopes, type=types, pick=picks, start=starts)


def _hulls(cost: Floats, loss: Floats) -> tuple[Ints, Ints, Floats, Ints]:
    """Return the vertices after the first of every type's lower hull, the slope that leads to each, and the first.

    All types at once: from the cheapest choice on, the next vertex is the one of the least cost per unit of loss less.
    """
    n_types = cost.shape[0]
    rows = np.arange(n_types)
    cheapest = cost.min(axis=1)
    here = np.where(cost == cheapest[:, None], loss, np.inf).argmin(axis=1)
    starts = here.copy()
    found: list[tuple[Ints, Ints, Floats]] = []
    active = rows
    while active.size:
        gain = loss[active, here[active]][:, None] - loss[active]
        extra = cost[active] - cost[active, here[active]][:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = np.where(gain > 0, extra / gain, np.inf)
        best = slope.min(axis=1)
        going = np.isfinite(best)
        # of equal slopes the farthest, so that none is a vertex in the middle of an edge
        ties = slope <= best[:, None] * (1 + 1e-12)
        target = np.where(ties, gain, -np.inf).argmax(axis=1)
        active, target, best = active[going], target[going], best[going]
        here[active] = target
        found.append((active, target, best))
    if not found:
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty, np.zeros(0), starts
    types, picks, slopes = (np.concatenate(each) for each in zip(*found, strict=True))
    return types, picks, np.maximum(slopes, 0.0), starts


def _previous(types: Ints, picks: Ints, starts: Ints) -> Ints:
    order = np.argsort(types, kind="stable")
    before = np.empty_like(picks)
    sorted_types, sorted_picks = types[order], picks[order]
    first = np.concatenate(([True], sorted_types[1:] != sorted_types[:-1])) if types.size else np.zeros(0, dtype=bool)
    shifted = np.concatenate((sorted_picks[:1], sorted_picks[:-1]))
    before[order] = np.where(first, starts[sorted_types], shifted)
    return before


class _Problem:
    """A problem whose cost is inf where a choice does not exist; all limits are rows."""

    def __init__(self, cost: Floats, loss: Floats, usable: Flags, limits: tuple[Row, ...]) -> None:
        self.cost = cost
        self.loss = loss
        self._usable = usable
        self._limits = limits
        self._rows = np.arange(cost.shape[0])
        self._use = [np.where(usable, each.use, np.inf) for each in limits]
        self._capacity = np.array([each.limit for each in limits])

    def impossible(self) -> tuple[str, float, Floats] | None:
        """Return the first limit that cannot be kept by itself, the least of it, and its use."""
        for row, use in zip(self._limits, self._use, strict=True):
            least = float(use.min(axis=1).sum())
            if least > row.limit + _SLACK * max(abs(row.limit), 1.0):
                return row.name, least, use
        return None

    def choice(
        self,
        status: Literal["solved", "infeasible"],
        picks: Ints,
        bound: float,
        prices: Floats,
        broken: tuple[str, float] | None = None,
    ) -> Choice:
        has_budget = bool(self._limits) and self._limits[0].name == "loss"
        return Choice(
            status=status,
            picks=picks.astype(np.int64),
            cost=float(self.cost[self._rows, picks].sum()),
            loss=float(self.loss[self._rows, picks].sum()),
            bound=bound,
            price=float(prices[0]) if has_budget and prices.size else 0.0,
            broken=broken,
        )

    def gap_of(self, picks: Ints, bound: float) -> float:
        total = float(self.cost[self._rows, picks].sum())
        return (total - bound) / max(abs(total), 1e-12)

    def loss_only(self) -> Ints:
        return np.where(self._usable, self.loss, np.inf).argmin(axis=1)

    def keeps(self, picks: Ints) -> bool:
        used = self._used(picks)
        return bool((used <= self._capacity + _SLACK * np.maximum(np.abs(self._capacity), 1.0)).all())

    def _used(self, picks: Ints) -> Floats:
        return np.array([use[self._rows, picks].sum() for use in self._use])

    def _reduced(self, prices: Floats) -> Floats:
        total = self.cost.copy()
        for price, row in zip(prices, self._limits, strict=True):
            if price > 0:
                total += price * row.use
        return np.where(self._usable, total, np.inf)

    def _dual(self, prices: Floats) -> tuple[float, Ints]:
        reduced = self._reduced(prices)
        picks = reduced.argmin(axis=1)
        return float(reduced[self._rows, picks].sum() - prices @ self._capacity), picks

    def relaxed(self) -> tuple[float, Floats, Ints | None]:
        """Return the best lower bound, its prices, and the cheapest feasible choice seen; None = none was seen.

        One row: bisection of its price. Several: each price in turn, a few rounds (coordinate ascent of the dual).
        """
        prices = np.zeros(self._capacity.size)
        best: tuple[float, Ints] | None = None
        bound = -np.inf
        kept = prices.copy()
        for _ in range(1 if self._capacity.size == 1 else 4):
            for row in range(self._capacity.size):
                prices, seen, value = self._bisected(prices, row)
                if value > bound:
                    bound, kept = value, prices.copy()
                if seen is not None and (best is None or seen[0] < best[0]):
                    best = seen
        return bound, kept, None if best is None else best[1]

    def _bisected(self, prices: Floats, row: int) -> tuple[Floats, tuple[float, Ints] | None, float]:
        best: tuple[float, Ints] | None = None
        bound, at = -np.inf, prices.copy()

        def look(price: float) -> bool:
            nonlocal best, bound, at
            trial = prices.copy()
            trial[row] = price
            value, picks = self._dual(trial)
            if value > bound:
                bound, at = value, trial
            if self.keeps(picks):
                total = float(self.cost[self._rows, picks].sum())
                if best is None or total < best[0]:
                    best = total, picks
            return bool(self._use[row][self._rows, picks].sum() <= self._capacity[row])

        if not look(0.0):
            low, high = 0.0, self._first_price(row)
            for _ in range(_BISECTIONS):
                if look(high):
                    break
                low, high = high, high * 8
            # down to the price's own digits
            while high - low > 1e-9 * high:
                middle = (low + high) / 2
                low, high = (low, middle) if look(middle) else (middle, high)
        return at, best, bound

    def _first_price(self, row: int) -> float:
        usable = self._usable
        spread = float(np.ptp(self.cost[usable])) if usable.any() else 1.0
        span = float(np.ptp(self._limits[row].use[usable])) if usable.any() else 1.0
        return max(spread, 1e-12) / max(span, 1e-12)

    def best_improved(self, picks: Ints) -> Ints:
        """Return a choice made cheaper with what is left of the limits: by saving, or by saving per what it takes."""
        tried = (self._improved(picks, per_use=False), self._improved(picks, per_use=True))
        return min(tried, key=lambda each: float(self.cost[self._rows, each].sum()))

    def _improved(self, picks: Ints, *, per_use: bool) -> Ints:
        picks = picks.copy()
        left = self._capacity - self._used(picks)
        for _ in range(_ROUNDS):
            saving = np.where(self._usable, self.cost[self._rows, picks][:, None] - self.cost, -np.inf)
            extra = [use - use[self._rows, picks][:, None] for use in self._use]
            fits = saving > 0
            for each, room in zip(extra, left, strict=True):
                fits &= each <= room + _SLACK * max(abs(room), 1e-9)
            if not fits.any():
                break
            taken_up = sum(
                (np.maximum(each, 0.0) / max(abs(room), 1e-300) for each, room in zip(extra, left, strict=True)),
                start=np.zeros_like(saving),
            )
            worth = np.where(fits, saving / (taken_up + 1e-9) if per_use else saving, -np.inf)
            types = np.flatnonzero(np.isfinite(worth.max(axis=1)))
            order = types[np.argsort(-worth[types].max(axis=1), kind="stable")]
            for kind in order[:200]:
                pick = int(worth[kind].argmax())
                taken = np.array([each[kind, pick] for each in extra])
                if (taken <= left + _SLACK * np.maximum(np.abs(left), 1e-9)).all():
                    picks[kind] = pick
                    left = left - taken
        return picks

    def core(
        self, found: Ints | None, bound: float, prices: Floats, gap: float, time_limit_s: float
    ) -> tuple[Ints | None, float, Ints | None]:
        """Return a choice and a bound of the mixed-integer core; last: the least loss where it proves infeasibility."""
        reduced = self._reduced(prices)
        own = reduced - reduced.min(axis=1, keepdims=True)
        keep = self._usable.copy()
        if found is not None:
            room = float(self.cost[self._rows, found].sum()) - bound
            keep &= own <= room + _SLACK * abs(room)
            keep[self._rows, found] = True
        fixed = keep.sum(axis=1) == 1
        settled = keep.argmax(axis=1)
        free = np.flatnonzero(~fixed)
        if not free.size:
            return found, bound, None
        types, choices = np.nonzero(keep[free])
        values = self.cost[free[types], choices]
        one = sparse.csr_array((np.ones(types.size), (types, np.arange(types.size))), shape=(free.size, types.size))
        constraints = [LinearConstraint(one, 1.0, 1.0)]
        for row, capacity in zip(self._limits, self._capacity, strict=True):
            use = row.use[free[types], choices]
            left = capacity - row.use[np.flatnonzero(fixed), settled[fixed]].sum()
            size = max(float(np.abs(use).max()), 1e-300)
            constraints.append(LinearConstraint(use[None, :] / size, -np.inf, left / size))
        scale = max(float(np.abs(values).max()), 1e-300)
        base = float(self.cost[np.flatnonzero(fixed), settled[fixed]].sum())
        # the gap is one of the whole: what is left to the solver may be further off
        whole = abs(bound) if found is None else float(self.cost[self._rows, found].sum())
        own_gap = min(gap / 2 * whole / max(whole - base, 1e-300), 0.1) if whole > base else gap / 2
        result = milp(
            values / scale,
            integrality=np.ones(types.size),
            bounds=Bounds(0, 1),
            constraints=constraints,
            options={"time_limit": time_limit_s, "mip_rel_gap": own_gap, "disp": False},
        )
        if result.status == 2 and found is None:  # noqa: PLR2004 - HiGHS: infeasible
            return None, bound, self.loss_only()
        proven = getattr(result, "mip_dual_bound", None)
        if proven is not None and np.isfinite(proven):
            # what was fixed away costs more than the best known choice
            bound = max(bound, base + float(proven) * scale)
        if result.x is None:
            return found, bound, None
        picks = settled.copy()
        taken = _taken(types, choices, result.x, free.size)
        picks[free] = taken
        if not self.keeps(picks):
            return found, bound, None
        if found is None or self.cost[self._rows, picks].sum() < self.cost[self._rows, found].sum():
            return picks, min(bound, float(self.cost[self._rows, picks].sum())), None
        return found, min(bound, float(self.cost[self._rows, found].sum())), None


def _taken(types: Ints, choices: Ints, values: NDArray[np.float64], n_types: int) -> Ints:
    grid = np.full((n_types, int(choices.max()) + 1), -1.0)
    grid[types, choices] = values
    return grid.argmax(axis=1)


def in_words(price: float) -> str:
    """Return what a price of loss means, where cost and loss are both USD."""
    if price <= 0:
        return "the limit on mistakes does not bind: nothing is paid to avoid more of them"
    return f"we pay ${price:,.2f} of model cost to avoid $1.00 of mistakes"
