"""What a proposal says, in the words of the pages; which ones to show, and in which order.

Every function returns plain text in which names are as they were configured: what a page puts where Markdown is read
goes through ``format.markdown`` first.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dashboard import format as fmt
from optimizer.portfolio import combined
from router_core.control.records import (
    Draft,
    Entry,
    Evidence,
    Identification,
    Interval,
    ProposalKind,
    ProposalState,
    Risk,
    Totals,
)

Group = Literal["open", "snoozed", "applied", "dismissed", "expired"]
BadgeColour = Literal["green", "orange", "red", "gray", "blue"]

GROUPS: Final[Mapping[Group, tuple[ProposalState, ...]]] = {
    "open": ("open", "claimed"),
    "snoozed": ("snoozed",),
    "applied": ("applied", "watching", "confirmed", "rolled_back"),
    "dismissed": ("dismissed",),
    "expired": ("expired", "superseded"),
}
STATE_WORDS: Final[Mapping[ProposalState, str]] = {
    "open": "open",
    "claimed": "in review",
    "applied": "applied",
    "watching": "applied, being watched",
    "confirmed": "applied, confirmed",
    "rolled_back": "applied, then taken back",
    "dismissed": "dismissed",
    "snoozed": "snoozed",
    "expired": "expired",
    "superseded": "replaced by a newer one",
}
_KNOWN_BY: Final[Mapping[Identification, str]] = {
    "pairs": "both ways were tried on the same calls",
    "pairs_and_transfer": "both ways were tried on the same calls; labels of equal answers were carried over",
    "bounds": "bounds only, for some answers that differ have no label",
    "none": "not yet, for the log cannot tell",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A mark that does not rest on its colour: shape, word and colour."""

    shape: str
    word: str
    colour: BadgeColour

    @property
    def text(self) -> str:
        """Shape and word."""
        return f"{self.shape} {self.word}"


RISKS: Final[Mapping[Risk, Badge]] = {
    "low": Badge(shape="●", word="low risk", colour="green"),
    "medium": Badge(shape="▲", word="medium risk", colour="orange"),
    "high": Badge(shape="■", word="high risk", colour="red"),
}
_NO_EVIDENCE: Final = Badge(shape="○", word="not enough evidence", colour="gray")
_NEARLY_SURE: Final = 0.995
_CENT: Final = 0.01
_NOT_PROVEN: Final = Badge(shape="◌", word="not proven", colour="gray")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure of a card: what it is, its value, and how sure it is."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which proposals a reader wants to see.

    Attributes:
        risks: Risks to keep; empty = all.
        kind: Kind to keep; None = both.
        find: Text that payload type, tier or id has to contain, in any case; empty = all.
    """

    risks: tuple[str, ...] = ()
    kind: ProposalKind | None = None
    find: str = ""

    @property
    def is_set(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.risks or self.kind or self.find.strip())


def badges(draft: Draft) -> tuple[Badge, ...]:
    """Return a draft's marks: its risk, and whether the gain is more than chance."""
    if draft.kind == "evidence":
        return (_NO_EVIDENCE,)
    return (RISKS[draft.risk],) if is_proven(draft.net_usd_month) else (RISKS[draft.risk], _NOT_PROVEN)


def is_proven(interval: Interval) -> bool:
    """Return whether an interval leaves 0 out."""
    return interval.low > 0 or interval.high < 0


def path(tiers: Sequence[str]) -> str:
    """Return a path, ``cheap › top``."""
    return " › ".join(fmt.logged(tier, longest=60) for tier in tiers) or fmt.NOTHING


def headline(draft: Draft) -> str:
    """Return what changes, ``top → cheap › top``, or what shadows are to judge: the path does not change by them."""
    change = f"{path(draft.path_now)} → {path(draft.path_proposed)}"
    return f"run shadows to judge {change}" if draft.kind == "evidence" else change


