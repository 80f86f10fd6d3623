"""Proposals, versions of the config and the audit as text for a terminal. Names and reasons in it are anybody's."""

import datetime as dt
from collections.abc import Mapping, Sequence

from optimizer.lifecycle import Done, Head, Review
from router_core.call_log.terminal import number, percent, safe, table
from router_core.control.records import AuditRow, ConfigVersion, Draft, Entry, Interval, ProposalState

_LONGEST_LINE = 2_000
_NEARLY_SURE = 0.995


def proposals_text(entries: Sequence[Entry], counts: Mapping[ProposalState, int], now_us: int) -> str:
    """Return a table of proposals, and how many there are in each state."""
    tally = " · ".join(f"{state.replace('_', ' ')} {count:,}" for state, count in counts.items() if count)
    if not entries:
        return f"No proposals to show ({tally})." if tally else "No proposals yet. Look for some: tierwise propose"
    headers = ("id", "state", "payload type", "change", "saving/month", "net/month", "wrong", "pairs", "risk", "until")
    cells = [_cells(entry, now_us) for entry in entries]
    return f"{table(headers, cells, left=4)}\n\n{tally}"


def proposal_text(entry: Entry, review: Review | None) -> str:
    """Return one proposal with its evidence, and the change that it would make now."""
    draft, evidence = entry.proposal.draft, entry.proposal.draft.evidence
    lines = [
        f"{entry.proposal.proposal_id}  {draft.payload_type}: {_change(draft)}",
        f"state          {_standing(entry)}",
        f"published      {_instant(entry.proposal.created_us)}, expires {_instant(entry.proposal.expires_us)}",
        *_promise(draft),
        f"evidence       {evidence.pairs:,} pairs ({evidence.worse:,} worse, {evidence.better:,} better;"
        f" {evidence.shadow_pairs:,} from shadows, {evidence.escalated_pairs:,} from escalations,"
        f" {evidence.transferred:,} with a label carried over), {evidence.calls:,} calls on {evidence.days} days,"
        f" {percent(evidence.prior_weight, 0)} from other payload types or a weak prior",
        f"risk           {draft.risk}; known by {draft.identification.replace('_', ' ')}"
        if draft.is_known
        else "risk           not known yet",
        *(f"taken as given {each}" for each in draft.assumptions),
        f"made for       config {draft.base_version}, seed {draft.seed}, optimizer {draft.optimizer_version}",
    ]
    if draft.shadow_calls:
        lines.append(f"to find out    {draft.shadow_calls:,} shadow calls, about {_money(draft.shadow_cost_usd)}")
    return "\n".join([*map(_line, lines), *(() if review is None else ("", review_text(review)))])


def review_text(review: Review) -> str:
    """Return a change as it would be made now."""
    if review.refusal is not None:
        return safe_lines(f"It cannot be applied now: {review.refusal}")
    stale = ["The config has changed since this was proposed. The change as it would be now:"] * review.stale
    return "\n".join([*stale, safe_lines(review.diff), f"reason: {_line(review.reason)}"])


def done_text(done: Done, what: str) -> str:
    """Return what became of a change."""
    if done.result == "already":
        return f"{what} before: version {done.seq} ({done.version}). Nothing was changed now."
    note = f"\nNote: {_line(done.note)}" if done.note else ""
    return f"{what}: version {done.seq} ({done.version}). Running routers use it within a second.{note}"


def history_text(head: Head, versions: Sequence[ConfigVersion]) -> str:
    """Return what runs now, and a table of versions."""
    not_taken_in = "not in history yet" if head.kind == "first" else "a hand edit that is not in history yet"
    now = not_taken_in if head.seq is None else f"version {head.seq}"
    lines = [f"{head.path}: {now} ({head.version}), {head.kind}, since {_instant(head.since_us)}"]
    if not head.version:
        lines = [head.problem or "the routing config cannot be read"]
        if not versions:
            return safe_lines(lines[0])
    elif head.problem is not None:
        lines.append(f"Routers refuse it and keep the version before: {head.problem}")
    headers = ("seq", "version", "since", "kind", "by", "proposals", "reason")
    cells = [
        (each.seq, each.version, _instant(each.since_us), each.kind, each.by, ", ".join(each.proposal_ids), each.reason)
        for each in versions
    ]
    return "\n".join([*(safe_lines(line) for line in lines), "", table(headers, cells, left=7)])


