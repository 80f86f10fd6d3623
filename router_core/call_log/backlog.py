"""What the spool holds that the log does not hold yet."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from router_core.call_log.segments import Segment

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def read_offsets(
    con: "DuckDBPyConnection", ledger: str = "ledger", segments: Collection[str] | None = None
) -> dict[str, int]:
    """Return how far each segment is in the log, bytes by the segment's name.

    Args:
        con: A connection that sees the log.
        ledger: Name of the ledger there; ``log.ledger`` on the writer's connection.
        segments: Only these; None = all.
    """
    if segments is None:
        return dict(con.execute(f"SELECT segment, end_offset FROM {ledger}").fetchall())
    only = f"SELECT segment, end_offset FROM {ledger} WHERE segment IN (SELECT unnest(?))"
    return dict(con.execute(only, [list(segments)]).fetchall())


def unread(segments: Iterable[Segment], offsets: Mapping[str, int]) -> list[Segment]:
    """Return the segments that hold more than the log has of them.

    One that holds less, because power was lost before it was on disk, has nothing left to read.
    """
    return [segment for segment in segments if segment.size > offsets.get(segment.name, 0)]


def unread_bytes(segments: Iterable[Segment], offsets: Mapping[str, int]) -> int:
    """Return how much of the segments is not in the log, bytes."""
    return sum(segment.size - offsets.get(segment.name, 0) for segment in unread(segments, offsets))
