"""Limits replayed on logs of real routers, against what a real limit did to the same traffic."""

import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from optimizer.simulate.caps import OWN, REPRICED, SCALED, UNKNOWN
from optimizer.simulate.ratios import FEWEST_PAIRS
from optimizer.simulate.rehearsal import Effect, Rehearsal, Traffic, rehearse
from optimizer.traffic.reading import read_traffic
from optimizer.traffic.words import assumptions
from router_core import CallError, RouteExhaustedError
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.spool import Spool
from router_core.config import parse
from router_core.decide.guard import Limit, midnight_us
from router_core.testing import Reply
from router_core.types import Request, Usage
from tests.builders import make_attempt_line, make_call_line, make_outcome_line
from tests.routers import ROUTING, open_bench, reply

ZONE = ZoneInfo("Europe/Berlin")
FIRST = dt.date(2026, 10, 24)  # clocks go back on the 25th: a day of 25 hours
DAYS = 3
LIMIT = Limit(name="daily", limit_nusd=20_000_000, critical_reserve_nusd=4_000_000)
SINGLE = ROUTING.replace("version: 1\n", "version: 1\ntimezone: Europe/Berlin\n").replace(
    "path: [cheap, mid, top]", "path: [mid]"
).replace("payload_types:\n", "payload_types:\n  y.write: {path: [top], min_tier: mid}\n")  # fmt: skip
ESCALATING = SINGLE.replace("x.extract: {path: [mid]", "x.extract: {path: [cheap, top]")


def with_limit(routing: str, limit: Limit = LIMIT) -> str:
    usd, reserve = limit.limit_nusd / 1e9, limit.critical_reserve_nusd / 1e9
    return f"{routing}budgets: [{{name: daily, usd: {usd}, critical_reserve_usd: {reserve}}}]\n"


@dataclass(frozen=True)
class Made:
    """What a real router did with the traffic."""

    home: Home
    first_degraded: dict[str, int]
    degraded: int
    spend_nusd: dict[str, int]


def sized(request: Request) -> Reply:
    """Answers whose sizes differ from call to call, but not from model to model; every third is unsure on cheap."""
    number = int(str(request.messages[1]["content"]).rsplit(" ", 1)[1])
    unsure = number % 3 == 0 and request.model.endswith("small")
    usage = Usage(input_tokens=100 + number % 7 * 40, output_tokens=10 + number % 5 * 9, cached_tokens=number % 4 * 20)
    return reply(confidence=0.2 if unsure else 0.9, usage=usage)


def run(folder: Path, routing: str, per_day: int = 120, seed: int = 1) -> Made:
    """Send the same calls at the same instants, whatever the routing."""
    models = ("a/small", "b/small", "a/medium", "b/large")
    bench = open_bench(folder, dict.fromkeys(models, sized), routing, midnight_us(FIRST, ZONE))
    chance = random.Random(seed)
    first_degraded: dict[str, int] = {}
    spend: dict[str, int] = {}
    degraded = number = 0
    for day in (FIRST + dt.timedelta(number) for number in range(DAYS)):
        begin, end = midnight_us(day, ZONE), midnight_us(day + dt.timedelta(1), ZONE)
        for at_us in sorted(chance.sample(range(begin, end - 60_000_000, 10_000_000), per_day)):
            bench.clock.set(at_us)
            payload_type = chance.choices(("x.extract", "y.write", "x.decide"), (6, 3, 1))[0]
            messages = [{"role": "system", "content": "Extract."}, {"role": "user", "content": f"Document {number}"}]
            answer: Any = bench.router.complete(payload_type, messages=messages)
            spend[day.isoformat()] = spend.get(day.isoformat(), 0) + answer.cost_nusd
            if answer.degraded:
                degraded += 1
                first_degraded.setdefault(day.isoformat(), at_us)
            number += 1
    bench.router.close()
    home = Home(bench.home)
    ingest_once(home)
    return Made(home, first_degraded, degraded, spend)


def traffic_of(home: Home, routing: str, first: dt.date = FIRST, days: int = DAYS) -> Traffic:
    with reading(home) as log:
        return read_traffic(log, parse(routing.encode(), source="r"), first, first + dt.timedelta(days))


def replayed(made: Made, routing: str, *limits: Limit) -> Rehearsal:
    return rehearse(traffic_of(made.home, routing), limits)


def by_day(rehearsal: Rehearsal, place: int = 0) -> dict[str, int]:
    days = (day.isoformat() for day in rehearsal.traffic.days)
    return dict(zip(days, rehearsal.sweep.capped_nusd[place].tolist(), strict=True))


def first_moved(made: Made, effect: Effect) -> dict[str, int]:
    """The first non-critical call of each day at or after the instant at which the replayed limit is reached."""
    with reading(made.home) as log:
        rows = log.execute("SELECT epoch_us(ts) FROM calls WHERE NOT critical ORDER BY ts").fetchall()
    instants = [row[0] for row in rows]
    return {trip.day.isoformat(): min(at for at in instants if at >= trip.at_us) for trip in effect.trips}


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return run(tmp_path_factory.mktemp("free"), SINGLE)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return run(tmp_path_factory.mktemp("limited"), with_limit(SINGLE))


