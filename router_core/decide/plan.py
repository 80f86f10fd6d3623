"""Payload type + config + guard verdict → the plan of one call."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from router_core.decide.calibration import Calibration
from router_core.decide.guard import Verdict
from router_core.types import Capability, Comparable, GuardState

PlanReason = Literal["path", "default_type", "degraded", "degraded_no_target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTarget:
    """One target that a plan may use.

    Attributes:
        model: ``provider/model``.
        timeout_s: Seconds after which one request is given up.
        max_output_tokens: Largest completion asked for.
        api_base: Endpoint, when the config names one.
        api_key_env: Environment variable that holds the key, when the config names one.
        context_tokens: The largest input it takes; None = nobody knows.
        lacks: What it is known not to be able to do.
        number: 1, 2, ... among the config's targets with this model: the same model at another address, or with
            another key, is another target.
    """

    model: str
    timeout_s: float = 60.0
    max_output_tokens: int | None = None
    api_base: str | None = None
    api_key_env: str | None = None
    context_tokens: int | None = None
    lacks: frozenset[Capability] = frozenset()
    number: int = 1

    @property
    def name(self) -> str:
        """What it is called in facts and in the log: its model, for further targets of that with their number."""
        return self.model if self.number == 1 else f"{self.model}#{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One step of a path, with defaults filled in.

    Attributes:
        tier: The tier's name.
        targets: Its targets in fallback order.
        accept_at: Confidence at which an answer is served, 0..1.
        straight_to_last_below: Confidence below which the steps in between are left out.
    """

    tier: str
    targets: tuple[PlanTarget, ...]
    accept_at: float
    straight_to_last_below: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRule:
    """When an unserved request to a tier is made for evidence.

    Attributes:
        tier: Tier that is asked.
        on: ``accepted`` = after calls whose first step's answer was served without escalation; ``all`` = after every
            served call.
        rate: Share of these calls, 0..1.
    """

    tier: str
    on: Literal["accepted", "all"]
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldbackRule:
    """A random share that stays on the path from before a move.

    Attributes:
        name: The move's proposal, or ``holdback``.
        steps: The old path.
        rate: Share that stays on it, 0..1.
        unit: What is drawn for: each ``run`` as a whole, or each ``call``.
        until_us: First instant at which nothing is held back any more, microseconds since the epoch.
    """

    name: str
    steps: tuple[PlanStep, ...]
    rate: float
    unit: Literal["run", "call"]
    until_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRule:
    """How small tasks share a request.

    Attributes:
        max_items: Most tasks of one request.
        max_wait_s: Longest time that a task waits for others to share with, seconds.
        confidence_source: Where confidence comes from.
        confidence_field: Name of the self-reported field.
    """

    max_items: int
    max_wait_s: float
    confidence_source: str = "auto"
    confidence_field: str = "confidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRule:
    """Who judges answers.

    Attributes:
        step: The judges' tier with its targets in the order in which they are asked.
        prompt: What a judge is told.
        may_judge: Models that may judge the answers of a model; a model that is not named, nobody may.
    """

    step: PlanStep
    prompt: str
    may_judge: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is settled before a call's first request.

    Attributes:
        payload_type: The call's payload type.
        config_version: Content hash of the config it was made from.
        steps: The path that this call may use; empty for a payload type that is refused.
        tier_planned: Tier of the first step that the config asks for, before any limit.
        attempts: Most requests of the call, shadows excepted.
        deadline_us: Microseconds after the call's start from which no request starts.
        cost_nusd: Most the call may cost, nano-dollars; None = no limit.
        retries: How often one target may be asked again in one step.
        confidence_source: Where confidence comes from (``auto`` picks).
        confidence_field: Name of the self-reported field.
        samples: How many further answers source ``agreement`` asks for.
        judge: Who judges, for source ``judge``.
        is_calibrated: Whether the thresholds of the steps are on the scale of a calibration.
        calibration: That calibration; None when there is none, or when it is not at hand and not needed.
        accept_uncalibrated_at: Confidence at which a value that the calibration does not cover is served, 0..1.
        on_missing: What a missing confidence means.
        escalation: Whether the next tier redoes the task or corrects the draft.
        critical: Whether limits leave the call alone.
        error_cost_nusd: Price of a wrong answer, nano-dollars; None = not priced.
        min_tier: Lowest tier a limit may move the call to; None = the lowest there is.
        guard_state: The guard's verdict at the call's start.
        budget: Name of the budget that counts the call; None = no budget.
        degraded: Whether a limit moved the call below its plan.
        reason: Why these steps.
        shadows: Which unserved requests follow for evidence.
        comparable: How two answers are told to be the same; None = they are not compared.
        pack: How small tasks of the type share a request; None = they do not.
        holdback_rule: Which share stays on the path from before a move; None = none does.
        holdback: Name of the holdback that keeps the call on the old path; None = it is on the new one.
        propensity: Probability with which the call came to be on its path, where chance decided; None = it did not.
    """

    payload_type: str
    config_version: str
    steps: tuple[PlanStep, ...] = ()
    tier_planned: str | None = None
    attempts: int = 6
    deadline_us: int = 120_000_000
    cost_nusd: int | None = None
    retries: int = 1
    confidence_source: str = "auto"
    confidence_field: str = "confidence"
    samples: int = 3
    judge: JudgeRule | None = None
    is_calibrated: bool = False
    calibration: Calibration | None = None
    accept_uncalibrated_at: float = 0.8
    on_missing: Literal["escalate", "accept"] = "escalate"
    escalation: Literal["redo", "correct"] = "redo"
    critical: bool = False
    error_cost_nusd: int | None = None
    min_tier: str | None = None
    guard_state: GuardState = "normal"
    budget: str | None = None
    degraded: bool = False
    reason: PlanReason = "path"
    shadows: tuple[ShadowRule, ...] = ()
    comparable: Comparable | None = None
    pack: PackRule | None = None
    holdback_rule: HoldbackRule | None = None
    holdback: str | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A target that a degraded call could use.

    Attributes:
        tier: Its tier.
        target: The target.
        reserve_nusd: What this request is estimated to cost there, nano-dollars.
    """

    tier: str
    target: PlanTarget
    reserve_nusd: int


