"""Laws of a call, over random plans, failures, answers, guards and clocks."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from router_core.decide.moves import (
    RECALLED,
    Accept,
    Action,
    Call,
    Check,
    Checked,
    Exhausted,
    Fact,
    Facts,
    Failed,
    Merge,
    Merged,
    Opened,
    Returned,
    Scored,
)
from router_core.decide.plan import JudgeRule, Plan, PlanStep, PlanTarget
from router_core.decide.score import Score
from router_core.decide.step import decide, left_for, replay
from router_core.errors import ErrorKind
from router_core.types import Confidence, GuardState

GUARDS = get_args(GuardState)
MODELS = [f"p/{letter}" for letter in "abcdefghi"]
SOME = st.frozensets(st.sampled_from([*MODELS, "j/a"]), max_size=3)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    n_steps = draw(st.integers(1, 3))
    steps: list[PlanStep] = []
    for index in range(n_steps):
        n_targets = draw(st.integers(1, 3))
        steps.append(
            PlanStep(
                tier=f"t{index}",
                targets=tuple(
                    PlanTarget(model=MODELS[index * 3 + k], timeout_s=draw(st.floats(0.1, 50)))
                    for k in range(n_targets)
                ),
                accept_at=draw(st.floats(0, 1)),
                straight_to_last_below=draw(st.none() | st.floats(0, 1)),
            )
        )
    return Plan(
        payload_type="x",
        config_version="v",
        steps=tuple(steps),
        attempts=draw(st.integers(1, 8)),
        deadline_us=draw(st.integers(1, 120_000_000)),
        retries=draw(st.integers(0, 3)),
        on_missing=draw(st.sampled_from(["escalate", "accept"])),
        escalation=draw(st.sampled_from(["redo", "correct"])),
        critical=draw(st.booleans()),
        degraded=draw(st.booleans()) if n_steps == 1 else False,
        confidence_source=draw(st.sampled_from(["auto", "judge", "agreement"])),
        samples=draw(st.integers(1, 4)),
        judge=draw(st.none() | judges()),
        is_calibrated=draw(st.booleans()),
        accept_uncalibrated_at=draw(st.floats(0, 1)),
    )


@st.composite
def judges(draw: st.DrawFn) -> JudgeRule:
    """A judge's tier of one or two targets, one of which may also be on the path."""
    models = ["j/a", draw(st.sampled_from(["j/b", MODELS[0], MODELS[-1]]))][: draw(st.integers(1, 2))]
    targets = tuple(PlanTarget(model=model, timeout_s=draw(st.floats(0.1, 50))) for model in models)
    return JudgeRule(
        step=PlanStep(tier="judges", targets=targets, accept_at=0.5),
        prompt="Judge.",
        may_judge=dict.fromkeys(MODELS[::2], frozenset(draw(st.sets(st.sampled_from(models)))))
        | dict.fromkeys(MODELS[1::2], frozenset(models)),
    )


@dataclass
class Run:
    """One call driven through a random world."""

    plan: Plan
    trace: list[Fact] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    started_at_us: list[int] = field(default_factory=list)

    @property
    def requests(self) -> list[Call | Score]:
        """Every request of the call, in order."""
        return sorted([*self.calls, *self.scores], key=lambda request: request.n)

    def place(self, n: int) -> dict[str, int]:
        """Where the answer of an attempt stands, that of an earlier run included."""
        answer = next(fact for fact in self.trace if isinstance(fact, Checked | Merged) and fact.n == n)
        return {"step": answer.step, "target": answer.target}


