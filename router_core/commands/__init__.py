"""Commands of the router: ``check``, ``import``, ``export``, ``ingest``, ``watch``, ``doctor``, ``spend``, ``calls``.

Only typer and the standard library are imported at the top, so that ``--help`` is quick.
"""

import dataclasses
import datetime as dt
import os
import shutil
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from router_core.commands import exporting, importing, labelling
from router_core.commands.options import (
    CONFIG_NAME,
    HomeOption,
    JsonOption,
    configured_zone,
    examples,
    existing_home,
    find_home,
    print_json,
    progress_bar,
)

if TYPE_CHECKING:
    from router_core.call_log.home import Home

__all__ = ["CONFIG_NAME", "HomeOption", "JsonOption", "app", "examples", "existing_home", "find_home"]

app = typer.Typer(rich_markup_mode=None, add_completion=False)
app.add_typer(importing.app)
app.add_typer(exporting.app)
app.add_typer(labelling.app)
KeepOption = Annotated[
    float | None,
    typer.Option(
        "--keep-days",
        envvar="TIERWISE_KEEP_DAYS",
        min=0,
        metavar="DAYS",
        help="Remove routers' segments that were last written before so many days and are in the log; not imports.",
        show_default=False,
    ),
]


_FILTERS = "payload_type, tier, model, role, source"


class SpendBy(StrEnum):
    """What ``spend`` may group by."""

    payload_type = "payload_type"
    tier = "tier"
    model = "model"
    role = "role"
    day = "day"
    run = "run"


