"""What imports of logs and exports did, printed for a person."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from router_core.call_log.export import ExportReport
from router_core.call_log.importers.formats import TABLE
from router_core.call_log.importers.log_report import Drift, LogImportReport, Untaken
from router_core.call_log.importers.own import ExportImportReport
from router_core.call_log.terminal import counted, safe, table, usd

_MODELS_SHOWN = 8
_PLACES_SHOWN = 3
_COLUMNS_SHOWN = 12


def log_import_text(report: LogImportReport, *, guessed: bool, unread: Sequence[str] = ()) -> str:
    """Return what an import of a log did.

    Args:
        report: What it did.
        guessed: Whether the format was told by the content.
        unread: Columns that its map has no use for.
    """
    lines = [
        f"{safe(report.file)}: read as {report.format}"
        + (" (guessed; say otherwise with --format)" if guessed else ""),
        f"  {counted(report.rows_read, 'row')} read, {report.rows_kept:,} kept"
        + ("" if report.is_dry else f", {report.rows_new:,} new, {report.rows_known:,} already there"),
        *(f"  left out: {safe(one.text(), 300)}" for one in report.skipped),
        *(f"  not read: {safe(one.text(), 300)}" for one in report.not_read),
    ]
    if unread:
        names = ", ".join(safe(name, 60) for name in unread[:_COLUMNS_SHOWN])
        more = f" and {len(unread) - _COLUMNS_SHOWN:,} more" if len(unread) > _COLUMNS_SHOWN else ""
        lines.append(f"  columns that are not read: {names}{more}; say what one holds with --map COLUMN=FIELD")
    if report.rows_kept:
        lines += [*_facts(report), *_costs(report), *_drift_lines(report.drift)]
    if report.preview:
        lines += ["", *_map_lines(report), "", _preview(report.preview)]
    return "\n".join([*lines, _verdict(report)])


def _facts(report: LogImportReport) -> list[str]:
    lines = [f"  from {_shown_instant(report.since_us)} to {_shown_instant(report.until_us)} UTC"]
    facts = (
        (report.calls_new, "call", "calls"),
        (report.linked, "retry or fallback", "retries and fallbacks"),
        (report.failed, "failed", "failed"),
        (report.cache_hits, "answered by a cache", "answered by a cache"),
    )
    found = ", ".join(counted(n, one, more) for n, one, more in facts if n)
    if found:
        lines.append(f"  {found}")
    # the known tools write UTC; of any other table nobody knows
    if report.zoneless and report.format == TABLE:
        named = counted(report.zoneless, "time names", "times name")
        lines.append(f"  {named} no zone: taken as of the map file's timezone, else UTC")
    if report.rows_without_payload_type:
        untyped = counted(report.rows_without_payload_type, "row tells", "rows tell")
        lines.append(f"  {untyped} no payload type: it is 'imported'; name a column or tag with --payload-type-from")
    if report.rows_changed:
        lines.append(
            f"  {counted(report.rows_changed, 'row is', 'rows are')} there with another cost or tier; the log is never"
            " rewritten: import into another --home"
        )
        lines += _untaken_lines(report.untaken, report.rows_changed, report.kept_nusd, report.untaken_nusd)
    return lines


def _untaken_lines(untaken: Sequence[Untaken], rows: int, kept_nusd: int, untaken_nusd: int) -> list[str]:
    """Return the figures that were not taken: of the first rows, and of all together."""
    lines = [f"    {safe(one.id, 60)}: the log keeps {_kept(one)}" for one in untaken]
    if rows > len(untaken):
        together = f"{usd(kept_nusd, 6)}, the file's {usd(untaken_nusd, 6)} was not taken"
        lines.append(f"    all {rows:,} together: the log keeps {together}")
    return lines


def _kept(one: Untaken) -> str:
    said: list[str] = []
    if one.kept_nusd != one.given_nusd:
        said.append(f"{usd(one.kept_nusd, 6)}, the file's {usd(one.given_nusd, 6)} was not taken")
    if one.kept_tier != one.given_tier:
        said.append(f"tier {safe(one.kept_tier, 40)}, the file's {safe(one.given_tier, 40)} was not taken")
    return "; ".join(said)


def _costs(report: LogImportReport) -> list[str]:
    words = {
        "provider": "cost as the source says",
        "exact": "cost computed",
        "estimated": "cost estimated",
        "unpriced": "no price known",
        "unknown": "cost unknown",
    }
    said = ", ".join(f"{n:,} {words.get(status, status)}" for status, n in report.costs.items())
    lines = [f"  spend {usd(report.cost_nusd, 4)}: {said}"]
    if report.unpriced:
        more = ", ..." if len(report.unpriced) > _MODELS_SHOWN else ""
        names = ", ".join(safe(model, 60) for model in report.unpriced[:_MODELS_SHOWN])
        lines.append(f"  models without a price: {names}{more}; give them one under prices: in routing.yaml")
    return lines


def _drift_lines(drift: Sequence[Drift]) -> list[str]:
    if not drift:
        return []
    whole, *models = drift
    lines = [
        f"  drift over {counted(whole.rows, 'row')} that both know: the source says {usd(whole.source_nusd, 4)}, "
        f"the price book {usd(whole.computed_nusd, 4)} ({_rate(whole)})"
    ]
    for one in models[:_MODELS_SHOWN]:
        if one.source_nusd != one.computed_nusd:
            lines.append(
                f"    {safe(one.model, 60)}: {usd(one.source_nusd, 4)} against {usd(one.computed_nusd, 4)}"
                f" ({_rate(one)})"
            )
    return lines


def _rate(drift: Drift) -> str:
    return "-" if drift.rate is None else f"{drift.rate:+.2%}"


def _map_lines(report: LogImportReport) -> list[str]:
    """Return the column map, as ``--map`` takes it."""
    width = max(len(name) for name in ("payload_type", *report.columns))
    lines = ["Column map (field ← places in order; change it with --map COLUMN=FIELD):"]
    if report.payload_type:
        lines.append(f"  {'payload_type':<{width}} ← {_places(report.payload_type)}")
    lines += [
        f"  {name:<{width}} ← {_places(places)}" for name, places in report.columns.items() if name != "payload_type"
    ]
    return lines


def _places(places: Sequence[str]) -> str:
    shown = ", ".join(safe(place, 80) for place in places[:_PLACES_SHOWN])
    more = len(places) - _PLACES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _preview(rows: Sequence[Mapping[str, Any]]) -> str:
    headers = ["first rows", "payload type", "model", "tier", "status", "in", "out", "cost", "is", "run"]
    cells = [
        [
            _shown_instant(row["started_at"]),
            row["payload_type"],
            row["request_model"],
            row.get("tier"),
            row["status"],
            row.get("input_tokens"),
            row.get("output_tokens"),
            usd(row.get("cost_nusd"), 6),
            row["cost_status"],
            row.get("run"),
        ]
        for row in rows
    ]
    return table(headers, cells, left=5)


def _verdict(report: LogImportReport) -> str:
    if report.is_dry and report.preview:
        return "\nNothing was written: this was a dry run."
    if not report.rows_kept:
        return "Nothing to import."
    return "Imported. See: tierwise spend --by model" if report.changed else "Nothing changed: all of it is in the log."


def export_import_text(report: ExportImportReport) -> str:
    """Return what an import of an export did."""
    rows = _by_table(report.rows_read)
    lines = [f"{safe(report.file)}: an export of Tierwise: {rows}"]
    if report.is_dry:
        return "\n".join([*lines, "Nothing was written: this was a dry run."])
    lines.append(f"  new: {_by_table(report.rows_new)}")
    for name, rows in report.rows_changed.items():
        if rows:
            there = counted(rows, name.removesuffix("s"))
            lines.append(f"  {there} already there with another cost; the log is never rewritten:")
            lines += [f"    {safe(one.id, 60)}: the log keeps {_kept(one)}" for one in report.untaken.get(name, ())]
    lines.append("Imported. See: tierwise spend" if report.changed else "Nothing changed: all of it is in the log.")
    return "\n".join(lines)


def export_text(report: ExportReport) -> str:
    """Return what an export wrote."""
    rows = _by_table(report.rows)
    files = sum(len(listed) for listed in report.files.values())
    return (
        f"Wrote {rows} as {report.file_format} into {safe(report.folder)}: {counted(files, 'file')}, "
        f"{report.bytes / 1e6:,.1f} MB, days of {report.zone}."
    )


def _by_table(rows: Mapping[str, int]) -> str:
    return ", ".join(counted(n, name.removesuffix("s")) for name, n in rows.items())


def _shown_instant(us: int | None) -> str:
    return "-" if us is None else f"{dt.datetime.fromtimestamp(us / 1e6, dt.UTC):%Y-%m-%d %H:%M:%S}"
