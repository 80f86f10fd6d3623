"""What the caller asks for, and the two things done with it for every target: make the request, examine the answer."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache, partial
from typing import Any, Final, TypeVar, cast

from router_core.checks import Check, refuse_awaited, refuse_unusable_check, refuse_unusable_format, run_checks
from router_core.decide.calibration import calibrate
from router_core.decide.confidence import make_signals, measure
from router_core.decide.plan import Plan
from router_core.inflight import InFlight
from router_core.labels import declares, label_field
from router_core.lines import Sent
from router_core.prechecks import PreCheckFunction, refuse_unusable_rule
from router_core.record import blank, record
from router_core.types import CheckResult, Message, Request

# what the client knows as arguments and the router decides by itself
_ROUTED = frozenset({"model", "stream", "num_retries", "max_retries", "fallbacks", "api_base", "base_url", "timeout"})

MOST_LABEL: Final = 500
"""Characters that a payload type, a run, a step or the value of a tag may have."""
MOST_TAG_NAME: Final = 100
"""Characters that the name of a tag may have."""
MOST_TAGS: Final = 50
"""Tags that a call may have."""

T = TypeVar("T")
ConfidenceFunction = Callable[[Any], float | None]
"""Gets the parsed answer (the text when no format was asked for); returns 0..1 or None."""


@record
class Task:
    """What the caller asks for; see ``Router.complete`` and ``Router.stream``."""

    payload_type: str
    messages: Sequence[Message]
    response_format: Any = None
    checks: tuple[Check, ...] = ()
    pre_checks: tuple[PreCheckFunction, ...] = ()
    confidence: ConfidenceFunction | None = None
    run: str | None = None
    step: str | None = None
    tags: Mapping[str, str] | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_streamed: bool = False


def several(name: str, given: Sequence[T] | None) -> tuple[T, ...]:
    """Return what an argument lists; nothing of None.

    Raises:
        TypeError: It is no list.
    """
    if not given:
        return ()
    if isinstance(given, str | Mapping) or not isinstance(cast("object", given), Iterable):
        raise TypeError(f"{name} must be a list, not {type(given).__name__}")
    return tuple(given)


def refuse_unusable(task: Task) -> None:
    """Do nothing for a task that can be sent.

    Raises:
        TypeError, ValueError: One of its parts is not what ``Router.complete`` takes.
    """
    if type(task.payload_type) is not str or len(task.payload_type) > MOST_LABEL:
        _refuse_label("payload_type", task.payload_type)
    if task.run is not None:
        _refuse_label("run", task.run)
    if task.step is not None:
        _refuse_label("step", task.step)
    if task.tags is not None:
        _refuse_tags(task.tags)
    _refuse_messages(task.messages)
    for check in task.checks:
        refuse_unusable_check(check)
    for function in task.pre_checks:
        refuse_unusable_rule(function)
    if task.confidence is not None:
        if not callable(task.confidence):
            raise TypeError(f"confidence must be a function, not {type(task.confidence).__name__}")
        refuse_awaited("confidence", task.confidence)
    if task.params and not _ROUTED.isdisjoint(task.params):
        _refuse_routed(task.params)
    refuse_unusable_format(task.response_format)


def _refuse_routed(params: Mapping[str, Any]) -> None:
    if "stream" in params:
        raise TypeError("stream: use router.stream(...), or router.astream(...) in an event loop")
    raise TypeError(f"{', '.join(sorted(_ROUTED & params.keys()))}: the routing config decides this, not the call")


def _refuse_messages(messages: Any) -> None:
    # an abstract class is asked ten times as slowly as a real one, at every call
    is_list = type(messages) is list or (isinstance(messages, Sequence) and not isinstance(messages, str | bytes))
    if not is_list or not messages:
        raise TypeError("messages must be a list of chat messages, like [{'role': 'user', 'content': 'text'}]")
    for message in cast("Sequence[object]", messages):
        if type(message) is not dict and not isinstance(message, Mapping):
            raise TypeError(f"messages must be mappings with role and content, not {type(message).__name__}")


def _refuse_label(name: str, value: object, most: int = MOST_LABEL) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    if len(value) > most:
        raise ValueError(f"{name} has {len(value)} characters, more than {most}: it is a name, and goes into the log")


def _refuse_tags(tags: object) -> None:
    if not isinstance(tags, Mapping):
        raise TypeError(f"tags must be a mapping of text to text, not {type(tags).__name__}")
    named = cast("Mapping[object, object]", tags)
    if len(named) > MOST_TAGS:
        raise ValueError(f"tags has {len(named)} entries, more than {MOST_TAGS}: they go into the log with every call")
    for key, value in named.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError("tags must be a mapping of text to text")
        _refuse_label("a tag's name", key, MOST_TAG_NAME)
        _refuse_label("a tag's value", value)


def make_request(
    task: Task, plan: Plan, call_id: str, sent: Sent, timeout_s: float, total_s: float | None = None
) -> Request:
    """Return the request that a backend is given for one attempt of a call."""
    wanted = _logprobs(task, plan)
    request: Any = blank(Request)
    request.request_id = sent.attempt_id
    request.call_id = call_id
    request.payload_type = task.payload_type
    request.model = sent.target.model
    request.messages = task.messages
    request.response_format = task.response_format
    request.timeout_s = timeout_s
    request.max_output_tokens = sent.target.max_output_tokens
    request.logprobs = wanted
    request.alternatives = wanted and label_field(task.response_format, plan.comparable) is not None
    request.only_known_logprobs = plan.confidence_source == "auto"
    request.params = task.params
    request.api_base = sent.target.api_base
    request.api_key_env = sent.target.api_key_env
    request.role = sent.role
    request.question = None
    request.total_s = total_s
    return request


def _logprobs(task: Task, plan: Plan) -> bool:
    """Return whether log-probabilities are wanted: by name, or by ``auto`` where nothing else is to come."""
    if plan.confidence_source != "auto":
        return plan.confidence_source == "logprob"
    return task.confidence is None and not declares(task.response_format, plan.confidence_field)


def examine(task: Task, plan: Plan, request: InFlight) -> bool:
    """Run the free checks on a request's answer and measure its confidence; return whether the answer is valid."""
    response = request.response
    if response is not None and response.pack is not None and response.pack.spoiled is not None:
        request.checks = (CheckResult(name="pack", ms=0.0, verdict="failed", detail=response.pack.spoiled),)
        return False
    text = response.text if response is not None else ""
    checked = run_checks(text, task.response_format, task.checks)
    request.parsed, request.checks = checked.parsed, checked.results
    if checked.valid and response is not None:
        said = None
        if task.confidence is not None:
            said = _caller_confidence(task.confidence, text if task.response_format is None else checked.parsed)
        signals = make_signals(
            text=text,
            parsed=checked.parsed,
            caller=said,
            checks=checked.results,
            token_logprobs=response.token_logprobs,
            tokens=response.tokens,
            label=partial(label_field, task.response_format, plan.comparable) if response.tokens else None,
            said=None if response.pack is None else response.pack.said,
        )
        confidence = measure(plan.confidence_source, signals, field=plan.confidence_field)
        if plan.calibration is not None:
            model, snapshot = request.sent.target.model, response.response_model
            confidence = calibrate(confidence, plan.calibration, model=model, response_model=snapshot)
        request.confidence = confidence
    return checked.valid


def template_hash(messages: Sequence[Message]) -> str | None:
    """Return the hash of the system prompt, 16 hex digits, or None without one; texts themselves are never logged."""
    system: str | None = None
    for message in messages:
        if message.get("role") == "system":
            text = str(message.get("content"))
            system = text if system is None else f"{system}\x00{text}"
    return None if system is None else _hash_of(system)


@lru_cache(maxsize=512)
def _hash_of(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()


def _caller_confidence(function: ConfidenceFunction, subject: Any) -> float | None:
    try:
        return function(subject)
    except Exception:  # noqa: BLE001 - the caller's function may raise anything; then it told nothing
        return None
