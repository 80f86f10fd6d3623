"""What changed most against the period before, by payload type."""

import streamlit as st

from dashboard import format as fmt
from dashboard.components import tables
from dashboard.sums import Filters, Overview, Source, Sums

SHOWN = 5


def draw(source: Source, filters: Filters, found: Overview, price_nusd: int | None) -> None:
    """Draw the payload types whose total cost changed most, in either direction."""
    with st.container(border=True, height="stretch", key="movers"):
        st.markdown("**What changed most**")
        if filters.period is None or found.before is None:
            st.caption("The log does not reach back far enough for a period before this one.")
            return
        earlier = source.overview(
            Filters(period=filters.period.before(), payload_types=filters.payload_types, tiers=filters.tiers)
        )
        table = changes(found, earlier, price_nusd)
        tables.show(
            tables.Table(columns=table.columns, rows=table.rows[:SHOWN]),
            key="movers_table",
            alt="Payload types whose total cost changed most",
        )
        st.caption("Total cost = spend + observed impact, both periods of the same length.")


def changes(now: Overview, then: Overview, price_nusd: int | None) -> tables.Table:
    """Return one row per payload type, the largest change of total cost first."""
    before = {row.name: row.sums for row in then.by_type}
    after = {row.name: row.sums for row in now.by_type}
    names = sorted(before.keys() | after.keys())
    rows: list[tuple[tables.Value, ...]] = []
    for name in names:
        old, new = before.get(name, Sums()), after.get(name, Sums())
        change = _total(new, price_nusd) - _total(old, price_nusd)
        wrong = None if old.wrong_rate is None or new.wrong_rate is None else (new.wrong_rate - old.wrong_rate) * 100
        rows.append(
            (
                name or "(none)",
                change / fmt.NANO,
                (new.spend_nusd - old.spend_nusd) / fmt.NANO,
                wrong,
                float(new.calls - old.calls),
            )
        )
    columns = (
        tables.Column(title="Payload type", name="payload_type", kind="text"),
        tables.Column(title="Total cost, USD", name="total_cost_change_usd", kind="points", help="Its change"),
        tables.Column(title="Spend, USD", name="spend_change_usd", kind="points", help="Change of spend"),
        tables.Column(title="Wrong, pp", name="wrong_change_pp", kind="points", help="Change of the wrong rate"),
        tables.Column(title="Calls", name="calls_change", kind="more", help="Change of calls"),
    )
    return tables.Table(columns=columns, rows=tuple(sorted(rows, key=lambda row: -abs(float(row[1] or 0)))))


def _total(sums: Sums, price_nusd: int | None) -> int:
    return sums.spend_nusd + sums.impact_with(price_nusd)
