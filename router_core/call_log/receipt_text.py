"""One call, printed for a person: what was asked of whom, what it cost and why, and what came of it."""

from collections.abc import Sequence
from typing import Final

from router_core.call_log.receipts import AttemptRow, CallReceipt, CallRow, Label
from router_core.call_log.terminal import number, safe, table, usd, usd_exact, wrapped
from router_core.call_log.trails import Trail
from router_core.decide.receipt import ClassCost

_INDENT: Final = 14
_MARGIN: Final = "   "
# a line is put together of parts that are each made safe and short
_LONGEST: Final = 1_000
_TERMS: Final = 8
# column in which the amounts of an attempt end
_AMOUNT: Final = 42
_REMARKS: Final = {
    "provider": "what the provider reported counts; the lines are what our prices give",
    "unknown": "whether and what the provider charged is not known: it counts at what was set aside for it",
    "unpriced": "no price list knew the model: it counts as 0 in sums",
}
_IMPORTED: Final = {
    **_REMARKS,
    "provider": "what the imported log says counts; the lines are what our prices give for its time",
    "unknown": "the imported log does not say what it cost, nor what to compute it from",
}

_CALL_HEADERS = (
    "call",
    "time (UTC)",
    "payload type",
    "tier",
    "model",
    "status",
    "confidence",
    "attempts",
    "cost",
    "latency",
)


def calls_text(calls: Sequence[CallRow]) -> str:
    """Return a table, one line per call."""
    return table(
        _CALL_HEADERS,
        [
            (
                call.call_id,
                _time(call),
                call.payload_type,
                _tiers(call),
                call.model_served,
                call.status,
                number(call.confidence),
                call.attempts,
                usd(call.cost_nusd, 6),
                _latency(call.latency_ms),
            )
            for call in calls
        ],
        left=6,
    )


def call_text(receipt: CallReceipt, trail: Trail, width: int | None = None) -> str:
    """Return a call's receipt: the call, each attempt with its arithmetic and what was decided after it, the sum.

    Amounts are exact to the nano-dollar and add up line by line.

    Args:
        receipt: The call and its attempts.
        trail: Why it went as it did.
        width: Columns of the terminal; None = lines are not broken.
    """
    call = receipt.call
    blocks = [_facts(_call_facts(receipt, trail))]
    blocks += [_attempt_lines(receipt, attempt, trail) for attempt in receipt.attempts]
    blocks.append(_facts(_sum_facts(receipt)))
    if receipt.shadows:
        blocks.append([f"shadows: made for evidence, no part of what the call cost ({_sum(receipt.shadows)})"])
        blocks += [_attempt_lines(receipt, attempt, trail) for attempt in receipt.shadows]
    if trail.replays is False:
        text = (
            "these facts do not decide the same again: another version of the program wrote them, or they were edited"
        )
        blocks.append([text])
    elif trail.replays is None and call.source == "router":
        blocks.append([f"config {safe(call.config_version)} is not at hand: its thresholds are not shown"])
    return "\n\n".join("\n".join(line for text in block for line in _fitted(text, width)) for block in blocks)


def _fitted(text: str, width: int | None) -> list[str]:
    return wrapped(text, width, _INDENT + (len(_MARGIN) if text.startswith(_MARGIN) else 0))


def _facts(facts: Sequence[tuple[str, object]]) -> list[str]:
    return [f"{name:<{_INDENT}}{safe(value, _LONGEST)}" for name, value in facts if value is not None]


def _plain(value: object) -> str | None:
    """Return one logged value, made short; what is put together of several is as long as it needs to be."""
    return None if value is None else safe(value)


def _call_facts(receipt: CallReceipt, trail: Trail) -> list[tuple[str, object]]:
    call = receipt.call
    run = None if call.run is None and call.step is None else f"{safe(call.run)}, {safe(call.step)}"
    tags = ", ".join(f"{safe(key)}={safe(value)}" for key, value in call.tags.items())
    by = [safe(name) for name in (call.tier_served, call.model_served) if name]
    served = " · ".join(by) or ("an answer" if call.served_attempt_id else "nothing")
    planned = f" (planned: {safe(call.tier_planned)})" if call.tier_planned else ""
    return [
        ("call", _plain(call.call_id)),
        ("time (UTC)", _time(call)),
        ("payload type", f"{safe(call.payload_type)}{' · critical' if call.critical else ''}"),
        ("run, step", run),
        ("tags", tags or None),
        ("status", f"{safe(call.status)}{f' ({safe(call.error_type)})' if call.error_type else ''}"),
        ("served", f"{served}{planned}{' · from the cache' if call.cache_hit else ''}"),
        ("makes up for" if "redoes" in call.extra else "paid by", _plain(call.linked_call_id)),
        ("reason", _plain(call.reason)),
        ("began", trail.opening),
        ("guard", _guard(call)),
        ("confidence", _confidence(call)),
        ("holdback", _plain(call.holdback)),
        ("latency", _latency(call.latency_ms)),
        ("outcome", _outcome(receipt)),
        ("config", _plain(call.config_version)),
        ("source", _plain(call.source)),
    ]


