"""Simulated models behave as they are told to, and the same way every time."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from router_core import CallError
from router_core.backends.simulated import Outage, SimulatedBackend, SimulatedModel, right_answer
from router_core.clock import VirtualClock
from router_core.types import Request, Response

CHEAP, TOP = SimulatedModel(accuracy={"x": 0.8}), SimulatedModel(accuracy={"x": 0.95})


def make_request(item: int, model: str = "sim/cheap", **fields: Any) -> Request:
    given: dict[str, Any] = {
        "request_id": f"r{item}",
        "call_id": f"c{item}",
        "payload_type": "x",
        "model": model,
        "messages": [{"role": "user", "content": f"document {item}"}],
    }
    return Request(**(given | fields))


def is_right(request: Request, response: Response) -> bool:
    return json.loads(response.text)["answer"] == right_answer(request.messages)


def grades(model: str, backend: SimulatedBackend, n: int = 4000) -> list[tuple[bool, float]]:
    found: list[tuple[bool, float]] = []
    for item in range(n):
        request = make_request(item, model)
        response = backend.complete(request)
        found.append((is_right(request, response), json.loads(response.text)["confidence"]))
    return found


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@pytest.fixture(scope="module")
def cheap() -> list[tuple[bool, float]]:
    return grades("sim/cheap", SimulatedBackend({"sim/cheap": CHEAP}, seed=1))


@pytest.fixture(scope="module")
def top() -> list[tuple[bool, float]]:
    return grades("sim/top", SimulatedBackend({"sim/top": TOP}, seed=1))


def test_share_of_right_answers_is_the_configured_one(cheap: list[tuple[bool, float]]) -> None:
    # 4,000 draws: four standard errors are 2.5 points
    assert mean([right for right, _ in cheap]) == pytest.approx(0.8, abs=0.025)


def test_confidence_tells_right_from_wrong(cheap: list[tuple[bool, float]]) -> None:
    right = mean([confidence for correct, confidence in cheap if correct])
    wrong = mean([confidence for correct, confidence in cheap if not correct])
    assert right - wrong > 0.2


def test_what_is_hard_for_one_model_is_hard_for_another(
    cheap: list[tuple[bool, float]], top: list[tuple[bool, float]]
) -> None:
    wrong_at_top = mean([not right for right, _ in top])
    after_wrong = mean([not better for (right, _), (better, _) in zip(cheap, top, strict=True) if not right])
    assert after_wrong > 2 * wrong_at_top


def test_same_seed_gives_the_same_answers_and_another_seed_others() -> None:
    def texts(seed: int) -> list[str]:
        backend = SimulatedBackend(seed=seed)
        return [backend.complete(make_request(item)).text for item in range(50)]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_async_answer_is_the_sync_one() -> None:
    backend = SimulatedBackend(seed=3)
    assert asyncio.run(backend.acomplete(make_request(1))) == backend.complete(make_request(1))


def test_answer_takes_its_latency_on_the_clock() -> None:
    clock = VirtualClock()
    SimulatedBackend({"sim/cheap": SimulatedModel(latency_ms=500, latency_sigma=0.0)}, clock=clock).complete(
        make_request(1)
    )
    assert clock.now_us() == 500_000


def test_answer_slower_than_allowed_is_a_timeout_with_unknown_billing() -> None:
    clock = VirtualClock()
    backend = SimulatedBackend({"sim/cheap": SimulatedModel(latency_ms=9_000, latency_sigma=0.0)}, clock=clock)
    with pytest.raises(CallError) as caught:
        backend.complete(make_request(1, timeout_s=2.0))
    assert (caught.value.kind, caught.value.billed, clock.now_us()) == ("timeout", None, 2_000_000)


def test_outage_takes_the_models_of_its_prefix_for_its_time() -> None:
    clock = VirtualClock(1_000)
    backend = SimulatedBackend(clock=clock, outages=[Outage("a/", 500, 2_000)])
    with pytest.raises(CallError, match="outage"):
        backend.complete(make_request(1, "a/small"))
    clock.set(1_000)
    assert backend.complete(make_request(1, "b/small")).text
    clock.set(2_000)
    assert backend.complete(make_request(1, "a/small")).text


def test_failures_come_at_their_rate_and_differ_between_requests() -> None:
    backend = SimulatedBackend({"sim/cheap": SimulatedModel(failure_rate=0.2)})
    failed = 0
    for item in range(2000):
        try:
            backend.complete(make_request(item))
        except CallError:
            failed += 1
    assert failed / 2000 == pytest.approx(0.2, abs=0.04)


def test_stream_says_what_the_whole_answer_says_and_takes_as_long() -> None:
    request, clock, other = make_request(3), VirtualClock(), VirtualClock()
    whole = SimulatedBackend(seed=1, clock=clock).complete(request)
    reading = SimulatedBackend(seed=1, clock=other).stream(request)
    pieces = list(iter(reading.next_chunk, None))
    assert "".join(piece.text for piece in pieces) == whole.text
    assert (reading.received(), other.now_us()) == (whole, pytest.approx(clock.now_us(), abs=10))


def test_stream_whose_first_word_is_late_times_out() -> None:
    backend = SimulatedBackend({"sim/cheap": SimulatedModel(latency_ms=9000, latency_sigma=0)}, clock=VirtualClock())
    with pytest.raises(CallError) as caught:
        backend.stream(make_request(1, timeout_s=2.0)).next_chunk()
    assert caught.value.kind == "timeout"
    assert backend.stream(make_request(1, timeout_s=4.0)).next_chunk() is not None


def test_stream_fails_as_its_model_does() -> None:
    backend = SimulatedBackend({"sim/cheap": SimulatedModel(failure_rate=1, failure="rate_limit")})
    with pytest.raises(CallError) as caught:
        asyncio.run(backend.astream(make_request(1)).next_chunk())
    assert caught.value.kind == "rate_limit"
