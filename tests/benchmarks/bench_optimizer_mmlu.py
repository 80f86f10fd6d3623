"""Who should answer what: RouteLLM's MMLU, by subject, on queries that were not seen. Prints figures; no gate.

Not like for like: RouteLLM's routers were trained mostly on chat preferences and 1,500 validation questions and are not
told the subject; here the subject is the payload type and labels come from the test's own distribution, which is this
product's situation. ``high_school_mathematics`` has GPT-4 at 3 %: almost certainly an answer-parsing fault; and
``moral_scenarios`` carries much of what is left. All three rows are printed.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimizer.replay import Floats
from tests.evaluations import Evaluation, cost_at, judged, read_mmlu, routed

pytestmark = [pytest.mark.bench, pytest.mark.realdata]

SEEDS = 100
PARSED_WRONG, MORAL = "mmlu/high_school_mathematics", "mmlu/moral_scenarios"
PUBLISHED = "published (best per column): APGR .603, CPT50 35.4 %, CPT80 70.3 %; 'over 45 %' saved at 95 % of GPT-4"
LIMITS = {"all": "APGR >= .665, CPT50 <= 29, CPT80 <= 62, cost at 95 % <= 41 %", "no mathematics": "APGR >= .630"}


def pooled(seen: Evaluation) -> Floats:
    """What the optimizer expects of each type: its gain in accuracy."""
    gain = np.zeros(seen.n_types)
    for each in judged(seen, 0, 1):
        gain[each.question.type] = -each.wrong_change.mean
    return gain


def raw(seen: Evaluation) -> Floats:
    number = np.maximum(np.bincount(seen.kind, minlength=seen.n_types), 1)
    return seen.by_type(seen.wrong[:, 0] - seen.wrong[:, 1]) / number


def _figures(data: Evaluation, estimate: Callable[[Evaluation], Floats] | None) -> Floats:
    rows: list[tuple[float, float, float, float]] = []
    for seed in range(SEEDS):
        seen, test = data.halves(seed)
        # nothing is seen of the oracle's types but the test itself
        gain = raw(test) if estimate is None else estimate(seen)
        extra = np.maximum(seen.by_type(seen.cost_usd[:, 1] - seen.cost_usd[:, 0]), 1e-12)
        number = np.maximum(np.bincount(seen.kind, minlength=seen.n_types), 1)
        found = routed(test, gain[test.kind])
        at = cost_at(test, (gain / (extra / number))[test.kind], 0.95)
        rows.append((found.apgr, 100 * found.cpt50, 100 * found.cpt80, 100 * at))
    return np.array(rows)


def test_mmlu_by_subject(data_dir: Path) -> None:
    everything = read_mmlu(data_dir)
    print(
        f"\n  {everything.kind.size:,} queries, halves, {SEEDS} seeds: APGR, CPT50 %, CPT80 %, cost at 95 % of GPT-4 %"
    )
    print(f"  {PUBLISHED}\n  random: .500, 50, 80; cost at 95 %: 68 (mix of both)")
    rows = {
        "all": everything,
        "no mathematics": everything.without(PARSED_WRONG),
        "no mathematics, no moral_scenarios": everything.without(PARSED_WRONG, MORAL),
    }
    for name, data in rows.items():
        for method, estimate in (("pooled", pooled), ("raw means", raw), ("oracle types", None)):
            found = _figures(data, estimate)
            cells = [
                f"{m:.3f} ± {s:.3f}" if c == 0 else f"{m:.1f} ± {s:.1f}"
                for c, (m, s) in enumerate(zip(found.mean(0), found.std(0), strict=True))
            ]
            print(
                f"  {name}, {method}: {', '.join(cells)}"
                + (f"  (limit {LIMITS[name]})" if method == "pooled" and name in LIMITS else "")
            )
    gain = everything.wrong[:, 0] - everything.wrong[:, 1]
    oracle = routed(everything, gain)
    print(f"  oracle of every query: {oracle.apgr:.3f}, {100 * oracle.cpt50:.1f}, {100 * oracle.cpt80:.1f}")