def audit_text(rows: Sequence[AuditRow], broken: int | None) -> str:
    """Return a table of audit rows, and whether the chain holds."""
    headers = ("seq", "at", "who", "role", "action", "result", "proposals", "before", "after", "reason", "detail")
    cells = [
        (
            row.seq,
            _instant(row.at_us),
            row.who,
            row.role,
            row.action,
            row.result,
            ", ".join(row.proposal_ids),
            row.before,
            row.after,
            row.reason,
            row.detail,
        )
        for row in rows
    ]
    chain = "The chain holds." if broken is None else f"TAMPERED WITH: row {broken} is not as it was written."
    return f"{table(headers, cells, left=11)}\n\n{chain}"


def safe_lines(text: str) -> str:
    """Return text of many lines made safe line by line."""
    return "\n".join(_line(line) for line in text.splitlines())


def _cells(entry: Entry, now_us: int) -> tuple[object, ...]:
    draft = entry.proposal.draft
    ends_us = entry.until_us or (entry.proposal.expires_us if entry.state == "open" else None)
    left = "-" if ends_us is None else f"{max(0, ends_us - now_us) / 86_400e6:.0f} d"
    return (
        entry.proposal.proposal_id,
        entry.state.replace("_", " "),
        draft.payload_type,
        _change(draft),
        *(
            (_usd(draft.saving_usd_month), _usd(draft.net_usd_month), _points(draft.wrong_rate_change))
            if draft.is_known
            else ("-", "-", "-")
        ),
        f"{draft.evidence.pairs:,}",
        draft.risk if draft.is_known else "-",
        left,
    )


def _change(draft: Draft) -> str:
    if draft.kind == "evidence":
        return f"run shadows to judge {' > '.join(draft.path_now)} to {' > '.join(draft.path_proposed)}"
    return f"{' > '.join(draft.path_now)} to {' > '.join(draft.path_proposed)}"


def _promise(draft: Draft) -> tuple[str, ...]:
    now = f"wrong rate     {percent(draft.wrong_rate_now)} now"
    if not draft.is_known:
        return (
            "saving, net    not known: the log cannot tell what the change would do",
            f"{now}, at {_price(draft.error_cost_usd)} per wrong answer and {draft.calls_per_month:,.0f} calls a month",
        )
    return (
        f"saving         {_usd(draft.saving_usd_month)} a month at {draft.calls_per_month:,.0f} calls",
        f"error impact   {_usd(draft.impact_usd_month)} a month, at {_price(draft.error_cost_usd)} per wrong answer",
        f"net            {_usd(draft.net_usd_month)} a month; positive with {_chance(draft.p_net_positive)}",
        f"{now}, change {_points(draft.wrong_rate_change)}",
        f"p95 latency    {_ms(draft.p95_ms_now)} now, {_ms(draft.p95_ms_proposed)} expected",
    )


def _standing(entry: Entry) -> str:
    by = f" by {entry.by}" if entry.by else ""
    until = f", until {_instant(entry.until_us)}" if entry.until_us else ""
    made = f", version {entry.seq}" if entry.seq is not None else ""
    because = f": {entry.reason}" if entry.reason else ""
    return f"{entry.state.replace('_', ' ')} since {_instant(entry.since_us)}{by}{until}{made}{because}"


def _usd(value: Interval) -> str:
    return f"{_money(value.mean)} ({_money(value.low)} to {_money(value.high)})"


def _money(value: float | None) -> str:
    if value is None:
        return "-"
    text = f"${abs(value):,.2f}"
    # what rounds to nothing has no direction
    return f"-{text}" if value < 0 and text.strip("$0.") else text


def _chance(share: float) -> str:
    # a finite number of draws is never certain
    return ">99 %" if share > _NEARLY_SURE else "<1 %" if share < 1 - _NEARLY_SURE else percent(share, 0)


def _points(value: Interval) -> str:
    return f"{value.mean * 100:+.2f} ({value.low * 100:+.2f} to {value.high * 100:+.2f}) pp"


def _price(usd: float | None) -> str:
    return "an unknown price" if usd is None else _money(usd)


def _ms(value: float | None) -> str:
    return number(value, 0, " ms")


def _instant(at_us: int) -> str:
    if at_us <= 0:
        return "-"
    return f"{dt.datetime.fromtimestamp(at_us // 1_000_000, dt.UTC):%Y-%m-%d %H:%M} UTC"


def _line(text: str) -> str:
    return safe(text, _LONGEST_LINE)
