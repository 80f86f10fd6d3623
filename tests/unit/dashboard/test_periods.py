"""Periods of whole local days, cut into days, weeks or months."""

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.periods import Period, preset, slices

DAY = dt.timedelta(days=1)


def period(first: str, until: str, zone: str = "UTC") -> Period:
    return Period(first=dt.date.fromisoformat(first), until=dt.date.fromisoformat(until), zone=zone)


def test_a_preset_ends_with_the_datas_last_day() -> None:
    week = preset("7d", first=dt.date(2026, 1, 1), last=dt.date(2026, 11, 22), zone="UTC")
    assert (week.first, week.last, week.days) == (dt.date(2026, 11, 16), dt.date(2026, 11, 22), 7)


def test_all_is_from_the_first_day_to_the_last() -> None:
    whole = preset("all", first=dt.date(2026, 11, 3), last=dt.date(2026, 11, 22), zone="UTC")
    assert (whole.first, whole.days) == (dt.date(2026, 11, 3), 20)


def test_days_begin_at_local_midnight() -> None:
    berlin = period("2026-11-22", "2026-11-23", "Europe/Berlin")
    assert berlin.start == dt.datetime(2026, 11, 21, 23, tzinfo=dt.UTC)
    assert berlin.end == dt.datetime(2026, 11, 22, 23, tzinfo=dt.UTC)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-01", 24)])
def test_days_on_which_clocks_change_keep_their_hours(day: str, hours: int) -> None:
    until = (dt.date.fromisoformat(day) + DAY).isoformat()
    (only,) = slices(period(day, until, "Europe/Berlin"))
    assert only.hours == hours
    assert not only.cut


def test_long_periods_are_cut_into_weeks_then_months_and_edges_are_marked() -> None:
    weeks = slices(period("2026-01-01", "2026-07-01"))
    assert [piece.first.weekday() for piece in weeks[1:]] == [0] * (len(weeks) - 1)
    assert weeks[0].cut
    assert not weeks[1].cut
    months = slices(period("2023-01-01", "2026-07-01"))
    assert len(months) == 42
    assert not any(piece.cut for piece in months)


@given(
    st.dates(dt.date(2020, 1, 1), dt.date(2030, 1, 1)),
    st.integers(1, 1500),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]
    ),
)
def test_slices_tile_the_period(first: dt.date, days: int, zone: str) -> None:
    whole = Period(first=first, until=first + days * DAY, zone=zone)
    pieces = slices(whole)
    assert pieces[0].start == whole.start
    assert pieces[-1].end == whole.end
    assert all(one.end == next_one.start for one, next_one in pairwise(pieces))
    assert len(pieces) <= 125


def test_the_period_before_touches_this_one_and_is_as_long() -> None:
    now = period("2026-11-16", "2026-11-23", "Europe/Berlin")
    assert now.before().end == now.start
    assert now.before().days == now.days
