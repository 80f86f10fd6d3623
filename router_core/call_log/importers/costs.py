"""What an imported request cost: the source's figure and ours, and which of them counts.

A cost that the source reports counts (status ``provider``), with two exceptions: a 0 for tokens that were used is what
tools write for a price they do not know, so ours counts; and a 0 for a request that failed without any tokens counts
only where the provider surely charged nothing.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from router_core.decide.receipt import receipt

if TYPE_CHECKING:
    from router_core.types import CostStatus, Price, Usage

# refused before any work was done; after timeouts, broken connections and server errors nobody knows
_REFUSED: Final = re.compile(
    r"rate.?limit|quota|auth|permission|denied|forbidden|bad.?request|invalid.?request|not.?found|unprocessable"
    r"|unsupported|context.?window|context.?length|budget|payment|content.?policy",
    re.I,
)
_HTTP_TYPE: Final = re.compile(r"http_(\d{3})")
_REFUSED_CODES: Final = frozenset(range(400, 500)) - {408, 499}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a request cost, and who says so.

    Attributes:
        nusd: The cost that counts, nano-dollars; None when nobody knows it.
        status: How it is known.
        source_nusd: What the source says.
        computed_nusd: What the price book says for its time; None without a price or without token counts.
        price: The price row that was used for it.
    """

    nusd: int | None
    status: "CostStatus"
    source_nusd: int | None
    computed_nusd: int | None
    price: "Price | None"


def cost_of(usage: "Usage", price: "Price | None", source_nusd: int | None, *, failed: bool, refused: bool) -> Cost:
    """Return the cost of a request.

    Args:
        usage: Its tokens.
        price: The model's price row at its time.
        source_nusd: The cost that the source reports, nano-dollars.
        failed: Whether it failed.
        refused: Whether the provider surely did no work for it; only looked at when it failed.
    """
    used = max(usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_tokens) > 0
    ours = receipt(usage, price)
    nusd, status = ours.cost_nusd, ours.cost_status
    if source_nusd:
        nusd, status = source_nusd, "provider"
    elif not used and failed:
        nusd, status = (0, "exact") if refused else (None, "unknown")
    elif not used and source_nusd is not None:
        nusd, status = 0, "provider"
    return Cost(
        nusd=nusd,
        status=status,
        source_nusd=source_nusd,
        computed_nusd=ours.cost_nusd if used else None,
        price=ours.price,
    )


def is_refusal(error_type: str | None, error_code: str | None) -> bool:
    """Return whether a failure is one for which providers charge nothing."""
    told = _HTTP_TYPE.fullmatch(error_type or "")
    code = told[1] if told is not None else error_code
    if code is not None and code.isdecimal() and int(code) in _REFUSED_CODES:
        return True
    return error_type is not None and _REFUSED.search(error_type) is not None
