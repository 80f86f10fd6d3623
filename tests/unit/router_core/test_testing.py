"""The fake model client that users' own tests are given."""

import asyncio
from typing import Any

import pytest

from router_core import CallError
from router_core.testing import FakeBackend, VirtualClock, broken, failure, reply
from router_core.types import Request, Usage


def make_request(model: str = "p/a", payload_type: str = "x.extract", **fields: Any) -> Request:
    return Request(request_id="r", call_id="c", model=model, payload_type=payload_type, messages=[], **fields)


def test_replies_are_found_by_model_then_by_payload_type_then_the_default() -> None:
    backend = FakeBackend({"p/a": "by model", "x.classify": "by type"}, default="by default")
    requests = [make_request(), make_request("p/b", "x.classify"), make_request("p/b")]
    assert [backend.complete(r).text for r in requests] == ["by model", "by type", "by default"]
    assert (backend.requests, backend.asked) == (requests, ["p/a", "p/b", "p/b"])


def test_replies_come_in_order_and_the_last_repeats() -> None:
    backend = FakeBackend({"p/a": ["first", {"a": 1}]})
    assert [backend.complete(make_request()).text for _ in range(3)] == ["first", '{"a": 1}', '{"a": 1}']


def test_function_sees_the_request() -> None:
    backend = FakeBackend({"p/a": lambda request: reply(request.payload_type, input_tokens=3)})
    response = backend.complete(make_request())
    assert (response.text, response.usage) == ("x.extract", Usage(input_tokens=3, output_tokens=10))


def test_failure_is_raised_with_what_it_was_given() -> None:
    backend = FakeBackend(default=failure("rate_limit", retry_after_s=3, billed=None))
    with pytest.raises(CallError) as caught:
        asyncio.run(backend.acomplete(make_request()))
    assert (caught.value.kind, caught.value.retry_after_s, caught.value.billed) == ("rate_limit", 3, None)


def test_confidence_is_written_into_the_object() -> None:
    assert reply({"a": 1}, confidence=0.5).text == '{"a": 1, "confidence": 0.5}'
    with pytest.raises(TypeError, match="mapping"):
        reply("text", confidence=0.5)


def test_latency_passes_on_the_clock() -> None:
    clock = VirtualClock()
    FakeBackend(clock=clock, latency_s=0.5).complete(make_request())
    assert clock.now_us() == 500_000


def test_what_is_no_reply_is_refused() -> None:
    wrong: Any = 3
    with pytest.raises(TypeError, match="a reply is"):
        FakeBackend(default=wrong).complete(make_request())


def test_stream_gives_the_same_text_word_by_word() -> None:
    reading = FakeBackend(default=reply("one  two\nthree", output_tokens=9)).stream(make_request())
    pieces = [reading.next_chunk(), reading.next_chunk()]
    assert [piece and piece.text for piece in pieces] == ["one  ", "two\n"]
    part = reading.received()
    assert (part.text, part.usage.output_tokens, part.is_counted) == ("one  two\n", 6, True)
    assert reading.next_chunk() is not None
    assert reading.next_chunk() is None
    assert (reading.received().text, reading.received().is_counted) == ("one  two\nthree", False)


def test_closed_stream_gives_nothing_more() -> None:
    reading = FakeBackend(default="one two").stream(make_request())
    assert reading.next_chunk() is not None
    reading.close()
    assert (reading.next_chunk(), reading.received().text) == (None, "one ")


def test_nothing_is_asked_before_the_first_piece() -> None:
    backend = FakeBackend()
    reading = backend.astream(make_request())
    assert backend.requests == []
    assert asyncio.run(reading.next_chunk()) is not None
    assert len(backend.requests) == 1


def test_broken_stream_says_its_part_and_fails_while_a_whole_answer_only_fails() -> None:
    backend = FakeBackend(default=broken("half an", "server"))
    reading = backend.stream(make_request())
    assert [piece and piece.text for piece in (reading.next_chunk(), reading.next_chunk())] == ["half ", "an"]
    with pytest.raises(CallError) as caught:
        reading.next_chunk()
    assert (caught.value.kind, reading.received().text) == ("server", "half an")
    with pytest.raises(CallError):
        backend.complete(make_request())


@pytest.mark.parametrize(("limits", "passed_us"), [({"timeout_s": 1.0}, 1_000_000), ({"total_s": 2.0}, 2_000_000)])
def test_stream_that_is_late_times_out_at_its_limit(limits: dict[str, Any], passed_us: int) -> None:
    clock = VirtualClock()
    reading = FakeBackend(clock=clock, latency_s=5).stream(make_request(**limits))
    with pytest.raises(CallError) as caught:
        reading.next_chunk()
    assert (caught.value.kind, clock.now_us()) == ("timeout", passed_us)


@pytest.mark.parametrize("clock", [VirtualClock(), None], ids=["virtual", "none"])
def test_whole_answer_that_is_late_times_out_at_its_limit(clock: VirtualClock | None) -> None:
    backend = FakeBackend(clock=clock, latency_s=5)
    with pytest.raises(CallError) as caught:
        backend.complete(make_request(timeout_s=1.0))
    with pytest.raises(CallError) as again:
        asyncio.run(backend.acomplete(make_request(timeout_s=2.0)))
    assert [(error.value.kind, error.value.billed) for error in (caught, again)] == [("timeout", None)] * 2
    assert backend.complete(make_request(timeout_s=5.0)).text == "ok"
    assert clock is None or clock.now_us() == 8_000_000


@pytest.mark.parametrize("make", [failure, lambda kind: broken("half", kind)])
def test_unknown_kind_of_failure_is_refused_with_those_there_are(make: Any) -> None:
    with pytest.raises(
        ValueError, match=r"kind must be one of rate_limit, quota, timeout, .*internal.*, not 'ratelimit'"
    ):
        make("ratelimit")
