"""Rehearsed limits, printed for a person and for a program."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final
from zoneinfo import ZoneInfo

from optimizer.commands.money import interval_text, money, nusd_text
from optimizer.simulate.harm import Harm
from optimizer.simulate.rehearsal import Effect, Rehearsal, TypeEffect
from optimizer.traffic.words import assumptions
from router_core.call_log.terminal import bullet, safe, table
from router_core.decide.guard import EVERYTHING

_MOST_DAYS_NAMED: Final = 14
HEADERS = (
    "limit",
    "days tripped",
    "saved",
    "calls degraded",
    "extra wrong (90 %)",
    "unknown calls",
    "net total cost saved (90 %)",
    "steady saves",
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
        f"SIMULATION of {_named(effect)} on {head}, compared with what happened.",
        f"Spent {_spent(effect)}, of which {nusd_text(effect.critical_nusd)} critical."
        f" Reserve for critical calls: {nusd_text(effect.limit.critical_reserve_nusd)}.",
        "",
        table(HEADERS, [_row(each) for each in rehearsal.effects], left=0),
        "",
    ]
    if len(rehearsal.effects) == 1:
        lines += [*_details(rehearsal), ""]
    return "\n".join([*lines, "What this assumes", *(bullet(words) for words in assumptions(rehearsal.effects))])


def _named(effect: Effect) -> str:
    limit = effect.limit
    if limit.per == "day" and limit.scope == EVERYTHING:
        return "a daily limit"
    return f"the budget {safe(limit.name)}, per {_period(effect)}"


def _period(effect: Effect) -> str:
    limit = effect.limit
    return f"{limit.window_us / 3.6e9:g} hours" if limit.per == "rolling" else limit.per


def _spent(effect: Effect) -> str:
    if effect.uncapped is None:
        return nusd_text(effect.actual_nusd)
    spent = effect.actual_nusd - int(effect.uncapped.extra_nusd.sum())
    days = len(effect.uncapped.days)
    return (
        f"{nusd_text(spent)}; without the limit that was at work on {days} day{'s' * (days != 1)} it would have been "
        f"about {nusd_text(effect.actual_nusd)}"
    )


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
    notes = [f"{effect.already:,} were already"] if effect.already else []
    notes += [f"{effect.rejected:,} refused"] if effect.rejected else []
    notes += [f"{effect.tapered:,} kept from going on"] if effect.tapered else []
    degraded = f"{effect.degraded:,}" + (f" ({', '.join(notes)})" if notes else "")
    judged = effect.harm.judged or effect.harm.same
    return (
        nusd_text(effect.limit.limit_nusd),
        tripped,
        interval_text(effect.saved_usd, ",.2f", "$"),
        degraded,
        interval_text(effect.harm.extra_wrong, ",.1f") if judged or not effect.moved else "not known",
        f"{effect.harm.unknown:,}",
        interval_text(effect.net_usd, ",.2f", "$"),
        "not known" if effect.steady is None else money(effect.steady.saved_usd),
    )


def _details(rehearsal: Rehearsal) -> Iterator[str]:
    effect, zone = rehearsal.effects[0], ZoneInfo(rehearsal.traffic.zone)
    for trip in effect.trips[:_MOST_DAYS_NAMED]:
        moment = dt.datetime.fromtimestamp(trip.at_us / 1e6, zone)
        flying = f", {trip.in_flight:,} calls in flight ({nusd_text(trip.in_flight_nusd)})" if trip.in_flight else ""
        yield f"  tripped {trip.day} at {moment:%H:%M:%S %Z}{flying}"
    if len(effect.trips) > _MOST_DAYS_NAMED:
        yield f"  and on {len(effect.trips) - _MOST_DAYS_NAMED} more days (--json has them all)"
    yield from (f"  left as it was {day}: a limit had degraded calls on it" for day in effect.left[:_MOST_DAYS_NAMED])
    rows = [
        (
            safe(row.payload_type),
            f"{row.calls:,}",
            f"{row.moved + row.already:,}",
            ", ".join(row.tiers_capped) or "-",
            nusd_text(row.saved_nusd),
            interval_text(row.harm.extra_wrong, ",.1f") if row.harm.judged or row.harm.same else "not known",
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
        "limit": _limit_json(effect),
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
        "calls_rejected": effect.rejected,
        "calls_tapered": effect.tapered,
        "alternative_cost": dict(zip(("own", "scaled", "repriced", "unknown"), effect.moved_by_basis, strict=True)),
        "harm": _harm_json(effect.harm),
        "saved_usd": effect.saved_usd,
        "net_usd": effect.net_usd,
        "steady": effect.steady,
        "uncapped": _uncapped_json(effect),
        "days": [
            {"day": day, "actual_nusd": int(actual), "capped_nusd": int(capped)}
            for day, actual, capped in zip(
                rehearsal.traffic.days, swept.actual_nusd, swept.capped_nusd[place], strict=True
            )
        ],
        "by_type": [_type_json(row) for row in rehearsal.by_type(place)],
    }


def _limit_json(effect: Effect) -> dict[str, Any]:
    limit = effect.limit
    plain = {each.name: getattr(limit, each.name) for each in fields(limit) if each.name != "scope"}
    return plain | {"scope": limit.scope.identity}


def _type_json(row: TypeEffect) -> dict[str, Any]:
    plain = {each.name: getattr(row, each.name) for each in fields(row)}
    return plain | {"harm": _harm_json(row.harm)}


def _harm_json(harm: Harm) -> dict[str, Any]:
    return {each.name: getattr(harm, each.name) for each in fields(harm) if each.name != "impact_draws"}


def _uncapped_json(effect: Effect) -> dict[str, Any] | None:
    if effect.uncapped is None:
        return None
    extra = int(effect.uncapped.extra_nusd.sum())
    return {"days": effect.uncapped.days, "calls": effect.uncapped.calls, "spent_nusd": effect.actual_nusd - extra}
