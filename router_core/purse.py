"""What one call may still spend, and whom it may not ask for that."""

from router_core.decide.capable import Needs
from router_core.decide.moves import Fact, Opened, Returned
from router_core.decide.plan import Plan, PlanTarget
from router_core.decide.receipt import estimate
from router_core.scoring import judged_kind
from router_core.state import RouterState
from router_core.types import NANO

_NOBODY: frozenset[str] = frozenset()


class Purse:
    """The limits of one call.

    An estimate comes from the sizes of earlier answers, and one that is far too high would keep every later call from
    learning better. So it bars nothing from a call that has spent nothing yet and stays in the tier it began in: there
    it is enough that the smallest answer fits.

    Args:
        state: What all calls of the router share.
        plan: The call's plan.
        needs: What its request needs.
    """

    def __init__(self, state: RouterState, plan: Plan, needs: Needs) -> None:
        self._state = state
        self._plan = plan
        self._needs = needs

    def too_dear(self, last: Fact | None, spent_nusd: int, now_us: int) -> frozenset[str]:
        """Return the targets whose next request may cost more than what is left.

        Args:
            last: The last thing that happened in the call; None = it begins.
            spent_nusd: What it has spent, nano-dollars.
            now_us: Microseconds since the epoch.
        """
        plan, state = self._plan, self._state
        if plan.cost_nusd is None:
            return _NOBODY
        left = plan.cost_nusd - spent_nusd
        # of so many steps from the first the smallest request counts
        unspent = 0 if spent_nusd else len(plan.steps) if last is None else _step_of(last) + 1
        barred: list[str] = []
        for index, step in enumerate(plan.steps):
            barred += [one.name for one in step.targets if self._nusd(one, now_us, is_smallest=index < unspent) > left]
        if plan.judge is not None:
            kind, tokens = judged_kind(plan.payload_type), self._needs.about_tokens
            answering = {one.name for step in plan.steps[:unspent] for one in step.targets}
            for judge in plan.judge.step.targets:
                price = state.prices.price(judge.model, now_us)
                if judge.name not in answering and state.estimate_nusd(kind, judge, tokens, price) > left:
                    barred.append(judge.name)
        return frozenset(barred) if barred else _NOBODY

    def note(self, last: Fact, attempts: int, spent_nusd: int, now_us: int) -> str:
        """Return which of its limits a call has come to, and what would go beyond it; "" = none.

        Args:
            last: The last thing that happened in the call.
            attempts: How many requests it has made.
            spent_nusd: What they cost, nano-dollars.
            now_us: Microseconds since the epoch.
        """
        plan = self._plan
        if attempts >= plan.attempts:
            return f": attempts, {plan.attempts} were made"
        if isinstance(last, Returned):  # nothing is decided there
            return ""
        if last.facts.elapsed_us >= plan.deadline_us:
            return f": deadline_s, {plan.deadline_us / 1e6:g} s are over"
        dear = [one for step in plan.steps for one in step.targets if one.name in last.facts.unaffordable]
        if not dear or plan.cost_nusd is None:
            return ""
        begins = isinstance(last, Opened)
        cost, name = min((self._nusd(target, now_us, is_smallest=begins), target.name) for target in dear)
        left, how = _usd(plan.cost_nusd - spent_nusd), "would cost at least" if begins else "is estimated at"
        whole = _usd(plan.cost_nusd)
        return f": cost_usd, {left} of {whole} USD are left and a request to {name} {how} {_usd(cost)}"

    def _nusd(self, target: PlanTarget, now_us: int, *, is_smallest: bool) -> int:
        """Return what a request to a target is expected to cost, or what the smallest one does."""
        needs, price = self._needs, self._state.prices.price(target.model, now_us)
        if is_smallest:
            return estimate(needs.least_tokens, 1, price) or 0
        return self._state.estimate_nusd(
            self._plan.payload_type, target, needs.about_tokens, price, most=needs.most_output_tokens
        )


def _step_of(fact: Fact) -> int:
    """Return the step that a fact is of; a call begins at the first."""
    return 0 if isinstance(fact, Opened) else fact.step


def _usd(nusd: int) -> str:
    return f"{nusd / NANO:.6f}".rstrip("0").rstrip(".")
