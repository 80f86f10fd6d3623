"""Twelve weekly looks at a world whose truth is known: which types move, and are they the right ones?"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from optimizer.estimate import effects_of
from optimizer.evidence import Comparison
from optimizer.judge import Judged, judge_effects
from optimizer.replay import Floats
from optimizer.rules import GUARDED, RULES, Rules
from optimizer.solve import obstacle
from tests.pairs import make_facts, make_question, make_route
from tests.worlds import Weekly

WEEKS_PER_MONTH = 30 / 7


@dataclass
class Looks:
    """How the looks at one world went; all rates are fractions.

    Attributes:
        types: All.
        moves: Types moved within the weeks.
        harmful: Of these, more than two points worse in truth.
        losing: Of these, losing money in truth.
        found: Share of the safe types that were moved and that pay.
        coverage: Share of 90 % intervals that held the truth at the last look.
        seen: Share of types that could be judged at the last look.
        regret: Share of the gain of an oracle, which moves exactly what pays and does no harm, that was missed.
    """

    types: int
    moves: int
    harmful: int
    losing: int
    found: float
    coverage: float
    seen: float
    regret: float

    def text(self) -> str:
        share = max(self.moves, 1)
        return (
            f"moves {self.moves}, false {self.harmful / share:.3f}, losing {self.losing / share:.3f}, power"
            f" {self.found:.2f}, coverage {self.coverage:.3f} of {self.seen:.2f} seen, regret {self.regret:.2f}"
        )


def look(
    world: Weekly,
    seed: int,
    *,
    rules: Rules = GUARDED,
    keep: float = 1.0,
    label_rate: float = 1.0,
    delay_weeks: float = 0.0,
    transfer: bool = False,
) -> Looks:
    """Look at a world week after week; a type that was moved once stays moved.

    Args:
        world: The world.
        seed: Of what is drawn.
        rules: The rule.
        keep: What a week's evidence is worth a week later: forgetting.
        label_rate: Share of pairs that are ever labelled.
        delay_weeks: Mean delay of a label, exponential.
        transfer: Whether only the served answer is labelled, and the label is carried over.
    """
    rng = np.random.default_rng([seed, 7])
    n_weeks, n_types = world.change.shape
    moved = np.full(n_types, -1)
    arrived = np.zeros((n_weeks, 4, n_types))
    judged: Sequence[Judged] = ()
    post = _Post(delay_weeks)
    for week in range(n_weeks):
        drawn = _pairs(world, week, rng)
        labelled = rng.binomial(drawn, label_rate)
        post.deliver(arrived, labelled, week, rng)
        age = keep ** np.arange(week, -1, -1)
        counts, squares = (np.tensordot(each, arrived[: week + 1], axes=1) for each in (age, age**2))
        there = counts.sum(axis=0) > 0
        judged = _judge(world, counts, squares, np.random.default_rng([seed, week]), rules, transfer=transfer)
        facts = [make_facts(calls_per_month=WEEKS_PER_MONTH * calls, wrong_rate=0.0) for calls in world.calls]
        for kind, each in enumerate(judged):
            if moved[kind] < 0 and there[kind] and obstacle(facts[kind], each, rules) is None:
                moved[kind] = week
    return _score(world, moved, judged)


def _pairs(world: Weekly, week: int, rng: np.random.Generator) -> np.ndarray:
    """Return counts of worse, better, both wrong and both right, shape ``(4, n_types)``."""
    worse = (world.discordance + world.change[week]) / 2
    better = (world.discordance - world.change[week]) / 2
    rest = np.maximum(1 - worse - better - world.both_wrong, 0)
    p = np.column_stack((worse, better, world.both_wrong, rest))
    n = np.where(world.begins <= week, world.pairs, 0)
    return rng.multinomial(n, p / p.sum(axis=1, keepdims=True)).T


class _Post:
    """Labels under way: of each week's pairs some come at once, the rest later."""

    def __init__(self, delay_weeks: float) -> None:
        self._chance = 1 - np.exp(-1.0 / delay_weeks) if delay_weeks else 1.0
        self._waiting: dict[int, np.ndarray] = {}

    def deliver(self, arrived: Floats, labelled: np.ndarray, week: int, rng: np.random.Generator) -> None:
        """Book what comes this week to the week of its calls."""
        self._waiting[week] = labelled
        for born, waiting in self._waiting.items():
            came = rng.binomial(waiting, self._chance)
            self._waiting[born] = waiting - came
            arrived[born] += came


