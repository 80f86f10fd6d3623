"""What an import would write, as tables, set against what the log holds already.

Tables of the connection: ``plan`` (one row per attempt), ``planned_calls`` (one row per call), ``known_attempts``,
``known_calls`` and ``known_imports`` (what the log has).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from router_core.call_log.home import Home
from router_core.call_log.read import reading
from router_core.call_log.terminal import counted
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# lengths make the joined text unambiguous, whatever the names hold
_CALL_KEY: Final = "length(dataset) || ':' || dataset || ':' || length(query_id) || ':' || query_id"
_NEW_ATTEMPTS: Final = "FROM plan AS p ANTI JOIN known_attempts USING (attempt_id)"
_NEW_CALLS: Final = "FROM planned_calls AS p ANTI JOIN known_calls USING (call_id)"
_KNOWN: Final = {
    "known_attempts": """
        SELECT a.attempt_id, a.tier, a.role = 'serve' AS is_served, a.cost_nusd, o.correct
        FROM attempts AS a LEFT JOIN (
            SELECT attempt_id, max(correct) AS correct FROM outcomes
            WHERE source = 'gold' AND received_at IS NULL GROUP BY attempt_id
        ) AS o USING (attempt_id) WHERE a.source = 'import'""",
    "known_calls": "SELECT call_id, served_attempt_id FROM calls WHERE source = 'import'",
    "known_imports": """SELECT "at" AS imported_at, details FROM events WHERE event = 'import'""",
}
_NOTHING_KNOWN: Final = """
    CREATE TABLE known_attempts (attempt_id VARCHAR, tier VARCHAR, is_served BOOLEAN, cost_nusd BIGINT, correct DOUBLE);
    CREATE TABLE known_calls (call_id VARCHAR, served_attempt_id VARCHAR);
    CREATE TABLE known_imports (imported_at TIMESTAMP, details JSON);
"""
_CONFIDENCE_SOURCE: Final = "CASE WHEN p.confidence IS NULL THEN 'none' ELSE 'caller' END AS confidence_source"
_LINES: Final = {
    "attempts": f"""
        SELECT 'attempt' AS k, p.attempt_id, 'ir' || p.attempt_id[3:] AS request_id, p.call_id,
               row_number() OVER (PARTITION BY p.call_id ORDER BY p.is_served DESC, p.model) AS n,
               p.payload_type, p.dataset AS run, false AS critical,
               CASE WHEN p.is_served THEN 'serve' ELSE 'shadow' END AS role, 1.0 AS propensity, p.tier,
               p.model AS request_model, p.input_tokens, p.output_tokens, p.cost_nusd,
               CASE WHEN p.cost_nusd IS NULL THEN 'unknown' WHEN p.is_estimated THEN 'estimated' ELSE 'exact' END
               AS cost_status, p.latency_ms, 'ok' AS status, p.confidence, {_CONFIDENCE_SOURCE},
               'import' AS source, p.extra
        {_NEW_ATTEMPTS} ORDER BY p.call_id, n""",
    "calls": f"""
        SELECT 'call' AS k, p.call_id, p.dataset AS run, p.query_id AS step, p.payload_type, p.served_attempt_id,
               p.tier AS tier_planned, p.tier AS tier_served, p.model AS model_served, 'imported' AS reason,
               false AS critical, false AS degraded, 0 AS escalations, 0 AS fallbacks, p.confidence,
               {_CONFIDENCE_SOURCE}, CASE WHEN p.is_served THEN p.cost_nusd ELSE 0 END AS cost_nusd,
               CAST(p.is_served AS INTEGER) AS attempts, p.latency_ms,
               CASE WHEN p.is_served THEN 'ok' ELSE 'evaluation' END AS status, false AS cache_hit, 'import' AS source
        {_NEW_CALLS} ORDER BY p.call_id""",
    "outcomes": f"""
        SELECT 'outcome' AS k, p.call_id, p.attempt_id, p.correct, 'gold' AS source, 1.0 AS label_propensity
        {_NEW_ATTEMPTS} WHERE p.correct IS NOT NULL ORDER BY p.call_id, p.attempt_id""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFacts:
    """What the log keeps about one import, as an event.

    Attributes:
        file: Name of the file.
        sha256: Hash of its bytes, hex.
        datasets: Datasets in it.
        calls: Calls in it.
        tiers: Tier and model, cheapest first.
        calls_per_month: Calls of this kind per month, if the analyst said so.
    """

    file: str
    sha256: str
    datasets: tuple[str, ...]
    calls: int
    tiers: tuple[tuple[str, str], ...]
    calls_per_month: int | None

    def details(self) -> dict[str, Any]:
        """Return the event's details."""
        return {
            "format": "outcomes",
            "file": self.file,
            "sha256": self.sha256,
            "datasets": list(self.datasets),
            "calls": self.calls,
            "tiers": [{"tier": tier, "model": model} for tier, model in self.tiers],
            "calls_per_month": self.calls_per_month,
        }


