"""Limits of all kinds: scopes, taper, stop, running jobs, several at once; their periods, forecast and promise."""

import datetime as dt
import zoneinfo
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.decide.budgets import limits_of
from router_core.decide.forecast import forecast
from router_core.decide.guard import (
    Limit,
    Per,
    Scope,
    Spend,
    Verdict,
    is_back,
    judge,
    lease_now_nusd,
    reached,
    tightest,
    without_store,
)
from router_core.decide.periods import SLICE_US, period_of, slice_of
from router_core.decide.promise import Load, Promise
from tests.builders import make_call, make_config

ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/Santiago", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe")
AMOUNT = st.integers(0, 1_000)
HOUR_US = 3_600_000_000
SEVERITY = ("normal", "taper", "capped", "stopped")


def limit(**fields: Any) -> Limit:
    known: dict[str, Any] = {"name": "daily", "limit_nusd": 100}
    return Limit(**known | fields)


def spent(noncritical: int = 0, critical: int = 0, **flags: bool) -> Spend:
    return Spend(noncritical_nusd=noncritical, critical_nusd=critical, **flags)


def at(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("fields", "spend", "state"),
    [
        ({"taper_nusd": 80}, spent(79), "normal"),
        ({"taper_nusd": 80}, spent(80), "taper"),
        ({"taper_nusd": 80}, spent(10, 85), "normal"),  # taper looks at non-critical spend alone
        ({"taper_nusd": 80}, spent(100), "capped"),
        ({"stop_nusd": 120}, spent(119), "capped"),
        ({"stop_nusd": 120}, spent(120), "stopped"),
        ({"stop_nusd": 120}, spent(5, stopped=True), "stopped"),
        ({"on_limit": "reject"}, spent(100), "stopped"),
        ({"on_limit": "reject"}, spent(99), "normal"),
    ],
)
def test_what_a_limit_says_at_each_amount(fields: Mapping[str, Any], spend: Spend, state: str) -> None:
    assert judge(limit(**fields), spend).state == state


def test_running_job_keeps_its_models_until_the_allowance_is_spent_too() -> None:
    task = limit(switch_at="task")
    states = [judge(task, spent(nusd, latched=nusd >= 100), is_running=True).state for nusd in (99, 100, 109, 110)]
    assert states == ["normal", "taper", "taper", "capped"]
    assert judge(task, spent(100), is_running=False).state == "capped"
    assert judge(limit(), spent(100), is_running=True).state == "capped"


@given(st.lists(st.tuples(st.sampled_from(SEVERITY), AMOUNT), min_size=1))
def test_the_most_severe_verdict_decides_and_of_these_the_one_with_the_least_left(given: list[Any]) -> None:
    verdicts = [Verdict(state=state, budget=f"b{n}", remaining_nusd=left) for n, (state, left) in enumerate(given)]
    found = tightest(verdicts)
    assert found in verdicts
    assert SEVERITY.index(found.state) == max(SEVERITY.index(one.state) for one in verdicts)
    peers = [one for one in verdicts if one.state == found.state]
    assert found == min(peers, key=lambda one: one.remaining_nusd or 0)


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT, st.one_of(st.none(), AMOUNT), st.one_of(st.none(), AMOUNT), st.booleans())
def test_more_spend_never_makes_a_verdict_milder(
    noncritical: int, critical: int, more: int, reserve: int, taper: int | None, stop: int | None, running: bool
) -> None:
    one = limit(limit_nusd=500, critical_reserve_nusd=reserve, taper_nusd=taper, stop_nusd=stop, switch_at="task")
    before, after = spent(noncritical, critical), spent(noncritical + more, critical)
    milder = judge(one, before, is_running=running), judge(one, after, is_running=running)
    assert SEVERITY.index(milder[0].state) <= SEVERITY.index(milder[1].state)


@given(AMOUNT, AMOUNT, AMOUNT)
def test_what_was_reached_stays_reached_but_for_a_rolling_window_below_its_taper(
    now: int, critical: int, late: int
) -> None:
    one = limit(limit_nusd=500, stop_nusd=700)
    noted = reached(one, spent(now, critical))
    later = spent(late, 0, latched=noted.latched, stopped=noted.stopped)
    assert (judge(one, later).state in ("capped", "stopped")) or not noted.latched
    assert not is_back(one, later)
    rolling = limit(limit_nusd=500, per="rolling", window_us=HOUR_US, taper_nusd=300)
    assert is_back(rolling, later) == (late < 300)


@pytest.mark.parametrize(("rule", "state"), [("closed", "capped"), ("open", "normal")])
def test_a_store_that_fails_is_taken_as_the_config_says(rule: Any, state: str) -> None:
    assert without_store(limit(on_store_failure=rule), spent(5)).state == state
    assert without_store(limit(on_store_failure=rule), spent(100)).state == "capped"


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(1, 64))
def test_all_leases_together_are_at_most_a_quarter_of_what_is_left(usd: int, used: int, processes: int) -> None:
    lease = lease_now_nusd(limit(limit_nusd=usd), used, processes)
    assert 0 <= lease <= usd // 500
    assert 4 * processes * lease <= max(0, usd - used)


