"""The report of what cheaper ways have saved."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router_core.call_log.savings_sql import KINDS, savings_sql
from router_core.call_log.terminal import table, usd

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRow:
    """What was saved on one payload type; nano-dollars, negative where more was lost than saved.

    Attributes:
        payload_type: The type.
        spend_nusd: Sum over its attempts.
        check, cache, packing, correction, cheap_first: What each way has saved; see ``savings_sql``.
    """

    payload_type: str | None
    spend_nusd: int
    check: int
    cache: int
    packing: int
    correction: int
    cheap_first: int

    @property
    def saved_nusd(self) -> int:
        """What all of them have saved."""
        return self.check + self.cache + self.packing + self.correction + self.cheap_first


def savings(
    con: "DuckDBPyConnection", since: dt.datetime | None = None, until: dt.datetime | None = None
) -> list[SavedRow]:
    """Return one row per payload type, dearest first.

    Args:
        con: The log, open for reading.
        since: First instant that counts; None = all.
        until: First one that no longer counts; None = all.
    """
    bounds = {
        name: None if bound is None else bound.astimezone(dt.UTC).replace(tzinfo=None)
        for name, bound in (("since", since), ("until", until))
    }
    within = "coalesce({at} >= $since, $since IS NULL) AND coalesce({at} < $until, $until IS NULL)"
    sums = ", ".join(f"coalesce(sum(saved_nusd) FILTER (kind = '{kind}'), 0) AS \"{kind}\"" for kind in KINDS)
    kinds = ", ".join(f'coalesce("{kind}", 0)' for kind in KINDS)
    rows = con.execute(
        f"""WITH saved AS (
                SELECT payload_type, {sums} FROM ({savings_sql()}) WHERE {within.format(at='"at"')} GROUP BY 1
            ),
            spent AS (
                SELECT payload_type, coalesce(sum(cost_nusd), 0) AS nusd FROM attempts
                WHERE {within.format(at="started_at")} GROUP BY 1
            )
            SELECT coalesce(t.payload_type, s.payload_type), coalesce(t.nusd, 0), {kinds}
            FROM spent AS t FULL JOIN saved AS s ON s.payload_type IS NOT DISTINCT FROM t.payload_type
            ORDER BY 2 DESC, 1""",
        bounds,
    ).fetchall()
    names = ("spend_nusd", *KINDS)
    return [SavedRow(payload_type=row[0], **dict(zip(names, map(int, row[1:]), strict=True))) for row in rows]


def savings_text(rows: Sequence[SavedRow]) -> str:
    """Return the table of what was saved."""
    if not rows:
        return "No calls in the log."
    headers = ("payload type", "spend", "saved by checks", "cache", "packing", "correction", "cheap first", "saved")
    sums = {name: sum(getattr(row, name) for row in rows) for name in ("spend_nusd", *KINDS)}
    total = SavedRow(payload_type="total", **sums)
    cells = [
        (
            row.payload_type,
            usd(row.spend_nusd, 4),
            *(usd(getattr(row, kind), 4) for kind in KINDS),
            usd(row.saved_nusd, 4),
        )
        for row in (*rows, total)
    ]
    notes = (
        "Packing, correction and cache: against the tokens and prices of the calls' own rows, net of what was spoiled",
        "or refused. Checks (against the mean call) and cheap first (against the tier above) are estimates.",
    )
    return "\n".join([table(headers, cells), "", *notes])
