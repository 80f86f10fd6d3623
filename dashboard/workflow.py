"""The demo's documents through the real router on virtual clocks, the days shared between two processes."""

import datetime as dt
import heapq
import multiprocessing
import random
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple, cast

from pydantic import BaseModel

from dashboard.scenario import Scenario, TypePlan, arrivals, prompt_of
from router_core import Answer, RouteExhaustedError, Router, RouterError, ShadowAnswer
from router_core.backends.simulated import Outage, SimulatedBackend, SimulatedModel, right_answer
from router_core.call_log.home import CONFIG_NAME, Home
from router_core.clock import VirtualClock
from router_core.decide.guard import midnight_us

_DAY_US = 86_400_000_000
# what labels wait for: a person looks at a document one to three days later
_LABEL_DELAY_DAYS = (0.5, 3.0)
# fewer days are not worth a second process; the split is fixed, so that a seed gives the same log on every machine
_WORTH_SHARING = 10

Progress = Callable[[int, int], None]
"""Gets the number of days done and the number of days."""


class TaskAnswer(BaseModel):
    """What every simulated task answers."""

    answer: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a simulation made.

    Attributes:
        calls: Calls made.
        failed: Calls without an answer.
        outcomes: Outcomes received until the last day, of all answers that somebody looked at.
    """

    calls: int = 0
    failed: int = 0
    outcomes: int = 0


def simulate(home: Home, scenario: Scenario, progress: Progress | None = None) -> Made:
    """Run all days of a scenario into a home's spool and return what was made.

    Raises:
        RouterError: A simulating process ended before its days did.
    """
    days = scenario.days
    if len(days) < _WORTH_SHARING:
        return _Workflow(home, scenario, days).run(lambda done: progress(done, len(days)) if progress else None)
    middle = len(days) // 2
    context = multiprocessing.get_context("spawn")
    running: dict[Connection, BaseProcess] = {}
    for share in (days[:middle], days[middle:]):
        # on POSIX a pipe's ends are Connections
        here, there = cast("tuple[Connection, Connection]", context.Pipe(duplex=False))
        process = context.Process(target=_simulate_share, args=(home, scenario, share, there), daemon=True)
        process.start()
        there.close()
        running[here] = process
    try:
        return _gather(running, len(days), progress)
    finally:
        for connection, process in running.items():
            process.terminate()
            process.join()
            connection.close()


def _gather(running: dict[Connection, BaseProcess], n_days: int, progress: Progress | None) -> Made:
    results: list[Made] = []
    done = dict.fromkeys(running, 0)
    waiting = set(running)
    while waiting:
        for connection in wait(waiting):
            if not isinstance(connection, Connection):
                continue
            try:
                message = connection.recv()
            except EOFError as error:
                raise RouterError("the simulation ended before its days did; run it again") from error
            if isinstance(message, Made):
                results.append(message)
                waiting.discard(connection)
                continue
            done[connection] = message
            if progress is not None:
                progress(sum(done.values()), n_days)
    return Made(
        calls=sum(made.calls for made in results),
        failed=sum(made.failed for made in results),
        outcomes=sum(made.outcomes for made in results),
    )


def _simulate_share(home: Home, scenario: Scenario, days: Sequence[dt.date], report: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends this process
    report.send(_Workflow(home, scenario, days).run(report.send))
    report.close()


class _Label(NamedTuple):
    """A verdict that comes in some days later; the attempt is empty for the served one."""

    due_us: int
    call_id: str
    attempt_id: str
    is_right: bool
    propensity: float


class _Workflow:
    """Documents of some days through extract → classify → decide, in the order of a virtual clock."""

    def __init__(self, home: Home, scenario: Scenario, days: Sequence[dt.date]) -> None:
        self._scenario = scenario
        self._days = days
        first = days[0].toordinal()
        self._clock = VirtualClock(midnight_us(days[0], scenario.zone), scenario.seed * 1_000_000 + first)
        backend = SimulatedBackend(
            _models(scenario),
            seed=scenario.seed,
            clock=self._clock,
            outages=[Outage(scenario.figures["outage"]["provider"], *scenario.outage)],
        )
        # of the call that is being made; on a virtual clock they come before it returns
        self._shadows: list[ShadowAnswer] = []
        self._router = Router.open(
            home.root / CONFIG_NAME,
            home=home.root,
            backend=backend,
            clock=self._clock,
            on_shadow=self._shadows.append,
        )
        self._chance = random.Random(f"labels {scenario.seed} {first}")
        self._labels: list[_Label] = []
        self._calls = self._failed = self._outcomes = 0

    def run(self, day_done: Callable[[int], None]) -> Made:
        """Return what was made; ``day_done`` is told how many days are over."""
        with self._router:
            for done, day in enumerate(self._days, start=1):
                for number, (at_us, workflow) in enumerate(arrivals(self._scenario, day)):
                    self._clock.set(max(at_us, self._clock.now_us()))
                    self._receive_labels(self._clock.now_us())
                    self._document(f"{day.isoformat()}-{number:05d}", self._scenario.workflows[workflow][1])
                day_done(done)
            # what comes later than the last simulated day is not known yet
            self._receive_labels(midnight_us(self._scenario.last_day + dt.timedelta(1), self._scenario.zone))
        return Made(calls=self._calls, failed=self._failed, outcomes=self._outcomes)

    def _document(self, document: str, workflow: Iterable[str]) -> None:
        for payload_type in workflow:
            plan = self._scenario.types[payload_type]
            messages = prompt_of(plan, self._scenario.figures, f"document {document}")
            self._calls += 1
            self._shadows.clear()
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
        """Have somebody look at all valid answers of this call one day: the served one, its drafts, its shadows."""
        if self._chance.random() >= plan.label_rate:
            return
        due_us = self._clock.now_us() + round(self._chance.uniform(*_LABEL_DELAY_DAYS) * _DAY_US)
        right = right_answer(messages)
        # of the valid answers the last is served; the label of the call is its
        *drafts, served = [attempt for attempt in answer.attempts if attempt.status == "ok"]
        seen = [(None, served.parsed), *((draft.attempt_id, draft.parsed) for draft in drafts)]
        seen += [(shadow.attempt_id, shadow.parsed) for shadow in self._shadows if shadow.status == "ok"]
        for attempt_id, parsed in seen:
            label = _Label(due_us, answer.call_id, attempt_id or "", parsed.answer == right, plan.label_rate)
            heapq.heappush(self._labels, label)

    def _receive_labels(self, until_us: int) -> None:
        now_us = self._clock.now_us()
        while self._labels and self._labels[0].due_us <= until_us:
            label = heapq.heappop(self._labels)
            self._clock.set(label.due_us)
            self._router.outcome(
                label.call_id,
                attempt_id=label.attempt_id or None,
                correct=label.is_right,
                label_propensity=label.propensity,
            )
            self._outcomes += 1
        self._clock.set(max(now_us, self._clock.now_us()))


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
