"""The log and the config → drafts of proposals and a verdict on every payload type.

::

    propose(home, config, now_us=...) -> Sheet       one short read of the log; nothing is written
    sheet.drafts, sheet.verdicts                     what ``Desk.publish`` takes
    sheet.portfolio() -> Portfolio                   totals of the moves, from joint draws
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from optimizer.answers import Table, tabulate
from optimizer.drafting import Context, draft_of, sentence
from optimizer.facts import Facts
from optimizer.fitting import Calibrated, calibrations, cuts, halves, ladder_of
from optimizer.identify import fair_labels
from optimizer.judge import Judged, Question, Samples, judge
from optimizer.log_facts import newest_call_us, read_facts
from optimizer.market import Market, make_market
from optimizer.paths import Cut, Option, fitted_option, options_of, shadow_edits
from optimizer.portfolio import Portfolio, total
from optimizer.replay import Floats
from optimizer.rules import RULES, Rules
from optimizer.solve import Decision, decide
from router_core.call_log.home import Home
from router_core.call_log.read import reading
from router_core.call_log.reports import imported_scale
from router_core.config import RoutingConfig
from router_core.control.records import Draft, Totals, Verdict

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What one run of the optimizer says.

    Attributes:
        drafts: At most one per payload type, ordered by it.
        verdicts: One per payload type of the config and of the log, ordered by it.
        window_us: First and last instant of the window; None = there are no calls with times in it.
        seed: Seed of all draws.
        samples: Joint draws behind each move, by payload type.
        calibrations: Files that drafts name, by id: they have to be there before the drafts are on offer.
    """

    drafts: tuple[Draft, ...]
    verdicts: tuple[Verdict, ...]
    window_us: tuple[int, int] | None
    seed: int
    samples: Mapping[str, Samples] = field(default_factory=dict[str, Samples], repr=False)
    calibrations: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)

    def portfolio(self, drafts: Iterable[Draft] | None = None, volumes: Mapping[str, float] | None = None) -> Portfolio:
        """Return totals over moves of this run, with 90 % predictive intervals from joint draws.

        Args:
            drafts: Which; None = all moves.
            volumes: Calls per payload type that the totals are for; None = a month's.
        """
        moves = [draft for draft in (self.drafts if drafts is None else drafts) if draft.kind == "move"]
        return total(moves, self.samples, volumes or {}, np.random.default_rng([self.seed, 1]))

    def totals(self) -> Totals | None:
        """Return what all moves promise together, as ``Desk.publish`` stores it; None = there are none."""
        moves = [draft for draft in self.drafts if draft.kind == "move"]
        return self.portfolio().totals(moves) if moves else None


def propose(
    home: Home,
    config: RoutingConfig,
    *,
    now_us: int,
    window_days: int = 56,
    seed: int = 0,
    error_cost_usd: float | None = None,
    rules: Rules = RULES,
) -> Sheet:
    """Return what to do about every payload type.

    Args:
        home: The home of the log.
        config: The routing config in force, as read from its file.
        now_us: End of the window, microseconds since the epoch.
        window_days: Its length.
        seed: Seed of all draws; the same log, config and seed give the same sheet.
        error_cost_usd: Price of a wrong answer for payload types without one, USD.
        rules: Constants.

    Raises:
        NoLogError: There is no log.
        LogBusyError: It stayed locked.
    """
    window = (now_us - window_days * DAY_US, now_us)
    with reading(home) as log:
        facts, scale = read_facts(log, *window), imported_scale(log)
    market = make_market(facts, config, window, scale, error_cost_usd)
    table = tabulate(market.answers(facts, now_us, rules.half_life_days), len(config.tiers))
    table, choice = fair_labels(table)
    context = Context(
        tiers=config.tier_names,
        base_version=config.content_hash,
        window_us=window,
        undated=market.undated,
        volume_given=scale is not None,
        shadow_budget_usd=None if config.shadow_budget is None else float(config.shadow_budget.usd),
        error_price_given=market.error_price_given,
        seed=seed,
        rules=rules,
        chosen_ratio=None if choice.is_fair else choice.ratio,
    )
    found = calibrations(market.scored(facts), market.names, _judge_name(config), seed)
    judged = _judge_all(table, market, config, found, seed, rules)
    return _Writer(market, config, context, found).sheet(judged)


def newest_us(home: Home) -> int | None:
    """Return the instant of the latest call in the log, microseconds since the epoch; None without dated calls."""
    with reading(home) as log:
        return newest_call_us(log)


def _judge_name(config: RoutingConfig) -> str | None:
    """Return who judges, where there is one target that may; of several the log does not say which one did."""
    targets = () if config.judge is None else config.tiers[config.judge.tier]
    return targets[0].model if len(targets) == 1 else None


def _judge_all(
    table: Table,
    market: Market,
    config: RoutingConfig,
    found: Mapping[str, Calibrated],
    seed: int,
    rules: Rules,
) -> dict[str, tuple[Judged, ...]]:
    """Return the judged options of each payload type that can be judged."""
    calls = _cells(market, table.type, table.group, table.stratum)
    asked: defaultdict[tuple[tuple[int, ...], tuple[int, ...]], list[Question]] = defaultdict(list)
    for name, each in market.facts.items():
        plan = market.plans[name]
        for option in options_of(config, name, plan, market.tier_steps):
            if not _can_cascade(each, option):
                continue
            asked[(each.now.tiers, option.route.tiers)].append(_question(market, name, option))
    judged: defaultdict[int, list[Judged]] = defaultdict(list)
    for (now, then), questions in sorted(asked.items()):
        # each comparison has draws of its own, whatever others there are
        rng = np.random.default_rng([seed, len(now), *now, *then])
        for each in judge(table, calls, tuple(questions), rng, rules):
            judged[each.question.type].append(each)
    first, second = halves(table)
    for (now, then), questions in sorted(_fitted_questions(first, market, config, found).items()):
        rng = np.random.default_rng([seed, 1, len(now), *now, *then])
        for each in judge(second, calls, tuple(questions), rng, rules):
            judged[each.question.type].append(each)
    return {name: tuple(judged[market.index[name]]) for name in market.facts}


