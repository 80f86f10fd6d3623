"""The pages of payload types and of one payload type, over a log: what they say equals what is in it."""

import datetime as dt
import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import format as fmt
from dashboard.periods import Period
from dashboard.sums import Filters
from router_core.call_log.home import Home
from router_core.control.records import Actor
from tests.dashboard.desks import APPROVER, NOBODY, VIEWER, FakeDesk, make_draft, make_entry
from tests.dashboard.homes import HOSTILE, Shelf, run, words
from tests.log_files import END, TIERS, TYPES, write_log

MONTH = Period(first=END - dt.timedelta(days=29), until=END + dt.timedelta(days=1), zone="Europe/Berlin")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("log") / ".tierwise")
    write_log(home, days=15, per_day=96)
    return home.root


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("strange") / ".tierwise")
    write_log(home, days=2, per_day=48, types=(HOSTILE, "=1+1"))
    return home.root


def types_page(shelf: "Shelf") -> None:
    from dashboard.views import types

    types.render(shelf.place, shelf.library, shelf.links)


def type_page(shelf: "Shelf") -> None:
    from dashboard.views import type_detail

    type_detail.render(shelf.place, shelf.library, shelf.links)


def all_types(shelf: Shelf, **address: str | list[str]) -> AppTest:
    return run(AppTest.from_function(types_page, args=(shelf,), default_timeout=60), **address)


def one_type(shelf: Shelf, name: str = TYPES[0], **address: str | list[str]) -> AppTest:
    return run(AppTest.from_function(type_page, args=(shelf,), default_timeout=60), id=name, **address)


def test_every_payload_type_has_a_row_of_the_logs_sums(root: Path) -> None:
    shelf = Shelf(root=root)
    table = all_types(shelf).dataframe[0].value.set_index("Payload type")
    found = {row.name: row.sums for row in shelf.library.overview(Filters(period=MONTH)).by_type}
    assert set(table.index) == set(TYPES)
    for name, sums in found.items():
        row = table.loc[name]
        assert row["Calls"] == sums.calls
        assert row["Spend"] == pytest.approx(sums.spend_nusd / 1e9)
        assert row["Total cost"] == pytest.approx((sums.spend_nusd + sums.impact_nusd) / 1e9)
        assert row["Wrong"] == pytest.approx(100 * (sums.wrong_rate or 0))
        assert row["Failed, 95%"] == fmt.rate_interval(sums.failed_interval).removesuffix(" (95%)")
        assert row["Estimated impact"] >= row["Observed impact"]


def test_the_table_can_be_by_type_and_tier_by_tier_or_by_model(root: Path) -> None:
    shelf = Shelf(root=root)
    total = shelf.library.overview(Filters(period=MONTH)).total
    app = all_types(shelf)
    for group in ("type", "type and tier", "tier", "model"):
        app.segmented_control(key="group").set_value(group).run()
        assert not app.exception
        spend = sum(app.dataframe[0].value["Spend"])
        # the parts add up to the whole, however it is cut
        assert spend == pytest.approx(total.spend_nusd / 1e9)
    app.segmented_control(key="group").set_value("type and tier").run()
    assert set(app.dataframe[0].value["Tier"]) <= {*TIERS, "(none)"}


def test_what_is_proposed_stands_beside_a_payload_type(root: Path) -> None:
    shelf = Shelf(root=root, desk=FakeDesk(held=[make_entry(draft=make_draft(payload_type=TYPES[0]))]))
    table = all_types(shelf).dataframe[0].value.set_index("Payload type")
    assert table.loc[TYPES[0], "Advice"] == "→ mid, +$412.50 per month"
    assert table.loc[TYPES[1], "Advice"] == ""
    assert "Proposed: → mid, +$412.50 per month" in words(one_type(shelf))


def test_a_search_keeps_names_that_hold_it_and_one_for_nothing_says_so(root: Path) -> None:
    app = all_types(Shelf(root=root), find="ticket")
    assert list(app.dataframe[0].value["Payload type"]) == ["ticket.classify"]
    assert "No name holds what you search for." in words(all_types(Shelf(root=root), find="nowhere"))


def test_a_payload_type_is_opened_without_a_mouse(root: Path) -> None:
    shelf = Shelf(root=root)
    app = all_types(shelf)
    app.selectbox(key="open_type").set_value(TYPES[2]).run()
    assert shelf.opened == [("type", TYPES[2])]


