"""Hand edits of the config file into history: each version that is seen gets its number, its bytes and its meaning.

Whoever calls this holds the lock (``attempts``, ``recorder``).
"""

import sqlite3
import time
from dataclasses import dataclass
from typing import Final

from router_core.config.document import MAX_BYTES
from router_core.control import audit, endings, history, proposals
from router_core.control.changes import plain_of
from router_core.control.history import Kept
from router_core.control.site import FileNow, Site

_LOOKS_APART_S: Final = 0.05
_MOST_LOOKS: Final = 20
_VERSIONS_BACK: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A version of the config that was in the file at some moment.

    Attributes:
        data: Its bytes.
        at_us: When.
    """

    data: bytes
    at_us: int


def take_seen(site: Site, seen: Seen) -> None:
    """Give a version that somebody has seen, and that may be gone by now, its number.

    One that is older than what history knows comes too late: it would stand in the wrong place.
    """
    digest = history.digest_of(seen.data)
    with site.store.reading() as con:
        last = None if con is None else history.latest(con, site.key)
        is_known = con is not None and history.knows(con, site.key, digest)
    is_late = last is not None and last.shown.since_us >= seen.at_us
    if len(seen.data) <= MAX_BYTES and not is_known and not is_late:
        _add(site, seen.data, last)


def take_in(site: Site) -> None:
    """Give a version that history has not seen yet its number."""
    with site.store.reading() as con:
        last = None if con is None else history.latest(con, site.key)
    now = site.look()
    if now.data is None or (last is not None and last.digest == now.digest):
        return
    now = _settled(site, now)
    if now is None or now.data is None or (last is not None and last.digest == now.digest):
        return
    _add(site, now.data, last)


def _add(site: Site, data: bytes, last: Kept | None) -> None:
    # found out before the store is locked for others
    plain_before, plain_after, diff = None, plain_of(data), None
    if last is not None:
        with site.store.reading() as con:
            before = b"" if con is None else history.bytes_of(con, last.digest)
        plain_before = readable(site, before)
        diff = history.text_diff(before, data, source=site.config.name)
    with site.store.writing() as con:
        at_us = site.now_us()
        proposals.settle(con, at_us)
        kept = history.add(
            con,
            site.key,
            data,
            since_us=at_us,
            kind="first" if last is None else "hand",
            before_digest=None if last is None else last.digest,
        )
        ended = endings.end_touched(con, plain_before, plain_after, at_us=at_us, how="edited by hand", takes_back=False)
        if last is not None:
            row = audit.make_row(
                audit.BY_HAND,
                "hand",
                "done",
                at_us,
                proposal_ids=ended.others,
                before=last.shown.version,
                after=kept.shown.version,
                diff=diff,
            )
            audit.append(con, row)


def _settled(site: Site, now: FileNow) -> FileNow | None:
    """Return the file once two looks at it agree, so that no half-written save counts; None when they never do."""
    for _ in range(_MOST_LOOKS):
        time.sleep(_LOOKS_APART_S)
        before, now = now, site.look()
        if now == before:
            return now if now.is_keepable else None
    return None


def readable(site: Site, data: bytes) -> object:
    """Return a version as plain data; of one that cannot be read, the last one before it that can."""
    plain = plain_of(data)
    if plain is not None:
        return plain
    with site.store.reading() as con:
        return None if con is None else _last_readable(site, con)


def _last_readable(site: Site, con: sqlite3.Connection) -> object:
    for shown in history.listed(con, site.key, limit=_VERSIONS_BACK, offset=0):
        plain = plain_of(history.bytes_of_version(con, shown.version))
        if plain is not None:
            return plain
    return None
