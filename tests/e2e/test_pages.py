"""Journeys over all pages in a browser, on one log: from a number to the call behind it, and calls brought in."""

import contextlib
import csv
import datetime as dt
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from dashboard import format as fmt
from dashboard.drilldown import CallWish
from dashboard.periods import Period
from dashboard.source import HomeSource
from dashboard.sums import Filters
from router_core.call_log.home import Home
from tests.e2e.conftest import Served, served, settled, tile, visit
from tests.log_files import CONFIG, END, TYPES, write_log

pytestmark = pytest.mark.e2e

MONTH = Period(first=END - dt.timedelta(days=29), until=END + dt.timedelta(days=1), zone="Europe/Berlin")
BUDGET = "budgets:\n  - {name: daily, per: day, usd: 0.25, critical_reserve_usd: 0.05}\n"
PAGES = ("", "types", f"type?id={TYPES[0]}", "recommendations", "caps", "budgets", "routing", "data")
GOOD = "id,time,model,task,prompt_tokens,completion_tokens,cost\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("log") / ".tierwise")
    write_log(home, days=20, per_day=48)
    home.root.joinpath("routing.yaml").write_text(CONFIG.replace("}]", ", max_output_tokens: 1000}]") + BUDGET)
    return home


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Served]:
    with served(home) as server:
        yield server


def pick_row(page: Page, key: str, row: int) -> None:
    """Pick a row of a table whose cells are painted: the first column holds its box, rows are 35 pixels high."""
    grid = page.locator(f'.st-key-{key} [data-testid="data-grid-canvas"]').first
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 16, box["y"] + 35 + row * 35 + 17)


def open_list(page: Page, label: str, first: str) -> None:
    """Open a list by the keyboard, again if the page was drawn anew at that moment, until its first entry is there."""
    for _ in range(30):
        page.get_by_role("combobox", name=label).focus()
        page.keyboard.press("ArrowDown")
        with contextlib.suppress(PlaywrightTimeoutError):
            page.get_by_role("option").filter(has_text=first).wait_for(timeout=2000)
            return
        page.keyboard.press("Escape")
    raise AssertionError(f"the list {label} did not stay open")


def test_from_a_payload_type_to_the_receipt_of_a_wrong_call(page: Page, server: Served, home: Home) -> None:
    visit(page, f"{server.address}/types?period=30d")
    dearest = HomeSource(home).overview(Filters(period=MONTH)).by_type[0].name
    pick_row(page, "types_table", 0)
    expect(page.get_by_role("heading", name=dearest)).to_be_visible()
    settled(page)
    assert f"/type?id={dearest}" in page.url
    page.get_by_text("Calls behind these numbers").click()
    page.get_by_role("radio", name="wrong").click()
    wish = CallWish(period=MONTH, payload_type=dearest, kind="wrong")
    wrong = HomeSource(home).calls(wish)
    newest = wrong[0]
    expect(page.get_by_text(f"{fmt.plural(len(wrong), 'call')}, newest first")).to_be_visible()
    settled(page)
    assert "calls=wrong" in page.url
    open_list(page, "Open a receipt", newest.call_id)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Receipt, to the nano-dollar")).to_be_visible()
    settled(page)
    assert page.url.endswith(f"/call?call={newest.call_id}")
    expect(page.locator(".st-key-receipt")).to_contain_text(f"call           {newest.call_id}"[:20])


def test_filters_go_along_from_page_to_page(page: Page, server: Served) -> None:
    visit(page, f"{server.address}/?period=7d&tier=top")
    calls = tile(page, "calls")
    page.get_by_role("link", name="Payload types").click()
    expect(page.get_by_role("heading", name="Payload types")).to_be_visible()
    expect(page.locator(".st-key-tile_calls").get_by_test_id("stMetricValue")).to_have_text(calls)
    page.get_by_role("link", name="Budgets and alerts").click()
    expect(page.get_by_text("Budgets in routing.yaml")).to_be_visible()
    expect(page.get_by_role("radio", name="7d")).to_be_checked()
    page.get_by_role("link", name="Overview").click()
    expect(page.locator(".st-key-tile_calls").get_by_test_id("stMetricValue")).to_have_text(calls)


def test_what_is_downloaded_is_what_is_shown_and_says_of_when(page: Page, server: Served, home: Home) -> None:
    visit(page, f"{server.address}/types?period=30d")
    names: dict[str, Path] = {}
    for button in ("csv", "csv_parquet"):
        with page.expect_download() as got:
            page.locator(f".st-key-{button} button").click()
        names[got.value.suggested_filename] = Path(got.value.path())
    version = HomeSource(home).state().data_version
    stem = f"tierwise_{MONTH.first}_{MONTH.last}_Europe-Berlin_{version}_by-type"
    assert sorted(names) == [f"{stem}.csv", f"{stem}.parquet"]
    rows = list(csv.DictReader(io.StringIO(names[f"{stem}.csv"].read_text(encoding="utf-8"))))
    kept = pq.read_table(names[f"{stem}.parquet"]).to_pylist()
    found = {row.name: row.sums for row in HomeSource(home).overview(Filters(period=MONTH)).by_type}
    assert {row["payload_type"]: float(row["spend_usd"]) for row in rows} == {
        name: sums.spend_nusd / 1e9 for name, sums in found.items()
    }
    assert {row["payload_type"]: row["calls"] for row in kept} == {name: sums.calls for name, sums in found.items()}


