"""Public evaluations as the optimizer sees a log, and the figures by which routers are compared on them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from optimizer.answers import ACCEPTED, Table
from optimizer.calibrate import families
from optimizer.judge import Judged, judge
from optimizer.replay import Answers, Floats, Ints, Way, replay
from optimizer.rules import RULES
from optimizer.thresholds import Sight, Start, learn, start_at
from tests.pairs import make_question, make_route


@dataclass(frozen=True)
class Evaluation:
    """Queries that every model has answered; columns are tiers, cheapest first.

    Attributes:
        names: Payload types.
        kind: Payload type of each query.
        wrong: Shape ``(n_queries, n_tiers)``.
        cost_usd: The same.
        confidence: The same; nan = the evaluation has none.
    """

    names: tuple[str, ...]
    kind: Ints
    wrong: Floats
    cost_usd: Floats
    confidence: Floats

    @property
    def n_types(self) -> int:
        return len(self.names)

    def rows(self, keep: Ints) -> "Evaluation":
        return Evaluation(self.names, self.kind[keep], self.wrong[keep], self.cost_usd[keep], self.confidence[keep])

    def without(self, *names: str) -> "Evaluation":
        dropped = [place for place, name in enumerate(self.names) if name in names]
        return self.rows(np.flatnonzero(~np.isin(self.kind, dropped)))

    def halves(self, seed: int) -> tuple["Evaluation", "Evaluation"]:
        order = np.random.default_rng(seed).permutation(self.kind.size)
        middle = order.size // 2
        return self.rows(order[:middle]), self.rows(order[middle:])

    def table(self) -> Table:
        """All queries, labelled, as calls that began on the first tier and were answered by the others too."""
        n, shape = self.kind.size, self.wrong.shape
        return Table(
            answers=self.answers(),
            type=self.kind,
            group=np.zeros(n, dtype=np.int64),
            stratum=np.full(n, ACCEPTED, dtype=np.int64),
            is_shadow=np.zeros(shape, dtype=np.bool_),
            propensity=np.ones(shape),
            wrong_low=self.wrong,
            wrong_high=self.wrong,
            transferred=np.zeros(shape, dtype=np.bool_),
            label_propensity=np.ones(shape),
            chance_known=np.ones(n, dtype=np.bool_),
            differs=np.full(n, np.nan),
            weight=np.ones(n),
        )

    def answers(self) -> Answers:
        everywhere = np.ones(self.wrong.shape, dtype=np.bool_)
        return Answers(
            answered=everywhere,
            valid=everywhere,
            confidence=self.confidence,
            cost_usd=self.cost_usd,
            latency_ms=np.full(self.wrong.shape, np.nan),
        )

    def by_type(self, values: Floats) -> Floats:
        return np.bincount(self.kind, weights=values, minlength=self.n_types).astype(np.float64)


def read_mmlu(folder: Path) -> Evaluation:
    """The shared half of RouteLLM's MMLU: Mixtral and GPT-4, decontaminated, subjects as types."""
    frame = pl.read_parquet(folder / "outcomes_routellm.parquet").filter(
        pl.col("payload_type").str.starts_with("mmlu/"), ~pl.col("contaminated")
    )
    strong = pl.col("model").str.contains("gpt-4")
    return _evaluation(frame.with_columns(strong.cast(pl.Int64).alias("tier_index")), "cost_usd")


def read_cascade(folder: Path, cost: str) -> Evaluation:
    """The shared cascade logs: Llama 8B, 70B and 405B with confidences of their own, test queries."""
    frame = pl.read_parquet(folder / "measurements_only" / "cascade_confidence_logs.parquet").filter(
        pl.col("chain") == "llama_chain", pl.col("split") == "test", pl.col("tier_index") >= 2
    )
    return _evaluation(frame.with_columns(pl.col("tier_index") - 2, pl.col("confidence_log").exp()), cost)


def _evaluation(frame: pl.DataFrame, cost: str) -> Evaluation:
    names = tuple(sorted(frame["payload_type"].unique()))
    sure = "confidence_log" if "confidence_log" in frame.columns else "confidence"
    parts = [
        frame.filter(pl.col("tier_index") == tier).sort("payload_type", "query_id")
        for tier in sorted(frame["tier_index"].unique())
    ]
    index = {name: place for place, name in enumerate(names)}
    return Evaluation(
        names=names,
        kind=np.array([index[name] for name in parts[0]["payload_type"]], dtype=np.int64),
        wrong=np.column_stack([1.0 - part["correct"].to_numpy() for part in parts]),
        cost_usd=np.column_stack([part[cost].to_numpy() for part in parts]),
        confidence=np.column_stack([part[sure].cast(pl.Float64).to_numpy() for part in parts]),
    )


