"""What happens to a router when its process forks or ends."""

import atexit
import os
import weakref
from collections.abc import Sequence
from typing import Protocol


class StoreUser(Protocol):
    """Holds connections or locks that a fork must find at rest."""

    def before_fork(self) -> None:
        """Wait for what runs, and let nothing begin."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...


class Living(Protocol):
    """What outlives a fork: a router."""

    def store_users(self) -> Sequence[StoreUser]:
        """Return what a fork must find at rest."""
        ...

    def renew_after_fork(self) -> None:
        """Take a forked child's own locks and connections."""
        ...

    def close(self) -> None:
        """End."""
        ...


def follow_forks(router: Living) -> None:
    """Keep a router usable on both sides of every fork, for as long as somebody holds it."""
    alive = weakref.ref(router)
    held: list[StoreUser] = []

    def hold() -> None:
        still = alive()
        for user in () if still is None else still.store_users():
            user.before_fork()
            held.append(user)

    def go_on() -> None:
        while held:
            held.pop().after_fork_in_parent()

    def renew() -> None:
        held.clear()
        still = alive()
        if still is not None:
            still.renew_after_fork()

    os.register_at_fork(before=hold, after_in_parent=go_on, after_in_child=renew)


def close_at_exit(router: Living) -> None:
    """Close a router when the process ends, if somebody still holds it."""
    alive = weakref.ref(router)

    def close() -> None:
        still = alive()
        if still is not None:
            still.close()

    atexit.register(close)
