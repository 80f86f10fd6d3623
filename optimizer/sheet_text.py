"""A sheet as text for a terminal and as data for a program."""

import dataclasses
from typing import TYPE_CHECKING, Any

from optimizer.drafting import path_text, usd
from router_core.call_log.terminal import safe, table
from router_core.control.records import Draft, Interval

if TYPE_CHECKING:
    from optimizer.lifecycle import PublishReport
    from optimizer.propose import Sheet

_HEADERS = ("payload type", "verdict", "change", "net/month", "90 %", "wrong rate", "90 %", "pairs")
_NOTHING = "-"


def sheet_text(sheet: "Sheet", report: "PublishReport | None" = None) -> str:
    """Return the table of verdicts, each with its reason below, and what became of the drafts."""
    drafts = {draft.payload_type: draft for draft in sheet.drafts}
    rows = [
        (verdict.payload_type, verdict.verdict.replace("_", " "), *_cells(drafts.get(verdict.payload_type)))
        for verdict in sheet.verdicts
    ]
    lines = [table(_HEADERS, rows, left=3), ""] if rows else ["No payload types."]
    lines += [f"{safe(verdict.payload_type)}: {verdict.text}." for verdict in sheet.verdicts]
    moves = [draft for draft in sheet.drafts if draft.kind == "move"]
    if moves:
        total = sheet.portfolio()
        lines += [
            "",
            f"All {total.moves} moves together: net {_usd_range(total.net_usd)} a month;"
            f" wrong answers {_points(total.wrong_rate_change)} of {total.calls:,.0f} calls.",
        ]
    if report is not None:
        lines += ["", *_published(report)]
    return "\n".join(lines)


def sheet_data(sheet: "Sheet", report: "PublishReport | None" = None) -> dict[str, Any]:
    """Return the sheet as plain data, and what became of the drafts where they were published."""
    data = {
        "window_us": None if sheet.window_us is None else list(sheet.window_us),
        "seed": sheet.seed,
        "verdicts": [dataclasses.asdict(verdict) for verdict in sheet.verdicts],
        "drafts": [dataclasses.asdict(draft) for draft in sheet.drafts],
        "portfolio": dataclasses.asdict(sheet.portfolio()),
    }
    if report is not None:
        data["published"] = {
            "new": list(report.published),
            "kept": list(report.kept),
            "superseded": list(report.superseded),
            "held_back": [dataclasses.asdict(each) for each in report.held_back],
        }
    return data


def _published(report: "PublishReport") -> list[str]:
    named = (("New", report.published), ("Kept", report.kept), ("Superseded", report.superseded))
    lines = [f"{what}: {', '.join(ids)}." for what, ids in named if ids] or ["Nothing new to propose."]
    lines += [f"Held back, {safe(each.payload_type)}: {safe(each.reason)}." for each in report.held_back]
    return [*lines, "See: tierwise proposals"] if report.published or report.kept else lines


def _cells(draft: Draft | None) -> tuple[str, ...]:
    if draft is None:
        return (_NOTHING,) * (len(_HEADERS) - 2)
    change = f"{path_text(draft.path_now)} to {path_text(draft.path_proposed)}"
    if draft.kind == "evidence":
        return (f"shadows for {change}", *(_NOTHING,) * 4, f"{draft.evidence.pairs:,}")
    net, wrong = draft.net_usd_month, draft.wrong_rate_change
    return (
        change,
        usd(net.mean),
        f"{usd(net.low)} to {usd(net.high)}",
        f"{100 * wrong.mean:+.2f} pp",
        f"{100 * wrong.low:+.2f} to {100 * wrong.high:+.2f}",
        f"{draft.evidence.pairs:,}",
    )


def _usd_range(interval: Interval) -> str:
    return f"{usd(interval.mean)} ({usd(interval.low)} to {usd(interval.high)})"


def _points(interval: Interval) -> str:
    return f"{100 * interval.mean:+.2f} pp ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"
