"""Take the picture of the README: ``python -m tests.e2e.screenshot docs/overview.png``.

It simulates the demo in a temporary home, or looks at the home that a second argument names.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from router_core.call_log.home import Home
from tests.e2e.conftest import FLAGS, served, settled

WIDTH, HEIGHT = 1440, 1440


def take(home: Home, picture: Path) -> None:
    """Write the first page of a home's log, light and 1,440 pixels wide, as a PNG."""
    with served(home) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        size = {"width": WIDTH, "height": HEIGHT}
        page = browser.new_page(viewport=size, color_scheme="light", reduced_motion="reduce", locale="en-US")  # pyright: ignore[reportArgumentType]
        page.goto(server.address)
        settled(page)
        page.locator(".st-key-rates_chart .scatterlayer .point").first.wait_for()
        page.locator(".st-key-breakdown canvas").first.wait_for()
        # the last frame of a chart's first drawing
        page.wait_for_timeout(500)
        page.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Take it."""
    picture = Path(sys.argv[1])
    picture.parent.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 2:
        take(Home(Path(sys.argv[2])), picture)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dashboard.cli", "demo", "--no-serve", "--home", folder]
        subprocess.run(command, check=True)
        take(Home(Path(folder) / "demo"), picture)


if __name__ == "__main__":
    main()
