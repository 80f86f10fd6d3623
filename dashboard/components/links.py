"""Ways from one page to another."""

from collections.abc import Callable
from dataclasses import dataclass


def _nowhere(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What a click leads to; each function opens a page and does not return.

    Attributes:
        payload_type: Opens the page of a payload type.
        call: Opens the page of a call.
        page: Opens another page by its address: ``recommendations``, ``caps``, ``budgets``, ``data``.
    """

    payload_type: Callable[[str], None] = _nowhere
    call: Callable[[str], None] = _nowhere
    page: Callable[[str], None] = _nowhere
