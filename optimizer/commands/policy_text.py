"""A log under another routing config, printed for a person and for a program."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from optimizer.commands.money import interval_text, money
from optimizer.simulate.policy import Outcome, TypeOutcome
from router_core.call_log.terminal import bullet, safe, table

if TYPE_CHECKING:
    from optimizer.traffic.answers import PolicyLog

_MOST_NAMED: Final = 5
_UNKNOWN: Final = "not known"
HEADERS: Final = (
    "payload type",
    "calls",
    "replayed / estimated / unknown",
    "cost",
    "would cost (90 %)",
    "escalated",
    "would be",
    "p95",
    "would be",
    "extra wrong (90 %)",
)
BASELINE_HEADERS: Final = (
    "config",
    "calls not known",
    "cost of the rest",
    "would cost (90 %)",
    "extra wrong (90 %)",
    "net saved (90 %)",
)


def policy_text(outcome: Outcome, baselines: Mapping[str, Outcome], log: "PolicyLog", name: str, window: str) -> str:
    """Return one row per payload type, the totals beside one model for everything, and what all of it assumes."""
    if not outcome.calls:
        return (
            f"{window}: no calls that another config could be tried on. Try an earlier --since, or see: tierwise doctor"
        )
    known = outcome.calls - outcome.unknown
    lines = [
        f"SIMULATION of {safe(name)} on {window}, {outcome.calls:,} calls, compared with what happened.",
        f"Of {outcome.replayed / outcome.calls:.0%} of them the log has every answer needed, for "
        f"{outcome.estimated / outcome.calls:.0%} others like them stand, of {outcome.unknown / outcome.calls:.0%} it "
        "cannot tell.",
        "",
        table(HEADERS, [_row(each) for each in outcome.types]),
        "",
    ]
    if known:
        lines += [_totals(outcome), ""]
    rows = [_baseline(safe(name), outcome), *(_baseline(label, each) for label, each in baselines.items())]
    lines += [table(BASELINE_HEADERS, rows), "", "What this assumes"]
    return "\n".join([*lines, *(bullet(words) for words in assumptions(outcome, log))])


def policy_json(
    outcome: Outcome, baselines: Mapping[str, Outcome], log: "PolicyLog", name: str, window: tuple[str, str]
) -> dict[str, Any]:
    """Return the same as plain data, USD and milliseconds."""
    return {
        "config": name,
        "first": window[0],
        "last": window[1],
        "calls_degraded_left_out": log.degraded,
        "outcome": outcome,
        "baselines": dict(baselines),
        "assumptions": list(assumptions(outcome, log)),
    }


def assumptions(outcome: Outcome, log: "PolicyLog") -> Iterator[str]:
    """Yield what the figures take for granted."""
    yield (
        "A call is replayed by the router's own rules over the answers in the log: who is asked, what is confident "
        "enough, what is served. Answers cost what they did cost. Limits, retries and outages have no part in it; a "
        "limit is tried with: tierwise simulate cap"
    )
    yield "Confidences count as they were logged; where the other config names another calibration, it is not applied."
    if outcome.estimated:
        yield (
            f"For {outcome.estimated:,} calls an answer is missing. Calls of their payload type that have it stand for "
            "them, by the chance with which they were drawn; those that escalated by themselves stand only for such."
        )
    if outcome.unknown:
        yield (
            f"For {outcome.unknown:,} calls there is no such sample. Their payload types are in no total; shadows "
            "would tell: see tierwise propose."
        )
    yield (
        "Extra wrong answers come from calls whose answer would differ and that are labelled on both sides, shrunk "
        "across payload types; unknown labels count against the other config. Payload types without them are not known."
    )
    if log.degraded:
        yield f"{log.degraded:,} calls that a limit had degraded are left out: they did not take their path."
    if log.unnamed:
        names = ", ".join(safe(each) for each in log.unnamed[:_MOST_NAMED])
        more = ", ..." if len(log.unnamed) > _MOST_NAMED else ""
        yield f"This config does not name {names}{more}: it would refuse their calls."
    yield from (
        f"{safe(each.name)}: {each.excuse}." for each in outcome.types if each.excuse and each.name not in log.unnamed
    )


def _row(each: TypeOutcome) -> tuple[object, ...]:
    return (
        safe(each.name),
        f"{each.calls:,}",
        f"{each.replayed:,} / {each.estimated:,} / {each.unknown:,}",
        money(each.cost_usd),
        _UNKNOWN if each.then_usd is None else interval_text(each.then_usd, "", "$"),
        f"{each.escalated:.1%}",
        "-" if each.then_escalated is None else _share(each),
        _seconds(each.p95_ms),
        _seconds(each.then_p95_ms),
        _UNKNOWN if each.extra_wrong is None else interval_text(each.extra_wrong, ",.1f"),
    )


def _share(each: TypeOutcome) -> str:
    found = each.then_escalated
    if found is None:
        return "-"
    if found.low == found.high:
        return f"{found.mean:.1%}"
    return f"{found.mean:.1%} ({max(found.low, 0):.1%} to {min(found.high, 1):.1%})"


def _seconds(ms: float | None) -> str:
    return "-" if ms is None else f"{ms / 1000:.2f} s"


def _totals(outcome: Outcome) -> str:
    saved = outcome.known_cost_usd - outcome.then_usd.mean
    words = (
        f"Payload types whose cost is known did cost {money(outcome.known_cost_usd)} of {money(outcome.cost_usd)} and "
        f"would have cost {interval_text(outcome.then_usd, '', '$')}: saved {money(saved)}."
    )
    if outcome.judged:
        words += f"\nExtra wrong answers in {outcome.judged:,} calls: {interval_text(outcome.extra_wrong, ',.1f')}"
        words += f"; they cost {interval_text(outcome.impact_usd, '', '$')}." if outcome.priced else "."
    if outcome.net_calls:
        net = interval_text(outcome.net_usd, "", "$")
        words += f"\nNet saved, where both are known ({outcome.net_calls:,} calls): {net}."
    return words


def _baseline(label: str, outcome: Outcome) -> tuple[object, ...]:
    return (
        label,
        f"{outcome.unknown / max(outcome.calls, 1):.0%}",
        money(outcome.known_cost_usd),
        interval_text(outcome.then_usd, "", "$") if outcome.known_cost_usd else _UNKNOWN,
        interval_text(outcome.extra_wrong, ",.1f") if outcome.judged else _UNKNOWN,
        interval_text(outcome.net_usd, "", "$") if outcome.net_calls else _UNKNOWN,
    )
