"""Spend so far and of late → when a limit will be reached, if it goes on like this."""

from dataclasses import dataclass

from router_core.decide.guard import Limit, Spend, used_nusd


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How a period goes on at the present rate.

    Attributes:
        at_us: When the limit will be reached, microseconds since the epoch; None = not in this period.
        end_nusd: What will count against it at the period's end, nano-dollars; of a rolling window, when its present
            rate has filled it.
    """

    at_us: int | None
    end_nusd: int


def forecast(limit: Limit, spend: Spend, *, now_us: int, end_us: int, recent_nusd: int, recent_us: int) -> Forecast:
    """Return when a limit will be reached at the rate of late.

    Money goes on as in the time of late: rate = ``recent_nusd`` / ``recent_us``. The critical reserve counts as spent
    from the beginning, as it does for the limit.

    Args:
        limit: The limit.
        spend: What was spent of it in this period.
        now_us: The present instant.
        end_us: The period's end; of a rolling window the instant in a window's length from now.
        recent_nusd: Spend of the time of late.
        recent_us: How long that was, microseconds, more than 0.
    """
    used = used_nusd(limit, spend)
    left = limit.limit_nusd - used
    to_come = max(0, recent_nusd) * max(0, end_us - now_us) // recent_us
    if limit.per == "rolling":  # what comes displaces what goes
        end = max(0, recent_nusd) * limit.window_us // recent_us
        end += max(0, limit.critical_reserve_nusd - spend.critical_nusd)
    else:
        end = used + to_come
    if left <= 0:
        return Forecast(at_us=now_us, end_nusd=max(end, used))
    if recent_nusd <= 0 or end < limit.limit_nusd:
        return Forecast(at_us=None, end_nusd=end)
    at_us = now_us + -(-left * recent_us // recent_nusd)
    return Forecast(at_us=at_us if at_us < end_us else None, end_nusd=end)
