"""The page of one call: its receipt adds up, and its trail says why it went as it did."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import format as fmt
from dashboard.drilldown import CallWish
from router_core.call_log.home import Home
from router_core.call_log.receipts import CallReceipt
from tests.dashboard.homes import HOSTILE, Shelf, run, words
from tests.log_files import TYPES, write_log


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("log") / ".tierwise")
    write_log(home, days=3, per_day=96, undated=40)
    return home.root


def page(shelf: "Shelf") -> None:
    from dashboard.views import call

    call.render(shelf.library, shelf.links)


def shown(shelf: Shelf, **address: str | list[str]) -> AppTest:
    return run(AppTest.from_function(page, args=(shelf,), default_timeout=60), **address)


def test_a_receipt_has_a_row_per_attempt_and_adds_up(root: Path) -> None:
    shelf = Shelf(root=root)
    (call, *_) = shelf.library.calls(CallWish(period=None))
    receipt = shelf.library.receipt(call.call_id)
    assert isinstance(receipt, CallReceipt)
    app = shown(shelf, call=call.call_id)
    table = app.dataframe[0].value
    assert len(table) == len(receipt.attempts) + len(receipt.shadows)
    assert table["Cost"].iloc[: len(receipt.attempts)].sum() == pytest.approx(receipt.cost_nusd / 1e9)
    said = words(app)
    assert fmt.usd(fmt.nusd(receipt.cost_nusd)) in said
    assert call.call_id in said
    app.button(key="to_type").click().run()
    assert shelf.opened == [("type", receipt.call.payload_type)]


def test_the_beginning_of_an_id_names_the_calls_that_begin_like_it(root: Path) -> None:
    shelf = Shelf(root=root)
    first = shelf.library.calls(CallWish(period=None))[0].call_id[:2]
    app = shown(shelf, call=first)
    assert "Several calls begin like this" in words(app)
    chosen = app.selectbox(key="one_of").options[0]
    app.selectbox(key="one_of").set_value(chosen).run()
    assert not app.exception
    assert "Receipt, to the nano-dollar" in words(app)
    assert app.text_input(key="call").value == chosen


def test_an_id_that_no_call_has_is_said(root: Path) -> None:
    assert "No such call" in words(shown(Shelf(root=root), call="nowhere"))
    assert "No such call" in words(shown(Shelf(root=root), call="'; DROP TABLE calls; --"))
    assert "Which call?" in words(shown(Shelf(root=root)))


def test_hostile_names_are_shown_letter_by_letter(tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    write_log(home, days=1, per_day=8, types=(HOSTILE,))
    shelf = Shelf(root=home.root)
    period = shelf.library.span()
    assert period.calls == 8
    found = [line for line in shelf.library.calls(CallWish(period=None)) if line] or list(_dated(shelf))
    app = shown(shelf, call=found[0].call_id)
    for element in (*app.markdown, *app.caption, *app.title):
        assert "https://evil" not in element.value
    for code in app.code:
        assert "\u202e" not in code.value


def _dated(shelf: Shelf):
    import datetime as dt

    from dashboard.periods import Period
    from tests.log_files import END

    week = Period(first=END - dt.timedelta(days=6), until=END + dt.timedelta(days=1), zone="UTC")
    return shelf.library.calls(CallWish(period=week))


def test_a_home_without_a_log_leads_to_where_calls_are_brought_in(tmp_path: Path) -> None:
    assert "No calls logged yet" in words(shown(Shelf(root=tmp_path / ".tierwise"), call=TYPES[0]))
