"""The command that looks for moves: ``propose``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router_core.commands import CONFIG_NAME, HomeOption, JsonOption, examples, existing_home

if TYPE_CHECKING:
    from optimizer.lifecycle import PublishReport
    from optimizer.propose import Sheet
    from router_core.call_log.home import Home

app = typer.Typer(rich_markup_mode=None, add_completion=False)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="The routing config. Default: the one in the home, else beside it.", show_default=False
    ),
]


@app.command(epilog=examples("tierwise propose --dry-run", "tierwise propose --error-cost-usd 0.50 --json"))
def propose(
    window_days: Annotated[int, typer.Option(min=1, max=3650, help="Days of calls that count.")] = 56,
    error_cost_usd: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1e9, help="Price of a wrong answer for types without error_cost_usd.", show_default=False
        ),
    ] = None,
    most_harm: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Largest chance that a move makes over 2 points more answers wrong. Default: dollars decide.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of all draws; the same log and seed give the same figures.")
    ] = 0,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="INSTANT", help="End of the window. Default: now; of a demo, its last call."),
    ] = None,
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be proposed; publish nothing.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for payload types to move up or down, and say what each verdict rests on.

    Money saved and money lost to mistakes are weighed together, with 90 % intervals. Where the log cannot tell, it says
    which shadow calls would, and what they cost. Proposals are published for review; nothing is changed.
    """
    from dataclasses import replace

    import orjson

    from optimizer.commands.options import end_of_log
    from optimizer.propose import propose as look
    from optimizer.rules import RULES
    from optimizer.sheet_text import sheet_data, sheet_text
    from router_core.control.config_file import load
    from router_core.watch import ensure_ingested

    found = existing_home(home)
    path = _config_path(config, found)
    routing = load(path)
    ensure_ingested(found)
    sheet = look(
        found,
        routing,
        now_us=end_of_log(as_of, found, routing, time.time_ns() // 1000),
        window_days=window_days,
        seed=seed,
        error_cost_usd=error_cost_usd,
        rules=replace(RULES, most_harm=most_harm),
    )
    report = None if dry_run else _publish(found, path, sheet)
    if as_json:
        typer.echo(orjson.dumps(sheet_data(sheet, report), option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(sheet_text(sheet, report))


def _config_path(given: Path | None, home: "Home") -> Path:
    from router_core.errors import ConfigError, Problem

    if given is not None:
        return given
    for folder in (home.root, home.root.parent):
        path = folder / CONFIG_NAME
        if path.exists():
            return path
    message = f"no {CONFIG_NAME} in {home.root} or beside it; name it with --config"
    raise ConfigError(CONFIG_NAME, [Problem(path="", message=message)])


def _publish(home: "Home", config: Path, sheet: "Sheet") -> "PublishReport":
    from optimizer.lifecycle import Desk
    from router_core.control.access import account_name
    from router_core.control.records import Actor

    desk = Desk(home, config, lambda: time.time_ns() // 1000)
    name = account_name()
    actor = Actor(name=name, role=desk.access().role_of(name, local=True), auth="command")
    return desk.publish(
        sheet.drafts,
        sheet.verdicts,
        actor,
        window_us=sheet.window_us,
        portfolio=sheet.totals(),
        calibrations=sheet.calibrations,
    )
