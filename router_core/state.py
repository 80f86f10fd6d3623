"""What the calls of one router share: prices, guardrail, health of targets, observed sizes, the spool."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from router_core.clock import Clock
from router_core.control.budgets import Guardrail
from router_core.decide.health import HEALTHY, CoolDown, TargetHealth, after_failure
from router_core.decide.plan import Candidate, Plan, PlanStep, PlanTarget
from router_core.decide.receipt import estimate
from router_core.errors import ErrorKind
from router_core.lines import Line
from router_core.prices import PriceBook
from router_core.types import Message, Price, Usage

# completion tokens assumed of a payload type that has never run on a model
_FIRST_OUTPUT_TOKENS = 500
# weight of the newest observation in the running mean of completion sizes
_NEWEST = 0.05
_CHARS_PER_TOKEN = 4


class Log(Protocol):
    """Where lines go; see ``call_log.spool.Spool``."""

    @property
    def worker(self) -> str:
        """Name of this process in the log."""
        ...

    def write(self, *lines: Line) -> None:
        """Append the lines, all or none, in one write."""
        ...

    def next_seq(self) -> int:
        """Return the next number of this worker's calls."""
        ...


class Observed:
    """Health of targets and sizes of answers; outlives a config change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._health: dict[str, TargetHealth] = {}
        self._output_tokens: dict[tuple[str, str | None], float] = {}
        self._shadow_tokens: dict[tuple[str, str], float] = {}

    def answered(self, payload_type: str, model: str, usage: Usage) -> None:
        """Take note of an answer."""
        if self._health:
            with self._lock:
                self._health.pop(model, None)
        if usage.output_tokens is not None:
            for key in ((payload_type, model), (payload_type, None)):
                known = self._output_tokens.get(key, usage.output_tokens)
                self._output_tokens[key] = known + _NEWEST * (usage.output_tokens - known)

    def shadowed(self, payload_type: str, model: str, usage: Usage) -> None:
        """Take note of a shadow's answer, apart from the others: shadows change nothing for the calls beside them."""
        if usage.output_tokens is not None:
            known = self._shadow_tokens.get((payload_type, model), usage.output_tokens)
            self._shadow_tokens[payload_type, model] = known + _NEWEST * (usage.output_tokens - known)

    def failed(
        self, model: str, kind: ErrorKind, retry_after_us: int | None, now_us: int, failures: int, cooldown_us: int
    ) -> TargetHealth | None:
        """Take note of a failure; return the target's health when it has just begun to cool down, else None."""
        with self._lock:
            before = self._health.get(model, HEALTHY)
            after = after_failure(
                before,
                kind=kind,
                retry_after_us=retry_after_us,
                sent_us=now_us,
                now_us=now_us,
                rule=CoolDown(failures=failures, first_us=cooldown_us),
                draw=0.0,
            )
            self._health[model] = after
        return after if after.until_us > max(before.until_us, now_us) else None

    def after_fork(self) -> None:
        """Make a lock of a forked child's own."""
        self._lock = threading.Lock()

    def down(self, now_us: int) -> frozenset[str]:
        """Return the models that cool down."""
        if not self._health:
            return frozenset()
        with self._lock:
            return frozenset(model for model, health in self._health.items() if health.until_us > now_us)

    def output_tokens(self, payload_type: str, target: PlanTarget, *, shadow: bool = False) -> int:
        """Return the completion size to expect, tokens, bounded by the target's own limit."""
        seen, key = self._output_tokens, (payload_type, target.model)
        size = self._shadow_tokens.get(key) if shadow else None
        if size is None:
            size = seen.get(key)
        if size is None:  # a model not seen yet on this type is compared at the size that the others gave
            size = seen.get((payload_type, None), _FIRST_OUTPUT_TOKENS)
        expected = round(size)
        return expected if target.max_output_tokens is None else min(expected, target.max_output_tokens)


