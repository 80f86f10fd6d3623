"""Reads of the log for a replay: its kinds of calls, and one row per call. Values are always bound."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from router_core.call_log.schema import ASKED_SOMEBODY

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from router_core.decide.guard import Limit

_BATCH_ROWS = 200_000
# an attempt begins within its call's deadline; a shadow may wait a little longer
_ATTEMPTS_WITHIN = dt.timedelta(days=2)
# calls that were refused, needed no request or never were calls met no limit
_IN_WINDOW = f"""
    calls.ts >= $first AND calls.ts < $until AND calls.status NOT IN ('rejected', 'evaluation') AND {ASKED_SOMEBODY}"""

Window = Mapping[str, dt.datetime]
"""``first`` and ``until``: naive UTC instants between which the calls lie."""


class TargetName(NamedTuple):
    """A target: its tier and its model."""

    tier: str
    model: str


class KindRow(NamedTuple):
    """Calls of one payload type that one tier has served.

    Attributes:
        payload_type: Their payload type; None = the log has none.
        tier_served: The tier; None = they got no answer.
        error_cost_nusd: Mean of the logged prices of a wrong answer; None = none was logged.
    """

    payload_type: str | None
    tier_served: str | None
    error_cost_nusd: float | None


class Needs(NamedTuple):
    """What limits look at beyond spend.

    Attributes:
        taper: What calls cost up to their first valid answer.
        runs: The callers' jobs.
        tags: The callers' tags.
    """

    taper: bool = False
    runs: bool = False
    tags: bool = False


def needs_of(limits: "Sequence[Limit]") -> Needs:
    """Return what limits look at."""
    return Needs(
        taper=any(limit.taper_nusd is not None or limit.switch_at == "task" for limit in limits),
        runs=any(limit.scope.each_run or limit.switch_at == "task" for limit in limits),
        tags=any(limit.scope.tags for limit in limits),
    )


def read_kinds(connection: "DuckDBPyConnection", window: Window) -> tuple[KindRow, ...]:
    """Return the kinds of calls in a window, in order of their names."""
    found = connection.execute(
        f"""
        SELECT payload_type, tier_served, avg(error_cost_nusd) FROM calls WHERE {_IN_WINDOW}
        GROUP BY payload_type, tier_served ORDER BY payload_type NULLS FIRST, tier_served NULLS FIRST
        """,
        dict(window),
    ).fetchall()
    return tuple(KindRow(*row) for row in found)


def read_calls(
    connection: "DuckDBPyConnection",
    kinds: Sequence[KindRow],
    targets: Sequence[TargetName],
    window: Window,
    needs: Needs,
) -> Iterator["pa.RecordBatch"]:
    """Yield the calls of a window, one row per call, in no order.

    Columns, none of them null: ``at_us``, ``ended_us``, ``seq``, ``tie`` (for calls of one microsecond), ``kind``
    (index), ``critical``, ``degraded``, ``cost_nusd`` (all roles but shadow), ``shadow_nusd``; of the served attempt
    ``input`` and ``output`` (tokens, -1 = not reported), ``cached``, ``write_5m``, ``write_1h``, ``model`` (index of
    the first target of that model, -1 = none); per target i ``own{i}`` and ``shadow{i}``: what the call's attempts
    there did cost, -1 = none has a cost. Where they are needed: ``taper_nusd`` (cost up to the first valid answer,
    without judges and samples), ``run`` and ``tags`` (text, "" = none).
    """
    bound: dict[str, Any] = {
        **window,
        "attempts_until": window["until"] + _ATTEMPTS_WITHIN,
        "types": [kind.payload_type for kind in kinds],
        "tiers": [kind.tier_served for kind in kinds],
        "models": [target.model for target in targets],
    }
    sums: list[str] = []
    seen: list[str] = []
    for place, target in enumerate(targets):
        bound |= {f"tier{place}": target.tier, f"model{place}": target.model}
        there = f"tier = $tier{place} AND request_model = $model{place}"
        for name, role in (("own", "role <> 'shadow'"), ("shadow", "role = 'shadow'")):
            sums.append(f", sum(cost_nusd) FILTER ({role} AND {there})::BIGINT AS {name}{place}")
            seen.append(f", coalesce({name}{place}, -1) AS {name}{place}")
    first, until_first, told = _first_valid(needs.taper)
    query = f"""
        WITH kinds AS (
            SELECT unnest($types::VARCHAR[]) AS payload_type, unnest($tiers::VARCHAR[]) AS tier_served,
                generate_subscripts($types::VARCHAR[], 1) - 1 AS kind
        ),
        near AS (FROM attempts WHERE started_at >= $first AND started_at < $attempts_until),
        {first}
        spent AS (
            SELECT call_id, sum(cost_nusd) FILTER (role <> 'shadow')::BIGINT AS cost_nusd,
                sum(cost_nusd) FILTER (role = 'shadow')::BIGINT AS shadow_nusd {until_first} {" ".join(sums)}
            FROM near {told} GROUP BY call_id
        ),
        served AS (
            SELECT attempt_id, input_tokens, cached_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
                output_tokens, list_position($models::VARCHAR[], request_model) - 1 AS model
            FROM near WHERE role <> 'shadow'
        )
        SELECT epoch_us(calls.ts) AS at_us,
            epoch_us(calls.ts) + (coalesce(calls.latency_ms, 0) * 1000)::BIGINT AS ended_us,
            coalesce(calls.seq, 0) AS seq,
            (hash(calls.call_id) % 4611686018427387904)::BIGINT AS tie, kinds.kind::BIGINT AS kind,
            coalesce(calls.critical, false) AS critical, coalesce(calls.degraded, false) AS degraded,
            coalesce(spent.cost_nusd, 0) AS cost_nusd, coalesce(spent.shadow_nusd, 0) AS shadow_nusd,
            coalesce(input_tokens, -1) AS input, coalesce(cached_tokens, 0) AS cached,
            coalesce(cache_write_5m_tokens, 0) AS write_5m, coalesce(cache_write_1h_tokens, 0) AS write_1h,
            coalesce(output_tokens, -1) AS output, coalesce(served.model, -1)::BIGINT AS model
            {", coalesce(spent.taper_nusd, 0) AS taper_nusd" if needs.taper else ""}
            {", coalesce(calls.run, '') AS run" if needs.runs else ""}
            {", coalesce(CAST(calls.tags AS VARCHAR), '') AS tags" if needs.tags else ""} {" ".join(seen)}
        FROM calls
        JOIN kinds ON calls.payload_type IS NOT DISTINCT FROM kinds.payload_type
            AND calls.tier_served IS NOT DISTINCT FROM kinds.tier_served
        LEFT JOIN spent ON spent.call_id = calls.call_id
        LEFT JOIN served ON served.attempt_id = calls.served_attempt_id
        WHERE {_IN_WINDOW}"""
    yield from cast("pa.RecordBatchReader", connection.sql(query, params=bound).to_arrow_reader(_BATCH_ROWS))


def _first_valid(is_needed: bool) -> tuple[str, str, str]:
    """Return what finds each call's first valid answer, what sums up to it, and how the two are joined."""
    if not is_needed:
        return "", "", ""
    first = """firsts AS (
            SELECT call_id, min(n) AS first_valid FROM near
            WHERE status = 'ok' AND role NOT IN ('shadow', 'judge', 'sample') GROUP BY call_id
        ),"""
    up_to = """, sum(cost_nusd) FILTER (role NOT IN ('shadow', 'judge', 'sample')
                AND (first_valid IS NULL OR n <= first_valid))::BIGINT AS taper_nusd"""
    return first, up_to, "LEFT JOIN firsts USING (call_id)"
