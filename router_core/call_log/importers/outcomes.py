"""Import of the ``outcomes`` format: a static evaluation, one row per query and model.

One query becomes one call. The model of the mapping's top tier has the role ``serve``, every other model ``shadow`` with
propensity 1; models outside the mapping keep no tier. Without a mapping, or without a row for the top model, every attempt
is a shadow and the call's status is ``evaluation``. Unknown costs stay unknown; ``correct`` becomes an outcome of source ``gold``
per attempt. A static evaluation has no times.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router_core.call_log.home import Home
from router_core.call_log.importers.segment import publish
from router_core.call_log.importers.source import file_kind, open_source
from router_core.call_log.importers.tiers import require_known
from router_core.call_log.importers.validate import BadRows, check_columns, stage
from router_core.call_log.read import reading
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY_LIMIT = "1GB"
# lengths make the joined text unambiguous, whatever the names hold
_CALL_KEY = "length(dataset) || ':' || dataset || ':' || length(query_id) || ':' || query_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes:
        file: Name of the file.
        rows_read: Rows in it.
        rows_kept: Rows that are good; the others are in ``skipped``.
        rows_new: Kept rows that were not in the log yet.
        rows_known: Kept rows that were in the log already.
        rows_without_cost: Kept rows whose cost is unknown.
        rows_without_label: Kept rows without ``correct``.
        skipped: Rows left out, by reason.
        calls: Queries in the kept rows.
        calls_new: Those that were not in the log yet.
        calls_served: Those with a row for the top tier's model; the others are evaluations.
        models: Models in the kept rows.
        changed: Whether anything was written.
    """

    file: str
    rows_read: int
    rows_kept: int
    rows_new: int
    rows_known: int
    rows_without_cost: int
    rows_without_label: int
    skipped: tuple[BadRows, ...]
    calls: int
    calls_new: int
    calls_served: int
    models: int
    changed: bool


def import_outcomes(
    home: Home,
    path: Path,
    *,
    tiers: Mapping[str, str] | None = None,
    calls_per_month: int | None = None,
    skip_bad: bool = False,
    now_us: int,
) -> ImportReport:
    """Return what was handed to the ingester; the rows are in the log after its next run.

    The log must hold everything spooled so far, and the caller holds ``import_lock``.

    Args:
        home: Where the log is.
        path: Parquet, CSV or JSON lines file of the outcomes schema.
        tiers: Tier → model, cheapest first.
        calls_per_month: How many calls of this kind are made in a month; scales reports to monthly figures.
        skip_bad: Leave bad rows out instead of refusing the file.
        now_us: The present instant, microseconds since the epoch.

    Raises:
        ConfigError: The file or the mapping cannot be used, or the log holds the same rows with other values.
    """
    import duckdb

    kind = file_kind(path)
    with tempfile.TemporaryDirectory(prefix="tierwise-import-") as name, duckdb.connect() as con:
        folder = Path(name)
        con.execute("SET memory_limit = $1", [_MEMORY_LIMIT])
        con.execute("SET temp_directory = $1", [str(folder / "spill")])
        columns = open_source(con, path, folder)
        check_columns(path, columns)
        bad = stage(con, path, columns, as_text=kind == "csv")
        if bad and not skip_bad:
            raise ConfigError(str(path), [_bad_rows(rows) for rows in bad])
        models = [str(row[0]) for row in con.execute("SELECT DISTINCT model FROM staged WHERE reason IS NULL").fetchall()]
        require_known(tiers or {}, models, path.name)
        _plan(con, tiers or {})
        _load_known(con, home, folder)
        _refuse_rewrite(con, path, home)
        facts = _ImportFacts(
            file=path.name,
            sha256=_sha256(path),
            datasets=tuple(str(row[0]) for row in con.execute("SELECT DISTINCT dataset FROM plan ORDER BY 1").fetchall()),
            calls=_count(con, "SELECT count(*) FROM planned_calls"),
            tiers=tuple((tiers or {}).items()),
            calls_per_month=calls_per_month,
        )
        report = _report(con, path, bad, len(models), changed=_is_news(con, facts))
        if report.changed:
            publish(home, _lines(con, folder, facts, now_us), facts.sha256, now_us)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImportFacts:
    file: str
    sha256: str
    datasets: tuple[str, ...]
    calls: int
    tiers: tuple[tuple[str, str], ...]
    calls_per_month: int | None

    def details(self) -> dict[str, Any]:
        return {
            "format": "outcomes",
            "file": self.file,
            "sha256": self.sha256,
            "datasets": list(self.datasets),
            "calls": self.calls,
            "tiers": [{"tier": tier, "model": model} for tier, model in self.tiers],
            "calls_per_month": self.calls_per_month,
        }


