"""Why a logged call went as it did, in words: one sentence per decision, from the facts on its rows.

What was decided stands in the log itself: the next attempt, or the call's end. The config adds the figures (thresholds,
retries), and ``replayed`` tells whether the same facts decide the same again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from router_core.decide.moves import Accept, Action, Call, Exhausted
from router_core.decide.plan import Plan
from router_core.decide.score import Score
from router_core.decide.step import replay, threshold
from router_core.decide.trace import DECIDING, recalled_row, trace_from_rows
from router_core.types import PRE_CHECK, Confidence

Row = Mapping[str, Any]

_PART: Final = 100
_MODELS: Final = 10
_NEXT: Final = {
    "retry": "asked {} again",
    "fallback": "{} was asked instead, in the same tier",
    "escalate": "up to {}",
    "correct": "{} corrects what it was not sure of",
    "judge": "{} was asked whether it is right",
    "sample": "{} was asked the same once more",
}
_SCORING: Final = frozenset({"judge", "sample"})
_UNUSED: Final = {
    "down": "cooling down",
    "unaffordable": "dearer than the call may still spend",
    "unfit": "unable to take this request",
    "held": "left upwards by so many calls that none does any more",
}
_ENDS: Final = {
    "accepted_unscored": "valid, without a confidence, which the config accepts",
    "last_step": "valid, and no step is higher",
    "imported": "imported as served",
    "escalation_failed": "no higher step gave a valid answer",
    "guard": "the spend limit forbids going on",
    "limits": "the call's own limits (attempts, time, cost) leave no room for another request",
    "degraded": "valid, and above the limit no call goes up",
    "degraded_no_target": "valid, and above the limit no call goes up",
    "no_valid_answer": "nobody is left to ask",
    "bad_request": "the request itself is refused: nobody else is asked",
    "breaker": "so many calls of the type would go up that none does (outage, or answers much worse than usual)",
    "incapable": "no target of the path takes a request like this",
    "content_policy": "the provider declines the content: nobody else may be asked",
    "cancelled": "the caller gave the call up",
    "streamed": "handed out as it came, so nobody else could be asked",
    "broken_stream": "pieces of it were handed out before, so nobody else could be asked",
    "internal": "a fault of the program",
}


def opening(plan: Plan | None, call: Row) -> str:
    """Return why the call began as it did.

    Args:
        plan: What the config of the call's version plans for it; None = that config is not at hand.
        call: The call's row, with ``extra`` as a mapping.
    """
    if call["reason"] == PRE_CHECK:
        rule = call["extra"].get("pre_check")
        return f"pre-check {_short(rule)} answered: no model was asked"
    if call["degraded"]:
        budget = f"budget {_short(call['budget_scope'])}" if call["budget_scope"] else "a budget"
        how = (
            "no other target could take the call: its own first step runs"
            if call["reason"] == "degraded_no_target"
            else "one step on the cheapest allowed target"
        )
        text = f"{budget} was at its limit ({_short(call['guard_state'])}): {how}"
    elif plan is not None and plan.steps:
        text = f"path {' → '.join(step.tier for step in plan.steps)}"
    else:
        text = f"planned for tier {_short(call['tier_planned'])}"
    if call.get("holdback") is not None:
        text += f"; {_short(call['holdback'])} keeps this call on the path from before a move, by chance"
    recalled = recalled_row(call)
    if recalled is not None:
        paid = f"{_short(recalled['request_model'])} ({_short(recalled['tier'])})"
        text += f"; an earlier run has paid for an answer of {paid}: {_finding(plan, recalled, ())}"
    return text + _unused(_logged(call, "opened"))


def decisions(plan: Plan | None, call: Row, attempts: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """Return, for each attempt that something was decided after, its id and what was decided, and why.

    Args:
        plan: What the config of the call's version plans for it; None = that config is not at hand.
        call: The call's row, with ``extra`` as a mapping.
        attempts: Its attempt rows in order, with ``extra`` as a mapping.
    """
    path = [row for row in attempts if row["role"] in DECIDING]
    found: list[tuple[str, str]] = []
    for i, row in enumerate(path):
        following = path[i + 1] if i + 1 < len(path) else None
        if following is None:
            text = _end(plan, call, row, path)
        else:
            text = f"{_finding(plan, row, path, following)}: {_next(following)}"
        found.append((row["attempt_id"], text + _unused(_logged(row, "facts"))))
    return tuple(found)


def replayed(plan: Plan, call: Row, attempts: Sequence[Row]) -> bool:
    """Return whether the facts of a logged call decide the same again.

    Args:
        plan: The call's plan, as it was (``trace.as_planned``).
        call: The call's row, with ``extra`` as a mapping.
        attempts: Its attempt rows in order, with ``extra`` as a mapping.
    """
    path = [row for row in attempts if row["role"] in DECIDING]
    if call["reason"] == PRE_CHECK:
        return not path
    recalled = recalled_row(call)
    actions = replay(plan, trace_from_rows(plan, call, path))
    if recalled is not None:
        actions = actions[1:]  # what would have been asked without it was not
    made = [(each.n, _tier(plan, each), each.role) for each in actions if isinstance(each, Call | Score)]
    return made == [(row["n"], row["tier"], row["role"]) for row in path] and _ends_alike(
        actions[-1], call, path if recalled is None else [recalled, *path]
    )


def _tier(plan: Plan, action: Call | Score) -> str:
    """Return the tier that a request goes to."""
    if isinstance(action, Score) and action.role == "judge" and plan.judge is not None:
        return plan.judge.step.tier
    return plan.steps[action.step].tier


def _ends_alike(end: Action, call: Row, path: Sequence[Row]) -> bool:
    if call["reason"] == "stopped":
        return True  # by the caller, in the middle of a stream: nothing was decided at its end
    if call["status"] == "ok":
        served = [row["attempt_id"] for row in path if isinstance(end, Accept) and row["n"] == end.n]
        return served == [call["served_attempt_id"]]
    if call["reason"] in (None, "cancelled", "internal"):
        return True  # it was broken off: nothing was decided at its end
    return isinstance(end, Exhausted) and end.reason == call["reason"]


def _finding(plan: Plan | None, row: Row, path: Sequence[Row], following: Row | None = None) -> str:
    """Return what came of an attempt, as far as it mattered."""
    if row["role"] in _SCORING:
        return _scored(plan, row, path)
    if row["status"] == "failed":
        return f"failed ({_short(row['error_type'])})"
    if row["status"] == "invalid":
        failed = [_short(check.name) for check in row["checks"] if check.verdict != "passed"]
        return f"invalid (failed {', '.join(failed)})" if failed else "invalid"
    confidence = row["confidence"]
    if confidence is None:
        return "valid" if following is not None and following["role"] in _SCORING else "no confidence"
    return f"confidence {confidence:.3f}{_compared(plan, row, row)}"


def _scored(plan: Plan | None, row: Row, path: Sequence[Row]) -> str:
    """Return what a judge or a sample told about the answer it was asked for."""
    if row["status"] == "failed":
        return f"failed ({_short(row['error_type'])}), so it tells nothing"
    about = next((other for other in path if other["attempt_id"] == row["about_attempt_id"]), None)
    of = "" if about is None else f" of #{about['n']}"
    if row["confidence"] is None:
        return f"no usable verdict on the answer{of}"
    return f"confidence {row['confidence']:.3f}{of}{'' if about is None else _compared(plan, row, about)}"


def _compared(plan: Plan | None, row: Row, answer: Row) -> str:
    """Return how a row's confidence stands to what its answer's step asks for."""
    step = next((step for step in (() if plan is None else plan.steps) if step.tier == answer["tier"]), None)
    if plan is None or step is None:
        return ""
    value = row["confidence"]
    at = threshold(plan, step, Confidence(value=value, source=row["confidence_source"], calibration=row["calibration"]))
    return f" {'reaches' if value >= at else 'is below'} {at:g}"


def _next(following: Row) -> str:
    target = f"{_short(following['request_model'])} ({_short(following['tier'])})"
    told = _NEXT.get(following["role"])
    return f"{target} was asked ({_short(following['role'])})" if told is None else told.format(target)


def _end(plan: Plan | None, call: Row, row: Row, path: Sequence[Row]) -> str:
    if call["reason"] == "stopped":
        return "the caller had read enough: what had come until then is served and counted"
    if row["status"] in ("cancelled", "unknown"):
        why = (
            "the caller gave the call up" if row["status"] == "cancelled" else "its process ended before an answer came"
        )
        return f"{why}: what the provider charged is not known"
    reason = call["reason"]
    why = _ENDS.get(reason, "" if reason in (None, "accepted") else _short(reason))
    text = _finding(plan, row, path) + (f"; {why}" if why else "")
    if call["status"] != "ok":
        return f"{text}: no answer"
    recalled = recalled_row(call)
    if recalled is not None and recalled["attempt_id"] == call["served_attempt_id"]:
        return f"{text}: the earlier run's answer is served"
    served = [other for other in path if other["attempt_id"] == call["served_attempt_id"]]
    if not served or served[0] is row:
        return f"{text}: served"
    return f"{text}: #{served[0]['n']} is served"


def _unused(facts: Mapping[str, Any]) -> str:
    told = [
        f"{words}: {', '.join(_short(model) for model in facts[name][:_MODELS])}"
        for name, words in _UNUSED.items()
        if isinstance(facts.get(name), list)
    ]
    return f" ({'; '.join(told)})" if told else ""


def _short(logged: object) -> str:
    """Return logged text, which may be endless, as a part of a sentence."""
    text = str(logged)
    return text if len(text) <= _PART else f"{text[:_PART]}…"


def _logged(row: Row, name: str) -> Mapping[str, Any]:
    facts: object = row["extra"].get(name)
    return cast("Mapping[str, Any]", facts) if isinstance(facts, dict) else {}
