"""Corrections in a call: which of its answers are drafts, what goes up with them, and what comes back merged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from router_core.decide.calibration import calibrate
from router_core.decide.correct import Draft, Refused, correction_messages, correction_schema, draft_of, merge
from router_core.decide.moves import Facts, Merged
from router_core.decide.plan import Plan
from router_core.decide.step import served_at
from router_core.inflight import InFlight
from router_core.labels import schema_of
from router_core.lines import Sent
from router_core.task import Task, examine, make_request
from router_core.types import AnswerField, AttemptRecord, CheckResult, Confidence, Request


class Correcting:
    """The drafts of one call.

    Args:
        task: What the caller asks for.
        plan: The call's plan.
    """

    def __init__(self, task: Task, plan: Plan) -> None:
        self._task = task
        self._plan = plan
        self._drafts: dict[int, Draft] = {}

    def note(self, n: int, request: InFlight) -> bool:
        """Take note of a valid answer; return whether it may be corrected instead of being done again.

        What is handed out piece by piece cannot be merged into anything.
        """
        confidence, response = request.confidence, request.response
        if self._plan.escalation != "correct" or self._task.is_streamed or response is None:
            return False
        if confidence.source != "field" or not confidence.fields:
            return False
        schema = schema_of(self._task.response_format)
        declared: Mapping[str, Any] = {} if schema is None else schema.get("properties") or {}
        draft = draft_of(
            response.text,
            confidence.fields,
            self._is_sure(request),
            attempt=n,
            confidence_field=self._plan.confidence_field,
            declared=frozenset(declared),
        )
        if draft is None:
            return False
        self._drafts[n] = draft
        return draft.is_correctable

    def kind(self, draft: int | None) -> str:
        """Return the name under which sizes of answers are remembered, or of corrections of a draft."""
        return self._task.payload_type if draft is None else f"corrections of {self._task.payload_type}"

    def wire(self, sent: Sent, call_id: str, timeout_s: float) -> Request:
        """Return the request for the task, or for corrections of the answer that is its draft."""
        whole = make_request(self._task, self._plan, call_id, sent, timeout_s)
        if sent.draft is None:
            return whole
        draft = self._drafts[sent.draft]
        return replace(
            whole,
            messages=correction_messages(self._task.messages, draft),
            response_format=correction_schema(schema_of(self._task.response_format), draft),
            logprobs=False,
            alternatives=False,
        )

    def merged(self, request: InFlight, n: int, facts: Facts) -> Merged:
        """Merge the corrections that a request has brought into the answer of attempt ``n``; return that as a fact.

        The merged answer takes their place on the request, and is examined as any other. Corrections that touch what is
        settled are refused, which makes an invalid answer.

        Args:
            request: The request, come back.
            n: Attempt of the draft.
            facts: The world afterwards.
        """
        sent, valid = request.sent, self._merge(request, n)
        draft = self._drafts.get(sent.n)
        return Merged(
            n=sent.n,
            step=sent.step,
            target=sent.target_index,
            valid=valid,
            confidence=request.confidence,
            correctable=valid and draft is not None and draft.is_correctable,
            facts=facts,
        )

    def _merge(self, request: InFlight, n: int) -> bool:
        draft, response = self._drafts[n], request.response
        reply = "" if response is None else response.text
        merged = merge(draft, reply, self._is_sure(request), attempt=request.sent.n)
        told: dict[str, Any] = {"draft": n, "asked": len(draft.doubtful)}
        request.correction = told
        if isinstance(merged, Refused) or response is None:
            reason = merged.reason if isinstance(merged, Refused) else "no answer"
            told["refused"] = reason
            request.checks = (CheckResult(name="correction", ms=0.0, verdict="failed", detail=reason),)
            return False
        told["corrected"] = len(merged.corrected)
        request.response = replace(response, text=merged.text, token_logprobs=(), tokens=())
        if not examine(self._task, self._plan, request):
            told["refused"] = "fails the checks"
            return False
        self._drafts[request.sent.n] = merged.draft
        if request.confidence.source == "field":
            # what was settled below was so by its own step's measure: this step answers for what it was asked
            lowest = Confidence(value=merged.confidence, source="field", fields=request.confidence.fields)
            request.confidence = self._calibrated(lowest, request)
        return True

    def fields(self, n: int, made: Sequence[AttemptRecord], recalled: InFlight | None) -> tuple[AnswerField, ...]:
        """Return where each field of a merged answer comes from; () of an answer that is none.

        Args:
            n: Attempt of the answer.
            made: The call's attempts.
            recalled: The answer that an earlier run has paid for, if the call began with one.
        """
        draft = self._drafts.get(n)
        if draft is None or all(state.attempt == n for state in draft.fields.values()):
            return ()
        places = {each.n: (each.attempt_id, each.tier, each.model) for each in made}
        if recalled is not None:
            sent = recalled.sent
            places[sent.n] = (sent.attempt_id, sent.tier, sent.target.model)
        found: list[AnswerField] = []
        for name, state in draft.fields.items():
            attempt_id, tier, model = places[state.attempt]
            found.append(
                AnswerField(name=name, confidence=state.confidence, attempt_id=attempt_id, tier=tier, model=model)
            )
        return tuple(found)

    def _is_sure(self, request: InFlight) -> Callable[[float], bool]:
        plan, step = self._plan, self._plan.steps[request.sent.step]

        def is_sure(value: float) -> bool:
            return served_at(plan, step, self._calibrated(Confidence(value=value, source="field"), request))

        return is_sure

    def _calibrated(self, confidence: Confidence, request: InFlight) -> Confidence:
        snapshot = None if request.response is None else request.response.response_model
        return calibrate(confidence, self._plan.calibration, model=request.sent.target.model, response_model=snapshot)
