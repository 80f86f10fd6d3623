"""What a request costs: usage × price row → receipt, by token class.

Tokens fall into disjoint classes: fresh input, cached input, five-minute and one-hour cache writes, and output
(reasoning included). A provider's input count includes the cached and written ones. Where the parts exceed that whole,
the parts are believed: fresh input is then 0, never negative; the cost is never understated and counts as estimated.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from router_core.types import Receipt, Usage

if TYPE_CHECKING:
    from router_core.types import CostStatus, Price

TOKENS_PER_PRICE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClasses:
    """Tokens of one request in disjoint classes, none negative.

    Attributes:
        fresh: Prompt tokens at the full input price.
        cached: Prompt tokens read from the provider's cache.
        write_5m: Prompt tokens written to the five-minute cache.
        write_1h: Prompt tokens written to the one-hour cache.
        output: Completion tokens, reasoning included.
        contradictory: Whether the usage did not add up (parts larger than their whole, or negative counts).
    """

    fresh: int
    cached: int
    write_5m: int
    write_1h: int
    output: int
    contradictory: bool = False

    @property
    def input(self) -> int:
        """All prompt tokens."""
        return self.fresh + self.cached + self.write_5m + self.write_1h


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCost:
    """One line of a printed receipt.

    Attributes:
        name: ``input``, ``cached``, ``write_5m``, ``write_1h`` or ``output``.
        tokens: Tokens of the class.
        nusd_per_m: Their price, nano-dollars per million.
        cost_nusd: Their share of the cost, nano-dollars; the shares add up to the cost exactly.
    """

    name: str
    tokens: int
    nusd_per_m: int
    cost_nusd: int


def token_classes(usage: Usage) -> TokenClasses:
    """Return the usage in disjoint classes; counts that were not reported are 0."""
    reported = usage.input_tokens or 0
    output = usage.output_tokens or 0
    cached = max(0, usage.cached_tokens)
    write_5m, write_1h = max(0, usage.cache_write_5m_tokens), max(0, usage.cache_write_1h_tokens)
    parts = cached + write_5m + write_1h
    counts = (reported, output, usage.cached_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens)
    return TokenClasses(
        fresh=max(0, reported - parts),
        cached=cached,
        write_5m=write_5m,
        write_1h=write_1h,
        output=max(0, output),
        contradictory=parts > max(0, reported) or min(counts) < 0,
    )


def row_for(price: "Price", input_tokens: int) -> "Price":
    """Return the row that holds for a request of this input size (long requests may have their own)."""
    while price.long_price is not None and price.long_above_tokens is not None:
        if input_tokens <= price.long_above_tokens:
            break
        price = price.long_price
    return price


def by_class(usage: Usage, price: "Price") -> tuple[ClassCost, ...]:
    """Return the lines of the receipt, one per token class that occurs.

    Each line gets its exact cost rounded down; what is then missing to the rounded total goes, one nano-dollar each,
    to the lines with the largest remainders (ties: the earlier line).
    """
    tokens = token_classes(usage)
    lines = [line for line in _lines(tokens, row_for(price, tokens.input)) if line[1]]
    total = _round_half_even(sum(n * rate for _, n, rate in lines))
    floors = [n * rate // TOKENS_PER_PRICE for _, n, rate in lines]
    by_remainder = sorted(range(len(lines)), key=lambda i: -(lines[i][1] * lines[i][2] % TOKENS_PER_PRICE))
    for i in by_remainder[: total - sum(floors)]:
        floors[i] += 1
    return tuple(
        ClassCost(name=name, tokens=n, nusd_per_m=rate, cost_nusd=cost)
        for (name, n, rate), cost in zip(lines, floors, strict=True)
    )


def computed_nusd(tokens: TokenClasses, row: "Price") -> int:
    """Return the cost in nano-dollars: Σ tokens × price / 10⁶ over the classes, the exact sum rounded half to even."""
    return _round_half_even(sum(n * rate for _, n, rate in _lines(tokens, row)))


def receipt(
    usage: Usage, price: "Price | None", *, reported_nusd: int | None = None, estimated: bool = False
) -> Receipt:
    """Return what a request cost and how that is known.

    A cost that the provider reported counts before a computed one, even when it is 0. Otherwise: no price, or a list's
    price of 0 for tokens that were used, is ``unpriced``; missing token counts are ``unknown``; estimated tokens,
    tokens that do not add up and pessimistic prices make it ``estimated``.

    Args:
        usage: Tokens of the request.
        price: The model's price row at the time of the request; None = no list knows the model.
        reported_nusd: The cost the provider itself reported, nano-dollars.
        estimated: Whether the token counts are an estimate.
    """
    tokens = token_classes(usage)
    row = None if price is None else row_for(price, tokens.input)
    if reported_nusd is not None:
        return Receipt(cost_nusd=reported_nusd, cost_status="provider", cost_source_nusd=reported_nusd, price=row)
    if row is None:
        return Receipt(cost_nusd=None, cost_status="unpriced")
    if _undeclared_zero(tokens, row):
        return Receipt(cost_nusd=None, cost_status="unpriced", price=row)
    if usage.input_tokens is None or usage.output_tokens is None:
        return Receipt(cost_nusd=None, cost_status="unknown", price=row)
    guess = estimated or tokens.contradictory or row.source == "pessimistic"
    status: CostStatus = "estimated" if guess else "exact"
    return Receipt(cost_nusd=computed_nusd(tokens, row), cost_status=status, price=row)


def estimate(input_tokens: int, output_tokens: int, price: "Price | None") -> int | None:
    """Return the cost of a request of this size without any caching, nano-dollars; None without a price."""
    if price is None:
        return None
    row = row_for(price, input_tokens)
    tokens = TokenClasses(fresh=input_tokens, cached=0, write_5m=0, write_1h=0, output=output_tokens)
    return None if _undeclared_zero(tokens, row) else computed_nusd(tokens, row)


def worst_case(input_tokens: int, output_tokens: int, price: "Price | None") -> int | None:
    """Return the most a request of this size can cost, every input token at its dearest class; None without a price."""
    if price is None:
        return None
    row = row_for(price, input_tokens)
    dearest = max(row.input_nusd_per_m, row.cached_nusd_per_m, row.write_5m_nusd_per_m, row.write_1h_nusd_per_m)
    total = input_tokens * dearest + output_tokens * row.output_nusd_per_m
    return -(-total // TOKENS_PER_PRICE)


def _lines(tokens: TokenClasses, row: "Price") -> tuple[tuple[str, int, int], ...]:
    return (
        ("input", tokens.fresh, row.input_nusd_per_m),
        ("cached", tokens.cached, row.cached_nusd_per_m),
        ("write_5m", tokens.write_5m, row.write_5m_nusd_per_m),
        ("write_1h", tokens.write_1h, row.write_1h_nusd_per_m),
        ("output", tokens.output, row.output_nusd_per_m),
    )


def _undeclared_zero(tokens: TokenClasses, row: "Price") -> bool:
    if row.source == "override":
        return False
    used = [rate for _, n, rate in _lines(tokens, row) if n]
    return bool(used) and not any(used)


def _round_half_even(micro: int) -> int:
    whole, rest = divmod(micro, TOKENS_PER_PRICE)
    half = TOKENS_PER_PRICE // 2
    return whole + (rest > half or (rest == half and whole % 2 == 1))
