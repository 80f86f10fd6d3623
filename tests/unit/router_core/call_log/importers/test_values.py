import datetime as dt
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from router_core.call_log.importers.values import (
    has_zone,
    to_count,
    to_duration,
    to_flag,
    to_fraction,
    to_instant_us,
    to_nusd,
    to_text,
)

INSTANT_US = 1_762_164_000_250_000


@pytest.mark.parametrize(
    "value",
    [
        "2025-11-03T10:00:00.250Z",
        "2025-11-03 10:00:00.25+00",
        "2025-11-03T11:00:00.250000+01:00",
        "2025-11-03 10:00:00.250",
        dt.datetime(2025, 11, 3, 10, 0, 0, 250_000, tzinfo=dt.UTC),
        1_762_164_000.25,
        1_762_164_000_250,
        1_762_164_000_250_000,
        1_762_164_000_250_000_999,
        "1762164000.25",
        Decimal("1762164000250"),
    ],
)
def test_every_way_to_write_an_instant_gives_the_same(value: Any) -> None:
    assert to_instant_us(value, dt.UTC) == INSTANT_US


def test_instant_without_a_zone_is_of_the_zone_that_is_given() -> None:
    assert to_instant_us("2025-11-03T11:00:00.25", ZoneInfo("Europe/Berlin")) == INSTANT_US


@pytest.mark.parametrize("value", ["", "soon", "1999-12-31", "2100-01-01", True, 5, -1, 1e300, float("nan"), [], None])
def test_what_is_no_instant_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is no instant"):
        to_instant_us(value, dt.UTC)


@pytest.mark.parametrize(
    ("value", "found"),
    [("2025-11-03T10:00:00", False), ("2025-11-03", False), ("2025-11-03T10:00:00-05:00", True), ("1762164000", True)],
)
def test_zone_is_seen_where_one_is_named(value: str, found: bool) -> None:
    assert has_zone(value) is found


@pytest.mark.parametrize(
    ("value", "nusd"),
    [
        ("0.000123456", 123_456),
        (0.1, 100_000_000),
        ("$1.50", 1_500_000_000),
        ("1e-9", 1),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        (Decimal("2.0000000001"), 2_000_000_000),
        (0, 0),
    ],
)
def test_usd_is_rounded_to_nano_dollars_as_it_is_written(value: Any, nusd: int) -> None:
    assert to_nusd(value) == nusd


@pytest.mark.parametrize("value", ["", "free", "-0.1", "1,5", "nan", "inf", "1e7", "1e999999999", True, {}, []])
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        to_nusd(value)


@pytest.mark.parametrize(("value", "count"), [(5, 5), ("5", 5), (5.0, 5), ("5.0", 5), ("1e3", 1000)])
def test_counts_are_whole_however_they_are_written(value: Any, count: int) -> None:
    assert to_count(value) == count


@pytest.mark.parametrize("value", [-1, 1.5, "1.5", 10**11, True, "many", None])
def test_what_is_no_count_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        to_count(value)


def test_durations_and_fractions_have_their_limits() -> None:
    assert (to_duration("1.5"), to_fraction("0.25"), to_fraction(True), to_fraction("false")) == (1.5, 0.25, 1, 0)
    for bad in ("-1", "1e12"):
        with pytest.raises(ValueError, match=r"^is "):
            to_duration(bad)
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        to_fraction("55")


def test_text_is_short_and_whole() -> None:
    assert (to_text(" a "), to_text(5), len(to_text("x" * 9_999))) == ("a", "5", 500)
    for bad in (["a"], {"a": 1}, True, "a\x00b", "a\ud800"):
        with pytest.raises(ValueError, match=r"^(is|holds) "):
            to_text(bad)


@pytest.mark.parametrize(("value", "found"), [("True", True), ("None", False), (1, True), ("", False), (False, False)])
def test_flags_have_many_spellings(value: Any, found: bool) -> None:
    assert to_flag(value) is found
    with pytest.raises(ValueError, match="neither true nor false"):
        to_flag("perhaps")