def test_a_replayed_limit_does_what_the_real_one_did_to_the_same_calls(free: Made, limited: Made) -> None:
    rehearsal = replayed(free, SINGLE, LIMIT)
    (effect,) = rehearsal.effects
    assert len(limited.first_degraded) == 3
    assert first_moved(free, effect) == limited.first_degraded
    assert effect.moved == limited.degraded
    assert by_day(rehearsal) == limited.spend_nusd
    assert effect.actual_nusd == sum(free.spend_nusd.values())


def test_the_log_of_a_limited_router_replays_its_own_limit_as_it_happened(free: Made, limited: Made) -> None:
    rehearsal = replayed(limited, SINGLE, LIMIT)
    (effect,) = rehearsal.effects
    assert first_moved(limited, effect) == limited.first_degraded
    assert (effect.moved, effect.already, effect.left) == (limited.degraded, 0, ())
    assert by_day(rehearsal) == limited.spend_nusd
    # what would have happened without it is modelled, and said to be
    assert effect.actual_nusd == pytest.approx(sum(free.spend_nusd.values()), rel=0.05)
    assert effect.uncapped is not None
    assert (len(effect.uncapped.days), effect.uncapped.calls) == (3, limited.degraded)
    assert any("is modelled" in words for words in assumptions([effect]))


def test_a_lower_limit_is_replayed_exactly_on_days_on_which_a_limit_was_at_work(free: Made, limited: Made) -> None:
    lower = Limit(name="daily", limit_nusd=12_000_000, critical_reserve_nusd=4_000_000)
    free_run, limited_run = replayed(free, SINGLE, lower), replayed(limited, SINGLE, lower)
    assert by_day(limited_run) == by_day(free_run)
    assert limited_run.effects[0].trips == free_run.effects[0].trips
    assert limited_run.effects[0].degraded == free_run.effects[0].moved


def test_a_higher_limit_is_replayed_on_what_would_have_happened_without_the_one_at_work(
    free: Made, limited: Made
) -> None:
    higher = Limit(name="daily", limit_nusd=30_000_000, critical_reserve_nusd=4_000_000)
    (found,), (truth,) = replayed(limited, SINGLE, higher).effects, replayed(free, SINGLE, higher).effects
    assert [trip.day for trip in found.trips] == [trip.day for trip in truth.trips]
    assert found.moved == pytest.approx(truth.moved, rel=0.15)
    assert found.saved_nusd == pytest.approx(truth.saved_nusd, rel=0.15)


def test_with_escalations_the_trip_is_the_same_and_spend_differs_by_the_crossing_calls_only(tmp_path: Path) -> None:
    """A real limit also forbids the escalation of the call that crosses it."""
    free, limited = run(tmp_path / "free", ESCALATING), run(tmp_path / "limited", with_limit(ESCALATING))
    rehearsal = replayed(free, ESCALATING, LIMIT)
    (effect,) = rehearsal.effects
    assert limited.first_degraded
    assert first_moved(free, effect) == limited.first_degraded
    assert effect.moved == limited.degraded
    dearest_answer_nusd = 340 * 5_000 + 46 * 20_000
    for day, nusd in by_day(rehearsal).items():
        assert 0 <= nusd - limited.spend_nusd[day] <= dearest_answer_nusd
    # what these calls did cost on cheap is in the log, so nothing of it is repriced
    assert effect.moved_by_basis[OWN] > 0


def test_an_answer_of_the_cheapest_tier_is_kept_and_a_failed_call_counts_at_what_it_cost(tmp_path: Path) -> None:
    failing: dict[str, Sequence[Reply]] = {"a/medium": [CallError("no", kind="auth", billed=False)]}
    bench = open_bench(tmp_path, failing, SINGLE, midnight_us(FIRST, ZONE))
    with pytest.raises(RouteExhaustedError):
        bench.ask("x.extract")
    bench.ask("y.write")
    bench.router.close()
    ingest_once(Home(bench.home))
    nothing = Limit(name="daily", limit_nusd=0)
    (effect,) = rehearse(traffic_of(Home(bench.home), SINGLE), [nothing]).effects
    assert effect.moved_by_basis == tuple(1 if basis in (REPRICED, UNKNOWN) else 0 for basis in range(4))
    assert effect.saved_nusd == (100 * 5_000 + 10 * 20_000) - (100 * 1_000 + 10 * 4_000)


def log_lines(folder: Path, *lines: dict[str, Any]) -> Home:
    home = Home(folder).create()
    spool = Spool(home.spool)
    for line in lines:
        spool.write(line)
    spool.close()
    ingest_once(home)
    return home


