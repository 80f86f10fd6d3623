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
_LATCH = "UPDATE budget_days SET capped_at_us = ?, capped_limit_nusd = ? WHERE budget = ? AND day = ?"
_READ = "SELECT noncritical_nusd, critical_nusd, capped_limit_nusd FROM budget_days WHERE budget = ? AND day = ?"
# changes whenever another connection has written; asking costs a fifth of reading the row
_CHANGED = "PRAGMA data_version"


@dataclass(slots=True)
class _Totals:
    """What is known of one day."""

    day: Day
    noncritical_nusd: int = 0
    critical_nusd: int = 0
    latched: bool = False
    data_version: int = -1
    reserved_noncritical_nusd: int = 0
    reserved_critical_nusd: int = 0
    unsaved_noncritical_nusd: int = 0
    unsaved_critical_nusd: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """Estimated cost set aside for one request.

    Attributes:
        day: Local day it counts against; None = there is no budget.
        nusd: Amount, nano-dollars.
        critical: Whether the call is critical.
    """

    day: Day | None
    nusd: int
    critical: bool


class Guardrail:
    """Asks the limit, sets money aside, and books what was spent.

    Args:
        path: The SQLite control store.
        limit: The limit; None = there is none, and nothing is stored.
        zone: Zone of the day boundary.
        on_event: Called with (event, details, at_us) when the limit is reached or the store fails or recovers.
    """

    def __init__(
        self,
        path: Path,
        limit: Limit | None,
        zone: tzinfo,
        on_event: Callable[[str, dict[str, object], int], None],
    ) -> None:
        self._path = path
        self._limit = limit
        self._zone = zone
        self._on_event = on_event
        self._lock = threading.Lock()
        self._days: dict[str, _Totals] = {}
        self._today: _Totals | None = None
        self._store: sqlite3.Connection | None = None
        self._store_pid = 0
        self._store_failed = False

    def verdict(self, at_us: int) -> Verdict:
        """Return what the limit says to a call that starts an attempt now."""
        limit = self._limit
        if limit is None:
            return NO_LIMIT
        with self._lock:
            totals = self._at(at_us)
            self._refresh(totals, at_us)
            if self._store_failed:  # on_store_failure: closed
                return Verdict(state="capped", budget=limit.name)
            spend = Spend(
                noncritical_nusd=totals.noncritical_nusd + totals.reserved_noncritical_nusd,
                critical_nusd=totals.critical_nusd + totals.reserved_critical_nusd,
                latched=totals.latched,
            )
            verdict = judge(limit, spend)
            if verdict.state == "capped" and not totals.latched:
                self._latch(totals, limit, spend, at_us)
            return verdict

    def reserve(self, at_us: int, nusd: int, *, critical: bool) -> Reservation:
        """Set the estimate of one request aside; always granted."""
        if self._limit is None:
            return Reservation(None, 0, critical)
        with self._lock:
            totals = self._at(at_us)
            _reserve(totals, nusd, critical=critical)
            return Reservation(totals.day, nusd, critical)

    def settle(self, reservation: Reservation, cost_nusd: int, at_us: int) -> None:
        """Release a reservation and book what the request cost, nano-dollars."""
        if reservation.day is None:
            return
        with self._lock:
            totals = self._days.setdefault(reservation.day.key, _Totals(day=reservation.day))
            _reserve(totals, -reservation.nusd, critical=reservation.critical)
            if reservation.critical:
                self._book(totals, 0, cost_nusd, at_us)
            else:
                self._book(totals, cost_nusd, 0, at_us)

    def close(self) -> None:
        """Close the store."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _at(self, at_us: int) -> _Totals:
        today = self._today
        if today is not None and today.day.start_us <= at_us < today.day.end_us:
            return today
        day = local_day(at_us, self._zone)
        today = self._today = self._days.setdefault(day.key, _Totals(day=day))
        for key in [key for key in self._days if key < day.key and _is_quiet(self._days[key])][:-1]:
            del self._days[key]
        return today

    def _refresh(self, totals: _Totals, at_us: int) -> None:
        """Read the shared totals again when another process has written since."""
        if totals.unsaved_noncritical_nusd or totals.unsaved_critical_nusd:
            self._book(totals, 0, 0, at_us)
            return
        limit = self._limit
        if limit is None:
            return
        try:
            store = self._connection()
            (version,) = store.execute(_CHANGED).fetchone()
            if version != totals.data_version:
                row = store.execute(_READ, (limit.name, totals.day.key)).fetchone()
                self._take(totals, limit, row or (0, 0, None))
                totals.data_version = version
        except sqlite3.Error as error:
            self._store_broke(error, at_us)
        else:
            self._say_store(None, at_us)

    def _book(self, totals: _Totals, noncritical_nusd: int, critical_nusd: int, at_us: int) -> None:
        """Add to the shared totals and read them back; what cannot be saved now is saved with the next."""
        limit = self._limit
        if limit is None:
            return
        totals.unsaved_noncritical_nusd += noncritical_nusd
        totals.unsaved_critical_nusd += critical_nusd
        amounts = (totals.unsaved_noncritical_nusd, totals.unsaved_critical_nusd)
        try:
            row = self._connection().execute(_ADD, (limit.name, totals.day.key, *amounts)).fetchone()
        except sqlite3.Error as error:
            self._store_broke(error, at_us)
            return
        totals.unsaved_noncritical_nusd = totals.unsaved_critical_nusd = 0
        self._take(totals, limit, row)
        self._say_store(None, at_us)

    def _take(self, totals: _Totals, limit: Limit, row: tuple[int, int, int | None]) -> None:
        totals.noncritical_nusd, totals.critical_nusd = row[0], row[1]
        # a changed limit is judged anew: only the limit that was reached stays reached
        totals.latched = row[2] == limit.limit_nusd

    def _store_broke(self, error: sqlite3.Error, at_us: int) -> None:
        self._store = None
        self._say_store(str(error), at_us)

    def _latch(self, totals: _Totals, limit: Limit, spend: Spend, at_us: int) -> None:
        totals.latched = True
        try:
            self._connection().execute(_LATCH, (at_us, limit.limit_nusd, limit.name, totals.day.key))
        except sqlite3.Error as error:
            self._store_broke(error, at_us)
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

    def _say_store(self, error: str | None, at_us: int) -> None:
        if self._store_failed == (error is not None):
            return
        self._store_failed = error is not None
        self._on_event("budget_store", {"state": "unavailable" if error else "recovered", "error": error}, at_us)

    def _connection(self) -> sqlite3.Connection:
        if self._store is None or self._store_pid != os.getpid():  # a connection never crosses a fork
            # autocommit; one lock guards every use, so threads may share it
            store = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
            store.execute("PRAGMA journal_mode = WAL")
            store.execute("PRAGMA synchronous = NORMAL")
            store.execute(_SCHEMA)
            self._path.chmod(0o600)
            self._store, self._store_pid = store, os.getpid()
        return self._store


def _reserve(totals: _Totals, nusd: int, *, critical: bool) -> None:
    if critical:
        totals.reserved_critical_nusd += nusd
    else:
        totals.reserved_noncritical_nusd += nusd


def _is_quiet(totals: _Totals) -> bool:
    return not (
        totals.reserved_noncritical_nusd
        or totals.reserved_critical_nusd
        or totals.unsaved_noncritical_nusd
        or totals.unsaved_critical_nusd
    )
