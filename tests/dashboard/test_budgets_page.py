"""The page of budgets: days against their limit, degraded work, what the guard said."""

import datetime as dt
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import format as fmt
from dashboard.components.guard import held_now
from dashboard.holdings import LogEvent
from dashboard.periods import Period
from dashboard.sums import Filters
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.spool import Spool
from tests.dashboard.homes import Shelf, run, words
from tests.log_files import CONFIG, END, write_log

BUDGET = "budgets:\n  - {name: daily, per: day, usd: 0.25, critical_reserve_usd: 0.05}\n"
CAPPED_AT = dt.datetime(2026, 11, 21, 13, 2, tzinfo=dt.UTC)
MIDNIGHT = dt.datetime(2026, 11, 21, 23, tzinfo=dt.UTC)
CAPPED = {
    "state": "capped",
    "budget": "daily",
    "limit_nusd": 250_000_000,
    "noncritical_nusd": 180_000_000,
    "critical_nusd": 70_000_000,
    "until_us": int(MIDNIGHT.timestamp() * 1e6),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("log") / ".tierwise")
    write_log(home, days=9, per_day=96)
    spool = Spool(home.spool)
    spool.write({"k": "event", "at": int(CAPPED_AT.timestamp() * 1e6), "event": "guard", "details": CAPPED})
    spool.close()
    ingest_once(home)
    tiers = CONFIG.replace("}]", ", max_output_tokens: 1000}]")
    home.root.joinpath("routing.yaml").write_text(tiers + BUDGET)
    return home.root


def page(shelf: "Shelf") -> None:
    from dashboard.views import budgets

    budgets.render(shelf.library, shelf.links)


def shown(shelf: Shelf, **address: str | list[str]) -> AppTest:
    return run(AppTest.from_function(page, args=(shelf,), default_timeout=60), **address)


def test_days_are_set_against_the_limit(root: Path) -> None:
    shelf = Shelf(root=root)
    app = shown(shelf, period="7d")
    app.segmented_control(key="days_daily_view").set_value("table").run()
    week = Period(first=END - dt.timedelta(days=6), until=END + dt.timedelta(days=1), zone="Europe/Berlin")
    found = shelf.library.overview(Filters(period=week))
    days = next(frame.value for frame in app.dataframe if "Of the limit" in frame.value)
    assert list(days["Spend"]) == pytest.approx([point.sums.spend_nusd / 1e9 for point in found.points])
    assert list(days["Of the limit"]) == pytest.approx([point.sums.spend_nusd / 2.5e6 for point in found.points])
    degraded = next(frame.value for frame in app.dataframe if "Of its calls" in frame.value)
    assert sum(degraded["Degraded"]) == found.total.degraded
    over = sum(1 for point in found.points if point.sums.spend_nusd >= 250_000_000)
    app.segmented_control(key="days_daily_view").set_value("chart").run()
    assert f"{fmt.plural(over, 'day')} of 7 at or over $0.2500" in words(app)


def test_what_the_guard_did_is_listed_with_what_had_been_spent(root: Path) -> None:
    events = next(frame.value for frame in shown(Shelf(root=root)).dataframe if "Until" in frame.value)
    row = events.iloc[0]
    assert (row["When"], row["State"], row["Spent"]) == ("2026-11-21 14:02 CET", "capped", 0.25)
    assert row["Until"] == "2026-11-22 00:00 CET"


def test_a_log_without_a_budget_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    write_log(home, days=2, per_day=24)
    app = shown(Shelf(root=home.root))
    assert "There is no budget" in words(app)


def test_undated_evaluations_have_no_budget(tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    write_log(home, days=0, per_day=0, undated=20)
    assert "Nothing here has a time" in words(shown(Shelf(root=home.root)))


def test_a_budget_is_held_until_it_returns_by_itself() -> None:
    event = LogEvent(at=CAPPED_AT, event="guard", details=CAPPED)
    (held,) = held_now([event], CAPPED_AT + dt.timedelta(hours=1))
    assert (held.budget, held.state, held.since, held.until) == ("daily", "capped", CAPPED_AT, MIDNIGHT)
    assert held_now([event], MIDNIGHT) == ()


def test_the_newest_word_of_each_budget_counts() -> None:
    later = LogEvent(at=CAPPED_AT + dt.timedelta(hours=1), event="guard", details={**CAPPED, "state": "normal"})
    other = LogEvent(at=CAPPED_AT, event="guard", details={**CAPPED, "budget": "team", "state": "taper"})
    capped = LogEvent(at=CAPPED_AT, event="guard", details=CAPPED)
    held = held_now([later, other, capped], CAPPED_AT + dt.timedelta(hours=2))
    assert [(each.budget, each.state) for each in held] == [("team", "taper")]