@app.command(epilog=examples("tierwise check", "tierwise check other.yaml --json"))
def check(
    config: Annotated[Path, typer.Argument(help="The routing config.")] = Path(CONFIG_NAME),
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that share the budgets. Default: those last seen.", show_default=False),
    ] = None,
    concurrent: Annotated[
        int | None,
        typer.Option(min=1, help="Requests in flight over all processes. Default: as last seen.", show_default=False),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a routing config: its rules, prices and keys, and what its budgets promise.

    Every target needs a price, every provider a key; functions that it names as pre-checks are imported. Keys are
    looked for by name; their values are not read. Exit code 2 when something is wrong.
    """
    from router_core.admission import unbounded
    from router_core.backends.targets import target_states, targets_text
    from router_core.call_log.home import home_beside
    from router_core.commands.limits import promise_facts, report_of, report_text, state_facts, states_text
    from router_core.config import parse, unsupported
    from router_core.errors import ConfigError
    from router_core.prechecks import unusable_functions
    from router_core.prices import PriceBook

    # an application's own functions are found from where it is started, which a console script does not look at
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    routing = parse(_read_config(config), source=str(config))
    book = PriceBook(routing.prices, routing.on_unpriced, version=routing.content_hash)
    now_us = time.time_ns() // 1000
    targets = target_states(routing, book, os.environ, now_us)
    problems = [*unsupported(routing), *(problem for target in targets for problem in target.problems())]
    problems += [*unbounded(routing, book, now_us), *unusable_functions(routing)]
    control = home_beside(config, None if home is None else str(home)).control
    limits = report_of(routing, book, control, now_us, processes=processes, concurrent=concurrent)
    if as_json:
        print_json(
            {
                "ok": not problems,
                "config_version": routing.content_hash,
                "targets": targets,
                "promises": [promise_facts(promise) for promise in limits.promises],
                "limits": [state_facts(state) for state in limits.states],
                "problems": problems,
            }
        )
    else:
        typer.echo(f"config version {routing.content_hash}, {len(routing.payload_types)} payload types\n")
        typer.echo(targets_text(targets))
        for text in (report_text(limits), states_text(limits.states, ZoneInfo(routing.timezone))):
            if text:
                typer.echo(f"\n{text}")
    if problems:
        raise ConfigError(str(config), problems)
    if not as_json:
        typer.echo("\nNothing is wrong.")


@app.command(epilog=examples("tierwise ingest", "tierwise ingest --home /srv/tierwise", "tierwise ingest --rebuild"))
def ingest(
    keep_days: KeepOption = None,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Set the log's file aside and make it anew from all segments that are kept (see doctor)."
        ),
    ] = False,
    sums: Annotated[bool, typer.Option("--sums", help="Compute all hourly sums anew from the rows.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring everything spooled so far into the log, once.

    A log whose file was deleted is made anew from the segments that are kept. This command removes none of them unless
    --keep-days says so.
    """
    from router_core.call_log.ingest import ingest_once
    from router_core.call_log.report_text import ingest_text

    found = existing_home(home)
    with progress_bar("Ingesting", 100) as bar:
        report = ingest_once(
            found,
            progress=lambda done, total: bar.update(100 * done // total - bar.pos),
            keep_days=keep_days,
            rebuild=rebuild,
            sums=sums,
        )
    if as_json:
        print_json(report)
    else:
        typer.echo(ingest_text(report))


@app.command(epilog=examples("tierwise watch", "tierwise watch --home /srv/tierwise &"))
def watch(keep_days: KeepOption = None, home: HomeOption = None) -> None:
    """Run the background process that keeps the log up to date.

    It brings what routers spool into the log within seconds, until it is interrupted. What it has read is kept,
    compressed, for 30 days, so that a lost log can be made anew from it.
    """
    from router_core.call_log.archive import KEEP_DAYS
    from router_core.watch import watch as run

    run(find_home(home).create(), keep_days=KEEP_DAYS if keep_days is None else keep_days)


@app.command(epilog=examples("tierwise doctor", "tierwise doctor --verify", "tierwise doctor --json"))
def doctor(
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Also prove that sums are those of the rows, and costs those of their tokens; takes a while.",
        ),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at the home and say what is wrong and how to mend it. Exit code 1 when something is."""
    from router_core.cache import cache_findings
    from router_core.call_log.doctor import diagnose
    from router_core.call_log.report_text import findings_text
    from router_core.control.checkup import control_findings

    found = find_home(home)
    findings = diagnose(found, Path(CONFIG_NAME), time.time()) + control_findings(found, Path(CONFIG_NAME))
    findings += cache_findings(found)
    if verify:
        from router_core.call_log.verify import prove

        with progress_bar("Verifying", 100) as bar:
            findings += prove(found, lambda done, total: bar.update(100 * done // total - bar.pos))
    if as_json:
        print_json(findings)
    else:
        typer.echo(findings_text(findings, shutil.get_terminal_size((0, 0)).columns or None))
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


@app.command(
    epilog=examples(
        "tierwise spend",
        "tierwise spend --saved",
        "tierwise spend --by model --json",
        "tierwise spend --by day --since 7d --only role=serve",
    )
)
def spend(
    by: Annotated[SpendBy, typer.Option(help="What to group by.")] = SpendBy.payload_type,
    since: Annotated[
        str | None, typer.Option(help="First day or instant: 2026-11-01, 2026-11-01T12:00, 7d, 24h.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="First day or instant that no longer counts.")] = None,
    timezone: Annotated[
        str | None,
        typer.Option(help="Zone of days, e.g. Europe/Berlin. Default: that of the routing.yaml beside the home."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help=f"Only attempts with this value; again for more: {_FILTERS}."),
    ] = None,
    saved: Annotated[
        bool, typer.Option("--saved", help="Show what pre-checks, cache, packing, correction and cheap-first saved.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was spent, with latency and correctness, or what was saved.

    Spend is the sum over all attempts; means cover the attempts that have a value.
    """
    from router_core.call_log.instants import find_zone, parse_instant
    from router_core.call_log.read import reading
    from router_core.call_log.report_text import spend_text
    from router_core.call_log.reports import SpendFilter
    from router_core.call_log.reports import spend as query
    from router_core.call_log.savings import savings, savings_text

    found = existing_home(home)
    zone = find_zone(timezone or configured_zone(found))
    now = dt.datetime.now(dt.UTC)
    where = SpendFilter(
        since=parse_instant(since, zone, now, "--since"),
        until=parse_instant(until, zone, now, "--until"),
        **_filters(only or []),
    )
    _catch_up(found)
    if saved:
        with reading(found) as log:
            savings_found = savings(log, where.since, where.until)
        print_json(savings_found) if as_json else typer.echo(savings_text(savings_found))
        return
    with reading(found) as log:
        rows = query(log, by.value, where, zone.key)
    if as_json:
        print_json(rows)
    else:
        typer.echo(spend_text(by.value, rows))


@app.command(
    epilog=examples("tierwise calls", "tierwise calls --limit 100 --json", "tierwise calls --degraded --run job-42")
)
def calls(
    call_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A call's id, or how it starts.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many calls to list.")] = 20,
    payload_type: Annotated[str | None, typer.Option(help="List only calls of this payload type.")] = None,
    run: Annotated[str | None, typer.Option(help="List only calls of this run.")] = None,
    degraded: Annotated[
        bool,
        typer.Option("--degraded", help="List only calls that a limit served below their plan and nobody made up for."),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest calls, or show the receipt of one.

    A receipt shows each attempt with its tokens and prices, its checks and confidence, and what was decided after it.
    With the cache enabled, a job that is run again redoes exactly the steps that --degraded lists.
    """
    from router_core.call_log.read import reading
    from router_core.call_log.receipt_text import calls_text
    from router_core.call_log.receipts import newest_calls

    found = existing_home(home)
    _catch_up(found)
    if call_id is not None:
        _show_call(found, call_id, as_json=as_json)
        return
    with reading(found) as log:
        rows = newest_calls(log, limit, payload_type, run=run, only_degraded=degraded)
    if as_json:
        print_json(rows)
    else:
        typer.echo(calls_text(rows) if rows else "No such calls." if degraded or run else "No calls in the log.")


def _filters(only: list[str]) -> dict[str, str]:
    from router_core.errors import ConfigError, Problem

    known = _FILTERS.split(", ")
    pairs = [(name.strip(), value) for name, _, value in (text.partition("=") for text in only)]
    problems = [
        Problem(path="value", message=f"{name!r} is nothing to filter by; write NAME=VALUE with one of {_FILTERS}")
        for name, value in pairs
        if name not in known or not value
    ]
    if problems:
        raise ConfigError("--only", problems)
    return dict(pairs)


def _show_call(home: "Home", call_id: str, *, as_json: bool) -> None:
    from router_core.call_log.read import reading
    from router_core.call_log.receipt_text import call_text
    from router_core.call_log.receipts import find_calls, receipt_of
    from router_core.call_log.terminal import safe
    from router_core.call_log.trails import trail_of
    from router_core.control.versions import config_of_version
    from router_core.errors import ConfigError, Problem

    with reading(home) as log:
        found = find_calls(log, call_id)
        receipt = receipt_of(log, found[0]) if len(found) == 1 else None
    if receipt is None:
        some = ", ".join(safe(call.call_id) for call in found)
        message = (
            f"several calls start so: {some}, ...; write more of the id"
            if found
            else "no such call; list: tierwise calls"
        )
        raise ConfigError(f"call {safe(call_id)}", [Problem(path="id", message=message)])
    trail = trail_of(receipt, config_of_version(home, receipt.call.config_version))
    if as_json:
        facts = {field.name: getattr(receipt, field.name) for field in dataclasses.fields(receipt)}
        print_json({**facts, "trail": trail})
    else:
        # no terminal, no width: what is piped is not broken into lines
        typer.echo(call_text(receipt, trail, shutil.get_terminal_size((0, 0)).columns or None))


def _catch_up(home: "Home") -> None:
    """Bring the log up to date; one that cannot be written now is shown as it is, and that is said."""
    from router_core.watch import IngestFailedError, ensure_ingested

    try:
        ensure_ingested(home)
    except (IngestFailedError, OSError) as error:
        if not home.log.exists():
            raise
        typer.echo(f"tierwise: shown without the newest lines, which cannot be taken in now: {error}", err=True)


def _read_config(path: Path) -> bytes:
    from router_core.errors import ConfigError, Problem

    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot be read ({error.strerror}); name another file, or write an example with: tierwise init"
        raise ConfigError(str(path), [Problem(path="", message=message)]) from error
