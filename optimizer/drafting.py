"""Decisions → drafts and sentences."""

from dataclasses import dataclass
from typing import Final

from optimizer.facts import Facts
from optimizer.judge import Judged
from optimizer.missing import Wanted
from optimizer.paths import Option, Route
from optimizer.rules import Rules
from optimizer.solve import Decision, risk_of
from router_core.control.records import ConfigEdit, Draft, Evidence, Identification, ProposalKind

OPTIMIZER_VERSION: Final = "1"
_UNDATED: Final = "the evidence is an evaluation without times: calls to come are taken to be like it"
_CENT: Final = 0.01
_WORTH_SAYING: Final = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What all drafts of a run share.

    Attributes:
        tiers: Names of the tiers, cheapest first.
        base_version: ``config_version`` of the config.
        window_us: First and last instant of the window.
        undated: Payload types whose evidence is an evaluation without times.
        volume_given: Whether the volume of those is known; else their number of calls stands for a month.
        shadow_budget_usd: What all shadows together may cost a day, USD; None = the config has no such budget.
        error_price_given: Payload types whose error price was given for this run, not by the config.
        seed: Seed of all draws.
        rules: Constants.
        chosen_ratio: How much more often calls are labelled on which tiers differ, where labels are certainly no fair
            sample; None = nothing speaks against it.
    """

    tiers: tuple[str, ...]
    base_version: str
    window_us: tuple[int, int]
    undated: frozenset[str]
    volume_given: bool
    shadow_budget_usd: float | None
    error_price_given: frozenset[str]
    seed: int
    rules: Rules
    chosen_ratio: float | None = None

    def names(self, route: Route) -> tuple[str, ...]:
        """Return the names of a route's tiers."""
        return tuple(self.tiers[tier] for tier in route.tiers)


def draft_of(
    facts: Facts,
    judged: Judged,
    context: Context,
    *,
    kind: ProposalKind = "move",
    edits: tuple[ConfigEdit, ...] | None = None,
    wanted: Wanted | None = None,
) -> Draft:
    """Return the draft of a move, or of the evidence that is missing for one."""
    question = judged.question
    return Draft(
        kind=kind,
        payload_type=facts.name,
        direction=question.option.direction,
        path_now=context.names(question.now),
        path_proposed=context.names(question.option.route),
        edits=question.option.edits if edits is None else edits,
        base_version=context.base_version,
        window_us=None if facts.name in context.undated else context.window_us,
        calls_per_month=facts.calls_per_month,
        error_cost_usd=facts.error_cost_usd,
        saving_usd_month=judged.saving_usd_month,
        wrong_rate_now=facts.wrong_rate,
        wrong_rate_change=judged.wrong_change,
        impact_usd_month=judged.impact_usd_month,
        net_usd_month=judged.net_usd_month,
        p_net_positive=judged.p_net_positive,
        p95_ms_now=facts.p95_ms,
        p95_ms_proposed=judged.p95_ms,
        evidence=Evidence(
            pairs=judged.pairs,
            worse=judged.worse,
            better=judged.better,
            escalated_pairs=judged.pairs - judged.accepted,
            shadow_pairs=judged.with_shadow,
            transferred=judged.transferred,
            labels=facts.labels,
            calls=facts.calls,
            days=facts.days,
            prior_weight=judged.prior_weight,
        ),
        identification=_identification(judged),
        assumptions=_assumptions(facts, judged, context, wanted),
        risk=risk_of(judged, context.rules),
        shadow_calls=None if wanted is None else wanted.shadows,
        shadow_cost_usd=None if wanted is None else wanted.cost_usd,
        shadow_days=None if wanted is None else wanted.days,
        seed=context.seed,
        optimizer_version=OPTIMIZER_VERSION,
    )


def sentence(facts: Facts, decision: Decision, context: Context) -> str:
    """Return why a decision was taken, in one sentence."""
    if decision.verdict == "move" and decision.chosen is not None:
        return _move(decision.chosen, context)
    if decision.verdict == "not_enough_evidence":
        return _missing(facts, decision, context)
    return _hold(facts, decision, context)


def fitted_thresholds(option: Option) -> tuple[float, ...]:
    """Return the calibrated confidences at which an option with fitted thresholds serves each step but the last."""
    for edit in option.edits:
        if edit.path[-1] == "path":
            return tuple(item["accept_at"] for item in edit.after[:-1])
    return ()


def path_text(names: tuple[str, ...]) -> str:
    """Return a path as text; arrows are for changes."""
    return " > ".join(names)


def usd(value: float) -> str:
    """Return USD as text, to the cent where that says something."""
    if value != 0 and abs(value) < _CENT:
        return f"{'-' if value < 0 else ''}${abs(value):.4f}"
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"


def _identification(judged: Judged) -> Identification:
    if not judged.seen or not judged.pairs:
        return "none"
    if judged.unknown:
        return "bounds"
    return "pairs_and_transfer" if judged.transferred else "pairs"


def _change(judged: Judged, context: Context) -> str:
    question = judged.question
    now, then = path_text(context.names(question.now)), path_text(context.names(question.option.route))
    if question.option.calibration is None:
        return f"{now} to {then}"
    cuts = ", ".join(f"{value:.2f}" for value in fitted_thresholds(question.option))
    return (
        f"{now} to {then}, accepted from a calibrated {cuts}"
        if now != then
        else f"{then}, accepted from a calibrated {cuts}"
    )


def _range(judged: Judged) -> str:
    net = judged.net_usd_month
    return f"{usd(net.mean)} a month (90 %: {usd(net.low)} to {usd(net.high)})"


