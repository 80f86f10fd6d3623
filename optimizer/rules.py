"""The numbers by which a proposal is made or not."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Limits and constants of estimates and proposals.

    Attributes:
        min_pairs: Labelled pairs without which nothing is moved.
        min_accepted_pairs: Of these, pairs from calls that had not escalated, for paths of several steps.
        p_net: Probability that a move's net must have of being above 0.
        whole_interval: Whether the whole 90 % interval of the net must be above 0 as well.
        min_net_usd_month: Least net worth proposing, USD per month.
        min_net_share: The same as a share of the type's present total cost; the larger counts.
        max_unanswered: By how much the share of calls without a valid answer may grow, 0..1.
        min_coverage: Share of a stratum that must be replayable for it to count as seen.
        ignored_share: Share of a type's calls whose stratum may be unseen.
        pseudo_pairs: Pairs at the pooled discordance that smooth each variance (optimizer.md 2.2: 20).
        assumed_discordance: Share of pairs on which one path is right and the other wrong, where nothing is known.
        few_types: Below so many comparable types no spread between types is estimated; a weak prior stands in.
        weak_prior_sd: Standard deviation of that prior of the wrong-rate change, around 0.
        covariate_types: From so many types on the share of escalated calls explains part of the spread.
        widen_below: Below so many pairs intervals are widened (2.6) ...
        widen_by: ... by this factor.
        n_draws: Joint draws of every estimate.
        usual_margin: Change of the wrong rate to tell apart where break-even is not known (8.2: 2 points); also the
            change from which a move counts as harm.
        most_harm: Largest probability of harm that a move may have, whatever it saves; None = dollars alone decide.
        half_life_days: Evidence this old is worth half as much (2.5); evaluations without times do not age.
        certainty: (z_0.95 + z_0.80) squared: pairs = certainty x discordance / margin^2 (2.7).
        shadow_rate: Share of calls that an evidence proposal shadows, unless that takes longer than ``shadow_days``.
        max_shadow_rate: The largest share it asks for.
        shadow_days: In how many days the evidence should be there, days.
        longest_days: What takes longer is not proposed, days.
        worth_months: Evidence may cost what the move saves in so many months at best.
        risk_low: Risk is low up to this upper bound of the wrong-rate change ...
        risk_medium: ... medium up to this one, high above.
        inversion_change: A dearer tier worse by more than this ...
        inversion_p: ... with more than this probability points to a fault in parser or prompt (8.2).
    """

    min_pairs: int = 100
    min_accepted_pairs: int = 30
    p_net: float = 0.90
    whole_interval: bool = True
    min_net_usd_month: float = 1.0
    min_net_share: float = 0.02
    max_unanswered: float = 0.01
    min_coverage: float = 0.95
    ignored_share: float = 0.02
    pseudo_pairs: float = 20.0
    assumed_discordance: float = 0.05
    few_types: int = 4
    weak_prior_sd: float = 0.10
    covariate_types: int = 8
    widen_below: int = 100
    widen_by: float = 1.25
    n_draws: int = 2000
    usual_margin: float = 0.02
    most_harm: float | None = None
    half_life_days: float = 28.0
    certainty: float = 6.18
    shadow_rate: float = 0.05
    max_shadow_rate: float = 0.50
    shadow_days: float = 28.0
    longest_days: float = 180.0
    worth_months: float = 3.0
    risk_low: float = 0.005
    risk_medium: float = 0.02
    inversion_change: float = 0.05
    inversion_p: float = 0.99


RULES = Rules()

GUARDED = replace(RULES, most_harm=0.03, p_net=0.85, whole_interval=False, min_pairs=30)
"""No move that may well be harmful, whatever it saves; in return, fewer pairs are asked for.

With twelve weekly looks at types half of which lose nothing, a limit of 3 % keeps the share of harmful moves below 5 %.
"""
