"""Take the pictures of the README: ``python -m tests.e2e.screenshot docs``.

It simulates the demo in a temporary home and looks for moves in it, or looks at the home that a second argument names.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from router_core.call_log.home import Home
from tests.e2e.conftest import FLAGS, served, settled

WIDTH = 1440


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture.

    Attributes:
        name: Its file, without the ending.
        address: Which page, with its filters.
        height: How much of it, pixels.
        drawn: What is on it once it is drawn.
    """

    name: str
    address: str
    height: int
    drawn: tuple[str, ...]


SHOTS = (
    Shot(
        name="overview",
        address="/",
        height=1440,
        drawn=(".st-key-rates_chart .scatterlayer .point", ".st-key-breakdown canvas"),
    ),
    Shot(name="recommendations", address="/recommendations", height=1100, drawn=(".st-key-verdicts canvas",)),
    Shot(
        name="payload-type",
        address="/type?id=ticket.extract",
        height=1700,
        drawn=(".st-key-spend_chart .barlayer .point path", ".st-key-break_even_chart .scatterlayer .point"),
    ),
    Shot(
        name="caps",
        address="/caps?limit=3",
        height=1300,
        drawn=(".st-key-cap_chart .barlayer .point path", ".st-key-wrong_chart .scatterlayer .trace"),
    ),
)


def take(home: Home, folder: Path) -> None:
    """Write pictures of a home's pages, light and 1,440 pixels wide, as PNG."""
    with served(home) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for shot in SHOTS:
            size = {"width": WIDTH, "height": shot.height}
            page = browser.new_page(viewport=size, color_scheme="light", reduced_motion="reduce", locale="en-US")  # pyright: ignore[reportArgumentType]
            _take(page, server.address, shot, folder)
            page.close()
        browser.close()


def _take(page: Page, server: str, shot: Shot, folder: Path) -> None:
    page.goto(server + shot.address)
    settled(page)
    for selector in shot.drawn:
        page.locator(selector).first.wait_for()
    # the last frame of a chart's first drawing
    page.wait_for_timeout(700)
    page.screenshot(path=folder / f"{shot.name}.png")


def main() -> None:
    """Take them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 2:
        take(Home(Path(sys.argv[2])), folder)
        return
    with tempfile.TemporaryDirectory() as made:
        tierwise = [sys.executable, "-m", "dashboard.cli"]
        subprocess.run([*tierwise, "demo", "--no-serve", "--home", made], check=True)
        demo = Home(Path(made)).demo
        subprocess.run([*tierwise, "propose", "--home", str(demo.root)], check=True)
        take(demo, folder)


if __name__ == "__main__":
    main()
