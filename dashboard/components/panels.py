"""A chart that can also be read as a table: one question, one title, one way to take it away."""

from collections.abc import Callable
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from dashboard import charts
from dashboard import format as fmt
from dashboard.components import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What one panel shows.

    Attributes:
        key: Its stable name.
        title: The question it answers, with the unit.
        figure: Makes the chart.
        alt: What the chart shows, in a sentence.
        table: The same numbers.
        stem: Name of what is downloaded, without its ending.
        notes: Small print under the chart.
    """

    key: str
    title: str
    figure: Callable[[charts.Theme], go.Figure]
    alt: str
    table: Callable[[], tables.Table]
    stem: str
    notes: tuple[str, ...] = ()


def draw(panel: Panel) -> None:
    """Draw a panel as chart or as table, whichever its reader has chosen."""
    with st.container(border=True, height="stretch", key=f"{panel.key}_panel"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown(f"**{fmt.markdown(panel.title)}**", width="content")
            view = view_of(panel.key)
        if view == "chart":
            figure = panel.figure(theme())
            st.plotly_chart(figure, key=f"{panel.key}_chart", config=charts.config(panel.stem), alt=panel.alt)
            for note in panel.notes:
                st.caption(fmt.markdown(note))
        else:
            table = panel.table()
            tables.show(table, key=f"{panel.key}_table", alt=panel.title)
            tables.download(table, key=f"{panel.key}_csv", stem=panel.stem)


def view_of(key: str) -> str:
    """Draw the switch between chart and table, and return which it is set to."""
    chosen = st.segmented_control(
        "View", ["chart", "table"], default="chart", required=True, key=f"{key}_view", label_visibility="collapsed"
    )
    return chosen or "chart"


def theme() -> charts.Theme:
    """Return the theme that the reader's browser shows."""
    return "dark" if st.context.theme.type == "dark" else "light"
