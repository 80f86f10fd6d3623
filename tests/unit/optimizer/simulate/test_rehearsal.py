"""A rehearsal's sums, in words of days, calls and money."""

import datetime as dt
from dataclasses import replace

import pytest

from optimizer.simulate.rehearsal import rehearse
from router_core.decide.guard import Limit
from tests.traffic import FIRST, make_traffic

USD = 1_000_000_000


def limit(usd: float, reserve: float = 0) -> Limit:
    return Limit(name="daily", limit_nusd=round(usd * USD), critical_reserve_nusd=round(reserve * USD))


def test_a_limit_of_four_dollars_degrades_what_follows_the_fourth_call_of_each_day() -> None:
    (effect,) = rehearse(make_traffic(), [limit(4)]).effects
    assert [trip.day for trip in effect.trips] == [FIRST, FIRST + dt.timedelta(1), FIRST + dt.timedelta(2)]
    local = dt.datetime.fromtimestamp(effect.trips[0].at_us / 1e6, dt.UTC)
    assert (local.hour, local.minute) == (7, 40)  # the fifth call, 08:40 in Berlin
    assert (effect.moved, effect.already, effect.degraded) == (15, 0, 15)
    assert effect.saved_nusd == 15 * 9 * USD // 10
    assert (effect.actual_nusd, effect.critical_nusd) == (30 * USD, 3 * USD)
    assert effect.days_over == 3


def test_the_reserve_is_kept_for_critical_calls() -> None:
    (effect,) = rehearse(make_traffic(), [limit(4, reserve=2)]).effects
    assert effect.moved == 3 * 7


def test_what_labels_tell_is_beside_what_they_do_not() -> None:
    (effect,) = rehearse(make_traffic(), [limit(0)]).effects
    assert (effect.harm.judged, effect.harm.unknown, effect.harm.same) == (9, 9, 9)
    assert effect.harm.extra_wrong.mean == pytest.approx(0.9)
    assert effect.net_usd.mean == pytest.approx(27 * 0.9 - 0.45)
    assert effect.net_usd.low < effect.net_usd.mean < effect.net_usd.high


def test_payload_types_add_up_to_the_whole_and_the_most_degraded_comes_first() -> None:
    rehearsal = rehearse(make_traffic(per_day=11), [limit(99), limit(3)])
    rows, effect = rehearsal.by_type(1), rehearsal.effects[1]
    assert sum(row.moved for row in rows) == effect.moved
    assert sum(row.saved_nusd for row in rows) == effect.saved_nusd
    assert sum(row.harm.unknown for row in rows) == effect.harm.unknown
    assert sum(row.calls for row in rows) == 33
    assert [row.moved for row in rows] == sorted((row.moved for row in rows), reverse=True)
    assert {row.tiers_capped for row in rows} == {("cheap",)}


def test_a_day_on_which_a_limit_was_at_work_is_left_and_named() -> None:
    (effect,) = rehearse(make_traffic(degraded_on=1), [limit(8)]).effects
    assert effect.left == (FIRST + dt.timedelta(1),)
    assert len(effect.trips) == 2


def test_what_is_in_flight_when_a_limit_is_reached_is_counted() -> None:
    """A call every ten minutes, answered after 25: the fifth finds two of the four before it not answered."""
    made = make_traffic(days=1)
    calls = replace(made.calls, ended_us=made.calls.at_us + 25 * 60 * 1_000_000)
    (trip,) = rehearse(replace(made, calls=calls), [limit(4)]).effects[0].trips
    assert (trip.in_flight, trip.in_flight_nusd) == (2, 2 * USD)
    assert rehearse(made, [limit(4)]).effects[0].trips[0].in_flight == 0
