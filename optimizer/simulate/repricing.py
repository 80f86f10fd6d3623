"""What many requests would cost at another price: ``router_core.decide.receipt`` for whole columns of tokens."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router_core.decide.receipt import TOKENS_PER_PRICE
from router_core.types import Price

Ints = npt.NDArray[np.int64]

_MOST_NUSD = 2**62


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """Tokens of requests as their providers counted them; shape ``(n_requests,)`` each.

    Attributes:
        input: All prompt tokens; negative = not reported.
        cached: Those read from the provider's cache.
        write_5m: Those written to the five-minute cache.
        write_1h: Those written to the one-hour cache.
        output: All completion tokens; negative = not reported.
    """

    input: Ints
    cached: Ints
    write_5m: Ints
    write_1h: Ints
    output: Ints

    def where(self, rows: npt.NDArray[np.bool_]) -> "Tokens":
        """Return the tokens of some of the requests."""
        return Tokens(
            input=self.input[rows],
            cached=self.cached[rows],
            write_5m=self.write_5m[rows],
            write_1h=self.write_1h[rows],
            output=self.output[rows],
        )


def reprice(tokens: Tokens, price: Price) -> Ints:
    """Return what requests of these tokens cost, nano-dollars, shape ``(n_requests,)``; -1 where it is not known.

    Every class of tokens counts at its own price, cached ones as cached there too. Not known: input or output tokens
    that were not reported, and amounts that no integer of 64 bits holds.
    """
    known = (tokens.input >= 0) & (tokens.output >= 0)
    cached, write_5m, write_1h = (np.maximum(part, 0) for part in (tokens.cached, tokens.write_5m, tokens.write_1h))
    parts = cached + write_5m + write_1h
    fresh, output = np.maximum(tokens.input - parts, 0), np.maximum(tokens.output, 0)
    cost = _cost((fresh, cached, write_5m, write_1h, output), price)
    row, is_long = price, np.ones(len(cost), dtype=np.bool_)
    while row.long_price is not None and row.long_above_tokens is not None:
        # each row leads to the next one only, whatever that one's own threshold
        is_long = is_long & (fresh + parts > row.long_above_tokens)
        row = row.long_price
        cost = np.where(is_long, _cost((fresh, cached, write_5m, write_1h, output), row), cost)
    return np.where(known, cost, -1)


def _cost(classes: tuple[Ints, ...], row: Price) -> Ints:
    rates = (
        row.input_nusd_per_m,
        row.cached_nusd_per_m,
        row.write_5m_nusd_per_m,
        row.write_1h_nusd_per_m,
        row.output_nusd_per_m,
    )
    pairs = [(tokens, rate) for tokens, rate in zip(classes, rates, strict=True) if rate]
    roughly = sum((tokens * float(rate) for tokens, rate in pairs), np.zeros(len(classes[0])))
    micro = np.zeros(len(classes[0]), dtype=np.int64)
    for tokens, rate in pairs:
        # where the product would not fit it is not used, so what it wraps around to is of no account
        micro += tokens * np.int64(min(rate, _MOST_NUSD))
    whole, rest = np.divmod(micro, TOKENS_PER_PRICE)
    half = TOKENS_PER_PRICE // 2
    # half to even, as a receipt does
    rounded = whole + ((rest > half) | ((rest == half) & (whole % 2 == 1)))
    return np.where(roughly < _MOST_NUSD, rounded, -1)
