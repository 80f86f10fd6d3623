"""Spool lines into the DuckDB file, exactly once, by its only writer.

A tick reads new lines and stages them in memory, and only then opens the file, for the length of one transaction that
holds the rows, their rollups and the new offsets. What dead workers left in flight becomes rows when all they wrote is
read. The writing process must open the log's path in no other way: closing any other descriptor of it would drop
DuckDB's lock.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import duckdb

from router_core.call_log import access, commit, folding, outcome_sums, rollups
from router_core.call_log.anew import count_rows
from router_core.call_log.archive import Archive
from router_core.call_log.backlog import read_offsets, unread_bytes
from router_core.call_log.commit import Advance
from router_core.call_log.ddl import ROLLUPS
from router_core.call_log.home import Home
from router_core.call_log.lines import Batch
from router_core.call_log.logfile import LogFile
from router_core.call_log.lookup import Question, SizedLookup
from router_core.call_log.orphans import read_orphans
from router_core.call_log.pace import MAX_ROWS_PER_COMMIT, Bounds, next_rows
from router_core.call_log.read import reading
from router_core.call_log.segments import list_segments, lock_path, retire
from router_core.call_log.spool_reader import Goal, SpoolReader, look
from router_core.call_log.stage import Stage
from router_core.call_log.weeks import weeks
from router_core.errors import RouterError

__all__ = ["MAX_ROWS_PER_COMMIT", "IngestReport", "Ingester", "Progress", "ingest_once", "wall_clock_us"]

Progress = Callable[[int, int], None]
# while lines wait, sums of outcomes may wait too, but not for ever
_SUMS_EVERY_S: Final = 5.0


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
        replaced: Where the file is that was replaced by one made anew; None when none was.
        rows_before: Rows of the replaced file by table; None when none was, or when it could not be read.
        rows_after: Rows of the file made anew.
    """

    busy: bool = False
    lines: int = 0
    rows: Mapping[str, int] = field(default_factory=dict[str, int])
    quarantined: int = 0
    commits: int = 0
    is_behind: bool = False
    backlog_bytes: int = 0
    held_s: tuple[float, ...] = ()
    replaced: str | None = None
    rows_before: Mapping[str, int] | None = None
    rows_after: Mapping[str, int] | None = None


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
        keep_days: Days for which segments are kept after they were read; None = as long as nobody removes them.
    """

    def __init__(self, home: Home, *, now_us: Callable[[], int], keep_days: float | None = None) -> None:
        self._home = home
        self._now_us = now_us
        self._file = LogFile(home, timer=time.perf_counter, pause=_pause)
        self._stage = Stage(self._file.con, home.root / "stage")
        self._lookup = SizedLookup(home, lambda: self._file.attached(now_us()))
        self._reader = SpoolReader()
        self._archive = Archive(home, keep_days)
        self._offsets: dict[str, int] | None = None
        self._max_rows = MAX_ROWS_PER_COMMIT
        self._sums_are_stale = True
        self._summed_s = time.monotonic()
        # whether segments are kept that this log lacks: nobody knows at the beginning
        self._lacks_kept = True
        self._file_id: tuple[int, int] | None = None

    def close(self) -> None:
        """Give the in-memory database up."""
        self._lookup.close()
        self._file.close()

    def tick(
        self, *, max_commits: int | None = None, max_s: float | None = None, progress: Progress | None = None
    ) -> IngestReport:
        """Ingest what the spool holds at this moment, then bring the sums of outcomes up to date.

        Args:
            max_commits: Stop early after so many transactions; None = until all of it is in.
            max_s: Stop early when a commit ends later than this, seconds; sums of hours then take several ticks.
            progress: Called with bytes done and bytes to do, after each commit.

        Raises:
            LogBusyError: Readers have kept the file open for too long; nothing is lost.
            LogUnavailableError: The file cannot be opened now; nothing is lost.
            ConfigError: The file is unusable.
        """
        try:
            return self._tick(Bounds(max_commits, max_s, time.monotonic), progress)
        except FileNotFoundError:  # the home is being removed
            raise
        except OSError as error:
            raise access.unavailable(self._home.root, error) from error

    def _tick(self, bounds: Bounds, progress: Progress | None) -> IngestReport:
        tally = _Tally()
        self._file.held_s.clear()
        self._notice_another_file()
        is_behind = False
        while not is_behind:
            goal = self._look()
            is_behind = self._take_in(goal, tally, bounds, progress)
            if not is_behind:
                self._settle(goal, tally)
            if not self._lacks_kept:
                break
        if not is_behind or self._sums_are_due():
            self._update_sums(bounds)
        self._tidy()
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

    def _notice_another_file(self) -> None:
        """Forget what the log holds if its file was removed, or a backup was put in its place."""
        try:
            found = self._home.log.stat()  # looking at the name is all that is allowed: opening it would drop the lock
            file_id = (found.st_dev, found.st_ino)
        except FileNotFoundError:
            file_id = None
        if file_id is None or file_id != self._file_id:
            self._offsets, self._lacks_kept, self._sums_are_stale = None, True, True
            self._known_offsets()
            found = self._home.log.stat()
            self._file_id = (found.st_dev, found.st_ino)

    def _look(self) -> Goal:
        missing: Mapping[str, int] = {}
        if self._lacks_kept:
            missing = self._archive.bring_back(self._known_offsets())
            self._lacks_kept = bool(missing)
        return look(self._home.spool, missing)

    def _take_in(self, goal: Goal, tally: _Tally, bounds: Bounds, progress: Progress | None) -> bool:
        """Commit what is unread, batch by batch; return whether it stopped early with lines left."""
        done, total = 0, unread_bytes(goal.segments, self._known_offsets())
        while True:
            # each batch is read from where the one before was committed
            batch, advances = self._reader.read(goal, self._known_offsets(), self._max_rows)
            if not advances:
                return False
            if self._commit(batch, advances, tally):
                self._max_rows = next_rows(self._max_rows, batch.n_rows, self._file.held_s[-1])
                done += sum(advance.end - advance.start for advance in advances.values())
                if progress is not None:
                    progress(done, max(done, total))
            if bounds.are_reached(tally.commits):
                return bool(goal.unread(self._known_offsets()))

    def _commit(self, batch: Batch, advances: Mapping[str, Advance], tally: _Tally) -> bool:
        """Commit a batch; return False when the file's ledger says otherwise than remembered: then read again."""
        filled = self._stage.load(batch)
        hours = self._compare(filled, may_repeat=batch.may_repeat)
        deltas = rollups.compute_deltas(self._file.con, filled)
        now_us = self._now_us()
        with self._file.attached(now_us) as con:
            recorded = read_offsets(con, "log.ledger", advances)
            if any(recorded.get(name, 0) != advance.start for name, advance in advances.items()):
                self._offsets, self._lacks_kept = None, True
                return False
            con.execute("BEGIN")
            rows = commit.insert(con, filled, now_us)
            rollups.append_deltas(con, deltas)
            commit.update_pending(con, filled, batch.settled)
            outcome_sums.queue_hours(con, hours)
            outcome_sums.queue_labels(con, filled)
            commit.record(con, advances, now_us)
            con.execute("COMMIT")
        self._known_offsets().update((name, advance.end) for name, advance in advances.items())
        self._sums_are_stale = True
        tally.rows += rows
        tally.lines += batch.n_lines
        tally.quarantined += len(batch.bad)
        tally.commits += 1
        return True

    def _compare(self, filled: set[str], *, may_repeat: bool) -> list[int | None]:
        """Drop staged rows that the log holds; return hours whose labels came before the rows that are left."""
        con = self._file.con
        rows_like = commit.drop_twins(con, filled) if may_repeat else []
        questions = [*rows_like, *outcome_sums.early_labels(con, filled)]
        # all at once: opening the file takes longer than most answers
        answers = self._lookup.ask(*questions) if questions else []
        if may_repeat:
            commit.drop_known(con, filled, answers[: len(rows_like)])
        return outcome_sums.touched_hours(con, answers[len(rows_like) :])

    def _settle(self, goal: Goal, tally: _Tally) -> None:
        """Turn what dead workers left in flight into rows, and put away what was read to its end."""
        offsets = self._known_offsets()
        behind = {segment.worker for segment in goal.segments if segment.size > offsets.get(segment.name, 0)}
        finished = sorted(goal.dead - behind - goal.missing.keys())
        if finished:
            orphans = read_orphans(self._lookup, finished)
            if orphans.settled:
                self._commit(orphans, {}, tally)
        retire(self._home.spool, goal.read_to_the_end(offsets))
        for worker in finished:
            lock_path(self._home.spool, worker).unlink(missing_ok=True)

    def _sums_are_due(self) -> bool:
        return time.monotonic() - self._summed_s >= _SUMS_EVERY_S

    def _update_sums(self, bounds: Bounds) -> None:
        """Compute the outcome sums of queued hours, some at a time, and fold rollups that have grown."""
        grown: list[str] = []
        self._summed_s = time.monotonic()
        while self._sums_are_stale:
            step = outcome_sums.compute_step(self._lookup)
            with self._file.attached(self._now_us()) as con:
                self._sums_are_stale = outcome_sums.apply_step(con, step, self._now_us())
                grown = folding.rollups_to_fold(con)
            if bounds.are_reached():  # fresh lines come first
                break
        for rollup in grown:
            for fold in folding.plan_folds(self._lookup, rollup):
                with self._file.attached(self._now_us()) as con:
                    folding.fold(con, fold)
            with self._file.attached(self._now_us()) as con:
                folding.record_folded(con, rollup)

    def count_rows(self) -> dict[str, int]:
        """Return how many rows the log has, by table."""
        with self._file.attached(self._now_us()) as con:
            return count_rows(con, "log.")

    def ask(self, *questions: Question) -> list[list[Sequence[Any]]]:
        """Return the rows of each question's answer: the only way in which this process may read its log."""
        return self._lookup.ask(*questions)

    def recompute_sums(self) -> None:
        """Compute all hourly sums anew from the raw rows; readers get in between."""
        with self._file.attached(self._now_us()) as con:
            pieces = weeks(con, "log.")
        for week in pieces:
            for rollup in ROLLUPS:
                with self._file.attached(self._now_us()) as con:
                    rollups.recompute(con, rollup, week)
        with self._file.attached(self._now_us()) as con:
            outcome_sums.queue_all_hours(con)
        self._sums_are_stale = True
        self._update_sums(Bounds(None, None, time.monotonic))

    def _tidy(self) -> None:
        gone = self._archive.tidy(self._known_offsets(), wall_clock_us() / 1e6)
        if gone:
            # the ledger is loaded as a whole, and would keep a row of every process that ever was
            with self._file.attached(self._now_us()) as con:
                commit.forget(con, gone)
            self._offsets = None


