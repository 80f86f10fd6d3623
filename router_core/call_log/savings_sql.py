"""What cheaper ways have saved, per call and kind, in SQL over the log's own rows.

Each kind is compared with what the call would have cost without it, at the prices of its own rows:

- ``packing``: a request of its own (``extra.pack``: its prompt and its answer at the packed request's rates);
- ``correction``: the whole answer once more from the same target (the draft's tokens at its prices);
- ``cache``: the attempts that an earlier run has paid for, up to the answer that was taken up;
- ``check``: the mean cost of the type's calls that took their path, for what a pre-check has answered;
- ``cheap_first``: the same tokens at the latest price of the tier that such calls go up to; of a call that did go up,
  what the tries below have cost, as a loss. Types of which no call ever went up have none.

Packing and correction are net: what was spoiled or refused counts as a loss. Only the first three rest on the call's
own tokens alone; ``check`` and ``cheap_first`` are estimates.
"""

from typing import Final

from router_core.call_log.receipt_sql import half_even_sql
from router_core.call_log.schema import TOOK_ITS_PATH

KINDS: Final = ("check", "cache", "packing", "correction", "cheap_first")
_WHOLE: Final = "role IN ('serve', 'retry', 'fallback', 'escalate') AND status = 'ok'"


def _cost(tokens: str, prices: str) -> str:
    """Return the expression of what tokens of one row cost at another's prices."""
    micro = (
        f"(greatest(0, {tokens}.input_tokens)::HUGEINT * {prices}.price_in"
        f" + greatest(0, {tokens}.output_tokens)::HUGEINT * {prices}.price_out)"
    )
    return half_even_sql(micro)


def savings_sql() -> str:
    """Return the SELECT of the view ``savings``: call_id, at, payload_type, run, kind and saved_nusd."""
    return f"""
        WITH ups AS (
            SELECT payload_type, arg_max(price_in, started_at) AS price_in, arg_max(price_out, started_at) AS price_out
            FROM attempts WHERE role IN ('escalate', 'correct') AND price_in IS NOT NULL GROUP BY payload_type
        ),
        asked AS (
            SELECT payload_type, CAST(round(avg(cost_nusd)) AS BIGINT) AS mean_nusd FROM calls
            WHERE status = 'ok' AND source = 'router' AND {TOOK_ITS_PATH} GROUP BY payload_type
        ),
        drafts AS (
            SELECT c.attempt_id, arg_max(d.input_tokens, d.n) AS input_tokens,
                   arg_max(d.output_tokens, d.n) AS output_tokens
            FROM attempts AS c JOIN attempts AS d ON d.call_id = c.call_id AND d.n < c.n
            WHERE c.role = 'correct' AND d.{_WHOLE.replace("AND status", "AND d.status")} GROUP BY c.attempt_id
        ),
        below AS (
            SELECT u.call_id, coalesce(sum(a.cost_nusd), 0) AS nusd
            FROM calls AS u JOIN attempts AS a ON a.call_id = u.call_id AND a.tier = u.tier_planned
            WHERE u.escalations > 0 AND a.role <> 'shadow' GROUP BY u.call_id
        )
        SELECT call_id, started_at AS at, payload_type, run, 'packing' AS kind,
               (CAST(extra->>'$.pack.alone_nusd' AS BIGINT) - cost_nusd)::HUGEINT AS saved_nusd
        FROM attempts WHERE TRY_CAST(extra->>'$.pack.alone_nusd' AS BIGINT) IS NOT NULL AND cost_nusd IS NOT NULL
        UNION ALL
        SELECT a.call_id, a.started_at, a.payload_type, a.run, 'correction',
               CASE WHEN a.status = 'ok' THEN {_cost("d", "a")} ELSE 0 END - a.cost_nusd
        FROM attempts AS a JOIN drafts AS d ON d.attempt_id = a.attempt_id
        WHERE a.cost_nusd IS NOT NULL AND a.price_in IS NOT NULL AND d.input_tokens IS NOT NULL
              AND d.output_tokens IS NOT NULL
        UNION ALL
        SELECT c.call_id, c.ts, c.payload_type, c.run, 'cache', sum(p.cost_nusd)
        FROM calls AS c
        JOIN attempts AS r ON r.attempt_id = (c.extra->>'$.recalled.attempt_id')
        JOIN attempts AS p ON p.call_id = r.call_id AND p.n <= r.n AND p.role <> 'shadow'
        WHERE c.linked_call_id IS NOT NULL GROUP BY ALL
        UNION ALL
        SELECT c.call_id, c.ts, c.payload_type, c.run, 'check', m.mean_nusd
        FROM calls AS c JOIN asked AS m ON m.payload_type = c.payload_type
        WHERE c.reason = 'pre_check' AND c.status = 'ok'
        UNION ALL
        SELECT c.call_id, c.ts, c.payload_type, c.run, 'cheap_first', {_cost("a", "u")} - a.cost_nusd
        FROM calls AS c JOIN attempts AS a ON a.attempt_id = c.served_attempt_id
        JOIN ups AS u ON u.payload_type = c.payload_type
        WHERE c.status = 'ok' AND c.escalations = 0 AND c.linked_call_id IS NULL AND NOT coalesce(c.degraded, false)
              AND a.tier = c.tier_planned AND a.input_tokens IS NOT NULL AND a.output_tokens IS NOT NULL
              AND a.cost_nusd IS NOT NULL AND {_cost("a", "u")} > a.cost_nusd
        UNION ALL
        SELECT c.call_id, c.ts, c.payload_type, c.run, 'cheap_first', -b.nusd
        FROM calls AS c JOIN below AS b ON b.call_id = c.call_id"""
