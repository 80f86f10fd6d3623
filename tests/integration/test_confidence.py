"""Confidence through the real router: judges, samples, calibrations, labels; on the log, and what it costs."""

import asyncio
import contextlib
import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from router_core import CallError, Router
from router_core.backends.simulated import SimulatedBackend, SimulatedModel
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.receipt_text import call_text
from router_core.call_log.receipts import find_calls, receipt_of
from router_core.call_log.trails import trail_of
from router_core.clock import VirtualClock
from router_core.config import parse
from router_core.control.calibrations import keep_calibration
from router_core.decide.compile import compile_plans
from router_core.decide.trace import as_planned
from router_core.decide.trail import replayed
from router_core.errors import ConfigError, RouteExhaustedError
from router_core.types import Request, Response, Token, Usage
from tests.builders import make_calibration
from tests.routers import MESSAGES, NOON_US, ROUTING, Bench, open_bench, reply

JUDGED = (
    ROUTING.replace(", {model: b/small}", "").replace(
        "[cheap, mid, top], error_cost_usd: 0.5}",
        "[cheap, mid, top], error_cost_usd: 0.5, confidence: {source: judge}}",
    )
    + "judge: {tier: top}\n"
)
SAMPLED = ROUTING.replace(
    "error_cost_usd: 0.5}", "error_cost_usd: 0.5, comparable: json, confidence: {source: agreement, samples: 2}}"
)


def verdict(value: object) -> Response:
    return Response(text=json.dumps({"confidence": value}), usage=Usage(input_tokens=200, output_tokens=8))


def judging(*verdicts: Any, answer: Response | None = None) -> Callable[[Request], Any]:
    """A model that gives these verdicts in turn when it judges, and else an answer."""
    left = list(verdicts)

    def world(request: Request) -> Any:
        return left.pop(0) if request.role == "judge" else answer or reply("theirs")

    return world


def roles(bench: Bench) -> list[tuple[str, str]]:
    return [(line["role"], line["tier"]) for line in bench.lines("attempt")]


