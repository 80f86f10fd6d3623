"""The statements that make and migrate the DuckDB file: tables from the schema's columns, and the views over them."""

from collections.abc import Iterator, Mapping
from typing import Final

from router_core.call_log.receipt_sql import view_sql
from router_core.call_log.savings_sql import savings_sql
from router_core.call_log.schema import (
    ATTEMPT_COLUMNS,
    CALL_COLUMNS,
    LINE_COLUMNS,
    ROLLUP_ATTEMPTS_KEYS,
    ROLLUP_ATTEMPTS_MEASURES,
    ROLLUP_CALLS_KEYS,
    ROLLUP_CALLS_MEASURES,
    ROLLUP_LATENCY_KEYS,
    ROLLUP_LATENCY_MEASURES,
    ROLLUP_OUTCOMES_COLUMNS,
    TABLES,
)

BOOKKEEPING: Final[dict[str, dict[str, str]]] = {
    "schema_version": {"version": "INTEGER", "applied_at": "TIMESTAMP"},
    # how far each segment is in the tables: committed together with its rows, so every line counts exactly once
    "ledger": {"segment": "VARCHAR", "end_offset": "BIGINT", "lines": "BIGINT", "at": "TIMESTAMP"},
    # what the ledger no longer names because no file of it is left: rows of it are in the tables alone
    "forgotten_segments": {
        "is_import": "BOOLEAN",
        "segments": "BIGINT",
        "lines": "BIGINT",
        "first_at": "TIMESTAMP",
        "last_at": "TIMESTAMP",
    },
    "quarantine": {
        "segment": "VARCHAR",
        "line_offset": "BIGINT",
        "raw": "VARCHAR",
        "reason": "VARCHAR",
        "at": "TIMESTAMP",
    },
    # what was in flight when the tables were last written; it becomes rows if its worker dies
    "pending_attempts": {"attempt_id": "VARCHAR", "worker": "VARCHAR", "facts": "JSON"},
    "pending_calls": {"call_id": "VARCHAR", "worker": "VARCHAR", "rank": "INTEGER", "facts": "JSON"},
    # calls of labels that came in since: their hours are looked up later, in ten million rows that takes long
    "unplaced_outcomes": {"call_id": "VARCHAR"},
    # hours whose labels have changed since their outcome rollup was computed
    "outcome_queue": {"hour": "TIMESTAMP"},
    # name = 'ingested' (last commit of lines), 'outcomes' (outcome rollup is complete up to here)
    "progress": {"name": "VARCHAR", "at": "TIMESTAMP"},
    # rows of each rollup when its deltas were last folded
    "rollup_state": {"rollup": "VARCHAR", "folded_rows": "BIGINT"},
    "rollup_outcomes": ROLLUP_OUTCOMES_COLUMNS,
}
ROLLUPS: Final[dict[str, tuple[dict[str, str], dict[str, str]]]] = {
    "rollup_calls": (ROLLUP_CALLS_KEYS, ROLLUP_CALLS_MEASURES),
    "rollup_attempts": (ROLLUP_ATTEMPTS_KEYS, ROLLUP_ATTEMPTS_MEASURES),
    "rollup_latency": (ROLLUP_LATENCY_KEYS, ROLLUP_LATENCY_MEASURES),
}

# gold > user > judge > transfer, then the latest, then the one that came in last
LABEL_ORDER: Final = """
    CASE o.source WHEN 'gold' THEN 0 WHEN 'user' THEN 1 WHEN 'judge' THEN 2 WHEN 'transfer' THEN 3 ELSE 4 END,
    o.received_at DESC NULLS LAST, o.rowid DESC"""
# what a wrong answer cost; NULL when neither the label nor the config says, unless the answer was right
IMPACT: Final = """
    CASE WHEN o.error_nusd IS NOT NULL THEN o.error_nusd WHEN o.correct = 1 THEN 0
         ELSE CAST(round((1 - o.correct) * c.error_cost_nusd) AS BIGINT) END"""
