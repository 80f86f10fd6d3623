"""The demo: a simulated workflow run by the real router on a virtual clock, so that its log is a real one."""

import datetime as dt
import heapq
import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dashboard.scenario import Scenario, TypePlan, arrivals, make_scenario, prompt_of, routing_yaml
from router_core import Answer, RouteExhaustedError, Router
from router_core.backends.simulated import Outage, SimulatedBackend, SimulatedModel, right_answer
from router_core.call_log.access import is_watched
from router_core.call_log.home import CONFIG_NAME, Home
from router_core.clock import VirtualClock
from router_core.errors import ConfigError, Problem
from router_core.watch import start_watch

FIGURES = "demo.json"
_DAY_US = 86_400_000_000
# what labels wait for: a person looks at a document one to three days later
_LABEL_DELAY_DAYS = (0.5, 3.0)

Progress = Callable[[int, int], None]
"""Gets the number of days done and the number of days."""


class TaskAnswer(BaseModel):
    """What every simulated task answers."""

    answer: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What a demo run made.

    Attributes:
        home: Where its log is.
        calls: Calls made.
        failed: Calls without an answer.
        outcomes: Outcomes received until the last day.
        planted: Which finding was planted where.
        made_now: False when the same demo was there already.
    """

    home: Home
    calls: int
    failed: int
    outcomes: int
    planted: Mapping[str, Any]
    made_now: bool


def make_demo(
    root: Path,
    figures: Mapping[str, Any],
    *,
    seed: int,
    last_day: dt.date,
    days: int | None = None,
    progress: Progress | None = None,
) -> DemoReport:
    """Run the demo's workflow and return what it made; the same demo is made once.

    Args:
        root: The home below which the demo keeps its own.
        figures: Contents of ``data/demo.json``.
        seed: Places the findings.
        last_day: Last simulated day.
        days: How many days; default as in the figures.
        progress: Told after each day.

    Raises:
        ConfigError: The folder is not the demo's, or cannot be written.
    """
    home = Home(root).demo
    scenario = make_scenario(figures, seed, last_day, days)
    facts: dict[str, Any] = {"seed": seed, "first_day": str(scenario.first_day), "last_day": str(last_day)}
    known = _finished(home)
    if known is not None and all(known.get(key) == value for key, value in facts.items()):
        return DemoReport(
            home=home,
            calls=known["calls"],
            failed=known["failed"],
            outcomes=known["outcomes"],
            planted=known["planted"],
            made_now=False,
        )
    _clear(home)
    home.create()
    facts["planted"] = scenario.planted
    home.demo_marker.write_text(json.dumps({**facts, "finished": False}))
    (home.root / CONFIG_NAME).write_bytes(routing_yaml(scenario))
    # the log fills while the simulation runs: two processes, as beside a real router
    watcher = start_watch(home)
    try:
        calls, failed, outcomes = _Workflow(home, scenario).run(progress)
    finally:
        if watcher is not None:
            watcher.terminate()
            watcher.wait()
    facts |= {"calls": calls, "failed": failed, "outcomes": outcomes, "finished": True}
    home.demo_marker.write_text(json.dumps(facts, indent=1))
    return DemoReport(home=home, calls=calls, failed=failed, outcomes=outcomes, planted=scenario.planted, made_now=True)


def _finished(home: Home) -> dict[str, Any] | None:
    try:
        known = json.loads(home.demo_marker.read_text())
    except (OSError, ValueError):
        return None
    return known if known.get("finished") and home.log.exists() else None


def _clear(home: Home) -> None:
    """Remove an earlier demo; anything that is not one is left alone."""
    if not home.root.exists() or not any(home.root.iterdir()):
        return
    if is_watched(home):
        message = "the demo there is being shown or watched; stop that first, or give another --home"
        raise ConfigError(str(home.root), [Problem(path="", message=message)])
    if not home.is_demo:
        message = (
            "the demo keeps its log here, but the folder holds something else; move it away or give another --home"
        )
        raise ConfigError(str(home.root), [Problem(path="", message=message)])
    shutil.rmtree(home.root)


class _Workflow:
    """Documents through extract → classify → decide, in the order of a virtual clock."""

    def __init__(self, home: Home, scenario: Scenario) -> None:
        self._scenario = scenario
        first = dt.datetime.combine(scenario.first_day, dt.time(), scenario.zone)
        self._clock = VirtualClock(round(first.timestamp() * 1e6), scenario.seed)
        backend = SimulatedBackend(
            _models(scenario),
            seed=scenario.seed,
            clock=self._clock,
            outages=[Outage(scenario.figures["outage"]["provider"], *scenario.outage)],
        )
        self._router = Router.open(home.root / CONFIG_NAME, home=home.root, backend=backend, clock=self._clock)
        self._chance = random.Random(f"labels {scenario.seed}")
        self._labels: list[tuple[int, str, bool, float]] = []
        self._calls = self._failed = self._outcomes = 0

    def run(self, progress: Progress | None) -> tuple[int, int, int]:
        """Return the numbers of calls, of calls without an answer, and of outcomes."""
        days = self._scenario.days
        with self._router:
            for done, day in enumerate(days, start=1):
                for number, (at_us, workflow) in enumerate(arrivals(self._scenario, day)):
                    self._clock.set(max(at_us, self._clock.now_us()))
                    self._receive_labels()
                    self._document(f"{day.isoformat()}-{number:05d}", self._scenario.workflows[workflow][1])
                if progress is not None:
                    progress(done, len(days))
        return self._calls, self._failed, self._outcomes

    def _document(self, document: str, workflow: tuple[str, ...]) -> None:
        for payload_type in workflow:
            plan = self._scenario.types[payload_type]
            messages = prompt_of(plan, self._scenario.figures, f"document {document}")
            self._calls += 1
            try:
                answer = self._router.complete(
                    payload_type,
                    messages=messages,
                    response_format=TaskAnswer,
                    run=f"batch-{document[:10]}",
                    step=f"{document}/{plan.stage}",
                    tags={"domain": payload_type.partition(".")[0]},
                )
            except RouteExhaustedError:
                self._failed += 1
                return
            self._plan_label(plan, messages, answer)

    def _plan_label(self, plan: TypePlan, messages: list[dict[str, str]], answer: Answer) -> None:
        if self._chance.random() >= plan.label_rate:
            return
        delay = self._chance.uniform(*_LABEL_DELAY_DAYS)
        correct = answer.parsed.answer == right_answer(messages)
        heapq.heappush(
            self._labels,
            (self._clock.now_us() + round(delay * _DAY_US), answer.call_id, correct, plan.label_rate),
        )

    def _receive_labels(self) -> None:
        now = self._clock.now_us()
        while self._labels and self._labels[0][0] <= now:
            _, call_id, correct, rate = heapq.heappop(self._labels)
            self._router.outcome(call_id, correct=correct, label_propensity=rate)
            self._outcomes += 1


def _models(scenario: Scenario) -> dict[str, SimulatedModel]:
    figures, models = scenario.figures, {}
    stages = {name: figures["prompts"][plan.stage]["output_tokens"] for name, plan in scenario.types.items()}
    for model, spec in figures["models"].items():
        models[model] = SimulatedModel(
            accuracy={name: plan.accuracy[spec["tier"]] for name, plan in scenario.types.items()},
            latency_ms=spec["latency_ms"],
            output_tokens_by_type={name: round(tokens * spec["output_factor"]) for name, tokens in stages.items()},
            failure_rate=spec["failure_rate"],
            invalid_rate=0.004,
        )
    return models
