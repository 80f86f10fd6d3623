"""What corrections, packs and shadows cost and save, and the README's job with 500 documents. Prints figures only."""

import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from router_core import Router
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.savings import savings, savings_text
from router_core.types import Request, Response
from tests.job_server import JobServer
from tests.packs import model
from tests.routers import MESSAGES, ROUTING, open_bench, reply
from tests.wide import run
from tests.worked import block, run_killed_and_again

pytestmark = pytest.mark.bench
DOCUMENTS = 500


def test_correction_against_doing_it_again(tmp_path: Path) -> None:
    again, wrong_again = run(tmp_path / "redo", "redo", DOCUMENTS)
    corrected, wrong = run(tmp_path / "correct", "correct", DOCUMENTS)
    print(f"\ncorrection of 3 of 40 fields: {corrected / again:.1%} of doing it again at mid (limit 25 %)")
    print(f"– wrong answers: {wrong / DOCUMENTS:.1%}, done again {wrong_again / DOCUMENTS:.1%} (limit: 1 point more)")


def test_packs_against_one_call_each(tmp_path: Path) -> None:
    label = model(lambda task: {"label": task[:7], "confidence": 0.9})
    schema = {"type": "object", "properties": {"label": {"type": "string"}, "confidence": {"type": "number"}}}
    prompt = "Classify. " + "Here is one of our many rules. " * 116  # 900 tokens
    tokens: list[int] = []
    for how in ("pack: {max_items: 12}", "limits: {attempts: 6}"):
        routing = ROUTING.replace("error_cost_usd: 0.5}", how + "}")
        bench = open_bench(tmp_path / how[:4], {"a/small": label}, routing)
        bench.router.complete_many(
            "x.extract",
            [f"ticket {number}: where is my order of the {number}th?" for number in range(12)],
            messages=lambda item: [{"role": "system", "content": prompt}, {"role": "user", "content": item}],
            response_format=schema,
        )
        tokens.append(sum(row["input_tokens"] for row in bench.lines("attempt")))
    print(f"\npack of 12 at a 900-token prompt: {1 - tokens[0] / tokens[1]:.1%} of input tokens saved (limit 60 %)")


class Quick:
    """Answers at once."""

    def complete(self, request: Request) -> Response:
        """Return the answer."""
        del request
        return reply()

    async def acomplete(self, request: Request) -> Response:
        """Return the answer."""
        return self.complete(request)


def test_served_call_beside_shadows(tmp_path: Path) -> None:
    found: dict[float, list[float]] = {}
    routers: dict[float, Router] = {}
    for rate in (0.0, 0.05):
        rule = f"shadow: [{{tier: top, on: all, rate: {rate}}}]}}"
        folder = tmp_path / str(rate)
        folder.mkdir()
        (folder / "routing.yaml").write_text(
            ROUTING.replace("error_cost_usd: 0.5}", rule) + "shadow_budget: {usd: 100}\n"
        )
        routers[rate] = Router.open(folder / "routing.yaml", backend=Quick())
        found[rate] = []
    for _ in range(5_000):
        for rate, router in routers.items():
            before = time.perf_counter_ns()
            router.complete("x.extract", messages=MESSAGES)
            found[rate].append((time.perf_counter_ns() - before) / 1000)
    for router in routers.values():
        router.close()
    without, beside = (statistics.median(each) for each in found.values())
    print(f"\nserved call, p50: {without:.0f} µs without shadows, {beside:.0f} µs with 5 % of them")


def test_worked_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with JobServer(faults=0.08) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        monkeypatch.delenv("TIERWISE_HOME", raising=False)
        config = tmp_path / "job.yaml"
        config.write_text(block("yaml"), "utf-8")
        began = time.perf_counter()
        decided = run_killed_and_again(config, DOCUMENTS)
        took = time.perf_counter() - began
        home = Home(tmp_path / ".tierwise")
        ingest_once(home)
        with reading(home) as log:
            rows = savings(log)
            facts: Any = log.execute(
                """SELECT count(*), count(DISTINCT request_id), count(*) FILTER (status = 'failed'),
                          (SELECT count(*) FROM calls), (SELECT count(*) FROM calls WHERE cache_hit) FROM attempts"""
            ).fetchone()
        print(
            f"\n{len(decided)} documents in {took:.0f} s; {len(server.hits):,} requests came, {facts[1]:,} are in the"
        )
        print(
            f"log; {facts[2]:,} attempts failed; {facts[3]:,} calls, {facts[4]:,} of them taken up from the first run\n"
        )
        print(savings_text(rows))
