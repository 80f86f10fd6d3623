"""One writer's place in the spool: its lock for life, and its segments, one after the other."""

import fcntl
import os
import re
import socket
import time
from pathlib import Path

from router_core.call_log.segments import claim_worker, segment_path

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Place:
    """The files of one writer; not safe to share between threads.

    Args:
        folder: The spool.
        worker: Name of the writer; made from host, pid and chance at the first segment when None.

    Attributes:
        worker: Its name, once it has one.
        fd: The segment to append to; None before the first one.
        size: Bytes in it.
        is_full: Whether the next group of lines goes to a new one.
        opened_s: When it was begun, seconds of the monotonic clock.
    """

    def __init__(self, folder: Path, worker: str | None) -> None:
        self._folder = folder
        self._number = 0
        self._lock_fd: int | None = None
        self._home: os.stat_result | None = None
        self.worker = worker
        self.fd: int | None = None
        self.size = 0
        self.is_full = False
        self.opened_s = 0.0

    def name(self) -> str:
        """Return the writer's name; it is made now if it has none."""
        if self.worker is None:
            name = new_worker()
            # a signal handler may have logged, and so have taken a name, in the meantime
            if self.worker is None:
                self.worker = name
        return self.worker

    def begin_segment(self) -> int:
        """Begin the next segment and return its descriptor; the first one also takes the writer's lock.

        Raises:
            OSError: The spool cannot be written; the present segment stays.
        """
        worker = self.name()
        if self._lock_fd is None:
            # not the folders above: what was removed together with them is not to come back by itself
            for folder in (self._folder.parent, self._folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            self._lock_fd = claim_worker(self._folder, worker)
            self._home = self._folder.parent.stat()
        # O_EXCL: appending to somebody else's segment would mix two writers
        opened = os.open(segment_path(self._folder, worker, self._number + 1), _FLAGS, 0o600)
        before, self.fd, self.size, self.is_full = self.fd, opened, 0, False
        self.opened_s = time.monotonic()
        self._number += 1
        if before is not None:
            os.fdatasync(before)
            os.close(before)
        return opened

    def sync_folder(self) -> None:
        """Have the segment's name on the disk."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def is_there(self) -> bool:
        """Return whether lock and segment can still be found by their names: else nobody would ever read them."""
        if self.fd is None or self._lock_fd is None:
            return True
        worker = self.name()
        names = {
            self.fd: segment_path(self._folder, worker, self._number),
            self._lock_fd: self._folder / f"{worker}.lock",
        }
        try:
            return all(os.path.samestat(os.fstat(descriptor), path.stat()) for descriptor, path in names.items())
        except OSError:
            return False

    def rescue(self, offset: int) -> bytes:
        """Return what was written behind an offset, if the segment was removed together with all of its home.

        With only the spool gone, its lines may be in the log already, and would come twice. When what held the home is
        gone as well, nobody wants them.
        """
        home = self._folder.parent
        if self.fd is None or self._home is None or os.fstat(self.fd).st_nlink or not home.parent.is_dir():
            return b""
        try:
            if os.path.samestat(self._home, home.stat()):
                return b""
        except OSError:
            pass
        return os.pread(self.fd, max(0, self.size - offset), offset)

    def unlock(self) -> None:
        """Say that this writer is done: a child that was forked a moment ago may still hold a copy of the lock."""
        if self._lock_fd is not None:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def release(self) -> None:
        """Close this process's descriptors; after a fork the parent's locks stay with the parent's copies."""
        for descriptor in (self.fd, self._lock_fd):
            if descriptor is not None:
                os.close(descriptor)
        self.fd = self._lock_fd = None


def new_worker() -> str:
    """Return a name that no other process has: host, pid, chance."""
    host = re.sub(r"[^A-Za-z0-9]+", "_", socket.gethostname())[:40] or "host"
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"
