"""What a request costs: usage × price row → receipt, by token class.

Tokens fall into disjoint classes: fresh input, cached input, five-minute and one-hour cache writes, output, and output
spent on reasoning. A provider's input count includes the cached and written ones, its output count the reasoning. Where
the parts exceed their whole, the parts are believed: fresh input is then 0, never negative; the cost is never
understated and counts as estimated.

A price of 0 is free because the user declared it so: the price book takes no 0 from a list (``prices.rates``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Final

from router_core.record import maker, record
from router_core.types import Receipt, Usage

if TYPE_CHECKING:
    from router_core.types import CostStatus, Price

TOKENS_PER_PRICE: Final = 1_000_000
_HALF: Final = TOKENS_PER_PRICE // 2
_PESSIMISTIC: Final = "pessimistic"
_CLASSES: Final = ("input", "cached", "write_5m", "write_1h", "output", "reasoning")


@record
class TokenClasses:
    """Tokens of one request in disjoint classes, none negative.

    Attributes:
        fresh: Prompt tokens at the full input price.
        cached: Prompt tokens read from the provider's cache.
        write_5m: Prompt tokens written to the five-minute cache.
        write_1h: Prompt tokens written to the one-hour cache.
        output: Completion tokens but those of reasoning.
        reasoning: Completion tokens spent on reasoning.
        contradictory: Whether the usage did not add up (parts larger than their whole, or negative counts).
    """

    fresh: int
    cached: int
    write_5m: int
    write_1h: int
    output: int
    reasoning: int = 0
    contradictory: bool = False

    @property
    def input(self) -> int:
        """All prompt tokens."""
        return self.fresh + self.cached + self.write_5m + self.write_1h


_make_receipt = maker(Receipt)
_make_classes = maker(TokenClasses)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCost:
    """One line of a printed receipt.

    Attributes:
        name: ``input``, ``cached``, ``write_5m``, ``write_1h``, ``output`` or ``reasoning``.
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
    reported, output = usage.input_tokens or 0, usage.output_tokens or 0
    cached, reasoning = usage.cached_tokens, usage.reasoning_tokens
    write_5m, write_1h = usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
    negative = reported < 0 or output < 0 or cached < 0 or reasoning < 0 or write_5m < 0 or write_1h < 0
    if negative:
        counts = (reported, output, cached, reasoning, write_5m, write_1h)
        reported, output, cached, reasoning, write_5m, write_1h = (max(0, count) for count in counts)
    parts = cached + write_5m + write_1h
    return _make_classes(
        fresh=reported - parts if reported > parts else 0,
        cached=cached,
        write_5m=write_5m,
        write_1h=write_1h,
        output=output - reasoning if output > reasoning else 0,
        reasoning=reasoning,
        contradictory=parts > reported or reasoning > output or negative,
    )


def row_for(price: "Price", input_tokens: int) -> "Price":
    """Return the row that holds for a request of this input size (long requests may have their own)."""
    while price.long_price is not None and price.long_above_tokens is not None:
        if input_tokens <= price.long_above_tokens:
            break
        price = price.long_price
    return price


