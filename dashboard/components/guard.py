"""What the spend guardrail is doing at this moment, as the routers logged it."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard.holdings import LogEvent
from dashboard.library import Library
from dashboard.sums import LogState

EVENT = "guard"
_WORDS: Mapping[str, str] = {
    "taper": "saving: no shadows, no optional escalations",
    "capped": "capped: non-critical calls go to the cheapest target",
    "stopped": "stopped: non-critical calls are refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A budget that holds calls back now.

    Attributes:
        budget: Its name, and what of it is meant, where it does not count everything.
        state: ``taper``, ``capped`` or ``stopped``.
        since: Since when, UTC.
        until: When it ends by itself, UTC; None = not known.
    """

    budget: str
    state: str
    since: dt.datetime
    until: dt.datetime | None


def held_now(events: Sequence[LogEvent], now: dt.datetime) -> tuple[Held, ...]:
    """Return the budgets that hold calls back at an instant, by the newest event of each.

    Args:
        events: The guard's events, newest first.
        now: The present instant, UTC.
    """
    newest: dict[str, LogEvent] = {}
    for event in events:
        scope = str(event.details.get("scope") or "")
        newest.setdefault(f"{event.details.get('budget') or ''}{f' ({scope})' if scope else ''}", event)
    found: list[Held] = []
    for budget, event in newest.items():
        state = str(event.details.get("state") or "")
        until_us = event.details.get("until_us")
        until = dt.datetime.fromtimestamp(until_us / 1e6, dt.UTC) if isinstance(until_us, int | float) else None
        if state in _WORDS and (until is None or until > now):
            found.append(Held(budget=budget, state=state, since=event.at, until=until))
    return tuple(found)


def draw(library: Library, state: LogState) -> None:
    """Draw a banner for each budget that holds calls back now; nothing when all is normal."""
    zone = ZoneInfo(state.zone)
    for held in held_now(library.events((EVENT,)), state.now):
        until = f", returns at {_clock(held.until, zone)}" if held.until is not None else ""
        words = f"Budget {fmt.logged(held.budget, longest=60)} is {_WORDS[held.state]}"
        st.warning(fmt.markdown(f"{words}. Since {_clock(held.since, zone)}{until}."), icon=":material/speed:")


def _clock(moment: dt.datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