def make_plan(con: "DuckDBPyConnection", tiers: Mapping[str, str]) -> None:
    """Make ``plan`` and ``planned_calls`` from the good rows of ``staged``.

    Args:
        con: The connection that has ``staged``.
        tiers: Tier → model, cheapest first; the last model is the one that served.
    """
    con.execute("CREATE TABLE tiers (tier VARCHAR, model VARCHAR)")
    for tier, model in tiers.items():
        con.execute("INSERT INTO tiers VALUES (?, ?)", [tier, model])
    con.execute(
        f"""
        CREATE TABLE plan AS
        SELECT 'ic' || sha256({_CALL_KEY})[:30] AS call_id,
               'ia' || sha256({_CALL_KEY} || ':' || model)[:30] AS attempt_id,
               dataset, query_id, payload_type, model, tier, coalesce(model = $top, false) AS is_served,
               correct, CAST(round(cost_usd * 1e9) AS BIGINT) AS cost_nusd,
               CAST(prompt_tokens AS BIGINT) AS input_tokens, CAST(completion_tokens AS BIGINT) AS output_tokens,
               latency_s * 1000 AS latency_ms, confidence, extra,
               coalesce(starts_with(extra ->> '$.cost_basis', 'est'), false) AS is_estimated
        FROM staged LEFT JOIN tiers USING (model) WHERE reason IS NULL
        """,
        {"top": list(tiers.values())[-1] if tiers else None},
    )
    con.execute(
        """
        CREATE TABLE planned_calls AS
        SELECT call_id, any_value(dataset) AS dataset, any_value(query_id) AS query_id,
               any_value(payload_type) AS payload_type, bool_or(is_served) AS is_served,
               any_value(attempt_id) FILTER (is_served) AS served_attempt_id,
               any_value(tier) FILTER (is_served) AS tier, any_value(model) FILTER (is_served) AS model,
               any_value(confidence) FILTER (is_served) AS confidence,
               any_value(cost_nusd) FILTER (is_served) AS cost_nusd,
               any_value(latency_ms) FILTER (is_served) AS latency_ms
        FROM plan GROUP BY call_id
        """
    )


def load_known(con: "DuckDBPyConnection", home: Home, folder: Path) -> None:
    """Make the ``known_...`` tables from the log, by way of files in ``folder``."""
    if not home.log.exists():
        con.execute(_NOTHING_KNOWN)
        return
    for name, query in _KNOWN.items():
        target = folder / f"{name}.parquet"
        # the log is open for this copy only; comparing happens afterwards
        with reading(home) as log:
            log.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet)")
        con.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{target}')")


def refuse_rewrite(con: "DuckDBPyConnection", path: Path, home: Home) -> None:
    """Check that what the log holds already is what the file says.

    Raises:
        ConfigError: The log has the same rows with other tiers, costs or correctness.
    """
    moved = count(
        con,
        "SELECT count(*) FROM plan AS p JOIN known_attempts AS k USING (attempt_id)"
        " WHERE p.tier IS DISTINCT FROM k.tier OR p.is_served <> k.is_served",
    ) or count(
        con,
        "SELECT count(*) FROM planned_calls AS p JOIN known_calls AS k USING (call_id)"
        " WHERE p.served_attempt_id IS DISTINCT FROM k.served_attempt_id",
    )
    changed = count(
        con,
        "SELECT count(*) FROM plan AS p JOIN known_attempts AS k USING (attempt_id)"
        " WHERE p.cost_nusd IS DISTINCT FROM k.cost_nusd OR p.correct IS DISTINCT FROM k.correct",
    )
    way_out = f"the log in {home.root} is never rewritten: import into another --home"
    problems: list[Problem] = []
    if moved:
        message = f"in the log already with other tiers: {counted(moved, 'row or call', 'rows or calls')}; {way_out}"
        problems.append(Problem(path="--tiers", message=message))
    if changed:
        message = f"in the log already with another cost or correctness: {counted(changed, 'row')}; {way_out}"
        problems.append(Problem(path="rows", message=message))
    if problems:
        raise ConfigError(str(path), problems)


def count_new(con: "DuckDBPyConnection") -> tuple[int, int]:
    """Return how many planned attempts and calls the log does not hold yet."""
    return count(con, f"SELECT count(*) {_NEW_ATTEMPTS}"), count(con, f"SELECT count(*) {_NEW_CALLS}")


def is_known(con: "DuckDBPyConnection", facts: ImportFacts) -> bool:
    """Return whether the last import of this very file said the same about it."""
    row = con.execute(
        "SELECT details FROM known_imports WHERE details ->> '$.sha256' = ? ORDER BY imported_at DESC LIMIT 1",
        [facts.sha256],
    ).fetchone()
    return row is not None and json.loads(row[0]) == facts.details()


def write_lines(con: "DuckDBPyConnection", folder: Path, facts: ImportFacts, now_us: int) -> list[Path]:
    """Return files of spool lines, in order: the import itself, new attempts, new calls, new outcomes."""
    event = folder / "event.jsonl"
    line = {"k": "event", "at": now_us, "worker": "import", "event": "import", "details": facts.details()}
    event.write_text(json.dumps(line) + "\n", encoding="utf-8")
    parts = [event]
    for name, query in _LINES.items():
        part = folder / f"{name}.jsonl"
        con.execute(f"COPY ({query}) TO '{part}' (FORMAT json)")
        parts.append(part)
    return parts


def count(con: "DuckDBPyConnection", query: str) -> int:
    """Return the first number that a query gives."""
    row = con.execute(query).fetchone()
    return int(row[0]) if row is not None else 0
