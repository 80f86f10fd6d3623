"""Lines that could not be written yet: bounded, in order, and none of them torn."""

import os
from collections import deque
from collections.abc import Iterable
from typing import Final

MAX_PENDING: Final = 10_000
MAX_PENDING_BYTES: Final = 64 << 20


class Waiting:
    """Groups of lines that wait for the disk; not safe to share between threads.

    The oldest are kept: what comes when it is full is dropped, and counted.

    Attributes:
        dropped: Groups dropped since this was last told.
        head_written: Bytes of the first group that are in the segment already.
        is_mid_group: True while the rest of such a group is being written.
    """

    def __init__(self) -> None:
        self._groups: deque[bytes] = deque()
        self._bytes = 0
        self.dropped = 0
        self.head_written = 0
        self.is_mid_group = False

    def __len__(self) -> int:
        """Return how many groups wait."""
        return len(self._groups)

    def hold(self, data: bytes) -> bool:
        """Take in a group at the end; return False when there is no room for it."""
        if len(self._groups) >= MAX_PENDING or self._bytes + len(data) > MAX_PENDING_BYTES:
            self.dropped += 1
            return False
        self._groups.append(data)
        self._bytes += len(data)
        return True

    def put_first(self, groups: Iterable[bytes]) -> None:
        """Put groups before all others, in their order; there is always room for them."""
        found = [group for group in groups if group]
        self._groups.extendleft(reversed(found))
        self._bytes += sum(map(len, found))

    def write_head(self, fd: int) -> int:
        """Write the first group, or what is left of it; return how many bytes were.

        Raises:
            OSError: Nothing was written; the group waits on.
        """
        # taken out first: a signal handler that closes the log in the next moment must not write it again
        group = self._groups.popleft()
        start, self.head_written = self.head_written, 0
        self.is_mid_group = start > 0
        written = 0
        try:
            written = os.write(fd, group[start:] if start else group)
        finally:
            self.is_mid_group = False
            if start + written < len(group):
                # the rest continues the same bytes of the same segment, so a full disk never tears a line
                self._groups.appendleft(group)
                self.head_written = start + written
            else:
                self._bytes -= len(group)
        return written
