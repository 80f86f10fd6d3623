"""A small OpenAI-compatible HTTP server on loopback, scriptable per model, that remembers every request it got.

::

    with OpenAIServer() as server:
        server.script("m-1", rate_limited(retry_after=0), ok("hello"))   # the last reply repeats
        ...                                                              # openai/m-1 with api_base=server.base_url
        assert server.request_ids() == {...}
"""

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

REQUEST_ID_HEADER = "x-tierwise-request-id"
HANG = "hang"
CUT = "cut"
Event = Mapping[str, Any] | bytes | float | str
"""JSON data, raw bytes, a pause in seconds, ``HANG`` (nothing more, ever) or ``CUT`` (the connection breaks)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server answers to one request.

    Attributes:
        status: HTTP status.
        body: JSON value or raw bytes.
        headers: Extra headers.
        latency_s: Seconds before the answer.
        hang: Never answer; the connection stays open until the server stops.
        drop: Close the connection without an answer.
        cut: Announce a longer body than is sent, then close.
        drip_s: Send one blank every so many seconds and never an answer, as some gateways do to keep a line open.
        events: Server-sent events in place of a body, in order.
        echo: Answer with the last message's own text.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    latency_s: float = 0.0
    hang: bool = False
    drop: bool = False
    cut: bool = False
    drip_s: float | None = None
    events: tuple[Event, ...] = ()
    echo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One request the server received."""

    path: str
    model: str
    request_id: str | None
    headers: Mapping[str, str]
    body: Mapping[str, Any]


def ok(
    text: str = "ok",
    *,
    usage: Mapping[str, Any] | None = None,
    logprobs: tuple[float, ...] = (),
    others: tuple[Mapping[str, float], ...] = (),
    latency_s: float = 0.0,
    finish_reason: str = "stop",
    **extra: Any,
) -> Reply:
    """A good answer; ``extra`` goes into the body (``system_fingerprint``, ``service_tier``, ``model``, ...).

    Each of ``others`` is what a token could have been, with log-probabilities: itself first, nothing = nothing is told.
    """
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": text},
    }
    if logprobs:
        content = [
            {
                "token": f"t{i}" if not others else next(iter(others[i]), text[-1:]),
                "logprob": value,
                "bytes": None,
                "top_logprobs": [
                    {"token": token, "logprob": logprob, "bytes": None}
                    for token, logprob in (others[i] if others else {}).items()
                ],
            }
            for i, value in enumerate(logprobs)
        ]
        choice["logprobs"] = {"content": content, "refusal": None}
    plain = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    body = {"choices": [choice], "usage": plain if usage is None else dict(usage), **extra}
    return Reply(body=body, latency_s=latency_s)


def failing(status: int, message: str = "it broke", *, code: str | None = None, kind: str = "server_error") -> Reply:
    """An error with OpenAI's error body."""
    return Reply(status=status, body={"error": {"message": message, "type": kind, "param": None, "code": code}})


def rate_limited(*, retry_after: float | str | None = 0) -> Reply:
    """429, with ``retry-after`` unless it is None."""
    reply = failing(429, "Rate limit reached", code="rate_limit_exceeded", kind="requests")
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return Reply(status=429, body=reply.body, headers=headers)


def out_of_quota() -> Reply:
    """429 that no waiting cures."""
    text = "You exceeded your current quota, please check your plan and billing details."
    return failing(429, text, code="insufficient_quota", kind="insufficient_quota")


def context_too_long() -> Reply:
    """400 because the prompt is larger than the model's window."""
    text = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
    return failing(400, text, code="context_length_exceeded", kind="invalid_request_error")


def filtered() -> Reply:
    """400 because the provider's content filter refused the prompt."""
    text = "The response was filtered due to the prompt triggering our content management policy."
    return failing(400, text, code="content_filter", kind="invalid_request_error")


def bad_json() -> Reply:
    """200 with a body that is no JSON."""
    return Reply(body=b'{"choices": [')


