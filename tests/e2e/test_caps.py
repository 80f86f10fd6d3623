"""The cap simulator in a browser: by keyboard, by number, by address."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from router_core.call_log.home import Home
from tests.e2e.conftest import Served, served, settled, visit
from tests.traffic import write_capped_log

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("log") / ".tierwise")
    write_capped_log(home, demo=True)
    return home


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Served]:
    with served(home) as server:
        yield server


def number(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-tile_{key}").get_by_test_id("stMetricValue")


def bars(page: Page) -> Locator:
    return page.locator(".st-key-cap_chart .barlayer .point path")


def test_the_limit_moves_by_keyboard_by_number_and_by_address(page: Page, server: Served) -> None:
    visit(page, f"{server.address}/caps")
    expect(page.get_by_text("DEMO DATA (simulated)")).to_be_visible()
    # the present budget comes first
    expect(number(page, "tripped")).to_have_text("5 of 5")
    expect(bars(page)).to_have_count(10)
    slider, box = page.get_by_role("slider"), page.get_by_label("Daily limit, USD")
    expect(slider).to_have_attribute("aria-valuetext", "$0.0300")
    degraded = number(page, "degraded").inner_text()
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(number(page, "degraded")).not_to_have_text(degraded)
    expect(box).to_have_value("0.0295")
    settled(page)
    assert "limit=0.0295" in page.url
    box.fill("0.02")
    box.press("Enter")
    expect(slider).to_have_attribute("aria-valuetext", "$0.0200")
    expect(page.get_by_text(re.compile(r"\d+ calls unknown"))).to_be_visible()
    reserve = page.get_by_role("spinbutton", name="Critical reserve, USD")
    reserve.fill("0.01")
    reserve.press("Enter")
    settled(page)
    expect(page).to_have_url(re.compile(r"limit=0\.02.*reserve=0\.01"))
    saved, wrong = number(page, "saved").inner_text(), number(page, "extra_wrong").inner_text()
    page.reload()
    settled(page)
    expect(number(page, "saved")).to_have_text(saved)
    expect(number(page, "extra_wrong")).to_have_text(wrong)
    expect(box).to_have_value("0.0200")
    expect(slider).to_have_attribute("aria-valuetext", "$0.0200")


def test_the_csv_holds_the_table_of_the_limit(page: Page, server: Served) -> None:
    visit(page, f"{server.address}/caps?limit=0.01&period=7d")
    with page.expect_download() as got:
        page.locator(".st-key-csv button").click()
    assert got.value.suggested_filename == "tierwise_cap_0.0100_2026-11-20_to_2026-11-24.csv"
    with Path(got.value.path()).open(encoding="utf-8") as out:
        rows = {row["payload_type"]: row for row in csv.DictReader(out)}
    assert rows["x.decide"]["degraded"] == "0"
    assert rows["x.extract"]["unknown_calls"] == rows["x.extract"]["degraded"] != "0"
    assert rows["x.extract"]["extra_wrong"] == ""


def test_it_is_found_in_the_menu_and_fits_a_phone_in_the_dark(page: Page, server: Served, pictures: Path) -> None:
    visit(page, server.address)
    page.get_by_role("link", name="Cap simulator").click()
    expect(page.get_by_role("heading", name="Cap simulator")).to_be_visible()
    settled(page)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, f"{server.address}/caps?limit=0.02")
    expect(bars(page).last).to_have_css("fill", "rgb(143, 191, 255)")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    page.screenshot(path=pictures / "caps_phone_dark.png")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})
