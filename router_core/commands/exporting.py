"""The command ``export``. Only typer and the standard library are imported at the top."""

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router_core.commands.importing import finish_imports
from router_core.commands.options import (
    HomeOption,
    JsonOption,
    configured_zone,
    examples,
    existing_home,
    print_json,
    progress_bar,
)

if TYPE_CHECKING:
    from router_core.call_log.export import Table

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class ExportFormat(StrEnum):
    """Formats that ``export`` writes."""

    parquet = "parquet"
    csv = "csv"


@app.command(
    epilog=examples(
        "tierwise export --out log-2026",
        "tierwise export --out november --since 2026-11-01 --until 2026-12-01 --what attempts,calls --format csv",
    )
)
def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder that is not there yet.")],
    file_format: Annotated[
        ExportFormat, typer.Option("--format", help="parquet, or csv for programs without it.")
    ] = ExportFormat.parquet,
    what: Annotated[str, typer.Option(help="Tables, separated by commas.")] = "attempts,calls,outcomes",
    since: Annotated[
        str | None, typer.Option(help="First day or instant: 2026-11-01, 2026-11-01T12:00, 7d, 24h.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="First day or instant that no longer counts.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of days. Default: that of the routing.yaml beside the home.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the log's raw rows as files, one folder per table and day.

    Any engine reads them: DIR/attempts/day=2026-11-01/part-0.parquet. Times are UTC, money is integer nano-dollars; the
    columns are those of the tables, see docs/log-schema.md. manifest.json says what is in the folder, and tierwise
    import DIR brings the same rows back. In CSV files a ' stands before text that a spreadsheet would take for a
    formula.
    """
    from router_core.call_log.export import ExportPlan, export_log
    from router_core.call_log.instants import find_zone, parse_instant
    from router_core.call_log.transfer_text import export_text

    found = existing_home(home)
    zone = find_zone(timezone or configured_zone(found))
    now = dt.datetime.now(dt.UTC)
    plan = ExportPlan(
        tables=_tables(what),
        file_format=file_format.value,
        zone=zone.key,
        since=parse_instant(since, zone, now, "--since"),
        until=parse_instant(until, zone, now, "--until"),
    )
    finish_imports(found)
    with progress_bar("Exporting", 1_000) as bar:
        report = export_log(
            found, out, plan, now=now, progress=lambda done, total: bar.update(1_000 * done // total - bar.pos)
        )
    if as_json:
        print_json(report)
    else:
        typer.echo(export_text(report))


def _tables(what: str) -> "tuple[Table, ...]":
    from router_core.call_log.export import TABLE_NAMES
    from router_core.errors import ConfigError, Problem

    named = [name.strip() for name in what.split(",")]
    unknown = [name for name in named if name not in TABLE_NAMES]
    if unknown:
        message = f"{unknown[0]!r} is no table; choose from {', '.join(TABLE_NAMES)}"
        raise ConfigError("--what", [Problem(path="value", message=message)])
    return tuple(name for name in TABLE_NAMES if name in named)
