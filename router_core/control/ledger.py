"""The SQL of the guardrail: what was spent, what is set aside, which limits are reached; shared by all processes.

Settled spend is kept per quarter hour and worker, so that any period of any zone is a sum of rows, and so that what a
worker has booked can be replaced by what its log says once it is dead. ``budget_totals`` are such sums, kept up to date
in the transactions that change the rows; they may be deleted at any time.
"""

import sqlite3
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from router_core.decide.periods import Period

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS budget_spend (
    budget TEXT NOT NULL, scope TEXT NOT NULL, slice_us INTEGER NOT NULL, worker TEXT NOT NULL,
    noncritical_nusd INTEGER NOT NULL, critical_nusd INTEGER NOT NULL,
    PRIMARY KEY (budget, scope, slice_us, worker)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budget_totals (
    budget TEXT NOT NULL, scope TEXT NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL,
    noncritical_nusd INTEGER NOT NULL, critical_nusd INTEGER NOT NULL,
    PRIMARY KEY (budget, scope, start_us, end_us)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budget_leases (
    budget TEXT NOT NULL, scope TEXT NOT NULL, start_us INTEGER NOT NULL, worker TEXT NOT NULL,
    noncritical_nusd INTEGER NOT NULL, critical_nusd INTEGER NOT NULL,
    PRIMARY KEY (budget, scope, start_us, worker)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budget_latches (
    budget TEXT NOT NULL, scope TEXT NOT NULL, start_us INTEGER NOT NULL,
    limit_nusd INTEGER, stop_nusd INTEGER, at_us INTEGER NOT NULL,
    PRIMARY KEY (budget, scope, start_us)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budget_workers (
    worker TEXT PRIMARY KEY, began_us INTEGER NOT NULL, concurrent INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budget_load (
    day INTEGER PRIMARY KEY, processes INTEGER NOT NULL, concurrent INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS budget_spend_by_worker ON budget_spend (worker);
"""
NOBODY: Final = ""
"""The worker whose rows hold what dead workers have spent."""
_DAY_US: Final = 86_400_000_000

_TOTAL: Final = """
SELECT noncritical_nusd, critical_nusd FROM budget_totals
WHERE budget = ? AND scope = ? AND start_us = ? AND end_us = ?"""
_SUM: Final = """
SELECT coalesce(sum(noncritical_nusd), 0), coalesce(sum(critical_nusd), 0) FROM budget_spend
WHERE budget = ? AND scope = ? AND slice_us >= ? AND slice_us < ?"""
_OTHERS: Final = """
SELECT coalesce(sum(noncritical_nusd), 0), coalesce(sum(critical_nusd), 0) FROM budget_leases
WHERE budget = ? AND scope = ? AND start_us = ? AND worker <> ?"""
_LATCH: Final = (
    "SELECT limit_nusd, stop_nusd, at_us FROM budget_latches WHERE budget = ? AND scope = ? AND start_us = ?"
)
_ADD: Final = """
INSERT INTO budget_spend VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (budget, scope, slice_us, worker) DO UPDATE SET
    noncritical_nusd = noncritical_nusd + excluded.noncritical_nusd,
    critical_nusd = critical_nusd + excluded.critical_nusd"""
_ADD_TO_TOTALS: Final = """
UPDATE budget_totals SET noncritical_nusd = noncritical_nusd + ?, critical_nusd = critical_nusd + ?
WHERE budget = ? AND scope = ? AND start_us <= ? AND end_us > ?"""
_SET_LATCH: Final = """
INSERT INTO budget_latches VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (budget, scope, start_us) DO UPDATE SET
    limit_nusd = coalesce(excluded.limit_nusd, limit_nusd), stop_nusd = coalesce(excluded.stop_nusd, stop_nusd),
    at_us = CASE WHEN excluded.limit_nusd IS NULL OR limit_nusd IS excluded.limit_nusd THEN at_us
                 ELSE excluded.at_us END"""


class Pair(NamedTuple):
    """Amounts of non-critical and of critical calls, nano-dollars."""

    noncritical: int = 0
    critical: int = 0


class Key(NamedTuple):
    """What money is counted under.

    Attributes:
        budget: The budget's name.
        scope: Which part of its calls; see ``guard.Scope.key_of``.
    """

    budget: str
    scope: str


@dataclass(frozen=True, slots=True)
class Latch:
    """What was reached in a period.

    Attributes:
        limit_nusd: The limit that was; None = none.
        stop_nusd: The stop that was; None = none.
        at_us: When the limit was first found reached.
    """

    limit_nusd: int | None = None
    stop_nusd: int | None = None
    at_us: int = 0


NOT_REACHED: Final = Latch()


class Shared(NamedTuple):
    """What the store knows of one key's period.

    Attributes:
        settled: Spend of all workers.
        others: What the other workers have set aside.
        latch: What was reached.
    """

    settled: Pair
    others: Pair
    latch: Latch


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What one worker tells the others about one key's period.

    Attributes:
        key: The key.
        period: The period.
        is_rolling: Whether the period moves on: then nothing is summed up for it.
        spent: Spend by quarter hour that was not told yet.
        reserved: What it has set aside in all; None = as told before.
        latch: What was newly reached; None = nothing.
    """

    key: Key
    period: Period
    is_rolling: bool
    spent: Mapping[int, Pair]
    reserved: Pair | None
    latch: Latch | None


def connect(path: Path, wait_s: float) -> sqlite3.Connection:
    """Open the store for reading and writing; it is made when it is missing.

    Raises:
        sqlite3.Error, OSError: It cannot be used.
    """
    # autocommit; one lock guards every use, so threads may share it
    store = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
    try:
        store.execute("PRAGMA journal_mode = WAL")
        store.execute("PRAGMA synchronous = NORMAL")
        if store.execute("SELECT count(*) FROM sqlite_master WHERE name = 'budget_spend_by_worker'").fetchone() == (0,):
            store.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        path.chmod(0o600)
    except (sqlite3.Error, OSError):
        store.close()
        raise
    return store


@contextmanager
def transaction(store: sqlite3.Connection) -> Generator[None]:
    """Hold the write lock to the end of the block; commit there, or roll back what an error broke off."""
    store.execute("BEGIN IMMEDIATE")
    try:
        yield
        store.execute("COMMIT")
    except BaseException:
        if store.in_transaction:
            store.execute("ROLLBACK")
        raise


def anchor_us(period: Period, *, is_rolling: bool) -> int:
    """Return what names a period in the store: its beginning; a rolling window is always the same one."""
    return 0 if is_rolling else period.start_us


def read(store: sqlite3.Connection, key: Key, period: Period, worker: str, *, is_rolling: bool) -> Shared:
    """Return what the store knows of a key's period, as seen by a worker."""
    span = (*key, period.start_us, period.end_us)
    row = None if is_rolling else store.execute(_TOTAL, span).fetchone()
    if row is None:
        row = store.execute(_SUM, span).fetchone()
    anchor = anchor_us(period, is_rolling=is_rolling)
    others = store.execute(_OTHERS, (*key, anchor, worker)).fetchone()
    latch = store.execute(_LATCH, (*key, anchor)).fetchone()
    return Shared(Pair(*row), Pair(*others), NOT_REACHED if latch is None else Latch(*latch))


def count_workers(store: sqlite3.Connection) -> int:
    """Return how many processes share the limits."""
    (count,) = store.execute("SELECT count(*) FROM budget_workers").fetchone()
    return count


def book(store: sqlite3.Connection, worker: str, bookings: Iterable[Booking]) -> None:
    """Write what a worker tells the others; inside a transaction of the caller's."""
    for booking in bookings:
        key, period = booking.key, booking.period
        for slice_us, spent in booking.spent.items():
            add(store, key, slice_us, worker, spent)
        if not booking.is_rolling and booking.spent:
            _sum_up(store, key, period)
        anchor = anchor_us(period, is_rolling=booking.is_rolling)
        if booking.reserved is not None:
            place = (*key, anchor, worker)
            if any(booking.reserved):
                store.execute(
                    "INSERT OR REPLACE INTO budget_leases VALUES (?, ?, ?, ?, ?, ?)", place + booking.reserved
                )
            else:
                store.execute(
                    "DELETE FROM budget_leases WHERE budget = ? AND scope = ? AND start_us = ? AND worker = ?", place
                )
        if booking.latch is not None:
            told = booking.latch
            store.execute(_SET_LATCH, (*key, anchor, told.limit_nusd, told.stop_nusd, told.at_us))


def add(store: sqlite3.Connection, key: Key, slice_us: int, worker: str, spent: Pair) -> None:
    """Add spend to a quarter hour of a worker, and to what is summed up of it."""
    store.execute(_ADD, (*key, slice_us, worker, *spent))
    store.execute(_ADD_TO_TOTALS, (*spent, *key, slice_us, slice_us))


def _sum_up(store: sqlite3.Connection, key: Key, period: Period) -> None:
    span = (*key, period.start_us, period.end_us)
    if store.execute(_TOTAL, span).fetchone() is None:
        store.execute(
            "INSERT INTO budget_totals VALUES (?, ?, ?, ?, ?, ?)", span + store.execute(_SUM, span).fetchone()
        )


def spent_between(store: sqlite3.Connection, key: Key, begin_us: int, end_us: int) -> int:
    """Return what was spent in the quarter hours that began in a time, nano-dollars."""
    noncritical, critical = store.execute(_SUM, (*key, begin_us, end_us)).fetchone()
    return noncritical + critical


def lift(store: sqlite3.Connection, key: Key) -> None:
    """Take back that a rolling window has reached its limit."""
    store.execute("DELETE FROM budget_latches WHERE budget = ? AND scope = ? AND start_us = 0", key)


def register(store: sqlite3.Connection, worker: str, at_us: int, concurrent: int) -> None:
    """Put a worker, and how many requests it has had in flight, on record."""
    store.execute(
        """INSERT INTO budget_workers VALUES (?, ?, ?)
           ON CONFLICT (worker) DO UPDATE SET concurrent = max(concurrent, excluded.concurrent)""",
        (worker, at_us, concurrent),
    )
    store.execute(
        """INSERT INTO budget_load SELECT ?, count(*), sum(concurrent) FROM budget_workers WHERE true
           ON CONFLICT (day) DO UPDATE SET processes = max(processes, excluded.processes),
               concurrent = max(concurrent, excluded.concurrent)""",
        (at_us // _DAY_US,),
    )


def workers(store: sqlite3.Connection) -> list[str]:
    """Return the workers on record."""
    return [name for (name,) in store.execute("SELECT worker FROM budget_workers")]


def posted(store: sqlite3.Connection, worker: str) -> dict[tuple[Key, int], Pair]:
    """Return what a worker has booked, by key and quarter hour."""
    rows = store.execute(
        "SELECT budget, scope, slice_us, noncritical_nusd, critical_nusd FROM budget_spend WHERE worker = ?", (worker,)
    )
    return {(Key(budget, scope), slice_us): Pair(*pair) for budget, scope, slice_us, *pair in rows}


def bury(store: sqlite3.Connection, worker: str, spent: Mapping[tuple[Key, int], Pair]) -> None:
    """Replace what a worker has booked and set aside by what it has spent for good; inside a transaction."""
    for key in {key for key, _ in (*posted(store, worker), *spent)}:
        store.execute("DELETE FROM budget_totals WHERE budget = ? AND scope = ?", key)
    store.execute("DELETE FROM budget_spend WHERE worker = ?", (worker,))
    for (key, slice_us), pair in spent.items():
        store.execute(_ADD, (*key, slice_us, NOBODY, *pair))
    store.execute("DELETE FROM budget_leases WHERE worker = ?", (worker,))
    store.execute("DELETE FROM budget_workers WHERE worker = ?", (worker,))


def forget(store: sqlite3.Connection, before_us: int) -> None:
    """Drop what was spent before an instant, and what was reached in periods that began before it."""
    store.execute("DELETE FROM budget_spend WHERE slice_us < ? AND worker = ?", (before_us, NOBODY))
    store.execute("DELETE FROM budget_totals WHERE start_us < ?", (before_us,))
    store.execute("DELETE FROM budget_latches WHERE start_us BETWEEN 1 AND ?", (before_us,))


def last_load(store: sqlite3.Connection) -> tuple[int, int] | None:
    """Return processes and requests in flight of the last day that had any: the most of each; None = never any."""
    row: tuple[int, int] | None = store.execute(
        "SELECT processes, concurrent FROM budget_load ORDER BY day DESC LIMIT 1"
    ).fetchone()
    return row


Failure = Literal["busy", "broken"]


def failure_of(error: Exception) -> Failure:
    """Return whether others only keep the store locked, or it cannot be used."""
    code = getattr(error, "sqlite_errorcode", None)
    return "busy" if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) else "broken"