_LABEL_COLUMNS: Final = """
    o.correct, o.error_nusd, o.source AS outcome_source, o.received_at AS outcome_received_at, o.label_propensity"""


def call_labels(calls: str, outcomes: str) -> str:
    """Return the SELECT of the one label that counts for each labelled call: call_id and the label's columns."""
    return f"""
        SELECT o.call_id, o.correct, o.error_nusd, o.source, o.received_at, o.label_propensity
        FROM {outcomes} AS o JOIN {calls} AS c ON c.call_id = o.call_id
        WHERE o.attempt_id IS NULL OR o.attempt_id = c.served_attempt_id
        QUALIFY row_number() OVER (PARTITION BY o.call_id ORDER BY {LABEL_ORDER}) = 1"""


def _attempt_labels() -> str:
    return f"""
        SELECT coalesce(o.attempt_id, c.served_attempt_id) AS attempt_id, o.correct, o.error_nusd, o.source,
               o.received_at, o.label_propensity
        FROM outcomes AS o LEFT JOIN calls AS c ON c.call_id = o.call_id
        WHERE coalesce(o.attempt_id, c.served_attempt_id) IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY coalesce(o.attempt_id, c.served_attempt_id) ORDER BY {LABEL_ORDER}) = 1
        """


def _usd_view(table: str, columns: Mapping[str, str]) -> str:
    money = [name for name in columns if name.endswith("_nusd")]
    prices = [name for name in columns if name.startswith("price_") and columns[name] == "BIGINT"]
    usd = [f"{name} / 1e9 AS {name.removesuffix('_nusd')}_usd" for name in money]
    usd += [f"{name} / 1e9 AS {name}_usd_per_m" for name in prices]
    return f"CREATE OR REPLACE VIEW {table}_usd AS SELECT *, {', '.join(usd)} FROM {table}"


def create_tables() -> Iterator[str]:
    """Yield the statements that make every table of the present schema version."""
    tables = {TABLES[kind]: columns for kind, columns in LINE_COLUMNS.items()} | BOOKKEEPING
    for name, (keys, measures) in ROLLUPS.items():
        tables[name] = keys | dict.fromkeys(measures, "BIGINT")
    for name, columns in tables.items():
        listed = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
        yield f"CREATE TABLE IF NOT EXISTS {name} ({listed})"


def create_views() -> Iterator[str]:
    """Yield the statements that make every view.

    ``attempts_usd`` and ``calls_usd`` add ``*_usd`` columns; ``call_outcomes`` is one row per call with the label that
    counts for its served answer and ``impact_nusd``, observed for served calls only; ``attempt_outcomes`` is one row
    per attempt with the label that counts for it; ``attempt_receipts`` is one row per attempt with what its tokens cost
    at its prices (``computed_nusd``) and by how much the provider's own figure differs (``drift_nusd``); ``savings`` is
    one row per call and way in which it was made cheaper.
    """
    yield f"CREATE OR REPLACE VIEW attempt_receipts AS {view_sql()}"
    yield f"CREATE OR REPLACE VIEW savings AS {savings_sql()}"
    yield _usd_view("attempts", ATTEMPT_COLUMNS)
    yield _usd_view("calls", CALL_COLUMNS)
    yield f"""
        CREATE OR REPLACE VIEW call_outcomes AS
        SELECT c.*, {_LABEL_COLUMNS},
               CASE WHEN c.status = 'ok' AND o.call_id IS NOT NULL THEN {IMPACT} END AS impact_nusd
        FROM calls AS c LEFT JOIN ({call_labels("calls", "outcomes")}) AS o ON o.call_id = c.call_id"""
    yield f"""
        CREATE OR REPLACE VIEW attempt_outcomes AS
        SELECT a.*, {_LABEL_COLUMNS}
        FROM attempts AS a LEFT JOIN ({_attempt_labels()}) AS o ON o.attempt_id = a.attempt_id"""