def _bad_rows(bad: BadRows) -> Problem:
    plural = "s" if bad.rows != 1 else ""
    where = "row" if bad.rows == 1 else "first is row"
    return Problem(
        path="rows",
        message=f"{bad.rows:,} row{plural}: {bad.reason} ({where} {bad.first_row:,}); mend the file, or leave them out with --skip-bad",
    )


def _plan(con: "DuckDBPyConnection", tiers: Mapping[str, str]) -> None:
    con.execute("CREATE TABLE tiers (tier VARCHAR, model VARCHAR)")
    for tier, model in tiers.items():
        con.execute("INSERT INTO tiers VALUES (?, ?)", [tier, model])
    top = list(tiers.values())[-1] if tiers else None
    con.execute(
        f"""
        CREATE TABLE plan AS
        SELECT 'ic' || sha256({_CALL_KEY})[:30] AS call_id, 'ia' || sha256({_CALL_KEY} || ':' || model)[:30] AS attempt_id,
               dataset, query_id, payload_type, model, tier, coalesce(model = $top, false) AS is_served,
               correct, CAST(round(cost_usd * 1e9) AS BIGINT) AS cost_nusd,
               CAST(prompt_tokens AS BIGINT) AS input_tokens, CAST(completion_tokens AS BIGINT) AS output_tokens,
               latency_s * 1000 AS latency_ms, confidence, extra,
               coalesce(starts_with(extra ->> '$.cost_basis', 'est'), false) AS is_estimated
        FROM staged LEFT JOIN tiers USING (model) WHERE reason IS NULL
        """,
        {"top": top},
    )
    con.execute(
        """
        CREATE TABLE planned_calls AS
        SELECT call_id, any_value(dataset) AS dataset, any_value(query_id) AS query_id, any_value(payload_type) AS payload_type,
               bool_or(is_served) AS is_served,
               any_value(attempt_id) FILTER (is_served) AS served_attempt_id, any_value(tier) FILTER (is_served) AS tier,
               any_value(model) FILTER (is_served) AS model, any_value(confidence) FILTER (is_served) AS confidence,
               any_value(cost_nusd) FILTER (is_served) AS cost_nusd, any_value(latency_ms) FILTER (is_served) AS latency_ms
        FROM plan GROUP BY call_id
        """
    )


def _load_known(con: "DuckDBPyConnection", home: Home, folder: Path) -> None:
    exports = {
        "known_attempts": """
            SELECT a.attempt_id, a.tier, a.role = 'serve' AS is_served, a.cost_nusd, o.correct
            FROM attempts AS a LEFT JOIN (
                SELECT attempt_id, max(correct) AS correct FROM outcomes
                WHERE source = 'gold' AND received_at IS NULL GROUP BY attempt_id
            ) AS o USING (attempt_id) WHERE a.source = 'import'""",
        "known_calls": "SELECT call_id, served_attempt_id FROM calls WHERE source = 'import'",
        "known_imports": """SELECT "at" AS imported_at, details FROM events WHERE event = 'import'""",
    }
    if home.log.exists():
        # one short read per table; comparing happens afterwards, with the log free again
        for name, query in exports.items():
            target = folder / f"{name}.parquet"
            with reading(home) as log:
                log.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet)")
            con.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{target}')")
        return
    con.execute(
        "CREATE TABLE known_attempts"
        " (attempt_id VARCHAR, tier VARCHAR, is_served BOOLEAN, cost_nusd BIGINT, correct DOUBLE);"
        "CREATE TABLE known_calls (call_id VARCHAR, served_attempt_id VARCHAR);"
        "CREATE TABLE known_imports (imported_at TIMESTAMP, details JSON);"
    )


def _refuse_rewrite(con: "DuckDBPyConnection", path: Path, home: Home) -> None:
    row = con.execute(
        """
        SELECT count(*) FILTER (p.tier IS DISTINCT FROM k.tier OR p.is_served <> k.is_served),
               count(*) FILTER (p.cost_nusd IS DISTINCT FROM k.cost_nusd OR p.correct IS DISTINCT FROM k.correct)
        FROM plan AS p JOIN known_attempts AS k USING (attempt_id)
        """
    ).fetchone()
    moved, changed = row if row is not None else (0, 0)
    moved += _count(
        con,
        "SELECT count(*) FROM planned_calls AS p JOIN known_calls AS k USING (call_id)"
        " WHERE p.served_attempt_id IS DISTINCT FROM k.served_attempt_id",
    )
    way_out = f"a log is never rewritten, so import into another home (--home), or remove {home.root} first"
    problems: list[Problem] = []
    if moved:
        message = f"{moved:,} rows are in the log already with other tiers; {way_out}"
        problems.append(Problem(path="--tiers", message=message))
    if changed:
        message = f"{changed:,} rows are in the log already with another cost or correctness; {way_out}"
        problems.append(Problem(path="rows", message=message))
    if problems:
        raise ConfigError(str(path), problems)


