"""Import of the ``outcomes`` format: a static evaluation, one row per query and model.

One query becomes one call. The model of the mapping's top tier has the role ``serve``, every other model ``shadow``
with propensity 1; models outside the mapping keep no tier. Without a mapping, or without a row for the top model, every
attempt is a shadow and the call's status is ``evaluation``. Unknown costs stay unknown; ``correct`` becomes an outcome
of source ``gold`` per attempt. A static evaluation has no times.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from router_core.call_log.home import Home
from router_core.call_log.importers.plan import (
    ImportFacts,
    count,
    count_new,
    is_known,
    load_known,
    make_plan,
    refuse_rewrite,
    write_lines,
)
from router_core.call_log.importers.segment import import_lock, publish
from router_core.call_log.importers.source import file_kind, open_source
from router_core.call_log.importers.tiers import require_known
from router_core.call_log.importers.validate import BadRows, check_columns, stage
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY_LIMIT = "1GB"


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
    catch_up: Callable[[Home], None],
) -> ImportReport:
    """Return what was handed to the ingester; the rows are in the log after its next run.

    A file that cannot be used is refused before anything is written, the home included.

    Args:
        home: Where the log is.
        path: Parquet, CSV or JSON lines file of the outcomes schema.
        tiers: Tier → model, cheapest first.
        calls_per_month: How many calls of this kind are made in a month; scales reports to monthly figures.
        skip_bad: Leave bad rows out instead of refusing the file.
        now_us: The present instant, microseconds since the epoch.
        catch_up: Brings the imports that are still spooled into the log, with which this one is then compared.

    Raises:
        ConfigError: The file, the mapping or the home cannot be used, or the log has the same rows with other values.
        RouterError: Another import is at work.
    """
    import duckdb

    kind = file_kind(path)
    mapping = tiers or {}
    with tempfile.TemporaryDirectory(prefix="tierwise-import-") as name, duckdb.connect() as con:
        folder = Path(name)
        con.execute("SET memory_limit = $limit", {"limit": _MEMORY_LIMIT})
        con.execute("SET temp_directory = $folder", {"folder": str(folder / "spill")})
        columns = open_source(con, path, folder)
        check_columns(path, columns)
        bad = stage(con, path, columns, as_text=kind == "csv")
        if bad and not skip_bad:
            raise ConfigError(str(path), [_bad_rows(rows) for rows in bad])
        require_known(mapping, _texts(con, "SELECT DISTINCT model FROM staged WHERE reason IS NULL"), path.name)
        make_plan(con, mapping)
        facts = ImportFacts(
            file=path.name,
            sha256=_sha256(path),
            datasets=tuple(_texts(con, "SELECT DISTINCT dataset FROM plan ORDER BY dataset")),
            calls=count(con, "SELECT count(*) FROM planned_calls"),
            tiers=tuple(mapping.items()),
            calls_per_month=calls_per_month,
        )
        with import_lock(home.create()):
            catch_up(home)
            load_known(con, home, folder)
            refuse_rewrite(con, path, home)
            report = _report(con, facts, bad)
            if report.changed:
                publish(home, write_lines(con, folder, facts, now_us), facts.sha256, now_us)
    return report


def _bad_rows(bad: BadRows) -> Problem:
    rows = f"1 row, row {bad.first_row:,}" if bad.rows == 1 else f"{bad.rows:,} rows, first is row {bad.first_row:,}"
    return Problem(path="rows", message=f"{bad.reason} ({rows}); mend the file, or leave them out with --skip-bad")


def _report(con: "DuckDBPyConnection", facts: ImportFacts, skipped: tuple[BadRows, ...]) -> ImportReport:
    kept = count(con, "SELECT count(*) FROM plan")
    new_rows, new_calls = count_new(con)
    return ImportReport(
        file=facts.file,
        rows_read=kept + sum(rows.rows for rows in skipped),
        rows_kept=kept,
        rows_new=new_rows,
        rows_known=kept - new_rows,
        rows_without_cost=count(con, "SELECT count(*) FROM plan WHERE cost_nusd IS NULL"),
        rows_without_label=count(con, "SELECT count(*) FROM plan WHERE correct IS NULL"),
        skipped=skipped,
        calls=facts.calls,
        calls_new=new_calls,
        calls_served=count(con, "SELECT count(*) FROM planned_calls WHERE is_served"),
        models=count(con, "SELECT count(DISTINCT model) FROM plan"),
        changed=bool(new_rows or new_calls or not is_known(con, facts)),
    )


def _texts(con: "DuckDBPyConnection", query: str) -> list[str]:
    return [str(row[0]) for row in con.execute(query).fetchall()]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
