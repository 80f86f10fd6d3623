"""What the calls of one process know together: which targets fail, and whether a wave of calls wants to go up.

Both outlive a change of the config. All instants are of the steady clock.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from router_core.decide.breaker import (
    NEVER,
    NOT_KNOWN,
    BreakerRule,
    Cause,
    Tally,
    Usual,
    is_settled,
    learned,
    opens,
    settled,
    stays_open,
)
from router_core.decide.health import (
    HEALTHY,
    CoolDown,
    TargetHealth,
    after_answer,
    after_failure,
    is_down,
    is_probe,
    probing,
)
from router_core.errors import ErrorKind

# beyond so many pairs of payload type and tier, what is usual is forgotten: names may be made up per call
_MOST_STEPS: Final = 10_000

BreakerEvent = Callable[[str, str, Cause, bool, Tally, Usual], None]
"""Told when a breaker turns: payload type, tier, cause, whether it is open now, the window, what was usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """What is known of targets and waves, and the rules of one config version for it.

    Attributes:
        health: Health of targets.
        breakers: The escalation breakers.
        cool_down: When targets cool down.
        breaker: When a breaker opens.
    """

    health: "Health"
    breakers: "Breakers"
    cool_down: CoolDown
    breaker: BreakerRule


class Health:
    """Health of targets, shared by all calls of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, TargetHealth] = {}

    @property
    def is_clear(self) -> bool:
        """Whether nothing is held against any target."""
        return not self._known

    def down(self, now_us: int) -> frozenset[str]:
        """Return the targets that are left alone at this instant."""
        with self._lock:
            return frozenset(name for name, health in self._known.items() if is_down(health, now_us))

    def begins(self, name: str, now_us: int, lasts_us: int) -> bool:
        """Return whether a request to a target may begin; False when another one has just begun to probe it.

        Args:
            name: The target.
            now_us: The present instant.
            lasts_us: How long the request may take: so long its answer is waited for, if it is the probe.
        """
        if name not in self._known:
            return True
        with self._lock:
            health = self._known.get(name, HEALTHY)
            if is_probe(health, now_us):
                self._known[name] = probing(health, now_us + lasts_us)
                return True
            return not is_down(health, now_us)

    def answered(self, name: str, sent_us: int) -> None:
        """Take note of the answer to a request that was sent at ``sent_us``."""
        if name not in self._known:
            return
        with self._lock:
            after = after_answer(self._known.get(name, HEALTHY), sent_us)
            if after is HEALTHY:
                self._known.pop(name, None)

    def failed(
        self,
        name: str,
        kind: ErrorKind,
        retry_after_us: int | None,
        *,
        sent_us: int,
        now_us: int,
        rule: CoolDown,
        draw: float,
    ) -> TargetHealth | None:
        """Take note of a failure; return the target's health when it has just begun to cool down, else None."""
        with self._lock:
            before = self._known.get(name, HEALTHY)
            after = after_failure(
                before, kind=kind, retry_after_us=retry_after_us, sent_us=sent_us, now_us=now_us, rule=rule, draw=draw
            )
            if after is not before:
                self._known[name] = after
        return after if after.until_us > max(before.until_us, now_us) else None

    def withdrawn(self, name: str) -> None:
        """Take note of a request that nobody will hear of: if it was the probe, the next one is."""
        if name in self._known:
            with self._lock:
                health = self._known.get(name)
                if health is not None and health.probed_until_us:
                    self._known[name] = probing(health, 0)

    def after_fork(self) -> None:
        """Make a lock of a forked child's own; whom the parent probes is the parent's affair."""
        self._lock = threading.Lock()
        self._known = {name: probing(health, 0) for name, health in self._known.items()}


