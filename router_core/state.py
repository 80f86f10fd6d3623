"""What the calls of one router share: prices, guardrail, health of targets, observed sizes, the spool."""

from collections.abc import Callable, Sequence
from typing import Protocol

from router_core.clock import Clock
from router_core.control.budgets import Guardrail
from router_core.decide.breaker import Cause
from router_core.decide.capable import Needs, can_take
from router_core.decide.plan import Candidate, Plan, PlanStep, PlanTarget
from router_core.decide.receipt import estimate
from router_core.errors import ErrorKind
from router_core.health import Care
from router_core.lines import Line, Sent
from router_core.prices import PriceBook
from router_core.types import Price, Usage

# completion tokens assumed of a payload type that has never run on a model
_FIRST_OUTPUT_TOKENS = 500
# weight of the newest observation in the running mean of completion sizes
_NEWEST = 0.05
_NOBODY: frozenset[str] = frozenset()


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
    """Sizes of answers; outlives a config change."""

    def __init__(self) -> None:
        self._output_tokens: dict[tuple[str, str | None], float] = {}
        self._shadow_tokens: dict[tuple[str, str], float] = {}

    def answered(self, payload_type: str, model: str, usage: Usage) -> None:
        """Take note of an answer."""
        if usage.output_tokens is not None:
            for key in ((payload_type, model), (payload_type, None)):
                known = self._output_tokens.get(key, usage.output_tokens)
                self._output_tokens[key] = known + _NEWEST * (usage.output_tokens - known)

    def shadowed(self, payload_type: str, model: str, usage: Usage) -> None:
        """Take note of a shadow's answer, apart from the others: shadows change nothing for the calls beside them."""
        if usage.output_tokens is not None:
            known = self._shadow_tokens.get((payload_type, model), usage.output_tokens)
            self._shadow_tokens[payload_type, model] = known + _NEWEST * (usage.output_tokens - known)

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
        guardrail: The spend limits.
        on_event: Logs something that happened outside a call: name, details, instant.
        tiers: One step per tier, cheapest first.
        observed: Sizes of answers, shared across config versions.
        care: Health of targets and the breakers, shared across config versions, with this one's rules.
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
        care: Care,
    ) -> None:
        self.clock = clock
        self.prices = prices
        self.guardrail = guardrail
        self._log = log
        self._on_event = on_event
        self.tiers = tiers
        self._observed = observed
        self._care = care
        self.log: Callable[..., None] = log.write
        self.shadowed = observed.shadowed

    def log_call(self, *lines: Line) -> None:
        """Log the lines that end a call; the last one is the call's own and is numbered here."""
        lines[-1]["worker"] = self._log.worker
        lines[-1]["seq"] = self._log.next_seq()
        self._log.write(*lines)

    def down(self) -> frozenset[str]:
        """Return the targets that are left alone now."""
        health = self._care.health
        return _NOBODY if health.is_clear else health.down(self.clock.steady_us())

    def begins(self, name: str, lasts_us: int) -> bool:
        """Return whether a request may begin now; False when another one has just begun to probe its target."""
        health = self._care.health
        return health.is_clear or health.begins(name, self.clock.steady_us(), lasts_us)

    def answered(self, payload_type: str, target: PlanTarget, usage: Usage, took_us: int) -> None:
        """Take note of an answer, and how long it took."""
        if not self._care.health.is_clear:
            self._care.health.answered(target.name, self.clock.steady_us() - took_us)
        self._observed.answered(payload_type, target.model, usage)

    def failed(self, sent: Sent, kind: ErrorKind, retry_after_us: int | None, now_us: int, draw: float) -> None:
        """Take note of a failed request, and leave a record when its target now cools down.

        Args:
            sent: The request.
            kind: How it failed.
            retry_after_us: How long the provider asked to wait.
            now_us: The present instant of its call.
            draw: Uniform 0..1, for how long exactly the target cools down.
        """
        steady_us, name = self.clock.steady_us(), sent.target.name
        cooling = self._care.health.failed(
            name,
            kind,
            retry_after_us,
            sent_us=steady_us - (now_us - sent.started_us),
            now_us=steady_us,
            rule=self._care.cool_down,
            draw=draw,
        )
        if cooling is not None:
            until_us = now_us + cooling.until_us - steady_us
            self._on_event(
                "health",
                {"model": sent.target.model, "target": name, "until_us": until_us, "reason": cooling.reason},
                now_us,
            )

    def withdrawn(self, target: PlanTarget) -> None:
        """Take note of a request that nobody will hear of."""
        self._care.health.withdrawn(target.name)

    def stayed(self, payload_type: str, tier: str) -> None:
        """Take note of a call that was served at a step and could have left it upwards."""
        self._care.breakers.stayed(payload_type, tier, self.clock.steady_us(), self._care.breaker)

    def holds(self, payload_type: str, tier: str, cause: Cause) -> bool:
        """Take note of a call that would leave a step upwards; return whether it must not."""
        return self._care.breakers.holds(payload_type, tier, cause, self.clock.steady_us(), self._care.breaker)

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
            target.name
            for step in steps
            for target in step.targets
            if self.estimate_nusd(payload_type, target, input_tokens, self.prices.price(target.model, now_us))
            > left_nusd
        )

    def candidates(self, plan: Plan, needs: Needs, now_us: int) -> tuple[Candidate, ...]:
        """Return the priced, healthy targets that can take a request and that a limit may move its call to."""
        down = self.down()
        names = [step.tier for step in self.tiers]
        lowest = names.index(plan.min_tier) if plan.min_tier is not None else 0
        found: list[Candidate] = []
        for step in self.tiers[lowest:]:
            for target in step.targets:
                price = self.prices.price(target.model, now_us)
                if price is not None and target.name not in down and can_take(needs, target):
                    cost = self.estimate_nusd(plan.payload_type, target, needs.about_tokens, price)
                    found.append(Candidate(tier=step.tier, target=target, reserve_nusd=cost))
        return tuple(found)