def ingest_once(
    home: Home,
    *,
    as_of_us: int | None = None,
    now_us: Callable[[], int] | None = None,
    progress: Progress | None = None,
    keep_days: float | None = None,
    rebuild: bool = False,
    sums: bool = False,
) -> IngestReport:
    """Ingest everything the spool holds; ``busy`` is set when another process does so already.

    Args:
        home: Whose spool and log.
        as_of_us: The instant to record as the time of ingest, instead of the clock's.
        now_us: The clock; the machine's when None.
        progress: Called with bytes done and bytes to do, after each commit.
        keep_days: Days for which segments are kept after they were read; None = as long as nobody removes them.
        rebuild: Set the present file aside and make the log anew from all segments that are kept.
        sums: Compute all hourly sums anew from the rows, too.

    Raises:
        LogBusyError: Readers have kept the file open for too long, or another process writes the log that is to be made
            anew; nothing is lost.
        LogUnavailableError: The file cannot be opened now; nothing is lost.
        ConfigError: The home or the file is unusable.
    """
    clock = now_us or wall_clock_us
    with access.elected(home.create()) as is_mine:
        if not is_mine:
            if rebuild or sums:
                message = f"a background process writes {home.log}; stop it first, tierwise doctor names it"
                raise access.LogBusyError(message)
            return IngestReport(busy=True)
        before = _readable_rows(home) if rebuild else None
        replaced = set_aside(home.log, wall_clock_us()) if rebuild else None
        ingester = Ingester(home, now_us=clock if as_of_us is None else lambda: as_of_us, keep_days=keep_days)
        try:
            report = ingester.tick(progress=progress)
            if replaced is not None:
                after = ingester.count_rows()
                report = replace(report, replaced=str(replaced), rows_before=before, rows_after=after)
            if sums:
                ingester.recompute_sums()
            return report
        finally:
            ingester.close()


def _readable_rows(home: Home) -> dict[str, int] | None:
    """Return the rows of a log that is to be replaced, by table; None if it cannot be read. Nothing has it open yet."""
    try:
        with reading(home) as log:
            return count_rows(log)
    except (RouterError, duckdb.Error):
        return None


def set_aside(log: Path, now_us: int) -> Path | None:
    """Give the log file, and what DuckDB keeps beside it, another name; return that, or None if there is no file."""
    if not log.exists():
        return None
    aside = log.with_name(f"{log.name}.{now_us}.old")
    log.rename(aside)
    beside = log.with_name(f"{log.name}.wal")
    if beside.exists():
        beside.rename(aside.with_name(f"{aside.name}.wal"))
    return aside


def wall_clock_us() -> int:
    """Return the present instant, microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def _pause() -> None:
    time.sleep(random.uniform(0.002, 0.010))
