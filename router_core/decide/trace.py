"""Facts of a call ↔ its log rows, so that a logged call can be replayed to the same decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from router_core.decide.holdback import on_old_path
from router_core.decide.moves import (
    RECALLED,
    Accept,
    Action,
    Checked,
    Fact,
    Facts,
    Failed,
    Merged,
    Opened,
    Returned,
    Scored,
    Trace,
)
from router_core.decide.plan import Plan, PlanStep
from router_core.types import NO_CONFIDENCE, Confidence

_SETTLED = frozenset({"accepted", "accepted_unscored", "last_step"})
# the facts that are sets of names: logged sorted, and only where there is something in them
_SETS = ("down", "unaffordable", "unfit", "held")
ON_PATH = frozenset({"serve", "retry", "fallback", "escalate", "correct"})
"""Roles whose answers may be served."""
DECIDING = ON_PATH | {"judge", "sample"}
"""Roles that something is decided after; shadows decide nothing."""


def facts_extra(fact: Failed | Checked | Merged | Scored, action: Action) -> dict[str, Any] | None:
    """Return what the attempt's row must carry beyond its columns, or None when the columns say it all."""
    if isinstance(action, Accept) and action.reason in _SETTLED:
        return None
    extra = _dump(fact.facts)
    if isinstance(fact, Failed | Checked) and fact.streamed:
        extra["streamed"] = True
    if isinstance(fact, Checked | Merged) and fact.correctable:
        extra["correctable"] = True
    if isinstance(fact, Checked) and fact.packed:
        extra["packed"] = True
    if isinstance(fact, Failed):
        extra["draw"] = fact.draw
        if fact.retry_after_us is not None:
            extra["retry_after_us"] = fact.retry_after_us
    return extra


def opened_extra(facts: Facts) -> dict[str, Any] | None:
    """Return what the call's row must carry of the world at its start, or None when nothing was special."""
    return _dump(facts) if facts.down or facts.unaffordable or facts.unfit or facts.held else None


def recalled_extra(plan: Plan, fact: Checked, action: Action, attempt_id: str) -> dict[str, Any]:
    """Return what the call's row must carry of an answer that an earlier run has paid for, since it has no row here.

    Args:
        plan: The call's plan.
        fact: The answer, checked again.
        action: What was decided after it.
        attempt_id: The attempt that paid for it.
    """
    step = plan.steps[fact.step]
    extra: dict[str, Any] = {
        "attempt_id": attempt_id,
        "tier": step.tier,
        "request_model": step.targets[fact.target].model,
        "target": step.targets[fact.target].name,
        "confidence": fact.confidence.value,
        "confidence_source": fact.confidence.source,
        "calibration": fact.confidence.calibration,
    }
    facts = facts_extra(fact, action)
    return extra if facts is None else extra | {"facts": facts}


