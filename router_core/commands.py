"""Commands of the router: ``check``, ``import``, ``ingest``, ``watch``, ``doctor``, ``spend`` and ``calls``.

Only typer and the standard library are imported at the top, so that ``--help`` is quick.
"""

import datetime as dt
import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from router_core.call_log.home import Home

app = typer.Typer(rich_markup_mode=None, add_completion=False)

CONFIG_NAME = "routing.yaml"
_IMPORT_PATIENCE_S = 300.0
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="TIERWISE_HOME",
        help="Folder of the log. Default: .tierwise beside ./routing.yaml.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


_FILTERS = "payload_type, tier, model, role, source"


class SpendBy(StrEnum):
    """What ``spend`` may group by."""

    payload_type = "payload_type"
    tier = "tier"
    model = "model"
    role = "role"
    day = "day"
    run = "run"


class ImportFormat(StrEnum):
    """Formats that ``import`` reads."""

    outcomes = "outcomes"


def examples(*lines: str) -> str:
    """Return the examples that end a command's help."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def find_home(home: Path | None) -> "Home":
    """Return the home that is meant: the one given, else the one beside ``./routing.yaml``."""
    from router_core.call_log.home import home_beside

    return home_beside(Path(CONFIG_NAME), str(home) if home is not None else None)


def existing_home(home: Path | None) -> "Home":
    """Return the home that is meant, which must hold a log already.

    Raises:
        ConfigError: There is none.
    """
    from router_core.errors import ConfigError, Problem

    found = find_home(home)
    if not found.spool.is_dir():
        message = "no log here; name its folder with --home, or make one: tierwise demo, tierwise import FILE"
        if found.demo.is_demo:
            message = f"no log here but the demo's; to see that one: --home {found.demo.root}"
        raise ConfigError(str(found.root), [Problem(path="home", message=message)])
    return found


@app.command(epilog=examples("tierwise check", "tierwise check other.yaml --json"))
def check(
    config: Annotated[Path, typer.Argument(help="The routing config.")] = Path(CONFIG_NAME),
    as_json: JsonOption = False,
) -> None:
    """Check a routing config: its rules, prices and keys.

    Every target needs a price, every provider a key. Keys are looked for by name; their values are not read. Exit code
    2 when something is wrong.
    """
    from router_core.backends.targets import target_states, targets_text
    from router_core.config import parse, unsupported
    from router_core.errors import ConfigError
    from router_core.prices import PriceBook

    routing = parse(_read_config(config), source=str(config))
    book = PriceBook(routing.prices, routing.on_unpriced, version=routing.content_hash)
    targets = target_states(routing, book, os.environ, time.time_ns() // 1000)
    problems = [*unsupported(routing), *(problem for target in targets for problem in target.problems())]
    if as_json:
        _print_json(
            {
                "ok": not problems,
                "config_version": routing.content_hash,
                "targets": targets,
                "problems": problems,
            }
        )
    else:
        typer.echo(f"config version {routing.content_hash}, {len(routing.payload_types)} payload types\n")
        typer.echo(targets_text(targets))
    if problems:
        raise ConfigError(str(config), problems)
    if not as_json:
        typer.echo("\nNothing is wrong.")


@app.command(
    "import",
    epilog=examples(
        "tierwise import outcomes.parquet",
        "tierwise import outcomes.parquet --tiers cheap=gpt-5-nano,top=claude-opus-4-5 --calls-per-month 200000",
    ),
)
def import_file(
    file: Annotated[Path, typer.Argument(help="Parquet, CSV or JSON lines file.")],
    file_format: Annotated[ImportFormat, typer.Option("--format", help="What the file holds.")] = ImportFormat.outcomes,
    tiers: Annotated[
        str | None,
        typer.Option(help="tier=model,..., cheapest first; the last model counts as served, others as shadows."),
    ] = None,
    calls_per_month: Annotated[
        int | None,
        typer.Option(min=1, help="Calls of this kind per month, for monthly figures (else per 1,000 calls)."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows out, counted, instead of refusing.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import a static evaluation into the log.

    The file has one row per query and model. It is imported whole or not at all; importing it again changes nothing.
    """
    del file_format  # one format so far
    from router_core.call_log.importers.outcomes import import_outcomes
    from router_core.call_log.importers.tiers import parse_tiers
    from router_core.call_log.report_text import import_text

    mapping = parse_tiers(tiers) if tiers is not None else None
    target = find_home(home)
    report = import_outcomes(
        target,
        file,
        tiers=mapping,
        calls_per_month=calls_per_month,
        skip_bad=skip_bad,
        now_us=time.time_ns() // 1000,
        catch_up=_finish_imports,
    )
    _finish_imports(target)
    if as_json:
        _print_json(report)
    else:
        typer.echo(import_text(report))


