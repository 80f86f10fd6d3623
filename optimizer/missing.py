"""Evidence that is missing: which shadows would settle an option, how many, at what price, and how long it takes."""

import math
from dataclasses import dataclass

from optimizer.facts import Facts, On
from optimizer.judge import Judged
from optimizer.paths import Option
from optimizer.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The evidence that is missing.

    Attributes:
        judged: The option that cannot be judged yet.
        tier: Index of the tier to ask.
        on: Which calls to shadow.
        pairs: Labelled pairs to add.
        shadows: Shadow calls to run for them.
        rate: Share of the calls to shadow.
        is_running: Whether the config shadows so many already.
        cost_usd: What the shadows cost, USD; None = the tier has no price.
        days: How long they take.
        potential_usd_month: What the option could well be worth, USD per month; None = not known.
        discordance: Share of pairs on which one way is right and the other wrong that was reckoned with.
        is_assumed: Whether that share is assumed, not measured.
    """

    judged: Judged
    tier: int
    on: On
    pairs: int
    shadows: int
    rate: float
    is_running: bool
    cost_usd: float | None
    days: float
    potential_usd_month: float | None
    discordance: float
    is_assumed: bool

    def is_worth(self, rules: Rules) -> bool:
        """Return whether the evidence can be had in time, for less than the move could bring in ``worth_months``."""
        if self.cost_usd is None or self.days > rules.longest_days:
            return False
        return self.potential_usd_month is None or self.cost_usd <= rules.worth_months * self.potential_usd_month


def wanted(facts: Facts, judged: Judged, rules: Rules) -> Wanted | None:
    """Return the shadows that would settle an option; None when no single tier's shadows can.

    Pairs by the fixed-n formula n = certainty x discordance / margin^2 (optimizer.md 2.7), the margin being how far the
    change of the wrong rate is from the one at which the move breaks even, at least from where it is material.
    """
    target = _shadow_of(facts, judged.question.option)
    if target is None or facts.calls_per_month <= 0:
        return None
    tier, on = target
    needed = max(math.ceil(rules.certainty * judged.discordance / _margin(facts, judged, rules) ** 2), rules.min_pairs)
    # where the formula is met and it is still not settled: as many again as are needed at least
    pairs = needed - judged.pairs if needed > judged.pairs else rules.min_pairs
    shadows = math.ceil(pairs / facts.label_rate) if facts.label_rate > 0 else pairs
    per_day = facts.calls_per_month / 30
    running = max((each.rate for each in facts.shadows if each.tier == tier and each.on in {on, "all"}), default=0.0)
    quick = math.ceil(shadows / (per_day * rules.shadow_days) / rules.shadow_rate) * rules.shadow_rate
    quick = round(min(max(quick, rules.shadow_rate), rules.max_shadow_rate), 4)
    rate = max(running, quick)
    cost = facts.tiers[tier].cost_usd
    return Wanted(
        judged=judged,
        tier=tier,
        on=on,
        pairs=pairs,
        shadows=shadows,
        rate=rate,
        is_running=running >= quick,
        cost_usd=None if cost is None else shadows * cost,
        days=shadows / (per_day * rate),
        potential_usd_month=potential(facts, judged),
        discordance=judged.discordance,
        is_assumed=not judged.seen,
    )


def _cost_change(facts: Facts, judged: Judged) -> float | None:
    """Return the change of cost per call, USD: measured, else from the tiers' own costs; None = not known."""
    if judged.costed and judged.question.calls_per_month > 0:
        return -judged.saving_usd_month.mean / judged.question.calls_per_month
    first = facts.tiers[judged.question.option.route.tiers[0]].cost_usd
    if first is None or facts.cost_usd is None or len(judged.question.option.route.tiers) > 1:
        return None
    return first - facts.cost_usd


def _margin(facts: Facts, judged: Judged, rules: Rules) -> float:
    """Return the change of the wrong rate that pairs have to tell apart, 0..1."""
    change, price = _cost_change(facts, judged), facts.error_cost_usd
    if change is None:
        return rules.usual_margin
    material = facts.material_usd_month(rules) / facts.calls_per_month
    expected = judged.wrong_change.mean if judged.seen else 0.0
    return min(max(abs(-change - price * expected), material) / price, 1.0) if price > 0 else 1.0


def bound(facts: Facts, judged: Judged) -> float | None:
    """Return more than an option without enough pairs can be worth, USD per month; None = not known.

    It costs no less than its first step, and takes away no more mistakes than there are.
    """
    first = facts.tiers[judged.question.option.route.tiers[0]].cost_usd
    if first is None or facts.cost_usd is None or facts.wrong_rate is None:
        return None
    return facts.calls_per_month * (facts.cost_usd - first + facts.error_cost_usd * facts.wrong_rate)


def potential(facts: Facts, judged: Judged) -> float | None:
    """Return what an option could well be worth, USD per month; None = not known.

    With pairs: the upper end of the net. Without: of a move down what its first step saves, of a move up the bound.
    """
    if judged.seen and judged.costed:
        return judged.net_usd_month.high
    if judged.question.option.direction == "up":
        return bound(facts, judged)
    first = facts.tiers[judged.question.option.route.tiers[0]].cost_usd
    return None if first is None or facts.cost_usd is None else facts.calls_per_month * (facts.cost_usd - first)


def _shadow_of(facts: Facts, option: Option) -> tuple[int, On] | None:
    now, then = facts.now.tiers, option.route.tiers
    if then == now[-1:]:
        # the last step's answer is missing on whatever was served before it
        return then[0], "accepted" if len(now) == len(then) + 1 else "all"
    if then[0] not in now and (len(then) == 1 or then[1:] == now):
        return then[0], "accepted" if len(now) == 1 else "all"
    return None