def call(number: int, *attempts: dict[str, Any], **columns: Any) -> list[dict[str, Any]]:
    """A call of y.write that top has served, and its other attempts."""
    at = midnight_us(FIRST, ZONE) + number * 1_000_000
    ids = {"call_id": f"c{number:05}", "payload_type": "y.write"}
    served = ids | {
        "attempt_id": f"c{number:05}-1", "tier": "top", "request_model": "b/large", "started_at": at,
        "input_tokens": 100, "output_tokens": 10, "cost_nusd": 700_000,
    }  # fmt: skip
    others = [
        served | {"attempt_id": f"c{number:05}-{2 + place}", "role": "shadow"} | attempt
        for place, attempt in enumerate(attempts)
    ]
    line = make_call_line(
        **ids, ts=at, served_attempt_id=served["attempt_id"], tier_planned="top", tier_served="top",
        model_served="b/large", cost_nusd=700_000, error_cost_nusd=500_000_000, seq=number, **columns,
    )  # fmt: skip
    return [*(make_attempt_line(**attempt) for attempt in (served, *others)), line]


def shadow(cost_nusd: int) -> dict[str, Any]:
    return {"tier": "mid", "request_model": "a/medium", "cost_nusd": cost_nusd}


def test_shadows_cost_what_they_cost_and_measure_what_the_alternative_costs(tmp_path: Path) -> None:
    """a/medium writes twice as much as b/large: by its shadows, not by the served tokens."""
    repriced = 100 * 1_000 + 10 * 4_000
    lines = [line for number in range(FEWEST_PAIRS) for line in call(number, shadow(2 * repriced))]
    lines += [line for number in range(FEWEST_PAIRS, FEWEST_PAIRS + 5) for line in call(number)]
    home = log_lines(tmp_path, *lines)
    (effect,) = rehearse(traffic_of(home, SINGLE), [Limit(name="daily", limit_nusd=0)]).effects
    calls = FEWEST_PAIRS + 5
    assert effect.actual_nusd == calls * 700_000 + FEWEST_PAIRS * 2 * repriced
    assert effect.capped_nusd == calls * 2 * repriced
    assert (effect.moved_by_basis[OWN], effect.moved_by_basis[SCALED]) == (FEWEST_PAIRS, 5)


def test_too_few_shadows_leave_the_rest_repriced(tmp_path: Path) -> None:
    lines = [line for number in range(FEWEST_PAIRS - 1) for line in call(number, shadow(1))]
    home = log_lines(tmp_path, *lines, *call(900))
    (effect,) = rehearse(traffic_of(home, SINGLE), [Limit(name="daily", limit_nusd=0)]).effects
    assert effect.moved_by_basis[REPRICED] == 1


def test_labelled_shadows_tell_how_many_more_answers_are_wrong(tmp_path: Path) -> None:
    """Of 40 shadows 10 are wrong, of 40 served answers none; 60 calls are degraded."""
    lines: list[dict[str, Any]] = []
    for number in range(60):
        lines += call(number, *([shadow(140_000)] if number < 40 else []))
    for number in range(40):
        lines.append(make_outcome_line(call_id=f"c{number:05}", correct=1.0))
        wrong = number < 10
        lines.append(make_outcome_line(call_id=f"c{number:05}", attempt_id=f"c{number:05}-2", correct=float(not wrong)))
    home = log_lines(tmp_path, *lines)
    (effect,) = rehearse(traffic_of(home, SINGLE), [Limit(name="daily", limit_nusd=0)]).effects
    harm = effect.harm
    assert (harm.judged, harm.same, harm.unknown, harm.unpriced) == (60, 0, 0, 0)
    assert harm.extra_wrong.mean == pytest.approx(60 * 0.25)
    assert harm.extra_wrong.low < 15 < harm.extra_wrong.high
    assert harm.impact_usd.mean == pytest.approx(15 * 0.5)
    assert effect.net_usd.mean == pytest.approx(effect.saved_nusd / 1e9 - 7.5)


def test_calls_without_labels_are_unknown_and_in_no_figure(tmp_path: Path) -> None:
    home = log_lines(tmp_path, *(line for number in range(60) for line in call(number)))
    (effect,) = rehearse(traffic_of(home, SINGLE), [Limit(name="daily", limit_nusd=0)]).effects
    assert (effect.harm.judged, effect.harm.unknown) == (0, 60)
    assert effect.net_usd.mean == pytest.approx(effect.saved_nusd / 1e9)


def test_refused_calls_evaluations_and_calls_of_other_days_are_not_replayed(tmp_path: Path) -> None:
    before = call(1)
    for line in before:
        line.update({key: line[key] - 60_000_000 for key in ("ts", "started_at") if key in line})
    refused = make_call_line(call_id="r", ts=midnight_us(FIRST, ZONE) + 5, status="rejected", served_attempt_id=None)
    home = log_lines(tmp_path, *before, refused, *call(2))
    traffic = traffic_of(home, SINGLE)
    assert len(traffic.calls.at_us) == 1
    assert traffic.calls.cost_nusd.tolist() == [700_000]


def test_an_empty_window_is_empty(tmp_path: Path) -> None:
    home = log_lines(tmp_path, *call(1))
    traffic = traffic_of(home, SINGLE, FIRST + dt.timedelta(5))
    assert (len(traffic.calls.at_us), traffic.kinds, len(traffic.days)) == (0, (), DAYS)
    (effect,) = rehearse(traffic, [LIMIT]).effects
    assert (effect.actual_nusd, effect.moved, effect.trips) == (0, 0, ())
