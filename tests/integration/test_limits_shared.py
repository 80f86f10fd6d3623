"""One limit in many real processes: how far it is passed at most, and what is left of a process that was killed."""

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.config import parse
from router_core.control.budgets import Guardrail
from router_core.control.burial import bury_dead
from router_core.control.limits_now import limit_states, load_of, worst_request
from router_core.decide.budgets import limits_of
from router_core.decide.promise import Load, Promise
from router_core.prices import PriceBook
from tests.builders import make_call
from tests.guard_processes import ROUTED, WORST_NUSD, now_us, serve_until_killed, storm
from tests.log_processes import Acks, end, event, pipe, start

PROCESSES = 4


@dataclass(frozen=True)
class Stormed:
    """What many processes did to one limit.

    Attributes:
        over_nusd: How far spend as planned has passed the limit.
        bound_nusd: How far it may.
        planned: Calls served as planned.
        made: All calls.
        free_nusd: How far they would have passed it without any limit.
    """

    over_nusd: int
    bound_nusd: int
    planned: int
    made: int
    free_nusd: int


def let_loose(folder: Path, seed: int, *, threads: int = 50, calls: int = 3) -> Stormed:
    """Let 4 processes of 50 threads each spend at once, from just below the limit."""
    chance = random.Random(seed)
    path = folder / "routing.yaml"
    path.write_text(ROUTED.format(usd=1))
    config = parse(path.read_bytes(), source="routing.yaml")
    (limit,) = limits_of(config)
    home = Home(folder / ".tierwise").create()
    before_nusd = limit.limit_nusd - chance.choice([1, 10, WORST_NUSD // 2, 3 * WORST_NUSD, 20 * WORST_NUSD])
    guard = Guardrail(home.control, lambda *_: None)
    guard.keep_to([limit], ZoneInfo("UTC"))
    guard.settle(guard.reserve(now_us(), 0, make_call(), critical=False), before_nusd, now_us())
    guard.close()
    go, ends, readies = event(), [pipe() for _ in range(PROCESSES)], [pipe() for _ in range(PROCESSES)]
    running = [
        start(storm, path, seed * 10 + n, threads, calls, readies[n][1], go, ends[n][1]) for n in range(PROCESSES)
    ]
    for receiver, _ in readies:
        receiver.recv()
    go.set()
    results = [receiver.recv() for receiver, _ in ends]
    for process in running:
        process.join(60)
    end(running)
    worst = worst_request(config, PriceBook(config.prices, config.on_unpriced, version="v"), now_us())
    assert worst.nusd == WORST_NUSD
    promise = Promise(
        limit=limit, load=Load(processes=PROCESSES, concurrent=PROCESSES * threads), worst_nusd=worst.nusd
    )
    seen = load_of(home.control)
    assert seen is not None
    # the storing process of the beginning is one of those seen
    assert PROCESSES <= seen.processes <= PROCESSES + 1
    made = sum(count for _, _, count in results)
    return Stormed(
        over_nusd=before_nusd + sum(nusd for nusd, _, _ in results) - limit.limit_nusd,
        bound_nusd=promise.bound_nusd,
        planned=sum(count for _, count, _ in results),
        made=made,
        free_nusd=before_nusd + made * WORST_NUSD - limit.limit_nusd,
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_200_concurrent_calls_in_4_processes_pass_the_limit_within_the_bound(tmp_path: Path, seed: int) -> None:
    done = let_loose(tmp_path, seed)
    assert (done.made, done.planned >= 1) == (600, True)
    assert done.over_nusd <= done.bound_nusd < done.free_nusd


def booked_nusd(home: Home) -> tuple[int, int, int]:
    """Return what the store has of the limit, and of it what is set aside, and how many workers are on record."""
    with closing(sqlite3.connect(home.control)) as store:
        (spent,) = store.execute(
            "SELECT coalesce(sum(noncritical_nusd + critical_nusd), 0) FROM budget_spend"
        ).fetchone()
        (set_aside,) = store.execute("SELECT count(*) FROM budget_leases").fetchone()
        (workers,) = store.execute("SELECT count(*) FROM budget_workers").fetchone()
    return spent, set_aside, workers


def logged_nusd(home: Home) -> int:
    ingest_once(home)
    with reading(home) as log:
        row = log.execute("SELECT coalesce(sum(cost_nusd), 0)::BIGINT FROM attempts WHERE source = 'router'").fetchone()
    assert row is not None
    return row[0]


def kill_again_and_again(folder: Path, kills: int, seed: int) -> None:
    """Kill processes at random moments; after each, nothing may be set aside, and the counter must be the log's sum."""
    chance = random.Random(seed)
    path = folder / "routing.yaml"
    path.write_text(ROUTED.format(usd=chance.choice([0.05, 1, 1_000])))
    home = Home(folder / ".tierwise").create()
    for number in range(kills):
        acks = Acks()
        running = [start(serve_until_killed, path, acks.sender, seed * 1_000 + number * 10 + n) for n in range(2)]
        acks.wait_for(chance.randrange(1, 120))
        end(running)
        acks.all()
        # by turns the log has taken in what they wrote before their books are closed, and has not
        if number % 2:
            ingest_once(home)
        bury_dead(home.control, home.spool)
        spent, set_aside, workers = booked_nusd(home)
        assert (set_aside, workers) == (0, 0)
        assert spent == logged_nusd(home)
    config = parse(path.read_bytes(), source="routing.yaml")
    (state,) = limit_states(home.control, config, now_us())
    assert state.used_nusd == booked_nusd(home)[0]


def test_killed_processes_leave_nothing_set_aside_and_the_counter_is_the_sum_of_the_log(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, kills=5, seed=11)


def test_million_additions_do_not_drift(tmp_path: Path) -> None:
    """Integer nano-dollars, at an amount that no binary fraction holds."""
    guard, call = Guardrail(tmp_path / "control.sqlite", lambda *_: None), make_call()
    (limit,) = limits_of(parse(ROUTED.format(usd=1_000_000_000).encode(), source="r"))
    guard.keep_to([limit], ZoneInfo("UTC"))
    times, nusd, at_us = 1_000_000, 100_000_000 + 1, now_us()
    reservation = guard.reserve(at_us, 0, call, critical=False)
    (account,) = reservation.accounts
    for _ in range(times):
        account.settle(at_us, nusd, False)
    guard.close()
    with closing(sqlite3.connect(tmp_path / "control.sqlite")) as store:
        assert store.execute("SELECT sum(noncritical_nusd) FROM budget_spend").fetchone() == (times * nusd,)
