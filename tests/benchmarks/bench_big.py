"""A log of a million calls (``TIERWISE_BENCH_CALLS`` for more) while it is written, read and filled up from behind.

``TIERWISE_BENCH_HOME`` names a home to use, and to make where there is none, so that ten million calls are made once.
Prints figures; never fails on time, only when a line is lost, doubled, or a lock error surfaces.
"""

import datetime as dt
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from dashboard import queries
from dashboard.periods import Period
from dashboard.sums import Filters
from router_core import watch as watching
from router_core.call_log.home import Home
from router_core.call_log.ingest import Ingester, IngestReport, ingest_once, wall_clock_us
from router_core.call_log.read import LogBusyError, freshness, reading
from router_core.call_log.spool import Spool
from tests.benchmarks.bench_log import percentile, show, us, usual_line
from tests.benchmarks.big_log import FIRST_US, SPAN_US, make_log
from tests.builders import make_attempt_line, make_call_line, make_outcome_line
from tests.log_processes import end, event, pipe, start

pytestmark = pytest.mark.bench

CALLS = int(os.environ.get("TIERWISE_BENCH_CALLS", "1000000"))
LIVE_S = float(os.environ.get("TIERWISE_BENCH_LIVE_S", "20"))
WRITERS, READERS, LINES_PER_S = 4, 2, 250
# as much in a minute as it says: 100,000 late labels, and a backfill of 60,000 calls over all of the log's days
LATE_PER_S, BACKFILL_PER_S, FLAT_OUT_S = 100_000 / 60, 1_000, 5.0
TABLES = ("calls", "attempts")
EXACT = """SELECT payload_type, date_trunc('day', ts) AS day, sum(cost_nusd), quantile_cont(latency_ms, [0.5, 0.95])
    FROM calls GROUP BY ALL"""
