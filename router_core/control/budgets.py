"""Spend of the present day against the limit: settled spend shared by all processes, reservations of this one."""

import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from router_core.decide.guard import NO_LIMIT, Day, Limit, Spend, Verdict, judge, local_day

_SCHEMA = """
CREATE TABLE IF NOT EXISTS budget_days (
    budget TEXT NOT NULL, day TEXT NOT NULL,
    noncritical_nusd INTEGER NOT NULL DEFAULT 0, critical_nusd INTEGER NOT NULL DEFAULT 0,
    capped_at_us INTEGER, capped_limit_nusd INTEGER,
    PRIMARY KEY (budget, day)
) WITHOUT ROWID"""
_ADD = """
INSERT INTO budget_days (budget, day, noncritical_nusd, critical_nusd) VALUES (?, ?, ?, ?)
ON CONFLICT (budget, day) DO UPDATE SET
    noncritical_nusd = noncritical_nusd + excluded.noncritical_nusd,
    critical_nusd = critical_nusd + excluded.critical_nusd
RETURNING noncritical_nusd, critical_nusd, capped_limit_nusd"""
_LATCH = """
INSERT INTO budget_days (budget, day, capped_at_us, capped_limit_nusd) VALUES (?, ?, ?, ?)
ON CONFLICT (budget, day) DO UPDATE SET
    capped_at_us = excluded.capped_at_us, capped_limit_nusd = excluded.capped_limit_nusd"""
_READ = "SELECT noncritical_nusd, critical_nusd, capped_limit_nusd FROM budget_days WHERE budget = ? AND day = ?"
# changes whenever another connection has written; asking costs a fifth of reading the row
_CHANGED = "PRAGMA data_version"
# a call waits this long for a store that others keep locked, and then not again for a while: it may be on an event loop
_STORE_WAIT_S = 0.1
_STORE_PAUSE_US = 1_000_000
# others that write keep it locked for moments; only one that stays locked is a failed one
_STORE_PATIENCE_US = 5_000_000

EventFunction = Callable[[str, dict[str, object], int], None]