def test_judge_decides_and_its_cost_is_on_the_call(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": judging(verdict(0.2), verdict(0.9))}, JUDGED)
    answer = bench.ask()
    # a/small and a/medium are judged by b/large, which is of another family
    assert roles(bench) == [("serve", "cheap"), ("judge", "top"), ("escalate", "mid"), ("judge", "top")]
    assert (answer.tier, answer.confidence.value, answer.confidence.source) == ("mid", 0.9, "judge")
    (call,) = bench.lines("call")
    assert (call["confidence"], call["confidence_source"], call["attempts"]) == (0.9, "judge", 4)
    assert call["cost_nusd"] == answer.cost_nusd == sum(line["cost_nusd"] for line in bench.lines("attempt"))
    assert call["escalations"] == 1


def test_judged_answer_is_logged_before_its_judge_and_without_a_confidence(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": judging(verdict(0.9))}, JUDGED)
    answer = bench.ask()
    assert [line["k"] for line in bench.lines()] == ["started", "attempt", "started", "attempt", "call"]
    served, judge = bench.lines("attempt")
    assert (served["confidence"], served["confidence_source"]) == (None, "none")
    assert (judge["about_attempt_id"], judge["confidence"], judge["status"]) == (served["attempt_id"], 0.9, "ok")
    assert bench.lines("started")[1]["items"][0]["about_attempt_id"] == served["attempt_id"]
    about = [attempt.about_attempt_id for attempt in answer.attempts]
    assert about == [None, answer.attempts[0].attempt_id]
    assert answer.attempts[0].confidence == answer.confidence


def test_judge_gets_the_task_and_the_answer_and_none_of_the_callers_arguments(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": judging(verdict(0.9))}, JUDGED)
    bench.ask(temperature=0.7)
    asked = bench.backend.requests[1]
    said = json.loads(asked.messages[1]["content"])
    assert said["task"] == MESSAGES
    assert json.loads(said["answer"])["answer"] == "yes"
    assert asked.params == {}
    assert asked.question is not None
    assert asked.question.model == "a/small"


@pytest.mark.parametrize(
    "failing",
    [
        CallError("no", kind="server", billed=False),
        CallError("no", kind="content_policy"),
        RuntimeError("a backend that breaks its promise"),
        Response(text="I am sure.", usage=Usage(input_tokens=5, output_tokens=5)),
        verdict(7),
    ],
    ids=["failure", "refusal", "fault", "prose", "no fraction"],
)
@pytest.mark.parametrize(("on_missing", "tier"), [("accept", "cheap"), ("escalate", "mid")])
def test_judge_that_fails_means_no_confidence_and_on_missing_decides(
    failing: Any, on_missing: str, tier: str, tmp_path: Path
) -> None:
    routing = JUDGED.replace("source: judge}", f"source: judge, on_missing: {on_missing}}}")
    bench = open_bench(tmp_path, {"b/large": judging(failing, verdict(0.9))}, routing)
    answer = bench.ask()
    assert answer.tier == tier
    judge = bench.lines("attempt")[1]
    assert judge["role"] == "judge"
    assert judge["status"] in ("failed", "invalid")
    if tier == "cheap":
        assert (answer.confidence.value, answer.confidence.source, answer.reason) == (None, "none", "accepted_unscored")


def test_invalid_answer_is_not_judged_and_the_last_steps_neither(tmp_path: Path) -> None:
    broken = [reply(text="cut o")]
    bench = open_bench(tmp_path, {"a/small": broken, "a/medium": broken}, JUDGED)
    answer = bench.ask()
    assert roles(bench) == [("serve", "cheap"), ("escalate", "mid"), ("escalate", "top")]
    assert (answer.tier, answer.reason) == ("top", "last_step")


def test_path_of_one_step_is_judged_for_the_caller(tmp_path: Path) -> None:
    routing = JUDGED.replace("[cheap, mid, top], error", "[mid], error")
    bench = open_bench(tmp_path, {"b/large": judging(verdict(0.4))}, routing)
    answer = bench.ask()
    assert (answer.confidence.value, answer.reason) == (0.4, "last_step")


def test_nobody_judges_above_the_limit(tmp_path: Path) -> None:
    routing = JUDGED + "budgets: [{name: daily, usd: 0.0001}]\n"
    bench = open_bench(tmp_path, {"b/large": judging(verdict(0.9), verdict(0.9))}, routing)
    bench.ask()  # the call that crosses
    degraded = bench.ask()
    assert degraded.degraded
    assert [attempt.role for attempt in degraded.attempts] == ["serve"]


def test_judge_dearer_than_what_is_left_is_not_asked(tmp_path: Path) -> None:
    routing = JUDGED.replace("{accept_at: 0.8}", "{accept_at: 0.8, limits: {cost_usd: 0.001}}")
    bench = open_bench(tmp_path, {"b/large": judging()}, routing)
    answer = bench.ask()
    assert (roles(bench), answer.confidence.source) == ([("serve", "cheap"), ("escalate", "mid")], "none")


def test_async_calls_are_judged_too(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": judging(verdict(0.9))}, JUDGED)
    answer = asyncio.run(bench.router.acomplete("x.extract", messages=MESSAGES))
    assert answer.confidence.source == "judge"


@pytest.mark.parametrize(
    ("samples", "value", "tier"),
    [(["yes", "yes"], 1.0, "cheap"), (["yes", "no"], 0.5, "mid"), (["no", "no"], 0.0, "mid")],
)
def test_agreement_is_the_share_of_samples_that_say_the_same(
    samples: list[str], value: float, tier: str, tmp_path: Path
) -> None:
    small = [reply("yes"), *(reply(each, confidence=0.1 * n) for n, each in enumerate(samples))]
    bench = open_bench(tmp_path, {"a/small": small}, SAMPLED)
    answer = bench.ask()
    lines = bench.lines("attempt")
    assert [line["role"] for line in lines[:3]] == ["serve", "sample", "sample"]
    assert [line["answer_match"] for line in lines[1:3]] == [each == "yes" for each in samples]
    assert lines[2]["confidence"] == value
    assert answer.attempts[0].confidence.value == value
    assert answer.tier == tier


def test_sample_that_fails_its_checks_is_another_answer(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply("yes"), reply(text="cut o"), reply("yes")]}, SAMPLED)
    assert bench.ask().attempts[0].confidence.value == 0.5


def test_failed_sample_ends_the_sampling_and_what_is_known_counts(tmp_path: Path) -> None:
    failed = CallError("no", kind="server", billed=False)
    first = open_bench(tmp_path / "a", {"a/small": [reply("yes"), failed]}, SAMPLED)
    assert first.ask().attempts[0].confidence.value is None
    assert [line["role"] for line in first.lines("attempt")][:3] == ["serve", "sample", "escalate"]
    second = open_bench(tmp_path / "b", {"a/small": [reply("yes"), reply("yes"), failed]}, SAMPLED)
    answer = second.ask()
    assert (answer.tier, answer.confidence.value) == ("cheap", 1.0)


def test_what_makes_a_target_repeat_itself_is_left_out_of_samples(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {}, SAMPLED)
    bench.ask(temperature=0, seed=5, top_p=0.9)
    answer, *samples = [request for request in bench.backend.requests if request.model == "a/small"]
    assert answer.params == {"temperature": 0, "seed": 5, "top_p": 0.9}
    assert [sample.params for sample in samples] == [{"top_p": 0.9}] * 2


def test_temperature_above_0_is_kept_for_samples(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {}, SAMPLED)
    bench.ask(temperature=0.7)
    assert [request.params for request in bench.backend.requests] == [{"temperature": 0.7}] * 3


def test_samples_count_to_the_limit_of_attempts_and_leave_room_to_go_up(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path, {"a/small": [reply("yes"), reply("no")], "a/medium": [reply("yes"), reply("no")]}, SAMPLED
    )
    answer = bench.ask()
    assert len(answer.attempts) == 6
    assert [attempt.role for attempt in answer.attempts] == [
        "serve",
        "sample",
        "sample",
        "escalate",
        "sample",
        "escalate",
    ]


def calibrated(folder: Path, *entries: dict[str, Any], routing: str = ROUTING) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    plain = {"payload_type": "x.extract", "model": "a/small"}
    name = keep_calibration(folder / "routing.yaml", make_calibration(*(plain | entry for entry in entries))[1])
    return routing.replace("{path: [cheap, mid, top], ", f"{{path: [cheap, mid, top], calibration: {name}, ")


def test_calibration_moves_the_confidence_and_says_so(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.8)]}, calibrated(tmp_path, {}))
    answer = bench.ask()
    first = answer.attempts[0].confidence
    assert first.value == pytest.approx(2 / 3)  # the odds are halved
    assert (first.raw, first.source) == (0.8, "field")
    assert first.calibration is not None
    line = bench.lines("attempt")[0]
    assert (line["calibration"], line["extra"]["confidence_raw"]) == (first.calibration, 0.8)
    assert answer.tier == "mid"


