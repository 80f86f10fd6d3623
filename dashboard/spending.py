"""What a payload type costs now, to set a saving against."""

import datetime as dt
from collections.abc import Callable

from dashboard.periods import Period, local_day
from dashboard.sums import Filters, Source
from router_core.call_log.access import LogBusyError, LogUnavailableError, NoLogError
from router_core.control.records import Draft

_Window = tuple[int, int] | None
_MOST_WINDOWS = 3


def spend_by_type(source: Source, zone: str) -> Callable[[Draft], float | None]:
    """Return a function that gives a payload type's spend without shadows, USD per month.

    It is the mean cost of the type's calls in the evidence's window times the month's volume that the draft counts
    with; None when the log cannot say. At most three different windows are read.
    """
    read: dict[_Window, dict[str, float]] = {}

    def spend(draft: Draft) -> float | None:
        if draft.window_us not in read:
            if len(read) == _MOST_WINDOWS:
                return None
            read[draft.window_us] = _mean_costs(source, draft.window_us, zone)
        mean_usd = read[draft.window_us].get(draft.payload_type)
        return None if mean_usd is None else mean_usd * draft.calls_per_month

    return spend


def _mean_costs(source: Source, window_us: _Window, zone: str) -> dict[str, float]:
    try:
        found = source.overview(Filters(period=None if window_us is None else _period(window_us, zone)))
    except (LogBusyError, LogUnavailableError, NoLogError):
        return {}
    return {
        row.name: (row.sums.spend_nusd - row.sums.shadow_nusd) / row.sums.calls / 1e9
        for row in found.by_type
        if row.sums.calls
    }


def _period(window_us: tuple[int, int], zone: str) -> Period:
    first, last = (local_day(dt.datetime.fromtimestamp(us / 1e6, dt.UTC), zone) for us in window_us)
    return Period(first=first, until=last + dt.timedelta(days=1), zone=zone)
