"""The command ``import``. Only typer and the standard library are imported at the top."""

import datetime as dt
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router_core.commands.options import HomeOption, JsonOption, examples, find_home, print_json, progress_bar

if TYPE_CHECKING:
    from router_core.call_log.home import Home
    from router_core.call_log.importers.maps import LogMap, MapEdits
    from router_core.call_log.importers.reading import ImportRules, LogSource
    from router_core.config import RoutingConfig

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_IMPORT_PATIENCE_S = 300.0


class ImportFormat(StrEnum):
    """Formats that ``import`` reads."""

    auto = "auto"
    outcomes = "outcomes"
    tierwise = "tierwise"
    table = "table"
    litellm_spend = "litellm-spend"
    litellm_payload = "litellm-payload"
    langfuse = "langfuse"
    helicone = "helicone"
    otel = "otel"


@app.command(
    "import",
    epilog=examples(
        "tierwise import spend_logs.csv --dry-run",
        "tierwise import generations.jsonl.gz --payload-type-from metadata.task,trace_name",
        "tierwise import requests.parquet --map created=started_at --map usd=cost_usd --map team=tags.team",
        "tierwise import postgresql://litellm@db/litellm",
        "tierwise import outcomes.parquet --tiers cheap=gpt-5-nano,top=claude-opus-4-5 --calls-per-month 200000",
    ),
)
def import_file(
    file: Annotated[
        str,
        typer.Argument(
            help="CSV, JSON (lines or a list) or Parquet, plain or packed with gzip or zstd; "
            "the folder of an export; or postgresql://... of a LiteLLM proxy."
        ),
    ],
    file_format: Annotated[
        ImportFormat, typer.Option("--format", help="What it holds; auto = told by its columns.")
    ] = ImportFormat.auto,
    tiers: Annotated[
        str | None,
        typer.Option(
            help="tier=model,... (logs: tier=model|model,...). Default for logs: the tiers of routing.yaml. "
            "In an evaluation the last model counts as served, others as shadows."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="COLUMN=FIELD",
            help="A column's field, as --dry-run shows them; again for more. Or a YAML file with columns: "
            "{column: field}, payload_type: [place, ...], timezone: (of times that name none), since: and until:.",
        ),
    ] = None,
    payload_type_from: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE,...",
            help="Where the payload type is: a column, metadata.key, tag:NAME or =NAME; the first that says something.",
        ),
    ] = None,
    calls_per_month: Annotated[
        int | None,
        typer.Option(min=1, help="Evaluations: calls of this kind per month, for monthly figures."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows out, counted, instead of refusing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the column map and the first rows; write nothing.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import a log or an evaluation that something else wrote.

    It is imported whole or not at all; importing it again changes nothing, and of overlapping exports each request
    counts once. Prompts and answers are never imported, only their lengths.
    """
    from router_core.call_log.importers import formats, generic_map, maps, own, postgres

    target = find_home(home)
    places = filter(None, (place.strip() for place in (payload_type_from or "").split(",")))
    options = _Options(
        edits=maps.read_edits(columns or [], tuple(places)),
        tiers=tiers,
        skip_bad=skip_bad,
        dry_run=dry_run,
        as_json=as_json,
    )
    if postgres.is_database(file):
        _import_database(target, file, file_format, options)
        return
    path = Path(file)
    if file_format == ImportFormat.tierwise or (file_format == ImportFormat.auto and own.is_own_export(path)):
        _import_export(target, path, options)
        return
    name, found = file_format.value, None
    if file_format != ImportFormat.outcomes:
        found = formats.sample(path)
        name = formats.format_of(found) if file_format == ImportFormat.auto else name
    if found is None or name == formats.OUTCOMES:
        _import_outcomes(target, path, calls_per_month, options)
        return
    log_map = maps.edited(formats.map_of(name, found), options.edits)
    formats.require_fields(path, log_map, found.columns)
    # of the known tools much is left out on purpose
    unread = generic_map.unread(log_map, found.columns) if log_map.name == formats.TABLE else ()
    is_guessed = file_format == ImportFormat.auto
    _import_log(target, _file_source(path), log_map, options, guessed=is_guessed, unread=unread)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What all kinds of import share, as it was given."""

    edits: "MapEdits"
    tiers: str | None
    skip_bad: bool
    dry_run: bool
    as_json: bool

    def zone(self) -> dt.tzinfo:
        """Return the zone of times that name none."""
        from router_core.call_log.instants import find_zone

        # Python's own UTC is quicker than the zone of that name
        return dt.UTC if self.edits.timezone == "UTC" else find_zone(self.edits.timezone)

    def window(self) -> tuple[dt.datetime | None, dt.datetime | None]:
        """Return first instant and first one that no longer counts."""
        from router_core.call_log.instants import parse_instant

        zone, now = self.zone(), dt.datetime.now(dt.UTC)
        since, until = self.edits.since, self.edits.until
        return parse_instant(since, zone, now, "since"), parse_instant(until, zone, now, "until")


def _file_source(path: Path) -> "LogSource":
    from router_core.call_log.importers.reading import LogSource
    from router_core.call_log.importers.records import open_records

    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return LogSource(name=path.name, sha256=digest, open=lambda: open_records(path), size=path.stat().st_size)


def _import_database(home: "Home", address: str, file_format: ImportFormat, options: _Options) -> None:
    from router_core.call_log.importers import maps, postgres
    from router_core.call_log.importers.litellm_maps import SPEND_LOGS
    from router_core.errors import ConfigError, Problem

    if file_format not in {ImportFormat.auto, ImportFormat.litellm_spend}:
        message = f"a database is read as litellm-spend; for {file_format.value} export a file"
        raise ConfigError(postgres.shown(address), [Problem(path="--format", message=message)])
    log_map = maps.edited(SPEND_LOGS, options.edits)
    since, until = options.window()
    source = postgres.database_source(address, log_map, since=since, until=until)
    _import_log(home, source, log_map, options, guessed=False)


def _import_log(
    home: "Home",
    source: "LogSource",
    log_map: "LogMap",
    options: _Options,
    *,
    guessed: bool,
    unread: Sequence[str] = (),
) -> None:
    from router_core.call_log.importers.logs import import_log
    from router_core.call_log.transfer_text import log_import_text

    rules = _rules(home, options, source.name)
    with progress_bar("Reading", 1_000) as bar:
        report = import_log(
            home,
            source,
            log_map,
            rules,
            now_us=time.time_ns() // 1000,
            catch_up=finish_imports,
            dry_run=options.dry_run,
            progress=lambda share: bar.update(int(share * 1_000) - bar.pos),
        )
        bar.update(1_000 - bar.pos)
    if report.changed:
        finish_imports(home)
    if options.as_json:
        print_json(report)
    else:
        typer.echo(log_import_text(report, guessed=guessed, unread=unread))


def _rules(home: "Home", options: _Options, file: str) -> "ImportRules":
    """Return how rows are read: with the prices and tiers of the home's config, where there is one."""
    from router_core.call_log.importers.reading import ImportRules
    from router_core.call_log.importers.tier_table import TierTable, parse_tier_models
    from router_core.prices import PriceBook

    config = _config(home)
    given = parse_tier_models(options.tiers) if options.tiers is not None else None
    configured = (
        [(tier, target.model) for tier, targets in config.tiers.items() for target in targets] if config else []
    )
    table = TierTable(configured if given is None else given)
    # a pessimistic price is for budgets: in a log it would be an invention
    book = PriceBook(config.prices, version=config.content_hash) if config else PriceBook()
    since, until = options.window()
    return ImportRules(
        zone=options.zone(),
        price_of=lambda model, at_us, tier: book.price(model, at_us, service_tier=tier),
        tier_of=table.tier_of,
        since_us=_us(since),
        until_us=_us(until),
        skip_bad=options.skip_bad,
        check_end=lambda: table.require_used(file) if given is not None else None,
    )


def _us(instant: dt.datetime | None) -> int | None:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return None if instant is None else (instant - epoch) // dt.timedelta(microseconds=1)


def _config(home: "Home") -> "RoutingConfig | None":
    from router_core.control.config_file import config_of
    from router_core.errors import ConfigError

    try:
        return config_of(home)
    except ConfigError as error:
        message = f"{error.source} cannot be used, so its prices and tiers do not count; see: tierwise check"
        typer.echo(f"tierwise: {message}", err=True)
        return None


def _import_export(home: "Home", path: Path, options: _Options) -> None:
    from router_core.call_log.importers.own import import_export
    from router_core.call_log.transfer_text import export_import_text

    report = import_export(home, path, now_us=time.time_ns() // 1000, catch_up=finish_imports, dry_run=options.dry_run)
    if report.changed:
        finish_imports(home)
    if options.as_json:
        print_json(report)
    else:
        typer.echo(export_import_text(report))


def _import_outcomes(home: "Home", path: Path, calls_per_month: int | None, options: _Options) -> None:
    from router_core.call_log.importers.outcomes import import_outcomes
    from router_core.call_log.importers.tiers import parse_tiers
    from router_core.call_log.report_text import import_text
    from router_core.errors import ConfigError, Problem

    if options.dry_run:
        message = "an evaluation has one fixed schema and no column map to show; leave --dry-run out"
        raise ConfigError(str(path), [Problem(path="--dry-run", message=message)])
    report = import_outcomes(
        home,
        path,
        tiers=parse_tiers(options.tiers) if options.tiers is not None else None,
        calls_per_month=calls_per_month,
        skip_bad=options.skip_bad,
        now_us=time.time_ns() // 1000,
        catch_up=finish_imports,
    )
    finish_imports(home)
    if options.as_json:
        print_json(report)
    else:
        typer.echo(import_text(report))


def finish_imports(home: "Home") -> None:
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
