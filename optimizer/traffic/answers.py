"""Logged calls, made ready to be replayed under another routing config: their answers by that config's tiers.

An answer belongs to the tier of the other config that has its model among its targets; where several have, to the one
that is named as in the log, else to the cheapest. Models that the other config does not know stand in further columns,
which none of its paths ask for.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from optimizer.answers import ANSWER_COLUMNS, tabulate
from optimizer.paths import Route, route_of
from optimizer.simulate.policy import Ask, Facts, actual_of
from router_core.call_log.schema import TOOK_ITS_PATH
from router_core.decide.compile import Plans, compile_plans

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from router_core.config import RoutingConfig

_TAKEN: Final = f"""
    CREATE TEMP TABLE taken AS
    SELECT call_id, payload_type, served_attempt_id, latency_ms, error_cost_nusd,
           row_number() OVER (ORDER BY ts, call_id) - 1 AS call
    FROM calls
    WHERE ts >= $first AND ts < $until AND status IN ('ok', 'failed') AND {TOOK_ITS_PATH}
          AND payload_type IS NOT NULL AND NOT coalesce(degraded, false)"""
_LEFT: Final = """
    SELECT count(*) FILTER (coalesce(degraded, false)), count(*) FROM calls
    WHERE ts >= $first AND ts < $until AND status IN ('ok', 'failed') AND payload_type IS NOT NULL"""
_TYPES: Final = """
    SELECT payload_type, avg(error_cost_nusd) / 1e9, count(*) FROM taken GROUP BY payload_type ORDER BY payload_type"""
_ARMS: Final = """
    SELECT DISTINCT tier, request_model FROM attempts JOIN taken USING (call_id)
    WHERE request_model IS NOT NULL AND role NOT IN ('judge', 'sample') ORDER BY ALL"""
_CALLS: Final = "SELECT call, payload_type, latency_ms FROM taken ORDER BY call"
# one row per call and column: retries, fallbacks and judges add up, the last valid answer counts
_ANSWERS: Final = """
    WITH arms AS (
        SELECT unnest($tiers::VARCHAR[]) AS tier, unnest($models::VARCHAR[]) AS request_model,
               unnest($places::INTEGER[]) AS place
    ),
    answers AS (
        SELECT a.*, taken.call, taken.payload_type AS kind, taken.served_attempt_id, arms.place
        FROM attempt_outcomes AS a JOIN taken USING (call_id)
        JOIN arms ON arms.tier IS NOT DISTINCT FROM a.tier AND arms.request_model = a.request_model
        WHERE a.role NOT IN ('judge', 'sample') AND (a.role <> 'shadow' OR a.status IN ('ok', 'invalid'))
    ),
    asked_about AS (
        SELECT answers.call, answers.place, sum(about.cost_nusd) AS cost_nusd, sum(about.latency_ms) AS latency_ms,
               count(*) - count(about.cost_nusd) AS uncosted
        FROM attempts AS about JOIN answers ON answers.attempt_id = about.about_attempt_id
        WHERE about.role IN ('judge', 'sample') GROUP BY ALL
    ),
    summed AS (
        SELECT call, kind, place, bool_and(role = 'shadow') AS is_shadow,
               bool_or(attempt_id = served_attempt_id) AS is_served, bool_or(status = 'ok') AS valid,
               arg_max(confidence, n) FILTER (status = 'ok') AS confidence,
               sum(cost_nusd) AS cost_nusd, count(*) - count(cost_nusd) AS uncosted,
               CASE WHEN count(*) = count(latency_ms) THEN sum(latency_ms) END AS latency_ms,
               min(propensity) FILTER (role = 'shadow') AS propensity,
               arg_max(correct, n) FILTER (status = 'ok') AS correct,
               arg_max(label_propensity, n) FILTER (status = 'ok') AS label_propensity,
               bool_or(answer_match) FILTER (role = 'shadow' AND status = 'ok') AS answer_match
        FROM answers GROUP BY call, kind, place
    )
    SELECT summed.call, kind AS payload_type, place AS tier, is_shadow, coalesce(is_served, false) AS is_served, valid,
           confidence, propensity, correct, label_propensity, answer_match,
           CASE WHEN summed.uncosted + coalesce(asked_about.uncosted, 0) = 0
                THEN (summed.cost_nusd + coalesce(asked_about.cost_nusd, 0))::DOUBLE / 1e9 END AS cost_usd,
           summed.latency_ms + coalesce(asked_about.latency_ms, 0) AS latency_ms
    FROM summed LEFT JOIN asked_about USING (call, place)
    ORDER BY summed.call, place"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyLog:
    """What a log has for replays under another config.

    Attributes:
        facts: The calls.
        asks: Their payload types under that config.
        tiers: Names of its tiers: the first columns of the table.
        models: First model of each.
        degraded: Calls that a limit had degraded; they are left out.
        left_out: Other calls that are left out: answered without any request, or paid for by an earlier run.
        unnamed: Payload types of which that config refuses calls.
    """

    facts: Facts
    asks: tuple[Ask, ...]
    tiers: tuple[str, ...]
    models: tuple[str, ...]
    degraded: int
    left_out: int
    unnamed: tuple[str, ...]

    def everything_on(self, tier: int) -> tuple[Ask, ...]:
        """Return the payload types with one tier for all of them."""
        route = Route(tiers=(tier,), accept_at=(0.0,), straight_below=(None,))
        return tuple(
            Ask(name=ask.name, route=route, accepts_missing=True, error_cost_usd=ask.error_cost_usd)
            for ask in self.asks
        )