def judged(seen: Evaluation, now: int, then: int, seed: int = 0) -> tuple[Judged, ...]:
    """What the optimizer says of moving every type that has queries from one tier to another."""
    table = seen.table()
    cells = np.zeros((seen.n_types, seen.wrong.shape[1] + 1, 2))
    cells[:, 0, ACCEPTED] = np.bincount(seen.kind, minlength=seen.n_types)
    questions = tuple(make_question(make_route(now), make_route(then), type=int(kind)) for kind in np.unique(seen.kind))
    return judge(table, cells, questions, np.random.default_rng(seed), RULES)


@dataclass(frozen=True)
class Routed:
    """RouteLLM's figures: APGR, and shares of calls to the strong model (CPT) at half and four fifths of its gain."""

    apgr: float
    cpt50: float
    cpt80: float


def routed(test: Evaluation, score: Floats) -> Routed:
    """Return the figures of sending the queries of the largest scores to the strong model first.

    Args:
        test: Two tiers.
        score: Of each query; queries of equal scores are sent in equal parts.
    """
    gain = test.wrong[:, 0] - test.wrong[:, 1]
    levels, place = np.unique(-score, return_inverse=True)
    sent = np.concatenate(([0.0], np.cumsum(np.bincount(place, minlength=levels.size)))) / gain.size
    won = np.concatenate(([0.0], np.cumsum(np.bincount(place, weights=gain, minlength=levels.size)))) / gain.sum()
    return Routed(apgr=float(np.trapezoid(won, sent)), cpt50=_first(sent, won, 0.5), cpt80=_first(sent, won, 0.8))


def cost_at(test: Evaluation, score: Floats, share: float) -> float:
    """Return the least cost at which a share of the dear tier's accuracy is reached, as a share of its cost alone."""
    levels, place = np.unique(-score, return_inverse=True)
    right = 1.0 - test.wrong
    cost = test.cost_usd[:, 1] - test.cost_usd[:, 0]
    won = np.cumsum(np.bincount(place, weights=right[:, 1] - right[:, 0], minlength=levels.size))
    paid = np.cumsum(np.bincount(place, weights=cost, minlength=levels.size))
    accuracy = np.concatenate(([0.0], won)) / right.shape[0] + right[:, 0].mean()
    total = np.concatenate(([0.0], paid)) + test.cost_usd[:, 0].sum()
    return _first(total / test.cost_usd[:, 1].sum(), accuracy, share * float(right[:, 1].mean()))


def _first(x: Floats, y: Floats, goal: float) -> float:
    """Return the least x at which a broken line reaches a goal."""
    reached = np.flatnonzero(y >= goal)
    if not reached.size:
        return 1.0
    at = int(reached[0])
    if at == 0:
        return float(x[0])
    return float(x[at - 1] + (x[at] - x[at - 1]) * (goal - y[at - 1]) / (y[at] - y[at - 1]))


def area(points: Floats, test: Evaluation) -> float:
    """Return the area under error against cost: the mean error over evenly spaced costs, lower is better.

    Points of one method are joined by straight lines in order of cost, level beyond its first and last, over the range
    from the cost of the cheapest tier alone to that of the dearest alone; nothing is selected on the test queries.

    Args:
        points: Mean cost and mean error per point, shape ``(n_points, 2)``.
        test: The queries they were measured on.
    """
    costs = np.unique(points[:, 0])
    errors = np.array([points[points[:, 0] == cost, 1].mean() for cost in costs])
    low, high = test.cost_usd[:, 0].mean(), test.cost_usd[:, -1].mean()
    return float(np.interp(np.linspace(low, high, 2001), costs, errors).mean())


def prices(evaluation: Evaluation) -> Floats:
    """Return prices of a wrong answer over the whole range from "cheapest" to "best"."""
    return float(evaluation.cost_usd.mean()) * np.geomspace(0.05, 200, 40)


