"""Import of a log that another tool wrote: one engine for all formats, each with its own column map.

Records are read one after the other and become rows in a file; linking them to calls and comparing with the log happens
in an in-memory DuckDB that may spill to disk. So memory stays flat, whatever the file's size. The result is one spool
segment, there whole or not at all.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from router_core.call_log.home import Home
from router_core.call_log.importers import calls
from router_core.call_log.importers.log_report import LogImportReport, Skipped, summarise
from router_core.call_log.importers.maps import LogMap
from router_core.call_log.importers.reading import ImportRules, LogSource, Tally, read_rows
from router_core.call_log.importers.segment import import_lock, publish
from router_core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MEMORY_LIMIT: Final = "200MB"
_SHOWN_REASONS: Final = 30


def import_log(
    home: Home,
    source: LogSource,
    log_map: LogMap,
    rules: ImportRules,
    *,
    now_us: int,
    catch_up: Callable[[Home], None],
    dry_run: bool = False,
    progress: Callable[[float], None] | None = None,
) -> LogImportReport:
    """Return what was handed to the ingester; the rows are in the log after its next run.

    A log that cannot be used is refused before anything is written, the home included.

    Args:
        home: Where the log is.
        source: What to import.
        log_map: Its column map.
        rules: How rows are read.
        now_us: The present instant, microseconds since the epoch.
        catch_up: Brings the imports that are still spooled into the log, with which this one is then compared.
        dry_run: Write nothing, and compare with nothing.
        progress: Called now and then with the share of the source that has been read, 0..1.

    Raises:
        ConfigError: The source, the map or the home cannot be used.
        RouterError: Another import is at work.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="tierwise-import-") as name, ExitStack() as stack:
        folder = Path(name)
        # before DuckDB has threads: a second process may take a share of the reading
        tally, rows = read_rows(source, log_map, rules, folder, progress)
        _refuse_bad(source.name, tally.skipped(), skip_bad=rules.skip_bad)
        rules.check_end()
        con = stack.enter_context(duckdb.connect())
        con.execute("SET memory_limit = $limit", {"limit": _MEMORY_LIMIT})
        con.execute("SET threads = 1")
        con.execute("SET preserve_insertion_order = false")
        con.execute("SET temp_directory = $folder", {"folder": str(folder / "spill")})
        calls.load_rows(con, rows)
        for path in rows:
            path.unlink()
        if dry_run or not _count(con, "SELECT count(*) FROM identified"):
            calls.know_nothing(con)
            calls.link(con, links_failures=log_map.links_failures)
            return _report(con, source, log_map, tally, is_dry=True)
        with import_lock(home.create()):
            catch_up(home)
            calls.load_known(con, home, folder)
            calls.link(con, links_failures=log_map.links_failures)
            report = _report(con, source, log_map, tally, is_dry=False)
            if report.rows_new:
                event = _event(folder, report, source.sha256, now_us)
                publish(home, [event, *calls.write_lines(con, folder)], source.sha256, now_us)
    return report


def _refuse_bad(name: str, skipped: tuple[Skipped, ...], *, skip_bad: bool) -> None:
    bad = [one for one in skipped if one.is_bad]
    if bad and not skip_bad:
        problems = [Problem(path=f"{one.place}s", message=one.text()) for one in bad[:_SHOWN_REASONS]]
        if len(bad) > _SHOWN_REASONS:
            problems.append(Problem(path="rows", message=f"and {len(bad) - _SHOWN_REASONS:,} more kinds of trouble"))
        last = problems[-1]
        way_out = f"{last.message}; mend the file, or leave bad rows out with --skip-bad"
        problems[-1] = Problem(path=last.path, message=way_out)
        raise ConfigError(name, problems)


def _report(
    con: "DuckDBPyConnection", source: LogSource, log_map: LogMap, tally: Tally, *, is_dry: bool
) -> LogImportReport:
    return summarise(
        con,
        name=source.name,
        log_map=log_map,
        rows_read=tally.read,
        skipped=tally.skipped(),
        not_read=tally.not_read(),
        preview=tuple(tally.preview) if is_dry else (),
        zoneless=tally.zoneless,
        is_dry=is_dry,
    )


def _event(folder: Path, report: LogImportReport, sha256: str, now_us: int) -> Path:
    path = folder / "event.jsonl"
    details: Mapping[str, Any] = {"sha256": sha256, **report.details()}
    line = {"k": "event", "at": now_us, "worker": "import", "event": "log_import", "details": details}
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    return path


def _count(con: "DuckDBPyConnection", query: str) -> int:
    row = con.execute(query).fetchone()
    return int(row[0]) if row is not None else 0