def _guard(call: CallRow) -> str | None:
    if call.guard_state is None:
        return None
    budget = f" · budget {safe(call.budget_scope)}" if call.budget_scope else ""
    return f"{safe(call.guard_state)}{budget}{' · degraded: served below its plan' if call.degraded else ''}"


def _outcome(receipt: CallReceipt) -> str | None:
    served = [attempt for attempt in receipt.attempts if attempt.attempt_id == receipt.call.served_attempt_id]
    label = served[0].label if served else None
    if label is None:
        return "not known yet" if receipt.call.status == "ok" else None
    return _label(label)


def _label(label: Label) -> str:
    when = "" if label.received_at is None else f", {label.received_at.isoformat(sep=' ', timespec='seconds')}"
    cost = "" if label.error_nusd is None else f" · the error cost {usd_exact(label.error_nusd, 2)}"
    return f"correct {number(label.correct, 2)} ({safe(label.source)}{when}){cost}"


def _sum_facts(receipt: CallReceipt) -> list[tuple[str, object]]:
    call, count = receipt.call, len(receipt.attempts)
    facts: list[tuple[str, object]] = []
    if count > 1:
        terms = " + ".join(usd_exact(attempt.cost_nusd) for attempt in receipt.attempts)
        facts.append(("", terms if count <= _TERMS else f"the sum over {count} attempts"))
    unknown = f", {receipt.without_cost} of them without a known cost" if receipt.without_cost else ""
    many = f"{count} attempt{'s' * (count != 1)}"
    facts.append(("cost", f"{usd_exact(receipt.cost_nusd)} over {many}{unknown}"))
    if call.cost_nusd is not None and call.cost_nusd != receipt.cost_nusd:
        facts.append(("", f"the call's own line says {usd_exact(call.cost_nusd)}; what counts is the sum"))
    drifts = [attempt.drift_nusd for attempt in receipt.attempts if attempt.drift_nusd is not None]
    if drifts:
        whose = "the imported log says" if call.source == "import" else "providers reported"
        facts.append(("difference", f"{usd_exact(sum(drifts))} between what {whose} and our prices give"))
    return facts


def _sum(attempts: Sequence[AttemptRow]) -> str:
    return usd_exact(sum(attempt.cost_nusd or 0 for attempt in attempts))


def _attempt_lines(receipt: CallReceipt, attempt: AttemptRow, trail: Trail) -> list[str]:
    facts: list[tuple[str, object]] = [
        *((line.name, _arithmetic(line)) for line in attempt.lines),
        ("cost", _cost(attempt)),
        ("", _remark(attempt, is_imported=receipt.call.source == "import")),
        ("the log says" if receipt.call.source == "import" else "reported", _reported(attempt)),
        ("tokens", _tokens(attempt)),
        ("answered by", _plain(_answered_by(attempt))),
        ("confidence", None if attempt.confidence is None and attempt.status != "ok" else _confidence(attempt)),
        *(("check", f"{safe(check.name)}: {safe(check.verdict)} ({check.ms:.1f} ms)") for check in attempt.checks),
        ("chosen", None if attempt.propensity is None else f"with probability {attempt.propensity:g}"),
        ("same answer", None if attempt.answer_match is None else "yes" if attempt.answer_match else "no"),
        ("outcome", None if attempt.label is None else _label(attempt.label)),
        ("then", trail.after.get(attempt.attempt_id)),
    ]
    return [_head(receipt, attempt), *(_MARGIN + text for text in _facts(facts))]


def _head(receipt: CallReceipt, attempt: AttemptRow) -> str:
    about = {other.attempt_id: other.n for other in (*receipt.attempts, *receipt.shadows)}
    parts = [
        f"#{safe(attempt.n)} {safe(attempt.role)}",
        f"about #{safe(about.get(attempt.about_attempt_id))}" if attempt.about_attempt_id else None,
        safe(attempt.tier),
        safe(attempt.request_model),
        f"{safe(attempt.status)}{f' ({safe(attempt.error_type)})' if attempt.error_type else ''}",
        _latency(attempt.latency_ms) if attempt.latency_ms is not None else None,
        f"first token after {_latency(attempt.ttft_ms)}" if attempt.ttft_ms is not None else None,
        "served" if attempt.attempt_id == receipt.call.served_attempt_id else None,
    ]
    return " · ".join(part for part in parts if part is not None)


