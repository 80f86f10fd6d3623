"""What the log costs: a logged line, a commit, a reader's wait, a big backlog. Prints figures; never fails on time."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import Ingester, ingest_once, wall_clock_us
from router_core.call_log.read import reading
from router_core.call_log.spool import Spool
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line, make_started_line
from tests.log_processes import end, event, pipe, start

pytestmark = pytest.mark.bench

BACKLOG_CALLS = 110_000
LIVE_S = 8.0
LIVE_WRITERS = 4
LIVE_LINES_PER_S = 500


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def show(measure: str, target: str, *figures: str) -> None:
    """Print one line: what was measured, its limit, what was found."""
    print(f"  {measure:<44} {target:<34} {' / '.join(figures)}")


def us(values: Sequence[float]) -> tuple[str, ...]:
    """p50, p99, p99.9 of nanoseconds, in microseconds."""
    return tuple(f"{percentile(values, share) / 1000:.1f}" for share in (0.5, 0.99, 0.999))


def usual_line(n: int) -> dict[str, Any]:
    """An attempt line of the usual size, about 900 bytes."""
    columns = dict.fromkeys(("cached_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "price_write"), 0)
    return make_attempt_line(
        attempt_id=f"a-{n:012}",
        call_id=f"c-{n:012}",
        checks=[{"name": "totals_match", "ms": 0.21, "verdict": "passed"}],
        prompt_hash="9f86d081884c7d65",
        price_in=50_000_000,
        price_out=400_000_000,
        price_source="genai-prices",
        price_date="2026-01-01",
        run="job-42",
        **columns,
    )


def _time_writes(spool: Spool, count: int, per_s: float | None = None) -> list[float]:
    """Return how long each write took, ns."""
    taken: list[float] = []
    line, began = usual_line(0), time.perf_counter()
    for n in range(count):
        if per_s is not None:
            time.sleep(max(0.0, began + n / per_s - time.perf_counter()))
        before = time.perf_counter_ns()
        spool.write(line)
        taken.append(time.perf_counter_ns() - before)
    return taken


def _write_at_a_rate(root: Path, results: Any, name: int) -> None:
    spool = Spool(Home(root).spool)
    taken: list[float] = []
    began = time.perf_counter()
    for n in range(int(LIVE_S * LIVE_LINES_PER_S)):
        time.sleep(max(0.0, began + n / LIVE_LINES_PER_S - time.perf_counter()))
        line = usual_line(name * 10_000_000 + n) | {"started_at": wall_clock_us()}
        before = time.perf_counter_ns()
        spool.write(line)
        taken.append(time.perf_counter_ns() - before)
    results.send(taken)


def _ingest_and_time(root: Path, results: Any, stop: Any) -> None:
    ingester = Ingester(Home(root), now_us=wall_clock_us)
    held: list[float] = []
    while not stop.is_set():
        held += ingester.tick().held_s
        stop.wait(1.0)
    results.send(held)


def _read_and_time(root: Path, results: Any, stop: Any) -> None:
    waits: list[float] = []
    ages: list[float] = []
    while not stop.is_set():
        before = time.perf_counter()
        with reading(Home(root)) as con:
            waits.append(time.perf_counter() - before)
            row = con.execute("SELECT epoch_us(max(started_at)) FROM attempts").fetchone()
            con.execute(
                "SELECT tier, sum(cost_nusd), quantile_cont(latency_ms, 0.95) FROM attempts GROUP BY 1"
            ).fetchall()
        if row is not None and row[0] is not None:
            ages.append((wall_clock_us() - row[0]) / 1e6)
        time.sleep(0.05)
    results.send((waits, ages))


def _spool_backlog(home: Home, calls: int) -> int:
    """Spool calls as a router does over 60 days; return the number of lines."""
    spool = Spool(home.spool)
    step_us = 60 * 86_400_000_000 // calls
    types = [f"type.{n}" for n in range(8)]
    tiers = ("cheap", "mid", "top")
    lines = 0
    for n in range(calls):
        at, payload_type, tier = START_US + n * step_us, types[n % 8], tiers[n % 7 % 3]
        ids = {"attempt_id": f"a-{at:014x}-{n}", "call_id": f"c-{at:014x}-{n}", "payload_type": payload_type}
        latency_ms = 200.0 + n * 7919 % 9973
        spool.write(make_started_line(ids | {"tier": tier}, at=at))
        spool.write(usual_line(n) | ids | {"started_at": at, "ended_at": at, "tier": tier, "latency_ms": latency_ms})
        spool.write(
            make_call_line(
                call_id=ids["call_id"], served_attempt_id=ids["attempt_id"], payload_type=payload_type, ts=at,
                tier_served=tier, latency_ms=latency_ms, run=f"run-{n // 20}", step=f"step-{n}",
            )
        )  # fmt: skip
        lines += 3
        if n % 6 == 0:
            spool.write(make_outcome_line(call_id=ids["call_id"], received_at=at + 7_200_000_000, correct=n % 4 / 4))
            lines += 1
    spool.close()
    return lines


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture(autouse=True, scope="module")
def _heading() -> None:
    print()
    show("measure", "target", "here")


def test_one_logged_line(home: Home) -> None:
    spool = Spool(home.spool)
    runs = [us(_time_writes(spool, 20_000)) for _ in range(3)]
    middle = [f"{statistics.median(float(run[i]) for run in runs):.1f}" for i in range(3)]
    show("log(), tight loop: p50 / p99 / p99.9, us", "5 / 30 / -", *middle)
    show("log(), paced 1k/s: p50 / p99 / p99.9, us", "20 / 100 / -", *us(_time_writes(spool, 3_000, per_s=1000)))
    spool.keep_to("fsync")
    show("log(), durability fsync: p50 / p99 / p99.9, us", "-", *us(_time_writes(spool, 1_000)))
    spool.close()


def test_live(home: Home) -> None:
    ingest_once(home)
    stop, ports = event(), [pipe() for _ in range(LIVE_WRITERS + 3)]
    senders = [sender for _, sender in ports]
    writers = [start(_write_at_a_rate, home.root, senders[n], n) for n in range(LIVE_WRITERS)]
    targets: list[Callable[..., None]] = [_ingest_and_time, _read_and_time, _read_and_time]
    others = [start(target, home.root, sender, stop) for target, sender in zip(targets, senders[-3:], strict=True)]
    taken = [value for receiver, _ in ports[:LIVE_WRITERS] for value in receiver.recv()]
    stop.set()
    held, first, second = (receiver.recv() for receiver, _ in ports[LIVE_WRITERS:])
    end([*writers, *others])
    report = ingest_once(home)
    waits, ages = first[0] + second[0], first[1] + second[1]
    with reading(home) as con:
        row = con.execute("SELECT count(*), count(DISTINCT attempt_id) FROM attempts").fetchone()
    wanted = int(LIVE_S * LIVE_LINES_PER_S) * LIVE_WRITERS
    show("live: 4 writers x 500/s, ingester, 2 readers", "0 lost, 0 duplicated", f"{row} of {wanted}")
    show("live log(): p50 / p99 / p99.9, us", "20 / 100 / 1000", *us(taken))
    show("live lock held: p50 / p95, ms", "60 / 300", *(f"{percentile(held, q) * 1000:.0f}" for q in (0.5, 0.95)))
    show(
        "live reader wait: p50 / p95 / max, ms",
        "- / 300 / 5000",
        *(f"{percentile(waits, q) * 1000:.0f}" for q in (0.5, 0.95, 1.0)),
    )
    show("live freshness: p50 / p95, s", "- / 3", *(f"{percentile(ages, q):.2f}" for q in (0.5, 0.95)))
    assert report.quarantined == 0


def test_backlog(home: Home) -> None:
    lines = _spool_backlog(home, BACKLOG_CALLS)
    before, cpu = time.perf_counter(), time.process_time()
    report = ingest_once(home)
    took = time.perf_counter() - before
    show(f"one-shot ingest of {lines:,} lines, s", "12 (350,000 lines)", f"{took:.1f}")
    show(
        "  CPU seconds, lines/s, rows/s",
        "- / - / 5000",
        f"{time.process_time() - cpu:.1f}",
        f"{lines / took:,.0f}",
        f"{sum(report.rows.values()) / took:,.0f}",
    )
    held = report.held_s
    show(
        "  lock held per 5,000 rows: p50 / p95 / max, ms",
        "60 / 300 / -",
        *(f"{percentile(held, q) * 1000:.0f}" for q in (0.5, 0.95, 1.0)),
    )
    size = home.log.stat().st_size
    show("  file, bytes per row", "100", f"{size / sum(report.rows.values()):.0f}")
