"""The log's schema: spool lines and DuckDB tables.

A spool line is one JSON object with the discriminator ``k`` (``started``, ``attempt``, ``call``, ``outcome`` or
``event``). Its other keys are the column names below; timestamps are integer microseconds since the epoch (UTC), money
is integer nano-dollars, prices are integer nano-dollars per million tokens, ``tags``, ``checks`` and ``extra`` are
nested JSON. Absent keys are NULL. Unknown keys are kept in ``extra``.

``started`` lines carry ``request_id``, ``at`` and ``items``, a list with one object per call in the request; each holds
the attempt columns known by then plus ``step``, ``tier_planned``, ``holdback``, ``error_cost_nusd``, ``tags``,
``reserved_nusd`` and ``budgets``, what its money is counted under. They are never stored as rows: they only tell what
was in flight when a process died.
"""

from typing import Final

SCHEMA_VERSION: Final = 1
LINE_KINDS: Final = ("started", "attempt", "call", "outcome", "event")

ATTEMPT_COLUMNS: Final[dict[str, str]] = {
    "attempt_id": "VARCHAR",
    "request_id": "VARCHAR",
    "call_id": "VARCHAR",
    "n": "INTEGER",
    "started_at": "TIMESTAMP",
    "ended_at": "TIMESTAMP",
    "payload_type": "VARCHAR",
    "run": "VARCHAR",
    "config_version": "VARCHAR",
    "critical": "BOOLEAN",
    "role": "VARCHAR",
    "about_attempt_id": "VARCHAR",
    "propensity": "DOUBLE",
    "tier": "VARCHAR",
    "provider_name": "VARCHAR",
    "request_model": "VARCHAR",
    "response_model": "VARCHAR",
    "prompt_hash": "VARCHAR",
    "service_tier": "VARCHAR",
    "input_tokens": "BIGINT",
    "cached_tokens": "BIGINT",
    "cache_write_5m_tokens": "BIGINT",
    "cache_write_1h_tokens": "BIGINT",
    "output_tokens": "BIGINT",
    "reasoning_tokens": "BIGINT",
    "price_in": "BIGINT",
    "price_cached": "BIGINT",
    "price_write": "BIGINT",
    "price_out": "BIGINT",
    "price_source": "VARCHAR",
    "price_date": "VARCHAR",
    "cost_nusd": "BIGINT",
    "cost_source_nusd": "BIGINT",
    "cost_status": "VARCHAR",
    "latency_ms": "DOUBLE",
    "ttft_ms": "DOUBLE",
    "status": "VARCHAR",
    "error_type": "VARCHAR",
    "confidence": "DOUBLE",
    "confidence_source": "VARCHAR",
    "calibration": "VARCHAR",
    "checks": "JSON",
    "answer_match": "BOOLEAN",
    "source": "VARCHAR",
    "extra": "JSON",
}
"""One row per request and call: a packed request has one row for each of its items."""

CALL_COLUMNS: Final[dict[str, str]] = {
    "call_id": "VARCHAR",
    "ts": "TIMESTAMP",
    "run": "VARCHAR",
    "step": "VARCHAR",
    "payload_type": "VARCHAR",
    "config_version": "VARCHAR",
    "served_attempt_id": "VARCHAR",
    "tier_planned": "VARCHAR",
    "tier_served": "VARCHAR",
    "model_served": "VARCHAR",
    "reason": "VARCHAR",
    "holdback": "VARCHAR",
    "critical": "BOOLEAN",
    "budget_scope": "VARCHAR",
    "guard_state": "VARCHAR",
    "degraded": "BOOLEAN",
    "escalations": "INTEGER",
    "fallbacks": "INTEGER",
    "confidence": "DOUBLE",
    "confidence_source": "VARCHAR",
    "calibration": "VARCHAR",
    "cost_nusd": "BIGINT",
    "attempts": "INTEGER",
    "error_cost_nusd": "BIGINT",
    "latency_ms": "DOUBLE",
    "status": "VARCHAR",
    "error_type": "VARCHAR",
    "cache_hit": "BOOLEAN",
    "linked_call_id": "VARCHAR",
    "pack_id": "VARCHAR",
    "tags": "JSON",
    "worker": "VARCHAR",
    "seq": "BIGINT",
    "source": "VARCHAR",
    "extra": "JSON",
}
"""One row per answer; ``cost_nusd`` and ``attempts`` cover every role but shadow."""

ASKED_SOMEBODY: Final = "NOT (calls.status = 'ok' AND coalesce(calls.attempts, 1) = 0)"
"""Condition on ``calls``: not answered without any request, by a cache or a pre-check. No limit moves those."""

TOOK_ITS_PATH: Final = f"(calls.linked_call_id IS NULL OR json_exists(calls.extra, '$.redoes')) AND {ASKED_SOMEBODY}"
"""Condition on ``calls``: nor did an earlier run pay for the beginning. Only these say what a path costs."""

OUTCOME_COLUMNS: Final[dict[str, str]] = {
    "call_id": "VARCHAR",
    "attempt_id": "VARCHAR",
    "received_at": "TIMESTAMP",
    "correct": "DOUBLE",
    "error_nusd": "BIGINT",
    "source": "VARCHAR",
    "label_propensity": "DOUBLE",
    "extra": "JSON",
}
"""One row per label received; ``attempt_id`` NULL means the served attempt of the call."""

