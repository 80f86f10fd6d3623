"""Every sum and count on every page equals SQL over the raw rows: of the demo's log, and of a real evaluation's."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import format as fmt
from router_core.call_log.home import Home
from router_core.call_log.read import reading
from tests.dashboard.homes import Shelf, run

TIERS = "cheap=gemini-1.5-flash-preview-0514,mid=claude-3-5-sonnet-20240620,top=gpt-4-0125-preview"


@dataclass(frozen=True, kw_only=True)
class Raw:
    """What SQL over the raw rows says of some of a log."""

    calls: int
    unanswered: int
    attempts: int
    failed: int
    invalid: int
    spend_nusd: int
    labelled: int
    wrong: float
    impact_nusd: int
    degraded: int


def raw(root: Path, *, payload_type: str | None = None, tier: str | None = None, instant: bool = True) -> Raw:
    """Return it for all dated rows (or all undated ones), of one payload type or tier if need be."""

    def where(at: str, at_tier: str) -> str:
        parts = [f"{at} IS {'NOT ' if instant else ''}NULL"]
        parts += [f"payload_type = '{payload_type}'"] if payload_type is not None else []
        parts += [f"{at_tier} = '{tier}'"] if tier is not None else []
        return " AND ".join(parts)

    with reading(Home(root)) as log:
        row = log.execute(
            f"""
            SELECT c.*, a.*, o.*, d.* FROM
            (SELECT count(*), count(*) FILTER (status IN ('failed', 'rejected', 'interrupted')) FROM calls
             WHERE {where("ts", "coalesce(tier_served, tier_planned)")}) AS c,
            (SELECT count(*), count(*) FILTER (status = 'failed'), count(*) FILTER (status = 'invalid'), sum(cost_nusd)
             FROM attempts WHERE {where("started_at", "tier")}) AS a,
            (SELECT count(correct), sum(1 - correct), sum(impact_nusd) FROM call_outcomes
             WHERE status = 'ok' AND correct IS NOT NULL AND {where("ts", "tier_served")}) AS o,
            (SELECT count(*) FILTER (degraded) FROM calls
             WHERE {where("ts", "coalesce(tier_served, tier_planned)")}) AS d
            """
        ).fetchone()
    assert row is not None
    return Raw(**{name: value or 0 for name, value in zip(Raw.__dataclass_fields__, row, strict=True)})


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("demo") / ".tierwise")
    command = [sys.executable, "-m", "dashboard.cli", "demo", "--no-serve", "--days", "4", "--home", str(home.root)]
    subprocess.run(command, check=True, capture_output=True)
    return home.demo.root


def overview_page(shelf: "Shelf") -> None:
    from dashboard.views import overview

    overview.render(shelf.library, shelf.place, shelf.library, shelf.links)


def types_page(shelf: "Shelf") -> None:
    from dashboard.views import types

    types.render(shelf.place, shelf.library, shelf.links)


def type_page(shelf: "Shelf") -> None:
    from dashboard.views import type_detail

    type_detail.render(shelf.place, shelf.library, shelf.links)


def budgets_page(shelf: "Shelf") -> None:
    from dashboard.views import budgets

    budgets.render(shelf.library, shelf.links)


def shown(page: Any, shelf: Shelf, **address: str) -> AppTest:
    return run(AppTest.from_function(page, args=(shelf,), default_timeout=120), **address)


def assert_tiles(app: AppTest, of: Raw) -> None:
    found = {metric.label: metric.value for metric in app.metric}
    assert found["Spend"] == fmt.usd_short(of.spend_nusd / 1e9)
    assert found["Calls"] == fmt.count_short(of.calls)
    assert found["Observed impact"] == (fmt.usd_short(of.impact_nusd / 1e9) if of.labelled else fmt.NOTHING)
    assert found["Total cost"] == fmt.usd_short((of.spend_nusd + of.impact_nusd) / 1e9)
    assert found["Wrong answers"] == fmt.rate(of.wrong / of.labelled if of.labelled else None)


def assert_row(row: Any, of: Raw, *, calls: str = "Calls") -> None:
    assert row["Spend"] == pytest.approx(of.spend_nusd / 1e9, abs=1e-9)
    assert row[calls] == of.calls
    assert row["Labelled"] == of.labelled
    assert row["Failed"] == pytest.approx(100 * of.failed / of.attempts)
    assert row["Invalid"] == pytest.approx(100 * of.invalid / of.attempts)
    assert row["Total cost"] == pytest.approx((of.spend_nusd + of.impact_nusd) / 1e9, abs=1e-9)


def table(app: AppTest, column: str) -> Any:
    """Return the first table that has a column, by its first one."""
    found = next(frame.value for frame in app.dataframe if column in frame.value)
    return found.set_index(found.columns[0])


def test_the_first_page_and_its_tables(demo: Path) -> None:
    shelf = Shelf(root=demo)
    app = shown(overview_page, shelf, period="all")
    assert_tiles(app, raw(demo))
    by_type = table(app, "Share")
    for name in by_type.index:
        assert_row(by_type.loc[name], raw(demo, payload_type=name))
    app.segmented_control(key="spend_view").set_value("table").run()
    days = table(app, "Whole")
    assert sum(days["Spend"]) == pytest.approx(raw(demo).spend_nusd / 1e9)
    assert (sum(days["Calls"]), sum(days["Labelled"])) == (raw(demo).calls, raw(demo).labelled)
    assert sum(days["Observed impact"].fillna(0)) == pytest.approx(raw(demo).impact_nusd / 1e9)


def test_payload_types_by_type_and_by_tier(demo: Path) -> None:
    shelf = Shelf(root=demo)
    app = shown(types_page, shelf, period="all")
    assert_tiles(app, raw(demo))
    app.segmented_control(key="group").set_value("tier").run()
    by_tier = table(app, "Attempts")
    for name in by_tier.index:
        of = raw(demo, tier=name)
        assert by_tier.loc[name]["Attempts"] == of.attempts
        assert_row(by_tier.loc[name], of, calls="Calls served")
    app.segmented_control(key="group").set_value("type and tier").run()
    cells = next(frame.value for frame in app.dataframe if "Tier" in frame.value)
    for _, row in cells.iterrows():
        assert_row(row, raw(demo, payload_type=str(row["Payload type"]), tier=str(row["Tier"])), calls="Calls served")


def test_one_payload_type_and_its_tiers(demo: Path) -> None:
    shelf = Shelf(root=demo)
    for name in shelf.library.span().payload_types[:3]:
        app = shown(type_page, shelf, id=name, period="all")
        assert_tiles(app, raw(demo, payload_type=name))
        tiers = table(app, "Attempts")
        for tier in tiers.index:
            assert_row(tiers.loc[tier], raw(demo, payload_type=name, tier=tier), calls="Calls served")


def test_budgets_and_what_the_log_holds(demo: Path) -> None:
    shelf = Shelf(root=demo)
    app = shown(budgets_page, shelf, period="all")
    view = next(each for each in app.segmented_control if (each.key or "").startswith("days_"))
    view.set_value("table").run()
    days = table(app, "Of the limit")
    assert sum(days["Spend"]) == pytest.approx(raw(demo).spend_nusd / 1e9)
    assert (sum(days["Calls"]), sum(days["Degraded"])) == (raw(demo).calls, raw(demo).degraded)
    held = shelf.library.holdings()
    with reading(Home(demo)) as log:
        for name, rows in held.rows.items():
            assert log.execute(f"SELECT count(*) FROM {name}").fetchone() == (rows,)


@pytest.mark.realdata
def test_a_real_evaluation(data_dir: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    command = [sys.executable, "-m", "dashboard.cli", "import", str(data_dir / "outcomes_bfcl_2024-07-06.parquet")]
    subprocess.run([*command, "--tiers", TIERS, "--home", str(home.root)], check=True, capture_output=True)
    whole = raw(home.root, instant=False)
    assert whole.calls
    for page in (overview_page, types_page):
        app = shown(page, Shelf(root=home.root))
        assert_tiles(app, whole)
        by_type = table(app, "Share")
        for name in by_type.index:
            assert_row(by_type.loc[name], raw(home.root, payload_type=name, instant=False))