LAST_DAY = f"""SELECT date_trunc('minute', started_at) AS minute, tier, count(*), sum(cost_nusd) FROM attempts
    WHERE started_at >= make_timestamp({FIRST_US + SPAN_US - 86_400_000_000}) GROUP BY ALL"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    named = os.environ.get("TIERWISE_BENCH_HOME")
    home = Home(Path(named) if named else tmp_path_factory.mktemp("big") / "home")
    print()
    show("measure", "target", "here")
    if not home.log.exists():
        show(f"made a log of {CALLS:,} calls, s", "-", f"{make_log(home, CALLS):.0f}")
    yield home
    if not named:
        home.log.unlink()


def _mb(whose: int = resource.RUSAGE_SELF) -> float:
    return resource.getrusage(whose).ru_maxrss / 1024


def _ms(values: list[float], *shares: float) -> tuple[str, ...]:
    return tuple(f"{percentile(values, share) * 1000:.0f}" for share in shares)


def _one(con: Any, query: str) -> int:
    return int(con.execute(query).fetchone()[0])


def test_size(home: Home) -> None:
    with reading(home) as con:
        calls, attempts = (_one(con, f"SELECT count(*) FROM {table}") for table in TABLES)
        blocks = [_one(con, f"SELECT count(DISTINCT block_id) FROM pragma_storage_info('{table}')") for table in TABLES]
    show(
        f"size, bytes per call and its attempts ({attempts / calls:.2f})",
        "150",
        f"{sum(blocks) * 262_144 / calls:.0f}",
    )
    show("  the whole file, bytes per call", "-", f"{home.log.stat().st_size / calls:.0f}")


def _ask(root: Path, results: Any) -> None:
    """Time the questions of pages, each over a connection of its own, in a process of their own."""
    home = Home(root)
    last = dt.datetime.fromtimestamp((FIRST_US + SPAN_US) / 1e6, dt.UTC).date() - dt.timedelta(days=1)

    def overview(days: int, zone: str = "Europe/Berlin") -> Callable[[Any], object]:
        period = Period(first=last - dt.timedelta(days=days - 1), until=last + dt.timedelta(days=1), zone=zone)
        return lambda con: queries.read_overview(con, Filters(period=period))

    questions: dict[str, Callable[[Any], object]] = {
        "first page, 7 days": overview(7),
        "first page, 60 days (all)": overview(60),
        "the same where days begin at half past": overview(60, "Asia/Kolkata"),
        "last day by minute, raw rows": lambda con: con.execute(LAST_DAY).fetchall(),
        "exact p50/p95, type x day, all rows": lambda con: con.execute(EXACT).fetchall(),
    }
    taken: dict[str, list[float]] = {}
    for name, question in questions.items():
        for _ in range(5):
            before = time.perf_counter()
            with reading(home) as con:
                question(con)
            taken.setdefault(name, []).append(time.perf_counter() - before)
    results.send((taken, _mb()))


def test_questions(home: Home) -> None:
    results, send = pipe()
    reader = start(_ask, home.root, send)
    taken, memory = results.recv()
    end([reader])
    targets = ("100", "250", "250", "100", "1000")
    for (name, times), target in zip(taken.items(), targets, strict=True):
        show(f"{name}, ms", target, *_ms(times, 0.5))
    show("  the reader's memory, MB", "1024", f"{memory:.0f}")


def _write(root: Path, results: Any, name: int, per_s: float | None, seconds: float) -> None:
    spool = Spool(Home(root).spool)
    taken: list[float] = []
    began, n = time.perf_counter(), 0
    while (now := time.perf_counter() - began) < seconds:
        if per_s is not None:
            time.sleep(max(0.0, n / per_s - now))
        # a shadow's line stands alone: it opens no call that would have to be closed
        ids = {"attempt_id": f"live-{name}-{n}", "call_id": f"live-{name}-{n}", "role": "shadow"}
        line = usual_line(0) | ids | {"started_at": wall_clock_us()}
        before = time.perf_counter_ns()
        spool.write(line)
        taken.append(time.perf_counter_ns() - before)
        n += 1
    results.send((n, taken, time.perf_counter() - began))


def _watch(root: Path, results: Any, stop: Any) -> None:
    """Run what ``tierwise watch`` runs; send how long each use has locked the file, and the memory of its processes."""
    held: list[float] = []

    class Told(Ingester):
        def tick(self, **bounds: Any) -> IngestReport:
            report = super().tick(**bounds)
            held.extend(report.held_s)
            return report

    watching._new_ingester = lambda home, keep_days: Told(home, now_us=wall_clock_us, keep_days=keep_days)
    watching.watch(Home(root), stop=stop)
    # the process that looks things up has ended with it, and counts from then on
    results.send((held, _mb(), _mb(resource.RUSAGE_CHILDREN)))


def _read(root: Path, results: Any, stop: Any) -> None:
    """Look at the last hour of the log again and again; say waits, ages of the newest row, and errors that surfaced."""
    waits: list[float] = []
    ages: list[float] = []
    errors = 0
    while not stop.is_set():
        before = time.perf_counter()
        try:
            with reading(Home(root)) as con:
                waits.append(time.perf_counter() - before)
                row = con.execute(
                    "SELECT epoch_us(max(started_at)), sum(cost_nusd) FROM attempts WHERE started_at > ?",
                    [dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(hours=1)],
                ).fetchone()
        except LogBusyError:
            errors += 1
            continue
        if row is not None and row[0] is not None:
            ages.append((wall_clock_us() - row[0]) / 1e6)
        time.sleep(0.05)
    results.send((waits, ages, errors))


def _old_calls(home: Home) -> list[str]:
    wanted = int(LATE_PER_S * LIVE_S)
    with reading(home, timeout_s=60) as con:
        rows = con.execute(f"SELECT call_id FROM calls WHERE source = 'router' USING SAMPLE {wanted}").fetchall()
    return [call_id for (call_id,) in rows]


def _fill_up(root: Path, results: Any, stop: Any, tag: int, old: list[str]) -> None:
    """Stream a backfill of sixty days, a segment a piece, and late labels of old calls, until the window ends."""
    home = Home(root)
    spool = Spool(home.spool)
    step = SPAN_US // int(BACKFILL_PER_S * LIVE_S)
    began, pieces, calls, labels = time.perf_counter(), 0, 0, 0
    while not stop.is_set():
        passed = time.perf_counter() - began
        lines: list[bytes] = []
        while calls < min(passed, LIVE_S) * BACKFILL_PER_S:
            # each piece lies over all of the sixty days, as files of several services do
            at = FIRST_US + (calls * 7_919 * step) % SPAN_US
            ids = {"attempt_id": f"b-{tag}-{calls}-1", "call_id": f"b-{tag}-{calls}"}
            lines.append(orjson.dumps(make_attempt_line(**ids, started_at=at, ended_at=at, source="import")))
            lines.append(orjson.dumps(make_call_line(call_id=ids["call_id"], ts=at, source="import")))
            calls += 1
        if lines:
            pieces += 1
            unfinished = home.spool / f".import.b{tag}-{pieces}.tmp"
            unfinished.write_bytes(b"\n".join(lines) + b"\n")
            unfinished.rename(home.spool / f"import.b{tag}-{pieces}.jsonl")
        while labels < min(len(old), passed * LATE_PER_S):
            spool.write(make_outcome_line(call_id=old[labels], received_at=tag + labels, correct=labels % 2))
            labels += 1
        stop.wait(0.5)
    spool.close()
    results.send((calls, labels, time.perf_counter() - began))


@pytest.mark.parametrize("filling_up", [False, True], ids=["live", "live, with backfill and late labels"])
def test_live(home: Home, filling_up: bool, request: pytest.FixtureRequest) -> None:
    ingest_once(home)
    name, tag = request.node.callspec.id, wall_clock_us()
    old = _old_calls(home) if filling_up else []
    stop, ports = event(), [pipe() for _ in range(WRITERS + READERS + 2)]
    senders = [sender for _, sender in ports]
    others = [start(_watch, home.root, senders[-1], stop)]
    others += [start(_read, home.root, sender, stop) for sender in senders[WRITERS:-2]]
    others += [start(_fill_up, home.root, senders[-2], stop, tag, old)] if filling_up else []
    writers = [start(_write, home.root, senders[n], tag + n, LINES_PER_S, LIVE_S) for n in range(WRITERS)]
    written = [receiver.recv() for receiver, _ in ports[:WRITERS]]
    waiting = freshness(home).backlog_bytes
    stop.set()
    calls, labels, streamed_s = ports[-2][0].recv() if filling_up else (0, 0, 0.0)
    *seen, (held, memory, looking_up) = [receiver.recv() for receiver, _ in (*ports[WRITERS:-2], ports[-1])]
    end([*writers, *others])
    report = ingest_once(home)
    waits, ages = ([value for reader in seen for value in reader[place]] for place in (0, 1))
    with reading(home) as con:
        found = con.execute(
            f"SELECT count(*), count(DISTINCT attempt_id) FROM attempts WHERE started_at >= make_timestamp({tag})"
        ).fetchone()
        filled = (
            _one(con, f"SELECT count(*) FROM attempts WHERE attempt_id LIKE 'b-{tag}-%'"),
            _one(con, f"SELECT count(*) FROM outcomes WHERE epoch_us(received_at) >= {tag}"),
        )
    wanted, errors = sum(count for count, _, _ in written), sum(reader[2] for reader in seen)
    show(f"{name}: rows found, of {wanted:,}", "all, once", f"{found}")
    if filling_up:
        show(f"  backfilled calls and late labels, streamed for {streamed_s:.0f} s", "-", f"{calls:,} / {labels:,}")
    show("  not in the log yet when the writers ended, kB", "-", f"{waiting / 1024:,.0f}")
    show("  log(): p50 / p99 / p99.9, us", "20 / 100 / -", *us([value for _, taken, _ in written for value in taken]))
    show("  file locked per use: p50 / p95 / max, ms", "60 / - / -", *_ms(held, 0.5, 0.95, 1.0))
    show("  reader's wait: p50 / p95 / max, ms", "- / 300 / -", *_ms(waits, 0.5, 0.95, 1.0))
    show("  visible after: p50 / p95, s", "- / 3", *(f"{percentile(ages, q):.2f}" for q in (0.5, 0.95)))
    show("  lock errors", "0", f"{errors}")
    show("  memory of watch / of its look-ups / both, MB", "200", *_memories(memory, looking_up))
    assert (found, filled, errors, report.quarantined) == ((wanted, wanted), (calls, labels), 0, 0)


def _memories(*megabytes: float) -> tuple[str, ...]:
    return tuple(f"{value:.0f}" for value in (*megabytes, sum(megabytes)))


def test_flat_out(home: Home) -> None:
    tag = wall_clock_us()
    stop, (told, tell) = event(), pipe()
    ports = [pipe() for _ in range(WRITERS)]
    watcher = start(_watch, home.root, tell, stop)
    began = time.perf_counter()
    writers = [start(_write, home.root, sender, tag + n, None, FLAT_OUT_S) for n, (_, sender) in enumerate(ports)]
    written = [receiver.recv() for receiver, _ in ports]
    wanted = sum(count for count, _, _ in written)
    while True:
        with reading(home, timeout_s=30) as con:
            found = con.execute(f"SELECT count(*) FROM attempts WHERE started_at >= make_timestamp({tag})").fetchall()[
                0
            ][0]
        if found == wanted:
            break
        time.sleep(0.2)
    took = time.perf_counter() - began
    stop.set()
    held, memory, looking_up = told.recv()
    end([*writers, watcher])
    show("4 writers flat out: lines/s spooled", "20000", f"{sum(n / took_s for n, _, took_s in written):,.0f}")
    show("  rows/s from log() to the last one visible", "5000", f"{wanted / took:,.0f}")
    show("  file locked per use: p50 / p95, ms", "60 / -", *_ms(held, 0.5, 0.95))
    show("  memory of watch / of its look-ups / both, MB", "200", *_memories(memory, looking_up))