def _is_news(con: "DuckDBPyConnection", facts: _ImportFacts) -> bool:
    unknown = "SELECT count(*) FROM plan ANTI JOIN known_attempts USING (attempt_id)"
    if _count(con, unknown):
        return True
    row = con.execute(
        "SELECT details FROM known_imports WHERE details ->> '$.sha256' = ? ORDER BY imported_at DESC LIMIT 1", [facts.sha256]
    ).fetchone()
    return row is None or json.loads(row[0]) != facts.details()


def _report(
    con: "DuckDBPyConnection", path: Path, skipped: tuple[BadRows, ...], models: int, *, changed: bool
) -> ImportReport:
    kept = _count(con, "SELECT count(*) FROM plan")
    new = _count(con, "SELECT count(*) FROM plan ANTI JOIN known_attempts USING (attempt_id)")
    return ImportReport(
        file=path.name,
        rows_read=kept + sum(rows.rows for rows in skipped),
        rows_kept=kept,
        rows_new=new,
        rows_known=kept - new,
        rows_without_cost=_count(con, "SELECT count(*) FROM plan WHERE cost_nusd IS NULL"),
        rows_without_label=_count(con, "SELECT count(*) FROM plan WHERE correct IS NULL"),
        skipped=skipped,
        calls=_count(con, "SELECT count(*) FROM planned_calls"),
        calls_new=_count(con, "SELECT count(*) FROM planned_calls ANTI JOIN known_calls USING (call_id)"),
        calls_served=_count(con, "SELECT count(*) FROM planned_calls WHERE is_served"),
        models=models,
        changed=changed,
    )


_LINES = {
    "attempts": """
        SELECT 'attempt' AS k, p.attempt_id, 'ir' || p.attempt_id[3:] AS request_id, p.call_id,
               row_number() OVER (PARTITION BY p.call_id ORDER BY p.is_served DESC, p.model) AS n,
               p.payload_type, p.dataset AS run, false AS critical, CASE WHEN p.is_served THEN 'serve' ELSE 'shadow' END AS role,
               1.0 AS propensity, p.tier, p.model AS request_model, p.input_tokens, p.output_tokens, p.cost_nusd,
               CASE WHEN p.cost_nusd IS NULL THEN 'unknown' WHEN p.is_estimated THEN 'estimated' ELSE 'exact' END AS cost_status,
               p.latency_ms, 'ok' AS status, p.confidence,
               CASE WHEN p.confidence IS NULL THEN 'none' ELSE 'caller' END AS confidence_source, 'import' AS source, p.extra
        FROM plan AS p ANTI JOIN known_attempts USING (attempt_id) ORDER BY p.call_id, n""",
    "calls": """
        SELECT 'call' AS k, p.call_id, p.dataset AS run, p.query_id AS step, p.payload_type, p.served_attempt_id,
               p.tier AS tier_planned, p.tier AS tier_served, p.model AS model_served, 'imported' AS reason, false AS critical,
               false AS degraded, 0 AS escalations, 0 AS fallbacks, p.confidence,
               CASE WHEN p.confidence IS NULL THEN 'none' ELSE 'caller' END AS confidence_source,
               CASE WHEN p.is_served THEN p.cost_nusd ELSE 0 END AS cost_nusd, CAST(p.is_served AS INTEGER) AS attempts,
               p.latency_ms, CASE WHEN p.is_served THEN 'ok' ELSE 'evaluation' END AS status, false AS cache_hit,
               'import' AS source
        FROM planned_calls AS p ANTI JOIN known_calls USING (call_id) ORDER BY p.call_id""",
    "outcomes": """
        SELECT 'outcome' AS k, p.call_id, p.attempt_id, p.correct, 'gold' AS source, 1.0 AS label_propensity
        FROM plan AS p ANTI JOIN known_attempts USING (attempt_id) WHERE p.correct IS NOT NULL ORDER BY p.call_id, p.attempt_id""",
}


def _lines(con: "DuckDBPyConnection", folder: Path, facts: _ImportFacts, now_us: int) -> list[Path]:
    event = folder / "event.jsonl"
    line = {"k": "event", "at": now_us, "worker": "import", "event": "import", "details": facts.details()}
    event.write_text(json.dumps(line) + "\n")
    parts = [event]
    for name, query in _LINES.items():
        part = folder / f"{name}.jsonl"
        con.execute(f"COPY ({query}) TO '{part}' (FORMAT json)")
        parts.append(part)
    return parts


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _count(con: "DuckDBPyConnection", query: str) -> int:
    row = con.execute(query).fetchone()
    return int(row[0]) if row is not None else 0
