"""What of the spool one tick is to bring in, and the next lines of it, batch by batch."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from router_core.call_log.backlog import unread
from router_core.call_log.commit import Advance
from router_core.call_log.lines import Batch
from router_core.call_log.segments import Segment, is_alive, list_segments, list_workers, read_lines, sealed

_LINES_PER_ROW: Final = 4
_MIN_SHARE: Final = 500
# what a living process writes is looked at now, an import is waited for anyway; it only must not stand still
_IMPORTS_EVERY: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What one tick is to bring in: living writers would move an end that is looked up again, forever.

    Attributes:
        dead: Workers that write no more.
        segments: Every segment, as long as it is now.
        ended: Names of those to which nothing is appended any more.
        missing: Of workers some of whose kept segments are yet to be brought back: the number of the first one.
    """

    dead: frozenset[str]
    segments: tuple[Segment, ...]
    ended: frozenset[str]
    missing: Mapping[str, int]

    def unread(self, offsets: Mapping[str, int]) -> list[Segment]:
        """Return what can be read now and is not in a log with these offsets."""
        found = unread(self.segments, offsets)
        return [segment for segment in found if segment.number < self.missing.get(segment.worker, sys.maxsize)]

    def read_to_the_end(self, offsets: Mapping[str, int]) -> list[Segment]:
        """Return the ended segments that are in the log as a whole."""
        behind = {segment.name for segment in unread(self.segments, offsets)}
        return [segment for segment in self.segments if segment.name in self.ended and segment.name not in behind]


def look(spool: Path, missing: Mapping[str, int]) -> Goal:
    """Return what the spool holds at this moment."""
    # who is dead must be known before sizes are: then nothing can be appended after the end that is seen
    dead = frozenset(worker for worker in list_workers(spool) if not is_alive(spool, worker))
    segments = tuple(list_segments(spool))
    of_dead = {segment.name for segment in segments if segment.worker in dead}
    return Goal(dead=dead, segments=segments, ended=frozenset(of_dead | sealed(segments)), missing=missing)


class SpoolReader:
    """Reads a goal's next lines, a fair share of each worker's oldest segment; whose turn it is goes round."""

    def __init__(self) -> None:
        self._turn = 0

    def read(self, goal: Goal, offsets: Mapping[str, int], max_rows: int) -> tuple[Batch, dict[str, Advance]]:
        """Return the next lines, and how far each segment gets with them; no segment does at the end."""
        # of each worker only the oldest one, so that its lines come in the order of their writing
        oldest: dict[str, Segment] = {}
        for segment in goal.unread(offsets):
            oldest.setdefault(segment.worker, segment)
        self._turn += 1
        # rows that may be there already take long to look up: lines of living writers are not to wait for that
        of_writers = [segment for segment in oldest.values() if not segment.is_import]
        of_imports = [segment for segment in oldest.values() if segment.is_import]
        ordered = (of_writers, of_imports) if self._turn % _IMPORTS_EVERY else (of_imports, of_writers)
        for waiting in ordered:
            batch, advances = self._read(waiting, goal, offsets, max_rows)
            if advances:
                return batch, advances
        return Batch(), {}

    def _read(
        self, waiting: list[Segment], goal: Goal, offsets: Mapping[str, int], max_rows: int
    ) -> tuple[Batch, dict[str, Advance]]:
        first = self._turn % max(1, len(waiting))
        share = max(min(_MIN_SHARE, max_rows), max_rows // max(1, len(waiting)))
        batch = Batch()
        advances: dict[str, Advance] = {}
        for segment in waiting[first:] + waiting[:first]:
            start, lines = offsets.get(segment.name, 0), batch.n_lines
            limit = min(max_rows, batch.n_rows + share)
            end = _read_segment(segment, start, batch, limit, has_ended=segment.name in goal.ended)
            if end > start:
                advances[segment.name] = Advance(start, end, batch.n_lines - lines)
            if _is_full(batch, max_rows):
                break
        return batch, advances


def _is_full(batch: Batch, max_rows: int) -> bool:
    return batch.n_rows >= max_rows or batch.n_lines >= _LINES_PER_ROW * max_rows


def _read_segment(segment: Segment, start: int, batch: Batch, max_rows: int, *, has_ended: bool) -> int:
    """Add lines of a segment to a batch; return the offset behind the last one.

    A line without its newline waits while more may be appended; else it is taken as it is.
    """
    end = start
    name, worker, is_import = segment.name, segment.worker, segment.is_import
    for line in read_lines(segment.path, start, segment.size):
        if not line.complete and not has_ended:
            break
        batch.add(name, worker, line.offset, line.data, is_import=is_import)
        end = line.end
        if _is_full(batch, max_rows):
            break
    return end
