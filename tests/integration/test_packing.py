"""Packed calls through the real router: one request, a row per call, exact shares, and nothing lost by a bad item."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router_core import Answer, RouteExhaustedError, Router
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.receipt_sql import unexplained_requests
from router_core.call_log.receipts import find_calls, receipt_of
from router_core.call_log.trails import trail_of
from router_core.config import parse
from router_core.errors import CallError
from router_core.testing import FakeBackend, failure
from tests.packs import model, tasks_of
from tests.routers import Bench, open_bench

PACKED: Final = """\
version: 1
tiers:
  cheap: [{model: a/small}, {model: b/small}]
  top: [{model: b/large}]
defaults: {accept_at: 0.8}
payload_types:
  ticket.classify: {path: [cheap, top], pack: {max_items: 12, max_wait_s: 0.02}}
prices:
  a/small: {input: 0.1, output: 0.4}
  b/small: {input: 0.2, output: 0.8}
  b/large: {input: 5, output: 20}
"""
PROMPT: Final = "Classify the ticket as refund, delivery or other. " + "Here is one of our many rules. " * 118
SCHEMA: Final = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "confidence": {"type": "number"}},
    "required": ["label"],
}


def build(item: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": PROMPT}, {"role": "user", "content": item}]


def label(task: str) -> dict[str, Any]:
    return {"label": f"label of {task}", "confidence": 0.2 if "unsure" in task else 0.95}


def classify(bench: Bench, items: Sequence[str], **more: Any) -> list[Any]:
    more.setdefault("response_format", SCHEMA)
    return bench.router.complete_many("ticket.classify", items, messages=build, **more)


def logged(bench: Bench) -> list[dict[str, Any]]:
    return bench.lines("attempt")


def hits(bench: Bench) -> Counter[str]:
    return Counter(request.request_id for request in bench.backend.requests)


def replays(bench: Bench, call_id: str) -> bool | None:
    with reading(Home(bench.home)) as log:
        receipt = receipt_of(log, find_calls(log, call_id)[0])
    return trail_of(receipt, parse((bench.home.parent / "routing.yaml").read_bytes(), source="x")).replays


def proven(bench: Bench) -> None:
    """Hits are distinct logged requests, spend is the sum of their costs, and every call replays."""
    home = Home(bench.home)
    ingest_once(home)
    rows = logged(bench)
    assert hits(bench) == Counter({row["request_id"] for row in rows})
    with reading(home) as log:
        assert unexplained_requests(log) == []
        assert log.execute("SELECT count(*) FROM attempts").fetchone() == (len(rows),)
    for call in bench.lines("call"):
        own = [row for row in rows if row["call_id"] == call["call_id"] and row["role"] != "shadow"]
        assert call["cost_nusd"] == sum(row["cost_nusd"] for row in own)
        assert replays(bench, call["call_id"]) in (True, None)


def test_items_share_one_request_and_are_calls_of_their_own(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": model(label)}, PACKED)
    items = [f"ticket {number}" for number in range(12)]
    answers = classify(bench, items, run="job", step=lambda item: item, tags={"team": "ap"})
    assert [answer.parsed["label"] for answer in answers] == [f"label of {item}" for item in items]
    assert [answer.confidence.value for answer in answers] == [0.95] * 12
    assert len(bench.backend.requests) == 1
    (started,) = bench.lines("started")
    rows, calls = logged(bench), bench.lines("call")
    assert {row["request_id"] for row in rows} == {started["request_id"]} == {bench.backend.requests[0].request_id}
    assert [item["attempt_id"] for item in started["items"]] == [row["attempt_id"] for row in rows]
    assert len({call["pack_id"] for call in calls}) == 1
    assert [call["step"] for call in calls] == items
    usage = tokens_of(bench)
    assert sum(row["input_tokens"] for row in rows) == usage[0]
    assert sum(row["output_tokens"] for row in rows) == usage[1]
    assert sum(row["cost_nusd"] for row in rows) == usage[0] * 100 + usage[1] * 400
    proven(bench)


def tokens_of(bench: Bench) -> tuple[int, int]:
    """What the models counted over all requests so far."""
    replies = [cast("Any", bench.backend.replies[request.model])(request) for request in bench.backend.requests]
    return sum(r.usage.input_tokens for r in replies), sum(r.usage.output_tokens for r in replies)


def test_twelve_items_at_a_long_prompt_save_most_of_their_input_tokens(tmp_path: Path) -> None:
    items = [f"ticket {number}: where is my order of the {number}th?" for number in range(12)]
    packed = open_bench(tmp_path / "packed", {"a/small": model(label)}, PACKED)
    classify(packed, items)
    alone = open_bench(
        tmp_path / "alone", {"a/small": model(label)}, PACKED.replace(", pack: {max_items: 12, max_wait_s: 0.02}", "")
    )
    classify(alone, items)
    assert tokens_of(alone)[0] / len(items) > 900
    assert tokens_of(packed)[0] <= 0.4 * tokens_of(alone)[0]
    # what the log says of it is what it would have been, within a fiftieth
    told = [row["extra"]["pack"] for row in logged(packed)]
    assert sum(each["alone_input_tokens"] for each in told) == pytest.approx(tokens_of(alone)[0], rel=0.02)
    assert sum(each["alone_nusd"] for each in told) == pytest.approx(
        sum(row["cost_nusd"] for row in logged(alone)), rel=0.05
    )


def test_texts_are_packed_with_a_confidence_beside_each(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": model(lambda task: f"about {task}")}, PACKED)
    answers = classify(bench, ["one", "two"], response_format=None)
    assert [(a.text, a.confidence.value, a.confidence.source) for a in answers] == [
        ("about one", 0.9, "field"),
        ("about two", 0.9, "field"),
    ]
    assert len(bench.backend.requests) == 1


def test_format_without_a_confidence_has_one_beside_each_answer_and_checks_of_the_callers_own_keep_theirs(
    tmp_path: Path,
) -> None:
    plain = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    bench = open_bench(tmp_path, {"a/small": model(lambda task: {"label": task})}, PACKED)
    answers = classify(bench, ["one", "two"], response_format=plain)
    assert [(a.confidence.value, a.confidence.source, a.tier) for a in answers] == [(0.9, "field", "cheap")] * 2
    told = classify(bench, ["three", "four"], response_format=plain, confidence=lambda answer: 0.95)
    assert [(a.confidence.value, a.confidence.source) for a in told] == [(0.95, "caller")] * 2
    assert ["how sure" in str(request.messages[-1]["content"]) for request in bench.backend.requests] == [True, False]


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda entries: entries[1:],
        lambda entries: [*entries, entries[0]],
        lambda entries: [{**entries[0], "answer": {"wrong": "shape"}}, *entries[1:]],
        lambda entries: [{**entries[0], "id": "nobody"}, *entries[1:]],
    ],
)
def test_bad_item_is_asked_again_alone_which_is_no_retry(tmp_path: Path, corrupt: Callable[[list[Any]], Any]) -> None:
    routing = PACKED.replace("defaults: {", "defaults: {limits: {retries: 0}, ")
    bench = open_bench(tmp_path, {"a/small": model(label, corrupt)}, routing)
    answers = classify(bench, ["a", "b", "c"])
    assert [answer.parsed["label"] for answer in answers] == ["label of a", "label of b", "label of c"]
    first = answers[0]
    assert [(made.role, made.status, made.tier) for made in first.attempts] == [
        ("serve", "invalid", "cheap"),
        ("serve", "ok", "cheap"),
    ]
    assert [len(answer.attempts) for answer in answers[1:]] == [1, 1]
    assert len(bench.backend.requests) == 2
    proven(bench)


def test_unsure_item_goes_up_alone(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": model(label), "b/large": model(lambda task: {"label": "sure"})}, PACKED)
    answers = classify(bench, ["unsure", "b", "c"])
    assert [answer.tier for answer in answers] == ["top", "cheap", "cheap"]
    assert bench.asked == ["a/small", "b/large"]
    proven(bench)


def test_failed_pack_is_tried_again_as_a_pack_and_then_elsewhere(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path, {"a/small": [failure("timeout", billed=None), failure()], "b/small": model(label)}, PACKED
    )
    answers = classify(bench, ["a", "b", "c"])
    assert [answer.parsed["label"] for answer in answers] == ["label of a", "label of b", "label of c"]
    assert bench.asked[0] == "a/small"
    assert bench.asked[-1] == "b/small"
    assert all(len(tasks_of(request)) == 3 for request in bench.backend.requests)
    assert [event for event in bench.lines("event") if event["event"] == "health"] == []
    proven(bench)


def test_request_that_is_refused_for_one_item_is_made_for_each(tmp_path: Path) -> None:
    good = model(label)

    def filtered(request: Any) -> Any:
        if "evil" in str(request.messages[-1]["content"]):
            raise CallError("declined", kind="content_policy", billed=False)
        return good(request)

    bench = open_bench(tmp_path, {"a/small": filtered}, PACKED)
    answers = classify(bench, ["a", "evil", "c"])
    assert [type(answer) for answer in answers] == [Answer, RouteExhaustedError, Answer]
    assert Counter(bench.asked) == {"a/small": 4}
    proven(bench)


def test_what_cannot_be_packed_is_answered_alone_in_its_place(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": model(label)}, PACKED)
    picture = [{"role": "user", "content": [{"type": "text", "text": "odd"}]}]
    answers = bench.router.complete_many(
        "ticket.classify",
        ["a", "odd", "c"],
        messages=lambda item: picture if item == "odd" else build(item),
        response_format=SCHEMA,
    )
    assert [isinstance(answer, Answer) for answer in answers] == [True] * 3
    assert [len(tasks_of(request)) for request in bench.backend.requests] == [0, 2] or [
        len(tasks_of(request)) for request in bench.backend.requests
    ] == [2, 0]
    assert all(isinstance(error, Exception) for error in bench.router.complete_many("nobody", ["a"], messages=build))


def test_run_that_comes_again_pays_for_no_item_twice(tmp_path: Path) -> None:
    cached = PACKED.replace("{accept_at", "{confidence: {on_missing: accept}, accept_at") + "cache: {enabled: true}\n"
    first = open_bench(tmp_path, {"a/small": model(lambda task: f"about {task}")}, cached)
    job: dict[str, Any] = {"run": "job", "step": lambda item: item, "response_format": None}
    paid = classify(first, ["a", "b"], **job)
    first.router.close()
    bench = open_bench(
        tmp_path, {"a/small": model(lambda task: f"about {task}")}, cached, first.clock.now_us() + 1_000_000
    )
    answers = classify(bench, ["a", "b", "c"], **job)
    assert [(a.text, a.confidence.value, a.cache_hit) for a in answers[:2]] == [
        (a.text, a.confidence.value, True) for a in paid
    ]
    assert [tasks_of(request) for request in bench.backend.requests] == [{}]


def test_program_fault_and_interrupt_leave_every_call_with_its_lines(tmp_path: Path) -> None:
    for number, fault in enumerate((ZeroDivisionError(), KeyboardInterrupt())):
        bench = open_bench(tmp_path / str(number), {"a/small": fault}, PACKED)
        if isinstance(fault, Exception):
            with pytest.raises(ZeroDivisionError):
                classify(bench, ["a", "b"])
        else:
            with pytest.raises(KeyboardInterrupt):
                classify(bench, ["a", "b"])
        assert [call["status"] for call in bench.lines("call")] == ["failed", "failed"]
        assert len(logged(bench)) == 2
        assert len({row["request_id"] for row in logged(bench)}) == 1


def test_shadow_of_a_packed_call_is_a_request_of_its_own_that_is_on_record_before_it_is_made(tmp_path: Path) -> None:
    routing = PACKED.replace(", pack:", ", shadow: [{tier: top, rate: 1}], pack:") + "shadow_budget: {usd: 10}\n"
    seen: list[set[str]] = []

    def watched(request: Any) -> Any:
        seen.append({line["request_id"] for line in bench.lines("started")})
        return model(label)(request)

    bench = open_bench(tmp_path, {"a/small": model(label), "b/large": watched}, routing)
    classify(bench, ["a", "b", "c"])
    shadows = [request for request in bench.backend.requests if request.role == "shadow"]
    assert [tasks_of(request) for request in shadows] == [{}] * 3
    assert all(request.request_id in started for request, started in zip(shadows, seen, strict=True))
    proven(bench)


# --- calls that come at the same time


def test_concurrent_calls_are_packed_and_one_that_is_given_up_does_not_harm_the_others(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": model(label)}, PACKED.replace("max_wait_s: 0.02", "max_wait_s: 0.2"))

    async def main() -> list[Any]:
        calls = [
            asyncio.ensure_future(
                bench.router.acomplete("ticket.classify", messages=build(item), response_format=SCHEMA)
            )
            for item in ("a", "b", "c", "d")
        ]
        await asyncio.sleep(0)
        calls[3].cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(main())
    assert [answer.parsed["label"] for answer in answers[:3]] == ["label of a", "label of b", "label of c"]
    assert isinstance(answers[3], asyncio.CancelledError)
    assert [len(tasks_of(request)) for request in bench.backend.requests] == [3]
    proven(bench)


def test_full_pack_departs_at_once_and_a_lone_call_is_an_ordinary_one(tmp_path: Path) -> None:
    bench = open_bench(
        tmp_path,
        {"a/small": model(label)},
        PACKED.replace("max_items: 12, max_wait_s: 0.02", "max_items: 2, max_wait_s: 3600"),
    )

    async def main() -> list[Any]:
        ask = [bench.router.acomplete("ticket.classify", messages=build(item), response_format=SCHEMA) for item in "ab"]
        return list(await asyncio.gather(*ask))

    answers = asyncio.run(main())
    assert [answer.parsed["label"] for answer in answers] == ["label of a", "label of b"]
    lone = open_bench(tmp_path / "lone", {"a/small": model(label)}, PACKED)
    alone = asyncio.run(lone.router.acomplete("ticket.classify", messages=build("a"), response_format=SCHEMA))
    assert (alone.parsed["label"], [tasks_of(r) for r in lone.backend.requests]) == ("label of a", [{}])


# --- whatever becomes of the packed answer


def spoil(seed: int) -> Callable[[list[dict[str, Any]]], Any]:
    """Some corruption of a packed answer that leaves each answer with its own id, or without one."""
    rng = random.Random(seed)

    def corrupt(entries: list[dict[str, Any]]) -> Any:
        changed = [dict(entry) for entry in entries]
        for _ in range(rng.randrange(5)):
            place = rng.randrange(len(changed) + 1)
            kind = rng.choice(["drop", "twice", "shuffle", "stranger", "empty", "shape"])
            if kind == "stranger":
                changed.insert(place, {"id": f"{rng.random()}", "answer": {"label": "forged"}})
            elif kind == "shuffle":
                rng.shuffle(changed)
            elif place < len(changed):
                if kind == "drop":
                    del changed[place]
                elif kind == "twice":
                    changed.insert(rng.randrange(len(changed)), dict(changed[place]))
                else:
                    changed[place]["answer"] = None if kind == "empty" else {"labels": 1}
        text = json.dumps({"answers": changed})
        return text[: rng.randrange(len(text))] if rng.random() < 0.3 else text

    return corrupt


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.integers(0, 10**9), st.integers(2, 30))
def test_every_item_has_the_right_answer_or_one_request_of_its_own(tmp_path_factory: Any, seed: int, n: int) -> None:
    bench = open_bench(tmp_path_factory.mktemp("pack"), {"a/small": model(label, spoil(seed))}, PACKED)
    items = [f"ticket {number}" for number in range(n)]
    answers = classify(bench, items)
    assert [answer.parsed["label"] for answer in answers] == [f"label of {item}" for item in items]
    rows = logged(bench)
    assert all(len(answer.attempts) <= 2 for answer in answers)
    assert hits(bench) == Counter({row["request_id"] for row in rows})
    total = tokens_in_log(bench)
    assert total == sum(request_cost(bench, request) for request in bench.backend.requests)
    bench.router.close()


def tokens_in_log(bench: Bench) -> int:
    return sum(row["cost_nusd"] for row in logged(bench))


def request_cost(bench: Bench, request: Any) -> int:
    """What a request cost by the input the model counted and the tokens that its rows have."""
    rows = [row for row in logged(bench) if row["request_id"] == request.request_id]
    used = sum(row["input_tokens"] for row in rows) * 100 + sum(row["output_tokens"] for row in rows) * 400
    assert sum(row["cost_nusd"] for row in rows) == used
    return used


# --- on the machine's own clock

HANGING: Final = """
import sys
from router_core import Router
from router_core.backends.simulated import SimulatedBackend, SimulatedModel
from router_core.clock import SystemClock

