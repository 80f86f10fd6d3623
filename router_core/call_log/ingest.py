"""Spool lines into the DuckDB file, exactly once, by its only writer.

A tick reads new lines and stages them in memory, and only then opens the file, for the length of one transaction that
holds the rows, their rollups and the new offsets. What dead workers left in flight becomes rows when all they wrote is
read. The writing process must open the log's path in no other way: closing any other descriptor of it would drop
DuckDB's lock.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Final

from router_core.call_log import access, commit, rollups
from router_core.call_log.backlog import read_offsets, unread, unread_bytes
from router_core.call_log.commit import Advance
from router_core.call_log.home import Home
from router_core.call_log.lines import Batch
from router_core.call_log.logfile import LogFile
from router_core.call_log.orphans import read_orphans
from router_core.call_log.segments import (
    Segment,
    is_alive,
    list_names,
    list_segments,
    list_workers,
    prune_done,
    read_lines,
    retire,
)
from router_core.call_log.stage import Stage

MAX_ROWS_PER_COMMIT: Final = 5_000
_MAX_LINES_PER_COMMIT: Final = 20_000
_MIN_SHARE: Final = 500
_KEEP_DONE_S: Final = 7 * 86_400
_PRUNE_EVERY_US: Final = 3_600_000_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What one ingest has done.

    Attributes:
        busy: True when another process is ingesting; then nothing was done.
        lines: Lines read.
        rows: New rows by table.
        quarantined: Lines that could not be used.
        commits: Transactions.
        is_behind: True when it stopped early, with lines left that were there when it began.
        backlog_bytes: What was left unread: torn last lines of living workers, or lines that came meanwhile.
        held_s: How long each use of the file has kept it locked.
    """

    busy: bool = False
    lines: int = 0
    rows: Mapping[str, int] = field(default_factory=dict[str, int])
    quarantined: int = 0
    commits: int = 0
    is_behind: bool = False
    backlog_bytes: int = 0
    held_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Goal:
    """What one tick is to bring in: living writers would move an end that is looked up again, forever.

    Attributes:
        dead: Workers that write no more.
        segments: Every segment, as long as it is now.
    """

    dead: frozenset[str]
    segments: tuple[Segment, ...]


@dataclass(slots=True)
class _Tally:
    """A report in the making."""

    lines: int = 0
    rows: Counter[str] = field(default_factory=Counter[str])
    quarantined: int = 0
    commits: int = 0


