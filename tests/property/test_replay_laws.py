"""The optimizer's vectorised replay decides as the router would."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from optimizer.replay import NOBODY, Answers, Way, replay
from router_core.decide.moves import Accept, Call, Check, Checked, Exhausted, Fact, Facts, Opened, Returned
from router_core.decide.plan import Plan, PlanStep, PlanTarget
from router_core.decide.step import decide
from router_core.types import NO_CONFIDENCE, Confidence

TIERS = ("cheap", "mid", "top")
# few values, so that answers meet the thresholds exactly
ON_MISSING: tuple[Literal["accept", "escalate"], ...] = ("accept", "escalate")
FRACTIONS = st.sampled_from((0.0, 0.3, 0.5, 0.8, 1.0))


@dataclass(frozen=True)
class Given:
    """A tier's answer in one call."""

    answered: bool
    valid: bool
    confidence: float | None


@dataclass(frozen=True)
class Path:
    """A path as a config has it."""

    tiers: tuple[int, ...]
    accept_at: tuple[float, ...]
    straight_below: tuple[float | None, ...]
    on_missing: Literal["accept", "escalate"]


@st.composite
def paths(draw: st.DrawFn) -> Path:
    tiers = tuple(sorted(draw(st.sets(st.integers(0, 2), min_size=1))))
    return Path(
        tiers=tiers,
        accept_at=tuple(draw(FRACTIONS) for _ in tiers),
        straight_below=tuple(draw(st.none() | FRACTIONS) for _ in tiers),
        on_missing=draw(st.sampled_from(ON_MISSING)),
    )


answers = st.builds(Given, answered=st.booleans(), valid=st.booleans(), confidence=st.none() | FRACTIONS)


def loop(path: Path, row: tuple[Given, ...]) -> tuple[int, int] | None:
    """Return (tier served, steps asked) as ``decide`` has it; None when an answer is missing."""
    steps = tuple(
        PlanStep(
            tier=TIERS[tier],
            targets=(PlanTarget(model=TIERS[tier]),),
            accept_at=path.accept_at[i],
            straight_to_last_below=path.straight_below[i],
        )
        for i, tier in enumerate(path.tiers)
    )
    plan = Plan(payload_type="t", config_version="v", steps=steps, retries=0, on_missing=path.on_missing)
    trace: list[Fact] = [Opened(facts=Facts())]
    asked: list[int] = []
    while True:
        match decide(plan, tuple(trace)):
            case Call(n=n, step=step, target=target):
                asked.append(path.tiers[step])
                if not row[path.tiers[step]].answered:
                    return None
                trace.append(Returned(n=n, step=step, target=target))
            case Check(n=n):
                given = row[asked[-1]]
                value = (
                    NO_CONFIDENCE if given.confidence is None else Confidence(value=given.confidence, source="caller")
                )
                step = path.tiers.index(asked[-1])
                checked = Checked(n=n, step=step, target=0, valid=given.valid, confidence=value, facts=Facts())
                trace.append(checked)
            case Accept(n=n):
                return asked[n - 1], len(asked)
            case Exhausted():
                return NOBODY, len(asked)
            case other:
                raise AssertionError(other)


@given(path=paths(), rows=st.lists(st.tuples(answers, answers, answers), min_size=1, max_size=8))
def test_replay_serves_what_a_loop_over_decide_serves(path: Path, rows: list[tuple[Given, ...]]) -> None:
    shape = (len(rows), len(path.tiers))
    found = replay(
        Answers(
            answered=np.array([[cell.answered for cell in row] for row in rows]),
            valid=np.array([[cell.answered and cell.valid for cell in row] for row in rows]),
            confidence=np.array([[np.nan if c.confidence is None else c.confidence for c in row] for row in rows]),
            cost_usd=np.ones((len(rows), 3)),
            latency_ms=np.full((len(rows), 3), 10.0),
        ),
        Way(
            tiers=path.tiers,
            accept_at=np.broadcast_to(np.array(path.accept_at), shape),
            straight_below=np.broadcast_to(
                np.array([np.nan if v is None else v for v in path.straight_below], dtype=np.float64), shape
            ),
            accepts_missing=np.full(len(rows), path.on_missing == "accept"),
        ),
    )
    for i, row in enumerate(rows):
        wanted = loop(path, row)
        assert bool(found.known[i]) == (wanted is not None)
        if wanted is not None:
            assert (int(found.tier[i]), int(found.asked[i].sum())) == wanted
            assert (found.cost_usd[i], found.latency_ms[i]) == (wanted[1], 10.0 * wanted[1])