slow = SimulatedBackend({"a/small": SimulatedModel(latency_ms=50_000, latency_sigma=0)}, clock=SystemClock())
router = Router.open(sys.argv[1], backend=slow)
router.complete_many("ticket.classify", "abc", messages=lambda item: [{"role": "user", "content": item}], run="doomed")
"""


def test_kill_while_a_pack_is_out_leaves_every_item_at_its_reserved_share(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text(PACKED)
    process = subprocess.Popen([sys.executable, "-c", HANGING, str(path)])
    home = Home(tmp_path / ".tierwise")
    deadline = time.monotonic() + 60
    while not any('"started"' in segment.read_text() for segment in home.spool.glob("*.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    ingest_once(home)
    with reading(home) as log:
        rows = log.execute("SELECT request_id, status, cost_status, cost_nusd FROM attempts").fetchall()
        calls = log.execute("SELECT status, run FROM calls").fetchall()
    assert len(rows) == 3
    assert {(row[1], row[2]) for row in rows} == {("unknown", "unknown")}
    assert len({row[0] for row in rows}) == 1
    assert all(row[3] > 0 for row in rows)
    assert calls == [("interrupted", "doomed")] * 3


def test_many_packs_are_asked_for_by_several_threads_in_order(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text(PACKED.replace("max_items: 12", "max_items: 5"))
    backend = FakeBackend({"a/small": model(label)})
    with Router.open(path, backend=backend) as router:
        answers = router.complete_many(
            "ticket.classify", [str(n) for n in range(103)], messages=build, response_format=SCHEMA
        )
    assert [cast("Any", answer).parsed["label"] for answer in answers] == [f"label of {n}" for n in range(103)]
    assert len(backend.requests) == 21
