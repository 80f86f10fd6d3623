"""Rates of a list → price rows. Here stand the rules that hold for every list.

- A rate of 0 is not a price but a gap, because lists use it for what they do not know: only an override declares a
  model free.
- A class of tokens without a rate of its own costs the dearest plain alternative: cached input and five-minute writes
  cost the input price, one-hour writes what five-minute writes cost, reasoning what output costs.
- A service tier's class without a rate of its own keeps the standard one, unless the tier is the dearer one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from router_core.types import NANO, Price

Rates = Mapping[str, Decimal | None]
"""USD per million tokens by class: input, cached, write_5m, write_1h, output, reasoning."""
Sizes = tuple[int | None, int | None]
"""Largest completion and largest input of a model, tokens, as far as a list knows them."""

_OF_INPUT: Final = frozenset({"cached", "write_5m", "write_1h"})


def nusd_per_m(usd_per_m: Decimal) -> int:
    """Return USD per million tokens as nano-dollars per million, rounded half to even."""
    return int((usd_per_m * NANO).to_integral_value(rounding=ROUND_HALF_EVEN))


def row_of(rates: Rates, *, source: str, date: str, sizes: Sizes, is_text_only: bool = False) -> Price | None:
    """Return a list's row; None unless input and output have a price."""
    given = {name: rate for name, rate in rates.items() if rate}
    if "input" not in given or "output" not in given:
        return None
    write_5m = given.get("write_5m", given["input"])
    reasoning = given.get("reasoning", given["output"])
    return Price(
        input_nusd_per_m=nusd_per_m(given["input"]),
        cached_nusd_per_m=nusd_per_m(given.get("cached", given["input"])),
        write_5m_nusd_per_m=nusd_per_m(write_5m),
        write_1h_nusd_per_m=nusd_per_m(given.get("write_1h", write_5m)),
        output_nusd_per_m=nusd_per_m(given["output"]),
        reasoning_nusd_per_m=None if reasoning == given["output"] else nusd_per_m(reasoning),
        source=source,
        date=date,
        max_output_tokens=sizes[0],
        context_tokens=sizes[1],
        is_text_only=is_text_only,
    )


def of_tier(own: Rates, standard: Rates) -> Rates:
    """Return the rates of a service tier from those that name it and the standard ones."""
    dearer = (own.get("input") or Decimal(0)) > (standard.get("input") or Decimal(0))
    return {name: own.get(name) or (None if dearer and name in _OF_INPUT else rate) for name, rate in standard.items()}


def with_steps(base: Price, steps: Iterable[tuple[int, Price | None]]) -> Price:
    """Return the row with the rows for longer requests attached, lowest threshold outermost.

    Args:
        base: The row from the first token on.
        steps: Input sizes above which another row holds, with that row.
    """
    above: int | None = None
    long: Price | None = None
    for start, row in sorted(steps, key=lambda step: step[0], reverse=True):
        if row is not None:
            above, long = start, replace(row, long_above_tokens=above, long_price=long)
    return base if long is None else replace(base, long_above_tokens=above, long_price=long)