def ladder_points(seen: Evaluation, test: Evaluation, error_prices: Floats) -> Floats:
    """Return cost and error on unseen queries of what the optimizer would set: a start and thresholds per type.

    What is compiled runs by ``replay``, the router's own rules.
    """
    n_tiers = seen.wrong.shape[1]
    number = np.bincount(seen.kind, minlength=seen.n_types)
    own = np.column_stack([seen.by_type(seen.cost_usd[:, tier]) for tier in range(n_tiers)])
    # types without queries cost what all do
    cost = (own + 5 * seen.cost_usd.mean(axis=0)) / (number + 5)[:, None]
    sight = Sight(kind=seen.kind, confidence=seen.confidence, correct=1 - seen.wrong, weight=np.ones_like(seen.wrong))
    ladder = learn(sight, cost, families(seen.names))

    def run(price: float) -> tuple[float, float]:
        starts = [start_at(ladder, first, np.full(seen.n_types, price)) for first in range(n_tiers)]
        loss = np.stack([start.cost_usd + price * start.wrong for start in starts])
        return _served(test, starts, loss.argmin(axis=0))

    return np.array([run(float(price)) for price in error_prices])


def _served(test: Evaluation, starts: list[Start], first: Ints) -> tuple[float, float]:
    n_tiers = len(starts)
    cost, wrong = np.zeros(test.kind.size), np.zeros(test.kind.size)
    for tier, start in enumerate(starts):
        rows = np.flatnonzero(first[test.kind] == tier)
        if not rows.size:
            continue
        part = test.rows(rows)
        way = Way(
            tiers=tuple(range(tier, n_tiers)),
            accept_at=start.accept_at[part.kind][:, tier:],
            straight_below=start.straight_below[part.kind][:, tier:],
            accepts_missing=np.zeros(rows.size, dtype=np.bool_),
        )
        served = replay(part.answers(), way)
        cost[rows] = served.cost_usd
        wrong[rows] = part.wrong[np.arange(rows.size), served.tier]
    return float(cost.mean()), float(wrong.mean())


@dataclass(frozen=True)
class Simple:
    """A policy without types: thresholds at which each step's answer is served."""

    tiers: tuple[int, ...]
    accept_at: tuple[float, ...]

    def run(self, on: Evaluation) -> tuple[Floats, Floats]:
        """Return cost and wrongness of every query."""
        n = on.kind.size
        way = Way(
            tiers=self.tiers,
            accept_at=np.tile((*self.accept_at, 0.0), (n, 1)),
            straight_below=np.full((n, len(self.tiers)), np.nan),
            accepts_missing=np.zeros(n, dtype=np.bool_),
        )
        served = replay(on.answers(), way)
        return served.cost_usd, on.wrong[np.arange(n), served.tier]


def simple_policies(seen: Evaluation, n_pairs: int = 25, n_triples: int = 12) -> tuple[list[Simple], int, int]:
    """Return single tiers, pairs and triples over thresholds, and the number of singles and of singles and pairs."""
    n_tiers = seen.wrong.shape[1]
    found = [Simple((tier,), ()) for tier in range(n_tiers)]
    for low in range(n_tiers):
        for high in range(low + 1, n_tiers):
            cuts = np.quantile(seen.confidence[:, low], np.linspace(0.02, 0.98, n_pairs))
            found += [Simple((low, high), (float(cut),)) for cut in cuts]
    pairs = len(found)
    first, second = (np.quantile(seen.confidence[:, t], np.linspace(0.05, 0.95, n_triples)) for t in (0, 1))
    found += [Simple((0, 1, 2), (float(a), float(b))) for a in first for b in second]
    return found, n_tiers, pairs


def simple_points(seen: Evaluation, test: Evaluation, error_prices: Floats) -> Callable[[int, bool], Floats]:
    """Return a function that gives the points of the best of the first n simple policies, for all types or by type."""
    policies, _, _ = simple_policies(seen)
    train, held = ([policy.run(on) for policy in policies] for on in (seen, test))
    sums = {
        key: np.array([[on.by_type(cost), on.by_type(wrong)] for cost, wrong in runs])
        for key, on, runs in (("train", seen, train), ("held", test, held))
    }

    def points(n: int, by_type: bool) -> Floats:
        out: list[tuple[float, float]] = []
        for price in error_prices:
            loss = sums["train"][:n, 0] + price * sums["train"][:n, 1]
            pick = loss.argmin(axis=0) if by_type else np.full(seen.n_types, loss.sum(axis=1).argmin())
            chosen = sums["held"][pick, :, np.arange(seen.n_types)].sum(axis=0) / test.kind.size
            out.append((float(chosen[0]), float(chosen[1])))
        return np.array(out)

    return points