def read_policy_log(
    connection: "DuckDBPyConnection", other: "RoutingConfig", first: dt.datetime, until: dt.datetime
) -> PolicyLog:
    """Return the calls of a window, ready to be replayed under another config.

    Args:
        connection: The log, open for reading; temporary tables are made in its memory.
        other: The other config.
        first: First instant, naive UTC.
        until: First instant that no longer counts, naive UTC.
    """
    window: dict[str, Any] = {"first": first, "until": until}
    connection.execute(_TAKEN, window)
    degraded, every = connection.execute(_LEFT, window).fetchone() or (0, 0)
    types = connection.execute(_TYPES).fetchall()
    plans = compile_plans(other)
    arms = connection.execute(_ARMS).fetchall()
    places, n_columns = _places(arms, plans)
    bound = {
        "tiers": [tier for tier, _ in arms],
        "models": [model for _, model in arms],
        "places": [places[arm] for arm in arms],
    }
    numbers = {name: place for place, (name, _, _) in enumerate(types)}
    # rows without an answer keep their place: every call has a row of its own
    calls = _frame(connection, _CALLS)
    answers = _frame(connection, _ANSWERS, bound)
    asks = tuple(_ask(name, price, plans) for name, price, _ in types)
    return PolicyLog(
        facts=_facts(calls, answers, numbers, n_columns),
        asks=asks,
        tiers=tuple(step.tier for step in plans.tiers),
        models=tuple(step.targets[0].model for step in plans.tiers),
        degraded=degraded,
        left_out=every - degraded - calls.height,
        unnamed=tuple(ask.name for ask in asks if ask.route is None and plans.plan_for(ask.name) is None),
    )


def _places(arms: Sequence[tuple[str | None, str]], plans: Plans) -> tuple[Mapping[tuple[str | None, str], int], int]:
    """Return the column of each tier and model of the log, and how many columns there are."""
    by_model: dict[str, list[int]] = {}
    for place, step in enumerate(plans.tiers):
        for target in step.targets:
            by_model.setdefault(target.name, []).append(place)
    names = [step.tier for step in plans.tiers]
    foreign: dict[str | None, int] = {}
    found: dict[tuple[str | None, str], int] = {}
    for tier, model in arms:
        there = by_model.get(model)
        if there is None:
            found[tier, model] = foreign.setdefault(tier, len(names) + len(foreign))
        else:
            own = names.index(tier) if tier in names else -1
            found[tier, model] = own if own in there else there[0]
    return found, len(names) + len(foreign)


def _ask(name: str, logged_usd: float | None, plans: Plans) -> Ask:
    plan = plans.plan_for(name)
    if plan is None:
        return Ask(name=name, route=None, excuse="this config does not name it: its calls would be refused")
    price = None if plan.error_cost_nusd is None else plan.error_cost_nusd / 1e9
    price = logged_usd if logged_usd is not None else price
    if plan.escalation == "correct" and len(plan.steps) > 1:
        words = "its escalations correct the draft: answers of single tiers cannot stand for that"
        return Ask(name=name, route=None, excuse=words, error_cost_usd=price)
    route = route_of(plan.steps, tuple(step.tier for step in plans.tiers))
    return Ask(name=name, route=route, accepts_missing=plan.on_missing == "accept", error_cost_usd=price)


def _facts(calls: pl.DataFrame, answers: pl.DataFrame, numbers: Mapping[str, int], n_columns: int) -> Facts:
    kinds = pl.DataFrame(
        {"payload_type": list(numbers), "type": list(numbers.values())},
        schema={"payload_type": pl.String, "type": pl.Int32},
    )
    # a call none of whose requests is there has no row of answers, and can be replayed under no path
    kept = calls.join(answers.select("call").unique(), on="call", how="semi", maintain_order="left")
    frame = (
        answers.join(kinds, on="payload_type")
        .with_columns(pl.lit(0).alias("group"), pl.lit(None).alias("raw"), pl.lit(1.0).alias("weight"))
        .select(pl.col(name).cast(kind) for name, kind in ANSWER_COLUMNS.items())
    )
    table = tabulate(frame, n_columns)
    is_served = np.zeros(table.is_shadow.shape, dtype=np.bool_)
    row = np.searchsorted(kept["call"].to_numpy(), frame["call"].to_numpy())
    is_served[row, frame["tier"].to_numpy()] = frame["is_served"].to_numpy()
    latency = kept["latency_ms"].cast(pl.Float64).to_numpy()
    served = actual_of(table, is_served, latency)
    return Facts(table=table, served=served, cost_usd=np.nan_to_num(served.cost_usd), latency_ms=latency)


def _frame(connection: "DuckDBPyConnection", query: str, bound: dict[str, Any] | None = None) -> pl.DataFrame:
    relation = connection.sql(query, params=bound) if bound else connection.sql(query)
    frame = pl.from_arrow(relation.to_arrow_table())
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a query gives a table")
    return frame