def test_scopes_of_a_config_count_what_they_name() -> None:
    types = {
        "a.x": {"path": ["cheap"], "group": "ap"}, "a.y": {"path": ["cheap"], "group": "ap"}, "b": {"path": ["cheap"]},
        "*": {"path": ["cheap"]},
    }  # fmt: skip
    budgets: list[dict[str, Any]] = [
        {"name": "all", "usd": 1},
        {"name": "types", "usd": 1, "scope": {"payload_types": ["b", "*"]}},
        {"name": "group", "usd": 1, "scope": {"group": "ap"}},
        {"name": "tag", "usd": 1, "scope": {"tag": {"team": "ap", "env": "prod"}}},
        {"name": "run", "usd": 1, "scope": {"run": True, "group": "ap"}},
    ]
    scopes = {each.name: each.scope for each in limits_of(make_config(payload_types=types, budgets=budgets))}

    def counted(**call: Any) -> dict[str, str]:
        keys = {name: scope.key_of(make_call(**call)) for name, scope in scopes.items()}
        return {name: key for name, key in keys.items() if key is not None}

    assert counted(payload_type="b") == {"all": "", "types": "types:*,b;"}
    assert counted(payload_type="unheard of") == {"all": "", "types": "types:*,b;"}
    assert counted(payload_type="a.x") == {"all": "", "group": "group:ap;"}
    assert counted(payload_type="a.y", run="j-1") == {"all": "", "group": "group:ap;", "run": "group:ap;run:j-1"}
    tags = {"team": "ap", "env": "prod", "more": "x"}
    assert counted(payload_type="a.x", tags=tags)["tag"] == "tag:env=prod,team=ap;"
    assert "tag" not in counted(payload_type="a.x", tags={"team": "ap"})


def test_scopes_that_mean_different_things_have_different_identities() -> None:
    assert Scope().identity != Scope(identity="run:").identity


@pytest.mark.parametrize(
    ("per", "moment", "key", "first", "after"),
    [
        ("day", "2026-10-25T12:00+01:00", "2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("week", "2026-10-25T12:00+01:00", "2026-W43", "2026-10-19T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("week", "2027-01-02T12:00+01:00", "2026-W53", "2026-12-28T00:00+01:00", "2027-01-04T00:00+01:00"),
        ("month", "2026-03-31T23:59+02:00", "2026-03", "2026-03-01T00:00+01:00", "2026-04-01T00:00+02:00"),
        ("month", "2026-12-31T23:59+01:00", "2026-12", "2026-12-01T00:00+01:00", "2027-01-01T00:00+01:00"),
    ],
)
def test_periods_begin_and_end_at_local_midnights(per: Any, moment: str, key: str, first: str, after: str) -> None:
    period = period_of(limit(per=per), at(moment), ZoneInfo("Europe/Berlin"))
    assert (period.key, period.start_us, period.end_us) == (key, at(first), at(after))


@given(st.integers(946_684_800, 2_840_140_800), st.sampled_from(ZONES), st.sampled_from(("day", "week", "month")))
def test_periods_follow_each_other_without_a_gap_in_whole_quarter_hours(at_s: int, zone: str, per: Per) -> None:
    period = period_of(limit(per=per), at_s * 1_000_000, ZoneInfo(zone))
    assert period.start_us <= at_s * 1_000_000 < period.end_us
    assert period_of(limit(per=per), period.end_us, ZoneInfo(zone)).start_us == period.end_us
    assert (period.start_us % SLICE_US, period.end_us % SLICE_US) == (0, 0)


def test_every_zone_has_its_midnights_at_quarter_hours() -> None:
    noon = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
    offsets = {ZoneInfo(name).utcoffset(noon) for name in zoneinfo.available_timezones()}
    assert all(offset is not None and offset % dt.timedelta(minutes=15) == dt.timedelta() for offset in offsets)


@given(st.integers(946_684_800, 2_840_140_800), st.integers(1, 200))
def test_rolling_window_covers_its_length_and_less_than_a_quarter_hour_more(at_s: int, hours: int) -> None:
    now_us = at_s * 1_000_000
    period = period_of(limit(per="rolling", window_us=hours * HOUR_US), now_us, ZoneInfo("UTC"))
    assert now_us - hours * HOUR_US - SLICE_US < period.start_us <= now_us - hours * HOUR_US
    assert slice_of(now_us) < period.end_us == slice_of(now_us) + SLICE_US


@given(AMOUNT, st.integers(0, 300), st.integers(1, 24))
def test_spend_at_a_steady_rate_reaches_the_limit_when_forecast(used: int, per_hour: int, left_h: int) -> None:
    one = limit(limit_nusd=1_000)
    found = forecast(
        one, spent(used), now_us=0, end_us=left_h * HOUR_US, recent_nusd=per_hour, recent_us=HOUR_US
    )  # fmt: skip
    assert found.end_nusd == used + per_hour * left_h
    if used >= 1_000:
        assert found.at_us == 0
    elif found.at_us is None:
        assert used + per_hour * left_h <= 1_000
    else:
        assert 0 < found.at_us < left_h * HOUR_US
        assert (
            used * HOUR_US + per_hour * (found.at_us - 1) < 1_000 * HOUR_US <= used * HOUR_US + per_hour * found.at_us
        )


def test_promise_adds_leases_and_requests_in_flight() -> None:
    promise = Promise(limit=limit(limit_nusd=50_000), load=Load(processes=4, concurrent=50), worst_nusd=7)
    assert (promise.bound_nusd, promise.most_nusd) == (4 * 100 + 50 * 7, 50_750)
    assert promise.most_noncritical_nusd is None
    stop = Promise(limit=limit(limit_nusd=50_000, stop_nusd=80_000), load=promise.load, worst_nusd=7)
    assert stop.most_noncritical_nusd == 80_750
    reject = Promise(limit=limit(limit_nusd=50_000, on_limit="reject"), load=promise.load, worst_nusd=7)
    assert reject.most_noncritical_nusd == 50_750