def _move(judged: Judged, context: Context) -> str:
    wrong = judged.wrong_change
    points = f"{100 * wrong.mean:+.2f} pp ({100 * wrong.low:+.2f} to {100 * wrong.high:+.2f})"
    return (
        f"{_change(judged, context)} saves {_range(judged)} net of mistakes; wrong answers change by {points},"
        f" on {judged.pairs:,} pairs"
    )


def _hold(facts: Facts, decision: Decision, context: Context) -> str:
    judged = decision.chosen
    least = usd(facts.material_usd_month(context.rules))
    if judged is None:
        return f"no other path could be worth {least} a month"
    if decision.obstacle == "slow":
        p95, allowed = (judged.p95_ms or 0.0) / 1000, facts.latency_slo_s or 0.0
        return f"{_change(judged, context)} would take p95 to {p95:.1f} s, above the {allowed:g} s allowed"
    if decision.obstacle == "invalid":
        tier = context.tiers[judged.question.option.route.tiers[0]]
        return f"{_change(judged, context)}: too many answers of {tier} fail their checks"
    if decision.obstacle == "harmful":
        share = f"{100 * judged.p_harm:.0f} %"
        return f"{_change(judged, context)}: with {share} probability more than 2 points more answers would be wrong"
    return f"nothing worth {least} a month is to be won: {_change(judged, context)} would bring {_range(judged)}"


def _missing(facts: Facts, decision: Decision, context: Context) -> str:
    plan = decision.wanted
    labels = "" if facts.label_rate > 0 else "; labels are needed too: none of its calls has one"
    if facts.has_unknown_chance and context.chosen_ratio is not None:
        labels = (
            f"; its labels are no fair sample: calls on which tiers differ have one {context.chosen_ratio:.1f} times as"
            " often as others, and only labels with a label_propensity count"
        )
    if plan is None:
        about = f" for {_change(decision.chosen, context)}" if decision.chosen is not None else ""
        return f"the log cannot tell{about}: no single tier's shadows would{labels}"
    price = "at an unknown price" if plan.cost_usd is None else f"about {usd(plan.cost_usd)}"
    share = f"{100 * plan.discordance:.1f} % of pairs {'assumed' if plan.is_assumed else 'found'} to differ"
    run = "let the shadows that are set go on for" if plan.is_running else "run"
    text = (
        f"{run} {plan.shadows:,} shadow calls of {context.tiers[plan.tier]}, {price}, {_days(plan.days)} at"
        f" {100 * plan.rate:g} % of its calls, to judge {_change(plan.judged, context)} ({share}){labels}"
    )
    if plan.days > context.rules.longest_days:
        return f"{text}; that is too long to wait for"
    if not plan.is_worth(context.rules) and plan.potential_usd_month is not None:
        return f"{text}; hardly worth it: about {usd(plan.potential_usd_month)} a month could be won"
    return text


def _budget(context: Context, wanted: Wanted | None) -> str:
    if wanted is None or context.shadow_budget_usd is None:
        return ""
    daily = usd((wanted.cost_usd or 0.0) / max(wanted.days, 1.0))
    return f"these shadows take {daily} a day of the {usd(context.shadow_budget_usd)} that all shadows may cost"


def _days(days: float) -> str:
    return "1 day" if days <= 1 else f"{days:,.0f} days"


def _assumptions(facts: Facts, judged: Judged, context: Context, wanted: Wanted | None) -> tuple[str, ...]:
    question, rules = judged.question, context.rules
    price, volume = usd(facts.error_cost_usd), "" if context.volume_given else "; their number stands for a month's"
    is_cascade = len(question.now.tiers) > 1 or len(question.option.route.tiers) > 1
    borrowed = f"{100 * judged.prior_weight:.0f} % of the estimate"
    prior = f"a prior around 0 ± {100 * rules.weak_prior_sd:.0f} points"
    sentences = (
        (
            facts.name in context.error_price_given,
            f"a wrong answer costs {price}, as given for this run: the config has no price",
        ),
        (facts.name in context.undated, _UNDATED + volume),
        (
            facts.has_unknown_chance and context.chosen_ratio is not None,
            "labels whose chance of being drawn is not known are no fair sample and are left out",
        ),
        (
            facts.has_unknown_chance and context.chosen_ratio is None,
            "labels whose chance of being drawn is not known are taken as a fair sample",
        ),
        (wanted is not None and not facts.labels, "labels are needed too: none of its calls has one"),
        (wanted is not None and context.shadow_budget_usd is not None, _budget(context, wanted)),
        (judged.unknown > 0, f"{judged.unknown:,} pairs whose label is only bounded count against the move"),
        (
            is_cascade and question.option.calibration is None,
            "the thresholds are what they are now: they mean what they meant in the window",
        ),
        (
            question.option.calibration is not None,
            f"thresholds are on the scale of calibration {question.option.calibration}; they were found on one half of"
            " the pairs and judged on the other",
        ),
        (
            judged.seen and judged.prior_weight >= _WORTH_SAYING,
            f"{borrowed} comes from other payload types or a weak prior",
        ),
        (not judged.seen and not judged.pairs, f"nothing is known of the change yet but {prior}"),
        (
            not judged.seen and judged.pairs > 0,
            f"its pairs cover only a part of the calls: of the change as a whole nothing is known but {prior}",
        ),
        (facts.degraded > 0, f"{facts.degraded:,} calls that a limit moved off their path are left out"),
        (facts.critical, "critical: limits never move this type, so look twice before you do"),
        (
            judged.p_inverted > rules.inversion_p,
            "inversion: the dearer path is clearly worse; check its prompt and the parsing of its answers",
        ),
    )
    return tuple(text for holds, text in sentences if holds)