class RouterState:
    """What all calls under one config version share.

    Args:
        clock: Time, chance and ids.
        log: Where lines go.
        prices: Prices of this config version.
        guardrail: The spend limit.
        on_event: Logs something that happened outside a call: name, details, instant.
        tiers: One step per tier, cheapest first.
        observed: Health and sizes, shared across config versions.
        failures: Consecutive failures after which a target cools down.
        cooldown_us: How long it then cools down, microseconds.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        log: Log,
        prices: PriceBook,
        guardrail: Guardrail,
        on_event: Callable[[str, dict[str, object], int], None],
        tiers: tuple[PlanStep, ...],
        observed: Observed,
        failures: int,
        cooldown_us: int,
    ) -> None:
        self.clock = clock
        self.prices = prices
        self.guardrail = guardrail
        self._log = log
        self._on_event = on_event
        self.tiers = tiers
        self._observed = observed
        self._failures = failures
        self._cooldown_us = cooldown_us
        self.log: Callable[..., None] = log.write
        self.answered = observed.answered
        self.shadowed = observed.shadowed
        self.down = observed.down

    def log_call(self, *lines: Line) -> None:
        """Log the lines that end a call; the last one is the call's own and is numbered here."""
        lines[-1]["worker"] = self._log.worker
        lines[-1]["seq"] = self._log.next_seq()
        self._log.write(*lines)

    def failed(self, model: str, kind: ErrorKind, retry_after_us: int | None, now_us: int) -> None:
        """Take note of a failed request, and leave a record when its target now cools down."""
        cooling = self._observed.failed(model, kind, retry_after_us, now_us, self._failures, self._cooldown_us)
        if cooling is not None:
            self._on_event("health", {"model": model, "until_us": cooling.until_us, "reason": cooling.reason}, now_us)

    def estimate_nusd(
        self,
        payload_type: str,
        target: PlanTarget,
        input_tokens: int,
        price: Price | None,
        *,
        shadow: bool = False,
    ) -> int:
        """Return what a request of this size is expected to cost, nano-dollars; 0 for a model without a price."""
        return estimate(input_tokens, self._observed.output_tokens(payload_type, target, shadow=shadow), price) or 0

    def dearer_than(
        self,
        left_nusd: int,
        payload_type: str,
        steps: Sequence[PlanStep],
        input_tokens: int,
        now_us: int,
    ) -> frozenset[str]:
        """Return the models whose next request is estimated above what is left."""
        return frozenset(
            target.model
            for step in steps
            for target in step.targets
            if self.estimate_nusd(payload_type, target, input_tokens, self.prices.price(target.model, now_us))
            > left_nusd
        )

    def candidates(self, plan: Plan, input_tokens: int, now_us: int) -> tuple[Candidate, ...]:
        """Return the priced, healthy targets that a limit may move a call of this plan to."""
        down = self.down(now_us)
        names = [step.tier for step in self.tiers]
        lowest = names.index(plan.min_tier) if plan.min_tier is not None else 0
        found: list[Candidate] = []
        for step in self.tiers[lowest:]:
            for target in step.targets:
                price = self.prices.price(target.model, now_us)
                if price is not None and target.model not in down:
                    cost = self.estimate_nusd(plan.payload_type, target, input_tokens, price)
                    found.append(Candidate(tier=step.tier, target=target, reserve_nusd=cost))
        return tuple(found)


def tokens_of(messages: Sequence[Message]) -> int:
    """Return about how many tokens the texts of messages are, from their lengths."""
    return sum([_length(message) for message in messages]) // _CHARS_PER_TOKEN


def _length(message: Message) -> int:
    content = message.get("content")
    if isinstance(content, str):
        return len(content)
    if isinstance(content, list | tuple):  # parts: text ones count, images do not
        parts = cast("Sequence[Mapping[str, object]]", content)
        return sum(len(str(part.get("text", ""))) for part in parts)
    return 0