@app.command(epilog=examples("tierwise ingest", "tierwise ingest --home /srv/tierwise"))
def ingest(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Bring everything spooled so far into the log, once."""
    from router_core.call_log.ingest import ingest_once
    from router_core.call_log.report_text import ingest_text

    found = existing_home(home)
    with typer.progressbar(length=100, label="Ingesting", file=sys.stderr) as bar:
        report = ingest_once(found, progress=lambda done, total: bar.update(100 * done // total - bar.pos))
    if as_json:
        _print_json(report)
    else:
        typer.echo(ingest_text(report))


@app.command(epilog=examples("tierwise watch", "tierwise watch --home /srv/tierwise &"))
def watch(home: HomeOption = None) -> None:
    """Run the background process that keeps the log up to date.

    It brings what routers spool into the log within seconds, until it is interrupted.
    """
    from router_core.watch import watch as run

    run(find_home(home).create())


@app.command(epilog=examples("tierwise doctor", "tierwise doctor --json"))
def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Look at the home and say what is wrong and how to mend it. Exit code 1 when something is."""
    from router_core.call_log.doctor import diagnose
    from router_core.call_log.report_text import findings_text
    from router_core.control.checkup import control_findings

    found = find_home(home)
    findings = diagnose(found, Path(CONFIG_NAME), time.time()) + control_findings(found, Path(CONFIG_NAME))
    if as_json:
        _print_json(findings)
    else:
        typer.echo(findings_text(findings))
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


@app.command(
    epilog=examples(
        "tierwise spend", "tierwise spend --by model --json", "tierwise spend --by day --since 7d --only role=serve"
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
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was spent, with latency and correctness.

    Spend is the sum over all attempts; means cover the attempts that have a value.
    """
    from router_core.call_log.instants import find_zone, parse_instant
    from router_core.call_log.read import reading
    from router_core.call_log.report_text import spend_text
    from router_core.call_log.reports import SpendFilter
    from router_core.call_log.reports import spend as query

    found = existing_home(home)
    zone = find_zone(timezone or _configured_zone(found))
    now = dt.datetime.now(dt.UTC)
    where = SpendFilter(
        since=parse_instant(since, zone, now, "--since"),
        until=parse_instant(until, zone, now, "--until"),
        **_filters(only or []),
    )
    _catch_up(found)
    with reading(found) as log:
        rows = query(log, by.value, where, zone.key)
    if as_json:
        _print_json(rows)
    else:
        typer.echo(spend_text(by.value, rows))


@app.command(epilog=examples("tierwise calls", "tierwise calls --limit 100 --json", "tierwise calls 0643f2a1"))
def calls(
    call_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A call's id, or how it starts.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many calls to list.")] = 20,
    payload_type: Annotated[str | None, typer.Option(help="List only calls of this payload type.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest calls, or show the receipt of one.

    A receipt shows each attempt with its tokens, prices, checks and confidence, and why the answer was served.
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
        rows = newest_calls(log, limit, payload_type)
    if as_json:
        _print_json(rows)
    else:
        typer.echo(calls_text(rows) if rows else "No calls in the log.")


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
    from router_core.call_log.receipts import attempts_of, find_calls
    from router_core.call_log.terminal import safe
    from router_core.errors import ConfigError, Problem

    with reading(home) as log:
        found = find_calls(log, call_id)
        attempts = attempts_of(log, found[0].call_id) if len(found) == 1 else []
    if len(found) != 1:
        some = ", ".join(safe(call.call_id) for call in found)
        message = (
            f"several calls start so: {some}, ...; write more of the id"
            if found
            else "no such call; list: tierwise calls"
        )
        raise ConfigError(f"call {safe(call_id)}", [Problem(path="id", message=message)])
    if as_json:
        _print_json({"call": found[0], "attempts": attempts})
    else:
        typer.echo(call_text(found[0], attempts))


def _configured_zone(home: "Home") -> str:
    from router_core.control.config_file import config_of
    from router_core.errors import ConfigError

    try:
        config = config_of(home)
    except ConfigError as error:
        typer.echo(
            f"tierwise: {error.source} cannot be used, so days are UTC; see: tierwise check {error.source}", err=True
        )
        return "UTC"
    return "UTC" if config is None else config.timezone


def _catch_up(home: "Home") -> None:
    from router_core.watch import ensure_ingested

    ensure_ingested(home)


def _finish_imports(home: "Home") -> None:
    """Have everything imported so far in the log: what is imported next is compared with it.

    Raises:
        RouterError: A background process runs and does not take the imports in.
    """
    from router_core.call_log.importers.segment import unread_import_bytes
    from router_core.errors import RouterError
    from router_core.watch import ensure_ingested

    ensure_ingested(home)
    deadline = time.monotonic() + _IMPORT_PATIENCE_S
    while unread_import_bytes(home):
        if time.monotonic() > deadline:
            message = f"the background process of {home.root} takes no imports in; see: tierwise doctor"
            raise RouterError(message)
        time.sleep(0.1)


def _read_config(path: Path) -> bytes:
    from router_core.errors import ConfigError, Problem

    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot be read ({error.strerror}); name another file, or write an example with: tierwise init"
        raise ConfigError(str(path), [Problem(path="", message=message)]) from error


def _print_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
