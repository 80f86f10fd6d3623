"""What the optimizer asks of the log: sums per payload type, and the calls with answers of several tiers.

Left out: calls that a limit degraded (they did not take their path; counted apart), calls rejected or interrupted,
calls that a cache or a pre-check answered or an earlier run paid for in part, and rows of source ``logger``, which no
routing config decided about. All sums are of integers, so that the same log gives the same figures whatever order it is
read in.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from router_core.call_log.schema import TOOK_ITS_PATH

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CALLS: Final = f"""
    CREATE TEMP TABLE seen AS
    SELECT call_id, payload_type, ts IS NOT NULL AS dated, ts, tier_planned, served_attempt_id, status, cost_nusd,
           latency_ms, coalesce(degraded, false) AS degraded
    FROM calls
    WHERE source IN ('router', 'import', 'logger') AND status IN ('ok', 'failed', 'evaluation') AND {TOOK_ITS_PATH}
          AND payload_type IS NOT NULL
          AND (ts IS NULL OR (ts >= make_timestamp($since) AND ts <= make_timestamp($until)))"""
_VOLUMES: Final = """
    SELECT payload_type, dated, count(*) FILTER (NOT degraded AND status <> 'failed') AS calls,
           count(*) FILTER (degraded) AS degraded, count(*) FILTER (status = 'failed') AS failed,
           count(DISTINCT ts::DATE) FILTER (NOT degraded) AS days, epoch_us(min(ts)) AS first_us
    FROM seen GROUP BY ALL ORDER BY ALL"""
_WAYS: Final = """
    SELECT payload_type, dated, tier_planned, count(*) AS calls,
           count(cost_nusd) FILTER (status = 'ok') AS n_cost,
           CAST(coalesce(sum(cost_nusd) FILTER (status = 'ok'), 0) AS DOUBLE) / 1e9 AS cost_usd,
           quantile_cont(latency_ms, 0.95) FILTER (status = 'ok') AS p95_ms
    FROM seen WHERE NOT degraded AND status <> 'failed' GROUP BY ALL ORDER BY ALL"""
# labels of served answers, by the chance with which they were drawn: there are few different ones
_LABELS: Final = """
    SELECT s.payload_type, s.dated, s.tier_planned, o.label_propensity, count(*) AS labels,
           CAST(sum(CAST(round((1 - o.correct) * 1e6) AS BIGINT)) AS DOUBLE) / 1e6 AS wrong
    FROM seen AS s JOIN attempt_outcomes AS o ON o.attempt_id = s.served_attempt_id
    WHERE NOT s.degraded AND s.status = 'ok' AND o.correct IS NOT NULL GROUP BY ALL ORDER BY ALL"""
_TIERS: Final = """
    SELECT s.payload_type, s.dated, a.tier, count(*) FILTER (a.status = 'ok') AS valid,
           count(*) FILTER (a.status = 'invalid') AS invalid, count(a.cost_nusd) AS n_cost,
           CAST(coalesce(sum(a.cost_nusd), 0) AS DOUBLE) / 1e9 AS cost_usd,
           count(a.confidence) AS scored, count(a.input_tokens + a.output_tokens) AS n_tokens,
           CAST(coalesce(sum(a.input_tokens) FILTER (a.output_tokens IS NOT NULL), 0) AS DOUBLE) AS input_tokens,
           CAST(coalesce(sum(a.output_tokens) FILTER (a.input_tokens IS NOT NULL), 0) AS DOUBLE) AS output_tokens
    FROM attempts AS a JOIN seen AS s USING (call_id)
    WHERE NOT s.degraded AND a.status IN ('ok', 'invalid') AND a.tier IS NOT NULL
          AND a.role IN ('serve', 'retry', 'fallback', 'escalate', 'shadow')
    GROUP BY ALL ORDER BY ALL"""
# a calibrated answer keeps what it had before
_RAW: Final = "coalesce(TRY_CAST(json_extract_string(a.extra, '$.confidence_raw') AS DOUBLE), a.confidence)"
_SCORED: Final = f"""
    SELECT s.payload_type, s.dated, a.tier, a.request_model AS model, a.confidence_source AS source, {_RAW} AS raw,
           a.correct, 1 / coalesce(CASE WHEN a.role = 'shadow' THEN nullif(a.propensity, 0) END, 1)
           / coalesce(nullif(a.label_propensity, 0), 1) AS weight
    FROM attempt_outcomes AS a JOIN seen AS s USING (call_id)
    WHERE NOT s.degraded AND s.status <> 'failed' AND a.status = 'ok' AND a.correct IS NOT NULL
          AND a.confidence IS NOT NULL AND a.confidence_source IS NOT NULL AND a.tier IS NOT NULL
          AND a.request_model IS NOT NULL AND a.role IN ('serve', 'retry', 'fallback', 'escalate', 'shadow')"""
_PAIRED: Final = """
    CREATE TEMP TABLE paired AS
    SELECT call_id FROM attempts
    WHERE tier IS NOT NULL AND status IN ('ok', 'invalid')
          AND role IN ('serve', 'retry', 'fallback', 'escalate', 'shadow')
    GROUP BY call_id HAVING count(DISTINCT tier) > 1"""
# one row per call and tier: its retries and fallbacks add up, its last valid answer counts
_ANSWERS: Final = f"""
    WITH kept AS (
        SELECT a.*, {_RAW} AS raw, epoch_us(s.ts) AS at_us, s.payload_type AS kind, s.dated,
               s.tier_planned, s.served_attempt_id
        FROM attempt_outcomes AS a JOIN paired USING (call_id) JOIN seen AS s USING (call_id)
        WHERE NOT s.degraded AND s.status <> 'failed' AND a.tier IS NOT NULL
              AND a.role IN ('serve', 'retry', 'fallback', 'escalate', 'shadow')
    )
    SELECT dense_rank() OVER (ORDER BY call_id) - 1 AS call, kind AS payload_type, dated, tier_planned, tier,
           bool_and(role = 'shadow') AS is_shadow, bool_or(attempt_id = served_attempt_id) AS is_served,
           bool_or(status = 'ok') AS valid, arg_max(confidence, n) FILTER (status = 'ok') AS confidence,
           arg_max(raw, n) FILTER (status = 'ok') AS raw,
           CASE WHEN count(*) = count(cost_nusd) THEN CAST(sum(cost_nusd) AS DOUBLE) / 1e9 END AS cost_usd,
           CASE WHEN count(*) = count(latency_ms) THEN round(sum(latency_ms), 3) END AS latency_ms,
           min(propensity) FILTER (role = 'shadow') AS propensity,
           arg_max(correct, n) FILTER (status = 'ok') AS correct,
           arg_max(label_propensity, n) FILTER (status = 'ok') AS label_propensity,
           bool_or(answer_match) FILTER (role = 'shadow' AND status = 'ok') AS answer_match, any_value(at_us) AS at_us
    FROM kept
    GROUP BY call_id, kind, dated, tier_planned, tier
    HAVING bool_or(status IN ('ok', 'invalid'))
    ORDER BY call, tier"""
_NEWEST: Final = "SELECT epoch_us(max(ts)) FROM calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """Frames of the log; ``dated`` tells calls in the window from static evaluations, which have no times.

    Attributes:
        volumes: One row per payload type and ``dated``: calls, degraded, failed, days, first_us.
        ways: Also per ``tier_planned``: calls, n_cost, cost_usd (sum), p95_ms.
        labels: Also per ``label_propensity``: labels, wrong (sum).
        tiers: One row per payload type, ``dated`` and tier: valid, invalid, scored, n_cost, cost_usd (sum), n_tokens,
            input_tokens and output_tokens (sums).
        scored: One row per labelled answer with a confidence, in no order; see ``fitting.SCORED_COLUMNS``.
        answers: One row per call and tier of the calls with answers of several tiers; see ``answers.ANSWER_COLUMNS``.
    """

    volumes: pl.DataFrame
    ways: pl.DataFrame
    labels: pl.DataFrame
    tiers: pl.DataFrame
    scored: pl.DataFrame
    answers: pl.DataFrame


def read_facts(log: "DuckDBPyConnection", since_us: int, until_us: int) -> LogFacts:
    """Return what the log says about the calls of a window, and about evaluations without times.

    Args:
        log: The log, open for reading; temporary tables are made in its memory.
        since_us: First instant, microseconds since the epoch.
        until_us: Last instant.
    """
    log.execute(_CALLS, {"since": since_us, "until": until_us})
    log.execute(_PAIRED)
    return LogFacts(
        volumes=_frame(log, _VOLUMES),
        ways=_frame(log, _WAYS),
        labels=_frame(log, _LABELS),
        tiers=_frame(log, _TIERS),
        scored=_frame(log, _SCORED),
        answers=_frame(log, _ANSWERS),
    )


def newest_call_us(log: "DuckDBPyConnection") -> int | None:
    """Return the instant of the latest call, microseconds since the epoch; None without dated calls."""
    row = log.execute(_NEWEST).fetchone()
    return None if row is None else row[0]


def _frame(log: "DuckDBPyConnection", query: str) -> pl.DataFrame:
    # by way of a relation: rows of an executed statement would be copied once more
    frame = pl.from_arrow(log.sql(query).to_arrow_table())
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a query gives a table")
    return frame