def in_short(entry: Entry) -> str:
    """Return a proposal in a few words: where to, and what that brings or takes."""
    draft = entry.proposal.draft
    if draft.kind == "evidence":
        return f"needs {fmt.plural(draft.shadow_calls or 0, 'shadow')}, about {fmt.usd(draft.shadow_cost_usd)}"
    return f"→ {path(draft.path_proposed)}, {fmt.usd_signed(draft.net_usd_month.mean)} per month"


def facts(draft: Draft, spend_usd_month: float | None = None) -> tuple[Fact, ...]:
    """Return the figures of a card.

    Args:
        draft: The proposal.
        spend_usd_month: What the payload type costs now, USD per month; None = not known.
    """
    if draft.kind == "evidence":
        return _evidence_facts(draft)
    return (
        _money("Net per month", draft.net_usd_month),
        _saving(draft.saving_usd_month, spend_usd_month),
        Fact(
            label="Wrong answers",
            value=_wrong_rates(draft),
            note=f"{fmt.points_of(draft.wrong_rate_change.mean)} ({_points(draft.wrong_rate_change)})",
        ),
        _money("Error impact per month", draft.impact_usd_month),
        Fact(
            label="Latency p95",
            value=f"{fmt.latency(draft.p95_ms_now)} → {fmt.latency(draft.p95_ms_proposed)}",
            note="of whole calls",
        ),
    )


def _evidence_facts(draft: Draft) -> tuple[Fact, ...]:
    days = "" if draft.shadow_days is None else f"about {fmt.plural(max(1, round(draft.shadow_days)), 'day')}"
    return (
        Fact(label="Run", value=fmt.plural(draft.shadow_calls or 0, "shadow"), note="unserved calls, for evidence"),
        Fact(label="Costs", value=f"about {fmt.usd(draft.shadow_cost_usd)}", note="from the shadow budget"),
        Fact(label="Takes", value=days or fmt.NOTHING, note="at the present volume"),
        *(_known_so_far(draft) if draft.is_known else ()),
    )


def _known_so_far(draft: Draft) -> tuple[Fact, ...]:
    return (
        _money("Net per month, as far as known", draft.net_usd_month),
        Fact(
            label="Wrong answers",
            value=_wrong_rates(draft),
            note=f"{fmt.points_of(draft.wrong_rate_change.mean)} ({_points(draft.wrong_rate_change)})",
        ),
    )


def _money(label: str, interval: Interval) -> Fact:
    note = f"{fmt.usd_range(interval.low, interval.high)} (90%)"
    return Fact(label=label, value=fmt.usd_signed(interval.mean), note=note)


def _saving(interval: Interval, spend_usd_month: float | None) -> Fact:
    note = f"{fmt.usd_range(interval.low, interval.high)} (90%)"
    if spend_usd_month:
        verb = "saves" if interval.mean >= 0 else "adds"
        note += f" · {verb} {abs(interval.mean) / spend_usd_month:.0%} of this type's spend"
    return Fact(label="Spend saved per month", value=fmt.usd_signed(interval.mean), note=note)


def _wrong_rates(draft: Draft) -> str:
    if draft.wrong_rate_now is None:
        return fmt.NOTHING
    then = min(1.0, max(0.0, draft.wrong_rate_now + draft.wrong_rate_change.mean))
    return f"{fmt.rate(draft.wrong_rate_now)} → {fmt.rate(then)}"


def _points(interval: Interval) -> str:
    return f"{fmt.points_range(interval.low, interval.high)}, 90%"


def evidence_words(found: Evidence) -> str:
    """Return in one line what a proposal rests on."""
    parts = [
        f"{fmt.plural(found.pairs, 'pair')} ({fmt.count(found.worse)} worse, {fmt.count(found.better)} better)",
        f"{fmt.count(found.shadow_pairs)} from shadows, {fmt.count(found.escalated_pairs)} from escalations, "
        f"{fmt.count(found.transferred)} with a carried-over label",
        f"{fmt.plural(found.labels, 'label')} on {fmt.plural(found.calls, 'call')} in {fmt.plural(found.days, 'day')}",
        f"{found.prior_weight:.0%} from other payload types or a weak prior",
    ]
    return " · ".join(parts)


