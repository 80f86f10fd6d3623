"""What the optimizer's commands make of their options."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from router_core.call_log.home import Home
    from router_core.config import RoutingConfig
    from router_core.decide.guard import Limit

_MOST_USD: Final = 1_000_000_000


def config_of(home: "Home", path: Path | None) -> "RoutingConfig":
    """Return the config that a home works under, or the one in a file.

    Raises:
        ConfigError: There is none, or it is not valid.
    """
    from router_core.control.config_file import config_of as config_of_home
    from router_core.control.config_file import load
    from router_core.errors import ConfigError, Problem

    config = config_of_home(home) if path is None else load(path)
    if config is None:
        message = (
            "there is no routing.yaml in it or beside it; name the config that has tiers and prices: --config FILE"
        )
        raise ConfigError(str(home.root), [Problem(path="config", message=message)])
    return config


def end_of_log(as_of: str | None, home: "Home", config: "RoutingConfig", now_us: int) -> int:
    """Return the instant that counts as now, microseconds since the epoch; a demo's clock stands at its last call.

    Raises:
        ConfigError: ``as_of`` is no instant.
    """
    import datetime as dt

    from optimizer.propose import newest_us
    from router_core.call_log.instants import find_zone, parse_instant

    if as_of is None:
        return (newest_us(home) or now_us) if home.is_demo else now_us
    now = dt.datetime.fromtimestamp(now_us / 1e6, dt.UTC)
    instant = parse_instant(as_of, find_zone(config.timezone), now, "--as-of")
    return now_us if instant is None else round(instant.timestamp() * 1e6)


def daily_limit(config: "RoutingConfig") -> "Limit | None":
    """Return the config's daily limit; None without one."""
    from router_core.decide.compile import compile_plans

    return compile_plans(config).limit


def limits_to_try(config: "RoutingConfig", budget: str, usd: str | None, reserve: str | None) -> "list[Limit]":
    """Return one of the config's budgets at its own amount, or at others; the rest of it stays, taper as a share.

    Raises:
        ConfigError: There is no such budget, or an amount is none.
    """
    from decimal import Decimal

    from router_core.decide.budgets import limits_of
    from router_core.errors import ConfigError, Problem
    from router_core.types import NANO

    found = next((each for each in config.budgets if each.name == budget), None)
    if found is None:
        names = ", ".join(each.name for each in config.budgets) or "none"
        raise ConfigError("--budget", [Problem(path="value", message=f"no budget {budget!r} in the config ({names})")])
    amounts = [amount(text, "--usd") for text in usd.split(",")] if usd is not None else [None]
    kept = None if reserve is None else Decimal(amount(reserve, "--reserve")) / NANO
    limits: list[Limit] = []
    for nusd in amounts:
        changed = {} if nusd is None else {"usd": Decimal(nusd) / NANO}
        changed |= {} if kept is None else {"critical_reserve_usd": kept}
        tried = config.model_copy(update={"budgets": (found.model_copy(update=changed),)})
        limits += limits_of(tried)
    return limits


def amount(text: str, option: str) -> int:
    """Return an amount of USD in nano-dollars.

    Raises:
        ConfigError: It is none, or out of range.
    """
    from decimal import Decimal, InvalidOperation

    from router_core.errors import ConfigError, Problem
    from router_core.types import usd_to_nusd

    try:
        usd = Decimal(text.strip().removeprefix("$"))
        if not 0 <= usd <= _MOST_USD:
            raise InvalidOperation
    except InvalidOperation as error:
        message = f"{text.strip()!r} is no amount of USD from 0 to 1,000,000,000; write it as 50 or 49.90"
        raise ConfigError(option, [Problem(path="value", message=message)]) from error
    return usd_to_nusd(usd)
