"""How many forks lie between this process and the first one: it tells a child from its parent as a pid does.

Asking the system for the pid takes half a microsecond, at places that every call passes.
"""

import os
from typing import Final


class _Forks:
    """The process's own count; the same object before and after a fork."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def in_child(self) -> None:
        self.count += 1


FORKS: Final = _Forks()
os.register_at_fork(after_in_child=FORKS.in_child)