@dataclass(slots=True)
class _Totals:
    """What is known of one budget's day.

    Attributes:
        capped_limit_nusd: The limit that was reached on it, if one was.
        latch_is_stored: Whether the other processes can know.
    """

    budget: str
    day: Day
    noncritical_nusd: int = 0
    critical_nusd: int = 0
    capped_limit_nusd: int | None = None
    capped_at_us: int = 0
    latch_is_stored: bool = True
    data_version: int = -1
    reserved_noncritical_nusd: int = 0
    reserved_critical_nusd: int = 0
    unsaved_noncritical_nusd: int = 0
    unsaved_critical_nusd: int = 0

    def reserve(self, nusd: int, *, critical: bool) -> None:
        """Set an amount aside; a negative one releases it."""
        if critical:
            self.reserved_critical_nusd += nusd
        else:
            self.reserved_noncritical_nusd += nusd

    def spend(self, limit: Limit) -> Spend:
        """Return what counts against the limit now."""
        return Spend(
            noncritical_nusd=self.noncritical_nusd + self.unsaved_noncritical_nusd + self.reserved_noncritical_nusd,
            critical_nusd=self.critical_nusd + self.unsaved_critical_nusd + self.reserved_critical_nusd,
            # a changed limit is judged anew: only the limit that was reached stays reached
            latched=self.capped_limit_nusd == limit.limit_nusd,
        )

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it is only in this process."""
        return self.latch_is_stored and not (
            self.reserved_noncritical_nusd
            or self.reserved_critical_nusd
            or self.unsaved_noncritical_nusd
            or self.unsaved_critical_nusd
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """Estimated cost set aside for one request.

    Attributes:
        totals: The day it counts against; None = there is no budget.
        nusd: Amount, nano-dollars.
        critical: Whether the call is critical.
        pid: Process that made it: a forked child has no part in its parent's reservations.
    """

    totals: _Totals | None
    nusd: int
    critical: bool
    pid: int


class Guardrail:
    """Asks the limit, sets money aside, and books what was spent.

    Args:
        path: The SQLite control store; made when a limit is first asked.
        on_event: Called with (event, details, at_us) when the limit is reached or the store fails or recovers.
    """

    def __init__(self, path: Path, on_event: EventFunction) -> None:
        self._path = path
        self._on_event = on_event
        self._limit: Limit | None = None
        self._zone: tzinfo | None = None
        # re-entrant: a signal handler may close the router that is just asking
        self._lock = threading.RLock()
        self._days: dict[tuple[str, str], _Totals] = {}
        self._today: _Totals | None = None
        self._store: sqlite3.Connection | None = None
        self._store_failed = False
        self._store_retry_us: int | None = None
        self._busy_since_us: int | None = None
        # asking the system for it costs more than all else that a reservation does
        self._pid = os.getpid()

    def keep_to(self, limit: Limit | None, zone: tzinfo) -> None:
        """Take another limit or zone from now on; what is reserved and booked stays.

        Args:
            limit: The limit; None = there is none, and nothing is stored.
            zone: Zone of the day boundary.
        """
        with self._lock:
            self._limit, self._zone, self._today = limit, zone, None

    def verdict(self, at_us: int) -> Verdict:
        """Return what the limit says to a call that starts an attempt now."""
        limit = self._limit
        if limit is None:
            return NO_LIMIT
        with self._lock:
            totals = self._at(limit, at_us)
            self._refresh(totals, at_us)
            if self._store_failed:  # on_store_failure: closed
                return Verdict(state="capped", budget=limit.name)
            spend = totals.spend(limit)
            verdict = judge(limit, spend)
            if verdict.state == "capped" and not spend.latched:
                self._latch(totals, limit, spend, at_us)
            return verdict

    def reserve(self, at_us: int, nusd: int, *, critical: bool) -> Reservation:
        """Set the estimate of one request aside; always granted."""
        limit = self._limit
        if limit is None:
            return Reservation(None, 0, critical, 0)
        with self._lock:
            totals = self._at(limit, at_us)
            totals.reserve(nusd, critical=critical)
            return Reservation(totals, nusd, critical, self._pid)

    def admit(self, at_us: int, nusd: int, *, critical: bool) -> Reservation | None:
        """Set the estimate of an optional request aside, if the limit is not reached and what is left covers it.

        Unlike ``verdict`` this never makes a limit count as reached: what is optional is left out instead. Reservations
        of other processes are not known here, so together they may pass the limit by what each has in flight.

        Returns:
            The reservation, or None when there is no room, or nobody can tell because the store has failed.
        """
        limit = self._limit
        if limit is None:
            return Reservation(None, 0, critical, 0)
        with self._lock:
            totals = self._at(limit, at_us)
            self._refresh(totals, at_us)
            left = judge(limit, totals.spend(limit))
            if self._store_failed or left.state != "normal" or nusd > (left.remaining_nusd or 0):
                return None
            totals.reserve(nusd, critical=critical)
            return Reservation(totals, nusd, critical, self._pid)

    def settle(self, reservation: Reservation, cost_nusd: int, at_us: int) -> None:
        """Release a reservation and book what the request cost, nano-dollars."""
        totals = reservation.totals
        if totals is None:
            return
        with self._lock:
            if reservation.pid == self._pid:
                totals.reserve(-reservation.nusd, critical=reservation.critical)
            if reservation.critical:
                totals.unsaved_critical_nusd += cost_nusd
            else:
                totals.unsaved_noncritical_nusd += cost_nusd
            self._save(totals, at_us)

    def close(self) -> None:
        """Save what is not saved yet, if that can be done, and close the store."""
        with self._lock:
            for totals in self._days.values():
                if totals.unsaved_noncritical_nusd or totals.unsaved_critical_nusd:
                    self._store_retry_us = None
                    self._save(totals, 0)
            if self._store is not None:
                self._store.close()
                self._store = None

    def before_fork(self) -> None:
        """Close the store, and keep every thread out of it: SQLite's own locks must not be carried over a fork."""
        self._lock.acquire()
        if self._store is not None:
            self._store.close()
            self._store = None

    def after_fork_in_parent(self) -> None:
        """Go on in the parent."""
        self._lock.release()

    def after_fork(self) -> None:
        """Forget, in a forked child, what is the parent's: its lock and its reservations."""
        self._lock = threading.RLock()
        self._days, self._today = {}, None
        self._pid = os.getpid()

    def _at(self, limit: Limit, at_us: int) -> _Totals:
        today = self._today
        if today is not None and today.day.start_us <= at_us < today.day.end_us:
            return today
        if self._zone is None:
            raise ValueError("a limit needs a zone: call keep_to first")
        day = local_day(at_us, self._zone)
        for key in [key for key, totals in self._days.items() if key[1] < day.key and totals.is_settled]:
            del self._days[key]
        today = self._today = self._days.setdefault((limit.name, day.key), _Totals(limit.name, day))
        today.day = day
        return today

    def _refresh(self, totals: _Totals, at_us: int) -> None:
        """Read the shared totals again when another process has written since, and save what is not saved yet."""
        if totals.unsaved_noncritical_nusd or totals.unsaved_critical_nusd or not totals.latch_is_stored:
            self._save(totals, at_us)
            return

        def read(store: sqlite3.Connection) -> None:
            (version,) = store.execute(_CHANGED).fetchone()
            if version != totals.data_version:
                row = store.execute(_READ, (totals.budget, totals.day.key)).fetchone()
                _take(totals, row or (0, 0, None))
                totals.data_version = version

        self._use_store(read, at_us)

    def _save(self, totals: _Totals, at_us: int) -> None:
        """Add to the shared totals and read them back; what cannot be saved now is saved with the next."""

        def save(store: sqlite3.Connection) -> None:
            if not totals.latch_is_stored:
                stored = (totals.budget, totals.day.key, totals.capped_at_us, totals.capped_limit_nusd)
                store.execute(_LATCH, stored)
                totals.latch_is_stored = True
            amounts = (totals.unsaved_noncritical_nusd, totals.unsaved_critical_nusd)
            row = store.execute(_ADD, (totals.budget, totals.day.key, *amounts)).fetchone()
            totals.unsaved_noncritical_nusd = totals.unsaved_critical_nusd = 0
            _take(totals, row)

        self._use_store(save, at_us)

    def _latch(self, totals: _Totals, limit: Limit, spend: Spend, at_us: int) -> None:
        totals.capped_limit_nusd, totals.capped_at_us, totals.latch_is_stored = limit.limit_nusd, at_us, False
        self._save(totals, at_us)
        self._on_event(
            "guard",
            {
                "state": "capped",
                "budget": limit.name,
                "day": totals.day.key,
                "limit_nusd": limit.limit_nusd,
                "noncritical_nusd": spend.noncritical_nusd,
                "critical_nusd": spend.critical_nusd,
                "until_us": totals.day.end_us,
            },
            at_us,
        )

    def _use_store(self, use: Callable[[sqlite3.Connection], None], at_us: int) -> None:
        """Use the store; when it cannot be used, leave it alone for a second, and say so once."""
        if self._store_retry_us is not None and abs(at_us - self._store_retry_us) < _STORE_PAUSE_US:
            return
        try:
            use(self._connection())
        except (sqlite3.Error, OSError) as failure:
            self._store_retry_us = at_us
            if _is_busy(failure):
                self._busy_since_us = at_us if self._busy_since_us is None else self._busy_since_us
                if at_us - self._busy_since_us < _STORE_PATIENCE_US:
                    return
            else:
                self._store = None
            self._say_store(str(failure), at_us)
        else:
            self._store_retry_us = self._busy_since_us = None
            self._say_store(None, at_us)

    def _say_store(self, error: str | None, at_us: int) -> None:
        if self._store_failed != (error is not None):
            self._store_failed = error is not None
            self._on_event("budget_store", {"state": "unavailable" if error else "recovered", "error": error}, at_us)

    def _connection(self) -> sqlite3.Connection:
        if self._store is None:
            # autocommit; one lock guards every use, so threads may share it
            store = sqlite3.connect(self._path, timeout=_STORE_WAIT_S, isolation_level=None, check_same_thread=False)
            try:
                store.execute("PRAGMA journal_mode = WAL")
                store.execute("PRAGMA synchronous = NORMAL")
                store.execute(_SCHEMA)
                self._path.chmod(0o600)
            except (sqlite3.Error, OSError):
                store.close()
                raise
            for totals in self._days.values():
                totals.data_version = -1  # versions of two connections do not compare
            self._store = store
        return self._store


def _take(totals: _Totals, row: tuple[int, int, int | None]) -> None:
    totals.noncritical_nusd, totals.critical_nusd = row[0], row[1]
    if row[2] is not None and totals.latch_is_stored:
        totals.capped_limit_nusd = row[2]


def _is_busy(failure: Exception) -> bool:
    return getattr(failure, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
