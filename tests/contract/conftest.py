"""One server, one client and one event loop for the whole session: importing litellm takes seconds."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from router_core.backends import AsyncReading, Reading
from router_core.backends.litellm import LiteLLMBackend
from router_core.backends.litellm_stream import AsyncLiteLLMReading
from router_core.types import Chunk, Request, Response
from tests.openai_server import OpenAIServer, Reply

KEY = "sk-contract-0123456789abcdef"
_numbers = itertools.count(1)

Send = Callable[[Request], Response]
Read = Callable[[Request], "Reader"]


@pytest.fixture(scope="session")
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's usual key is set; a module of such tests uses it for all."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def make_request(server: OpenAIServer, *replies: Reply, **fields: Any) -> Request:
    """A request to a model of its own, which answers with the replies."""
    number = next(_numbers)
    server.script(f"model-{number}", *replies)
    defaults: dict[str, Any] = {
        "request_id": f"request-{number}",
        "call_id": f"call-{number}",
        "payload_type": "ticket.classify",
        "model": f"openai/model-{number}",
        "messages": ({"role": "user", "content": "hello"},),
        "timeout_s": 10.0,
        "api_base": server.base_url,
    }
    return Request(**{**defaults, **fields})


def hits(server: OpenAIServer, request: Request) -> int:
    """How often the request's model was asked."""
    return server.count(request.model.removeprefix("openai/"))


def body(server: OpenAIServer, request: Request) -> dict[str, Any]:
    """What it was last asked."""
    model = request.model.removeprefix("openai/")
    return next(dict(hit.body) for hit in reversed(server.hits) if hit.model == model)


@pytest.fixture(scope="session")
def backend() -> LiteLLMBackend:
    backend = LiteLLMBackend()
    backend.warmup()
    return backend


@pytest.fixture(scope="session")
def loop(backend: LiteLLMBackend) -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    asyncio.run_coroutine_threadsafe(_close_clients(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest, backend: LiteLLMBackend, loop: asyncio.AbstractEventLoop) -> Send:
    """Send one request through the backend, blocking or on the loop."""
    if request.param == "sync":
        return backend.complete
    return lambda wire: asyncio.run_coroutine_threadsafe(backend.acomplete(wire), loop).result(30)


@dataclass(frozen=True, slots=True)
class Reader:
    """One answer being read, blocking or on the loop."""

    reading: Reading | AsyncReading
    loop: asyncio.AbstractEventLoop

    def next(self) -> Chunk | None:
        return self._done(self.reading.next_chunk())

    def text(self) -> str:
        """Everything that is left."""
        texts: list[str] = []
        while (chunk := self.next()) is not None:
            texts.append(chunk.text)
        return "".join(texts)

    def close(self) -> None:
        self._done(self.reading.aclose() if isinstance(self.reading, AsyncLiteLLMReading) else self.reading.close())

    def received(self) -> Response:
        return self.reading.received()

    def _done(self, value: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(value, self.loop).result(30) if asyncio.iscoroutine(value) else value


@pytest.fixture(params=["sync", "async"])
def read(request: pytest.FixtureRequest, backend: LiteLLMBackend, loop: asyncio.AbstractEventLoop) -> Read:
    """Begin to read the answer to a request, blocking or on the loop."""
    begin = backend.stream if request.param == "sync" else backend.astream
    return lambda wire: Reader(begin(wire), loop)


async def _close_clients() -> None:
    from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

    await close_litellm_async_clients()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
