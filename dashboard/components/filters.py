"""The filters of the Explore pages: period, payload types, tiers; all of them in the address."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import streamlit as st

from dashboard import format as fmt
from dashboard.periods import PRESET_DAYS, Period, local_day, preset
from dashboard.sums import NO_NAME, Filters, LogState, Span

# where the session keeps which page is shown
PAGE = "page"
EVALUATION = "evaluation"
CUSTOM = "custom"
ALL = "all"
_DEFAULT = "30d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the reader chose.

    Attributes:
        filters: For the queries.
        period_words: The period in words, for the bar.
        named: The set filters as (name, value), for a page that finds nothing.
    """

    filters: Filters
    period_words: str
    named: tuple[tuple[str, str], ...]


def choose(span: Span, state: LogState, *, types: bool = True) -> Choice:
    """Draw the filters and return what they are set to.

    The periods end with the data's last day, not with today.

    Args:
        span: What the log holds.
        state: How it is read.
        types: Whether payload types can be chosen.
    """
    kinds, tiers = labels(span.payload_types), labels(span.tiers)
    periods = _periods(span)
    note_unknown("period", "Periods", periods)
    if types:
        note_unknown("type", "Payload types", list(kinds))
        bring_back("type", list(kinds))
    note_unknown("tier", "Tiers", list(tiers))
    bring_back("tier", list(tiers))
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        period = _choose_period(periods, span, state)
        chosen_types = _choose_types(list(kinds)) if types else []
        chosen_tiers = st.multiselect(
            "Tiers", list(tiers), key="tier", bind="query-params", placeholder="all", width=220
        )
    keep("tier", chosen_tiers)
    words = _words(period)
    set_to = [("Period", words)]
    set_to += [("Payload types", ", ".join(chosen_types))] if chosen_types else []
    set_to += [("Tiers", ", ".join(chosen_tiers))] if chosen_tiers else []
    return Choice(
        filters=Filters(
            period=period,
            payload_types=tuple(kinds[label] for label in chosen_types),
            tiers=tuple(tiers[label] for label in chosen_tiers),
        ),
        period_words=words,
        named=tuple(set_to),
    )


def _choose_types(labels: list[str]) -> list[str]:
    chosen = st.multiselect("Payload types", labels, key="type", bind="query-params", placeholder="all", width=340)
    keep("type", chosen)
    return chosen


def choose_days(span: Span, state: LogState) -> tuple[Period, str] | None:
    """Draw the period alone, of dated calls only, and return it with its words; None when nothing is dated."""
    periods = [name for name in _periods(span) if name != EVALUATION]
    if not periods:
        return None
    note_unknown("period", "Periods", periods)
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        period = _choose_period(periods, span, state)
    return None if period is None else (period, _words(period))


def _choose_period(periods: Sequence[str], span: Span, state: LogState) -> Period | None:
    default = _DEFAULT if _DEFAULT in periods else periods[0]
    bring_back("period", periods)
    named = st.segmented_control(
        "Period", periods, default=default, required=True, key="period", bind="query-params", wrap=True
    )
    keep("period", named or default)
    return _period(named or default, span, state.zone)


def bring_back(key: str, options: Sequence[str] = ()) -> None:
    """Give a filter what it was set to on another page, unless this page's address says otherwise.

    Streamlit forgets a widget that the page in between does not draw, and sets back the one of the same key on the page
    that follows at once, though what the last page had set is still to be seen.
    """
    if key in st.session_state and st.session_state.get(f"kept_on_{key}") == st.session_state.get(PAGE):
        return
    kept = st.session_state.get(f"kept_{key}")
    # what the address says comes first; of the page before it may still say the same, and is about to be forgotten
    asked = st.query_params.get_all(key)
    if asked and asked != (kept if isinstance(kept, list) else [str(kept)]):
        return
    if isinstance(kept, str) and kept in options:
        st.session_state[key] = kept
    elif isinstance(kept, list):
        st.session_state[key] = [value for value in cast("list[str]", kept) if value in options]
    elif isinstance(kept, float):
        st.session_state[key] = kept


def keep(key: str, value: str | float | list[str] | None) -> None:
    """Remember what a filter is set to, for the other pages."""
    st.session_state[f"kept_{key}"] = value
    st.session_state[f"kept_on_{key}"] = st.session_state.get(PAGE)


def clear() -> None:
    """Set every filter back, before the widgets are drawn: all payload types and tiers, all days."""
    st.session_state["type"] = []
    st.session_state["tier"] = []
    if st.session_state.get("period") != EVALUATION:
        st.session_state["period"] = ALL


def labels(names: Sequence[str]) -> dict[str, str]:
    """Return names by the labels that a reader chooses them by: safe to show, and all different."""
    found: dict[str, str] = {}
    for name in names:
        label = shown = fmt.logged(name) if name != NO_NAME else "(none)"
        number = 2
        # two names that differ only behind the cut, or only in how a hidden character is written
        while shown in found:
            shown, number = f"{label} ({number})", number + 1
        found[shown] = name
    return found


def _periods(span: Span) -> list[str]:
    dated = [*PRESET_DAYS, ALL, CUSTOM] if span.last_hour is not None else []
    return [*dated, EVALUATION] if span.has_undated else dated


def _period(name: str, span: Span, zone: str) -> Period | None:
    if name == EVALUATION or span.first_hour is None or span.last_hour is None:
        return None
    first, last = local_day(span.first_hour, zone), local_day(span.last_hour, zone)
    if name != CUSTOM:
        return preset(name, first=first, last=last, zone=zone)
    month_ago = max(first, last - dt.timedelta(days=29))
    days = st.date_input(
        "Days",
        (month_ago, last),
        min_value=first,
        max_value=last,
        key="days",
        bind="query-params",
        format="YYYY-MM-DD",
        width=240,
    )
    # one day, or none, while the reader is still picking
    picked: list[dt.date] = list(days) or [month_ago, last]
    return Period(first=picked[0], until=picked[-1] + dt.timedelta(days=1), zone=zone)


def _words(period: Period | None) -> str:
    if period is None:
        return "undated evaluation"
    return f"{period.first} to {period.last} ({fmt.plural(period.days, 'day')})"


def note_unknown(key: str, noun: str, options: Sequence[str], *, where: str = "in this log") -> None:
    """Say which values of the address are left out, because there is nothing of that name."""
    unknown = [value for value in st.query_params.get_all(key) if value not in options]
    if unknown:
        with st.container(key=f"unknown_{key}", horizontal=True, vertical_alignment="center"):
            st.badge("left out", icon=":material/info:", color="gray")
            st.text(f"{noun} not {where}: {', '.join(fmt.logged(value) for value in unknown[:5])}", width="content")
