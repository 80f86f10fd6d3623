import pytest

from router_core.call_log.terminal import MAX_TEXT, counted, percent, safe, table, usd, usd_exact, wrapped


def test_control_characters_of_logged_text_are_escaped() -> None:
    assert safe("a\x1b[31mred\nb\x07") == "a\\x1b[31mred\\nb\\x07"


def test_characters_that_turn_the_reading_direction_are_escaped() -> None:
    assert safe("safe\u202egnp.exe") == "safe\\u202egnp.exe"


def test_lone_surrogates_can_be_printed() -> None:
    assert safe("x\ud800").encode() == b"x\\ud800"


def test_endless_text_is_cut() -> None:
    assert safe("x" * 10_000) == "x" * MAX_TEXT + "…"


def test_printable_text_stays_as_it_is() -> None:
    assert safe("Überweisung → 金額 100 €") == "Überweisung → 金額 100 €"


def test_nothing_is_a_dash() -> None:
    assert (safe(None), usd(None), percent(None)) == ("-", "-", "-")


def test_one_is_not_counted_as_many() -> None:
    counts = [counted(n, "call") for n in (0, 1, 2, 1234)]

    assert counts == ["0 calls", "1 call", "2 calls", "1,234 calls"]
    assert [counted(n, "row has", "rows have") for n in (1, 2)] == ["1 row has", "2 rows have"]


def test_money_is_shown_in_dollars() -> None:
    assert usd(1_234_567_891_000) == "$1,234.57"
    assert usd(-1_234_567_891_000) == "-$1,234.57"


@pytest.mark.parametrize(
    ("nusd", "digits", "shown"),
    [
        (1, 9, "$0.000000001"),
        (0, 9, "$0.000000000"),
        (50_000_000, 2, "$0.05"),
        (12_345_678_900, 2, "$12.3456789"),
        (2**60, 9, "$1,152,921,504.606846976"),  # beyond the precision of floats
        (-1_500_000_000, 2, "-$1.50"),
        (None, 9, "-"),
    ],
)
def test_exact_money_keeps_every_nano_dollar(nusd: int | None, digits: int, shown: str) -> None:
    assert usd_exact(nusd, digits) == shown


def test_long_lines_are_broken_and_hang() -> None:
    assert wrapped("name  one two three", 12, 6) == ["name  one", "      two", "      three"]
    assert wrapped("name  one two three", None, 6) == ["name  one two three"]


@pytest.mark.parametrize("width", [1, 2, 5])
def test_hardly_any_terminal_is_no_error(width: int) -> None:
    assert "".join("".join(wrapped("name  " + "x" * 40, width, 14)).split()) == "name" + "x" * 40


def test_columns_are_aligned() -> None:
    assert table(["name", "n"], [["a", 5], ["long", 10]]).splitlines() == [
        "name   n",
        "────  ──",
        "a      5",
        "long  10",
    ]