def begin(run: Run, facts: Callable[[], Facts], confidence: Callable[[], Confidence], data: st.DataObject) -> None:
    """Open the call, perhaps with an answer that an earlier run has paid for."""
    run.trace.append(Opened(facts=facts()))
    if not data.draw(st.booleans()):
        return
    step = data.draw(st.integers(0, len(run.plan.steps) - 1))
    target = data.draw(st.integers(0, len(run.plan.steps[step].targets) - 1))
    where: dict[str, Any] = {"step": step, "target": target, "correctable": data.draw(st.booleans())}
    kept = Checked(n=RECALLED, **where, valid=True, confidence=confidence(), facts=facts())
    run.actions.append(decide(run.plan, tuple(run.trace)))  # what would have been done without it
    run.trace.append(kept)


def drive(plan: Plan, data: st.DataObject) -> Run:
    run, clock_us = Run(plan), 0

    def facts() -> Facts:
        guard = data.draw(st.sampled_from(GUARDS[:1] if plan.critical else GUARDS))
        tiers = st.frozensets(st.sampled_from(["t0", "t1", "t2"]), max_size=1)
        sets = {"down": data.draw(SOME), "unaffordable": data.draw(SOME), "unfit": data.draw(SOME)}
        return Facts(elapsed_us=clock_us, guard=guard, **sets, held=data.draw(tiers))

    def confidence() -> Confidence:
        value = data.draw(st.none() | st.floats(0, 1))
        fitted = data.draw(st.none() | st.just("cal-1")) if plan.is_calibrated and value is not None else None
        return Confidence(value=value, source="none" if value is None else "field", calibration=fitted)

    begin(run, facts, confidence, data)
    for _ in range(200):
        action = decide(plan, tuple(run.trace))
        run.actions.append(action)
        match action:
            case Call():
                clock_us += action.wait_us
                run.calls.append(action)
                run.started_at_us.append(clock_us)
                where: dict[str, Any] = {"n": action.n, "step": action.step, "target": action.target}
                clock_us += data.draw(st.integers(0, action.timeout_us))
                if data.draw(st.booleans()):
                    kind = data.draw(st.sampled_from(get_args(ErrorKind)))
                    wait = data.draw(st.none() | st.integers(0, 5_000_000) | st.integers(0, 600_000_000))
                    draw = data.draw(st.floats(0, 1))
                    run.trace.append(Failed(**where, kind=kind, retry_after_us=wait, draw=draw, facts=facts()))
                else:
                    run.trace.append(Returned(**where))
            case Score(n=n, about=about):
                run.scores.append(action)
                run.started_at_us.append(clock_us)
                clock_us += data.draw(st.integers(0, action.timeout_us))
                where = {"n": n, "about": about, **run.place(about)}
                answered = data.draw(st.booleans())
                refused = action.role == "sample" and not answered and data.draw(st.booleans())
                fact = Scored(**where, answered=answered, refused=refused, confidence=confidence(), facts=facts())
                run.trace.append(fact)
            case Check(n=n):
                last = run.trace[-1]
                assert isinstance(last, Returned)
                run.trace.append(
                    Checked(
                        n=n,
                        step=last.step,
                        target=last.target,
                        valid=data.draw(st.booleans()),
                        confidence=confidence(),
                        corrects=run.calls[-1].draft,
                        correctable=data.draw(st.booleans()),
                        packed=data.draw(st.booleans()),
                        facts=facts(),
                    )
                )
            case Merge(n=n):
                last = run.trace[-1]
                assert isinstance(last, Checked)
                run.trace.append(
                    Merged(
                        n=n,
                        step=last.step,
                        target=last.target,
                        valid=data.draw(st.booleans()),
                        confidence=confidence(),
                        correctable=data.draw(st.booleans()),
                        facts=facts(),
                    )
                )
            case Accept() | Exhausted():
                return run
    raise AssertionError("the call does not end")


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_every_call_ends_within_its_limits(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    asked = run.requests
    assert [request.n for request in asked] == list(range(1, len(asked) + 1))
    assert len(asked) <= plan.attempts
    assert all(at < plan.deadline_us for at in run.started_at_us)
    assert all(
        at + request.timeout_us <= plan.deadline_us for at, request in zip(run.started_at_us, asked, strict=True)
    )
    for step in range(len(plan.steps)):
        for target in range(len(plan.steps[step].targets)):
            asked = [call.n for call in run.calls if (call.step, call.target) == (step, target)]
            spoiled = [fact for fact in run.trace if fact_is_spoiled(fact) and fact.n in asked]
            assert len(asked) - len(spoiled) <= 1 + plan.retries


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_tier_never_goes_down_over_a_call(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    kept = [fact.step for fact in run.trace if isinstance(fact, Checked) and fact.n == RECALLED]
    steps = [*kept, *(call.step for call in run.calls)]
    assert steps == sorted(steps)


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_only_the_highest_valid_answer_is_served(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    whole = [fact.n for fact in run.trace if fact_is_answer(fact)]
    end = run.actions[-1]
    if isinstance(end, Accept):
        assert end.n == whole[-1]
    else:
        assert whole == []


def fact_is_spoiled(fact: Fact) -> TypeGuard[Failed | Checked]:
    """Whether a shared request came to nothing for the task."""
    if isinstance(fact, Failed):
        return fact.kind == "spoiled"
    return isinstance(fact, Checked) and fact.packed and not fact.valid


def fact_is_answer(fact: Fact) -> TypeGuard[Checked | Merged]:
    """Whether it is a valid answer that could be served."""
    return (isinstance(fact, Merged) or (isinstance(fact, Checked) and fact.corrects is None)) and fact.valid


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_corrections_are_asked_of_the_latest_answer_if_it_has_settled_fields(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for end, action in enumerate(run.actions):
        if not isinstance(action, Call):
            continue
        answers = [fact for fact in run.trace[: end + 1] if fact_is_answer(fact)]
        latest = answers[-1] if answers else None
        latest = answers[-1] if answers else None
        assert latest is None or isinstance(latest, Checked | Merged)
        wanted = plan.escalation == "correct" and latest is not None and latest.correctable
        assert action.draft == (latest.n if wanted and latest is not None else None)
        assert (action.role == "correct") == wanted


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_call_with_an_answer_that_is_paid_for_asks_higher_steps_only_and_has_an_answer(
    plan: Plan, data: st.DataObject
) -> None:
    run = drive(plan, data)
    kept = [fact for fact in run.trace if isinstance(fact, Checked) and fact.n == RECALLED]
    for fact in kept:
        assert all(call.step > fact.step for call in run.calls)
        assert [request.n for request in run.requests] == list(range(1, len(run.requests) + 1))
        assert isinstance(run.actions[-1], Accept)
        if fact.step == len(plan.steps) - 1:
            assert run.calls == []


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_recorded_trace_replays_to_the_same_decisions(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    assert replay(plan, tuple(run.trace)) == tuple(run.actions)


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_nobody_is_asked_any_more_once_a_piece_was_handed_out(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for end, fact in enumerate(run.trace):
        if isinstance(fact, Failed | Checked):
            action = decide(plan, (*run.trace[:end], replace(fact, streamed=True)))
            served = Accept(n=fact.n, reason="streamed")
            assert action == (served if isinstance(fact, Checked) else Exhausted(reason="broken_stream"))


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_refused_content_is_never_sent_to_another_provider(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for fact, action in zip(run.trace, run.actions, strict=True):
        if isinstance(fact, Failed) and fact.kind in ("content_policy", "bad_request"):
            assert isinstance(action, Accept | Exhausted)
        if isinstance(fact, Scored) and fact.refused:
            assert action == Accept(n=fact.about, reason="content_policy")


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_capped_call_never_goes_up(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for fact, action in zip(run.trace, run.actions, strict=True):
        if isinstance(fact, Failed | Checked | Merged | Scored) and fact.facts.guard in ("capped", "stopped"):
            assert not (isinstance(action, Call) and action.step > fact.step)


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_request_dearer_than_what_is_left_is_never_made(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for fact, action in zip(run.trace, run.actions, strict=True):
        if isinstance(action, Call | Score) and not isinstance(fact, Returned):
            assert asked_model(plan, action) not in fact.facts.unaffordable


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_nothing_is_sent_to_a_target_that_cannot_take_it(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for fact, action in zip(run.trace, run.actions, strict=True):
        if isinstance(action, Call) and not isinstance(fact, Returned):
            assert plan.steps[action.step].targets[action.target].model not in fact.facts.unfit


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_no_call_leaves_a_held_tier_upwards(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for fact, action in zip(run.trace, run.actions, strict=True):
        left = left_for(plan, fact, action)
        assert left is None or isinstance(fact, Returned) or left[0] not in fact.facts.held


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_call_with_a_usable_higher_step_does_not_wait_long_for_a_lower_one(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for fact, action in zip(run.trace, run.actions, strict=True):
        if not (isinstance(fact, Failed) and isinstance(action, Call) and action.wait_us > 2_000_000):
            continue
        barred = fact.facts.down | fact.facts.unaffordable | fact.facts.unfit
        higher = [target.model for step in plan.steps[fact.step + 1 :] for target in step.targets]
        held = plan.steps[fact.step].tier in fact.facts.held
        asked = fact.retry_after_us is not None
        assert not asked or held or fact.facts.guard == "capped" or set(higher) <= barred


def asked_model(plan: Plan, action: Call | Score) -> str:
    if isinstance(action, Score) and action.role == "judge":
        assert plan.judge is not None
        return plan.judge.step.targets[action.target].model
    return plan.steps[action.step].targets[action.target].model


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_confidence_is_paid_for_only_where_it_can_decide(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for fact, action in zip(run.trace, run.actions, strict=True):
        if not isinstance(action, Score):
            continue
        assert isinstance(fact, Checked | Merged | Scored)
        assert fact.facts.guard == "normal"
        assert not plan.degraded
        last = len(plan.steps) - 1
        assert action.step < last or last == 0
        # an escalation that it may call for is still within the call's limit
        assert action.n < plan.attempts or last == 0
        assert asked_model(plan, action) not in fact.facts.down


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_an_answer_is_judged_once_and_sampled_as_often_as_the_config_says(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    most = {"judge": 1, "agreement": plan.samples}.get(plan.confidence_source, 0)
    for n in {RECALLED, *(call.n for call in run.calls)}:
        assert sum(score.about == n for score in run.scores) <= most
    valid = {fact.n for fact in run.trace if isinstance(fact, Checked | Merged) and fact.valid}
    assert {score.about for score in run.scores} <= valid
    failed = [fact for fact in run.trace if isinstance(fact, Scored) and not fact.answered]
    assert all(not any(s.about == fact.about and s.n > fact.n for s in run.scores) for fact in failed)


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_a_judge_is_one_that_may_judge_the_model_that_answered(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    for score in run.scores:
        place = run.place(score.about)
        model = plan.steps[place["step"]].targets[place["target"]].model
        if score.role == "judge":
            assert plan.judge is not None
            assert asked_model(plan, score) in plan.judge.may_judge[model]
        else:
            assert asked_model(plan, score) == model


@settings(max_examples=100, deadline=None)
@given(plans(), st.data())
def test_an_accepted_answer_reaches_the_threshold_of_its_scale(plan: Plan, data: st.DataObject) -> None:
    run = drive(plan, data)
    end = run.actions[-1]
    if not (isinstance(end, Accept) and end.reason == "accepted"):
        return
    fact = run.trace[-1]
    assert isinstance(fact, Checked | Merged | Scored)
    value, step = fact.confidence.value, plan.steps[fact.step]
    assert value is not None
    fitted = fact.confidence.calibration is not None or not plan.is_calibrated
    assert value >= (step.accept_at if fitted else plan.accept_uncalibrated_at)
