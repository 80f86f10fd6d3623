import datetime as dt
import zoneinfo

import pytest

from router_core.call_log.instants import find_zone, parse_instant
from router_core.errors import ConfigError

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def test_a_day_begins_at_midnight_of_its_zone() -> None:
    assert parse_instant("2026-11-01", BERLIN, NOW, "--since") == dt.datetime(2026, 10, 31, 23, tzinfo=dt.UTC)


def test_an_instant_with_an_offset_keeps_it() -> None:
    assert parse_instant("2026-11-01T12:00+02:00", BERLIN, NOW, "--since") == dt.datetime(
        2026, 11, 1, 10, tzinfo=dt.UTC
    )


@pytest.mark.parametrize(("text", "hours"), [("24h", 24), ("7d", 168)])
def test_how_long_ago_counts_from_now(text: str, hours: int) -> None:
    assert parse_instant(text, BERLIN, NOW, "--since") == NOW - dt.timedelta(hours=hours)


def test_nothing_given_is_no_bound() -> None:
    assert parse_instant(None, BERLIN, NOW, "--since") is None


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "999999d", "-7d", "7 d"])
def test_anything_else_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--since.*\n.*write 2026-11-01"):
        parse_instant(text, BERLIN, NOW, "--since")


@pytest.mark.parametrize("name", ["Europe/Berlln", "", "../etc/passwd", "\0"])
def test_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="IANA name"):
        find_zone(name)
