"""What dead workers have spent, by their own log; it takes the place of what they have told, and their leases end.

Every item of a ``started`` line names what it is counted under. So the spend of a worker is a sum over its segments:
the cost of each attempt, and the amount set aside for a request whose end nobody logged, which is what that becomes in
the log as well.
"""

import gzip
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from router_core.call_log.kept import list_kept
from router_core.call_log.segments import is_alive, list_segments, read_lines
from router_core.call_log.spool import DROPPED_EVENT
from router_core.control import ledger
from router_core.control.ledger import Key, Pair, connect
from router_core.decide.periods import slice_of

_WAIT_S: Final = 5.0
_TRIES: Final = 3
_MOST_BYTES: Final = 128 << 20
# how much larger than its compressed file a segment is, about
_PACKED: Final = 8
_STARTED: Final = b'"started"'
_ATTEMPT: Final = b'"attempt"'
_DROPPED: Final = DROPPED_EVENT.encode()

Spent = dict[tuple[Key, int], Pair]


@dataclass(slots=True)
class _Tally:
    """Spend by key and quarter hour, and what is in flight: keys, quarter hour, critical, amount set aside."""

    spent: Spent = field(default_factory=dict[tuple[Key, int], Pair])
    open: dict[str, tuple[list[Key], int, bool, int]] = field(
        default_factory=dict[str, tuple[list[Key], int, bool, int]]
    )
    is_whole: bool = True

    def take(self, data: bytes) -> None:
        """Take in a line."""
        if not any(word in data for word in (_STARTED, _ATTEMPT, _DROPPED)):
            return
        line = orjson.loads(data)
        kind = line.get("k")
        if kind == "started":
            self._started(line)
        elif kind == "attempt":
            begun = self.open.pop(line.get("attempt_id"), None)
            if begun is not None:
                self._add(begun, line.get("cost_nusd"))
        elif line.get("event") == DROPPED_EVENT:
            self.is_whole = False

    def end(self) -> None:
        """Count what nobody has logged the end of."""
        for begun in self.open.values():
            self._add(begun, begun[3])
        self.open.clear()

    def _started(self, line: Mapping[str, Any]) -> None:
        for item in line["items"]:
            keys = [Key(*key) for key in item.get("budgets") or ()]
            if keys:
                reserved = item.get("reserved_nusd") or 0
                self.open[item["attempt_id"]] = keys, slice_of(line["at"]), bool(item.get("critical")), reserved

    def _add(self, begun: tuple[list[Key], int, bool, int], nusd: int | None) -> None:
        keys, slice_us, critical, _ = begun
        for key in keys:
            before = self.spent.get((key, slice_us), Pair())
            more = Pair(0, nusd or 0) if critical else Pair(nusd or 0, 0)
            self.spent[key, slice_us] = Pair(before[0] + more[0], before[1] + more[1])


def spent_by_log(spool: Path, worker: str) -> tuple[Spent, bool]:
    """Return what a worker's segments say it has spent, and whether these are all of its segments."""
    for _ in range(_TRIES):
        tally = _Tally()
        try:
            numbers = [number for number, lines in _segments(spool, worker) if _read(tally, lines)]
        except FileNotFoundError:  # put away, or compressed, in this moment: it is found there the next time
            continue
        tally.end()
        return tally.spent, tally.is_whole and bool(numbers) and numbers == list(range(1, len(numbers) + 1))
    return {}, False


def bury_dead(control: Path, spool: Path) -> int:
    """Close the books of workers that are dead; return how many there were. Never raises for a store in trouble."""
    if not control.exists():
        return 0
    buried = 0
    try:
        with closing(connect(control, _WAIT_S)) as store:
            for worker in ledger.workers(store):
                if not is_alive(spool, worker):
                    buried += _bury(store, spool, worker)
    except (sqlite3.Error, OSError):
        return buried
    return buried


def _bury(store: sqlite3.Connection, spool: Path, worker: str) -> bool:
    spent, is_whole = spent_by_log(spool, worker)
    with ledger.transaction(store):
        if worker not in ledger.workers(store):  # another process was quicker
            return False
        if not is_whole:  # money that has been told of is not forgotten because its lines are gone
            spent = _larger(spent, ledger.posted(store, worker))
        ledger.bury(store, worker, spent)
    return True


def _larger(one: Spent, other: Spent) -> Spent:
    merged = dict(one)
    for place, pair in other.items():
        before = merged.get(place, Pair())
        merged[place] = Pair(max(before[0], pair[0]), max(before[1], pair[1]))
    return merged


def _read(tally: _Tally, lines: Iterator[bytes]) -> bool:
    for data in lines:
        try:
            tally.take(data)
        except (ValueError, TypeError, KeyError, AttributeError):  # a line that the log does not take either
            continue
    return True


def _segments(spool: Path, worker: str) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Yield a worker's segments in the order of their writing, each with its number and lines; not more than so many.

    What lies further back is known from what the worker has told.
    """
    found = {
        kept.number: (kept.path, kept.disk_bytes * (_PACKED if kept.is_compressed else 1))
        for kept in list_kept(spool)
        if kept.worker == worker
    }
    found |= {each.number: (each.path, each.size) for each in list_segments(spool) if each.worker == worker}
    first, size = 0, 0
    for number in sorted(found, reverse=True):
        first, size = number, size + found[number][1]
        if size > _MOST_BYTES:
            break
    for number in sorted(found):
        if number >= first:
            yield number, _lines(found[number][0])


def _lines(path: Path) -> Iterator[bytes]:
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as packed:
            yield from packed
    else:
        yield from (line.data for line in read_lines(path, 0) if line.complete)
