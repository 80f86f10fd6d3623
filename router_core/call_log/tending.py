"""What happens to spools beside their writes: a thread that looks after one, and forks of the process."""

import logging
import os
import threading
import weakref
from contextlib import suppress
from typing import Final, Protocol

from router_core.errors import place_of

_EVERY_S: Final = 1.0
_logger = logging.getLogger("router_core.call_log")


class Tended(Protocol):
    """What a thread looks after."""

    def tend(self) -> None:
        """Do what need not be done at every line."""
        ...


class Forked(Tended, Protocol):
    """A spool, as seen from here."""

    def hold_for_fork(self) -> None:
        """Keep other threads out while this one forks."""
        ...

    def go_on_after_fork(self) -> None:
        """Let other threads in again, in the parent."""
        ...

    def restart_in_child(self) -> None:
        """Begin anew, in the child."""
        ...


def start_tending(spool: Tended) -> threading.Event:
    """Have something tended once a second until it is gone or the event returned is set."""
    stop = threading.Event()
    thread = threading.Thread(target=_tend, args=(weakref.ref(spool), stop), name="tierwise-spool", daemon=True)
    with suppress(RuntimeError):  # at the interpreter's end there are no new threads
        thread.start()
    return stop


def _tend(spool: "weakref.ref[Tended]", stop: threading.Event) -> None:
    while not stop.wait(_EVERY_S):
        tended = spool()
        if tended is None:
            return
        try:
            tended.tend()
        except Exception as error:  # noqa: BLE001 - the next time may do better
            _logger.error("call log: could not be tended: %s", place_of(error))
        del tended


class _Forks:
    """The spools of the process, and which of them are held while a thread of it forks."""

    def __init__(self) -> None:
        self.spools: weakref.WeakSet[Forked] = weakref.WeakSet()
        self._held: list[Forked] = []

    def before(self) -> None:
        # else a file that another thread opens in that moment would stay open in the child, and with it a lock
        self._held = list(self.spools)
        for spool in self._held:
            spool.hold_for_fork()

    def in_parent(self) -> None:
        for spool in self._held:
            spool.go_on_after_fork()
        self._held = []

    def in_child(self) -> None:
        for spool in self._held:
            spool.restart_in_child()
        self._held = []


_forks: Final = _Forks()
os.register_at_fork(before=_forks.before, after_in_parent=_forks.in_parent, after_in_child=_forks.in_child)


def renew_in_children(spool: Forked) -> None:
    """Have a spool begin anew in every child that this process forks."""
    _forks.spools.add(spool)
