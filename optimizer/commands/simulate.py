"""Commands that rehearse: ``simulate cap`` and ``simulate policy``."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router_core.commands import HomeOption, JsonOption, examples, existing_home

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from router_core.config import RoutingConfig
    from router_core.decide.guard import Limit

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Rehearse a change on the log you have.",
)
_MOST_LIMITS = 200
_MOST_DAYS = 3_700


@app.callback()
def simulate() -> None:
    """Rehearse a change on the log you have."""


@app.command(
    epilog=examples(
        "tierwise simulate cap --daily 50",
        "tierwise simulate cap --daily 40,50,60 --reserve 10 --since 30d",
        "tierwise simulate cap --budget weekly --usd 250,300 --config candidate.yaml",
        "tierwise simulate cap --daily 50 --home .tierwise/demo --json",
    )
)
def cap(
    daily: Annotated[str | None, typer.Option(metavar="USD,...", help="Daily limits to try, USD.")] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A budget of the config to try instead: its period, scope, taper, stop and all."
        ),
    ] = None,
    usd: Annotated[
        str | None, typer.Option(metavar="USD,...", help="Other amounts for that budget. Default: its own.")
    ] = None,
    reserve: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Part kept for critical calls. Default: that of the config's budget, else 0."),
    ] = None,
    since: Annotated[
        str, typer.Option(help="First day: 2026-11-01, or how long ago: 30d. Days are whole, in the config's zone.")
    ] = "30d",
    until: Annotated[str | None, typer.Option(help="Day that no longer counts. Default: everything up to now.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Names zone, tiers, prices. Default: the routing.yaml in the home or beside it."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay logged calls under a limit, and show what it would have degraded, saved and made wrong.

    The rule is the router's own: from the call that finds the limit reached on, non-critical calls of the day go to
    their cheapest allowed target. A budget of the config is tried with everything that it says.
    """
    import time

    from optimizer.commands.cap_text import cap_json, cap_text
    from optimizer.commands.options import config_of
    from optimizer.simulate.rehearsal import rehearse
    from optimizer.traffic.reading import read_traffic
    from router_core.call_log.read import reading
    from router_core.watch import ensure_ingested

    found = existing_home(home)
    routing = config_of(found, config)
    now = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    first, end = _days(since, until, routing, now)
    limits = _limits((daily, budget, usd), reserve, routing)
    ensure_ingested(found)
    with reading(found) as log:
        traffic = read_traffic(log, routing, first, end, limits)
    rehearsal = rehearse(traffic, limits)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(cap_json(rehearsal), option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(cap_text(rehearsal))


@app.command(
    epilog=examples(
        "tierwise simulate policy candidate.yaml",
        "tierwise simulate policy candidate.yaml --since 56d --json",
    )
)
def policy(
    other: Annotated[Path, typer.Argument(metavar="OTHER.yaml", help="The routing config to try.")],
    since: Annotated[
        str, typer.Option(help="First day: 2026-11-01, or how long ago: 56d. Days are whole, in that config's zone.")
    ] = "56d",
    until: Annotated[str | None, typer.Option(help="Day that no longer counts. Default: everything up to now.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay the whole log under another routing config: cost, escalations, latency, wrong answers.

    What the log cannot tell is said and counted in nothing. Beside it: each of that config's tiers for everything.
    """
    import time

    import numpy as np

    from optimizer.commands.policy_text import policy_json, policy_text
    from optimizer.rules import RULES
    from optimizer.simulate.policy import simulate_policy
    from optimizer.traffic.answers import read_policy_log
    from router_core.call_log.read import reading
    from router_core.control.config_file import load
    from router_core.decide.guard import midnight_us
    from router_core.watch import ensure_ingested

    found = existing_home(home)
    config = load(other)
    first, end = _days(since, until, config, dt.datetime.fromtimestamp(time.time(), dt.UTC))
    ensure_ingested(found)
    zone = _zone(config)
    bounds = [
        dt.datetime.fromtimestamp(midnight_us(day, zone) / 1e6, dt.UTC).replace(tzinfo=None) for day in (first, end)
    ]
    with reading(found) as log:
        replayable = read_policy_log(log, config, bounds[0], bounds[1])
    outcome = simulate_policy(replayable.facts, replayable.asks, np.random.default_rng(seed), RULES)
    baselines = {
        f"everything on {tier} ({model})": simulate_policy(
            replayable.facts, replayable.everything_on(place), np.random.default_rng(seed), RULES
        )
        for place, (tier, model) in enumerate(zip(replayable.tiers, replayable.models, strict=True))
    }
    last = end - dt.timedelta(days=1)
    if as_json:
        import orjson

        data = policy_json(outcome, baselines, replayable, str(other), (str(first), str(last)))
        typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())
    else:
        window = f"{first} to {last} ({config.timezone})"
        typer.echo(policy_text(outcome, baselines, replayable, str(other), window))


def _days(since: str, until: str | None, config: "RoutingConfig", now: dt.datetime) -> tuple[dt.date, dt.date]:
    from router_core.call_log.instants import parse_instant
    from router_core.errors import ConfigError, Problem

    zone = _zone(config)
    first = _day(parse_instant(since, zone, now, "--since"), zone)
    end = _day(parse_instant(until, zone, now, "--until"), zone) if until is not None else None
    # today counts as far as it is
    end = end or now.astimezone(zone).date() + dt.timedelta(days=1)
    if not first < end:
        raise ConfigError(
            "--since", [Problem(path="value", message=f"{first} is no day before {end}; give an earlier one")]
        )
    if (end - first).days > _MOST_DAYS:
        message = f"more than {_MOST_DAYS} days; give a later one"
        raise ConfigError("--since", [Problem(path="value", message=message)])
    return first, end


def _zone(config: "RoutingConfig") -> "ZoneInfo":
    from zoneinfo import ZoneInfo

    return ZoneInfo(config.timezone)


def _day(instant: dt.datetime | None, zone: "ZoneInfo") -> Any:
    return instant.astimezone(zone).date() if instant is not None else None


def _limits(
    asked: tuple[str | None, str | None, str | None], reserve: str | None, config: "RoutingConfig"
) -> list["Limit"]:
    from optimizer.commands.options import amount, daily_limit, limits_to_try
    from router_core.decide.guard import Limit
    from router_core.errors import ConfigError, Problem

    daily, budget, usd = asked
    if (daily is None) == (budget is None) or (usd is not None and budget is None):
        message = "give daily limits to try, --daily 40,50, or a budget of the config, --budget NAME [--usd 300,400]"
        raise ConfigError("--daily", [Problem(path="value", message=message)])
    if budget is not None:
        limits = limits_to_try(config, budget, usd, reserve)
    else:
        present = daily_limit(config)
        kept = present.critical_reserve_nusd if present is not None else 0
        if reserve is not None:
            kept = amount(reserve, "--reserve")
        name = present.name if present is not None else "daily"
        amounts = [amount(text, "--daily") for text in (daily or "").split(",")]
        limits = [Limit(name=name, limit_nusd=nusd, critical_reserve_nusd=kept) for nusd in amounts]
    if len(limits) > _MOST_LIMITS:
        message = f"{len(limits)} limits; try {_MOST_LIMITS} at most"
        raise ConfigError("--daily", [Problem(path="value", message=message)])
    return limits
