"""Signals of an answer → its confidence, with provenance.

What is missing is None with source ``none``, never a constant.
Free signals are measured here from the answer alone; what a judge and further samples said comes from requests of
their own and is only turned into a confidence here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from router_core.decide.tokens import Span, answer_logprobs, geometric_mean, json_values, label_margin
from router_core.record import maker, record
from router_core.types import NO_CONFIDENCE, CheckResult, Confidence, ConfidenceSource, Token

PAID: Final = frozenset({"judge", "agreement"})
"""Sources that take requests of their own; ``auto`` never picks them."""
# a text of more tokens is prose, whatever its type is compared by
_LABEL_TOKENS: Final = 12

_make_confidence = maker(Confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelField:
    """Where an answer says which label it chose.

    Attributes:
        key: Name of the answer's field; None = the whole text is the label.
        labels: All labels there are; empty = not known.
    """

    key: str | None
    labels: tuple[str, ...] = ()


@record
class Signals:
    """What an answer offers to be judged by.

    Attributes:
        text: The answer.
        parsed: The parsed answer, a mapping or an object.
        caller: What the caller's own function said, 0..1.
        checks: Verdicts of its free checks.
        token_logprobs: Natural log-probabilities of its tokens, shape ``(n_tokens,)``.
        tokens: The same tokens with their texts and alternatives; empty when only the numbers came.
        label: Returns where its label is, for a classification; asked only when there are tokens.
        said: What it says of itself beside its text, 0..1.
    """

    text: str = ""
    parsed: Any = None
    caller: float | None = None
    checks: tuple[CheckResult, ...] = ()
    token_logprobs: tuple[float, ...] = ()
    tokens: tuple[Token, ...] = ()
    label: Callable[[], LabelField | None] | None = None
    said: float | None = None


make_signals = maker(Signals)


def measure(source: str, signals: Signals, *, field: str) -> Confidence:
    """Return the confidence that a valid answer's free signals give.

    ``auto`` takes the first that is there: the caller's value, the grades of the checks, the self-reported field, the
    token log-probabilities. A check that merely passed is no confidence there: it says that the answer may be right.

    Args:
        source: Where confidence comes from, as in the config; of ``judge`` and ``agreement`` nothing is known here.
        signals: What the answer offers.
        field: Name of the self-reported field.
    """
    auto = source == "auto"
    if signals.caller is not None and (auto or source == "caller"):
        value = fraction(signals.caller)
        if value is not None:
            return _make_confidence(value=value, source="caller")
    if (auto or source == "check") and signals.checks:
        value = _share(signals.checks, graded=auto)
        if value is not None:
            return _make_confidence(value=value, source="check")
    if auto or source == "field":
        beside = fraction(signals.said)
        said = _self_reported(signals.parsed, field) if beside is None else Confidence(value=beside, source="field")
        if said is not None:
            return said
    if (auto or source == "logprob") and (signals.token_logprobs or signals.tokens):
        value = _of_tokens(signals, field)
        if value is not None:
            return _make_confidence(value=value, source="logprob")
    return NO_CONFIDENCE


def agreement(matches: Sequence[bool]) -> float | None:
    """Return the share of the further samples that say the same as the answer; None without any."""
    return sum(matches) / len(matches) if matches else None


def scored(value: float | None, source: ConfidenceSource) -> Confidence:
    """Return what a judge or the samples gave, as a confidence."""
    return NO_CONFIDENCE if value is None else Confidence(value=value, source=source)


def fraction(value: Any) -> float | None:
    """Return the value when it is a number within 0..1; anything else is no confidence."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def _share(checks: Sequence[CheckResult], *, graded: bool) -> float | None:
    """Return the mean grade of the checks; one without a grade counts 1 when it passed, else 0."""
    if graded and all(check.grade is None for check in checks):
        return None
    values = [float(check.verdict == "passed") if check.grade is None else check.grade for check in checks]
    return math.fsum(values) / len(values)


def _self_reported(parsed: Any, field: str) -> Confidence | None:
    """Return what the answer says of itself; of a mapping of fields the least sure one counts."""
    said = _get(parsed, field)
    value = fraction(said)
    if value is not None:
        return _make_confidence(value=value, source="field")
    if not isinstance(said, Mapping) and (said is None or isinstance(said, str | int | float)):
        return None
    by_name = _mapping(said)
    found = [(str(name), each) for name, entry in by_name.items() if (each := fraction(entry)) is not None]
    if not found or len(found) < len(by_name):
        return None  # what it is not sure of could be what it left unsaid
    return Confidence(value=min(each for _, each in found), source="field", fields=tuple(found))


def _get(parsed: Any, field: str) -> Any:
    if isinstance(parsed, Mapping):
        return cast("Mapping[str, Any]", parsed).get(field)
    try:
        return getattr(parsed, field, None)
    except Exception:  # noqa: BLE001 - a property of the caller's model may raise anything; then it told nothing
        return None


def _mapping(said: Any) -> Mapping[Any, Any]:
    if isinstance(said, Mapping):
        return cast("Mapping[Any, Any]", said)
    # pydantic's models, without an import of pydantic
    dump = getattr(said, "model_dump", None)
    if dump is None:
        return {}
    try:
        return cast("Mapping[Any, Any]", dump())
    except Exception:  # noqa: BLE001 - the caller's model may refuse to be dumped; then it told nothing
        return {}


def _of_tokens(signals: Signals, field: str) -> float | None:
    """Return how sure the model was of the label, when the answer is one, else of what it answered."""
    if not signals.tokens:
        return geometric_mean(signals.token_logprobs)
    label = None if signals.label is None else signals.label()
    if label is not None:
        span = _label_span(signals, label)
        margin = None if span is None else label_margin(signals.tokens, signals.text, span, label.labels)
        if margin is not None:
            return margin
    return geometric_mean(answer_logprobs(signals.tokens, signals.text, field))


def _label_span(signals: Signals, label: LabelField) -> Span | None:
    text = signals.text
    if label.key is not None:
        return next((span for key, span in json_values(text) if key == label.key), None)
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    return (start, end) if start < end and len(signals.tokens) <= _LABEL_TOKENS else None
