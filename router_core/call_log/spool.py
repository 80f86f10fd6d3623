"""The hot path of the log: lines appended to this process's own segment, one ``os.write`` per call.

What ``write`` has returned for is in the kernel: it survives the death of the process, and a second later, or at once
with durability ``fsync``, the loss of power. Logging never raises into an LLM call; what cannot be written now waits in
memory, counted, and goes out, in order, as soon as the disk takes it.
"""

import errno
import itertools
import logging
import os
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from router_core.call_log.encoding import encode_anyhow
from router_core.call_log.place import Place
from router_core.call_log.tending import renew_in_children, start_tending
from router_core.call_log.waiting import Waiting

Durability = Literal["fast", "fsync"]
ROTATE_BYTES: Final = 64 << 20
ROTATE_S: Final = 86_400.0
DROPPED_EVENT: Final = "lines_dropped"
# errors after which a new file may do where this one does not
_OF_THIS_FILE: Final = frozenset({errno.EIO, errno.ESTALE, errno.EBADF})
_ENCODING: Final = orjson.OPT_APPEND_NEWLINE
_encode = orjson.dumps
_logger = logging.getLogger("router_core.call_log")


class Spool:
    """This process's place in the log; safe to share between threads and over a fork.

    A thread tends it once a second: it tries again what waits, has new lines on the disk, and sees when the folder was
    taken away.

    Args:
        folder: The home's spool folder; made when first needed.
        worker: Name of this writer; made from host, pid and chance when None.
        rotate_bytes: Size at which a new segment is begun.
        durability: ``fsync`` has every write on the disk before it returns.

    Attributes:
        dropped: Groups of lines lost because too many waited, or that still waited at close.
    """

    def __init__(
        self,
        folder: Path,
        *,
        worker: str | None = None,
        rotate_bytes: int = ROTATE_BYTES,
        durability: Durability = "fast",
    ) -> None:
        self._folder = folder
        self._rotate_bytes = rotate_bytes
        self._syncs_each = durability == "fsync"
        self._mutex = threading.RLock()  # re-entrant: a signal handler may close the router in the middle of a write
        self._is_busy = False
        self._is_closing = False
        self._stop: threading.Event | None = None
        self.dropped = 0
        self._begin(worker)
        renew_in_children(self)

    def _begin(self, worker: str | None) -> None:
        """Begin as a writer nobody knows yet: no lines waiting, sequence at 1."""
        self._place = Place(self._folder, worker)
        self._sequence = itertools.count(1)
        # where a line may go at once: a segment is open and not full, nothing waits, no sync is asked for
        self._direct_fd: int | None = None
        self._waiting = Waiting()
        self._synced_size = 0
        self._seen_size = 0
        self._warned = False

    @property
    def worker(self) -> str:
        """Name of this writer; a forked child has another than its parent."""
        known = self._place.worker
        if known is not None:
            return known
        with self._mutex:  # two names at once would be a lock under one and a segment under the other
            return self._place.name()

    def claim(self) -> str:
        """Return the name of this writer, and let others see that it lives, before its first line."""
        with self._alone():
            if self._place.fd is None:
                with suppress(OSError):  # what cannot be written now is said at the first line
                    self._open_segment()
            return self._place.name()

    @property
    def pending(self) -> int:
        """Groups of lines that wait for the disk."""
        return len(self._waiting)

    def keep_to(self, durability: Durability) -> None:
        """Write as durably as this from now on: ``fsync`` has every write on the disk before it returns."""
        with self._alone():
            self._syncs_each = durability == "fsync"
            self._direct_fd = None  # the next write finds out again where it may go

    def next_seq(self) -> int:
        """Return the next number of this writer's calls, from 1, without gaps."""
        return next(self._sequence)

    def write(self, *lines: Mapping[str, Any]) -> None:
        """Append the lines together, in order; on return they survive the process's death. Never raises."""
        try:
            if len(lines) == 1:
                data = _encode(lines[0], None, _ENCODING)
            else:
                data = b"".join([_encode(line, None, _ENCODING) for line in lines])
        except (TypeError, ValueError):  # orjson.JSONEncodeError is a TypeError
            data = b"".join([encode_anyhow(line) for line in lines])
        with self._mutex:
            if self._is_busy:  # a signal handler logs in the middle of what this thread does
                self._append(data)
                return
            try:
                self._is_busy = True
                fd = self._direct_fd
                if fd is None:
                    self._append(data)
                else:
                    self._write_direct(fd, data)
            finally:
                if self._is_closing:
                    self._rest()
                self._is_busy = False

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

    def tend(self) -> None:
        """Do what need not be done at every line; the spool's own thread does so once a second."""
        with self._alone():
            self._look_for_place()
            self._drain()
            place = self._place
            unsynced = None
            if place.fd is not None and place.size > self._synced_size:
                # a copy: the segment may be closed while the disk is still at work
                unsynced, self._synced_size = os.dup(place.fd), place.size
        if unsynced is not None:
            try:
                self._sync(unsynced)
            finally:
                os.close(unsynced)

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
                    self._is_busy = False

    def _rest(self) -> None:
        while self._is_closing:
            self._end()

    def _write_direct(self, fd: int, data: bytes) -> None:
        try:
            written = os.write(fd, data)
        except OSError as error:
            self._hold(data)
            self._fail(error)
            return
        place = self._place
        place.size += written
        if written != len(data):
            self._hold(data)
            self._waiting.head_written = written
            self._drain()
        elif place.size >= self._rotate_bytes:
            place.is_full, self._direct_fd = True, None

    def _append(self, data: bytes) -> None:
        if self._direct_fd is not None:
            self._write_direct(self._direct_fd, data)
        elif data:
            self._hold(data)
            if not self._waiting.is_mid_group:
                self._drain()

    def _end(self) -> None:
        self._is_closing = False
        self._drain()
        if self._waiting:
            self.dropped += len(self._waiting)
            _logger.error("call log: %d groups of lines could not be written and are lost", len(self._waiting))
        if self._stop is not None:
            self._stop.set()
            self._stop = None
        place = self._place
        if place.fd is None:
            self._begin(place.worker)
            return
        self._sync(place.fd)
        place.unlock()
        place.release()
        self._begin(None)

    def _hold(self, data: bytes) -> None:
        self._direct_fd = None
        if not self._waiting.hold(data):
            self.dropped += 1

    def _drain(self) -> None:
        """Write what waits; open, rotate and finish short writes on the way."""
        if not self._waiting:
            return
        self._direct_fd = None
        if self._stop is None:
            self._stop = start_tending(self)
        try:
            self._write_waiting()
        except OSError as error:
            self._fail(error)
            return
        self._warned = False
        place = self._place
        if self._syncs_each and place.fd is not None:
            self._sync(place.fd)
        elif not place.is_full:
            self._direct_fd = place.fd

    def _write_waiting(self) -> None:
        waiting = self._waiting
        while waiting:
            fd, place = self._open_segment(), self._place
            written = waiting.write_head(fd)
            place.size += written
            place.is_full |= place.size >= self._rotate_bytes
            if waiting.dropped and not waiting:
                self._tell_dropped()

    def _open_segment(self) -> int:
        """Return the descriptor to append to; a new segment begins only between two groups of lines."""
        place = self._place
        if place.fd is not None and (self._waiting.head_written or not place.is_full):
            return place.fd
        opened = place.begin_segment()
        self._synced_size = self._seen_size = 0
        if self._syncs_each:
            with suppress(OSError):
                place.sync_folder()
        return opened

    def _sync(self, fd: int) -> None:
        try:
            os.fdatasync(fd)
        except OSError as error:
            _logger.warning("call log: %s does not get its lines to the disk (%s)", self._folder, error)
        else:
            if fd == self._place.fd:
                self._synced_size = self._place.size

    def _tell_dropped(self) -> None:
        """Have it in the log itself that lines are missing from it."""
        lost, self._waiting.dropped = self._waiting.dropped, 0
        _logger.warning("call log: writing again; %d groups of lines did not fit into memory and are lost", lost)
        at_us = time.time_ns() // 1000
        line = {"k": "event", "at": at_us, "worker": self.worker, "event": DROPPED_EVENT, "details": {"groups": lost}}
        self._hold(_encode(line, None, _ENCODING))

    def _look_for_place(self) -> None:
        """Leave a segment that nobody will find any more, or that has been in use for long enough."""
        place = self._place
        if place.fd is None or self._waiting.head_written:
            return
        if place.is_there():
            self._seen_size = place.size
            if place.size and time.monotonic() - place.opened_s > ROTATE_S:
                place.is_full, self._direct_fd = True, None
            return
        rescued = place.rescue(self._seen_size)
        _logger.warning(
            "call log: %s was taken away under this process; %d bytes written since are written again, to a new one",
            self._folder,
            len(rescued),
        )
        place.release()
        waiting = self._waiting
        self._begin(None)
        waiting.put_first([rescued])
        self._waiting = waiting

    def _fail(self, error: OSError) -> None:
        if error.errno in _OF_THIS_FILE and self._place.size:
            # another file may do; what is torn here is whole there, and the tear is no line
            self._place.is_full, self._waiting.head_written = True, 0
        if not self._warned:
            self._warned = True
            _logger.warning("call log: cannot write to %s (%s); lines wait in memory", self._folder, error)

    def hold_for_fork(self) -> None:
        """Keep other threads out while this one forks: a file opened in that moment would stay open in the child."""
        self._mutex.acquire()

    def go_on_after_fork(self) -> None:
        """Let other threads in again, in the parent."""
        self._mutex.release()

    def restart_in_child(self) -> None:
        """Begin as a new writer after a fork, in the child; what waits is the parent's to write."""
        self._mutex = threading.RLock()  # the inherited one may be held by a thread that does not exist here
        self._place.release()
        self._is_busy = self._is_closing = False
        self._stop = None
        self.dropped = 0
        self._begin(None)
