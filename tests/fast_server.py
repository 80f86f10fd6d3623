"""A fast OpenAI-compatible server in a process of its own, for benchmarks: always the same answer, kept connections.

::

    with FastServer() as server:
        ...                                 # openai/any with api_base=server.base_url
        server.count()                      # requests so far
"""

import asyncio
import json
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Self

_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": json.dumps({"answer": "12.50", "confidence": 0.95})},
        }
    ],
    "usage": {"prompt_tokens": 250, "completion_tokens": 20, "total_tokens": 270},
}


class FastServer:
    """The server's process; use it as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def base_url(self) -> str:
        """Address to use as ``api_base``."""
        return f"http://127.0.0.1:{self._port}/v1"

    def count(self) -> int:
        """How many requests came so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/count", timeout=10) as got:
            return int(got.read())


def _response(body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(body), body)


class _Connection(asyncio.Protocol):
    answer = _response(json.dumps(_ANSWER).encode())
    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            _, found, rest = head.partition(b"content-length:")
            size = int(rest.split(b"\r\n", 1)[0]) if found else 0
            if len(self._received) < end + 4 + size:
                return
            self._received = self._received[end + 4 + size :]
            if head.startswith(b"get"):
                self._transport.write(_response(b"%d" % _Connection.answered, b"text/plain"))
            else:
                _Connection.answered += 1
                self._transport.write(self.answer)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - how the parent learns the port
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
