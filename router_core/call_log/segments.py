"""The spool folder: names of workers and segments, who is alive, and whole lines read back.

A worker is one process that writes. It holds an flock on ``<worker>.lock`` for its life and appends to
``<worker>-<n>.jsonl``, n = 1, 2, ... The lock file is locked under another name and then renamed, so a lock file that
can be seen and can be taken always means: that worker is dead. Segments without a lock file belong to nobody who lives.
"""

import fcntl
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

SUFFIX: Final = ".jsonl"
LOCK_SUFFIX: Final = ".lock"
DONE: Final = "done"
# a worker is named after its host, in which this dot cannot be
IMPORT_PREFIX: Final = "import."
MAX_LINE_BYTES: Final = 16 << 20
_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One file of the spool.

    Attributes:
        path: The file.
        worker: Who writes it.
        number: Its position among the worker's segments, from 1.
        size: Bytes it had when it was listed.
    """

    path: Path
    worker: str
    number: int
    size: int

    @property
    def name(self) -> str:
        """The file's name, which is its key in the ledger."""
        return self.path.name

    @property
    def is_import(self) -> bool:
        """Whether its rows come from somebody else's log and may have come before."""
        return is_import(self.name)


class Line(NamedTuple):
    """One line of a segment.

    Attributes:
        offset: Where it starts, bytes.
        end: Where the next one starts, bytes.
        data: Its bytes, without the newline.
        complete: False for a last line whose newline never came.
    """

    offset: int
    end: int
    data: bytes
    complete: bool


def is_import(name: str) -> bool:
    """Return whether a segment of this name holds rows of somebody else's log."""
    return name.startswith(IMPORT_PREFIX)


def segment_path(spool: Path, worker: str, number: int) -> Path:
    """Return where a worker's n-th segment lies."""
    return spool / f"{worker}-{number}{SUFFIX}"


def lock_path(spool: Path, worker: str) -> Path:
    """Return where a worker's lock file lies."""
    return spool / f"{worker}{LOCK_SUFFIX}"


def claim_worker(spool: Path, worker: str) -> int:
    """Take a worker's lock for this process's life and return its file descriptor.

    Raises:
        OSError: The spool cannot be written.
    """
    unnamed = spool / f".{worker}{LOCK_SUFFIX}"
    descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(lock_path(spool, worker))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_alive(spool: Path, worker: str) -> bool:
    """Return whether a worker's process still holds its lock."""
    try:
        descriptor = os.open(lock_path(spool, worker), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def list_segments(spool: Path) -> list[Segment]:
    """Return the spool's segments, each worker's in the order of their writing; [] when there is no spool yet."""
    found: list[Segment] = []
    try:
        entries = list(os.scandir(spool))
    except FileNotFoundError:
        return found
    for entry in entries:
        parsed = parse_name(entry.name)
        if parsed is None:
            continue
        with suppress(FileNotFoundError):  # read to its end and put away in this moment
            size = entry.stat().st_size
            found.append(Segment(path=Path(entry.path), worker=parsed[0], number=parsed[1], size=size))
    return sorted(found, key=lambda segment: (segment.worker, segment.number))


def sealed(segments: Iterable[Segment]) -> set[str]:
    """Return the names of segments that are followed by another of their worker: nothing is appended to them any more.

    Args:
        segments: As ``list_segments`` gives them: it looks at sizes after it has seen all names.
    """
    ordered = list(segments)
    return {one.name for one, after in pairwise(ordered) if one.worker == after.worker}


def parse_name(name: str) -> tuple[str, int] | None:
    """Return worker and number of the segment of this name; None for a file that is none."""
    worker, dash, number = name.removesuffix(SUFFIX).rpartition("-")
    if not name.endswith(SUFFIX) or not dash or not number.isdecimal() or name.startswith("."):
        return None
    return worker, int(number)


def list_workers(spool: Path) -> set[str]:
    """Return every worker with a lock file or a segment in the spool."""
    if not spool.is_dir():
        return set()
    locked = {path.stem for path in spool.iterdir() if path.suffix == LOCK_SUFFIX and not path.name.startswith(".")}
    return locked | {segment.worker for segment in list_segments(spool)}


def read_lines(path: Path, offset: int, until: int | None = None) -> Iterator[Line]:
    """Yield the lines of a segment from a byte offset on; only the last one may be incomplete.

    A line longer than ``MAX_LINE_BYTES`` comes in pieces, none of which parses.

    Args:
        path: The segment.
        offset: Where to begin.
        until: Where to end, bytes; None = at its end. A line that goes on behind it is incomplete.
    """
    left = sys.maxsize if until is None else until - offset
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        rest = b""
        while block := file.read(min(_BLOCK_BYTES, left)):
            left -= len(block)
            *whole, rest = (rest + block).split(b"\n")
            for data in whole:
                end = offset + len(data) + 1
                yield Line(offset, end, data, True)
                offset = end
            if len(rest) >= MAX_LINE_BYTES:
                yield Line(offset, offset + len(rest), rest, True)
                offset, rest = offset + len(rest), b""
        if rest:
            yield Line(offset, offset + len(rest), rest, False)


def retire(spool: Path, segments: Iterable[Segment]) -> None:
    """Move segments, all of them read to their end, to ``done/``."""
    done = spool / DONE
    done.mkdir(mode=0o700, exist_ok=True)
    for segment in segments:
        segment.path.rename(done / segment.name)