def as_judged(plan: Plan, verdict: Verdict) -> Plan:
    """Return the plan with the guard's verdict noted, its steps as they are."""
    if (verdict.state, verdict.budget) == (plan.guard_state, plan.budget):
        return plan
    return replace(plan, guard_state=verdict.state, budget=verdict.budget)


def under_guard(plan: Plan, verdict: Verdict, tiers: tuple[PlanStep, ...], candidates: Collection[Candidate]) -> Plan:
    """Return the plan that the guard's verdict leaves of ``plan``.

    A capped non-critical call gets one step: the tier of the cheapest candidate, that candidate first. Without a
    candidate the plan's own first step runs, marked.

    Args:
        plan: The plan that the config asks for.
        verdict: The guard's verdict at the call's first attempt.
        tiers: One step per tier, cheapest first: where the candidates' other targets are found.
        candidates: Priced, healthy targets of tier >= the type's ``min_tier``.
    """
    if plan.critical or verdict.state not in ("capped", "stopped"):
        return as_judged(plan, verdict)
    if not candidates:
        step, reason = plan.steps[0], "degraded_no_target"
    else:
        best = min(candidates, key=lambda candidate: candidate.reserve_nusd)
        home = next(step for step in (*plan.steps, *tiers) if step.tier == best.tier)
        others = tuple(target for target in home.targets if target.name != best.target.name)
        step, reason = replace(home, targets=(best.target, *others)), "degraded"
    return replace(
        plan,
        steps=(step,),
        budget=verdict.budget,
        guard_state=verdict.state,
        degraded=True,
        reason=reason,
    )
