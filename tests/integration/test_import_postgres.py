"""LiteLLM's spend logs, read from the database of a real PostgreSQL server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from tests.command_line import Tierwise
from tests.log_sources import failed_spend_row, fetch, spend_row, write_csv
from tests.postgres_server import connect, running_server

# as LiteLLM's proxy makes it (its schema.prisma)
TABLE = """
    CREATE TABLE "LiteLLM_SpendLogs" (
        request_id TEXT PRIMARY KEY, call_type TEXT NOT NULL, api_key TEXT NOT NULL DEFAULT '',
        spend DOUBLE PRECISION NOT NULL DEFAULT 0, total_tokens INTEGER NOT NULL DEFAULT 0,
        prompt_tokens INTEGER NOT NULL DEFAULT 0, completion_tokens INTEGER NOT NULL DEFAULT 0,
        "startTime" TIMESTAMP(3) NOT NULL, "endTime" TIMESTAMP(3) NOT NULL, "completionStartTime" TIMESTAMP(3),
        model TEXT NOT NULL DEFAULT '', model_id TEXT DEFAULT '', model_group TEXT DEFAULT '',
        custom_llm_provider TEXT DEFAULT '', api_base TEXT DEFAULT '', "user" TEXT DEFAULT '',
        metadata JSONB DEFAULT '{}', cache_hit TEXT DEFAULT '', cache_key TEXT DEFAULT '',
        request_tags JSONB DEFAULT '[]', team_id TEXT, organization_id TEXT, end_user TEXT,
        requester_ip_address TEXT, messages JSONB DEFAULT '{}', response JSONB DEFAULT '{}', session_id TEXT,
        status TEXT, mcp_namespaced_tool_name TEXT, proxy_server_request JSONB DEFAULT '{}', request_duration_ms INTEGER
    )"""
USAGE = {"prompt_tokens_details": {"cached_tokens": 800}, "completion_tokens_details": {"reasoning_tokens": 40}}
ROWS = [
    *(spend_row(n * 60, usage=USAGE, spend=0.0016 + n / 1e7) for n in range(1_200)),
    failed_spend_row(200_000, "RateLimitError", "429"),
    spend_row(200_001, model="claude-sonnet-4-5", custom_llm_provider="anthropic", request_tags=[], end_user=None),
    spend_row(200_002, cache_hit="True", completionStartTime=None),
]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with running_server() as address:
        with connect(address) as con:
            con.execute(TABLE)
            names = list(ROWS[0])
            columns = ", ".join(f'"{name}"' for name in names)
            with con.cursor().copy(f'COPY "LiteLLM_SpendLogs" ({columns}) FROM STDIN') as copy:
                for row in ROWS:
                    copy.write_row([_value(row[name]) for name in names])
        yield address


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tierwise:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    return Tierwise(capsys)


def _log(home: Home) -> list[list[tuple[Any, ...]]]:
    return [
        # texts that only a file holds are counted there
        fetch(home, "SELECT * EXCLUDE (extra), extra->>'$.model_group' FROM attempts ORDER BY attempt_id"),
        fetch(home, "SELECT * FROM calls ORDER BY call_id"),
    ]


def test_database_gives_the_same_log_as_its_export_and_only_once(
    tierwise: Tierwise, tmp_path: Path, database: str
) -> None:
    first = tierwise("import", database, "--json").json()
    again = tierwise("import", database, "--json").json()
    tierwise("import", write_csv(tmp_path / "spend.csv", ROWS), "--home", "of-file")
    log = _log(Home(tmp_path / ".tierwise"))

    assert (first["rows_read"], first["rows_new"], first["skipped"]) == (len(ROWS), len(ROWS), [])
    assert (again["rows_read"], again["rows_new"], again["rows_changed"]) == (len(ROWS), 0, 0)
    assert [len(rows) for rows in log] == [len(ROWS) - 1, len(ROWS)]
    assert log == _log(Home(tmp_path / "of-file"))


def test_database_is_read_within_the_window_of_a_map(tierwise: Tierwise, tmp_path: Path, database: str) -> None:
    (tmp_path / "map.yaml").write_text('since: "2026-11-03T11:00"\nuntil: "2026-11-03T12:00"\n')
    report = tierwise("import", database, "--map", "map.yaml", "--json").json()
    assert (report["rows_read"], report["rows_new"]) == (60, 60)


def test_wrong_databases_get_one_clear_error(tierwise: Tierwise, tmp_path: Path, database: str) -> None:
    other = database.replace("/litellm?", "/postgres?")
    absent = database.replace("litellm@", "litellm:hunter2@").replace("/litellm?", "/nothing?")
    gone = f"postgresql://litellm:hunter2@/litellm?host={tmp_path}"
    said = {address: tierwise("import", address) for address in (other, absent, gone)}

    assert {ended.code for ended in said.values()} == {2}
    assert 'has no table "LiteLLM_SpendLogs"' in said[other].err
    assert 'database "nothing" does not exist' in said[absent].err
    assert "check address, user and rights" in said[gone].err
    assert not any("hunter2" in ended.err or "Traceback" in ended.err for ended in said.values())
    assert not (tmp_path / ".tierwise").exists()
