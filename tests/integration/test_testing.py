"""Routers that users' own tests make: real ones, over a fake model client, on a clock that does not wait."""

import subprocess
import sys
from pathlib import Path

import pytest

from router_core import RouteExhaustedError
from router_core.testing import START_US, FakeBackend, VirtualClock, failure, make_router, reply
from router_core.types import Request, Response
from tests.routers import MESSAGES, ROUTING

CONFIG = {
    "version": 1,
    "tiers": {"cheap": [{"model": "p/small"}], "top": [{"model": "p/large"}]},
    "payload_types": {"x.extract": {"path": ["cheap", "top"]}},
    "prices": {"p/small": {"input": 0.1, "output": 0.4}, "p/large": {"input": 5, "output": 20}},
}


def test_router_of_a_mapping_routes_as_configured(tmp_path: Path) -> None:
    backend = FakeBackend({"p/small": reply({"a": 1}, confidence=0.1)}, default=reply({"a": 2}, confidence=0.9))
    with make_router(tmp_path / "new", CONFIG, backend) as router:
        answer = router.complete("x.extract", messages=MESSAGES, response_format={"type": "object"})
    assert (answer.parsed["a"], answer.tier, backend.asked) == (2, "top", ["p/small", "p/large"])
    assert (tmp_path / "new" / ".tierwise" / "spool").is_dir()


def test_router_of_a_text_retries_without_waiting(tmp_path: Path) -> None:
    backend = FakeBackend(default=failure())
    with make_router(tmp_path, ROUTING, backend) as router, pytest.raises(RouteExhaustedError):
        router.complete("x.decide", messages=MESSAGES)
    assert backend.asked == ["b/large", "b/large"]


LIMITED = {**CONFIG, "defaults": {"limits": {"deadline_s": 3, "retries": 5}}}


def test_call_ends_at_its_deadline_when_nobody_answers_in_time(tmp_path: Path) -> None:
    clock = VirtualClock(START_US)
    backend = FakeBackend(clock=clock, latency_s=50)
    with (
        make_router(tmp_path, LIMITED, backend, clock=clock) as router,
        pytest.raises(RouteExhaustedError, match="limits") as caught,
    ):
        router.complete("x.extract", messages=MESSAGES)
    assert [made.error_type for made in caught.value.attempts] == ["timeout"]
    assert clock.now_us() - START_US == 3_000_000


class Deaf(FakeBackend):
    """A model client that knows no timeout."""

    def __init__(self, clock: VirtualClock, said: Response) -> None:
        super().__init__(default=said)
        self._time = clock

    def complete(self, request: Request) -> Response:
        self._time.sleep(50)
        return super().complete(request)


def test_answer_that_comes_after_the_deadline_is_served_and_nothing_else_is_sent(tmp_path: Path) -> None:
    clock = VirtualClock(START_US)
    backend = Deaf(clock, reply({"a": 1}, confidence=0.1))
    with make_router(tmp_path, LIMITED, backend, clock=clock) as router:
        answer = router.complete("x.extract", messages=MESSAGES, response_format={"type": "object"})
    assert (answer.reason, answer.parsed["a"], len(backend.requests)) == ("limits", 1, 1)


def test_environment_does_not_move_the_log_of_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERWISE_HOME", str(tmp_path / "elsewhere"))
    make_router(tmp_path, ROUTING).close()
    assert not (tmp_path / "elsewhere").exists()


def test_fakes_load_no_test_framework_and_no_model_client() -> None:
    code = (
        "import sys, router_core.testing; print(sorted({'pytest', 'litellm', 'duckdb', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