@dataclass(slots=True)
class _Step:
    """The calls of one payload type at one tier: the present window, the one before, and what is usual."""

    since_us: int
    calls: int = 0
    left: dict[Cause, int] = field(default_factory=lambda: {"failures": 0, "answers": 0})
    before_calls: int = 0
    before_left: dict[Cause, int] = field(default_factory=lambda: {"failures": 0, "answers": 0})
    usual: Usual = NOT_KNOWN
    open_since_us: dict[Cause, int] = field(default_factory=dict[Cause, int])

    def tally(self, cause: Cause) -> Tally:
        return Tally(self.calls + self.before_calls, self.left[cause] + self.before_left[cause])

    def usual_of(self, cause: Cause) -> Usual:
        return NEVER if cause == "failures" else self.usual

    def turn(self, rule: BreakerRule, now_us: int) -> None:
        """Begin a new window, for the present one is over; what went by while a breaker was open is not usual."""
        age_us = now_us - self.since_us
        if not self.open_since_us:
            self.usual = learned(self.usual, Tally(self.calls, self.left["answers"]), rule)
        is_next = 0 <= age_us < 2 * rule.window_us
        self.before_calls = self.calls if is_next else 0
        self.before_left = self.left if is_next else {"failures": 0, "answers": 0}
        self.calls, self.left, self.since_us = 0, {"failures": 0, "answers": 0}, now_us


class Breakers:
    """The escalation breakers of all payload types and tiers, shared by all calls of a process.

    Args:
        on_turn: Told when one opens or closes.
    """

    def __init__(self, on_turn: BreakerEvent) -> None:
        self._on_turn = on_turn
        self._lock = threading.Lock()
        self._steps: dict[tuple[str, str], _Step] = {}

    def stayed(self, payload_type: str, tier: str, now_us: int, rule: BreakerRule) -> None:
        """Take note of a call that was served at a step."""
        if rule.enabled:
            with self._lock:
                step = self._step(payload_type, tier, now_us, rule)
                step.calls += 1
                turned = self._turned(step, rule, now_us) if step.open_since_us else ()
            if turned:
                self._tell(payload_type, tier, turned)

    def holds(self, payload_type: str, tier: str, cause: Cause, now_us: int, rule: BreakerRule) -> bool:
        """Take note of a call that would leave a step upwards; return whether it must not."""
        if not rule.enabled:
            return False
        with self._lock:
            step = self._step(payload_type, tier, now_us, rule)
            step.calls += 1
            step.left[cause] += 1
            turned = self._turned(step, rule, now_us)
            held = cause in step.open_since_us
        self._tell(payload_type, tier, turned)
        return held

    def after_fork(self) -> None:
        """Make a lock of a forked child's own."""
        self._lock = threading.Lock()

    def _step(self, payload_type: str, tier: str, now_us: int, rule: BreakerRule) -> _Step:
        step = self._steps.get((payload_type, tier))
        if step is None:
            if len(self._steps) >= _MOST_STEPS:
                self._steps.clear()
            step = self._steps[payload_type, tier] = _Step(now_us)
        if not 0 <= now_us - step.since_us < rule.window_us:
            step.turn(rule, now_us)
        return step

    def _turned(self, step: _Step, rule: BreakerRule, now_us: int) -> tuple[tuple[Cause, bool, Tally, Usual], ...]:
        """Open and close what is to be; return what turned."""
        found: list[tuple[Cause, bool, Tally, Usual]] = []
        causes: tuple[Cause, ...] = ("failures", "answers")
        for cause in causes:
            tally, usual, since_us = step.tally(cause), step.usual_of(cause), step.open_since_us.get(cause)
            if since_us is None and opens(tally, usual, rule):
                step.open_since_us[cause] = now_us
                found.append((cause, True, tally, usual))
            elif since_us is not None and not stays_open(tally, usual, rule, since_us, cause, now_us):
                del step.open_since_us[cause]
                if is_settled(rule, since_us, cause, now_us):
                    step.usual = settled(tally, rule)
                found.append((cause, False, tally, usual))
        return tuple(found)

    def _tell(self, payload_type: str, tier: str, turned: tuple[tuple[Cause, bool, Tally, Usual], ...]) -> None:
        for cause, is_open, tally, usual in turned:
            self._on_turn(payload_type, tier, cause, is_open, tally, usual)
