"""The spend guardrail of one process: asks the limits, sets money aside, and books what was spent.

Money is shared by all processes of a home through its control store. So that a call need not wait for that, a process
may book a little, its lease, before it tells the others; the lease shrinks as a limit comes near, and below a request's
estimate everything is told at once. What is told at once in any case: the first request of a process, that a limit is
reached, and that nothing is in flight any more.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Final

from router_core.call_log.tending import start_tending
from router_core.control import ledger
from router_core.control.account import Account
from router_core.control.burial import bury_dead
from router_core.control.ledger import Key, connect, failure_of
from router_core.decide.guard import (
    EVERYTHING,
    NO_LIMIT,
    Counted,
    Limit,
    Verdict,
    is_back,
    judge,
    reached,
    tightest,
    without_store,
)
from router_core.decide.periods import period_of
from router_core.record import maker, record

# changes whenever another connection has written; asking costs a fifth of reading
_CHANGED: Final = "PRAGMA data_version"
# a call waits this long for a store that others keep locked, and then not again for a while: it may be on an event loop
_STORE_WAIT_S: Final = 0.1
_STORE_PAUSE_US: Final = 1_000_000
# others that write keep it locked for moments; only one that stays locked is a failed one
_STORE_PATIENCE_US: Final = 5_000_000
# what is below the lease is told after so long
_TELL_US: Final = 1_000_000
_BURY_US: Final = 10_000_000
# runs that are remembered as running, and accounts: names may be made up per call
_MOST_RUNS: Final = 100_000
_MOST_ACCOUNTS: Final = 4_096

EventFunction = Callable[[str, dict[str, object], int], None]


@record
class Reservation:
    """Estimated cost set aside for one request.

    Attributes:
        accounts: What it counts against; () = no budget.
        nusd: Amount, nano-dollars.
        critical: Whether the call is critical.
        at_us: When the request begins: its spend belongs to the periods of that instant.
        pid: Process that made it: a forked child has no part in its parent's reservations.
    """

    accounts: tuple[Account, ...]
    nusd: int
    critical: bool
    at_us: int
    pid: int

    @property
    def keys(self) -> list[tuple[str, str]]:
        """What it is counted under, budget and scope each, for its ``started`` line."""
        return [account.names for account in self.accounts]


_make_reservation = maker(Reservation)
NOTHING_RESERVED: Final = Reservation(accounts=(), nusd=0, critical=False, at_us=0, pid=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """Where a process logs what it books: there it is read when the process is dead.

    Attributes:
        claim: Returns the name of this writer, which by then can be seen to live.
        spool: Its folder.
        now_us: The machine's clock; None = time is virtual, and nothing happens by itself.
    """

    claim: Callable[[], str]
    spool: Path
    now_us: Callable[[], int] | None = None


@dataclass(slots=True)
class _Trouble:
    """How the store is to be used."""

    has_failed: bool = False
    retry_us: int | None = None
    busy_since_us: int | None = None


class Guardrail:
    """Keeps to any number of limits; safe to share between threads and over a fork.

    Args:
        path: The SQLite control store; made when a limit is first asked.
        on_event: Called with (event, details, at_us) when a limit is reached or the store fails or recovers.
        logged: The log of this process; None = it writes none.
    """

    def __init__(self, path: Path, on_event: EventFunction, logged: Logged | None = None) -> None:
        self._path = path
        self._on_event = on_event
        self._logged = logged
        self._limits: tuple[Limit, ...] = ()
        self._counts_all = False
        self._zone: tzinfo | None = None
        # re-entrant: a signal handler may close the router that is just asking
        self._lock = threading.RLock()
        self._tending = threading.RLock()
        self._accounts: dict[tuple[Key, str, int], Account] = {}
        self._present: tuple[Account, ...] = ()
        self._present_until_us = self._present_from_us = 0
        self._runs: dict[str, int] = {}
        self._store: sqlite3.Connection | None = None
        self._trouble = _Trouble()
        self._worker: str | None = None
        self._told_us = self._buried_us = 0
        self._in_flight = self._most_in_flight = self._known_in_flight = 0
        self._stop: threading.Event | None = None
        # asking the system for it costs more than all else that a reservation does
        self._pid = os.getpid()

    def keep_to(self, limits: Sequence[Limit], zone: tzinfo) -> None:
        """Take other limits or another zone from now on; what is reserved and booked stays.

        Args:
            limits: The limits; none = nothing ever blocks, and nothing is stored.
            zone: Zone of days, weeks and months.
        """
        with self._lock:
            self._limits, self._zone = tuple(limits), zone
            self._counts_all = all(limit.scope == EVERYTHING for limit in self._limits)
            self._present, self._present_until_us = (), 0

    def verdict(self, at_us: int, call: Counted) -> Verdict:
        """Return what the limits say to a non-critical call that starts an attempt now."""
        if not self._limits:
            return NO_LIMIT
        with self._lock:
            accounts = self._counting(call, at_us)
            self._look(accounts, at_us)
            if len(accounts) == 1:
                return self._judge(accounts[0], call, at_us)
            return tightest([self._judge(account, call, at_us) for account in accounts])

    def reserve(self, at_us: int, nusd: int, call: Counted, *, critical: bool) -> Reservation:
        """Set the estimate of one request aside; always granted."""
        if not self._limits:
            return NOTHING_RESERVED
        with self._lock:
            return self._reserve(self._counting(call, at_us), at_us, nusd, critical)

    def admit(self, at_us: int, nusd: int, call: Counted, *, critical: bool) -> Reservation | None:
        """Set the estimate of an optional request aside, if no limit is near and what is left of each covers it.

        Unlike ``verdict`` this never makes a limit count as reached: what is optional is left out instead.

        Returns:
            The reservation, or None when there is no room, or nobody can tell because the store has failed.
        """
        if not self._limits:
            return NOTHING_RESERVED
        with self._lock:
            accounts = self._counting(call, at_us)
            self._look(accounts, at_us)
            for account in accounts:
                left = judge(account.limit, account.spend())
                if self._trouble.has_failed or left.state != "normal" or nusd > (left.remaining_nusd or 0):
                    return None
            return self._reserve(accounts, at_us, nusd, critical)

    def settle(self, reservation: Reservation, cost_nusd: int, at_us: int) -> None:
        """Release a reservation and book what the request cost, nano-dollars."""
        accounts = reservation.accounts
        if not accounts:
            return
        with self._lock:
            is_due = False
            is_own = reservation.pid == self._pid
            for account in accounts:
                account.settle(reservation.at_us, cost_nusd, reservation.critical)
                is_due |= account.reserve(-reservation.nusd if is_own else 0, reservation.critical)
            self._in_flight -= is_own
            if is_due or not 0 <= at_us - self._told_us < _TELL_US or self._trouble.retry_us is not None:
                self._tell(at_us, accounts)

    def tend(self) -> None:
        """Tell the others what they do not know, and bury the dead; a thread of its own does so once a second."""
        logged = self._logged
        if logged is None or logged.now_us is None:
            return
        now_us = logged.now_us()
        with self._lock:
            self._tell(now_us)
        with self._tending:
            if self._stop is not None and not 0 <= now_us - self._buried_us < _BURY_US:
                self._buried_us = now_us
                bury_dead(self._path, logged.spool)

    def bury_dead(self) -> bool:
        """Close the books of processes that are dead; return whether there were any."""
        return bool(self._limits) and self._logged is not None and bury_dead(self._path, self._logged.spool) > 0

    def close(self) -> None:
        """Tell the others what they do not know yet, if that can be done, and close the store."""
        with self._lock:
            if self._stop is not None:
                self._stop.set()
                self._stop = None
            if self._store is not None or any(account.is_dirty for account in self._accounts.values()):
                self._trouble.retry_us = None
                self._tell(self._told_us)
            self._close()

    def before_fork(self) -> None:
        """Close the store, and keep every thread out of it: SQLite's own locks must not be carried over a fork."""
        self._tending.acquire()
        self._lock.acquire()
        self._close()

    def after_fork_in_parent(self) -> None:
        """Go on in the parent."""
        self._lock.release()
        self._tending.release()

    def after_fork(self) -> None:
        """Forget, in a forked child, what is the parent's: its lock, its name, its reservations."""
        self._lock, self._tending = threading.RLock(), threading.RLock()
        for account in self._accounts.values():
            account.disown()
        self._accounts, self._present, self._present_until_us = {}, (), 0
        self._worker, self._stop = None, None
        self._in_flight = self._most_in_flight = self._known_in_flight = 0
        self._pid = os.getpid()

    def _counting(self, call: Counted, at_us: int) -> tuple[Account, ...]:
        """Return the accounts that a call counts against at an instant."""
        if self._counts_all:
            if not self._present_from_us <= at_us < self._present_until_us:
                self._present = tuple(self._at(limit, Key(limit.name, ""), at_us) for limit in self._limits)
                self._present_from_us = max((one.period.start_us for one in self._present), default=0)
                self._present_until_us = min((one.period.end_us for one in self._present), default=0)
                if any(one.is_rolling for one in self._present):  # it moves on: an earlier instant has another one
                    self._present_from_us = at_us
            return self._present
        keys = ((limit, limit.scope.key_of(call)) for limit in self._limits)
        return tuple([self._at(limit, Key(limit.name, scope), at_us) for limit, scope in keys if scope is not None])

    def _at(self, limit: Limit, key: Key, at_us: int) -> Account:
        if self._zone is None:
            raise ValueError("a limit needs a zone: call keep_to first")
        period = period_of(limit, at_us, self._zone)
        place = (
            key,
            period.key if limit.per == "rolling" else limit.per,
            0 if limit.per == "rolling" else period.start_us,
        )
        account = self._accounts.get(place)
        if account is None:
            self._drop_idle(at_us)
            account = self._accounts[place] = Account(limit, key, period)
        elif account.limit is not limit or account.period != period:
            account.limit, account.period, account.version = limit, period, -1
        return account

    def _drop_idle(self, at_us: int) -> None:
        ended = [place for place, one in self._accounts.items() if one.is_at_rest and one.period.end_us <= at_us]
        if not ended and len(self._accounts) >= _MOST_ACCOUNTS:
            ended = [place for place, one in self._accounts.items() if one.is_at_rest]
        for place in ended:
            del self._accounts[place]

    def _judge(self, account: Account, call: Counted, at_us: int) -> Verdict:
        limit, spend = account.limit, account.spend()
        if self._trouble.has_failed:
            return without_store(limit, spend)
        is_running = limit.switch_at == "task" and self._is_running(account, call, at_us)
        verdict = judge(limit, spend, is_running=is_running)
        if verdict.remaining_nusd == 0 or spend.latched:
            self._turn(account, at_us)
            # a rolling window may have come back in this moment, or dead processes may have held too much
            return judge(limit, account.spend(), is_running=is_running)
        if verdict.state == "taper" and not account.is_tapered:
            account.is_tapered = True
            self._say(account, "taper", at_us)
        return verdict

    def _is_running(self, account: Account, call: Counted, at_us: int) -> bool:
        """Return whether a call's run had begun before the limit was reached; take note of it when it begins."""
        if call.run is None:
            return False
        began_us = self._runs.get(call.run)
        if began_us is None:
            if len(self._runs) >= _MOST_RUNS:
                del self._runs[next(iter(self._runs))]
            self._runs[call.run] = at_us
            return False
        latch = account.latch
        return latch.limit_nusd != account.limit.limit_nusd or began_us < latch.at_us

    def _turn(self, account: Account, at_us: int) -> None:
        """Take note of what is reached now, or of a rolling window that is back."""
        limit, spend = account.limit, account.spend()
        if (spend.latched or spend.stopped) and is_back(limit, spend):
            self._use_store(lambda store: ledger.lift(store, account.key), at_us)
            account.latch, account.untold_latch, account.version = ledger.NOT_REACHED, None, -1
            self._say(account, "normal", at_us)
            return
        now = reached(limit, spend)
        if now.latched == spend.latched and now.stopped == spend.stopped:
            return
        # what dead processes had set aside must not make a limit count as reached
        if self.bury_dead():
            account.version = -1
            self._look((account,), at_us)
            now = reached(limit, account.spend())
            if not (now.latched or now.stopped):
                return
        account.reach(at_us, limit=now.latched, stop=now.stopped)
        self._tell(at_us, (account,))
        is_stopped = now.stopped or limit.on_limit == "reject"
        self._say(account, "stopped" if is_stopped else "capped", at_us)

    def _say(self, account: Account, state: str, at_us: int) -> None:
        limit, spend, period = account.limit, account.spend(), account.period
        details: dict[str, object] = {
            "state": state,
            "budget": limit.name,
            "scope": account.key.scope,
            "per": limit.per,
            "period": period.key,
            "limit_nusd": limit.limit_nusd,
            "noncritical_nusd": spend.noncritical_nusd,
            "critical_nusd": spend.critical_nusd,
            "until_us": None if account.is_rolling else period.end_us,
        }
        self._on_event("guard", details, at_us)

    def _reserve(self, accounts: tuple[Account, ...], at_us: int, nusd: int, critical: bool) -> Reservation:
        is_due = self._worker is None
        for account in accounts:
            is_due |= account.reserve(nusd, critical)
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        if is_due and accounts:
            self._tell(at_us, accounts)
        return _make_reservation(accounts=accounts, nusd=nusd, critical=critical, at_us=at_us, pid=self._pid)

    def _look(self, accounts: Sequence[Account], at_us: int) -> None:
        """Take in what the others have told, if they have."""
        if self._trouble.retry_us is not None and any(account.is_dirty for account in accounts):
            self._tell(at_us, accounts)

        def look(store: sqlite3.Connection) -> None:
            (version,) = store.execute(_CHANGED).fetchone()
            stale = [account for account in accounts if account.version != version]
            if stale:
                self._take_in(store, stale, version)

        self._use_store(look, at_us)

    def _take_in(self, store: sqlite3.Connection, accounts: Sequence[Account], version: int) -> None:
        worker, processes = self._worker or "?", ledger.count_workers(store)
        for account in accounts:
            shared = ledger.read(store, account.key, account.period, worker, is_rolling=account.is_rolling)
            account.take(shared, version, processes)

    def _tell(self, at_us: int, asked: Sequence[Account] = ()) -> None:
        """Tell the others what they do not know, and take in what they have told; what fails is told the next time."""
        dirty = [account for account in (*self._accounts.values(), *asked) if account.is_dirty]
        dirty = list({id(account): account for account in dirty}.values())
        if not dirty:
            return

        def tell(store: sqlite3.Connection) -> None:
            worker = self._worker or self._claim()
            is_louder = self._worker is None or self._most_in_flight > self._known_in_flight
            with ledger.transaction(store):
                if is_louder:
                    ledger.register(store, worker, at_us, self._most_in_flight)
                ledger.book(store, worker, [account.booking() for account in dirty])
            self._worker, self._known_in_flight = worker, self._most_in_flight
            for account in dirty:
                account.told()
            (version,) = store.execute(_CHANGED).fetchone()
            self._take_in(store, dirty, version)

        self._told_us = at_us
        self._use_store(tell, at_us)
        if self._stop is None and self._logged is not None and self._logged.now_us is not None:
            self._stop = start_tending(self)

    def _use_store(self, use: Callable[[sqlite3.Connection], None], at_us: int) -> None:
        """Use the store; when it cannot be used, leave it alone for a second, and say so once."""
        trouble = self._trouble
        if trouble.retry_us is not None and abs(at_us - trouble.retry_us) < _STORE_PAUSE_US:
            return
        try:
            use(self._connection())
        except (sqlite3.Error, OSError) as failure:
            trouble.retry_us = at_us
            if failure_of(failure) == "busy":
                trouble.busy_since_us = at_us if trouble.busy_since_us is None else trouble.busy_since_us
                if at_us - trouble.busy_since_us < _STORE_PATIENCE_US:
                    return
            else:
                self._close()
            self._say_store(str(failure), at_us)
        else:
            trouble.retry_us = trouble.busy_since_us = None
            self._say_store(None, at_us)

    def _say_store(self, error: str | None, at_us: int) -> None:
        if self._trouble.has_failed != (error is not None):
            self._trouble.has_failed = error is not None
            self._on_event("budget_store", {"state": "unavailable" if error else "recovered", "error": error}, at_us)

    def _connection(self) -> sqlite3.Connection:
        if self._store is None:
            self._store = connect(self._path, _STORE_WAIT_S)
            for account in self._accounts.values():
                account.version = -1  # versions of two connections do not compare
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _claim(self) -> str:
        if self._logged is not None:
            return self._logged.claim()
        # a process that writes no log: nobody else has this name
        return f"unlogged-{os.getpid()}-{time.monotonic_ns():x}"