@pytest.mark.parametrize("actor", [APPROVER, VIEWER, NOBODY])
def test_everybody_may_look(root: Path, actor: Actor) -> None:
    shelf = Shelf(root=root, actor=actor)
    assert len(all_types(shelf).dataframe[0].value) == len(TYPES)
    assert TYPES[0] in words(one_type(shelf))


def test_one_payload_type_shows_its_own_sums_and_each_tier(root: Path) -> None:
    shelf = Shelf(root=root)
    app = one_type(shelf)
    found = shelf.library.overview(Filters(period=MONTH, payload_types=(TYPES[0],)))
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Spend"] == fmt.usd(fmt.nusd(found.total.spend_nusd))
    assert shown["Calls"] == fmt.count(found.total.calls)
    tiers = app.dataframe[0].value.set_index("Tier")
    assert sum(tiers["Attempts"]) == found.total.attempts
    assert list(tiers.index) == [tier for tier in TIERS if tier in tiers.index]
    assert "Break-even" in words(app)
    assert all(chart.proto.alt for chart in app.get("plotly_chart"))


def test_the_reliability_curve_and_the_calls_are_read_when_they_are_asked_for(root: Path) -> None:
    asked: list[str] = []

    class Listening(Shelf):
        @property
        def library(self):
            library = super().library
            for name in ("calls", "reliability", "receipt"):
                asked_for = getattr(library, name)
                setattr(library, name, lambda *rest, of=asked_for, name=name: asked.append(name) or of(*rest))
            return library

    shelf = Listening(root=root)
    one_type(shelf)
    all_types(shelf)
    assert asked == []
    app = one_type(shelf, calls="wrong")
    assert asked == ["calls"]
    table = app.dataframe[-1].value
    assert len(table)
    assert all(right < 1 for right in table["Right"])
    app.selectbox(key="open_call").set_value(table["Call"].iloc[0]).run()
    assert shelf.opened == [("call", table["Call"].iloc[0])]


def test_a_tier_filter_reaches_the_page(root: Path) -> None:
    shelf = Shelf(root=root)
    app = one_type(shelf, tier="top", period="7d")
    week = Period(first=END - dt.timedelta(days=6), until=END + dt.timedelta(days=1), zone="Europe/Berlin")
    total = shelf.library.overview(Filters(period=week, payload_types=(TYPES[0],), tiers=("top",))).total
    assert {metric.label: metric.value for metric in app.metric}["Calls"] == fmt.count(total.calls)


def test_a_payload_type_that_is_not_in_the_log_is_said(root: Path) -> None:
    said = words(one_type(Shelf(root=root), name="gone.type"))
    assert "Payload types not in this log: gone.type" in said
    assert "Which payload type?" in said


@pytest.mark.parametrize("page", [types_page, type_page])
def test_an_empty_home_leads_to_where_calls_are_brought_in(tmp_path: Path, page: object) -> None:
    shelf = Shelf(root=tmp_path / ".tierwise")
    app = run(AppTest.from_function(page, args=(shelf,), default_timeout=60))  # pyright: ignore[reportArgumentType]
    assert "No calls logged yet" in words(app)
    app.button(key="to_data").click().run()
    assert shelf.opened == [("page", "data")]


def test_hostile_names_are_shown_and_do_nothing(strange: Path) -> None:
    shelf = Shelf(root=strange, desk=FakeDesk(held=[make_entry(draft=make_draft(payload_type=HOSTILE))]))
    label = fmt.logged(HOSTILE)
    for app in (all_types(shelf), one_type(shelf, name=label, calls="all")):
        for element in (*app.markdown, *app.caption, *app.title):
            assert "https://evil" not in element.value
            assert "![x]" not in element.value
        for chart in app.get("plotly_chart"):
            assert "<img" not in chart.proto.spec
            assert "\u202e" not in json.dumps(chart.proto.alt, ensure_ascii=False)


@pytest.mark.parametrize("per_day", [1, 3])
def test_a_tiny_log_shows_no_number_that_is_none(tmp_path: Path, per_day: int) -> None:
    home = Home(tmp_path / ".tierwise")
    write_log(home, days=1, per_day=per_day, types=("only.type",))
    shelf = Shelf(root=home.root)
    all_types(shelf)
    one_type(shelf, name="only.type", calls="all")
