"""Proposals as a table: the same figures as on their cards, sortable, and as a file."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from dashboard import advice
from dashboard import format as fmt
from dashboard.components import tables
from router_core.control.records import Entry


def of(entries: Sequence[Entry], zone: ZoneInfo) -> tables.Table:
    """Return one row per proposal."""
    columns = (
        tables.Column(title="Proposal", name="proposal_id", kind="text"),
        tables.Column(title="Payload type", name="payload_type", kind="text"),
        tables.Column(title="Kind", name="kind", kind="text"),
        tables.Column(title="Now", name="path_now", kind="text"),
        tables.Column(title="Proposed", name="path_proposed", kind="text"),
        tables.Column(title="Net per month", name="net_usd_month", kind="usd", help="Change of total cost, a gain > 0"),
        tables.Column(title="Low, 90%", name="net_usd_month_low", kind="usd"),
        tables.Column(title="High, 90%", name="net_usd_month_high", kind="usd"),
        tables.Column(title="Spend saved", name="saving_usd_month", kind="usd", help="Per month"),
        tables.Column(title="Wrong, pp", name="wrong_change_pp", kind="points", help="Change of the wrong rate"),
        tables.Column(title="90% interval", name="wrong_change_pp_90", kind="text"),
        tables.Column(title="Risk", name="risk", kind="text"),
        tables.Column(title="Pairs", name="pairs", kind="count", help="Calls on which both ways were tried"),
        tables.Column(title="Labels", name="labels", kind="count"),
        tables.Column(title="State", name="state", kind="text"),
        tables.Column(title="Expires", name="expires", kind="text"),
    )
    return tables.Table(columns=columns, rows=tuple(_row(entry, zone) for entry in entries))


def _row(entry: Entry, zone: ZoneInfo) -> tuple[tables.Value, ...]:
    draft = entry.proposal.draft
    known = draft.kind == "move" or draft.is_known
    net, wrong = draft.net_usd_month, draft.wrong_rate_change
    return (
        entry.proposal.proposal_id,
        draft.payload_type,
        "move" if draft.kind == "move" else "trial",
        advice.path(draft.path_now),
        advice.path(draft.path_proposed),
        net.mean if known else None,
        net.low if known else None,
        net.high if known else None,
        draft.saving_usd_month.mean if known else None,
        wrong.mean * 100 if known else None,
        fmt.points_range(wrong.low, wrong.high) if known else fmt.NOTHING,
        " ".join(badge.text for badge in advice.badges(draft)),
        draft.evidence.pairs,
        draft.evidence.labels,
        advice.STATE_WORDS[entry.state],
        fmt.moment(entry.proposal.expires_us, zone),
    )
