"""One call, printed for a person: what was asked of whom, what it cost and why, and what came of it."""

from collections.abc import Sequence

from router_core.call_log.receipts import AttemptRow, CallRow
from router_core.call_log.terminal import number, safe, table, usd

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


def call_text(call: CallRow, attempts: Sequence[AttemptRow]) -> str:
    """Return a call's receipt: the call, then each attempt with its arithmetic."""
    facts = [
        ("call", call.call_id),
        ("time (UTC)", _time(call)),
        ("payload type", call.payload_type),
        ("run, step", f"{safe(call.run)}, {safe(call.step)}"),
        ("status", f"{safe(call.status)}{f' ({safe(call.error_type)})' if call.error_type else ''}"),
        ("served", f"{safe(call.tier_served)} · {safe(call.model_served)} (planned: {safe(call.tier_planned)})"),
        ("reason", f"{safe(call.reason)}{' · degraded' if call.degraded else ''} · guard {safe(call.guard_state)}"),
        ("confidence", _confidence(call.confidence, call.confidence_source, call.calibration)),
        ("cost", f"{usd(call.cost_nusd, 6)} over {call.attempts} attempts (shadows not counted)"),
        ("latency", _latency(call.latency_ms)),
        ("config", call.config_version),
        ("source", call.source),
    ]
    lines = [f"{name:<13} {safe(value)}" for name, value in facts]
    for attempt in attempts:
        lines += ["", *_attempt_lines(attempt, served=attempt.attempt_id == call.served_attempt_id)]
    return "\n".join(lines)


def _attempt_lines(attempt: AttemptRow, *, served: bool) -> list[str]:
    failure = f" ({safe(attempt.error_type)})" if attempt.error_type else ""
    head = (
        f"#{attempt.n} {safe(attempt.role)} · {safe(attempt.tier)} · {safe(attempt.request_model)} · "
        f"{safe(attempt.status)}{failure}{' · served' if served else ''}"
    )
    source = " · ".join(safe(part) for part in (attempt.price_source, attempt.price_date) if part)
    lines = [
        head,
        f"   cost        {usd(attempt.cost_nusd, 6)} ({safe(attempt.cost_status)}{f'; {source}' if source else ''})",
        *(
            f"     {line.name:<9} {line.tokens:>10,} tokens × {usd(line.nusd_per_m, 4)}/M = {usd(line.cost_nusd, 6)}"
            for line in attempt.lines
        ),
    ]
    if attempt.adds_up is False:
        lines.append(
            "     (the cost that counts is not the sum of these lines: another source or another price was used)"
        )
    if not attempt.lines:
        lines.append(f"     {number(attempt.input_tokens, 0)} tokens in, {number(attempt.output_tokens, 0)} out")
    lines.append(f"   latency     {_latency(attempt.latency_ms)}")
    lines.append(f"   confidence  {_confidence(attempt.confidence, attempt.confidence_source, None)}")
    lines += [
        f"   check       {safe(check.name)}: {safe(check.verdict)} ({check.ms:.1f} ms)" for check in attempt.checks
    ]
    if attempt.role == "shadow":
        lines += _shadow_lines(attempt)
    if attempt.correct is not None:
        lines.append(f"   outcome     correct {attempt.correct:g}")
    return lines


def _shadow_lines(attempt: AttemptRow) -> list[str]:
    lines: list[str] = []
    if attempt.propensity is not None:
        lines.append(f"   chosen      with probability {attempt.propensity:g}")
    if attempt.answer_match is not None:
        lines.append(f"   answer      {'the same as' if attempt.answer_match else 'another than'} the served one")
    return lines


def _time(call: CallRow) -> str:
    return "undated" if call.ts is None else call.ts.isoformat(sep=" ", timespec="milliseconds")


def _tiers(call: CallRow) -> str | None:
    if call.tier_served is None or call.tier_planned == call.tier_served:
        return call.tier_served or call.tier_planned
    return f"{call.tier_planned}→{call.tier_served}"


def _latency(latency_ms: float | None) -> str:
    return number(None if latency_ms is None else latency_ms / 1000, 2, " s")


def _confidence(value: float | None, source: str | None, calibration: str | None) -> str:
    if value is None:
        return "none"
    calibrated = f"calibrated with {safe(calibration)}" if calibration else "uncalibrated"
    return f"{value:.3f} ({safe(source)}, {calibrated})"