class Ingester:
    """The writer; make one only after having won the election.

    Args:
        home: Whose spool and log.
        now_us: The present instant, microseconds since the epoch, UTC.
    """

    def __init__(self, home: Home, *, now_us: Callable[[], int]) -> None:
        self._home = home
        self._now_us = now_us
        self._file = LogFile(home, timer=time.perf_counter, pause=_pause)
        self._stage = Stage(self._file.con, home.root / "stage")
        self._offsets: dict[str, int] | None = None
        self._turn = 0
        self._sums_are_stale = True
        self._pruned_us = 0

    def close(self) -> None:
        """Give the in-memory database up."""
        self._file.close()

    def tick(self, *, max_commits: int | None = None, progress: Progress | None = None) -> IngestReport:
        """Ingest what the spool holds at this moment, then bring the sums of outcomes up to date.

        Args:
            max_commits: Stop early after so many transactions; None = until all of it is in.
            progress: Called with bytes done and bytes to do, after each commit.

        Raises:
            LogBusyError: Readers have kept the file open for too long; nothing is lost.
            LogUnavailableError: The file cannot be opened now; nothing is lost.
            ConfigError: The file is unusable.
        """
        tally = _Tally()
        self._file.held_s.clear()
        goal = self._look()
        total = unread_bytes(goal.segments, self._known_offsets())
        done, is_behind = 0, False
        for batch, advances in self._batches(goal):
            if self._commit(batch, advances, tally):
                done += sum(advance.end - advance.start for advance in advances.values())
                if progress is not None:
                    progress(done, max(done, total))
            if tally.commits == max_commits:
                is_behind = bool(unread(goal.segments, self._known_offsets()))
                break
        if not is_behind:
            self._settle_dead(goal, tally)
        self._update_sums()
        self._prune()
        return IngestReport(
            lines=tally.lines,
            rows=dict(tally.rows),
            quarantined=tally.quarantined,
            commits=tally.commits,
            is_behind=is_behind,
            backlog_bytes=unread_bytes(list_segments(self._home.spool), self._known_offsets()),
            held_s=tuple(self._file.held_s),
        )

    def _known_offsets(self) -> dict[str, int]:
        if self._offsets is None:
            with self._file.attached(self._now_us()) as con:
                self._offsets = read_offsets(con, "log.ledger")
        return self._offsets

    def _look(self) -> _Goal:
        spool = self._home.spool
        # who is dead must be known before sizes are: then nothing can be appended after the end that is seen
        dead = frozenset(worker for worker in list_workers(spool) if not is_alive(spool, worker))
        return _Goal(dead=dead, segments=tuple(list_segments(spool)))

    def _batches(self, goal: _Goal) -> Generator[tuple[Batch, dict[str, Advance]]]:
        """Yield what is unread, batch by batch; each is read from where the one before was committed."""
        while True:
            batch, advances = self._read_batch(goal, self._known_offsets())
            if not advances:
                return
            yield batch, advances

    def _read_batch(self, goal: _Goal, offsets: Mapping[str, int]) -> tuple[Batch, dict[str, Advance]]:
        """Read the next lines, a fair share of each segment; the second result tells how far each one gets."""
        # of each worker only the oldest one, so that its lines come in the order of their writing
        oldest: dict[str, Segment] = {}
        for segment in unread(goal.segments, offsets):
            oldest.setdefault(segment.worker, segment)
        waiting = list(oldest.values())
        self._turn += 1
        first = self._turn % max(1, len(waiting))
        share = max(_MIN_SHARE, MAX_ROWS_PER_COMMIT // max(1, len(waiting)))
        batch = Batch()
        advances: dict[str, Advance] = {}
        for segment in waiting[first:] + waiting[:first]:
            start, lines = offsets.get(segment.name, 0), batch.n_lines
            limit = min(MAX_ROWS_PER_COMMIT, batch.n_rows + share)
            end = _read_segment(segment, start, batch, limit, is_dead=segment.worker in goal.dead)
            if end > start:
                advances[segment.name] = Advance(start, end, batch.n_lines - lines)
            if batch.n_rows >= MAX_ROWS_PER_COMMIT or batch.n_lines >= _MAX_LINES_PER_COMMIT:
                break
        return batch, advances

    def _commit(self, batch: Batch, advances: Mapping[str, Advance], tally: _Tally) -> bool:
        """Commit a batch; return False when the file's ledger says otherwise than remembered: then read again."""
        filled = self._stage.load(batch)
        deltas = [] if batch.may_repeat else rollups.compute_deltas(self._file.con, filled)
        now_us = self._now_us()
        with self._file.attached(now_us) as con:
            recorded = read_offsets(con, "log.ledger")
            if any(recorded.get(name, 0) != advance.start for name, advance in advances.items()):
                self._offsets = recorded
                return False
            if batch.may_repeat:
                commit.drop_repeated(con, filled)
                deltas = rollups.compute_deltas(con, filled)
            con.execute("BEGIN")
            rows = commit.insert(con, filled, now_us)
            rollups.append_deltas(con, deltas)
            commit.update_pending(con, filled, batch.settled)
            rollups.queue_outcome_hours(con, filled)
            commit.record(con, advances, now_us)
            con.execute("COMMIT")
        self._offsets = recorded | {name: advance.end for name, advance in advances.items()}
        self._sums_are_stale = True
        tally.rows += rows
        tally.lines += batch.n_lines
        tally.quarantined += len(batch.bad)
        tally.commits += 1
        return True

    def _settle_dead(self, goal: _Goal, tally: _Tally) -> None:
        """Turn what dead workers left in flight into rows, and retire their segments."""
        behind = {segment.worker for segment in unread(goal.segments, self._known_offsets())}
        finished = sorted(goal.dead - behind)
        if not finished:
            return
        with self._file.attached(self._now_us()) as con:
            orphans = read_orphans(con, finished)
        if orphans.n_rows:
            self._commit(orphans, {}, tally)
        for worker in finished:
            retire(self._home.spool, worker)

    def _update_sums(self) -> None:
        """Recompute the outcome sums of queued hours and fold rollups that have grown."""
        if not self._sums_are_stale:
            return
        now_us = self._now_us()
        left = True
        while left:
            with self._file.attached(now_us) as con:
                left = rollups.recompute_outcomes(con, now_us)
        folding: str | None = ""
        while folding is not None:
            with self._file.attached(now_us) as con:
                folding = rollups.rollup_to_fold(con)
                if folding is not None:
                    rollups.fold(con, folding)
        self._sums_are_stale = False

    def _prune(self) -> None:
        now_us = time.time_ns() // 1000
        if now_us - self._pruned_us <= _PRUNE_EVERY_US:
            return
        self._pruned_us = now_us
        prune_done(self._home.spool, now_us / 1e6 - _KEEP_DONE_S)
        gone = self._known_offsets().keys() - list_names(self._home.spool)
        if gone:
            # the ledger is read at each commit, and would keep a row of every process that ever was
            with self._file.attached(self._now_us()) as con:
                commit.forget(con, gone)
            self._offsets = None


def ingest_once(
    home: Home,
    *,
    as_of_us: int | None = None,
    now_us: Callable[[], int] | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Ingest everything the spool holds; ``busy`` is set when another process does so already.

    Args:
        home: Whose spool and log.
        as_of_us: The instant to record as the time of ingest, instead of the clock's.
        now_us: The clock; the machine's when None.
        progress: Called with bytes done and bytes to do, after each commit.

    Raises:
        LogBusyError: Readers have kept the file open for too long; nothing is lost.
        LogUnavailableError: The file cannot be opened now; nothing is lost.
        ConfigError: The home or the file is unusable.
    """
    clock = now_us or wall_clock_us
    with access.elected(home.create()) as is_mine:
        if not is_mine:
            return IngestReport(busy=True)
        ingester = Ingester(home, now_us=clock if as_of_us is None else lambda: as_of_us)
        try:
            return ingester.tick(progress=progress)
        finally:
            ingester.close()


def wall_clock_us() -> int:
    """Return the present instant, microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def _pause() -> None:
    time.sleep(random.uniform(0.002, 0.010))


def _read_segment(segment: Segment, start: int, batch: Batch, max_rows: int, *, is_dead: bool) -> int:
    """Add lines of a segment to a batch; return the offset behind the last one.

    A line without its newline waits while its worker lives; of a dead one it is taken as it is.
    """
    end = start
    for line in read_lines(segment.path, start, segment.size):
        if not line.complete and not is_dead:
            break
        batch.add(segment.name, segment.worker, line.offset, line.data, is_import=segment.is_import)
        end = line.end
        if batch.n_rows >= max_rows or batch.n_lines >= _MAX_LINES_PER_COMMIT:
            break
    return end
