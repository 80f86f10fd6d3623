"""``tierwise simulate cap``: what it prints for people and for programs, and what it refuses."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from router_core.call_log.home import Home
from router_core.call_log.spool import Spool
from router_core.decide.guard import midnight_us
from tests.builders import make_attempt_line, make_call_line
from tests.command_line import Tierwise
from tests.traffic import CAPPED_CONFIG, FIRST, write_capped_log

SINCE = ("--since", str(FIRST), "--until", "2026-11-25")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / ".tierwise")
    write_capped_log(home)
    return home


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tierwise:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    return Tierwise(capsys)


def test_each_limit_has_a_row_and_the_assumptions_follow(tierwise: Tierwise, home: Home) -> None:
    ended = tierwise("simulate", "cap", "--daily", "0.01,0.02,0.5", *SINCE)
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines() if line.strip().startswith("$0.")]
    assert [row[0] for row in rows] == ["$0.0100", "$0.0200", "$0.5000"]
    assert [row[1] for row in rows] == ["5", "5", "0"]
    assert "2026-11-20 to 2026-11-24 (5 days, Europe/Berlin), 300 calls" in ended.out
    assert "Reserve for critical calls: $0.0020." in ended.out  # the config's own
    assert "What this assumes" in ended.out
    assert "Reservations of requests in flight are not replayed" in " ".join(ended.out.split())


def test_one_limit_shows_its_days_and_payload_types(tierwise: Tierwise, home: Home) -> None:
    out = tierwise("simulate", "cap", "--daily", "0.02", "--reserve", "0", *SINCE).out
    assert "tripped 2026-11-20 at" in out
    assert "CET" in out
    (row,) = [line for line in out.splitlines() if line.startswith("x.extract")]
    assert "not known" in row


def test_a_program_gets_exact_numbers(tierwise: Tierwise, home: Home) -> None:
    found = tierwise("simulate", "cap", "--daily", "0", "--json", *SINCE).json()
    (limit,) = found["limits"]
    assert (found["calls"], limit["days_tripped"], limit["calls_degraded"]) == (300, 5, 225)
    # 75 shadows were measured and none is made; the others' tokens cost the same on that target
    assert limit["actual_nusd"] == 300 * 700_000 + 75 * 14_000
    assert limit["capped_nusd"] == 75 * 700_000 + 225 * 14_000
    assert limit["alternative_cost"] == {"own": 75, "scaled": 75, "repriced": 75, "unknown": 0}
    assert limit["harm"]["judged"] == 150
    assert limit["harm"]["unknown"] == 75
    assert sum(row["saved_nusd"] for row in limit["by_type"]) == limit["saved_nusd"]
    assert sum(day["capped_nusd"] for day in limit["days"]) == limit["capped_nusd"]


def test_what_is_spooled_is_taken_in_first(tierwise: Tierwise, home: Home) -> None:
    spool = Spool(home.spool)
    at = 1_795_500_000_000_000
    spool.write(make_attempt_line(started_at=at, payload_type="x.extract"), make_call_line(ts=at))
    spool.close()
    assert tierwise("simulate", "cap", "--daily", "1", "--json", *SINCE).json()["calls"] == 301


def test_another_config_brings_its_own_zone_and_prices(tierwise: Tierwise, home: Home, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(
        CAPPED_CONFIG.replace("Europe/Berlin", "UTC").replace("x.extract: {", "x.extract: {min_tier: top, ")
    )
    found = tierwise("simulate", "cap", "--daily", "0", "--json", "--config", other, *SINCE).json()
    assert found["zone"] == "UTC"
    (extract,) = [row for row in found["limits"][0]["by_type"] if row["payload_type"] == "x.extract"]
    assert (extract["tiers_capped"], extract["saved_nusd"]) == (["top"], 0)


def test_an_empty_window_says_what_to_do(tierwise: Tierwise, home: Home) -> None:
    ended = tierwise("simulate", "cap", "--daily", "1", "--since", "2026-01-01", "--until", "2026-01-05")
    assert ended.code == 0
    assert "Nothing to replay; try an earlier --since" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--daily", "fifty"), "'fifty' is no amount of USD"),
        (("--daily", "50,"), "'' is no amount of USD"),
        (("--daily", "-1"), "'-1' is no amount of USD"),
        (("--daily", "nan"), "'nan' is no amount of USD"),
        (("--daily", ",".join(["1"] * 201)), "201 limits; try 200 at most"),
        (("--daily", "1", "--reserve", "x"), "--reserve: 1 problem"),
        (("--daily", "1", "--since", "soon"), "'soon' is no day or instant"),
        (("--daily", "1", "--since", "2026-11-05", "--until", "2026-11-05"), "is no day before"),
        (("--daily", "1", "--since", "1900-01-01"), "more than 3700 days"),
        (("--daily", "1", "--config", "nowhere.yaml"), "does not exist"),
    ],
)
def test_bad_input_is_refused_with_the_way_out(
    tierwise: Tierwise, home: Home, arguments: tuple[str, ...], said: str
) -> None:
    ended = tierwise("simulate", "cap", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_without_a_config_it_says_which_one_it_needs(tierwise: Tierwise, home: Home) -> None:
    home.root.joinpath("routing.yaml").unlink()
    ended = tierwise("simulate", "cap", "--daily", "1")
    assert ended.code == 2
    assert "--config FILE" in ended.err


def test_without_a_log_it_says_how_to_make_one(tierwise: Tierwise) -> None:
    ended = tierwise("simulate", "cap", "--daily", "1")
    assert ended.code == 2
    assert "tierwise demo" in ended.err


BUDGETS = (
    "  - {name: weekly, per: week, usd: 0.1, critical_reserve_usd: 0.01, taper_from: 0.5, stop_usd: 0.12}\n"
    "  - {name: writing, usd: 0.01, on_limit: reject, scope: {payload_types: [y.write]}}\n"
    "  - {name: each job, per: rolling, window_h: 6, usd: 0.001, switch_at: task, scope: {run: true}}\n"
    "  - {name: ours, usd: 0.005, scope: {tag: {team: ours}}}\n"
)


@pytest.fixture
def budgets(tmp_path: Path) -> Path:
    path = tmp_path / "budgets.yaml"
    path.write_text(CAPPED_CONFIG.split("budgets:")[0] + "budgets:\n" + BUDGETS)
    return path


def tried(tierwise: Tierwise, budgets: Path, *arguments: str) -> dict[str, Any]:
    (limit,) = tierwise("simulate", "cap", "--config", budgets, "--json", *SINCE, *arguments).json()["limits"]
    return limit


def test_a_budget_of_the_config_is_tried_with_all_that_it_says(tierwise: Tierwise, home: Home, budgets: Path) -> None:
    weekly = tried(tierwise, budgets, "--budget", "weekly")
    assert (weekly["limit"]["per"], weekly["limit"]["taper_nusd"], weekly["limit"]["stop_nusd"]) == (
        "week", 45_000_000, 120_000_000,
    )  # fmt: skip
    # 300 calls at 0.0007 USD and their shadows, over two weeks: the taper ends the shadows, the limit ends the rest
    assert weekly["calls_degraded"] > 0
    assert weekly["saved_nusd"] > 0
    dearer = tried(tierwise, budgets, "--budget", "weekly", "--usd", "0.2")
    assert dearer["limit"]["taper_nusd"] == 95_000_000
    assert dearer["calls_degraded"] < weekly["calls_degraded"]


def test_a_scope_counts_and_moves_its_own_calls_only(tierwise: Tierwise, home: Home, budgets: Path) -> None:
    writing = tried(tierwise, budgets, "--budget", "writing")
    assert writing["calls_rejected"] > 0
    assert writing["calls_degraded"] == 0
    touched = {row["payload_type"] for row in writing["by_type"] if row["saved_nusd"]}
    assert touched == {"y.write"}
    # nobody tagged anything, and no call belongs to a job
    assert tried(tierwise, budgets, "--budget", "ours")["saved_nusd"] == 0
    assert tried(tierwise, budgets, "--budget", "each job")["saved_nusd"] == 0


def test_tags_and_jobs_are_read_from_the_log(tierwise: Tierwise, home: Home, budgets: Path) -> None:
    spool, zone = Spool(home.spool), ZoneInfo("Europe/Berlin")
    for number in range(40):
        at, own = midnight_us(FIRST, zone) + number * 60_000_000, number % 2 == 0
        ids = {"call_id": f"t{number:03}", "payload_type": "x.extract", "run": f"job-{number % 4}"}
        served = {"tier": "top", "request_model": "b/large", "cost_nusd": 700_000}
        spool.write(
            make_attempt_line(attempt_id=f"t{number:03}-1", started_at=at, **ids, **served),
            make_call_line(ts=at, served_attempt_id=f"t{number:03}-1", tier_served="top", cost_nusd=700_000,
                           tags={"team": "ours"} if own else {"team": "theirs"}, seq=number, **ids),
        )  # fmt: skip
    spool.close()
    ours = tried(tierwise, budgets, "--budget", "ours")
    # of twenty calls at 0.0007 USD the first eight reach 0.005 USD
    assert ours["calls_degraded"] == 12
    jobs = tried(tierwise, budgets, "--budget", "each job")
    # each of four jobs may spend 0.001 USD in six hours, and keeps its model for a tenth more: two calls of ten
    assert jobs["calls_degraded"] == 4 * 8


def test_a_person_reads_what_taper_and_refusals_do(tierwise: Tierwise, home: Home, budgets: Path) -> None:
    out = " ".join(tierwise("simulate", "cap", "--config", budgets, "--budget", "writing", *SINCE).out.split())
    assert "the budget writing, per day" in out
    assert "calls would be refused, and cost nothing" in out
    out = " ".join(tierwise("simulate", "cap", "--config", budgets, "--budget", "weekly", *SINCE).out.split())
    assert "the budget weekly, per week" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give daily limits to try"),
        (("--daily", "1", "--budget", "weekly"), "give daily limits to try"),
        (("--daily", "1", "--usd", "2"), "give daily limits to try"),
        (("--budget", "none such"), "no budget 'none such' in the config (weekly, writing, each job, ours)"),
        (("--budget", "weekly", "--usd", "-1"), "'-1' is no amount of USD"),
    ],
)
def test_a_budget_that_is_not_there_is_told(
    tierwise: Tierwise, home: Home, budgets: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = tierwise("simulate", "cap", "--config", budgets, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
