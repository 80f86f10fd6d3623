"""The hot path of the log: lines appended to this process's own segment, one ``os.write`` per call.

What ``write`` has returned for is in the kernel: it survives the death of the process. Logging never raises into an LLM
call; what cannot be written now waits in memory, counted, and goes out before the next line.
"""

import fcntl
import itertools
import logging
import os
import re
import socket
import threading
import weakref
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from router_core.call_log.encoding import encode_anyhow
from router_core.call_log.segments import claim_worker, segment_path

ROTATE_BYTES: Final = 64 << 20
MAX_PENDING: Final = 10_000
_ENCODING: Final = orjson.OPT_APPEND_NEWLINE
_logger = logging.getLogger("router_core.call_log")


class Spool:
    """This process's place in the log; safe to share between threads and over a fork.

    Args:
        folder: The home's spool folder; made when first needed.
        worker: Name of this writer; made from host, pid and chance when None.
        rotate_bytes: Size at which a new segment is begun.

    Attributes:
        dropped: Groups of lines lost because more than ``MAX_PENDING`` waited, or that still waited at close.
    """

    def __init__(self, folder: Path, *, worker: str | None = None, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._folder = folder
        self._rotate_bytes = rotate_bytes
        self._mutex = threading.RLock()  # re-entrant: a signal handler may close the router in the middle of a write
        self._segment_fd: int | None = None
        self._lock_fd: int | None = None
        self._is_busy = False
        self._is_closing = False
        self.dropped = 0
        self._begin(worker)
        _spools.add(self)

    def _begin(self, worker: str | None) -> None:
        """Begin as a writer nobody knows yet: no lines waiting, sequence at 1."""
        self._worker = worker
        self._sequence = itertools.count(1)
        self._number = 0
        self._size = 0
        self._waiting: deque[bytes] = deque()
        self._mid_group = False
        self._warned = False

    @property
    def worker(self) -> str:
        """Name of this writer; a forked child has another than its parent."""
        with self._mutex:  # two names at once would be a lock under one and a segment under the other
            if self._worker is None:
                name = _new_worker()
                # a signal handler may have logged, and so have taken a name, in the meantime
                if self._worker is None:
                    self._worker = name
            return self._worker

    @property
    def pending(self) -> int:
        """Groups of lines that wait for the disk."""
        return len(self._waiting)

    def next_seq(self) -> int:
        """Return the next number of this writer's calls, from 1, without gaps."""
        return next(self._sequence)

    def write(self, *lines: Mapping[str, Any]) -> None:
        """Append the lines together, in order; on return they survive the process's death. Never raises."""
        data = b"".join([self._encode(line) for line in lines])
        with self._mutex:  # as in _alone, which would double what a line costs
            outermost, self._is_busy = not self._is_busy, True
            try:
                self._append(data)
            finally:
                if outermost:
                    self._rest()

    def flush(self) -> bool:
        """Try to write what waits; return whether nothing waits any more."""
        with self._alone():
            self._drain()
            return not self._waiting

    def close(self) -> None:
        """Say that this writer is done. A later ``write`` begins again as a new writer."""
        with self._alone():
            self._drain()
            self._is_closing = True

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Keep other threads out; what a signal handler closes in the middle of a write is closed at its end."""
        with self._mutex:
            outermost, self._is_busy = not self._is_busy, True
            try:
                yield
            finally:
                if outermost:
                    self._rest()

    def _rest(self) -> None:
        while self._is_closing:
            self._end()
        self._is_busy = False

    def _append(self, data: bytes) -> None:
        fd = self._segment_fd
        if fd is None or self._waiting or self._size >= self._rotate_bytes:
            self._hold(data)
            self._drain()
            return
        try:
            written = os.write(fd, data)
        except OSError as error:
            self._hold(data)
            self._warn(error)
            return
        self._size += written
        if written != len(data):
            self._hold(data[written:])
            self._mid_group = True
            self._drain()

    def _end(self) -> None:
        self._is_closing = False
        self._drain()
        if self._waiting:
            self.dropped += len(self._waiting)
            _logger.error("call log: %d groups of lines could not be written and are lost", len(self._waiting))
        was_open = self._lock_fd is not None
        if self._lock_fd is not None:
            # a child that was forked a moment ago may not have closed its copy yet
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
        self._release_files()
        self._begin(None if was_open else self._worker)

    @staticmethod
    def _encode(line: Mapping[str, Any]) -> bytes:
        try:
            return orjson.dumps(line, option=_ENCODING)
        except (TypeError, ValueError):  # orjson.JSONEncodeError is a TypeError
            return encode_anyhow(line)

    def _hold(self, data: bytes) -> None:
        if len(self._waiting) >= MAX_PENDING:
            self.dropped += 1
        elif data:
            self._waiting.append(data)

    def _drain(self) -> None:
        """Write what waits; open, rotate and finish short writes on the way."""
        try:
            while self._waiting:
                fd = self._open_segment()
                # taken out first: a signal handler that closes this in the next moment must not write it again
                group = self._waiting.popleft()
                written = 0
                try:
                    written = os.write(fd, group)
                finally:
                    self._size += written
                    self._mid_group = 0 < written < len(group) or (self._mid_group and not written)
                    if written < len(group):
                        # the rest continues the same bytes of the same segment, so a full disk never tears a line
                        self._waiting.appendleft(group[written:])
            self._warned = False
        except OSError as error:
            self._warn(error)

    def _open_segment(self) -> int:
        """Return the descriptor to append to; a new segment begins only between two groups of lines."""
        fd = self._segment_fd
        if fd is not None and (self._mid_group or self._size < self._rotate_bytes):
            return fd
        worker = self.worker
        if self._lock_fd is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = claim_worker(self._folder, worker)
        path = segment_path(self._folder, worker, self._number + 1)
        # O_EXCL: appending to somebody else's segment would mix two writers
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._segment_fd, self._size = opened, 0
        self._number += 1
        if fd is not None:
            os.close(fd)
        return opened

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning("call log: cannot write to %s (%s); lines wait in memory", self._folder, error)

    def _release_files(self) -> None:
        """Close this process's descriptors; after a fork the parent's locks stay with the parent's copies."""
        for descriptor in (self._segment_fd, self._lock_fd):
            if descriptor is not None:
                os.close(descriptor)
        self._segment_fd = self._lock_fd = None

    def restart_in_child(self) -> None:
        """Begin as a new writer after a fork, in the child; what waits is the parent's to write."""
        self._mutex = threading.RLock()  # the inherited one may be held by a thread that does not exist here
        self._release_files()
        self._is_busy = self._is_closing = False
        self.dropped = 0
        self._begin(None)


_spools: "weakref.WeakSet[Spool]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for spool in list(_spools):
        spool.restart_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _new_worker() -> str:
    host = re.sub(r"[^A-Za-z0-9]+", "_", socket.gethostname())[:40] or "host"
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"
