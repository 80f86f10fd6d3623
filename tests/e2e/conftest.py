"""A browser on a served log: nothing but the server's own address is ever asked, and no script breaks."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect, sync_playwright

from router_core.call_log.home import Home

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# how long what a page shows may take on a busy machine; what it may take is measured where it matters
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
IDLE = '[data-testid="stApp"][data-test-connection-state="CONNECTED"][data-test-script-state="notRunning"]'


@dataclass(kw_only=True)
class Served:
    """A running ``tierwise dashboard``.

    Attributes:
        process: The server.
        address: Where it says it is.
        said: Lines it has written.
    """

    process: "subprocess.Popen[str]"
    address: str = ""
    said: list[str] = field(default_factory=list[str])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


@contextlib.contextmanager
def served(home: Home, *options: str) -> Generator[Served]:
    """Serve a home's log as a user would, and check at the end that nothing went wrong on the server's side."""
    command = [sys.executable, "-m", "dashboard.cli", "dashboard", "--home", str(home.root), *options]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("STREAMLIT_", "TIERWISE_"))
    }
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=home.root.parent, env=environment
    ) as process:
        server = Served(process=process)
        ready = threading.Event()

        def listen() -> None:
            for line in process.stdout or ():
                server.said.append(line)
                if found := re.search(r"http://\S+", line):
                    server.address = found[0]
                    ready.set()
            ready.set()

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            assert ready.wait(60), server.said
            assert server.address, server.said
            yield server
        finally:
            if process.poll() is None:
                server.stop()
            listener.join(10)
        assert "Traceback" not in "".join(server.said)


@pytest.fixture(scope="module")
def browser_context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """One browser profile for a module's tests, so that the page's scripts are fetched once per server.

    Not one for all: its driver keeps an event loop running, in which no other test can run one.
    """
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            headless=True,
            args=FLAGS,
            locale="en-US",
            timezone_id="UTC",
            viewport={"width": 1440, "height": 900},
            color_scheme="light",
            reduced_motion="reduce",
        )
        yield context
        context.close()


@pytest.fixture
def page(browser_context: BrowserContext) -> Iterator[Page]:
    """A tab that fails its test if it asks any other address than a local one, or if a script on it breaks."""
    tab = browser_context.new_page()
    outside: list[str] = []
    broken: list[str] = []

    def noted(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            outside.append(request.url)

    tab.on("request", noted)
    tab.on("pageerror", lambda error: broken.append(str(error)))
    tab.on("console", lambda message: broken.append(message.text) if "Content Security" in message.text else None)
    yield tab
    tab.close()
    assert outside == []
    assert broken == []


def visit(page: Page, address: str) -> None:
    """Open an address and wait for the page to be drawn."""
    page.goto(address)
    settled(page)


def settled(page: Page) -> None:
    """Wait for the end of the run, and refuse a page that shows an error."""
    page.wait_for_selector(IDLE, timeout=PATIENCE_MS)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.locator('[data-stale="true"]')).to_have_count(0)


def tile(page: Page, key: str) -> str:
    """Return a tile's number."""
    return page.locator(f".st-key-tile_{key}").get_by_test_id("stMetricValue").inner_text()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots of this run are kept; ``TIERWISE_SCREENSHOTS`` names another place."""
    configured = os.environ.get("TIERWISE_SCREENSHOTS")
    folder = Path(configured) if configured else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
