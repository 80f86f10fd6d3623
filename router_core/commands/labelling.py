"""The command ``outcomes``. Only typer and the standard library are imported at the top."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from router_core.commands.importing import finish_imports
from router_core.commands.options import HomeOption, JsonOption, examples, existing_home, print_json

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class LabelSource(StrEnum):
    """Who may say whether an answer was right."""

    gold = "gold"
    user = "user"
    judge = "judge"
    transfer = "transfer"


@app.command(
    epilog=examples(
        "tierwise outcomes", "tierwise outcomes audit.csv --source gold", "tierwise outcomes labels.parquet --dry-run"
    )
)
def outcomes(
    file: Annotated[
        Path | None, typer.Argument(help="CSV, JSON lines, JSON or Parquet; without it, what labels there are.")
    ] = None,
    source: Annotated[LabelSource, typer.Option(help="Who says so, where a row does not.")] = LabelSource.user,
    timezone: Annotated[str, typer.Option(help="Zone of received_at where it names none.")] = "UTC",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come of it; write nothing.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Log what was learned about answers, many at once, or show what is known.

    A row has correct (0..1) or error_usd or both, and names its answer: call_id, or attempt_id (a shadow's, say), or
    run: every served call of it, with payload_type those of that type, with step the newest of that step. It may have
    source, label_propensity and received_at. It is taken whole or not at all; taken again, it changes nothing.
    """
    import tempfile

    import orjson

    from router_core.call_log.importers.segment import import_lock, publish
    from router_core.call_log.instants import find_zone
    from router_core.call_log.outcome_intake import outcome_lines
    from router_core.call_log.outcome_report import intake_text, label_report, label_text
    from router_core.call_log.read import reading

    found = existing_home(home)
    finish_imports(found)
    if file is None:
        with reading(found) as log:
            known = label_report(log)
        print_json(known) if as_json else typer.echo(label_text(known))
        return
    now_us = time.time_ns() // 1000
    with import_lock(found), tempfile.TemporaryDirectory(prefix="tierwise-outcomes-") as folder:
        report, lines = outcome_lines(found, file, default_source=source.value, now_us=now_us, zone=find_zone(timezone))
        if lines and not dry_run:
            part = Path(folder) / "labels.jsonl"
            part.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
            publish(found, [part], f"{now_us:x}", now_us)
    if lines and not dry_run:
        finish_imports(found)
    if as_json:
        print_json(report)
    else:
        typer.echo(intake_text(file.name, report))
        typer.echo("Nothing was written." if dry_run else "")
