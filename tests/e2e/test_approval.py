"""From a proposal to a running router that obeys, and back: in a browser, over the real desk."""

import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Locator, Page, expect

from optimizer.lifecycle import Desk
from router_core.call_log.home import Home
from router_core.call_log.read import reading
from router_core.control.records import Verdict
from router_core.watch import ensure_ingested
from tests.decisions import ANALYST, make_draft
from tests.e2e.conftest import Served, served, settled, visit

pytestmark = pytest.mark.e2e

ROUTING = """\
# who goes where
version: 1
timezone: Europe/Berlin
tiers:
  cheap: [{model: a/small}]   # günstig
  mid: [{model: a/medium}]
  top: [{model: b/large}]
payload_types:
  x.extract: {path: [top], error_cost_usd: 0.5}   # the big one
  x.classify:
    path:
    - top   # for now
  x.route: {path: [top]}
  x.draft: {path: [top]}
  x.check: {path: [top]}
  x.translate: {path: [top]}
prices:
  a/small: {input: 0.1, output: 0.4}
  a/medium: {input: 1, output: 4}
  b/large: {input: 5, output: 20}
"""
HOSTILE = (
    "![x](https://evil.example/p.png) <img src=https://evil.example/i.png onerror=alert(1)>",
    "<a href='https://evil.example'>click</a> $3.00→$1.20 costs $5 \u202egnp.exe :red[red]",
)
TYPES = ("x.extract", "x.classify", "x.route", "x.draft", "x.check", "x.translate")
ROUTER = """
import itertools, sys, time
from router_core import Router
from router_core.backends.simulated import SimulatedBackend

with Router.open(sys.argv[1], backend=SimulatedBackend()) as router:
    for n in itertools.count():
        router.complete("x.extract", messages=[{"role": "user", "content": f"document {n}"}],
                        response_format={"type": "object"})
        time.sleep(0.02)
"""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A config, its home, a desk on both, and the id of each type's proposal."""

    config: Path
    home: Home
    desk: Desk
    proposals: dict[str, str]

    @property
    def text(self) -> str:
        return self.config.read_text(encoding="utf-8")


def now_us() -> int:
    return time.time_ns() // 1000


def open_shop(folder: Path) -> Shop:
    config = folder / "routing.yaml"
    config.write_text(ROUTING, encoding="utf-8")
    home = Home(folder / ".tierwise").create()
    desk = Desk(home, config, now_us)
    version = desk.head().version
    drafts = [replace(make_draft(payload_type=name, before=("top",)), base_version=version) for name in TYPES]
    verdicts = tuple(Verdict(payload_type=name, verdict="move", text="mid is as good.") for name in TYPES)
    ids = desk.publish(drafts, verdicts, ANALYST, window_us=drafts[0].window_us).published
    return Shop(config=config, home=home, desk=desk, proposals=dict(zip(TYPES, ids, strict=True)))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def server(shop: Shop) -> Iterator[Served]:
    with served(shop.home) as server:
        yield server


@contextmanager
def running_router(shop: Shop) -> Generator[None]:
    """A router in a process of its own that makes one call after the other."""
    process = subprocess.Popen([sys.executable, "-c", ROUTER, str(shop.config)], stderr=subprocess.PIPE, text=True)
    try:
        yield
        assert process.poll() is None, process.communicate()
    finally:
        process.kill()
        process.communicate()


def attempts(shop: Shop) -> list[tuple[int, str, str]]:
    """Return (started_at in µs, tier, config version) of every attempt so far, in order of their starts."""
    ensure_ingested(shop.home)
    with reading(shop.home) as log:
        return log.execute(
            "SELECT epoch_us(started_at), tier, config_version FROM attempts WHERE started_at IS NOT NULL ORDER BY 1"
        ).fetchall()


def wait_for(shop: Shop, tier: str, since_us: int) -> list[tuple[int, str, str]]:
    """Wait for calls on a tier, and return all attempts since an instant."""
    for _ in range(40):
        found = [row for row in attempts(shop) if row[0] >= since_us]
        if sum(row[1] == tier for row in found) > 5:
            return found
        time.sleep(0.2)
    raise AssertionError(f"no calls on {tier}")


def review(page: Page, proposal: str) -> Locator:
    """Open a proposal's review and return the dialog."""
    page.locator(f".st-key-review_{proposal} button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Apply", exact=True)).to_be_enabled()
    settled(page)
    return dialog


def apply(page: Page, proposal: str) -> int:
    """Apply a proposal by one click in its review, and return the instant just before the click, µs."""
    dialog = review(page, proposal)
    button = dialog.get_by_role("button", name="Apply", exact=True)
    clicked_us = now_us()
    button.click()
    expect(page.locator(".st-key-banner").get_by_text(f"{proposal} is applied.")).to_be_visible()
    settled(page)
    return clicked_us