def _arithmetic(line: ClassCost) -> str:
    each = f"{line.tokens:>10,} × {usd_exact(line.nusd_per_m, 2):>7} / 1M = "
    return f"{each}{usd_exact(line.cost_nusd):>{max(_AMOUNT - len(each), 0)}}"


def _cost(attempt: AttemptRow) -> str:
    source = "price: " + ", ".join(safe(part) for part in (attempt.price_source, attempt.price_date) if part)
    shared = f"a share of a request for {attempt.items} calls" if attempt.items > 1 else None
    tier = f"service tier {safe(attempt.service_tier)}" if attempt.service_tier else None
    parts = (safe(attempt.cost_status), source if attempt.price_source else None, tier, shared)
    amount = usd_exact(attempt.cost_nusd)
    # below the amounts that it is the sum of
    return f"{amount:>{_AMOUNT if attempt.lines else 0}} ({'; '.join(part for part in parts if part)})"


def _remark(attempt: AttemptRow, *, is_imported: bool) -> str | None:
    """Return what there is to know about how the cost is known."""
    status = attempt.cost_status or ""
    if status in ("exact", "estimated") and attempt.adds_up is False:
        return "these lines do not add up to it: the row was changed, or written by another program"
    if is_imported and status in ("exact", "estimated") and attempt.lines:
        said = "no cost" if attempt.cost_source_nusd is None else "0, which is what tools write that know no price"
        return f"the imported log says {said}: ours counts, at the prices of its time"
    if status == "exact":
        is_waived = attempt.cost_nusd == 0 and not attempt.lines and attempt.status == "failed"
        return "the provider did not charge for it" if is_waived else None
    return _why_estimated(attempt) if status == "estimated" else (_IMPORTED if is_imported else _REMARKS).get(status)


def _why_estimated(attempt: AttemptRow) -> str | None:
    if attempt.price_source == "pessimistic":
        return "estimated: no list has a price, so the config's pessimistic one counts"
    if attempt.extra.get("web_searches"):
        return f"estimated: {safe(attempt.extra['web_searches'])} web searches cost extra, and no price row has them"
    if attempt.extra.get("media_tokens"):
        return (
            f"estimated: {safe(attempt.extra['media_tokens'])} tokens of sound or pictures count at the price of text"
        )
    if attempt.service_tier:
        return "estimated: no list has a price for this service tier, so the standard one counts"
    return "estimated: the provider's token counts do not add up" if attempt.lines else None


def _reported(attempt: AttemptRow) -> str | None:
    if attempt.cost_source_nusd is None:
        return None
    text = usd_exact(attempt.cost_source_nusd)
    if attempt.computed_nusd is None:
        return text
    sign = "+" if (attempt.drift_nusd or 0) > 0 else ""
    return f"{text}; our prices give {usd_exact(attempt.computed_nusd)}: {sign}{usd_exact(attempt.drift_nusd)}"


def _tokens(attempt: AttemptRow) -> str | None:
    if attempt.lines or (attempt.input_tokens is None and attempt.output_tokens is None):
        return None
    return f"{number(attempt.input_tokens, 0)} in, {number(attempt.output_tokens, 0)} out"


def _answered_by(attempt: AttemptRow) -> str | None:
    """Return the model that the provider says has answered, where that is not plainly the one asked for."""
    model, asked = attempt.response_model, attempt.request_model or ""
    return None if model is None or model in (asked, asked.partition("/")[2]) else model


def _time(call: CallRow) -> str:
    return "undated" if call.ts is None else call.ts.isoformat(sep=" ", timespec="milliseconds")


def _tiers(call: CallRow) -> str | None:
    if call.tier_served is None or call.tier_planned == call.tier_served:
        return call.tier_served or call.tier_planned
    return f"{call.tier_planned}→{call.tier_served}"


def _latency(latency_ms: float | None) -> str:
    return number(None if latency_ms is None else latency_ms / 1000, 2, " s")


def _confidence(row: CallRow | AttemptRow) -> str:
    if row.confidence is None:
        return "none"
    calibrated = f"calibrated with {safe(row.calibration)}" if row.calibration else "uncalibrated"
    return f"{row.confidence:.3f} ({safe(row.confidence_source)}, {calibrated})"
