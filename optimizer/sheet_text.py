"""A sheet as text for a terminal and as data for a program."""

import dataclasses
from typing import TYPE_CHECKING, Any

from optimizer.drafting import path_text, usd
from router_core.call_log.terminal import table
from router_core.control.records import Draft, Interval

if TYPE_CHECKING:
    from optimizer.propose import Sheet

_HEADERS = ("payload type", "verdict", "change", "net/month", "90 %", "wrong rate", "90 %", "pairs")
_NOTHING = "-"


def sheet_text(sheet: "Sheet") -> str:
    """Return the table of verdicts, each with its reason below."""
    drafts = {draft.payload_type: draft for draft in sheet.drafts}
    rows = [
        (verdict.payload_type, verdict.verdict.replace("_", " "), *_cells(drafts.get(verdict.payload_type)))
        for verdict in sheet.verdicts
    ]
    lines = [table(_HEADERS, rows, left=3), ""] if rows else ["No payload types."]
    lines += [f"{verdict.payload_type}: {verdict.text}." for verdict in sheet.verdicts]
    moves = [draft for draft in sheet.drafts if draft.kind == "move"]
    if moves:
        total = sheet.portfolio()
        lines += [
            "",
            f"All {total.moves} moves together: net {_usd_range(total.net_usd)} a month;"
            f" wrong answers {_points(total.wrong_rate_change)} of {total.calls:,.0f} calls.",
        ]
    return "\n".join(lines)


def sheet_data(sheet: "Sheet") -> dict[str, Any]:
    """Return the sheet as plain data."""
    return {
        "window_us": list(sheet.window_us),
        "seed": sheet.seed,
        "verdicts": [dataclasses.asdict(verdict) for verdict in sheet.verdicts],
        "drafts": [dataclasses.asdict(draft) for draft in sheet.drafts],
        "portfolio": dataclasses.asdict(sheet.portfolio()),
    }


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
        f"{100 * wrong.mean:+.2f} pt",
        f"{100 * wrong.low:+.2f} to {100 * wrong.high:+.2f}",
        f"{draft.evidence.pairs:,}",
    )


def _usd_range(interval: Interval) -> str:
    return f"{usd(interval.mean)} ({usd(interval.low)} to {usd(interval.high)})"


def _points(interval: Interval) -> str:
    return f"{100 * interval.mean:+.2f} points ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"
