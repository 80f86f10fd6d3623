"""What is known of how right answers are: labels by payload type, and those that belong to nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router_core.call_log.ddl import IMPACT, call_labels
from router_core.call_log.outcome_intake import OutcomeReport
from router_core.call_log.terminal import number, percent, safe, table, usd

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BY_TYPE = f"""
    SELECT c.payload_type, count(*), count(o.call_id), coalesce(sum(1 - o.correct), 0),
           CAST(coalesce(sum({IMPACT}) FILTER (o.call_id IS NOT NULL), 0) AS HUGEINT),
           count(*) FILTER (o.source = 'gold'), count(*) FILTER (o.source = 'user'),
           count(*) FILTER (o.source = 'judge'), count(*) FILTER (o.source = 'transfer'),
           count(o.label_propensity), count(*) FILTER (o.received_at - c.ts > INTERVAL 1 DAY)
    FROM calls AS c LEFT JOIN ({call_labels("calls", "outcomes")}) AS o ON o.call_id = c.call_id
    WHERE c.status = 'ok' GROUP BY ALL ORDER BY count(o.call_id) DESC, c.payload_type"""
_UNMATCHED = """
    SELECT count(*) FROM outcomes AS o
    WHERE NOT EXISTS (SELECT 1 FROM calls AS c WHERE c.call_id = o.call_id)
       OR (o.attempt_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.attempt_id = o.attempt_id))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """Labels of the served answers of one payload type.

    Attributes:
        payload_type: The type.
        calls: Served calls.
        labelled: Those with a label; of several the one that counts is meant everywhere here.
        wrong: Sum of 1 - correct over them.
        impact_nusd: What wrong answers cost as far as they are priced, nano-dollars.
        gold, user, judge, transfer: Labels by source.
        chosen: Labels whose call was chosen with a known probability.
        late: Labels that came more than a day after their call began.
    """

    payload_type: str | None
    calls: int
    labelled: int
    wrong: float
    impact_nusd: int
    gold: int
    user: int
    judge: int
    transfer: int
    chosen: int
    late: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """All labels of a log.

    Attributes:
        types: One row per payload type with served calls.
        labels: Labels received.
        superseded: Those that count for nothing any more, because another one of their answer counts.
        unmatched: Those whose call or attempt the log does not have.
    """

    types: tuple[LabelRow, ...]
    labels: int
    superseded: int
    unmatched: int


def label_report(log: "DuckDBPyConnection") -> LabelReport:
    """Return what labels a log has."""
    names = tuple(LabelRow.__dataclass_fields__)
    rows: list[LabelRow] = []
    for found in log.execute(_BY_TYPE).fetchall():
        columns: dict[str, Any] = dict(zip(names, found, strict=True))
        columns["impact_nusd"] = int(columns["impact_nusd"])
        rows.append(LabelRow(**columns))
    labels, superseded = log.execute(
        """SELECT count(*), count(*) - count(DISTINCT (o.call_id, coalesce(o.attempt_id, c.served_attempt_id)))
           FROM outcomes AS o LEFT JOIN calls AS c ON c.call_id = o.call_id"""
    ).fetchone() or (0, 0)
    (unmatched,) = log.execute(_UNMATCHED).fetchone() or (0,)
    return LabelReport(types=tuple(rows), labels=labels, superseded=superseded, unmatched=unmatched)


def label_text(report: LabelReport) -> str:
    """Return the table of labels."""
    if not report.labels:
        return "No labels in the log. Log what was learned with router.outcome(...) or: tierwise outcomes FILE"
    headers = ("payload type", "calls", "labelled", "share", "wrong", "impact", "gold", "user", "judge", "late")
    rows = [
        (
            row.payload_type,
            f"{row.calls:,}",
            f"{row.labelled:,}",
            percent(row.labelled / row.calls),
            percent(row.wrong / row.labelled) if row.labelled else "-",
            usd(row.impact_nusd),
            f"{row.gold:,}",
            f"{row.user:,}",
            f"{row.judge:,}",
            f"{row.late:,}",
        )
        for row in report.types
    ]
    lines = [table(headers, rows), "", f"{report.labels:,} labels received"]
    if report.superseded:
        lines.append(f"{report.superseded:,} of them are outdone by another label of the same answer")
    if report.unmatched:
        lines.append(f"{report.unmatched:,} of them belong to no call in the log (yet); they are kept")
    return "\n".join(lines)


def intake_text(name: str, report: OutcomeReport) -> str:
    """Return what came of labels that were handed in."""
    lines = [f"{name}: {report.rows:,} rows, {report.labels:,} new labels"]
    counts = {
        "say what is in the log already": report.repeated,
        "say something else than an earlier one of the same source: the later one counts": report.changed,
        "came more than a day after their call, and count on its day": report.late,
        "belong to no call that is on record; they are kept, and count when it comes": report.unmatched,
        "name a run or step without served calls; hand them in again when there are some": report.lost,
    }
    lines += [f"  {number(count, 0)} {text}" for text, count in counts.items() if count]
    if report.first:
        lines.append(f"  such as {', '.join(safe(one, 80) for one in report.first)}")
    return "\n".join(lines)
