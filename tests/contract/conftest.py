"""One server, one client and one event loop for the whole session: importing litellm takes seconds."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from router_core.backends.litellm import LiteLLMBackend
from router_core.types import Request, Response
from tests.openai_server import OpenAIServer

Send = Callable[[Request], Response]


@pytest.fixture(scope="session")
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


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


async def _close_clients() -> None:
    from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

    await close_litellm_async_clients()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