def known_by(draft: Draft) -> str:
    """Return how the change of the wrong rate is known."""
    return _KNOWN_BY[draft.identification]


def details(entry: Entry) -> tuple[tuple[str, str], ...]:
    """Return everything else about a proposal as (name, value)."""
    draft = entry.proposal.draft
    window = "undated evaluations"
    if draft.window_us is not None:
        first, last = draft.window_us
        window = f"{fmt.moment(first)} to {fmt.moment(last)}"
    chance = (("probability that the net is above 0", _chance(draft.p_net_positive)),) if draft.is_known else ()
    return (
        ("window", window),
        ("calls per month", fmt.count(round(draft.calls_per_month))),
        ("price of a wrong answer", fmt.usd(draft.error_cost_usd)),
        *chance,
        ("made for config version", draft.base_version),
        ("optimizer version, seed", f"{fmt.logged(draft.optimizer_version)}, {draft.seed}"),
    )


def _chance(share: float) -> str:
    # a finite number of draws is never certain
    return ">99%" if share > _NEARLY_SURE else "<1%" if share < 1 - _NEARLY_SURE else f"{share:.0%}"


def matching(entries: Sequence[Entry], wish: Wish) -> tuple[Entry, ...]:
    """Return the entries that a wish keeps, in their order."""
    sought = wish.find.strip().casefold()
    return tuple(
        entry
        for entry in entries
        if (not wish.risks or entry.proposal.draft.risk in wish.risks)
        and wish.kind in (None, entry.proposal.draft.kind)
        and sought in _searched(entry)
    )


def _searched(entry: Entry) -> str:
    draft = entry.proposal.draft
    return "\n".join((entry.proposal.proposal_id, draft.payload_type, *draft.path_now, *draft.path_proposed)).casefold()


def ranked(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return entries by the low end of their net, highest first; calls for evidence after all moves."""
    return tuple(
        sorted(
            entries,
            key=lambda entry: (
                entry.proposal.draft.kind == "evidence",
                -entry.proposal.draft.net_usd_month.low,
                entry.proposal.proposal_id,
            ),
        )
    )


def possible(entries: Collection[Entry], of_run: Totals | None = None) -> str:
    """Return what the open moves promise together.

    Args:
        entries: Open proposals.
        of_run: What the last run's moves promise together; it counts while these are the open ones, as they stand.
    """
    moves = [entry.proposal.draft for entry in entries if entry.proposal.draft.kind == "move"]
    if not moves:
        return "no open move"
    joint = of_run is not None and _is_of(of_run, moves)
    found = of_run if of_run is not None and joint else combined(moves).totals(moves)
    net, wrong = found.net_usd_month, found.wrong_rate_change
    text = (
        f"{fmt.usd_signed(net.mean)} net per month ({fmt.usd_range(net.low, net.high)}, 90%), "
        f"wrong answers {fmt.points_of(wrong.mean)} ({_points(wrong)}) of {fmt.count(round(found.calls_per_month))} "
        f"calls, from {fmt.plural(len(moves), 'open move')}"
    )
    return text if joint or len(moves) == 1 else f"{text}, taken as independent"


def _is_of(of_run: Totals, moves: Sequence[Draft]) -> bool:
    # a proposal that an earlier run has made keeps its own figures, and a total has to be the sum of what is shown
    same = sorted(of_run.payload_types) == sorted(move.payload_type for move in moves)
    net = sum(move.net_usd_month.mean for move in moves)
    return same and math.isclose(net, of_run.net_usd_month.mean, rel_tol=1e-3, abs_tol=_CENT)


def of_group(counts: Mapping[ProposalState, int], group: Group) -> int:
    """Return how many proposals are in the states of a group."""
    return sum(counts.get(state, 0) for state in GROUPS[group])