def no_choices() -> Reply:
    """200 without any answer in it."""
    return Reply(body={"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12}})


def echo(*, latency_s: float = 0.0) -> Reply:
    """The last message's own text."""
    return Reply(echo=True, latency_s=latency_s)


def hanging() -> Reply:
    """No answer, ever."""
    return Reply(hang=True)


def dropped() -> Reply:
    """The connection is closed after the request was read."""
    return Reply(drop=True)


def cut_short() -> Reply:
    """The connection is closed in the middle of a good answer."""
    return Reply(body=ok().body, cut=True)


def dripping() -> Reply:
    """Blanks instead of an answer, for ever."""
    return Reply(drip_s=0.05)


def chunk(text: str | None = None, *, finish: str | None = None, **extra: Any) -> dict[str, Any]:
    """One event of a stream; ``extra`` goes beside ``choices`` (``usage``, ...), ``delta`` into its delta."""
    delta: dict[str, Any] = {**extra.pop("delta", {}), **({} if text is None else {"content": text})}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"choices": [choice], **extra}


def streamed(*texts: str, usage: Mapping[str, Any] | None = None, where: str = "after", **extra: Any) -> Reply:
    """A good answer in pieces, with its usage where some provider or other puts it.

    Args:
        *texts: The pieces.
        usage: Tokens; default 12 in and one out per piece.
        where: ``after`` (a last event without choices), ``finish`` (with the finish reason), ``content`` (with the last
            piece), ``every`` (growing, in every event), ``never``.
        **extra: Goes into every event (``model``, ``service_tier``, ...).
    """
    n = len(texts)
    whole = plain_usage(n) if usage is None else dict(usage)
    events: list[Event] = [chunk("", delta={"role": "assistant"}, **extra)]
    for number, text in enumerate(texts, start=1):
        told = where == "every" or (where == "content" and number == n)
        growing = {**whole, "completion_tokens": number, "total_tokens": whole["prompt_tokens"] + number}
        mine = growing if where == "every" and number < n else whole
        events.append(chunk(text, **({"usage": mine} if told else {}), **extra))
    events.append(chunk(finish="stop", **({"usage": whole} if where in ("finish", "every") else {}), **extra))
    if where == "after":
        events.append({"choices": [], "usage": whole, **extra})
    return Reply(events=(*events, b"data: [DONE]\n\n"))


def plain_usage(output_tokens: int) -> dict[str, Any]:
    """12 tokens in, so many out."""
    return {"prompt_tokens": 12, "completion_tokens": output_tokens, "total_tokens": 12 + output_tokens}


def after(reply: Reply, count: int, *then: Event) -> Reply:
    """The first events of a stream, and something else in place of the rest."""
    return replace(reply, events=(*reply.events[:count], *then))


def anthropic_streamed(*texts: str, start: Mapping[str, Any], end: Mapping[str, Any]) -> Reply:
    """An answer in pieces as Anthropic sends it: the prompt's usage at the start, the output's at the end."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": dict(start)}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}, block]
    for text in texts:
        delta = {"type": "text_delta", "text": text}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events.append({"type": "content_block_stop", "index": 0})
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": dict(end)})
    events.append({"type": "message_stop"})
    return Reply(events=tuple(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events))


def closed_port() -> int:
    """A port on loopback that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OpenAIServer:
    """The server; use it as a context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts: dict[str, deque[Reply]] = {}
        self._hits: list[Hit] = []
        self._left: list[str | None] = []
        self._stopping = threading.Event()
        self._arrived = threading.Condition(self._lock)
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.close_connections()
        self._http.server_close()

    @property
    def base_url(self) -> str:
        """Address to use as ``api_base``."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def hits(self) -> tuple[Hit, ...]:
        """Every request so far, in order of arrival."""
        with self._lock:
            return tuple(self._hits)

    def left(self, hit: Hit) -> None:
        """Take note that a client went away in the middle of a stream."""
        with self._arrived:
            self._left.append(hit.request_id)
            self._arrived.notify_all()

    def wait_for_leaving(self, request_id: str, timeout_s: float = 10.0) -> bool:
        """Block until the client of this request has gone away in the middle of its stream."""
        with self._arrived:
            return self._arrived.wait_for(lambda: request_id in self._left, timeout_s)

    def script(self, model: str, *replies: Reply) -> None:
        """Set what the model answers, in order; the last reply repeats. A model without a script answers ``ok()``."""
        with self._lock:
            self._scripts[model] = deque(replies)

    def count(self, model: str | None = None, path: str | None = None) -> int:
        """How many requests came, for one model or path if given."""
        return sum(model in (None, hit.model) and path in (None, hit.path) for hit in self.hits)

    def request_ids(self, model: str | None = None) -> list[str | None]:
        """The requests' ids, one per hit, sorted."""
        return sorted((hit.request_id for hit in self.hits if model in (None, hit.model)), key=str)

    def reset(self) -> None:
        """Forget scripts and hits."""
        with self._lock:
            self._scripts.clear()
            self._hits.clear()

    def wait_for_hits(self, n: int, timeout_s: float = 10.0) -> bool:
        """Block until n requests have arrived; False if they did not come in time."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self._hits) >= n, timeout_s)

    def answer(self, hit: Hit) -> Reply:
        """Record the request and return what to answer."""
        with self._arrived:
            self._hits.append(hit)
            self._arrived.notify_all()
            script = self._scripts.get(hit.model)
            if not script:
                return ok()
            reply = script.popleft() if len(script) > 1 else script[0]
        return ok(hit.body["messages"][-1]["content"], latency_s=reply.latency_s) if reply.echo else reply

    def pause(self, seconds: float | None) -> bool:
        """Wait that long (None = for ever), or until the server stops; return whether it goes on."""
        return not self._stopping.wait(seconds)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: OpenAIServer

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in tuple(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = cast("dict[str, Any]", json.loads(raw))
        headers = {key.lower(): value for key, value in self.headers.items()}
        model = str(body.get("model"))
        hit = Hit(path=self.path, model=model, request_id=headers.get(REQUEST_ID_HEADER), headers=headers, body=body)
        reply = self.server.owner.answer(hit)
        if reply.latency_s or reply.hang:
            self.server.owner.pause(None if reply.hang else reply.latency_s)
        if reply.hang or reply.drop:
            self.close_connection = True
            return
        if reply.drip_s is not None:
            self._drip(reply.drip_s)
            return
        if reply.events:
            self._stream(reply, hit)
            return
        self._send(reply, model)

    def _drip(self, every_s: float) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "100000")
        self.end_headers()
        while self.server.owner.pause(every_s):
            self.wfile.write(b" ")
            self.wfile.flush()

    def _stream(self, reply: Reply, hit: Hit) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for event in reply.events:
                if event == CUT:
                    self.close_connection = True
                    return
                if event == HANG or isinstance(event, float):
                    self._wait(event if isinstance(event, float) else None)
                    continue
                self._chunk(event if isinstance(event, bytes) else self._data(cast("Any", event), hit.model))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server.owner.left(hit)
            self.close_connection = True

    def _wait(self, seconds: float | None) -> None:
        """Pause, and notice if the client goes away meanwhile.

        Raises:
            OSError: It did, or the server stops.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError
            if not self.server.owner.pause(0.01 if until is None else min(0.01, max(0, until - time.monotonic()))):
                raise ConnectionAbortedError

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _data(self, event: Mapping[str, Any], model: str) -> bytes:
        known = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
        return b"data: %b\n\n" % json.dumps({**known, **event}).encode()

    def _send(self, reply: Reply, model: str) -> None:
        if isinstance(reply.body, bytes):
            payload = reply.body
        else:
            known = {"id": "chatcmpl-1", "object": "chat.completion", "created": int(time.time()), "model": model}
            payload = json.dumps({**known, **reply.body} if reply.status == 200 else reply.body).encode()
        self.send_response(reply.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload) + (100 if reply.cut else 0)))
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(payload)
        if reply.cut:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