def _fitted_questions(
    table: Table, market: Market, config: RoutingConfig, found: Mapping[str, Calibrated]
) -> dict[tuple[tuple[int, ...], tuple[int, ...]], list[Question]]:
    """Return what to ask about thresholds that are fitted on these calls: of the present path and of others."""
    kept = {name: each for name, each in found.items() if name in market.facts}
    ladder = ladder_of(table, market.names, market.costs()) if kept else None
    asked: defaultdict[tuple[tuple[int, ...], tuple[int, ...]], list[Question]] = defaultdict(list)
    by_path: dict[tuple[int, ...], dict[str, Cut]] = {}
    prices = market.prices()
    for name, calibrated in kept.items() if ladder is not None else ():
        facts, plan = market.facts[name], market.plans[name]
        others: list[Option | None] = [None, *options_of(config, name, plan, market.tier_steps)]
        for other in others:
            route = facts.now if other is None else other.route
            if ladder is None or len(route.tiers) == 1:
                continue
            if route.tiers not in by_path:
                by_path[route.tiers] = cuts(ladder, route.tiers, prices, market.names, config.tier_names, kept)
            cut = by_path[route.tiers].get(name)
            if cut is None:
                continue
            option = fitted_option(config, name, other, cut, calibrated.calibration_id, route)
            if option.edits:
                asked[(facts.now.tiers, route.tiers)].append(_question(market, name, option))
    return asked


def _question(market: Market, name: str, option: Option) -> Question:
    facts = market.facts[name]
    return Question(
        type=market.index[name],
        now=facts.now,
        option=option,
        accepts_missing=market.plans[name].on_missing == "accept",
        calls_per_month=facts.calls_per_month,
        error_cost_usd=facts.error_cost_usd,
    )


def _can_cascade(facts: Facts, option: Option) -> bool:
    """Return whether a new first step's answers can be told good from bad: not if none of those seen was scored."""
    first = option.route.tiers[0]
    tier = facts.tiers[first]
    return len(option.route.tiers) == 1 or first in facts.now.tiers or tier.is_scored or tier.is_unseen


def _cells(market: Market, kind: np.ndarray, group: np.ndarray, stratum: np.ndarray) -> Floats:
    """Return the calls of each type, group and stratum: those that went up are all in the table, the rest did not."""
    cells = np.zeros((len(market.index), market.n_groups, 2))
    escalated = np.zeros_like(cells[:, :, 0])
    np.add.at(escalated, (kind[stratum == 1], group[stratum == 1]), 1.0)
    cells[:, :, 1] = escalated
    cells[:, :, 0] = np.maximum(market.group_calls - escalated, 0.0)
    return cells


class _Writer:
    """Turns judgements into the sheet."""

    def __init__(
        self, market: Market, config: RoutingConfig, context: Context, found: Mapping[str, Calibrated]
    ) -> None:
        self._market = market
        self._config = config
        self._context = context
        self._drafts: list[Draft] = []
        self._verdicts: list[Verdict] = []
        self._samples: dict[str, Samples] = {}
        self._found = found
        self._named: dict[str, bytes] = {}

    def sheet(self, judged: Mapping[str, Sequence[Judged]]) -> Sheet:
        for name in self._market.names:
            excuse = self._market.excuses.get(name)
            if excuse is not None:
                self._verdicts.append(Verdict(payload_type=name, verdict=excuse.verdict, text=excuse.text))
                continue
            facts = self._market.facts[name]
            decision = decide(facts, tuple(judged[name]), self._context.rules)
            self._draft(facts, decision)
            text = sentence(facts, decision, self._context)
            self._verdicts.append(Verdict(payload_type=name, verdict=decision.verdict, text=text))
        return Sheet(
            drafts=tuple(self._drafts),
            verdicts=tuple(self._verdicts),
            window_us=self._context.window_us if self._market.has_dated else None,
            seed=self._context.seed,
            samples=self._samples,
            calibrations=self._named,
        )

    def _draft(self, facts: Facts, decision: Decision) -> None:
        if decision.verdict == "move" and decision.chosen is not None:
            self._samples[facts.name] = decision.chosen.samples
            if decision.chosen.question.option.calibration is not None:
                calibrated = self._found[facts.name]
                self._named[calibrated.calibration_id] = calibrated.data
            self._drafts.append(draft_of(facts, decision.chosen, self._context))
        plan = decision.wanted
        if decision.verdict != "not_enough_evidence" or plan is None or not plan.is_worth(self._context.rules):
            return
        if plan.is_running:
            return
        # a day's shadows with room for busy days, in full cents
        daily = max(round(1.5 * (plan.cost_usd or 0.0) / max(plan.days, 1.0) + 0.005, 2), 0.10)
        rule = {"tier": self._context.tiers[plan.tier], "on": plan.on, "rate": plan.rate}
        edits = shadow_edits(self._config, facts.name, rule, daily)
        self._drafts.append(draft_of(facts, plan.judged, self._context, kind="evidence", edits=edits, wanted=plan))
