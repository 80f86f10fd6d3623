"""What must never reach the log: texts of prompts and answers, keys, tracebacks. Failures of every kind, real HTTP."""

import contextlib
import gc
from pathlib import Path
from typing import Any

import pytest

from router_core import Router, RouterError
from router_core.backends.litellm import LiteLLMBackend
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.clock import VirtualClock
from router_core.types import Request, Response, Usage
from tests.openai_server import (
    OpenAIServer,
    Reply,
    bad_json,
    cut_short,
    dropped,
    failing,
    hanging,
    no_choices,
    ok,
    rate_limited,
)

PROMPT, ANSWER, KEY, CHECKED = (
    "canary-prompt-7f3a",
    "canary-answer-91bc",
    "sk-canary-key-5d2e0123456789",
    "canary-check-c0de",
)
SAID = f"You asked {PROMPT} with {KEY}; I would say {ANSWER}"
TRACEBACK = "Traceback (most recent call last)"
ROUTING = """\
version: 1
tiers: {{cheap: [{{model: openai/m, api_base: "{base}", api_key_env: CANARY_KEY, timeout_s: 0.3}}]}}
defaults: {{limits: {{retries: 0}}}}
payload_types: {{x.extract: {{path: [cheap]}}}}
health: {{failures: 1000, cooldown_s: 0.001, longest_cooldown_s: 0.001}}
prices: {{openai/m: {{input: 1, output: 1}}}}
"""
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
REFUSALS = (400, 401, 402, 403, 404, 409, 413, 422, 429)
REPLIES: dict[str, Reply] = {
    **{
        str(status): failing(status, SAID, code="c", kind=SAID)
        for status in (400, 401, 402, 403, 404, 409, 413, 422, 429)
    },
    **{str(status): failing(status, SAID) for status in (500, 502, 503, 504, 529)},
    "too long": failing(400, f"maximum context length: {SAID}"),
    "filtered": failing(400, f"content_filter: {SAID}"),
    "filtered answer": ok(ANSWER, finish_reason="content_filter"),
    "page": Reply(status=500, body=f"<html>{SAID}</html>".encode()),
    "no JSON": Reply(body=f'{{"choices": "{SAID}'.encode()),
    "other JSON": Reply(body={"detail": SAID}),
    "invalid": ok(ANSWER),
    "valid": ok(f'{{"answer": "{ANSWER}"}}'),
    "hanging": hanging(),
    "dropped": dropped(),
    "cut": cut_short(),
    "broken": bad_json(),
    "empty": no_choices(),
    "limited": rate_limited(retry_after=SAID),
}


class Raising:
    """A backend with a fault that quotes everything."""

    def complete(self, request: Request) -> Response:
        raise ZeroDivisionError(SAID)

    async def acomplete(self, request: Request) -> Response:
        raise ZeroDivisionError(SAID)


class Answering(Raising):
    """A backend that answers."""

    def complete(self, request: Request) -> Response:
        return Response(text=f'{{"answer": "{ANSWER}"}}', usage=Usage(input_tokens=1, output_tokens=1))


def ask(router: Router, **options: Any) -> None:
    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": f"{PROMPT} {KEY}"}]
    with contextlib.suppress(RouterError, ZeroDivisionError):
        router.complete("x.extract", messages=messages, response_format=SCHEMA, **options)


def refuse(parsed: object) -> bool:
    raise ValueError(f"{CHECKED}: {parsed}")


def everything_kept(home: Home) -> str:
    """Every file as it is, and every value of the log: DuckDB compresses its texts."""
    files = "".join(path.read_bytes().decode(errors="replace") for path in home.root.rglob("*") if path.is_file())
    ingest_once(home)
    with reading(home) as log:
        names = [name for (name,) in log.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        rows = [str(log.execute(f'SELECT * FROM "{name}"').fetchall()) for name in names]
    assert names
    return files + "".join(rows)


# a connection that a hanging request was given up on is closed with the error that holds it
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_no_text_key_or_traceback_reaches_a_file_whatever_fails(
    tmp_path: Path,
    server: OpenAIServer,
    backend: LiteLLMBackend,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CANARY_KEY", KEY)
    path, root = tmp_path / "routing.yaml", tmp_path / "home"
    path.write_text(ROUTING.format(base=server.base_url))
    clock = VirtualClock(1_795_435_200_000_000)
    with Router.open(path, home=root, backend=backend, clock=clock) as router:
        for reply in REPLIES.values():
            server.script("m", reply)
            clock.sleep(1)
            ask(router)
    assert all(KEY in str(hit.headers) for hit in server.hits if hit.model == "m")
    for other in (Raising(), Answering()):
        with Router.open(path, home=root, backend=other, clock=clock) as router:
            ask(router)
            ask(router, checks=[refuse])
    kept = everything_kept(Home(root))
    found = capfd.readouterr()
    for secret in (PROMPT, ANSWER, KEY, CHECKED, TRACEBACK, "canary"):
        assert secret not in kept
        assert secret not in found.out + found.err
    calls = kept.count('"k":"call"')
    assert calls == len(REPLIES) + 4
    gc.collect()
