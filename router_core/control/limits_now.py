"""How the limits of a config stand at this moment, and what they promise; read by commands, pages and the watcher."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from router_core.control import ledger
from router_core.control.ledger import Key
from router_core.decide.budgets import limits_of
from router_core.decide.forecast import forecast
from router_core.decide.guard import Limit, Spend, judge, used_nusd
from router_core.decide.periods import SLICE_US, period_of
from router_core.decide.promise import Load
from router_core.decide.receipt import worst_case
from router_core.decide.standing import LimitState

if TYPE_CHECKING:
    from router_core.config import RoutingConfig
    from router_core.prices import PriceBook

_WAIT_S: Final = 2.0
# the rate of late is that of so many whole quarter hours, and of the one in hand
_RECENT_SLICES: Final = 4
_SCOPES: Final = "SELECT DISTINCT scope FROM budget_spend WHERE budget = ? AND slice_us >= ? AND slice_us < ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The dearest request that a config admits.

    Attributes:
        model: Whose.
        nusd: What it costs, nano-dollars.
        input_tokens: Its input: the largest that the model takes.
        output_tokens: Its answer: the largest that is asked for.
        unknown: Models of which nobody knows the largest input; they are not counted.
    """

    model: str
    nusd: int
    input_tokens: int
    output_tokens: int
    unknown: tuple[str, ...] = ()


def limit_states(control: Path, config: "RoutingConfig", now_us: int) -> tuple[LimitState, ...]:
    """Return how each limit stands, in the config's order; runs counted by themselves with the most used first.

    Raises:
        sqlite3.Error: The store cannot be read.
    """
    limits = limits_of(config)
    if not limits:
        return ()
    zone = ZoneInfo(config.timezone)
    if not control.exists():
        return tuple(_state(None, limit, limit.scope.identity, now_us, zone) for limit in limits)
    with closing(sqlite3.connect(f"file:{control}?mode=ro", uri=True, timeout=_WAIT_S)) as store:
        has_books = store.execute("SELECT count(*) FROM sqlite_master WHERE name = 'budget_load'").fetchone() == (1,)
        return tuple(state for limit in limits for state in _states(store if has_books else None, limit, now_us, zone))


def load_of(control: Path) -> Load | None:
    """Return the processes and requests in flight that were last seen; None = never any, or nobody can tell."""
    if not control.exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{control}?mode=ro", uri=True, timeout=_WAIT_S)) as store:
            found = ledger.last_load(store)
    except sqlite3.Error:
        return None
    return None if found is None else Load(processes=found[0], concurrent=found[1])


def worst_request(config: "RoutingConfig", prices: "PriceBook", at_us: int) -> Worst:
    """Return the dearest request that a config admits, at the prices of an instant."""
    worst = Worst(model="", nusd=0, input_tokens=0, output_tokens=0)
    unknown: list[str] = []
    for target in (each for targets in config.tiers.values() for each in targets):
        price = prices.price(target.model, at_us)
        window = target.context_tokens or prices.abilities(target.model, at_us).context_tokens
        answer = target.max_output_tokens or (None if price is None else price.max_output_tokens)
        if price is None or window is None or answer is None:
            unknown.append(target.model)
            continue
        nusd = worst_case(window, answer, price) or 0
        if nusd >= worst.nusd:
            worst = Worst(model=target.model, nusd=nusd, input_tokens=window, output_tokens=answer)
    return Worst(
        model=worst.model,
        nusd=worst.nusd,
        input_tokens=worst.input_tokens,
        output_tokens=worst.output_tokens,
        unknown=tuple(dict.fromkeys(unknown)),
    )


def _states(store: sqlite3.Connection | None, limit: Limit, now_us: int, zone: ZoneInfo) -> Iterable[LimitState]:
    if not limit.scope.each_run:
        return (_state(store, limit, limit.scope.identity, now_us, zone),)
    if store is None:
        return ()
    period = period_of(limit, now_us, zone)
    scopes = [
        scope
        for (scope,) in store.execute(_SCOPES, (limit.name, period.start_us, period.end_us))
        if scope.startswith(f"{limit.scope.identity}run:")
    ]
    found = [_state(store, limit, scope, now_us, zone) for scope in scopes]
    return sorted(found, key=lambda state: -state.used_nusd)


def _state(store: sqlite3.Connection | None, limit: Limit, scope: str, now_us: int, zone: ZoneInfo) -> LimitState:
    period, key = period_of(limit, now_us, zone), Key(limit.name, scope)
    spend, reached_us, recent, recent_us = Spend(noncritical_nusd=0, critical_nusd=0), None, 0, SLICE_US
    if store is not None:
        shared = ledger.read(store, key, period, ledger.NOBODY, is_rolling=limit.per == "rolling")
        latched = shared.latch.limit_nusd == limit.limit_nusd
        stopped = shared.latch.stop_nusd is not None and shared.latch.stop_nusd == limit.stop_nusd
        spend = Spend(
            noncritical_nusd=shared.settled[0] + shared.others[0],
            critical_nusd=shared.settled[1] + shared.others[1],
            latched=latched,
            stopped=stopped,
        )
        reached_us = shared.latch.at_us if latched or stopped else None
        begin_us = max(now_us - now_us % SLICE_US - _RECENT_SLICES * SLICE_US, period.start_us)
        recent, recent_us = ledger.spent_between(store, key, begin_us, now_us), max(now_us - begin_us, SLICE_US)
    end_us = now_us + limit.window_us if limit.per == "rolling" else period.end_us
    return LimitState(
        limit=limit,
        scope=scope,
        period=period,
        state=judge(limit, spend).state,
        noncritical_nusd=spend.noncritical_nusd,
        critical_nusd=spend.critical_nusd,
        used_nusd=used_nusd(limit, spend),
        reached_us=reached_us,
        forecast=forecast(limit, spend, now_us=now_us, end_us=end_us, recent_nusd=recent, recent_us=recent_us),
    )
