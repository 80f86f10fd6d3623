"""The LiteLLM callback, over the real SDK and a real HTTP server: what the log holds is what the server has seen."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.integrations import litellm_logger
from router_core.integrations.litellm_logger import TierwiseLogger
from tests.openai_server import OpenAIServer, failing, ok, rate_limited, streamed
from tests.timing import PATIENCE_S

pytestmark = [
    pytest.mark.usefixtures("key"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]
TAGS = {"tags": ["payload_type:invoice.extract", "team:ap"]}
MESSAGES = [{"role": "user", "content": "a secret invoice"}]
ROUTING = """\
version: 1
tiers: {cheap: [{model: openai/gpt-5-nano}], top: [{model: openai/gpt-5}]}
payload_types: {"*": {path: [cheap, top]}}
prices: {openai/gpt-5-nano: {input: 1, output: 10}}
"""


@pytest.fixture
def logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TierwiseLogger]:
    (tmp_path / "routing.yaml").write_text(ROUTING, "utf-8")
    made = TierwiseLogger(config=tmp_path / "routing.yaml")
    # LiteLLM copies a callback into lists of its own when it is first used
    for name in ("input", "success", "failure", "_async_input", "_async_success", "_async_failure"):
        monkeypatch.setattr(litellm, f"{name}_callback", [])
    monkeypatch.setattr(litellm, "callbacks", [made])
    # its blocking calls ask for this thread's loop, which would be made for them and closed by nobody
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())
        yield made
        made.close()
    asyncio.set_event_loop(None)


def rows(home: Path, query: str) -> list[dict[str, Any]]:
    ingest_once(Home(home))
    with reading(Home(home)) as log:
        found = log.execute(query)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def ask(server: OpenAIServer, model: str = "gpt-5-nano", **more: Any) -> Any:
    settings: dict[str, Any] = {"num_retries": 0, "max_retries": 0, "metadata": TAGS, "api_base": server.base_url}
    return litellm.completion(model=f"openai/{model}", messages=MESSAGES, **{**settings, **more})


async def aask(server: OpenAIServer, model: str = "gpt-5-nano", **more: Any) -> Any:
    settings: dict[str, Any] = {"num_retries": 0, "max_retries": 0, "metadata": TAGS, "api_base": server.base_url}
    return await litellm.acompletion(model=f"openai/{model}", messages=MESSAGES, **{**settings, **more})


def wait_for(home: Path, count: int, server: OpenAIServer) -> None:
    """Wait until LiteLLM, which tells its callbacks from threads of its own, has told of so many requests."""
    for _ in range(6000):
        lines = [line for path in (home / "spool").glob("*.jsonl") for line in path.read_text().splitlines()]
        if sum(json.loads(line)["k"] == "attempt" for line in lines) >= count:
            return
        server.pause(0.01)
    raise AssertionError("LiteLLM has told its callback nothing")


def test_blocking_call_has_its_payload_type_tier_cost_and_no_text(
    logger: TierwiseLogger, server: OpenAIServer, tmp_path: Path
) -> None:
    server.reset()
    server.script(
        "gpt-5-nano", ok("an answer", usage={"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110})
    )
    ask(server)
    home = tmp_path / ".tierwise"
    wait_for(home, 1, server)
    (attempt,) = rows(home, "SELECT * FROM attempts")
    (call,) = rows(home, "SELECT * FROM calls")
    assert (attempt["payload_type"], attempt["tier"], attempt["source"]) == ("invoice.extract", "cheap", "logger")
    assert (attempt["request_model"], attempt["input_tokens"], attempt["output_tokens"]) == (
        "openai/gpt-5-nano",
        100,
        10,
    )
    assert (call["call_id"], call["status"], call["served_attempt_id"]) == (
        attempt["call_id"],
        "ok",
        attempt["attempt_id"],
    )
    assert json.loads(call["tags"])["team"] == "ap"
    assert attempt["cost_source_nusd"] == attempt["cost_nusd"] > 0
    spooled = "".join(path.read_text() for path in home.rglob("*.jsonl"))
    assert "secret" not in spooled
    assert "an answer" not in spooled


def test_failures_and_litellms_own_retries_are_attempts_of_one_call(
    logger: TierwiseLogger, server: OpenAIServer, tmp_path: Path
) -> None:
    server.reset()
    server.script("gpt-5-nano", failing(500), rate_limited(), ok())
    home = tmp_path / ".tierwise"
    metadata = {**TAGS, "trace_id": "trace-1"}
    for number in (1, 2):
        with pytest.raises(Exception, match=r"500|429|broke|Rate"):
            ask(server, metadata=metadata, litellm_trace_id="trace-1")
        wait_for(home, number, server)
    ask(server, metadata=metadata, litellm_trace_id="trace-1")
    wait_for(home, 3, server)
    found = rows(home, "SELECT n, role, status, error_type, call_id FROM attempts ORDER BY n")
    assert [(row["n"], row["role"], row["status"]) for row in found] == [
        (1, "serve", "failed"),
        (2, "retry", "failed"),
        (3, "retry", "ok"),
    ]
    assert len(found) == server.count("gpt-5-nano")
    assert len({row["call_id"] for row in found}) == 1
    (call,) = rows(home, "SELECT status, attempts FROM calls")
    assert call == {"status": "ok", "attempts": 3}


def test_failure_that_was_the_last_word_is_a_failed_call_when_the_logger_closes(
    logger: TierwiseLogger, server: OpenAIServer, tmp_path: Path
) -> None:
    server.reset()
    server.script("gpt-5-nano", failing(500))
    with pytest.raises(Exception, match=r"500|429|broke|Rate"):
        ask(server)
    home = tmp_path / ".tierwise"
    wait_for(home, 1, server)
    logger.close()
    (call,) = rows(home, "SELECT status, attempts, cost_nusd FROM calls")
    assert call == {"status": "failed", "attempts": 1, "cost_nusd": 0}


def test_calls_of_an_event_loop_and_streams_are_logged_once(
    logger: TierwiseLogger, server: OpenAIServer, loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    server.reset()
    usage = {"prompt_tokens": 50, "completion_tokens": 2, "total_tokens": 52}
    server.script("gpt-5", streamed("one ", "two", usage=usage))
    server.script("gpt-5-nano", ok(), ok(), ok())

    async def main() -> None:
        await asyncio.gather(*(aask(server) for _ in range(3)))
        stream = await aask(server, "gpt-5", stream=True, stream_options={"include_usage": True})
        async for _ in stream:
            pass
        await asyncio.sleep(0)

    home = tmp_path / ".tierwise"
    # the loop that all tests of the client share: its connections are closed with it
    asyncio.run_coroutine_threadsafe(main(), loop).result(PATIENCE_S)
    wait_for(home, 4, server)
    found = rows(home, "SELECT request_model, tier, input_tokens, output_tokens, ttft_ms FROM attempts")
    assert sorted(row["request_model"] for row in found) == ["openai/gpt-5", *["openai/gpt-5-nano"] * 3]
    (whole,) = [row for row in found if row["request_model"] == "openai/gpt-5"]
    assert (whole["tier"], whole["input_tokens"], whole["output_tokens"]) == ("top", 50, 2)
    assert len(rows(home, "SELECT 1 AS one FROM calls")) == 4


def test_export_of_what_was_logged_is_known_when_it_is_imported(logger: TierwiseLogger, tmp_path: Path) -> None:
    payload = {
        "id": "chatcmpl-1",
        "trace_id": "t-1",
        "model": "gpt-5-nano",
        "custom_llm_provider": "openai",
        "response_cost": 0.000012,
        "startTime": 1795435200.5,
        "endTime": 1795435201.5,
        "status": "success",
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "request_tags": ["payload_type:x"],
    }
    logger.log_success_event({"standard_logging_object": payload}, None, None, None)
    logger.log_success_event({"standard_logging_object": payload}, None, None, None)
    home = tmp_path / ".tierwise"
    (row,) = rows(home, "SELECT attempt_id, cost_source_nusd FROM attempts")
    assert row["cost_source_nusd"] == 12_000
    file = tmp_path / "export.jsonl"
    file.write_text(json.dumps(payload) + "\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "dashboard.cli", "import", str(file), "--home", str(home), "--json"],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_new"] == 0


def test_callback_that_cannot_read_an_event_harms_no_call(
    logger: TierwiseLogger, caplog: pytest.LogCaptureFixture
) -> None:
    for event in (None, {}, {"standard_logging_object": {"model": "secret"}}, {"standard_logging_object": 7}):
        logger.log_success_event(event, None, None, None)
    assert "secret" not in caplog.text


def test_proxy_finds_a_logger_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIERWISE_HOME", str(tmp_path / "home"))
    monkeypatch.delitem(vars(litellm_logger), "tierwise", raising=False)
    assert isinstance(litellm_logger.tierwise, TierwiseLogger)
    assert litellm_logger.tierwise is litellm_logger.tierwise
    litellm_logger.tierwise.close()
    monkeypatch.delitem(vars(litellm_logger), "tierwise", raising=False)
    with pytest.raises(AttributeError):
        litellm_logger.nothing  # noqa: B018