def test_value_that_no_curve_was_fitted_for_is_marked_and_compared_with_the_default(tmp_path: Path) -> None:
    routing = calibrated(tmp_path, {"model": "a/older"}, {"source": "logprob"})
    routing = routing.replace("[cheap, mid, top]", "[{tier: cheap, accept_at: 0.5}, mid, top]")
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.79), reply(confidence=0.8)]}, routing)
    low, high = bench.ask(), bench.ask()
    assert low.attempts[0].confidence.calibration is None
    assert (low.tier, high.tier) == ("mid", "cheap")


def test_judges_verdict_is_calibrated_for_the_judge_that_gave_it(tmp_path: Path) -> None:
    entry = {"source": "judge", "judge": "b/large"}
    routing = calibrated(tmp_path, entry, routing=JUDGED)
    bench = open_bench(tmp_path, {"b/large": judging(verdict(0.9), verdict(0.9))}, routing)
    answer = bench.ask()
    assert answer.attempts[0].confidence.value == pytest.approx(0.9 / 1.1)
    assert answer.tier == "cheap"
    assert bench.lines("call")[0]["calibration"] == answer.confidence.calibration is not None


def test_router_with_an_unknown_calibration_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cal-12345678"):
        open_bench(
            tmp_path,
            {},
            ROUTING.replace("{path: [cheap, mid, top], ", "{path: [cheap, mid], calibration: cal-12345678, "),
        )


