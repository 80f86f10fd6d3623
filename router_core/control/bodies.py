"""Drafts and runs as JSON text for the control store, and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from router_core.config.document import read
from router_core.config.write import flow
from router_core.control.records import ConfigEdit, Draft, Evidence, Interval, Totals, Verdict
from router_core.control.reviews import Run

_INTERVALS = ("saving_usd_month", "wrong_rate_change", "impact_usd_month", "net_usd_month")
_TUPLES = ("path_now", "path_proposed", "assumptions")
_DRAFT_FIELDS = frozenset(field.name for field in fields(Draft))


def canonical(value: Any) -> str:
    """Return JSON that is the same for the same value: sorted keys, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def draft_text(draft: Draft) -> str:
    """Return a draft as JSON; values of the config stand in it as YAML, which knows dates and exact numbers."""
    body = asdict(draft)
    body["edits"] = [
        {"path": list(edit.path), "before": _written(edit.before), "after": _written(edit.after)}
        for edit in draft.edits
    ]
    return canonical(body)


def draft_of(text: str) -> Draft:
    """Return the draft that ``draft_text`` wrote; what a newer version added to it is left out."""
    body = {key: value for key, value in json.loads(text).items() if key in _DRAFT_FIELDS}
    for key in _INTERVALS:
        body[key] = Interval(**body[key])
    for key in _TUPLES:
        body[key] = tuple(body[key])
    body["edits"] = tuple(
        ConfigEdit(path=tuple(edit["path"]), before=_read(edit["before"]), after=_read(edit["after"]))
        for edit in body["edits"]
    )
    body["evidence"] = Evidence(**body["evidence"])
    body["window_us"] = None if body["window_us"] is None else (body["window_us"][0], body["window_us"][1])
    return Draft(**body)


def change_key(draft: Draft) -> str:
    """Return what two drafts share that ask for the same: kind, path proposed, values to be in the config."""
    edits = [[list(edit.path), _written(edit.after)] for edit in draft.edits]
    return canonical([draft.kind, list(draft.path_proposed), edits])


def run_text(run: Run) -> str:
    """Return a run as JSON, without its id and instant."""
    return canonical(
        {
            "by": run.by,
            "window_us": run.window_us,
            "verdicts": [asdict(each) for each in run.verdicts],
            "portfolio": None if run.portfolio is None else asdict(run.portfolio),
        }
    )


def run_of(run_id: int, at_us: int, text: str) -> Run:
    """Return the run that ``run_text`` wrote."""
    body: Mapping[str, Any] = json.loads(text)
    window = body["window_us"]
    return Run(
        run_id=run_id,
        at_us=at_us,
        by=body["by"],
        window_us=None if window is None else (window[0], window[1]),
        verdicts=tuple(Verdict(**each) for each in body["verdicts"]),
        # runs of before there were totals have none
        portfolio=_totals(body.get("portfolio")),
    )


def normal(value: Any) -> Any:
    """Return plain data as it is once it was written to a YAML file and read again; None stays None."""
    return _read(_written(value))


def _totals(body: Mapping[str, Any] | None) -> Totals | None:
    if body is None:
        return None
    return Totals(
        payload_types=tuple(body["payload_types"]),
        calls_per_month=body["calls_per_month"],
        net_usd_month=Interval(**body["net_usd_month"]),
        wrong_rate_change=Interval(**body["wrong_rate_change"]),
    )


def _written(value: Any) -> str | None:
    return None if value is None else flow(value)


def _read(text: str | None) -> Any:
    return None if text is None else read(f"v: {text}".encode(), source="stored value").plain()["v"]
