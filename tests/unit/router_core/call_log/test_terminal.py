from router_core.call_log.terminal import MAX_TEXT, percent, safe, table, usd


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


def test_money_is_shown_in_dollars() -> None:
    assert usd(1_234_567_891_000) == "$1,234.57"


def test_columns_are_aligned() -> None:
    assert table(["name", "n"], [["a", 5], ["long", 10]]).splitlines() == [
        "name   n",
        "────  ──",
        "a      5",
        "long  10",
    ]
