"""Tokens, costs and prices of an imported request as columns."""

from router_core.call_log.importers.columns import cost_columns
from router_core.call_log.importers.costs import cost_of
from router_core.call_log.logged import price_of, usage_of
from router_core.decide.receipt import receipt
from router_core.types import Price, Usage

PRICE = Price(
    input_nusd_per_m=1_000_000_000,
    cached_nusd_per_m=100_000_000,
    write_5m_nusd_per_m=1_250_000_000,
    write_1h_nusd_per_m=2_000_000_000,
    output_nusd_per_m=4_000_000_000,
    reasoning_nusd_per_m=6_000_000_000,
    source="override",
    date="2026-11-01",
)


def test_row_alone_gives_its_cost_again_where_reasoning_and_hour_long_caching_have_their_own_price() -> None:
    usage = Usage(input_tokens=1_000, cache_write_1h_tokens=300, output_tokens=50, reasoning_tokens=20)
    row = cost_columns(usage, cost_of(usage, PRICE, None, failed=False, refused=False))
    extra = row.pop("price_extra")
    again = receipt(usage_of({**dict.fromkeys(Usage.__annotations__), **row}), price_of(row, extra))
    # 700 x 1 + 300 x 2 + 30 x 4 + 20 x 6 USD per million
    assert row["cost_nusd"] == 1_540_000
    assert again.cost_nusd == 1_540_000