def test_a_chart_is_taken_away_as_a_picture_of_twice_the_size(page: Page, server: Served) -> None:
    visit(page, f"{server.address}/budgets?period=7d")
    chart = page.locator(".st-key-days_daily_chart")
    chart.locator(".barlayer .point path").first.wait_for()
    chart.hover()
    with page.expect_download() as got:
        chart.locator('[data-title="Download plot as a PNG"], [data-title*="PNG"], [aria-label*="PNG"]').first.click()
    assert got.value.suggested_filename.endswith(".png")
    picture = Path(got.value.path()).read_bytes()
    width = int.from_bytes(picture[16:20], "big")
    box = chart.bounding_box()
    assert box is not None
    assert width >= 1.8 * box["width"]


def test_a_bad_file_says_why_and_a_good_one_is_counted_at_once(page: Page, tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    with served(home) as server:
        visit(page, server.address)
        page.get_by_role("button", name="Do it here: Data and settings").click()
        page.get_by_role("tab", name="Import a log").click()
        upload = page.locator('.st-key-upload input[type="file"]')
        upload.set_input_files({"name": "bad.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"})
        expect(page.get_by_text("This file cannot be imported as it is.")).to_be_visible()
        expect(page.get_by_role("button", name="Import it")).to_be_disabled()
        rows = "".join(f"{i},2026-11-{1 + i % 20:02}T10:00:00Z,gpt,a.task,100,20,0.0002\n" for i in range(40))
        upload.set_input_files({"name": "good.csv", "mimeType": "text/csv", "buffer": (GOOD + rows).encode()})
        expect(page.locator(".st-key-preview")).to_contain_text("40 rows read")
        page.get_by_role("button", name="Import it").click()
        expect(page.locator(".st-key-intake_outcome")).to_contain_text("Done.")
        expect(page.locator(".st-key-holdings")).to_contain_text("40")
        page.get_by_role("link", name="Overview").click()
        expect(page.locator(".st-key-tile_calls").get_by_test_id("stMetricValue")).to_have_text("40")
        settled(page)


def test_an_address_of_a_proxy_gives_each_their_own_role(page: Page, tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    write_log(home, days=2, per_day=24)
    home.root.joinpath("access.yaml").write_text("roles: {ada@example.com: approver}\n")
    with served(home, "--trusted-header", "X-Forwarded-Email") as server:
        for header, said, may in (
            ({"X-Forwarded-Email": "ada@example.com"}, "approver", True),
            ({"X-Forwarded-Email": "eve@example.com"}, "viewer, read-only", False),
            ({}, "Nobody signed in", False),
        ):
            page.set_extra_http_headers(header)
            visit(page, f"{server.address}/recommendations")
            expect(page.locator(".st-key-identity")).to_contain_text(said)
            look = page.get_by_role("button", name="Look for moves now")
            expect(look).to_be_enabled() if may else expect(look).to_be_disabled()
        page.set_extra_http_headers({})


@pytest.mark.parametrize("how", ["light", "dark", "phone", "zoomed"])
def test_no_page_runs_over_its_edge_however_it_is_looked_at(
    page: Page, server: Served, pictures: Path, how: str
) -> None:
    page.emulate_media(color_scheme="dark" if how == "dark" else "light")
    # 200 % zoom of a window of 1,280 pixels leaves 640
    size = {"phone": (390, 844), "zoomed": (640, 450)}.get(how, (1440, 900))
    page.set_viewport_size({"width": size[0], "height": size[1]})
    for address in PAGES:
        visit(page, f"{server.address}/{address}")
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over == 0, address
        page.screenshot(path=pictures / f"{address.split('?')[0] or 'overview'}_{how}.png")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})


def test_the_demo_stands_beside_a_log_and_never_in_it(page: Page, tmp_path: Path, home: Home) -> None:
    own = Home(tmp_path / ".tierwise")
    write_log(own, days=2, per_day=24)
    shutil.copytree(home.root, own.demo.root)
    own.demo.demo_marker.write_text(json.dumps({"seed": 1, "finished": True}))
    with served(own) as server:
        visit(page, f"{server.address}/?period=all")
        own_calls = fmt.count(HomeSource(own).span().calls)
        expect(page.locator(".st-key-tile_calls").get_by_test_id("stMetricValue")).to_have_text(own_calls)
        page.get_by_role("radio", name="demo").click()
        expect(page.get_by_text("DEMO DATA (simulated)")).to_be_visible()
        demo_calls = fmt.count(HomeSource(own.demo).span().calls)
        expect(page.locator(".st-key-tile_calls").get_by_test_id("stMetricValue")).to_have_text(demo_calls)
        page.get_by_role("link", name="Payload types").click()
        expect(page.get_by_role("heading", name="Payload types")).to_be_visible()
        expect(page.get_by_text("DEMO DATA (simulated)")).to_be_visible()
        settled(page)
