"""What closed proposals cost: pages, publish and apply with none and with ten thousand. Prints; never fails on time."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.decisions import ADA, ANALYST, REASON, Place, make_draft
from tests.many_proposals import fill

pytestmark = pytest.mark.bench

COUNT = 10_000
ROUNDS = 15


def _ms(work: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def _measured(place: Place) -> dict[str, float]:
    desk = place.desk
    (proposal,) = place.publish(make_draft())
    figures = {
        "entries (open)": _ms(lambda: desk.entries(["open"])),
        "counts": _ms(desk.counts),
        "publish (kept)": _ms(lambda: desk.publish([make_draft()], (), ANALYST)),
        "review": _ms(lambda: desk.review([proposal])),
    }
    began = time.perf_counter()
    done = place.apply(proposal)
    figures["apply"] = (time.perf_counter() - began) * 1e3
    turn = [1, done.seq]

    def roll() -> None:
        turn.reverse()
        desk.rollback(turn[1], ADA, REASON, expected_version=desk.head().version)

    figures["rollback"] = _ms(roll)
    return figures


def test_closed_proposals_cost_nothing(tmp_path: Path) -> None:
    none, many = Place(tmp_path / "none"), Place(tmp_path / "many")
    fill(many, COUNT)
    before, after = _measured(none), _measured(many)
    print(f"\n  {'median of ' + str(ROUNDS) + ', ms':<24} {'none':>8} {COUNT:>8,} {'ratio':>8}")
    for name, value in before.items():
        print(f"  {name:<24} {value:>8.1f} {after[name]:>8.1f} {after[name] / value:>8.2f}")
