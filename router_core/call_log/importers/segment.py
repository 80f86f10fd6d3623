"""Handing imported lines to the ingester: one finished spool segment, there whole or not at all."""

import fcntl
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from router_core.call_log.backlog import read_offsets, unread_bytes
from router_core.call_log.home import Home
from router_core.call_log.read import reading
from router_core.call_log.segments import IMPORT_PREFIX, SUFFIX, list_segments
from router_core.errors import RouterError

_UNFINISHED = ".tmp"


@contextmanager
def import_lock(home: Home) -> Generator[None]:
    """Keep other imports out of this home, and remove what a killed one has left.

    Raises:
        RouterError: Another import is at work.
    """
    path = home.root / "import.lock"
    path.touch(mode=0o600)
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another import into {home.root} is at work; try again when it has ended"
            raise RouterError(message) from error
        for leftover in home.spool.glob(f"{IMPORT_PREFIX}*{_UNFINISHED}"):
            leftover.unlink()
        yield


def unread_import_bytes(home: Home) -> int:
    """Return how much of the imports in the spool is not in the log yet, bytes."""
    imports = [segment for segment in list_segments(home.spool) if segment.is_import]
    if not imports:
        return 0
    offsets: dict[str, int] = {}
    if home.log.exists():
        with reading(home) as log:
            offsets = read_offsets(log)
    return unread_bytes(imports, offsets)


def publish(home: Home, parts: Sequence[Path], file_hash: str, now_us: int) -> Path:
    """Return the spool segment made of these files of whole lines.

    It is written under another name and renamed when it is complete and on disk.

    Args:
        home: Where the spool is.
        parts: Files of spool lines, in order.
        file_hash: Hash of the imported file, hex; part of the name.
        now_us: The present instant, microseconds since the epoch; makes the name unique.
    """
    target = home.spool / f"{IMPORT_PREFIX}{file_hash[:12]}-{now_us}{SUFFIX}"
    unfinished = target.with_name(target.name + _UNFINISHED)
    try:
        # as the spool's other segments: nobody else's to read
        with open(unfinished, "wb", opener=_private) as out:
            for part in parts:
                with part.open("rb") as lines:
                    shutil.copyfileobj(lines, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
        unfinished.rename(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return target


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