def inert(page: Page) -> None:
    """No text of ours became a link, a picture, a formula or code."""
    for made in ("a[href*=evil]", "img[src*=evil]", ".katex"):
        expect(page.locator(made)).to_have_count(0)


def test_a_click_moves_a_running_router_within_a_second_and_undo_brings_the_file_back(
    page: Page, shop: Shop, server: Served
) -> None:
    proposal = shop.proposals["x.extract"]
    before = shop.config.read_bytes()
    with running_router(shop):
        wait_for(shop, "top", 0)
        visit(page, f"{server.address}/recommendations")
        dialog = review(page, proposal)
        expect(dialog.get_by_text("-  x.extract: {path: [top], error_cost_usd: 0.5}   # the big one")).to_be_visible()
        reason = dialog.get_by_role("textbox", name="Reason")
        assert 5 <= len(reason.input_value()) <= 200
        clicked_us = now_us()
        dialog.get_by_role("button", name="Apply", exact=True).click()
        banner = page.locator(".st-key-banner")
        expect(banner.get_by_text(f"{proposal} is applied.")).to_be_visible()
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert shop.text == ROUTING.replace("x.extract: {path: [top]", "x.extract: {path: [mid]")
        moved = wait_for(shop, "mid", clicked_us)
        first_us = next(at_us for at_us, tier, _ in moved if tier == "mid")
        print(f"from the click to the first call on the new tier: {(first_us - clicked_us) / 1000:.0f} ms")
        assert first_us - clicked_us <= 1_000_000
        new_version = shop.desk.head().version
        assert {version for at_us, _, version in moved if at_us >= first_us} == {new_version}
        assert {tier for at_us, tier, _ in moved if at_us >= first_us} == {"mid"}
        expect(banner.get_by_text(f"→ {new_version}")).to_be_visible()

        banner.get_by_role("button", name="Undo").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("byte for byte")).to_be_visible()
        undone_us = now_us()
        dialog.get_by_role("button", name="Undo", exact=True).click()
        expect(banner.get_by_text("is undone.")).to_be_visible()
        assert shop.config.read_bytes() == before
        back = wait_for(shop, "top", undone_us)
        first_us = next(at_us for at_us, tier, _ in back if tier == "top" and at_us > undone_us + 100_000)
        assert {version for at_us, _, version in back if at_us > undone_us + 1_000_000} <= {shop.desk.head().version}
    results = [(row.action, row.result) for row in shop.desk.audit(limit=100) if proposal in row.proposal_ids]
    assert ("apply", "done") in results
    assert ("undo", "done") in results
    assert shop.desk.verify_audit() is None


def test_after_an_edit_by_hand_undo_offers_the_inverse_change_and_keeps_the_edit(
    page: Page, shop: Shop, server: Served
) -> None:
    proposal = shop.proposals["x.classify"]
    visit(page, f"{server.address}/recommendations")
    before = shop.text
    apply(page, proposal)
    shop.config.write_text(shop.text.replace("# who goes where", "# who goes where, and why"), encoding="utf-8")
    page.locator(".st-key-banner").get_by_role("button", name="Undo").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("only this change is taken back, all later ones stay")).to_be_visible()
    dialog.get_by_role("button", name="Undo", exact=True).click()
    expect(page.locator(".st-key-banner").get_by_text("is undone.")).to_be_visible()
    after = shop.text
    assert "# who goes where, and why" in after
    assert after.splitlines()[1:] != shop.desk.text(shop.desk.history(limit=2)[1].seq).decode().splitlines()[1:]
    assert "- mid" not in after
    assert "- top" in after or "[top]" in after
    assert before.splitlines()[:1] == ["# who goes where"]
    assert [version.kind for version in shop.desk.history(limit=3)] == ["undo", "hand", "apply"]


def test_two_tabs_that_apply_the_same_change_it_once(page: Page, shop: Shop, server: Served) -> None:
    proposal = shop.proposals["x.route"]
    other = page.context.new_page()
    try:
        for tab in (page, other):
            visit(tab, f"{server.address}/recommendations")
            review(tab, proposal)
        for tab in (page, other):
            tab.get_by_role("dialog").get_by_role("button", name="Apply", exact=True).click()
        told = [tab.locator(".st-key-banner").get_by_text(f"{proposal} is applied") for tab in (page, other)]
        for each in told:
            expect(each).to_be_visible()
        # whichever came first
        assert sorted("nothing was changed twice" in each.inner_text() for each in told) == [False, True]
    finally:
        other.close()
    assert [version.proposal_ids for version in shop.desk.history()].count((proposal,)) == 1


