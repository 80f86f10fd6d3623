"""Segments that were read to their end: kept for a while, compressed, so that the log can be made anew from them."""

import gzip
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from router_core.call_log.segments import DONE, parse_name

COMPRESSED: Final = ".gz"
# about 8:1 at a third of the time that level 6 takes for 10:1
_LEVEL: Final = 3
_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One segment that was put away.

    Attributes:
        path: The file.
        name: The segment's name, its key in the ledger.
        worker: Who wrote it.
        number: Its position among the worker's segments, from 1.
        disk_bytes: What the file takes.
        written_s: When it was last written, seconds since the epoch.
    """

    path: Path
    name: str
    worker: str
    number: int
    disk_bytes: int
    written_s: float

    @property
    def is_compressed(self) -> bool:
        """Whether the file holds it compressed."""
        return self.path.suffix == COMPRESSED

    def is_in(self, offsets: Mapping[str, int]) -> bool:
        """Return whether a log with these offsets holds all of it."""
        if self.is_compressed:  # only what was read to its end is ever compressed
            return self.name in offsets
        return offsets.get(self.name, 0) >= self.disk_bytes


def list_kept(spool: Path) -> list[Kept]:
    """Return the segments that are kept, the oldest first, each worker's in the order of their writing."""
    found: dict[str, Kept] = {}
    try:
        entries = list(os.scandir(spool / DONE))
    except FileNotFoundError:
        return []
    for entry in entries:
        name = entry.name.removesuffix(COMPRESSED)
        parsed = parse_name(name)
        if parsed is None:
            continue
        worker, number = parsed
        with suppress(FileNotFoundError):
            facts = entry.stat()
            kept = Kept(
                path=Path(entry.path),
                name=name,
                worker=worker,
                number=number,
                disk_bytes=facts.st_size,
                written_s=facts.st_mtime,
            )
            # of both the plain one is whole for sure: it is removed after the other one is there
            if name not in found or not kept.is_compressed:
                found[name] = kept
    begins: dict[str, float] = {}
    for kept in found.values():
        begins[kept.worker] = min(kept.written_s, begins.get(kept.worker, kept.written_s))
    return sorted(found.values(), key=lambda kept: (begins[kept.worker], kept.worker, kept.number))


def compress(kept: Kept) -> int:
    """Compress a kept segment, block by block; return the bytes read. Its time of writing stays."""
    target = kept.path.with_name(kept.name + COMPRESSED)
    unfinished = kept.path.with_name(f".{target.name}")
    with kept.path.open("rb") as source, _open_private(unfinished) as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_LEVEL, mtime=0) as packed:
            shutil.copyfileobj(source, packed, _BLOCK_BYTES)
        raw.flush()
        os.fdatasync(raw.fileno())
    os.utime(unfinished, (kept.written_s, kept.written_s))
    unfinished.rename(target)
    kept.path.unlink()
    return kept.disk_bytes


def restore(spool: Path, kept: Kept) -> int:
    """Put a kept segment back into the spool, to be read again; return its bytes."""
    target = spool / kept.name
    if not kept.is_compressed:
        kept.path.rename(target)
        return kept.disk_bytes
    unfinished = spool / f".{kept.name}"
    with gzip.open(kept.path, "rb") as packed, _open_private(unfinished) as raw:
        shutil.copyfileobj(packed, raw, _BLOCK_BYTES)
    os.utime(unfinished, (kept.written_s, kept.written_s))
    unfinished.rename(target)
    kept.path.unlink()
    return target.stat().st_size


def remove(kept: Iterable[Kept]) -> None:
    """Remove segments for good."""
    for each in kept:
        each.path.unlink(missing_ok=True)


def _open_private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")
