"""The command that looks ahead: ``forecast``."""

import datetime as dt
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router_core.commands import HomeOption, JsonOption, examples, existing_home

if TYPE_CHECKING:
    from router_core.config import RoutingConfig
    from router_core.decide.guard import Limit

app = typer.Typer(rich_markup_mode=None, add_completion=False)
_MOST_DAYS = 3_700


@app.command(epilog=examples("tierwise forecast", "tierwise forecast --daily 50 --monthly 1200 --json"))
def forecast(
    daily: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Daily limit whose trips are forecast. Default: that of the config's budget."),
    ] = None,
    reserve: Annotated[
        str | None, typer.Option(metavar="USD", help="Part kept for critical calls. Default: that of the budget.")
    ] = None,
    monthly: Annotated[
        str | None, typer.Option(metavar="USD", help="Budget of a calendar month: on which day is it used up?")
    ] = None,
    since: Annotated[str, typer.Option(help="First day that counts: 2026-11-01, or how long ago.")] = "120d",
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="INSTANT", help="The present. Default: now; of a demo, its last call."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    config: Annotated[
        Path | None, typer.Option(help="Names zone and budget. Default: the routing.yaml in the home or beside it.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the month will cost, on which days a daily limit trips, and when a month's budget is used up.

    Every figure has its band of 80 and 95 %; how the same forecast did on earlier days is printed with it. Below 14
    full days there is a plain rate instead.
    """
    from zoneinfo import ZoneInfo

    import numpy as np

    from optimizer.commands.forecast_text import forecast_json, forecast_text
    from optimizer.commands.options import amount, config_of, end_of_log
    from optimizer.simulate.forecast import forecast as look_ahead
    from optimizer.traffic.spend_days import read_spend_days
    from router_core.call_log.instants import parse_instant
    from router_core.call_log.read import reading
    from router_core.errors import ConfigError, Problem
    from router_core.watch import ensure_ingested

    found = existing_home(home)
    routing = config_of(found, config)
    limit = _limit(daily, reserve, routing)
    budget = None if monthly is None else amount(monthly, "--monthly")
    ensure_ingested(found)
    now = dt.datetime.fromtimestamp(end_of_log(as_of, found, routing, time.time_ns() // 1000) / 1e6, dt.UTC)
    zone = ZoneInfo(routing.timezone)
    begin = parse_instant(since, zone, now, "--since")
    first = (begin or now).astimezone(zone).date()
    if not 0 < (now.astimezone(zone).date() - first).days <= _MOST_DAYS:
        message = f"{first} is no day within {_MOST_DAYS} days before {now.astimezone(zone).date()}; give another one"
        raise ConfigError("--since", [Problem(path="value", message=message)])
    with reading(found) as log:
        spent = read_spend_days(log, routing, first, now)
    outlook = look_ahead(spent.history, np.random.default_rng(seed), limit=limit, month_budget_nusd=budget)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(forecast_json(outlook, spent, limit), option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(forecast_text(outlook, spent, limit, routing.timezone))


def _limit(daily: str | None, reserve: str | None, config: "RoutingConfig") -> "Limit | None":
    from optimizer.commands.options import amount, daily_limit
    from router_core.decide.guard import Limit

    present = daily_limit(config)
    if daily is None and present is None:
        return None
    kept = present.critical_reserve_nusd if present is not None else 0
    if reserve is not None:
        kept = amount(reserve, "--reserve")
    usd = present.limit_nusd if daily is None and present is not None else amount(daily or "", "--daily")
    return Limit(name="daily" if present is None else present.name, limit_nusd=usd, critical_reserve_nusd=kept)