def test_a_double_click_changes_it_once(page: Page, shop: Shop, server: Served) -> None:
    proposal = shop.proposals["x.draft"]
    visit(page, f"{server.address}/recommendations")
    review(page, proposal).get_by_role("button", name="Apply", exact=True).dblclick()
    expect(page.locator(".st-key-banner").get_by_text(f"{proposal} is applied")).to_be_visible()
    settled(page)
    assert [version.proposal_ids for version in shop.desk.history()].count((proposal,)) == 1
    assert shop.desk.entry(proposal).seq is not None


def test_a_stale_review_is_refused_and_shows_the_change_as_it_is_now(page: Page, shop: Shop, server: Served) -> None:
    proposal = shop.proposals["x.check"]
    visit(page, f"{server.address}/recommendations")
    dialog = review(page, proposal)
    shop.config.write_text(shop.text.replace("x.check: {path: [top]}", "x.check: {path: [top], critical: true}"))
    dialog.get_by_role("button", name="Apply", exact=True).click()
    expect(dialog.get_by_text("Nothing was changed; below is the change")).to_be_visible()
    expect(dialog.get_by_text("-  x.check: {path: [top], critical: true}")).to_be_visible()
    assert "x.check: {path: [top], critical: true}" in shop.text
    settled(page)
    dialog.get_by_role("button", name="Apply", exact=True).click()
    expect(page.locator(".st-key-banner").get_by_text(f"{proposal} is applied.")).to_be_visible()
    assert "x.check: {path: [mid], critical: true}" in shop.text


def test_a_change_is_applied_without_a_mouse(page: Page, shop: Shop, server: Served) -> None:
    proposal = shop.proposals["x.translate"]
    visit(page, f"{server.address}/recommendations?find={proposal}")
    page.locator(f".st-key-review_{proposal} button").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Apply", exact=True)).to_be_enabled()
    settled(page)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Apply":
            break
    page.keyboard.press("Enter")
    expect(page.locator(".st-key-banner").get_by_text(f"{proposal} is applied.")).to_be_visible()
    assert "x.translate: {path: [mid]}" in shop.text


def test_what_was_decided_is_on_the_routing_page_and_any_version_can_come_back(
    page: Page, shop: Shop, server: Served
) -> None:
    visit(page, f"{server.address}/routing")
    head = shop.desk.head()
    expect(page.locator(".st-key-running").get_by_text(f"Version {head.version}")).to_be_visible()
    expect(page.get_by_text("hash chain intact")).to_be_visible()
    first = shop.desk.history(limit=100)[-1]
    page.locator(f".st-key-rollback_{first.seq} button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("+  x.route: {path: [top]}")).to_be_visible()
    dialog.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.locator(".st-key-banner").get_by_text("is as it was at")).to_be_visible()
    assert shop.text == ROUTING
    settled(page)  # the file of a button belongs to one run of the page
    with page.expect_download() as got:
        page.locator(".st-key-audit_csv button").click()
    assert "rollback" in Path(got.value.path()).read_text(encoding="utf-8")


def test_pages_work_in_the_dark_and_on_a_phone(page: Page, shop: Shop, server: Served, pictures: Path) -> None:
    sizes: tuple[tuple[Literal["light", "dark"], int, int], ...] = (
        ("light", 1440, 900),
        ("dark", 1440, 900),
        ("light", 1024, 768),
        ("light", 390, 844),
    )
    for name in ("recommendations", "routing"):
        for scheme, width, height in sizes:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": height})
            visit(page, f"{server.address}/{name}")
            assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
            page.get_by_role("button", name="CSV").first.wait_for()
            page.screenshot(path=pictures / f"{name}_{scheme}_{width}.png")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})


def test_bound_elsewhere_nobody_can_change_anything_and_hostile_text_is_inert(page: Page, tmp_path: Path) -> None:
    shop = open_shop(tmp_path)
    proposal = shop.proposals["x.extract"]
    hostile = [make_draft(payload_type=name, before=("top",), assumptions=(name,)) for name in HOSTILE]
    shop.desk.publish(hostile, [Verdict(payload_type=HOSTILE[0], verdict="hold", text=HOSTILE[1])], ANALYST)
    with served(shop.home, "--host", ".".join("0000"), "--insecure-no-auth") as server:
        address = server.address.replace(".".join("0000"), "127.0.0.1")
        visit(page, f"{address}/recommendations")
        expect(page.get_by_text("Nobody signed in · read-only").first).to_be_visible()
        # one for a mouse and one for a finger
        button = page.locator(f".st-key-review_{proposal} button").first
        expect(button).to_be_disabled()
        # a click that the browser is made to send is refused by the server
        page.evaluate("button => { button.disabled = false; button.click() }", button.element_handle())
        settled(page)
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_text("$3.00→$1.20 costs $5").first).to_be_visible()
        inert(page)
        visit(page, f"{address}/routing")
        expect(page.locator("[class*=st-key-rollback_] button").first).to_be_disabled()
        inert(page)
    assert shop.text == ROUTING
    assert shop.desk.entry(proposal).state == "open"
