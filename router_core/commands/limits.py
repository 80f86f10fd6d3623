"""What the limits of a config promise and how they stand, for ``tierwise check``."""

import datetime as dt
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from router_core.config import RoutingConfig
    from router_core.control.limits_now import Worst
    from router_core.decide.promise import Promise
    from router_core.decide.standing import LimitState
    from router_core.prices import PriceBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The limits of a config.

    Attributes:
        promises: What each promises.
        worst: The dearest request.
        states: How each stands; runs counted by themselves one by one.
        source: Where the load comes from: ``given``, ``last seen`` or ``assumed``.
        trouble: Why nobody can tell how they stand; None = somebody can.
    """

    promises: "tuple[Promise, ...]"
    worst: "Worst"
    states: "tuple[LimitState, ...]"
    source: str
    trouble: str | None


def report_of(
    config: "RoutingConfig",
    prices: "PriceBook",
    control: Path,
    now_us: int,
    *,
    processes: int | None,
    concurrent: int | None,
) -> Report:
    """Return what limits promise and how they stand.

    Args:
        config: The config.
        prices: Its prices.
        control: The control store of its home.
        now_us: The present instant.
        processes: Processes that share the limits; None = those last seen, else one.
        concurrent: Requests in flight over all of them; None = those last seen, else one for each process.
    """
    from router_core.control.limits_now import limit_states, load_of, worst_request
    from router_core.decide.budgets import limits_of
    from router_core.decide.promise import Load, Promise

    seen = load_of(control) if processes is None or concurrent is None else None
    count = processes or (seen.processes if seen is not None else 1)
    flying = concurrent or max(seen.concurrent if seen is not None else 1, count)
    worst = worst_request(config, prices, now_us)
    load = Load(processes=count, concurrent=flying)
    states: tuple[LimitState, ...] = ()
    trouble: str | None = None
    try:
        states = limit_states(control, config, now_us)
    except sqlite3.Error as error:
        trouble = str(error)
    return Report(
        promises=tuple(Promise(limit=limit, load=load, worst_nusd=worst.nusd) for limit in limits_of(config)),
        worst=worst,
        states=states,
        source="last seen" if seen is not None else "given" if processes and concurrent else "assumed",
        trouble=trouble,
    )


def report_text(report: Report) -> str:
    """Return the promises, with their numbers."""
    lines: list[str] = []
    for promise in report.promises:
        lines += ["", *_promise_lines(promise, report)]
    worst = report.worst
    if worst.unknown:
        names = ", ".join(worst.unknown)
        lines += ["", f"Not counted, because nobody knows how much they take (set context_tokens): {names}"]
    if report.trouble is not None:
        lines += ["", f"How the limits stand cannot be told: {report.trouble}"]
    return "\n".join(lines[1:])


def _promise_lines(promise: "Promise", report: Report) -> list[str]:
    from router_core.call_log.terminal import safe

    limit, load, worst = promise.limit, promise.load, report.worst
    named = f"budget {safe(limit.name)}"
    also = " + allowance of running jobs" if limit.allowance_nusd else ""
    figures = f"{_usd(limit.limit_nusd)}{f' + {_usd(limit.allowance_nusd)}' if limit.allowance_nusd else ''}"
    lines = [
        f"{named}: {_usd(limit.limit_nusd)} per {_per(limit.per, limit.window_us)}{_counted(limit.scope.identity)}",
        f"  spend <= limit{also} + bound + critical spend + degraded spend",
        f"         = {figures} + {_usd(promise.bound_nusd)} + critical + degraded",
        "  bound = processes x lease + concurrent requests x worst-case request",
        f"        = {load.processes} x {_usd(limit.lease_nusd)} + {load.concurrent} x {_usd(worst.nusd)}"
        f" = {_usd(promise.bound_nusd)}   ({report.source})",
    ]
    if worst.model:
        lines.append(
            f"  worst case: {safe(worst.model)}, {worst.input_tokens:,} tokens in and {worst.output_tokens:,} out"
        )
    most = promise.most_noncritical_nusd
    if most is not None:
        lines.append(f"  non-critical spend, degraded or not <= {_usd(most)}")
    return lines


def states_text(states: "Sequence[LimitState]", zone: ZoneInfo) -> str:
    """Return how limits stand, one line each."""
    return "\n".join(f"{state_words(state, zone)}" for state in states)


def state_words(state: "LimitState", zone: ZoneInfo) -> str:
    """Return how one limit stands, in one line."""
    from router_core.call_log.terminal import safe

    where = f" {safe(state.scope)}" if state.scope else ""
    text = (
        f"{safe(state.limit.name)}{where} {state.period.key}: {state.state}, {_usd(state.used_nusd)} of "
        f"{_usd(state.limit.limit_nusd)} ({state.share:.0%})"
    )
    if state.reached_us is not None:
        return f"{text}, reached at {clock_words(state.reached_us, zone)}"
    if state.forecast.at_us is not None:
        return f"{text}, will be reached at about {clock_words(state.forecast.at_us, zone)}"
    return text


def clock_words(at_us: int, zone: ZoneInfo) -> str:
    """Return an instant as a reader of the config's zone would say it."""
    at = dt.datetime.fromtimestamp(at_us / 1e6, zone)
    return f"{at:%H:%M} on {at:%Y-%m-%d}"


def promise_facts(promise: "Promise") -> dict[str, object]:
    """Return a promise as a program reads it, amounts in nano-dollars."""
    return {
        "budget": promise.limit.name,
        "limit_nusd": promise.limit.limit_nusd,
        "allowance_nusd": promise.limit.allowance_nusd,
        "processes": promise.load.processes,
        "lease_nusd": promise.limit.lease_nusd,
        "concurrent": promise.load.concurrent,
        "worst_nusd": promise.worst_nusd,
        "bound_nusd": promise.bound_nusd,
        "most_noncritical_nusd": promise.most_noncritical_nusd,
    }


def state_facts(state: "LimitState") -> dict[str, object]:
    """Return how a limit stands as a program reads it; instants in microseconds since the epoch."""
    return {
        "budget": state.limit.name,
        "scope": state.scope,
        "period": state.period.key,
        "state": state.state,
        "used_nusd": state.used_nusd,
        "limit_nusd": state.limit.limit_nusd,
        "reached_us": state.reached_us,
        "forecast_us": state.forecast.at_us,
    }


def _usd(nusd: int) -> str:
    from router_core.call_log.terminal import usd

    return usd(nusd, 2 if nusd % 10_000_000 == 0 else 4)


def _per(per: str, window_us: int) -> str:
    return f"{window_us // 3_600_000_000} rolling hours" if per == "rolling" else per


def _counted(identity: str) -> str:
    from router_core.call_log.terminal import safe

    return f", of {safe(identity.rstrip(';'))}" if identity else ""