EVENT_COLUMNS: Final[dict[str, str]] = {
    "at": "TIMESTAMP",
    "worker": "VARCHAR",
    "event": "VARCHAR",
    "details": "JSON",
    "extra": "JSON",
}
"""One row per thing that happened outside a call: config seen or refused, guard state, health, alert."""

LINE_COLUMNS: Final[dict[str, dict[str, str]]] = {
    "attempt": ATTEMPT_COLUMNS,
    "call": CALL_COLUMNS,
    "outcome": OUTCOME_COLUMNS,
    "event": EVENT_COLUMNS,
}
TABLES: Final[dict[str, str]] = {"attempt": "attempts", "call": "calls", "outcome": "outcomes", "event": "events"}

# what a value may be, wherever it stands. So a commit's 5,000 rows never add up to more than a column of sums can hold,
# and one program that writes nonsense cannot keep all others' lines from being read: its lines go to the quarantine
_MONEY: Final = range(-(10**15), 10**15 + 1)  # a million dollars
_TOKENS: Final = range(-(10**10), 10**10 + 1)
_MILLISECONDS: Final = range(-32_000_000_000, 32_000_000_001)  # a year
LIMITS: Final[dict[str, range]] = {
    "correct": range(2),
    **dict.fromkeys(("latency_ms", "ttft_ms"), _MILLISECONDS),
    **{
        name: _MONEY if name.endswith("_nusd") else _TOKENS
        for columns in LINE_COLUMNS.values()
        for name in columns
        if name.endswith(("_nusd", "_tokens"))
    },
}

# rollups: keys first; every measure is an exact sum over raw rows. hour is UTC; NULL = undated (static evaluations).
# A commit appends its deltas, so one key may have several rows: readers always sum. Compaction folds them now and then.
ROLLUP_CALLS_KEYS: Final[dict[str, str]] = {
    "hour": "TIMESTAMP",
    "source": "VARCHAR",
    "payload_type": "VARCHAR",
    "tier_planned": "VARCHAR",
    "tier_served": "VARCHAR",
    "model_served": "VARCHAR",
    "status": "VARCHAR",
    "critical": "BOOLEAN",
}
ROLLUP_CALLS_MEASURES: Final[dict[str, str]] = {
    "n": "count(*)",
    "degraded": "count(*) FILTER (degraded)",
    "escalated": "count(*) FILTER (escalations > 0)",
    "fallbacks": "coalesce(sum(fallbacks), 0)",
    "cache_hits": "count(*) FILTER (cache_hit)",
    "cost_nusd": "coalesce(sum(cost_nusd), 0)",
    "n_latency": "count(latency_ms)",
    "latency_us": "coalesce(sum(CAST(round(latency_ms * 1000) AS BIGINT)), 0)",
}
ROLLUP_ATTEMPTS_KEYS: Final[dict[str, str]] = {
    "hour": "TIMESTAMP",
    "source": "VARCHAR",
    "payload_type": "VARCHAR",
    "tier": "VARCHAR",
    "provider_name": "VARCHAR",
    "request_model": "VARCHAR",
    "role": "VARCHAR",
    "status": "VARCHAR",
}
ROLLUP_ATTEMPTS_MEASURES: Final[dict[str, str]] = {
    "n": "count(*)",
    "n_cost": "count(cost_nusd)",
    "cost_nusd": "coalesce(sum(cost_nusd), 0)",
    "n_unpriced": "count(*) FILTER (cost_status = 'unpriced')",
    "n_unknown": "count(*) FILTER (cost_status = 'unknown')",
    "n_estimated": "count(*) FILTER (cost_status = 'estimated')",
    "input_tokens": "coalesce(sum(input_tokens), 0)",
    "cached_tokens": "coalesce(sum(cached_tokens), 0)",
    "output_tokens": "coalesce(sum(output_tokens), 0)",
    "reasoning_tokens": "coalesce(sum(reasoning_tokens), 0)",
    "n_latency": "count(latency_ms)",
    "latency_us": "coalesce(sum(CAST(round(latency_ms * 1000) AS BIGINT)), 0)",
}
# call latency in logarithmic buckets: bucket = floor(ln(ms) / ln(1.05)), so a quantile read at the bucket's
# geometric middle is within 2.5 % of the exact one
LATENCY_BUCKET_RATIO: Final = 1.05
ROLLUP_LATENCY_KEYS: Final[dict[str, str]] = {
    "hour": "TIMESTAMP",
    "source": "VARCHAR",
    "payload_type": "VARCHAR",
    "tier_served": "VARCHAR",
    "bucket": "INTEGER",
}
ROLLUP_LATENCY_MEASURES: Final[dict[str, str]] = {"n": "count(*)"}
# labels of served calls, recomputed per touched hour (late labels land on the hour of their call)
ROLLUP_OUTCOMES_COLUMNS: Final[dict[str, str]] = {
    "hour": "TIMESTAMP",
    "source": "VARCHAR",
    "payload_type": "VARCHAR",
    "tier_served": "VARCHAR",
    "model_served": "VARCHAR",
    "n_labelled": "BIGINT",
    "wrong": "DOUBLE",  # sum of 1 - correct
    "impact_nusd": "BIGINT",  # sum of coalesce(error_nusd, (1 - correct) * error_cost_nusd)
    "wrong_unpriced": "DOUBLE",  # sum of 1 - correct over labels with neither an error nor an error price
}
