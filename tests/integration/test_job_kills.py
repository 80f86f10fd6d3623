"""A job of 1,000 steps that is killed and run again asks only for what is missing: real processes, a real server."""

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from tests.openai_server import OpenAIServer, Reply, failing, ok
from tests.routers import ROUTING

STEPS, KILLED_AT = 1_000, 700
CONFIG = ROUTING.replace("{accept_at: 0.8}", "{accept_at: 0.8, limits: {retries: 0}}") + "cache: {enabled: true}\n"
# of every seven requests to the cheap tier one is not sure enough, one no answer at all and one fails
USUAL = [0.9, 0.9, 0.2, 0.9, None, 0.9, "fails"]


def cheap(n: int) -> Reply:
    confidence = USUAL[n % len(USUAL)]
    if confidence == "fails":
        return failing(500)
    return ok("no json" if confidence is None else f'{{"answer": "cheap-{n}", "confidence": {confidence}}}')


def run(config: Path, server: OpenAIServer, *, until: int | None = None) -> list[list[str]]:
    """Run the job, to its end or until a step is done and it is killed; return what its steps printed."""
    command = [sys.executable, "-m", "tests.job_process", str(config), server.base_url, str(STEPS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        told: list[list[str]] = []
        for line in job.stdout:
            told.append(line.split())
            if until is not None and len(told) == until:
                job.send_signal(signal.SIGKILL)
        assert job.wait() == (0 if until is None else -signal.SIGKILL)
    return [line for line in told if len(line) == 6]


def test_job_killed_at_step_700_of_1000_makes_only_the_missing_requests_when_it_is_run_again(tmp_path: Path) -> None:
    config = tmp_path / "routing.yaml"
    config.write_text(CONFIG)
    with OpenAIServer() as server:
        server.script("a/small", *(cheap(n) for n in range(2 * STEPS)))
        for model in ("b/small", "a/medium"):
            server.script(model, ok(f'{{"answer": "{model}", "confidence": 0.95}}'))
        first = run(config, server, until=KILLED_AT)
        before = len(server.hits)
        second = run(config, server)
        hits = server.hits
        third = run(config, server)
        assert len(server.hits) == len(hits)
    done = len(first)
    assert KILLED_AT <= done < STEPS
    assert [line[:4] for line in second[:done]] == [line[:4] for line in first]
    assert all(line[4:] == ["1", "0"] for line in second[:done])
    assert [line[:4] for line in third] == [line[:4] for line in second]
    # a step that was being made when the process died asks again for what it had not got yet, and for nothing else
    asked = Counter((hit.model, hit.body["messages"][0]["content"]) for hit in hits)
    assert {step for (_, step), n in asked.items() if n > 1} <= {f"step {done}"}
    later = {hit.body["messages"][0]["content"] for hit in hits[before:]}
    assert later | {f"step {done}"} == {f"step {n}" for n in range(done, STEPS)}
    home = Home(tmp_path / ".tierwise")
    ingest_once(home)
    with reading(home) as log:
        logged = dict(log.execute("SELECT request_id, status FROM attempts").fetchall())
        recalled = log.execute(
            """SELECT count(*), bool_and(NOT paid.cache_hit), sum(again.cost_nusd)
               FROM calls AS again JOIN calls AS paid ON paid.call_id = again.linked_call_id WHERE again.cache_hit"""
        ).fetchone()
    sent = [hit.request_id for hit in hits]
    assert len(sent) == len(set(sent))
    # the kill may have come after a request was announced in the log, and before it was sent
    assert [status for request, status in logged.items() if request not in sent] in ([], ["unknown"])
    assert set(sent) <= set(logged)
    assert recalled in ((done + STEPS, True, 0), (done + 1 + STEPS, True, 0))
