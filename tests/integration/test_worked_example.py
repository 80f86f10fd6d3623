"""The README's job over a real server with faults: it ends, and what it reports is what the log and the server say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from router_core.call_log.read import reading
from tests.command_line import Tierwise
from tests.job_server import JobServer
from tests.worked import block, documents, run_killed_and_again

COUNT = 24


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str]) -> Tierwise:
    return Tierwise(capsys)


@pytest.fixture
def server() -> Iterator[JobServer]:
    with JobServer(faults=0.08) as running:
        yield running


def test_job_ends_and_its_report_is_what_the_log_says(
    tmp_path: Path, server: JobServer, tierwise: Tierwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    config = tmp_path / "job.yaml"
    config.write_text(block("yaml"), "utf-8")
    decided = run_killed_and_again(config, COUNT)
    assert decided.keys() == documents(COUNT).keys()
    home = tmp_path / ".tierwise"
    spent = {row["key"]: row["cost_nusd"] for row in tierwise("spend", "--json", "--home", home).json()}
    saved = {row["payload_type"]: row for row in tierwise("spend", "--saved", "--json", "--home", home).json()}
    with reading(Home(home)) as log:
        by_stage: dict[Any, Any] = dict(
            log.execute("SELECT payload_type, sum(cost_nusd) FROM attempts GROUP BY ALL").fetchall()
        )
        by_kind = log.execute("SELECT payload_type, kind, sum(saved_nusd) FROM savings GROUP BY ALL").fetchall()
        requests = {row[0] for row in log.execute("SELECT DISTINCT request_id FROM attempts").fetchall()}
        packing = log.execute(
            """SELECT sum(CAST(extra->>'$.pack.alone_nusd' AS BIGINT) - cost_nusd) FROM attempts
               WHERE extra->>'$.pack.alone_nusd' IS NOT NULL"""
        ).fetchone()
        cache = log.execute(
            """SELECT sum(p.cost_nusd) FROM calls AS c JOIN attempts AS p ON p.call_id = c.linked_call_id
               WHERE c.cache_hit"""
        ).fetchone()
    assert spent == {stage: by_stage[stage] for stage in spent} == by_stage
    assert all(saved[stage][kind] == total for stage, kind, total in by_kind)
    assert sum(
        row[kind] for row in saved.values() for kind in ("check", "cache", "packing", "correction", "cheap_first")
    ) == sum(total for _, _, total in by_kind)
    assert packing == (saved["doc.classify"]["packing"],)
    assert cache is not None
    assert 0 < cache[0] == sum(row["cache"] for row in saved.values())
    assert {kind for _, kind, _ in by_kind} == {"check", "cache", "packing", "correction", "cheap_first"}
    assert all(saved[stage][kind] > 0 for stage, kind, _ in by_kind)
    # what the server has seen is what is on record
    hits = [hit.request_id for hit in server.hits]
    assert sorted(map(str, hits)) == sorted(requests)
    assert tierwise("doctor", "--verify", "--json", "--home", home).code == 0
