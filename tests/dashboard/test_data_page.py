"""The page of data and settings: health as doctor says it, what the log holds, bringing calls in, roles."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.desk import ImportWish, Search, Workshop
from router_core.call_log.home import Home
from router_core.control.access import Access
from router_core.control.records import Actor
from tests.dashboard.desks import ANALYST, APPROVER, NOBODY, VIEWER
from tests.dashboard.homes import Shelf, run, words
from tests.log_files import write_log

GOOD = b"id,time,model,task,prompt_tokens,completion_tokens,cost\n1,2026-11-01T10:00:00Z,m,t,100,20,0.0002\n"
ACCESS = Access(roles={"ada@example.com": "approver", "eve@example.com": "viewer"}, two_person_above_usd_month=500.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("log") / ".tierwise")
    write_log(home, days=3, per_day=48)
    return home.root


def page(shelf: "Shelf", access: "Access") -> None:
    from dashboard.views import data
    from tests.dashboard.test_data_page import workshop

    data.render(shelf.place, shelf.library, workshop(shelf), access)


def workshop(shelf: Shelf) -> Workshop:
    return Workshop(make_demo=lambda: shelf.upload("demo"), import_upload=shelf.upload, reading=str(shelf.root))


def shown(shelf: Shelf, access: Access = ACCESS) -> AppTest:
    return run(AppTest.from_function(page, args=(shelf, access), default_timeout=60))


def test_health_is_what_doctor_finds(root: Path) -> None:
    shelf = Shelf(root=root)
    said = words(shown(shelf))
    for finding in shelf.library.findings():
        assert f"**{finding.name}**" in said
    assert "nothing to mend" in said


def test_what_is_wrong_comes_first_with_the_way_out(tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    write_log(home, days=1, per_day=8)
    home.root.joinpath("routing.yaml").write_text("version: 7\n")
    said = words(shown(Shelf(root=home.root)))
    assert "1 thing to mend" in said
    assert said.index("■ wrong") < said.index("✓ ok")
    assert "tierwise check" in said


def test_the_log_is_counted(root: Path) -> None:
    shelf = Shelf(root=root)
    app = shown(shelf)
    held = shelf.library.holdings()
    assert held.rows["calls"] == 3 * 48
    assert f"**{held.rows['attempts']:,}**" in words(app)
    sources = next(frame.value for frame in app.dataframe if "Source" in frame.value)
    assert sum(sources["Calls"]) == held.rows["calls"]


def test_roles_and_the_two_person_rule_are_said(root: Path) -> None:
    app = shown(Shelf(root=root))
    roles = next(frame.value for frame in app.dataframe if "May" in frame.value)
    assert dict(zip(roles["Who"], roles["Role"], strict=True)) == dict(ACCESS.roles)
    assert "From $500.00 a month on, a change takes two people." in words(app)


def test_a_file_is_tried_first_and_imported_by_a_second_click(root: Path) -> None:
    shelf = Shelf(root=root, actor=ANALYST)
    app = shown(shelf)
    app.file_uploader(key="upload").upload("calls.csv", GOOD, "text/csv")
    app.text_area(key="import_maps").set_value("created=started_at\n\ncost=cost_usd") if app.text_area else None
    app.run()
    assert not app.exception
    assert shelf.imported == [("calls.csv", GOOD, ImportWish(), True)]
    assert "2 rows read" in words(app)
    app.text_area(key="import_maps").set_value("created=started_at\n\ncost=cost_usd").run()
    app.button(key="import").click().run()
    wish = ImportWish(maps=("created=started_at", "cost=cost_usd"))
    assert ("calls.csv", GOOD, wish, False) in shelf.imported
    assert "Done." in words(app)


def test_a_file_that_cannot_be_imported_says_why_and_has_no_way_on(root: Path) -> None:
    shelf = Shelf(root=root, said=Search(ok=False, said="no column looks like a time"))
    app = shown(shelf)
    app.file_uploader(key="upload").upload("bad.csv", b"a,b\n1,2\n", "text/csv").run()
    assert "no column looks like a time" in words(app)
    assert app.button(key="import").disabled


@pytest.mark.parametrize("actor", [VIEWER, NOBODY])
def test_who_may_not_decide_cannot_bring_anything_in(root: Path, actor: Actor) -> None:
    shelf = Shelf(root=root, actor=actor)
    app = shown(shelf)
    assert app.button(key="demo").disabled
    assert not app.get("file_uploader")
    assert "needs the role analyst" in words(app)
    assert shelf.imported == []


def test_a_role_that_was_taken_away_meanwhile_counts_at_the_click(root: Path) -> None:
    shelf = Shelf(root=root)
    app = shown(shelf)
    app.file_uploader(key="upload").upload("calls.csv", GOOD, "text/csv").run()
    shelf.actor = VIEWER
    tried = len(shelf.imported)
    app.button(key="import").click().run()
    assert not any(done[-1] is False for done in shelf.imported)
    assert len(shelf.imported) == tried
    assert "needs the role analyst" in words(app)


def test_an_empty_home_offers_all_three_ways(tmp_path: Path) -> None:
    shelf = Shelf(root=tmp_path / ".tierwise", actor=APPROVER)
    app = shown(shelf)
    assert {tab.label for tab in app.tabs} == {"Load demo data", "Import a log", "Connect the router"}
    app.button(key="demo").click().run()
    assert shelf.imported == [("demo",)]
    assert not app.exception
