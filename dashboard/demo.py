"""The demo: a simulated workflow run by the real router on a virtual clock, so that its log is a real one."""

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.scenario import make_scenario, routing_yaml
from dashboard.workflow import Progress, simulate
from router_core.call_log.access import is_watched
from router_core.call_log.home import CONFIG_NAME, Home
from router_core.errors import ConfigError, Problem
from router_core.watch import start_watch

FIGURES = "demo.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What a demo run made.

    Attributes:
        home: Where its log is.
        calls: Calls made.
        failed: Calls without an answer.
        outcomes: Outcomes received until the last day.
        planted: Which finding was planted where.
        made_now: False when the same demo was there already.
    """

    home: Home
    calls: int
    failed: int
    outcomes: int
    planted: Mapping[str, Any]
    made_now: bool


def make_demo(
    root: Path,
    figures: Mapping[str, Any],
    *,
    seed: int,
    last_day: dt.date,
    days: int | None = None,
    progress: Progress | None = None,
) -> DemoReport:
    """Run the demo's workflow and return what it made; the same demo is made once.

    Args:
        root: The home below which the demo keeps its own.
        figures: Contents of ``data/demo.json``.
        seed: Places the findings.
        last_day: Last simulated day.
        days: How many days; default as in the figures.
        progress: Told after each day.

    Raises:
        ConfigError: The folder is not the demo's, or cannot be written.
    """
    home = Home(root).demo
    scenario = make_scenario(figures, seed, last_day, days)
    facts: dict[str, Any] = {
        "seed": seed,
        "first_day": str(scenario.first_day),
        "last_day": str(last_day),
        "figures": hashlib.sha256(json.dumps(figures, sort_keys=True).encode()).hexdigest()[:12],
    }
    known = _finished(home)
    if known is not None and all(known.get(key) == value for key, value in facts.items()):
        return DemoReport(
            home=home,
            calls=known["calls"],
            failed=known["failed"],
            outcomes=known["outcomes"],
            planted=known["planted"],
            made_now=False,
        )
    _clear(home)
    home.create()
    facts["planted"] = scenario.planted
    home.demo_marker.write_text(json.dumps({**facts, "finished": False}))
    (home.root / CONFIG_NAME).write_bytes(routing_yaml(scenario))
    # the log fills while the simulation runs, as beside real routers
    watcher = start_watch(home)
    try:
        made = simulate(home, scenario, progress)
    finally:
        if watcher is not None:
            watcher.terminate()
            watcher.wait()
    counts = {"calls": made.calls, "failed": made.failed, "outcomes": made.outcomes}
    home.demo_marker.write_text(json.dumps({**facts, **counts, "finished": True}, indent=1))
    return DemoReport(home=home, planted=scenario.planted, made_now=True, **counts)


def _finished(home: Home) -> dict[str, Any] | None:
    try:
        known = json.loads(home.demo_marker.read_text())
    except (OSError, ValueError):
        return None
    return known if known.get("finished") and home.log.exists() else None


def _clear(home: Home) -> None:
    """Remove an earlier demo; anything that is not one is left alone."""
    if not home.root.exists() or not any(home.root.iterdir()):
        return
    if is_watched(home):
        message = "the demo there is being shown or watched; stop that first, or give another --home"
        raise ConfigError(str(home.root), [Problem(path="", message=message)])
    if not home.is_demo:
        message = (
            "the demo keeps its log here, but the folder holds something else; move it away or give another --home"
        )
        raise ConfigError(str(home.root), [Problem(path="", message=message)])
    shutil.rmtree(home.root)
