"""Signals of an answer → its confidence, with provenance."""

import math
from collections.abc import Mapping
from typing import Any, cast

from router_core.record import maker
from router_core.types import NO_CONFIDENCE, Confidence

_make_confidence = maker(Confidence)


def measure(
    source: str,
    *,
    caller: float | None,
    parsed: Any,
    field: str,
    token_logprobs: tuple[float, ...],
) -> Confidence:
    """Return the confidence of an answer.

    ``auto`` takes the first that is there: the caller's value, the self-reported field, the token log-probabilities.
    What is missing is None with source ``none``, never a constant.

    Args:
        source: ``auto``, ``caller``, ``field``, ``logprob`` or ``none``.
        caller: What the caller's own function said, 0..1.
        parsed: The parsed answer, a mapping or an object.
        field: Name of the self-reported field.
        token_logprobs: Natural log-probabilities of the answer's tokens, shape ``(n_tokens,)``.
    """
    auto = source == "auto"
    if caller is not None and (auto or source == "caller"):
        value = _fraction(caller)
        if value is not None:
            return _make_confidence(value=value, source="caller")
    if auto or source == "field":
        value = _fraction(_self_reported(parsed, field))
        if value is not None:
            return _make_confidence(value=value, source="field")
    if auto or source == "logprob":
        value = _geometric_mean(token_logprobs)
        if value is not None:
            return _make_confidence(value=value, source="logprob")
    return NO_CONFIDENCE


def _self_reported(parsed: Any, field: str) -> Any:
    if isinstance(parsed, Mapping):
        return cast("Mapping[str, Any]", parsed).get(field)
    try:
        return getattr(parsed, field, None)
    except Exception:  # noqa: BLE001 - a property of the caller's model may raise anything; then it told nothing
        return None


def _fraction(value: Any) -> float | None:
    """Return the value when it is a number within 0..1; anything else is no confidence."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def _geometric_mean(token_logprobs: tuple[float, ...]) -> float | None:
    """Return exp(mean log-probability): the per-token probability of the answer, comparable across lengths."""
    if not token_logprobs or any(math.isnan(value) or value > 0 for value in token_logprobs):
        return None
    return math.exp(math.fsum(token_logprobs) / len(token_logprobs))
