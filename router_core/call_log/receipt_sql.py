"""What a logged attempt costs by its own row, in SQL: tokens × prices by class, as ``decide.receipt`` computes it.

The rare prices that have no column are read from ``extra``: ``price_write_1h``, ``price_reasoning``.
"""

from typing import TYPE_CHECKING, Final

from router_core.call_log.weeks import Week

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# HUGEINT: tokens × price passes 2^63 long before either does. A row whose cost has more than 33 digits counts as one
# without, so that sums of the others stay within 2^127 as well
_TOKENS: Final = "greatest(0, coalesce({a}.{name}, 0))::HUGEINT"
_EXTRA: Final = "TRY_CAST({a}.extra->>'$.{name}' AS BIGINT)"


def micro_sql(alias: str) -> str:
    """Return the expression of a row's exact cost in millionths of a nano-dollar; NULL without prices or tokens."""
    a = alias
    names = ("input_tokens", "cached_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    whole, cached, minutes, hour = (_TOKENS.format(a=a, name=name) for name in names)
    output, reasoning = (_TOKENS.format(a=a, name=name) for name in ("output_tokens", "reasoning_tokens"))
    write = f"coalesce({a}.price_write, {a}.price_in)"
    hour_price, reasoning_price = (_EXTRA.format(a=a, name=name) for name in ("price_write_1h", "price_reasoning"))
    return f"""
        CASE WHEN {a}.price_in IS NOT NULL AND {a}.price_out IS NOT NULL
              AND {a}.input_tokens IS NOT NULL AND {a}.output_tokens IS NOT NULL THEN TRY(CAST(
            greatest(0, {whole} - {cached} - {minutes} - {hour}) * {a}.price_in
            + {cached} * coalesce({a}.price_cached, {a}.price_in)
            + {minutes} * {write} + {hour} * coalesce({hour_price}, {write})
            + greatest(0, {output} - {reasoning}) * {a}.price_out
            + {reasoning} * coalesce({reasoning_price}, {a}.price_out) AS DECIMAL(33, 0))::HUGEINT) END"""


def half_even_sql(micro: str) -> str:
    """Return the expression of millionths as whole nano-dollars, rounded half to even."""
    whole, rest = f"(({micro}) // 1000000)", f"(({micro}) % 1000000)"
    return f"({whole} + CASE WHEN {rest} > 500000 OR ({rest} = 500000 AND {whole} % 2 = 1) THEN 1 ELSE 0 END)"


def computed_sql(alias: str) -> str:
    """Return the expression of what a row's tokens cost at the row's prices, nano-dollars; NULL without either."""
    return half_even_sql(micro_sql(alias))


def view_sql() -> str:
    """Return the SELECT of the view ``attempt_receipts``: attempts with what they cost by their own row.

    ``computed_nusd`` is that cost; ``drift_nusd`` is what the provider reported (``cost_source_nusd``) less that.
    """
    return f"""
        SELECT *, cost_source_nusd - computed_nusd AS drift_nusd
        FROM (SELECT a.*, {computed_sql("a")} AS computed_nusd FROM attempts AS a)"""


def unexplained_requests(con: "DuckDBPyConnection", limit: int = 20, week: Week | None = None) -> list[str]:
    """Return requests whose computed cost does not follow from their rows, dearest first: there should be none.

    Costs of status exact and estimated are computed; where tokens and prices are logged, they give the cost exactly.
    Items of a packed request do so together: their shares are another rounding of the same sum.

    Args:
        con: The log, open for reading.
        limit: Most requests returned.
        week: Only those that began in it; None = all.
    """
    within, values = ("true", {}) if week is None else (week.holds("started_at"), week.values())
    odd = f"""
        SELECT DISTINCT coalesce(request_id, attempt_id) FROM attempts AS a
        WHERE {within} AND cost_status IN ('exact', 'estimated') AND {computed_sql("a")} <> cost_nusd"""
    rows = con.execute(
        f"""SELECT coalesce(request_id, attempt_id) AS request FROM attempts AS a
            WHERE {within} AND coalesce(request_id, attempt_id) IN ({odd}) GROUP BY request
            HAVING {half_even_sql(f"sum({micro_sql('a')})")} IS DISTINCT FROM sum(cost_nusd)
            ORDER BY sum(cost_nusd) DESC, request LIMIT $limit""",
        {"limit": limit, **values},
    ).fetchall()
    return [row[0] for row in rows]
