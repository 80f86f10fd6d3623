"""Numbers, times and logged text as the pages show them."""

import datetime as dt
import math
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import format as fmt


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "$0"),
        (1.23e-4, "$0.000123"),
        (-2, "−$2.00"),
        (1234.5, "$1,234.50"),
        (1e-12, "<$0.000000001"),
        (-1e-12, ">−$0.000000001"),
        (math.nan, "–"),
        (math.inf, "–"),
        (None, "–"),
        (1, "$1.00"),
        (0.99995, "$1.00"),
        (0.9999, "$0.9999"),
        (0.01, "$0.0100"),
        (0.0099996, "$0.0100"),
        (0.00999, "$0.00999"),
        (1e-9, "$0.00000000100"),
        (1_234_567.891, "$1,234,567.89"),
    ],
)
def test_amounts_keep_their_meaning_at_every_size(amount: float | None, shown: str) -> None:
    assert fmt.usd(amount) == shown


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_amount_is_scientific_or_nan(amount: float) -> None:
    shown = fmt.usd(amount)
    assert "e" not in shown
    assert "nan" not in shown.lower()
    assert "-" not in shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (99_999.99, "$99,999.99"),
        (123_400, "$123.4k"),
        (-123_400, "−$123.4k"),
        (999_949, "$999.9k"),
        (999_999, "$1.00M"),
        (3_337_962, "$3.34M"),
        (2.5e9, "$2.50B"),
    ],
)
def test_tiles_shorten_large_amounts(amount: float, shown: str) -> None:
    assert fmt.usd_short(amount) == shown


def test_nano_dollars_become_dollars_without_drift() -> None:
    assert fmt.nusd(1) == 1e-9
    assert fmt.nusd(12_085_550_000_001) == 12085.550000001
    assert fmt.nusd(None) is None


@pytest.mark.parametrize(
    ("number", "long", "short"),
    [
        (0, "0", "0"),
        (3_337_962, "3,337,962", "3.34M"),
        (76.5, "76.5", "76.5"),
        (None, "–", "–"),
        (-1200, "−1,200", "−1,200"),
    ],
)
def test_counts(number: float | None, long: str, short: str) -> None:
    assert (fmt.count(number), fmt.count_short(number)) == (long, short)


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(0, "0%"), (0.0189, "1.89%"), (0.00001, "<0.01%"), (1, "100.00%"), (None, "–"), (math.nan, "–")],
)
def test_rates_are_percent(fraction: float | None, shown: str) -> None:
    assert fmt.rate(fraction) == shown


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0.25, "0.25 ms"),
        (12.3, "12 ms"),
        (9_999, "9,999 ms"),
        (10_000, "10.0 s"),
        (3_600_000, "3,600.0 s"),
        (None, "–"),
    ],
)
def test_latency_changes_its_unit_at_ten_seconds(ms: float | None, shown: str) -> None:
    assert fmt.latency(ms) == shown


def test_bucket_quantiles_are_marked_as_approximate() -> None:
    assert fmt.latency(81, approximate=True) == "≈ 81 ms"
    assert fmt.latency(None, approximate=True) == "–"


def test_changes_are_relative_and_rates_change_in_points() -> None:
    assert fmt.change(104.1, 100) == "+4.1%"
    assert fmt.change(1, 0) is None
    assert fmt.change(1, None) is None
    assert fmt.points(0.0193, 0.0189) == "+0.04 pp"
    assert fmt.points(0.01, 0.02) == "−1.00 pp"


def test_an_instant_names_its_zone() -> None:
    moment = dt.datetime(2026, 11, 23, 14, 2, tzinfo=dt.UTC)
    assert fmt.instant(moment) == "2026-11-23 14:02 UTC"
    assert fmt.instant(moment, ZoneInfo("Europe/Berlin")) == "2026-11-23 15:02 CET"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.2, "now"),
        (59, "59 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7_200, "2 h ago"),
        (200_000, "2 days ago"),
    ],
)
def test_age_is_in_a_sensible_unit(seconds: float, shown: str) -> None:
    assert fmt.age(seconds) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines", "two\\x0alines"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\U000e0041", "\\U000e0041"),
        ("Grüße 東京", "Grüße 東京"),
        (None, "–"),
    ],
)
def test_hidden_characters_of_logged_text_are_seen(text: str | None, shown: str) -> None:
    assert fmt.logged(text) == shown


def test_logged_text_is_cut() -> None:
    assert fmt.logged("x" * 10_000) == "x" * 200 + "…"


@given(st.text())
def test_logged_text_never_holds_control_or_bidi_characters(text: str) -> None:
    assert all(char.isprintable() or char == "\u3000" or char.isspace() for char in fmt.logged(text))
    assert not set(fmt.logged(text)) & set("\n\r\t\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x00\x1b")


@pytest.mark.parametrize(
    "text", ["https://evil.example/x", "HTTP://evil.example", "WWW.evil.example", "ada@evil.example"]
)
def test_an_address_does_not_become_a_link(text: str) -> None:
    shown = fmt.markdown(text).replace("\\", "")
    assert not re.search(r"https?://|www\.|[\w.+-]@", shown, re.IGNORECASE)
    assert shown.replace("\u2060", "") == text


def test_dollars_and_markdown_are_shown_letter_by_letter() -> None:
    assert fmt.markdown("a $3→$1 **b**") == "a \\$3→\\$1 \\*\\*b\\*\\*"


@pytest.mark.parametrize(("amount", "text"), [(4.2, "+$4.20"), (-4.2, "−$4.20"), (0, "$0"), (None, "–")])
def test_a_change_of_money_has_a_sign(amount: float | None, text: str) -> None:
    assert fmt.usd_signed(amount) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [(0.0008, "+0.08 pp"), (-0.0005, "−0.05 pp"), (0.00001, "0.00 pp"), (-0.00001, "0.00 pp"), (0.1, "+10.00 pp")],
)
def test_a_change_of_a_rate_is_in_percentage_points(change: float, text: str) -> None:
    assert fmt.points_of(change) == text


def test_ranges_say_their_unit_once_where_it_is_a_word() -> None:
    assert fmt.points_range(-0.0005, 0.0021) == "−0.05 to +0.21 pp"
    assert fmt.usd_range(-5, 445.5) == "−$5.00 to $445.50"
