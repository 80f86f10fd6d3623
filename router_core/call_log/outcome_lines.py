"""What was learned about an answer → the line that says so."""

from typing import Any, Final, get_args

from router_core.types import NANO, OutcomeSource

_SOURCES: Final = frozenset[str](get_args(OutcomeSource))
# beyond this an amount is a slip of the keyboard, and would overflow the log's nano-dollars
_MOST_USD: Final = 1e6


def call_of(attempt_id: str) -> str:
    """Return the call that the router has made an attempt for: its attempts are named after it."""
    return attempt_id.rpartition("-")[0] or attempt_id


def outcome_line(
    call_id: str,
    *,
    attempt_id: str | None,
    received_us: int,
    correct: float | None,
    error_usd: float | None,
    source: str,
    label_propensity: float | None,
) -> dict[str, Any]:
    """Return the line of one label.

    Args:
        call_id: The call.
        attempt_id: A certain attempt of it; None = the served one.
        received_us: When the label came, microseconds since the epoch.
        correct: True, False or a grade 0..1; None = 0, which needs ``error_usd``.
        error_usd: What the mistake cost, USD; None = the payload type's own price.
        source: Who says so.
        label_propensity: Probability with which the call was chosen to be labelled; None = not by chance.

    Raises:
        ValueError: A value is out of its range, or there is nothing to log.
    """
    if correct is None and error_usd is None:
        raise ValueError("give correct, error_usd or both")
    grade = 0.0 if correct is None else float(correct)
    if not 0 <= grade <= 1:
        raise ValueError(f"correct must be True, False or within 0..1, not {correct!r}")
    if error_usd is not None and not 0 <= error_usd <= _MOST_USD:
        raise ValueError(f"error_usd must be a number of USD from 0 to 1,000,000, not {error_usd!r}")
    if source not in _SOURCES:
        raise ValueError(f"source must be one of {', '.join(sorted(_SOURCES))}, not {source!r}")
    if label_propensity is not None and not 0 < label_propensity <= 1:
        raise ValueError(f"label_propensity must be above 0 and at most 1, not {label_propensity!r}")
    return {
        "k": "outcome",
        "call_id": call_id,
        "attempt_id": attempt_id,
        "received_at": received_us,
        "correct": grade,
        "error_nusd": None if error_usd is None else round(error_usd * NANO),
        "source": source,
        "label_propensity": label_propensity,
    }
