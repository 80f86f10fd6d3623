"""Frozen records of the control state: proposals, their states, versions of the config, the audit.

Money is USD (``*_usd``) as floats: estimates, not bookings. Rates are fractions. Instants are microseconds since the
epoch, UTC (``*_us``). ``*_month`` is 30 days at the volume of the evidence's window.
"""

from dataclasses import dataclass
from typing import Any, Literal

from router_core.config.tree import Location

ProposalState = Literal[
    "open",
    "claimed",
    "applied",
    "watching",
    "confirmed",
    "rolled_back",
    "dismissed",
    "snoozed",
    "expired",
    "superseded",
]
ProposalKind = Literal["move", "evidence"]
Direction = Literal["up", "down", "threshold"]
Risk = Literal["low", "medium", "high"]
Identification = Literal["pairs", "pairs_and_transfer", "bounds", "none"]
RoleName = Literal["viewer", "analyst", "approver", "admin"]
ChangeKind = Literal["first", "hand", "apply", "undo", "rollback"]
VerdictKind = Literal["move", "hold", "not_enough_evidence", "no_error_price", "blocked", "no_calls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A prediction.

    Attributes:
        mean: Expected value.
        low: 5 % quantile of the prediction.
        high: 95 % quantile of it: together a 90 % predictive interval.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEdit:
    """One value of the routing config to replace, as ``control.splice`` takes it.

    Attributes:
        path: Keys and list positions from the top.
        before: Plain data found there; None = the key is not there.
        after: Plain data to be there; None = the key is to go.
    """

    path: Location
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a proposal rests on.

    Attributes:
        pairs: Calls on which both the present and the proposed way are labelled.
        worse: Pairs on which the proposed way is wrong and the present one right.
        better: Pairs the other way round.
        escalated_pairs: Pairs from calls that had escalated.
        shadow_pairs: Pairs from shadows.
        transferred: Pairs in which a label was carried over because the answers were the same or the served was right.
        labels: Labelled served calls of the type in the window.
        calls: Calls of the type in the window.
        days: Days with calls in the window.
        prior_weight: Share of the estimate that comes from other payload types, 0..1.
    """

    pairs: int
    worse: int
    better: int
    escalated_pairs: int
    shadow_pairs: int
    transferred: int
    labels: int
    calls: int
    days: int
    prior_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A proposal before it has an id.

    Attributes:
        kind: ``move`` changes the path; ``evidence`` adds shadows, because a move cannot be judged yet.
        payload_type: What it is about.
        direction: Where the first tier goes; ``threshold`` = it stays, and only thresholds change.
        path_now: Tiers of the present path.
        path_proposed: Tiers of the path it is about (of an ``evidence`` proposal: the one that would be judged).
        edits: The minimal change of the config.
        base_version: ``config_version`` it was made for.
        window_us: First and last instant of the evidence, microseconds; None = undated evaluations.
        calls_per_month: Volume that all monthly figures refer to.
        error_cost_usd: Price of a wrong answer.
        saving_usd_month: Spend saved; negative = spends more.
        wrong_rate_now: Wrong rate of the present way.
        wrong_rate_change: Change of the wrong rate, proposed - present.
        impact_usd_month: Change of error impact; positive = mistakes cost more.
        net_usd_month: Total cost saved: saving - impact.
        p_net_positive: Probability that the net is above 0.
        p95_ms_now: p95 of call latency now.
        p95_ms_proposed: The same expected after the move.
        evidence: What it rests on.
        identification: How the change of the wrong rate is known.
        assumptions: What has to be taken for granted, in sentences.
        risk: By the upper bound of ``wrong_rate_change``.
        shadow_calls: Of ``evidence``: shadows to run.
        shadow_cost_usd: Of ``evidence``: what they cost.
        shadow_days: Of ``evidence``: how long they take.
        seed: Seed of all draws.
        optimizer_version: What computed it.
    """

    kind: ProposalKind
    payload_type: str
    direction: Direction
    path_now: tuple[str, ...]
    path_proposed: tuple[str, ...]
    edits: tuple[ConfigEdit, ...]
    base_version: str
    window_us: tuple[int, int] | None
    calls_per_month: float
    error_cost_usd: float | None
    saving_usd_month: Interval
    wrong_rate_now: float | None
    wrong_rate_change: Interval
    impact_usd_month: Interval
    net_usd_month: Interval
    p_net_positive: float
    p95_ms_now: float | None
    p95_ms_proposed: float | None
    evidence: Evidence
    identification: Identification
    assumptions: tuple[str, ...]
    risk: Risk
    shadow_calls: int | None = None
    shadow_cost_usd: float | None = None
    shadow_days: float | None = None
    seed: int
    optimizer_version: str

    @property
    def is_known(self) -> bool:
        """Whether the log says what the change would do; else savings, rates and net are those of a prior alone."""
        return self.identification != "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What all moves of one run promise together, from joint draws.

    Attributes:
        payload_types: The types that move.
        calls_per_month: Their calls.
        net_usd_month: Change of total cost, a gain being positive.
        wrong_rate_change: Change of the wrong rate over all these calls.
    """

    payload_types: tuple[str, ...]
    calls_per_month: float
    net_usd_month: Interval
    wrong_rate_change: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one run of the optimizer says about one payload type.

    Attributes:
        payload_type: The type.
        verdict: ``blocked`` = a proposal of it is being applied or watched, or was turned down not long ago.
        text: Why, one sentence.
        proposal_id: The proposal on offer for it, if there is one.
    """

    payload_type: str
    verdict: VerdictKind
    text: str
    proposal_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A draft that was published: immutable from then on.

    Attributes:
        proposal_id: ``P-0001``, counted per home.
        created_us: When it was published.
        expires_us: When it stops being on offer.
        draft: What it says.
    """

    proposal_id: str
    created_us: int
    expires_us: int
    draft: Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A proposal and where it stands.

    Attributes:
        proposal: The proposal.
        state: Its state.
        since_us: Since when.
        by: Who moved it there; None = the program.
        reason: Why.
        until_us: Of ``snoozed``, ``claimed`` and ``watching``: when that ends by itself.
        seq: Of ``applied`` and what follows: sequence number of the config version that it made.
    """

    proposal: Proposal
    state: ProposalState
    since_us: int
    by: str | None = None
    reason: str | None = None
    until_us: int | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts.

    Attributes:
        name: Name or address, as audited.
        role: What they may do.
        auth: How that is known: ``local`` (page on loopback), ``command``, ``oidc``, ``none`` (nothing is allowed).
    """

    name: str
    role: RoleName
    auth: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigVersion:
    """One version of the routing config, as history knows it.

    Attributes:
        seq: Sequence number, in the order in which versions were first seen.
        version: Content hash: the ``config_version`` of the log.
        since_us: When it was first seen or written.
        kind: How it came about.
        by: Who, where that is known.
        reason: Why, where that is known.
        proposal_ids: Proposals it applies, or takes back.
    """

    seq: int
    version: str
    since_us: int
    kind: ChangeKind
    by: str | None = None
    reason: str | None = None
    proposal_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One thing that somebody did, or was refused to do.

    Attributes:
        seq: Position in the audit.
        at_us: When.
        who: The actor's name.
        role: The actor's role.
        auth: How the actor was known.
        action: ``apply``, ``undo``, ``rollback``, ``claim``, ``release``, ``dismiss``, ``snooze``, ``propose``;
            ``hand`` for an edit of the file by hand, noted when it was first seen.
        result: ``done``, ``already``, ``refused``, ``conflict``; of a change that a crash cut off:
            ``recovered`` (it had taken place) or ``abandoned`` (it had not).
        proposal_ids: What it was about.
        reason: Why, in the actor's words.
        before: Config version before.
        after: Config version after.
        diff: The change as a unified diff of the file.
        detail: What a refusal or a conflict said.
        hash: SHA-256 over this row and the hash of the one before it.
    """

    seq: int
    at_us: int
    who: str
    role: str
    auth: str
    action: str
    result: str
    proposal_ids: tuple[str, ...] = ()
    reason: str | None = None
    before: str | None = None
    after: str | None = None
    diff: str | None = None
    detail: str | None = None
    hash: str = ""
