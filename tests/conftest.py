"""What every test may use: where the public logs are, and the rule that nothing is skipped in CI."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.workers import made_once

if TYPE_CHECKING:
    from router_core.call_log.home import Home

ROOT = Path(__file__).resolve().parent.parent
DATA_VARIABLE = "TIERWISE_DATA"

# a law holds on a busy machine too
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _data_dir() -> Path:
    configured = os.environ.get(DATA_VARIABLE)
    return Path(configured) if configured else ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public logs that `realdata` tests read."""
    folder = _data_dir()
    if not folder.is_dir():
        pytest.fail(f"no folder {folder}: set {DATA_VARIABLE} to the folder of public logs, or mark the test realdata")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return ROOT


@pytest.fixture(scope="session")
def demo_figures() -> dict[str, Any]:
    """The figures of the demo's scenario."""
    return json.loads((ROOT / "data" / "demo.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory, demo_figures: dict[str, Any]) -> "Home":
    """The demo as a newcomer gets it, 60 days of seed 1, in the log; tests that write to it use a copy."""
    from dashboard.demo import make_demo
    from router_core.call_log.home import Home
    from router_core.watch import ensure_ingested
    from tests.builders import DEMO_LAST_DAY

    def make(folder: Path) -> None:
        ensure_ingested(make_demo(folder, demo_figures, seed=1, last_day=DEMO_LAST_DAY).home)

    return Home(made_once(tmp_path_factory, "demo", make)).demo


@pytest.fixture(autouse=True)
def _main_stays_main() -> Iterator[None]:
    """Streamlit's tests put a module of their own in the place of `__main__`, which children are then started from."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


class _LongFilesFirst:
    """Puts files with slow tests first where workers share a run: it must not wait for one of them at its end."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if hasattr(config, "workerinput"):
            slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
            items.sort(key=lambda item: -slow[item.path])


class _RealData:
    """Leaves `realdata` tests out where their folder is missing, in one line; in CI their absence is a failure."""

    def __init__(self) -> None:
        self.left_out = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if _in_ci() or _data_dir().is_dir():
            return
        wanting = [item for item in items if item.get_closest_marker("realdata")]
        self.left_out = len(wanting)
        items[:] = [item for item in items if item not in wanting]
        config.hook.pytest_deselected(items=wanting)
        if (output := getattr(config, "workeroutput", None)) is not None:
            output["left_out"] = self.left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker counted; each of them has collected all tests."""
        self.left_out = getattr(node, "workeroutput", {}).get("left_out", self.left_out)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.left_out:
            terminalreporter.write_line(
                f"{self.left_out} realdata tests left out: no folder {_data_dir()} (set {DATA_VARIABLE})", yellow=True
            )


class _NothingSkippedInCi:
    """Turns a skip in CI into a failure: a check that quietly did not run is worse than one that failed."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.skipped.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if _in_ci() and self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if _in_ci() and self.skipped:
            terminalreporter.section("skipped in CI, which is a failure", red=True)
            for nodeid in self.skipped:
                terminalreporter.write_line(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Register the three rules above."""
    config.pluginmanager.register(_LongFilesFirst(), "tierwise-long-files-first")
    config.pluginmanager.register(_RealData(), "tierwise-realdata")
    config.pluginmanager.register(_NothingSkippedInCi(), "tierwise-no-skips-in-ci")
