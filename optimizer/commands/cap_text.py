"""Rehearsed limits, printed for a person and for a program."""

import datetime as dt
import textwrap
from collections.abc import Iterator
from typing import Any, Final
from zoneinfo import ZoneInfo

from optimizer.simulate.rehearsal import Effect, Rehearsal
from optimizer.traffic.words import assumptions
from router_core.call_log.terminal import safe, table
from router_core.control.records import Interval
from router_core.types import NANO

_LINE_WIDTH: Final = 100
_MOST_DAYS_NAMED: Final = 14
HEADERS = (
    "daily limit",
    "days tripped",
    "saved",
    "calls degraded",
    "extra wrong (90 %)",
    "unknown calls",
    "net total cost saved (90 %)",
)


def cap_text(rehearsal: Rehearsal) -> str:
    """Return one row per limit, what happened beside it, and what all of it assumes."""
    traffic = rehearsal.traffic
    calls = len(traffic.calls.at_us)
    first, last = (traffic.days[0], traffic.days[-1]) if traffic.days else ("-", "-")
    head = f"{first} to {last} ({len(traffic.days)} days, {traffic.zone}), {calls:,} calls"
    if not calls:
        return f"{head}. Nothing to replay; try an earlier --since, or see: tierwise doctor"
    effect = rehearsal.effects[0]
    lines = [
        f"SIMULATION of a daily limit on {head}, compared with what happened.",
        f"Spent {_usd(effect.actual_nusd)}, of which {_usd(effect.critical_nusd)} critical."
        f" Reserve for critical calls: {_usd(effect.limit.critical_reserve_nusd)}.",
        "",
        table(HEADERS, [_row(each) for each in rehearsal.effects], left=0),
        "",
    ]
    if len(rehearsal.effects) == 1:
        lines += [*_details(rehearsal), ""]
    return "\n".join([*lines, "What this assumes", *(_wrapped(words) for words in assumptions(rehearsal.effects))])


def _wrapped(sentence: str) -> str:
    return textwrap.fill(sentence, _LINE_WIDTH, initial_indent="  - ", subsequent_indent="    ")


def cap_json(rehearsal: Rehearsal) -> dict[str, Any]:
    """Return the same as plain data; money in nano-dollars where it is exact, in USD where it is estimated."""
    traffic = rehearsal.traffic
    return {
        "zone": traffic.zone,
        "first": str(traffic.days[0]) if traffic.days else None,
        "last": str(traffic.days[-1]) if traffic.days else None,
        "calls": len(traffic.calls.at_us),
        "limits": [_effect_json(rehearsal, place) for place in range(len(rehearsal.effects))],
        "assumptions": list(assumptions(rehearsal.effects)),
    }


def _row(effect: Effect) -> tuple[object, ...]:
    tripped = f"{len(effect.trips)} + {len(effect.left)} left" if effect.left else str(len(effect.trips))
    degraded = f"{effect.degraded:,}" + (f" ({effect.already:,} were already)" if effect.already else "")
    judged = effect.harm.judged or effect.harm.same
    return (
        _usd(effect.limit.limit_nusd),
        tripped,
        _usd(effect.saved_nusd),
        degraded,
        _interval(effect.harm.extra_wrong, ",.1f") if judged or not effect.moved else "not known",
        f"{effect.harm.unknown:,}",
        _interval(effect.net_usd, ",.2f", "$"),
    )


def _details(rehearsal: Rehearsal) -> Iterator[str]:
    effect, zone = rehearsal.effects[0], ZoneInfo(rehearsal.traffic.zone)
    for trip in effect.trips[:_MOST_DAYS_NAMED]:
        moment = dt.datetime.fromtimestamp(trip.at_us / 1e6, zone)
        yield f"  tripped {trip.day} at {moment:%H:%M:%S %Z}"
    if len(effect.trips) > _MOST_DAYS_NAMED:
        yield f"  and on {len(effect.trips) - _MOST_DAYS_NAMED} more days (--json has them all)"
    yield from (f"  left as it was {day}: a limit had degraded calls on it" for day in effect.left[:_MOST_DAYS_NAMED])
    rows = [
        (
            safe(row.payload_type),
            f"{row.calls:,}",
            f"{row.moved + row.already:,}",
            ", ".join(row.tiers_capped) or "-",
            _usd(row.saved_nusd),
            _interval(row.harm.extra_wrong, ",.1f") if row.harm.judged or row.harm.same else "not known",
            f"{row.harm.unknown:,}",
        )
        for row in rehearsal.by_type(0)
        if row.moved or row.already
    ]
    if rows:
        headers = ("payload type", "calls", "degraded", "to", "saved", "extra wrong (90 %)", "unknown calls")
        yield ""
        yield table(headers, rows)


def _effect_json(rehearsal: Rehearsal, place: int) -> dict[str, Any]:
    effect, swept = rehearsal.effects[place], rehearsal.sweep
    return {
        "limit": effect.limit,
        "days_tripped": len(effect.trips),
        "trips": effect.trips,
        "days_left_as_they_were": effect.left,
        "days_over": effect.days_over,
        "actual_nusd": effect.actual_nusd,
        "capped_nusd": effect.capped_nusd,
        "saved_nusd": effect.saved_nusd,
        "critical_nusd": effect.critical_nusd,
        "calls_degraded": effect.degraded,
        "calls_degraded_already": effect.already,
        "alternative_cost": dict(zip(("own", "scaled", "repriced", "unknown"), effect.moved_by_basis, strict=True)),
        "harm": effect.harm,
        "net_usd": effect.net_usd,
        "days": [
            {"day": day, "actual_nusd": int(actual), "capped_nusd": int(capped)}
            for day, actual, capped in zip(
                rehearsal.traffic.days, swept.actual_nusd, swept.capped_nusd[place], strict=True
            )
        ],
        "by_type": rehearsal.by_type(place),
    }


def _usd(nusd: int) -> str:
    return _money(nusd / NANO)


def _money(usd: float, form: str = ",.2f") -> str:
    digits = form if abs(usd) >= 1 or usd == 0 else ",.4f"
    return f"{'−' if usd < 0 else ''}${abs(usd):{digits}}"


def _interval(interval: Interval, form: str, unit: str = "") -> str:
    if unit:
        return f"{_money(interval.mean)} ({_money(interval.low)} to {_money(interval.high)})"
    if interval.low == interval.high:
        return f"{interval.mean:{form}}".replace("-", "−")
    return f"{interval.mean:{form}} ({interval.low:{form}} to {interval.high:{form}})".replace("-", "−")
