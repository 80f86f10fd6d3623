"""How far a payload type's confidence can be trusted: its calibration, and the reliability curve."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import format as fmt
from dashboard import type_charts
from dashboard.components import cards, panels, tables
from dashboard.drilldown import Reliability
from dashboard.library import Library
from dashboard.periods import Period

if TYPE_CHECKING:
    from router_core.config.sections import PayloadType


def state_words(rule: "PayloadType") -> str:
    """Return whether a payload type's confidence is calibrated."""
    if rule.calibration is not None:
        return f"confidence calibrated by {fmt.logged(rule.calibration, longest=60)}"
    return (
        "confidence not calibrated: thresholds are placeholders" if len(rule.path) > 1 else "confidence not calibrated"
    )


def draw(library: Library, period: Period | None, payload_type: str, stem: str) -> None:
    """Draw the reliability curves when their panel is opened: they take a look at single calls."""
    panel = st.expander("Can its confidence be trusted? (reliability curve)", key="reliability", on_change="rerun")
    if not panel.open:
        return
    with panel:
        curves = library.reliability(period, payload_type)
        if not curves:
            cards.plain("No labelled answer of these days carries a confidence.")
            return
        for place, curve in enumerate(curves[:4]):
            _curve(curve, place, stem)


def _curve(curve: Reliability, place: int, stem: str) -> None:
    by = fmt.logged(curve.source or "unknown source", longest=40)
    state = "calibrated" if curve.calibrated else "not calibrated"
    tier = fmt.logged(curve.tier or "(no tier)", longest=40)
    panels.draw(
        panels.Panel(
            key=f"reliability_{place}",
            title=f"Answers of {tier}: share right, by confidence ({by}, {state})",
            figure=lambda theme: type_charts.reliability_curve(curve, theme),
            alt=type_charts.reliability_words(curve),
            table=lambda: table([curve]),
            stem=f"{stem}_reliability-{tier}",
            notes=(
                f"{fmt.plural(curve.calls, 'labelled answer')} · mean distance from the dotted line "
                f"{fmt.points_of(curve.expected_error).removeprefix('+')} (expected calibration error)",
            ),
        )
    )


def table(curves: Sequence[Reliability]) -> tables.Table:
    """Return one row per tenth of confidence."""
    columns = (
        tables.Column(title="Tier", name="tier", kind="text"),
        tables.Column(title="Source", name="confidence_source", kind="text"),
        tables.Column(title="From", name="confidence_from", kind="fraction"),
        tables.Column(title="Labelled", name="labelled", kind="count"),
        tables.Column(title="Mean confidence", name="confidence_mean", kind="fraction"),
        tables.Column(title="Right", name="correct_rate", kind="rate"),
        tables.Column(title="95% interval", name="correct_rate_95", kind="text"),
    )
    return tables.Table(
        columns=columns,
        rows=tuple(
            (
                curve.tier or "(none)",
                curve.source,
                each.low,
                each.calls,
                each.confidence,
                each.correct,
                fmt.rate_interval(each.interval).removesuffix(" (95%)"),
            )
            for curve in curves
            for each in curve.bins
        ),
    )