def test_confidences_of_fields_are_kept_on_the_record(tmp_path: Path) -> None:
    text = json.dumps({"answer": "yes", "confidence": {"answer": 0.9, "due": 0.85}})
    bench = open_bench(tmp_path, {"a/small": [reply(text=text)]})
    answer = bench.router.complete("x.extract", messages=MESSAGES, response_format={"type": "object"})
    assert answer.confidence.value == 0.85
    assert answer.attempts[0].confidence.fields == (("answer", 0.9), ("due", 0.85))
    assert '"due"' not in "".join(json.dumps(line) for line in bench.lines())


LABEL = {
    "type": "object",
    "properties": {"label": {"enum": ["invoice", "spam"]}, "page": {"type": "integer"}},
    "required": ["label"],
}


def labelled(p: float) -> Response:
    tokens = (
        Token(text='{"label": "', logprob=-0.5),
        Token(text="spam", logprob=math.log(p), others=(("spam", math.log(p)), ("invoice", math.log(1 - p)))),
        Token(text='"}', logprob=0.0),
    )
    return Response(
        text='{"label": "spam"}',
        usage=Usage(input_tokens=10, output_tokens=3),
        token_logprobs=tuple(token.logprob for token in tokens),
        tokens=tokens,
    )


def test_confidence_of_a_classification_is_the_margin_of_its_label(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [labelled(0.95)]})
    answer = bench.router.complete("x.extract", messages=MESSAGES, response_format=LABEL)
    assert answer.confidence.value == pytest.approx(0.9)
    assert answer.confidence.source == "logprob"
    asked = bench.backend.requests[0]
    assert (asked.logprobs, asked.alternatives, asked.only_known_logprobs) == (True, True, True)