def _judge(
    world: Weekly, counts: Floats, squares: Floats, rng: np.random.Generator, rules: Rules, *, transfer: bool
) -> tuple[Judged, ...]:
    n_types = world.calls.size
    questions = tuple(
        make_question(
            make_route(1),
            make_route(0),
            type=kind,
            calls_per_month=float(WEEKS_PER_MONTH * world.calls[kind]),
            error_cost_usd=float(world.price_usd[kind]),
        )
        for kind in range(n_types)
    )
    found = comparison(counts, squares, world.saving_usd, transfer=transfer)
    cells = np.zeros((n_types, 1, 2))
    cells[:, 0, 0] = np.maximum(world.calls * 4, 1)
    effects = effects_of(found, cells, rules)
    return judge_effects(questions, found, effects, rng, rules)


def comparison(counts: Floats, squares: Floats, saving_usd: Floats, *, transfer: bool = False) -> Comparison:
    """Return the sums of pairs whose numbers are known.

    Args:
        counts: Weighted numbers of worse, better, both wrong and both right, shape ``(4, n_types)``.
        squares: The same with squared weights.
        saving_usd: Saving per call.
        transfer: Whether a pair on which the served answer is wrong and the other one differs is only bounded.
    """
    worse, better, _, _ = counts
    n, n_sq = counts.sum(axis=0), squares.sum(axis=0)
    shape = (n.size, 1, 2)

    def cell(values: Floats) -> Floats:
        out = np.zeros(shape)
        out[:, 0, 0] = values
        return out

    none, by_type = cell(np.zeros_like(n)), np.zeros_like(n)
    lost = better if transfer else np.zeros_like(better)
    values = {
        "calls": cell(n), "started": cell(n), "weight": cell(n), "weight_differ": cell(n), "weight_sq": cell(n_sq),
        "pair_calls": cell(n), "pair_weight": cell(n), "pair_weight_sq": cell(n_sq),
        "pair_d": cell(worse - better + lost), "pair_d_sq": cell(worse + better - lost), "pair_slack": cell(lost),
        "cost_calls": cell(n), "cost_weight": cell(n), "cost_weight_sq": cell(n_sq),
        "cost_d": cell(-saving_usd * n), "cost_d_sq": cell(saving_usd**2 * n),
        "pairs": np.floor(n), "pairs_accepted": np.floor(n), "worse": worse, "better": better - lost, "unknown": lost,
    }  # fmt: skip
    for each in fields(Comparison):
        if each.name not in values:
            values[each.name] = none if each.name.startswith("confidence") else by_type
    values["p95_ms"] = np.full(n.size, np.nan)
    return Comparison(**values)


def _score(world: Weekly, moved: np.ndarray, judged: Sequence[Judged]) -> Looks:
    last = world.change.shape[0] - 1
    is_moved = moved >= 0
    at = np.where(is_moved, moved, last)
    kinds = np.arange(moved.size)
    truth = world.change[at, kinds]
    net = world.saving_usd - world.price_usd * truth
    now = world.change[last]
    seen = np.array([each.seen for each in judged])
    held = np.array(
        [each.wrong_change.low <= change <= each.wrong_change.high for each, change in zip(judged, now, strict=True)]
    )
    best = np.where(
        (world.net_usd(last) > 0) & (now <= RULES.usual_margin), world.net_usd(last) * world.calls, 0.0
    ).sum()
    ours = (np.where(is_moved, world.net_usd(last), 0.0) * world.calls).sum()
    return Looks(
        types=moved.size,
        moves=int(is_moved.sum()),
        harmful=int((is_moved & (truth > RULES.usual_margin)).sum()),
        losing=int((is_moved & (net <= 0)).sum()),
        found=float(is_moved[world.is_safe].mean()) if world.is_safe.any() else 0.0,
        coverage=float(held[seen].mean()) if seen.any() else 1.0,
        seen=float(seen.mean()),
        regret=float(1 - ours / best) if best > 0 else 0.0,
    )
