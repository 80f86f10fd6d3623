"""Which targets a call may ask, beside its limits: those that can take its request, that are well, and no wave goes up.

Everything that the world tells becomes part of the facts that a decision is made from, so a logged call replays.
"""

from dataclasses import replace

from router_core.decide.capable import Needs, no_larger, shortfall, unfit
from router_core.decide.moves import Action, Call, Fact, Returned
from router_core.decide.plan import Plan, PlanTarget
from router_core.decide.score import Score
from router_core.decide.step import decide, left_for
from router_core.scoring import whom
from router_core.state import RouterState


class Gate:
    """The gate of one call.

    Args:
        state: What all calls of the router share.
        plan: The call's plan.
        needs: What its request needs.

    Attributes:
        unfit: Models of the plan that cannot take the request, as far as is known by now.
    """

    __slots__ = ("_action", "_decided", "_needs", "_plan", "_state", "unfit")

    def __init__(self, state: RouterState, plan: Plan, needs: Needs) -> None:
        self._state = state
        self._plan = plan
        self._needs = needs
        self.unfit = unfit(needs, plan.steps)
        self._decided = 0
        self._action: Action | None = None

    def overflown(self, target: PlanTarget) -> None:
        """Take note that a target's window is too small for the request."""
        self.unfit |= no_larger(self._plan.steps, target)

    def next(self, trace: list[Fact]) -> Action:
        """Return what to do next; what kept the call from doing otherwise is put into the last fact.

        Asked again about the same facts, it returns the same and changes nothing.
        """
        if self._action is None or self._decided != len(trace):
            self._action, self._decided = self._decide(trace), len(trace)
        return self._action

    def why_incapable(self) -> str:
        """Return, for each target of the path, why it cannot take the request."""
        targets = {target.name: target for step in self._plan.steps for target in step.targets}
        told = ((model, shortfall(self._needs, target)) for model, target in targets.items())
        return "; ".join(f"{model} {why}" for model, why in told if why is not None)

    def _decide(self, trace: list[Fact]) -> Action:
        action = decide(self._plan, tuple(trace))
        is_told = self._plan.critical
        while isinstance(action, Call | Score):
            fact = trace[-1]
            if isinstance(fact, Returned):
                return action
            left = None if is_told else left_for(self._plan, fact, action)
            if left is not None:
                is_told = True
                tier, cause = left
                if self._state.holds(self._plan.payload_type, tier, cause):
                    trace[-1] = replace(fact, facts=replace(fact.facts, held=fact.facts.held | {tier}))
                    action = decide(self._plan, tuple(trace))
                    continue
            model, lasts_us = self._asked(action)
            # one that is down is asked for want of another
            if model in fact.facts.down or self._state.begins(model, lasts_us):
                return action
            # another request has just begun to probe it
            trace[-1] = replace(fact, facts=replace(fact.facts, down=fact.facts.down | {model}))
            action = decide(self._plan, tuple(trace))
        return action

    def _asked(self, action: Call | Score) -> tuple[str, int]:
        """Return the model that a request goes to, and how long that may take, microseconds."""
        if isinstance(action, Score):
            return whom(self._plan, action).target.name, action.timeout_us
        return self._plan.steps[action.step].targets[action.target].name, action.wait_us + action.timeout_us