def by_class(usage: Usage, price: "Price", cost_nusd: int | None = None) -> tuple[ClassCost, ...]:
    """Return the lines of the receipt, one per token class that occurs.

    Each line gets its exact cost rounded down; what is then missing to the rounded total goes, one nano-dollar each,
    to the lines with the largest remainders (ties: the earlier line).

    Args:
        usage: Tokens of the request, or of one item's share of it.
        price: The price row.
        cost_nusd: What the lines add up to where that is another rounding of the same sum, as an item's share of a
            packed request is. Any other amount is left alone.
    """
    tokens = token_classes(usage)
    rates = _rates(row_for(price, tokens.input))
    lines = [line for line in zip(_CLASSES, _counts(tokens), rates, strict=True) if line[1]]
    micro = sum(n * rate for _, n, rate in lines)
    total = cost_nusd if lines and cost_nusd is not None and is_rounding(cost_nusd, micro) else _round_half_even(micro)
    costs = [n * rate // TOKENS_PER_PRICE for _, n, rate in lines]
    by_remainder = sorted(range(len(lines)), key=lambda i: -(lines[i][1] * lines[i][2] % TOKENS_PER_PRICE))
    missing = total - sum(costs)
    for i in range(missing):
        costs[by_remainder[i % len(lines)]] += 1
    if missing < 0:
        costs[costs.index(max(costs))] += missing
    return tuple(
        ClassCost(name=name, tokens=n, nusd_per_m=rate, cost_nusd=cost)
        for (name, n, rate), cost in zip(lines, costs, strict=True)
    )


def is_rounding(nusd: int, micro: int) -> bool:
    """Return whether an amount is a share that ``split_nusd`` may give to an item that costs exactly ``micro`` / 10⁶.

    A request's total is rounded by at most half a nano-dollar, and each share of it by less than a whole one.
    """
    return 2 * abs(nusd * TOKENS_PER_PRICE - micro) < 3 * TOKENS_PER_PRICE


def computed_nusd(tokens: TokenClasses, row: "Price") -> int:
    """Return the cost in nano-dollars: Σ tokens × price / 10⁶ over the classes, the exact sum rounded half to even."""
    return _round_half_even(sum(map(mul, _counts(tokens), _rates(row))))


def exact_micro(usage: Usage, price: "Price") -> int:
    """Return what a usage costs in millionths of a nano-dollar, not rounded: the weight of an item's share.

    Args:
        usage: The item's tokens.
        price: The row that holds for the request.
    """
    return sum(map(mul, _counts(token_classes(usage)), _rates(price)))


def split_nusd(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Return a whole amount split by weight into whole shares that add up to it exactly, in the weights' order.

    Largest remainder: each share is its exact part rounded down, and what is then missing goes, one each, to the shares
    with the largest remainders (ties: the earlier share). Weights that are all 0 count as equal. It splits tokens of a
    packed request as well as its cost; a cost split by the items' exact costs leaves each a rounding of its own.

    Args:
        total: The amount, not negative.
        weights: One per share, none negative; at least one.

    Raises:
        ValueError: There are no weights, or an amount is negative.
    """
    if not weights or total < 0 or min(weights) < 0:
        raise ValueError("only an amount that is not negative can be split, by at least one weight, none negative")
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return tuple(shares)


def receipt(
    usage: Usage, price: "Price | None", *, reported_nusd: int | None = None, estimated: bool = False
) -> Receipt:
    """Return what a request cost and how that is known.

    A cost that the provider reported counts before a computed one, even when it is 0. Otherwise: without a price it is
    ``unpriced``, without token counts ``unknown``. It is ``estimated`` where the tokens are, or do not add up; where
    the row is pessimistic or stands in for that of a service tier; and where something was used that has a price
    outside of the row: sound, pictures, video, web searches.

    Args:
        usage: Tokens of the request.
        price: The model's price row at the time of the request; None = no list knows the model.
        reported_nusd: The cost the provider itself reported, nano-dollars.
        estimated: Whether the token counts are an estimate.
    """
    if reported_nusd is None and price is not None and not estimated and _is_plain(usage, price):
        cost = estimate(usage.input_tokens or 0, usage.output_tokens or 0, price)
        return _make_receipt(cost_nusd=cost, cost_status="exact", price=price)
    tokens = token_classes(usage)
    row = price if price is None or price.long_price is None else row_for(price, tokens.input)
    if reported_nusd is not None:
        return Receipt(cost_nusd=reported_nusd, cost_status="provider", cost_source_nusd=reported_nusd, price=row)
    if row is None:
        return Receipt(cost_nusd=None, cost_status="unpriced")
    if usage.input_tokens is None or usage.output_tokens is None:
        return Receipt(cost_nusd=None, cost_status="unknown", price=row)
    guess = estimated or tokens.contradictory or _is_guess(usage, row)
    status: CostStatus = "estimated" if guess else "exact"
    return _make_receipt(cost_nusd=computed_nusd(tokens, row), cost_status=status, price=row)


def estimate(input_tokens: int, output_tokens: int, price: "Price | None") -> int | None:
    """Return the cost of a request of this size without any caching, nano-dollars; None without a price."""
    if price is None:
        return None
    row = price if price.long_price is None else row_for(price, input_tokens)
    return _round_half_even(input_tokens * row.input_nusd_per_m + output_tokens * row.output_nusd_per_m)


def worst_case(input_tokens: int, output_tokens: int, price: "Price | None") -> int | None:
    """Return the most a request of this size can cost, every token at its dearest class; None without a price."""
    if price is None:
        return None
    row = row_for(price, input_tokens)
    dearest = max(row.input_nusd_per_m, row.cached_nusd_per_m, row.write_5m_nusd_per_m, row.write_1h_nusd_per_m)
    total = input_tokens * dearest + output_tokens * max(row.output_nusd_per_m, row.reasoning_nusd_per_m or 0)
    return -(-total // TOKENS_PER_PRICE)


def _counts(tokens: TokenClasses) -> tuple[int, ...]:
    """Return the tokens in the order of ``_CLASSES``."""
    return tokens.fresh, tokens.cached, tokens.write_5m, tokens.write_1h, tokens.output, tokens.reasoning


def _rates(row: "Price") -> tuple[int, ...]:
    """Return the prices in the order of ``_CLASSES``."""
    output, reasoning = row.output_nusd_per_m, row.reasoning_nusd_per_m
    return (
        row.input_nusd_per_m,
        row.cached_nusd_per_m,
        row.write_5m_nusd_per_m,
        row.write_1h_nusd_per_m,
        output,
        output if reasoning is None else reasoning,
    )


def _is_plain(usage: Usage, row: "Price") -> bool:
    """Return whether there is nothing but fresh input and output, at one certain price each: as mostly."""
    return (
        usage.input_tokens is not None
        and usage.output_tokens is not None
        and usage.input_tokens >= 0
        and usage.output_tokens >= 0
        and not (usage.cached_tokens or usage.reasoning_tokens or usage.media_tokens or usage.web_searches)
        and not (usage.cache_write_5m_tokens or usage.cache_write_1h_tokens)
        and row.long_price is None
        and not row.is_stand_in
        and row.source != _PESSIMISTIC
    )


def _is_guess(usage: Usage, row: "Price") -> bool:
    beside = usage.web_searches > 0 or (usage.media_tokens > 0 and row.is_text_only)
    return beside or row.is_stand_in or row.source == _PESSIMISTIC


def _round_half_even(micro: int) -> int:
    whole, rest = divmod(micro, TOKENS_PER_PRICE)
    return whole + (rest > _HALF or (rest == _HALF and whole % 2 == 1))