def test_auto_asks_for_no_logprobs_where_something_else_tells(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    bench.ask()
    bench.router.complete("x.extract", messages=MESSAGES, confidence=lambda text: 0.9)
    assert [request.logprobs for request in bench.backend.requests] == [False, False]


def test_check_that_grades_is_a_confidence(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    answer = bench.router.complete("x.extract", messages=MESSAGES, checks=[lambda text: 0.85])
    assert (answer.confidence.value, answer.confidence.source, answer.tier) == (0.85, "check", "cheap")


def receipt(bench: Bench, routing: str) -> str:
    home = Home(bench.home)
    bench.router.close()
    (line,) = bench.lines("call")
    ingest_once(home)
    with reading(home) as con:
        found = receipt_of(con, find_calls(con, line["call_id"])[0])
    trail = trail_of(found, parse(routing.encode(), source="routing.yaml"))
    assert trail.replays
    return call_text(found, trail)


def test_receipt_tells_who_judged_what_and_where_the_confidence_is_from(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"b/large": judging(verdict(0.2), verdict(0.9))}, JUDGED)
    bench.ask()
    text = receipt(bench, JUDGED)
    assert "#2 judge · about #1 · top · b/large · ok" in text
    assert "b/large (top) was asked whether it is right" in text
    assert "confidence 0.200 of #1 is below 0.8: up to a/medium (mid)" in text
    assert "confidence    0.900 (judge, uncalibrated)" in text


def test_receipt_tells_the_samples(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {}, SAMPLED)
    bench.ask()
    text = receipt(bench, SAMPLED)
    assert "#3 sample · about #1 · cheap · a/small · ok" in text
    assert "same answer   yes" in text


CALIBRATED = {"payload_type": "x.extract", "model": "a/small", "source": "judge", "judge": "b/large"}


@pytest.mark.parametrize("source", ["judge", "agreement"])
def test_logged_calls_replay_whatever_became_of_judges_and_samples(source: str, tmp_path: Path) -> None:
    """Random worlds through the real router: the log's facts decide the same again, and costs add up."""
    chance = random.Random(11)

    def world(request: Request) -> Any:
        if chance.random() < 0.2:
            return CallError("no", kind=chance.choice(["server", "timeout", "auth", "rate_limit"]))
        if request.role == "judge":
            return chance.choice([verdict(0.3), verdict(0.85), verdict("high")])
        return reply(chance.choice(["yes", "no"])) if chance.random() < 0.8 else reply(text="cut o")

    limits = "limits: {cost_usd: 0.02, deadline_s: 8, attempts: 7, retries: 1}"
    routing = JUDGED if source == "judge" else SAMPLED
    routing = routing.replace("{accept_at: 0.8}", f"{{accept_at: 0.8, {limits}}}")
    if source == "judge":
        (tmp_path / "calibrations").mkdir()
        routing = calibrated(tmp_path, CALIBRATED, routing=routing)
    routing += "budgets: [{name: daily, usd: 0.2}]\n"
    bench = open_bench(tmp_path, dict.fromkeys(["a/small", "b/small", "a/medium", "b/large"], world), routing)
    for _ in range(250):
        bench.clock.sleep(chance.choice([0, 1, 60]))
        with contextlib.suppress(RouteExhaustedError):
            bench.ask(chance.choice(["x.extract", "x.extract", "x.decide"]))
    there = {name: (tmp_path / "calibrations" / f"{name}.json").read_bytes() for name in names(tmp_path)}
    plans = compile_plans(parse(routing.encode(), source="routing.yaml", calibrations=there))
    attempts: dict[str, list[dict[str, Any]]] = {}
    nothing = dict.fromkeys(["calibration", "confidence", "confidence_source", "about_attempt_id", "error_type"])
    for line in bench.lines("attempt"):
        attempts.setdefault(line["call_id"], []).append({**nothing, "extra": {}, **line})
    seen = {row["role"] for rows in attempts.values() for row in rows}
    assert {"judge": {"judge"}, "agreement": {"sample"}}[source] <= seen
    assert len(bench.backend.requests) == sum(len(rows) for rows in attempts.values())
    for call in bench.lines("call"):
        rows = attempts.get(call["call_id"], [])
        plan = plans.plan_for(call["payload_type"])
        assert plan is not None
        row = {"error_type": None, "served_attempt_id": None, "extra": {}, **call}
        assert replayed(as_planned(plan, plans.tiers, row, rows), row, rows)
        assert call["cost_nusd"] == sum(row["cost_nusd"] for row in rows)
        assert call["attempts"] == len(rows) <= 7
        tiers = [["cheap", "mid", "top"].index(row["tier"]) for row in rows if row["role"] not in ("judge", "sample")]
        assert tiers == sorted(tiers) or call["degraded"]


def names(folder: Path) -> list[str]:
    return [file.stem for file in (folder / "calibrations").glob("*.json")]


@pytest.mark.parametrize("source", ["judge", "agreement"])
def test_simulated_models_judge_and_agree_better_than_chance_and_the_same_every_time(
    source: str, tmp_path: Path
) -> None:
    routing = (JUDGED if source == "judge" else SAMPLED).replace("[cheap, mid, top], error", "[mid], error")
    (tmp_path / "routing.yaml").write_text(routing)
    models = {"a/medium": SimulatedModel(default_accuracy=0.7), "b/large": SimulatedModel(default_accuracy=0.95)}

    def run(folder: str) -> list[tuple[bool, float]]:
        clock = VirtualClock(NOON_US, seed=1)
        backend = SimulatedBackend(models, seed=3, clock=clock)
        found: list[tuple[bool, float]] = []
        with Router.open(tmp_path / "routing.yaml", home=tmp_path / folder, backend=backend, clock=clock) as router:
            for item in range(300):
                messages = [{"role": "user", "content": f"document {item}"}]
                answer = router.complete("x.extract", messages=messages)
                assert answer.confidence.value is not None
                found.append(("not a/medium" not in answer.text, answer.confidence.value))
        return found

    found = run("one")
    assert found == run("two")
    right = [value for is_right, value in found if is_right]
    wrong = [value for is_right, value in found if not is_right]
    assert 40 < len(wrong) < 150
    assert sum(right) / len(right) > sum(wrong) / len(wrong) + 0.15


KEEPING = "cache: {enabled: true}\n"


@pytest.mark.parametrize("source", ["judge", "agreement"])
def test_run_that_is_repeated_pays_neither_for_the_answer_nor_for_what_was_asked_about_it(
    source: str, tmp_path: Path
) -> None:
    routing = (JUDGED if source == "judge" else SAMPLED) + KEEPING
    bench = open_bench(tmp_path, {"b/large": judging(verdict(0.9))}, routing)
    first, again = (bench.ask(run="job", step="invoice-1") for _ in range(2))
    assert again.confidence == first.confidence
    assert (again.text, again.cost_nusd, again.attempts) == (first.text, 0, ())
    assert len(bench.backend.requests) == len(first.attempts)


def test_run_that_died_between_two_samples_asks_for_all_of_them_again(tmp_path: Path) -> None:
    small = [reply("yes"), reply("yes"), KeyboardInterrupt(), reply("no"), reply("no")]
    bench = open_bench(tmp_path, {"a/small": small}, SAMPLED + KEEPING)
    with pytest.raises(KeyboardInterrupt):
        bench.ask(run="job", step="invoice-1")
    answer = bench.ask(run="job", step="invoice-1")
    # one sample that agrees would have been as good as sure
    assert [(made.role, made.model) for made in answer.attempts][:2] == [("sample", "a/small")] * 2
    assert (answer.attempts[1].confidence.value, answer.tier) == (0.0, "mid")


def test_verdict_that_is_withheld_is_none_and_was_paid_for(tmp_path: Path) -> None:
    withheld = replace(verdict(0.9), finish_reason="content_filter")
    bench = open_bench(tmp_path, {"b/large": judging(withheld, verdict(0.9))}, JUDGED)
    assert bench.ask().tier == "mid"
    judge = bench.lines("attempt")[1]
    assert (judge["role"], judge["status"], judge["error_type"]) == ("judge", "failed", "content_policy")
    assert (judge["cost_status"], judge["output_tokens"], judge["cost_nusd"]) == ("exact", 8, 200 * 5_000 + 8 * 20_000)


def test_kept_answer_that_nobody_judged_is_judged_now_and_the_log_replays(tmp_path: Path) -> None:
    failed = CallError("no", kind="server", billed=False)
    routing = JUDGED.replace("source: judge}", "source: judge, on_missing: accept}") + KEEPING
    bench = open_bench(tmp_path, {"b/large": judging(failed, verdict(0.9))}, routing)
    first = bench.ask(run="job", step="invoice-1")
    again = bench.ask(run="job", step="invoice-1")
    assert (first.confidence.source, again.confidence.value) == ("none", 0.9)
    (judge,) = again.attempts
    assert (judge.role, judge.about_attempt_id) == ("judge", first.attempts[0].attempt_id)
    row: dict[str, Any] = {"error_type": None, "budget_scope": None, "extra": {}, **bench.lines("call")[1]}
    nothing = dict.fromkeys(["calibration", "confidence", "confidence_source", "error_type"])
    lines = [line for line in bench.lines("attempt") if line["call_id"] == row["call_id"]]
    rows: list[dict[str, Any]] = [{**nothing, "extra": {}, **line} for line in lines]
    plans = compile_plans(parse(routing.encode(), source="routing.yaml"))
    plan = plans.plan_for("x.extract")
    assert plan is not None
    assert replayed(as_planned(plan, plans.tiers, row, rows), row, rows)
    assert row["cost_nusd"] == sum(line["cost_nusd"] for line in rows)


def test_label_of_a_kept_answer_is_as_sure_as_it_was(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [labelled(0.95)]}, ROUTING + KEEPING)
    ask = partial(bench.router.complete, "x.extract", messages=MESSAGES, response_format=LABEL, run="job", step="1")
    assert ask().confidence == ask().confidence
    assert len(bench.backend.requests) == 1
