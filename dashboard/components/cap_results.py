"""The cap simulator's results: five tiles in a row, and the table by payload type."""

from collections.abc import Sequence

from dashboard import format as fmt
from dashboard.components.tables import Column, Table
from dashboard.components.tiles import Tile
from optimizer.simulate.harm import Harm
from optimizer.simulate.rehearsal import Effect, Rehearsal, TypeEffect
from router_core.control.records import Interval

# an estimate in the hundreds is not known to a tenth
_WHOLE_FROM = 100


def cap_tiles(effect: Effect, days: int, calls: int) -> tuple[Tile, ...]:
    """Return the tiles of one limit on so many days and calls."""
    harm = effect.harm
    tripped = f"{fmt.count(len(effect.trips))} of {fmt.count(days)}"
    return (
        Tile(
            key="tripped",
            label="Days tripped",
            value=tripped,
            note=f"{fmt.count(len(effect.left))} left as they were" if effect.left else None,
            help="Days on which the limit is reached, of the days in the period. Days on which a limit had degraded "
            "calls already are left as they were, unless this limit is reached before the first of those.",
        ),
        Tile(
            key="saved",
            label="Spend saved",
            value=fmt.usd_short(fmt.nusd(effect.saved_nusd)),
            note=_share(effect.saved_nusd, effect.actual_nusd),
            help=f"What happened, {fmt.usd(fmt.nusd(effect.actual_nusd))}, minus spend under the limit, "
            f"{fmt.usd(fmt.nusd(effect.capped_nusd))}. Negative where the limit would have cost more.",
        ),
        Tile(
            key="degraded",
            label="Calls degraded",
            value=fmt.count_short(effect.degraded),
            note=f"{fmt.count(effect.already)} were already" if effect.already else _share(effect.degraded, calls),
            help=f"{fmt.count(effect.degraded)} of {fmt.plural(calls, 'call')} go to their cheapest allowed target; a "
            f"limit had moved {fmt.count(effect.already)} of them when they were made.",
        ),
        Tile(
            key="extra_wrong",
            label="Extra wrong answers",
            value=_wrong(harm) or "unknown",
            note=_wrong_note(harm),
            help=f"Expected among {fmt.plural(harm.judged, 'degraded call')} that labels speak for, with the 90 % "
            f"interval of the estimate; {fmt.count(harm.same)} more keep their answer, and "
            f"{fmt.count(harm.unknown)} are unknown.",
        ),
        Tile(
            key="net",
            label="Net total cost saved",
            value=fmt.usd_short(effect.net_usd.mean) if _wrong(harm) else "unknown",
            note=usd_interval(effect.net_usd) if harm.judged else None,
            help="Spend saved minus what the extra wrong answers cost at their error price, as far as both are known.",
        ),
    )


def by_type(rows: Sequence[TypeEffect]) -> Table:
    """Return one row per payload type."""
    columns = (
        Column(title="Payload type", name="payload_type", kind="text"),
        Column(title="Calls", name="calls", kind="count"),
        Column(title="Degraded", name="degraded", kind="count", help="Calls that the limit moves"),
        Column(title="Were already", name="degraded_already", kind="count", help="Of them, degraded in the log too"),
        Column(title="Moved to", name="moved_to", kind="text"),
        Column(title="Saved", name="saved_usd", kind="usd", help="Spend saved, signed"),
        Column(title="Extra wrong", name="extra_wrong", kind="number", help="Expected, of the calls labels speak for"),
        Column(title="90% interval", name="extra_wrong_90", kind="text"),
        Column(title="Unknown calls", name="unknown_calls", kind="count", help="Degraded calls no labels speak for"),
        Column(title="Impact", name="impact_usd", kind="usd", help="What the extra wrong answers cost"),
        Column(title="Net saved", name="net_usd", kind="usd", help="Saved minus impact"),
    )
    return Table(
        columns=columns,
        rows=tuple(
            (
                row.payload_type or "(none)",
                row.calls,
                row.moved + row.already,
                row.already,
                ", ".join(row.tiers_capped) if row.moved or row.already else fmt.NOTHING,
                fmt.nusd(row.saved_nusd),
                row.harm.extra_wrong.mean if _wrong(row.harm) else None,
                number_interval(row.harm.extra_wrong) if row.harm.judged else fmt.NOTHING,
                row.harm.unknown,
                row.harm.impact_usd.mean if row.harm.judged > row.harm.unpriced else None,
                row.net_usd.mean if _wrong(row.harm) else None,
            )
            for row in rows
        ),
    )


def by_day(rehearsal: Rehearsal, place: int) -> Table:
    """Return one row per day under one of the limits: what happened, and what would have."""
    effect = rehearsal.effects[place]
    tripped, left = {trip.day for trip in effect.trips}, set(effect.left)
    columns = (
        Column(title="Day", name="day", kind="text"),
        Column(title="Happened", name="actual_usd", kind="usd"),
        Column(title="Under the limit", name="capped_usd", kind="usd"),
        Column(title="Limit", name="limit", kind="text"),
    )
    days = zip(rehearsal.traffic.days, rehearsal.sweep.actual_nusd, rehearsal.sweep.capped_nusd[place], strict=True)
    return Table(
        columns=columns,
        rows=tuple(
            (
                day.isoformat(),
                fmt.nusd(int(actual)),
                fmt.nusd(int(capped)),
                "reached" if day in tripped else "left as it was" if day in left else "",
            )
            for day, actual, capped in days
        ),
    )


def usd_interval(interval: Interval) -> str:
    """Return a 90 % interval of USD, ``−$22.98 to −$13.01 (90%)``."""
    return f"{fmt.usd_short(interval.low)} to {fmt.usd_short(interval.high)} (90%)"


def number_interval(interval: Interval) -> str:
    """Return a 90 % interval of a count, ``47.9 to 84.2``."""
    return f"{_number(interval.low)} to {_number(interval.high)}"


def _wrong(harm: Harm) -> str | None:
    """Return the expected number; None when nothing is known of any call."""
    if not harm.judged and not harm.same and harm.unknown:
        return None
    mean = harm.extra_wrong.mean
    return f"+{_number(mean)}" if mean > 0 else _number(mean)


def _wrong_note(harm: Harm) -> str | None:
    words = [f"{number_interval(harm.extra_wrong)} (90%)"] if harm.judged else []
    words += [f"{fmt.plural(harm.unknown, 'call')} unknown"] if harm.unknown else []
    return "\n".join(words) or None


def _number(value: float) -> str:
    return fmt.count(round(value, 0 if abs(value) >= _WHOLE_FROM else 1) + 0.0)


def _share(part: float, whole: float) -> str | None:
    return f"{fmt.rate(part / whole)} of all" if whole else None
