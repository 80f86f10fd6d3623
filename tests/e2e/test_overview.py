"""The first page in a browser, over logs that the real ingester made."""

import csv
import datetime as dt
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dashboard import format as fmt
from dashboard.periods import Period
from dashboard.source import HomeSource
from dashboard.sums import Filters, Sums
from router_core.call_log.access import is_watched
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.spool import Spool
from tests.e2e.conftest import Served, served, settled, tile, visit
from tests.log_files import END, write_log

pytestmark = pytest.mark.e2e

HOSTILE = (
    "![x](https://evil.example/p.png)",
    "<img src=https://evil.example/i.png onerror=alert(1)>",
    "<a href='https://evil.example'>click</a> $3.00→$1.20 costs $5",
    "\u202egnp.exe :material/home: :red[red] `code` **bold**",
    "=HYPERLINK(0)" + "y" * 10_000,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("log") / ".tierwise")
    write_log(home, days=45, per_day=48, demo=True)
    log_call(home, "rare", "rare.type", dt.datetime(2026, 10, 10, 12, tzinfo=dt.UTC))
    ingest_once(home)
    return home


def log_call(home: Home, call_id: str, payload_type: str, at: dt.datetime) -> None:
    spool = Spool(home.spool)
    instant = int(at.timestamp() * 1e6)
    spool.write({"k": "call", "call_id": call_id, "ts": instant, "payload_type": payload_type, "status": "ok"})
    spool.close()


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Served]:
    with served(home) as server:
        yield server


def sums(home: Home, days: int, **filters: tuple[str, ...]) -> Sums:
    first = END - dt.timedelta(days=days - 1)
    period = Period(first=first, until=END + dt.timedelta(days=1), zone="Europe/Berlin")
    return HomeSource(home).overview(Filters(period=period, **filters)).total


def test_the_page_shows_the_logs_numbers_and_says_they_are_simulated(page: Page, server: Served, home: Home) -> None:
    visit(page, server.address)
    found = sums(home, 30)
    expect(page.get_by_text("DEMO DATA (simulated)")).to_be_visible()
    assert tile(page, "spend") == fmt.usd(fmt.nusd(found.spend_nusd))
    assert tile(page, "calls") == fmt.count(found.calls)
    assert tile(page, "wrong") == fmt.rate(found.wrong_rate)
    assert page.title() == "Tierwise"
    expect(page.locator(".st-key-spend_chart .barlayer .point path")).to_have_count(90)
    expect(page.get_by_text("limit hit on 1 day")).to_be_visible()


def test_a_filter_changes_the_numbers_and_the_address_brings_them_back(page: Page, server: Served, home: Home) -> None:
    visit(page, server.address)
    page.get_by_role("radiogroup", name="Period").get_by_role("radio", name="7d").click()
    week = fmt.count(sums(home, 7).calls)
    expect(page.locator(".st-key-tile_calls").get_by_test_id("stMetricValue")).to_have_text(week)
    page.get_by_role("combobox", name="Tiers").fill("top")
    page.keyboard.press("Enter")
    top = fmt.count(sums(home, 7, tiers=("top",)).calls)
    expect(page.locator(".st-key-tile_calls").get_by_test_id("stMetricValue")).to_have_text(top)
    settled(page)
    assert "period=7d" in page.url
    assert "tier=top" in page.url
    page.reload()
    settled(page)
    expect(page.get_by_role("radio", name="7d")).to_be_checked()
    assert tile(page, "calls") == top


def test_an_unknown_value_in_an_address_gives_a_notice(page: Page, server: Served) -> None:
    visit(page, f"{server.address}/?type=gone.type")
    expect(page.get_by_text("Payload types not in this log: gone.type")).to_be_visible()


def test_filters_that_match_nothing_are_named_and_can_be_cleared(page: Page, server: Served, home: Home) -> None:
    visit(page, f"{server.address}/?period=7d&type=rare.type")
    expect(page.get_by_text("Payload types: rare.type")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()
    everything = fmt.count(sums(home, 45).calls)
    expect(page.locator(".st-key-tile_calls").get_by_test_id("stMetricValue")).to_have_text(everything)
    settled(page)
    assert page.url.endswith("?period=all")


def test_the_csv_holds_the_table(page: Page, server: Served, tmp_path: Path) -> None:
    visit(page, f"{server.address}/?period=7d")
    with page.expect_download() as got:
        page.locator(".st-key-csv button").click()
    assert got.value.suggested_filename.startswith("tierwise_2026-11-16_2026-11-22_Europe-Berlin_")
    with Path(got.value.path()).open(encoding="utf-8") as out:
        assert len(list(csv.DictReader(out))) == 4


def test_the_page_works_in_the_dark_and_on_a_phone(page: Page, server: Served, pictures: Path) -> None:
    page.emulate_media(color_scheme="dark")
    visit(page, server.address)
    page.screenshot(path=pictures / "dark.png")
    bar = page.locator(".st-key-spend_chart .barlayer .point path").first
    expect(bar).to_have_css("fill", "rgb(102, 153, 204)")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, server.address)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0
    page.screenshot(path=pictures / "phone.png")
    page.set_viewport_size({"width": 1440, "height": 900})


def test_new_calls_are_on_the_page_after_a_reload(page: Page, server: Served, home: Home) -> None:
    before = HomeSource(home).span().calls
    log_call(home, "live", "live.type", dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC))
    for _ in range(10):
        visit(page, f"{server.address}/?period=all")
        if tile(page, "calls") == fmt.count(before + 1):
            break
    assert tile(page, "calls") == fmt.count(before + 1)


def test_hostile_names_are_inert(page: Page, tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    write_log(home, days=3, per_day=48, types=HOSTILE)
    with served(home) as server:
        visit(page, f"{server.address}/?period=all")
        expect(page.locator(".st-key-spend_chart .barlayer .point path")).not_to_have_count(0)
        for address in ("a[href*=evil]", "img[src*=evil]", ".katex"):
            expect(page.locator(address)).to_have_count(0)
        page.get_by_role("combobox", name="Payload types").click()
        expect(page.get_by_role("option").filter(has_text="$3.00→$1.20 costs $5")).to_have_count(1)
        expect(page.get_by_role("option").filter(has_text="\\u202egnp.exe :material/home: :red[red]")).to_have_count(1)
        page.get_by_role("option").filter(has_text="<img src=https://evil").click()
        calls = page.locator(".st-key-tile_calls").get_by_test_id("stMetricValue")
        expect(calls).to_have_text("29")
        expect(page.locator("img[src*=evil]")).to_have_count(0)
        visit(page, page.url)
        expect(calls).to_have_text("29")


def test_an_empty_home_says_how_to_fill_it_and_the_server_ends_with_its_child(page: Page, tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    with served(home) as server:
        visit(page, server.address)
        expect(page.get_by_text("No calls logged yet")).to_be_visible()
        expect(page.get_by_text("tierwise demo")).to_be_visible()
        assert is_watched(home)
        # with a page still open
        assert server.stop(signal.SIGINT) == 0
    assert not is_watched(home)


def test_answers_carry_the_headers_and_only_for_this_machines_names(server: Served) -> None:
    with urllib.request.urlopen(server.address + "/_stcore/health", timeout=5) as answer:
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    rebound = urllib.request.Request(server.address, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        urllib.request.urlopen(rebound, timeout=5)
    refused.value.close()


def test_sigterm_ends_the_server_and_its_child(tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    with served(home) as server:
        assert server.stop(signal.SIGTERM) == 0
    assert not is_watched(home)