def recalled_row(call: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the answer of an earlier run that a logged call began with, as if it were an attempt's row; else None.

    Args:
        call: The call's row, with ``extra`` as a mapping or None.
    """
    logged = _logged(call, "recalled")
    if not logged:
        return None
    extra = {"facts": logged.get("facts"), "target": logged.get("target")}
    return {**logged, "n": RECALLED, "role": "serve", "status": "ok", "extra": extra}


def as_planned(
    plan: Plan, tiers: Sequence[PlanStep], call: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]]
) -> Plan:
    """Return the plan of a logged call: the config's plan, moved to the degraded step where a limit did that.

    Args:
        plan: What the config of the call's version plans for its payload type.
        tiers: One step per tier of that config.
        call: The call's row.
        attempts: Its attempt rows in order.
    """
    if call.get("holdback") is not None and plan.holdback_rule is not None:
        plan = on_old_path(plan, plan.holdback_rule)
    plan = replace(plan, guard_state=call["guard_state"], budget=call["budget_scope"])
    made = [row for row in attempts if row["role"] in ON_PATH]
    if not call["degraded"] or not made:
        return plan
    step = next(known for known in (*plan.steps, *tiers) if known.tier == made[0]["tier"])
    known_targets = {target.name: target for target in step.targets}
    names = dict.fromkeys(_name(row) for row in made)
    targets = (*(known_targets[name] for name in names), *(t for t in step.targets if t.name not in names))
    return replace(plan, steps=(replace(step, targets=targets),), degraded=True)


def trace_from_rows(plan: Plan, call: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]]) -> Trace:
    """Return the facts of a logged call, in order.

    Args:
        plan: The call's plan (``as_planned``).
        call: The call's row, with ``extra`` as a mapping or None.
        attempts: Its attempt rows in order, with ``extra`` as a mapping or None.
    """
    opening = _load(_logged(call, "opened"))
    trace: list[Fact] = [Opened(facts=replace(opening, guard="normal" if plan.critical else plan.guard_state))]
    recalled = recalled_row(call)
    rows = attempts if recalled is None else [recalled, *attempts]
    for row in rows:
        if row is recalled:
            trace.append(_facts_of(plan, row)[-1])
        elif row["role"] in ON_PATH:
            trace += _facts_of(plan, row)
        elif row["role"] in DECIDING:
            trace += _scored(row, rows, trace)
    return tuple(trace)


def _facts_of(plan: Plan, row: Mapping[str, Any]) -> list[Fact]:
    if row["status"] in ("cancelled", "unknown"):
        return []  # the call ended there: nothing was decided
    step = next(index for index, known in enumerate(plan.steps) if known.tier == row["tier"])
    names = [target.name for target in plan.steps[step].targets]
    target, n = names.index(_name(row)), row["n"]
    logged = _logged(row, "facts")
    facts, streamed = _load(logged), logged.get("streamed", False)
    if row["status"] == "failed":
        return [
            Failed(
                n=n,
                step=step,
                target=target,
                kind=row["error_type"],
                retry_after_us=logged.get("retry_after_us"),
                draw=logged.get("draw", 0.0),
                streamed=streamed,
                facts=facts,
            )
        ]
    valid, correctable = row["status"] == "ok", logged.get("correctable", False)
    draft = _logged(row, "correction").get("draft")
    where: dict[str, Any] = {"n": n, "step": step, "target": target}
    if draft is not None:
        return [
            Returned(**where),
            Checked(**where, valid=True, confidence=NO_CONFIDENCE, corrects=draft, facts=facts),
            Merged(**where, valid=valid, confidence=_confidence(row), correctable=correctable, facts=facts),
        ]
    return [
        Returned(**where),
        Checked(
            **where,
            valid=valid,
            confidence=_confidence(row),
            streamed=streamed,
            correctable=correctable,
            packed=logged.get("packed", False),
            facts=facts,
        ),
    ]


def _scored(row: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]], earlier: Sequence[Fact]) -> list[Fact]:
    """Return the fact of a judge's or a sample's row; what it told of the answer by then is its confidence."""
    if row["status"] in ("cancelled", "unknown"):
        return []
    about = next(each["n"] for each in attempts if each["attempt_id"] == row["about_attempt_id"])
    answer = next(fact for fact in earlier if isinstance(fact, Checked) and fact.n == about)
    before = [fact.confidence for fact in earlier if isinstance(fact, Scored) and fact.about == about]
    answered = row["status"] != "failed"
    confidence = _confidence(row) if answered else before[-1] if before else NO_CONFIDENCE
    return [
        Scored(
            n=row["n"],
            about=about,
            step=answer.step,
            target=answer.target,
            answered=answered,
            confidence=confidence,
            facts=_load(_logged(row, "facts")),
            refused=row["role"] == "sample" and row["error_type"] == "content_policy",
        )
    ]


def _confidence(row: Mapping[str, Any]) -> Confidence:
    return Confidence(
        value=row["confidence"], source=row["confidence_source"] or "none", calibration=row["calibration"]
    )


def _dump(facts: Facts) -> dict[str, Any]:
    dumped: dict[str, Any] = {"elapsed_us": facts.elapsed_us}
    if facts.guard != "normal":
        dumped["guard"] = facts.guard
    for name in _SETS:
        if found := getattr(facts, name):
            dumped[name] = sorted(found)
    return dumped


def _name(row: Mapping[str, Any]) -> str:
    """Return the name of the target that a row's request went to."""
    extra: Mapping[str, Any] = row.get("extra") or {}
    return extra.get("target") or row["request_model"]


def _logged(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    extra: Mapping[str, Any] = row.get("extra") or {}
    found: Mapping[str, Any] = extra.get(name) or {}
    return found


def _load(dumped: Mapping[str, Any]) -> Facts:
    return Facts(
        elapsed_us=dumped.get("elapsed_us", 0),
        guard=dumped.get("guard", "normal"),
        **{name: frozenset(dumped.get(name, ())) for name in _SETS},
    )
