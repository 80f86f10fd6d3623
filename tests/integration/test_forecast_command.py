"""``tierwise forecast``: what it prints for people and for programs, and what it refuses."""

from pathlib import Path

import pytest

from router_core.call_log.home import Home
from router_core.call_log.spool import Spool
from tests.builders import make_attempt_line, make_call_line
from tests.command_line import Tierwise
from tests.traffic import write_capped_log

# write_capped_log begins on 2026-11-20; December has 31 days
NOON = ("--as-of", "2026-12-20T12:00", "--since", "2026-11-01")


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("month")
    write_capped_log(Home(folder / ".tierwise"), days=31, per_day=12)
    return folder


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, month: Path) -> Tierwise:
    monkeypatch.chdir(month)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    return Tierwise(capsys)


def test_a_month_has_bands_trips_and_a_backtest(tierwise: Tierwise) -> None:
    ended = tierwise("forecast", "--daily", "0.0085", "--reserve", "0", "--monthly", "0.2", *NOON)
    assert ended.code == 0
    out = " ".join(ended.out.split())
    assert "FORECAST from 30 full days from 2026-11-20 and 2026-12-20 so far (Europe/Berlin)" in out
    assert "Spend by 2026-12-31: $0." in out
    assert "95 %:" in out
    assert "reaches $0.0085" in out
    assert "The month's budget of $0.2000 is used up" in out
    assert "Backtest: made on each of 16 earlier days" in out
    assert "Brier score" in out


def test_a_program_gets_spend_so_far_to_the_nano_dollar(tierwise: Tierwise) -> None:
    found = tierwise("forecast", "--json", *NOON).json()
    assert (found["first"], found["outlook"]["full_days"]) == ("2026-11-20", 30)
    # twelve calls a day, of which three have a shadow; by noon on the last day seven were made
    by_noon = 7 * 700_000 + 2 * 14_000
    assert found["today_nusd"] == by_noon
    assert found["outlook"]["month_so_far_nusd"] == 19 * (12 * 700_000 + 3 * 14_000) + by_noon
    assert found["limit"]["limit_nusd"] == 30_000_000  # the config's own
    assert len(found["outlook"]["days"]) == 29
    assert found["outlook"]["month_usd"]["low_80"] <= found["outlook"]["month_usd"]["median"]


def test_a_few_days_give_a_rate(tierwise: Tierwise) -> None:
    ended = tierwise("forecast", "--as-of", "2026-11-24T12:00", "--since", "2026-11-01")
    assert ended.code == 0
    assert "a day, spend by 2026-11-30" in ended.out
    assert "Fewer than 14 full days" in ended.out


def test_a_first_day_that_began_late_does_not_count(tierwise: Tierwise, tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    write_capped_log(home, days=3, per_day=12)
    spool = Spool(home.spool)
    at_two = 1_795_172_400_000_000 - 22 * 3_600_000_000
    spool.write(make_attempt_line(started_at=at_two, cost_nusd=5), make_call_line(ts=at_two))
    spool.close()
    found = tierwise("forecast", "--json", "--home", home.root, "--as-of", "2026-11-23", "--since", "2026-11-01").json()
    assert found["first"] == "2026-11-20"
    assert any("The log began within 2026-11-19" in words for words in found["assumptions"])


def test_a_window_without_spend_says_what_to_do(tierwise: Tierwise) -> None:
    ended = tierwise("forecast", "--as-of", "2026-01-20", "--since", "2026-01-01")
    assert ended.code == 0
    assert "Nothing to forecast" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--daily", "-1"), "'-1' is no amount of USD"),
        (("--monthly", "much"), "--monthly: 1 problem"),
        (("--reserve", "nan", "--daily", "1"), "--reserve: 1 problem"),
        (("--since", "soon"), "'soon' is no day or instant"),
        (("--since", "2026-12-20", "--as-of", "2026-12-20T12:00"), "give another one"),
        (("--as-of", "never"), "--as-of"),
        (("--config", "nowhere.yaml"), "does not exist"),
    ],
)
def test_bad_input_is_refused_with_the_way_out(tierwise: Tierwise, arguments: tuple[str, ...], said: str) -> None:
    ended = tierwise("forecast", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
