"""Upkeep of the segments that are kept: brought back for a log that lacks them, compressed, removed when old."""

from collections.abc import Mapping
from typing import Final

from router_core.call_log.home import Home
from router_core.call_log.kept import Kept, compress, list_kept, remove, restore
from router_core.call_log.segments import IMPORT_PREFIX, list_segments

KEEP_DAYS: Final = 30
"""Days for which ``watch`` keeps segments when it is not told otherwise."""
_PRUNE_EVERY_S: Final = 3_600.0
_COMPRESS_AFTER_S: Final = 3_600.0
_COMPRESS_BYTES_AT_ONCE: Final = 64 << 20
_BRING_BACK_BYTES_AT_ONCE: Final = 256 << 20


class Archive:
    """The kept segments of one home.

    Args:
        home: Whose.
        keep_days: Days after its last line for which a router's segment is kept; None = none is removed. Those of imports
            are kept in any case.
    """

    def __init__(self, home: Home, keep_days: float | None) -> None:
        self._spool = home.spool
        self._keep_days = keep_days
        self._looked_s: float | None = None

    def bring_back(self, offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Put kept segments that a log with these offsets lacks back into the spool: the oldest, and not too many.

        Returns:
            For each worker with more of them, the number of the first that is still to come.
        """
        missing: dict[str, int] = {}
        brought = 0
        for kept in list_kept(self._spool):
            if kept.is_in(offsets):
                continue
            if brought < _BRING_BACK_BYTES_AT_ONCE:
                brought += restore(self._spool, kept)
            else:
                missing.setdefault(kept.worker, kept.number)
        return missing

    def tidy(self, offsets: Mapping[str, int], now_s: float) -> set[str]:
        """Compress what has lain for an hour, a little at once; remove what is too old, if the log has it.

        Args:
            offsets: What the log has of each segment.
            now_s: The present instant, seconds since the epoch.

        Returns:
            Segments in the ledger of which no file is left.
        """
        if self._looked_s is not None and abs(now_s - self._looked_s) < _PRUNE_EVERY_S:
            return set()
        kept = [each for each in list_kept(self._spool) if each.is_in(offsets)]
        old = [each for each in kept if self._is_old(each, now_s)]
        remove(old)
        removed = {each.name for each in old}
        is_done = self._compress([each for each in kept if each.name not in removed], now_s)
        if is_done:  # else the next tick goes on
            self._looked_s = now_s
        # in this order: a segment that is put away in this moment is seen in one of the two
        here = {segment.name for segment in list_segments(self._spool)}
        return offsets.keys() - here - {each.name for each in list_kept(self._spool)}

    def _is_old(self, kept: Kept, now_s: float) -> bool:
        # an import is the only copy here of what somebody else wrote, and seldom comes again
        return (
            not kept.name.startswith(IMPORT_PREFIX)
            and self._keep_days is not None
            and kept.written_s < now_s - self._keep_days * 86_400
        )

    def _compress(self, kept: list[Kept], now_s: float) -> bool:
        read = 0
        for each in kept:
            if each.is_compressed or each.written_s > now_s - _COMPRESS_AFTER_S:
                continue
            if read >= _COMPRESS_BYTES_AT_ONCE:
                return False
            read += compress(each)
        return True
