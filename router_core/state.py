"""What the calls of one router share: prices, guardrail, health of targets, observed sizes, the spool."""

from collections.abc import Callable
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
# weight of the newest observation in the running mean of completion sizes, once as many as that were seen
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


class _Mean:
    """The mean of the sizes seen, in which older ones fade."""

    __slots__ = ("tokens", "weight")

    def __init__(self) -> None:
        self.tokens = 0.0
        self.weight = 1.0

    def add(self, tokens: int) -> None:
        # the plain mean at first: one answer of an odd size is soon outweighed
        self.tokens += self.weight * (tokens - self.tokens)
        if self.weight > _NEWEST:
            self.weight /= 1.0 + self.weight


class Observed:
    """Sizes of answers; outlives a config change."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], _Mean] = {}
        self._types: dict[str, _Mean] = {}
        self._shadows: dict[tuple[str, str], _Mean] = {}

    def answered(self, payload_type: str, model: str, usage: Usage) -> None:
        """Take note of an answer."""
        tokens = usage.output_tokens
        if tokens is not None:
            (self._types.get(payload_type) or self._types.setdefault(payload_type, _Mean())).add(tokens)
            key = payload_type, model
            (self._answers.get(key) or self._answers.setdefault(key, _Mean())).add(tokens)

    def shadowed(self, payload_type: str, model: str, usage: Usage) -> None:
        """Take note of a shadow's answer, apart from the others: shadows change nothing for the calls beside them."""
        if usage.output_tokens is not None:
            self._shadows.setdefault((payload_type, model), _Mean()).add(usage.output_tokens)

    def output_tokens(
        self, payload_type: str, target: PlanTarget, *, most: int | None = None, shadow: bool = False
    ) -> int:
        """Return the completion size to expect, tokens, bounded by the target's own limit.

        Args:
            payload_type: What is asked.
            target: Who is asked.
            most: The caller's own limit; None = there is none.
            shadow: Whether nobody waits for the answer.
        """
        key = payload_type, target.model
        mean = self._shadows.get(key) if shadow else None
        # a model not seen yet on this type is compared at the size that the others gave
        mean = mean or self._answers.get(key) or self._types.get(payload_type)
        expected = _FIRST_OUTPUT_TOKENS if mean is None else round(mean.tokens)
        if most is not None and most < expected:
            expected = most
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

    @property
    def whole(self) -> "RouterState":
        """What all calls share, whichever of them sees it: for work that goes on when a call has ended."""
        return self

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
        most: int | None = None,
        shadow: bool = False,
    ) -> int:
        """Return what a request of this size is expected to cost, nano-dollars; 0 for a model without a price.

        Args:
            payload_type: What is asked.
            target: Who is asked.
            input_tokens: Size of the prompt.
            price: The target's price.
            most: The largest completion that the caller asks for; None = no limit.
            shadow: Whether nobody waits for the answer.
        """
        expected = self._observed.output_tokens(payload_type, target, most=most, shadow=shadow)
        return estimate(input_tokens, expected, price) or 0

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
                    about, most = needs.about_tokens, needs.most_output_tokens
                    cost = self.estimate_nusd(plan.payload_type, target, about, price, most=most)
                    found.append(Candidate(tier=step.tier, target=target, reserve_nusd=cost))
        return tuple(found)
