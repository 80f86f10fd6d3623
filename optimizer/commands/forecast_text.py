"""A forecast, printed for a person and for a program."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from optimizer.commands.money import money
from optimizer.simulate.forecast import AHEAD, BACKTEST_AHEAD, FEWEST_DAYS, Backtest, Band, Crossing, DayAhead, Outlook
from router_core.call_log.terminal import bullet, table
from router_core.types import NANO

if TYPE_CHECKING:
    from optimizer.traffic.spend_days import SpendDays
    from router_core.decide.guard import Limit

_DAYS_SHOWN: Final = 14
_SMALL: Final = 0.01


def forecast_text(outlook: Outlook, spent: "SpendDays", limit: "Limit | None", zone: str) -> str:
    """Return what is to come, how sure that is, and what it takes for granted."""
    history = spent.history
    if not outlook.full_days and not history.today_nusd:
        return "Nothing to forecast: no spend in these days. Try an earlier --since, or see: tierwise doctor"
    days = f"{outlook.full_days} full day{'s' * (outlook.full_days != 1)}"
    first = f" from {history.days[0]}" if history.days else ""
    lines = [f"FORECAST from {days}{first} and {history.today} so far ({zone}).", ""]
    lines += [_month(outlook), *_ahead(outlook), *_crossing(outlook.crossing)]
    if outlook.days:
        lines += ["", _table(outlook, limit), "", *_backtest(outlook.backtest)]
    return "\n".join([*lines, "", "What this assumes", *(bullet(words) for words in assumptions(outlook, spent))])


def forecast_json(outlook: Outlook, spent: "SpendDays", limit: "Limit | None") -> dict[str, Any]:
    """Return the same as plain data; money in nano-dollars where it is exact, in USD where it is forecast."""
    history = spent.history
    return {
        "today": str(history.today),
        "first": str(history.days[0]) if history.days else None,
        "today_nusd": history.today_nusd,
        "limit": limit,
        "degraded_days": spent.degraded_days,
        "outlook": outlook,
        "assumptions": list(assumptions(outlook, spent)),
    }


def assumptions(outlook: Outlook, spent: "SpendDays") -> Iterator[str]:
    """Yield what a forecast takes for granted."""
    if outlook.month_usd is None:
        yield (
            f"Fewer than {FEWEST_DAYS} full days: this is their mean, without weekdays and without a band. Come back "
            "when there are more."
        )
    else:
        yield (
            "The days ahead are drawn from a level that drifts, a damped slope and a weekday pattern, fitted to these "
            "days; what is not known of them is in the bands. A change that the log has not seen is not."
        )
    yield "All spend counts, whatever its source: shadows, judges and imported calls included."
    if spent.partial_first is not None:
        yield f"The log began within {spent.partial_first}, so that this day does not count."
    if spent.degraded_days:
        yield (
            f"On {spent.degraded_days} day{'s' * (spent.degraded_days != 1)} a limit had degraded calls. Spend is "
            "forecast as it was with that limit; trips are forecast from what those calls would have cost without it, "
            "which is modelled."
        )


def _month(outlook: Outlook) -> str:
    so_far = money(outlook.month_so_far_nusd / NANO)
    if outlook.month_usd is not None:
        return f"Spend by {outlook.month_end}: {_band(outlook.month_usd)}; {so_far} so far."
    if outlook.rate_usd_day is None or outlook.month_at_rate_usd is None:
        return f"Spend of the month so far: {so_far}."
    rate = money(outlook.rate_usd_day)
    return f"At {rate} a day, spend by {outlook.month_end}: {money(outlook.month_at_rate_usd)}; {so_far} so far."


def _ahead(outlook: Outlook) -> Iterator[str]:
    if outlook.ahead_usd is not None:
        yield f"Spend of the next {AHEAD} days: {_band(outlook.ahead_usd)}."


def _crossing(crossing: Crossing | None) -> Iterator[str]:
    if crossing is None:
        return
    budget = money(crossing.budget_nusd / NANO)
    if crossing.day is None:
        done = "is used up already" if crossing.probability == 1.0 else "is not used up in any draw"
        yield f"The month's budget of {budget} {done}."
        return
    yield (
        f"The month's budget of {budget} is used up with probability {_chance(crossing.probability)}; then most "
        f"likely about {crossing.day} (80 %: {crossing.first} to {crossing.last})."
    )


def _table(outlook: Outlook, limit: "Limit | None") -> str:
    headers = ["day", "spend", "80 % band", "95 % band"]
    if limit is not None:
        headers.append(f"reaches {money(limit.limit_nusd / NANO)}")
    return table(headers, [_row(day) for day in outlook.days[:_DAYS_SHOWN]])


def _row(day: DayAhead) -> list[str]:
    spend = day.spend_usd
    row = [
        f"{day.day:%a %Y-%m-%d}",
        money(spend.median),
        f"{money(spend.low_80)} to {money(spend.high_80)}",
        f"{money(spend.low_95)} to {money(spend.high_95)}",
    ]
    return row if day.trip_probability is None else [*row, _chance(day.trip_probability)]


def _backtest(found: Backtest | None) -> Iterator[str]:
    if found is None:
        yield "Backtest: too few days to hold the forecast against."
        return
    weeks = ""
    if found.weeks_in_80 is not None:
        weeks = f"; sums of {BACKTEST_AHEAD} days in theirs {found.weeks_in_80:.0%} of {found.weeks}"
    yield (
        f"Backtest: made on each of {found.origins} earlier days for the {BACKTEST_AHEAD} days to come, the 80 % band "
        f"held {found.in_80:.0%} of {found.days} days, the 95 % band {found.in_95:.0%}{weeks}."
    )
    if found.brier is not None and found.brier_climatology is not None:
        verdict = "better" if found.brier < found.brier_climatology else "no better"
        yield (
            f"Trips ({found.trips} in these days): Brier score {found.brier:.3f}, {verdict} than "
            f"{found.brier_climatology:.3f} of always giving the share of days before."
        )


def _band(band: Band) -> str:
    return (
        f"{money(band.median)} (80 %: {money(band.low_80)} to {money(band.high_80)}; 95 %: {money(band.low_95)} to "
        f"{money(band.high_95)})"
    )


def _chance(share: float) -> str:
    if 0 < share < _SMALL:
        return "< 1 %"
    return "> 99 %" if 1 - _SMALL < share < 1 else f"{share * 100:.0f} %"
