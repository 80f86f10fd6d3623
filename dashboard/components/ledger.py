"""The audit: everything that was decided here, and everything that was refused."""

from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard.components import cards, filters, tables
from dashboard.desk import Desk, Place
from router_core.control.records import AuditRow

SHOWN: Final = 200
MOST_ROWS: Final = 100_000
_CHECKED_FOR_S = 60
ACTIONS: Final = ("apply", "undo", "rollback", "hand", "claim", "release", "dismiss", "snooze", "propose")


def draw(place: Place, zone: ZoneInfo) -> None:
    """Draw the audit's newest rows with its filters, and whether the chain of hashes holds."""
    with st.container(border=True, key="audit"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Audit**", width="content")
            _chain(place)
        # before the widget, which takes what it does not know out of the address
        filters.note_unknown("action", "Actions", ACTIONS, where="known here")
        with st.container(horizontal=True, vertical_alignment="bottom", key="audit_filters"):
            action = st.selectbox(
                "Action", ACTIONS, index=None, key="action", bind="query-params", placeholder="all", width=180
            )
            who = st.text_input("Who", key="who", bind="query-params", placeholder="everybody", width=220)
        # one more than is shown tells whether there are more
        rows = place.desk.audit(limit=SHOWN + 1, action=action, who=who or None)
        if not rows:
            cards.plain("Nothing was decided here yet." if not (action or who) else "Nothing matches these filters.")
            return
        shown = rows[:SHOWN]
        tables.show(of(shown, zone), key="audit_table", alt="Audit: who did what, when and why")
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            more = len(rows) > SHOWN
            newest = f"the newest {SHOWN} rows; the CSV has them all" if more else fmt.plural(len(shown), "row")
            st.caption(fmt.markdown(f"{newest} · newest first · times in {zone.key}"), width="content")
            tables.download(
                lambda: of(place.desk.audit(limit=MOST_ROWS, action=action, who=who or None), zone),
                key="audit_csv",
                stem="tierwise_audit",
            )


def _chain(place: Place) -> None:
    newest = place.desk.audit(limit=1)
    broken_at = _broken_at(place.desk, newest[0].hash if newest else "")
    if broken_at is None:
        st.badge("✓ hash chain intact", color="green")
    else:
        st.badge(f"■ hash chain broken at row {broken_at}", color="red")


@st.cache_data(ttl=_CHECKED_FOR_S, max_entries=16, show_spinner=False)
def _broken_at(_desk: Desk, newest: str) -> int | None:
    """Return where the chain is broken: found out anew when it grew, and once a minute, for that reads every row."""
    del newest  # only the cache's key
    return _desk.verify_audit()


def of(rows: Sequence[AuditRow], zone: ZoneInfo) -> tables.Table:
    """Return one row per line of the audit, all fields."""
    columns = (
        tables.Column(title="Row", name="row", kind="count"),
        tables.Column(title="When", name="at", kind="text"),
        tables.Column(title="Who", name="who", kind="text"),
        tables.Column(title="Role", name="role", kind="text"),
        tables.Column(title="Action", name="action", kind="text"),
        tables.Column(title="Result", name="result", kind="text"),
        tables.Column(title="Proposals", name="proposals", kind="text"),
        tables.Column(title="Reason", name="reason", kind="text"),
        tables.Column(title="Before", name="before", kind="text"),
        tables.Column(title="After", name="after", kind="text"),
        tables.Column(title="Detail", name="detail", kind="text"),
        tables.Column(title="Known by", name="auth", kind="text"),
        tables.Column(title="Diff", name="diff", kind="text"),
        tables.Column(title="Hash", name="hash", kind="text"),
    )
    return tables.Table(
        columns=columns,
        rows=tuple(
            (
                row.seq,
                fmt.moment(row.at_us, zone),
                row.who,
                row.role,
                row.action,
                row.result,
                ", ".join(row.proposal_ids),
                row.reason,
                row.before,
                row.after,
                row.detail,
                row.auth,
                row.diff,
                row.hash,
            )
            for row in rows
        ),
    )
