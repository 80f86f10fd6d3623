"""Answers that cost nothing, kept from an earlier run or given by a pre-check; and the keeping of those that did."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from router_core.cache import Kept, RetryCache, can_keep
from router_core.decide.identity import key_of, target_of
from router_core.decide.moves import RECALLED
from router_core.decide.plan import Plan, PlanTarget
from router_core.inflight import InFlight, unpaid
from router_core.lines import Sent
from router_core.prechecks import Asked, Rule, ask_rules, callers_rule
from router_core.record import record
from router_core.task import Task, examine
from router_core.types import PRE_CHECK, Confidence, Response, Usage

_NO_USAGE: Final = Usage()


@record
class Recalled:
    """A valid answer that an earlier run has paid for.

    Attributes:
        call_id: The call that has paid for it.
        request: The answer, checked again; its attempt is the one that was paid for.
    """

    call_id: str
    request: InFlight


class Keeping:
    """What the cache for retries knows of one call's request, and is told of its answers.

    Args:
        cache: The cache.
        key: The key of the request.
    """

    def __init__(self, cache: RetryCache, key: bytes) -> None:
        self._cache = cache
        self._key = key

    def recall(self, task: Task, plan: Plan, now_us: int) -> Recalled | None:
        """Return the kept answer furthest up the path that the present checks find valid; None without one."""
        kept = self._cache.recall(self._key, now_us)
        if not kept:
            return None
        for step in reversed(range(len(plan.steps))):
            for index, target in enumerate(plan.steps[step].targets):
                found = kept.get(target_of(target))
                if found is None:
                    continue
                tier = plan.steps[step].tier
                sent = _nothing_sent(found.attempt_id, tier, target, now_us, step=step, target_index=index)
                request = unpaid(sent, found.response)
                if examine(task, plan, request):
                    if found.confidence is not None and _still_holds(plan, found.confidence):
                        request.confidence = replace(found.confidence, fields=request.confidence.fields)
                    return Recalled(call_id=found.call_id, request=request)
        return None

    def keep(self, call_id: str, request: InFlight, at_us: int, told: Confidence | None = None) -> None:
        """Keep a valid answer that has just come.

        Args:
            call_id: The call that has paid for it.
            request: The answer.
            at_us: When, microseconds since the epoch.
            told: What requests of their own have told about it, or how sure a merged answer is, which is kept with it.
        """
        sent, response = request.sent, request.response
        if response is not None and can_keep(response):
            if told is None and response.pack is not None and response.pack.said is not None:
                told = request.confidence  # it stands beside the text
            kept = Kept(call_id=call_id, attempt_id=sent.attempt_id, response=response, confidence=told)
            self._cache.keep(self._key, target_of(sent.target), kept, at_us)

    def note_degraded(self, call_id: str, at_us: int) -> None:
        """Take note that the request was served below its plan."""
        self._cache.note_degraded(self._key, call_id, at_us)

    def degraded_before(self, at_us: int) -> str | None:
        """Return the call that was last served below its plan for this request; None without one."""
        return self._cache.degraded_before(self._key, at_us)


def _still_holds(plan: Plan, told: Confidence) -> bool:
    """Return whether the config still takes its confidence from there, and on that scale."""
    scale = None if plan.calibration is None else plan.calibration.calibration_id
    from_fields = told.source == "field" and plan.confidence_source == "auto"
    return (from_fields or told.source == plan.confidence_source) and told.calibration in (None, scale)


def keeping_for(cache: RetryCache, task: Task) -> Keeping | None:
    """Return what keeps a task's answers; None where the cache is off, or run and step do not tell the request."""
    if not cache.is_on or task.run is None or task.step is None:
        return None
    key = key_of(task.run, task.step, task.payload_type, task.messages, task.response_format, task.params)
    return None if key is None else Keeping(cache, key)


@record
class PreChecked:
    """What came of asking a call's pre-checks.

    Attributes:
        request: The answer, checked; None = no rule had a valid one.
        asked: The rules that were asked; the last one has answered, if one has.
    """

    request: InFlight | None
    asked: tuple[Asked, ...]

    def extra(self) -> Mapping[str, Any]:
        """Return what the call's row carries of it."""
        told = [{**asdict(each), "ms": round(each.ms, 3)} for each in self.asked]
        return {"pre_checks": told} if self.request is None else {"pre_check": self.asked[-1].name, "pre_checks": told}


def pre_check(rules: Sequence[Rule], task: Task, plan: Plan, now_us: int) -> PreChecked | None:
    """Return what the caller's rules and then the config's say to a task; None where there are none."""
    every = (*(callers_rule(function) for function in task.pre_checks), *rules)
    if not every:
        return None

    def accept(name: str, text: str) -> InFlight | None:
        sent = _nothing_sent("", PRE_CHECK, PlanTarget(model=f"{PRE_CHECK}/{name}"), now_us)
        request = unpaid(sent, Response(text=text, usage=_NO_USAGE))
        return request if examine(task, plan, request) else None

    outcome = ask_rules(every, task.messages, accept)
    return PreChecked(request=outcome.answer, asked=outcome.asked)


@record
class Start:
    """What a call begins with beside its plan.

    Attributes:
        keeping: Keeps its answers; None = nobody does.
        recalled: What an earlier run has paid for.
        pre_checked: What its pre-checks said, if any were asked.
        redoes: The call of an earlier run that a limit had served below its plan, if this one makes up for it.
    """

    keeping: Keeping | None = None
    recalled: Recalled | None = None
    pre_checked: PreChecked | None = None
    redoes: str | None = None

    @property
    def is_answered(self) -> bool:
        """Whether a pre-check has answered: then nothing is to be decided."""
        return self.pre_checked is not None and self.pre_checked.request is not None


_PLAIN: Final = Start()


def start_of(cache: RetryCache, rules: Sequence[Rule], task: Task, plan: Plan, now_us: int) -> Start:
    """Return what a call begins with: kept answers come before pre-checks, and both before any limit."""
    if not (cache.is_on or rules or task.pre_checks):
        return _PLAIN
    keeping = keeping_for(cache, task)
    recalled = None if keeping is None else keeping.recall(task, plan, now_us)
    asked = pre_check(rules, task, plan, now_us) if recalled is None and (rules or task.pre_checks) else None
    redoes = keeping.degraded_before(now_us) if keeping is not None and recalled is None else None
    return Start(keeping=keeping, recalled=recalled, pre_checked=asked, redoes=redoes)


def _nothing_sent(
    attempt_id: str, tier: str, target: PlanTarget, now_us: int, *, step: int = -1, target_index: int = 0
) -> Sent:
    return Sent(
        attempt_id=attempt_id,
        n=RECALLED,
        role="serve",
        tier=tier,
        target=target,
        started_us=now_us,
        reserved_nusd=0,
        step=step,
        target_index=target_index,
    )
