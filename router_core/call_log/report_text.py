"""Reports, printed for a person: spend, an import, the doctor's findings."""

from collections.abc import Mapping, Sequence
from typing import Final

from router_core.call_log.doctor import Finding
from router_core.call_log.importers.outcomes import ImportReport
from router_core.call_log.ingest import IngestReport
from router_core.call_log.reports import SpendRow
from router_core.call_log.terminal import counted, number, percent, safe, table, usd, wrapped

_FINDING_INDENT: Final = 23


def import_text(report: ImportReport) -> str:
    """Return what an import did."""
    lines = [
        f"{report.file}: {counted(report.rows_read, 'row')} read, {report.rows_kept:,} kept, "
        f"{report.rows_new:,} new, {report.rows_known:,} already there",
        *(f"  left out: {rows.rows:,} × {rows.reason} (first is row {rows.first_row:,})" for rows in report.skipped),
        f"  {counted(report.calls, 'call')} ({report.calls_new:,} new; {report.calls_served:,} served, "
        f"{counted(report.calls - report.calls_served, 'evaluation')} only), {counted(report.models, 'model')}",
    ]
    if report.rows_without_cost:
        lines.append(f"  {counted(report.rows_without_cost, 'row has', 'rows have')} no cost: it stays unknown")
    if report.rows_without_label:
        lines.append(f"  {counted(report.rows_without_label, 'row has', 'rows have')} no correctness")
    lines.append(
        "Imported. See: tierwise spend --by model" if report.changed else "Nothing changed: all of it is in the log."
    )
    return "\n".join(lines)


def ingest_text(report: IngestReport) -> str:
    """Return what an ingest did."""
    if report.busy:
        return "A background process keeps the log up to date; nothing was left to do here."
    rows = _by_table({table: n for table, n in report.rows.items() if n})
    lines = [f"{counted(report.lines, 'line')} read: {rows or 'nothing new'}."]
    if report.quarantined:
        lines.append(f"{counted(report.quarantined, 'line')} could not be used; see: tierwise doctor")
    if report.replaced is not None:
        lines += [*_anew(report), f"The log was made anew; what it replaced is kept as {report.replaced}."]
    return "\n".join(lines)


def _anew(report: IngestReport) -> list[str]:
    """Return the rows of a log made anew beside those it had before."""
    after = report.rows_after or {}
    if report.rows_before is None:
        return [f"Rows now: {_by_table(after)}. What it replaced cannot be read, so nothing says how many it had."]
    before = report.rows_before
    lines = [f"Rows before: {_by_table(before)}.", f"Rows now:    {_by_table(after)}."]
    fewer = {table: n - after.get(table, 0) for table, n in before.items() if after.get(table, 0) < n}
    if fewer:
        lines.append(
            f"WARNING: {_by_table(fewer)} fewer than before: their segments are no longer kept. To have them back, stop"
            " what uses the log and give the kept file its old name again."
        )
    return lines


def _by_table(rows: Mapping[str, int]) -> str:
    return ", ".join(counted(n, table.removesuffix("s")) for table, n in sorted(rows.items()))


def findings_text(findings: Sequence[Finding], width: int | None = None) -> str:
    """Return what the doctor found, and a verdict.

    Args:
        findings: What it found.
        width: Columns of the terminal; None = lines are not broken.
    """
    lines: list[str] = []
    for finding in findings:
        said = f"{finding.state.upper():<6} {finding.name:<15} {safe(finding.text, 500)}"
        lines += wrapped(said, width, _FINDING_INDENT)
        if finding.mend:
            lines += wrapped(f"{'':<{_FINDING_INDENT - 1}} → {finding.mend}", width, _FINDING_INDENT + 2)
    wrong = sum(finding.state == "wrong" for finding in findings)
    lines.append(f"\n{wrong} thing{'s are' if wrong != 1 else ' is'} wrong." if wrong else "\nNothing is wrong.")
    return "\n".join(lines)


def spend_text(by: str, rows: Sequence[SpendRow]) -> str:
    """Return the spend table and its total.

    Args:
        by: What the rows are grouped by.
        rows: The rows.
    """
    if not rows:
        return "No attempts match."
    monthly = any(row.cost_month_usd is not None for row in rows)
    headers = [
        by.replace("_", " "),
        "spend",
        "attempts",
        "USD per 1k",
        "correct",
        "mean",
        "p50",
        "p95",
        "failed",
        "invalid",
    ]
    cells = [
        [
            row.key if row.key is not None else "undated" if by == "day" else "-",
            usd(row.cost_nusd if row.n_cost else None, 4),
            f"{row.attempts:,}",
            number(row.cost_per_1k_usd),
            percent(row.correct_rate),
            number(row.latency_mean_s, 2, " s"),
            number(row.latency_p50_s, 2, " s"),
            number(row.latency_p95_s, 2, " s"),
            f"{row.failed:,}",
            f"{row.invalid:,}",
            *([number(row.cost_month_usd)] if monthly else []),
        ]
        for row in rows
    ]
    text = table([*headers, *(["USD per month"] if monthly else [])], cells)
    unknown = sum(row.n_unknown_cost for row in rows)
    total = (
        f"\n\nTotal {usd(sum(row.cost_nusd for row in rows), 4)}"
        f" over {counted(sum(row.attempts for row in rows), 'attempt')}"
    )
    ending = f"; {counted(unknown, 'has', 'have')} no known cost (means leave them out)." if unknown else "."
    return text + total + ending + _drift(rows)


def _drift(rows: Sequence[SpendRow]) -> str:
    """Return how far our prices are from what providers reported, in a line of its own; nothing without reports."""
    reported, drift = sum(row.reported_nusd for row in rows), sum(row.drift_nusd for row in rows)
    n = sum(row.n_reported for row in rows)
    if not n:
        return ""
    ours = reported - drift
    share = f" ({drift / ours * 100:+.2f} %)" if ours else ""
    return (
        f"\nProviders reported {usd(reported, 4)} for {n:,} of them, and that counts; our prices give {usd(ours, 4)}: "
        f"a difference of {'+' if drift > 0 else ''}{usd(drift, 4)}{share}."
    )
