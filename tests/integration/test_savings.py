"""What was saved, by kind: small worlds whose savings can be counted by hand."""

from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.savings import SavedRow, savings
from router_core.testing import reply
from tests.packs import model
from tests.routers import MESSAGES, ROUTING, Bench, open_bench


def saved(bench: Bench) -> SavedRow:
    home = Home(bench.home)
    ingest_once(home)
    with reading(home) as log:
        (row,) = savings(log)
        total = log.execute("SELECT coalesce(sum(saved_nusd), 0) FROM savings").fetchone()
    assert total == (row.saved_nusd,)
    assert row.spend_nusd == sum(line["cost_nusd"] for line in bench.lines("attempt"))
    return row


def ask(bench: Bench, **more: Any) -> Any:
    return bench.ask(**more)


def test_cheap_first_saves_the_price_of_the_tier_above_and_loses_the_tries_below_it(tmp_path: Path) -> None:
    # 100 tokens in, 10 out: 14,000 nano-dollars on the small model, 140,000 on the middle one
    bench = open_bench(
        tmp_path, {"a/small": [reply({"answer": "a"}, confidence=0.9)] * 3 + [reply({"answer": "a"}, confidence=0.1)]}
    )
    for _ in range(4):
        ask(bench)
    assert saved(bench).cheap_first == 3 * (140_000 - 14_000) - 14_000


def test_kept_answers_save_what_was_paid_and_rules_the_mean_call(tmp_path: Path) -> None:
    routing = ROUTING + "cache: {enabled: true}\n"
    bench = open_bench(tmp_path, {}, routing)
    for _ in range(3):
        ask(bench, run="job", step="1")
        bench.clock.sleep(1)
    ask(bench, pre_checks=[lambda messages: {"answer": "known", "confidence": 1.0}])
    row = saved(bench)
    assert (row.cache, row.check) == (2 * 14_000, 14_000)


def test_packing_saves_the_prompts_less_what_is_asked_again(tmp_path: Path) -> None:
    routing = ROUTING.replace("error_cost_usd: 0.5}", "pack: {max_items: 10}}")
    label = model(lambda task: {"label": task, "confidence": 0.9}, lambda entries: entries[1:])
    bench = open_bench(tmp_path, {"a/small": label}, routing)
    schema = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    prompt = {"role": "system", "content": "Long rules. " * 300}
    bench.router.complete_many(
        "x.extract", "abcd", messages=lambda item: [prompt, {"role": "user", "content": item}], response_format=schema
    )
    rows = bench.lines("attempt")
    spoiled = [row for row in rows if row["status"] == "invalid"]
    packed = [row for row in rows if "pack" in row.get("extra", {}) and row["status"] == "ok"]
    assert (len(spoiled), len(packed), len(rows)) == (1, 3, 5)
    expected = sum(row["extra"]["pack"]["alone_nusd"] - row["cost_nusd"] for row in packed) - spoiled[0]["cost_nusd"]
    alone = next(row for row in rows if "pack" not in row.get("extra", {}))
    assert packed[0]["extra"]["pack"]["alone_nusd"] == pytest.approx(alone["cost_nusd"], rel=0.1)
    row = saved(bench)
    assert row.packing == expected
    # one call each would have cost four times the one that was asked again
    assert row.packing == pytest.approx(4 * alone["cost_nusd"] - row.spend_nusd, rel=0.15)


def test_corrections_save_the_rest_of_the_answer_and_refused_ones_are_lost(tmp_path: Path) -> None:
    routing = ROUTING.replace("error_cost_usd: 0.5}", "escalation: correct}")
    draft = {"a": 1, "b": 2, "confidence": {"a": 0.9, "b": 0.1}}
    better = reply({"b": 3, "confidence": {"b": 0.9}}, input_tokens=150, output_tokens=4)
    broken = reply({"a": 9, "b": 3}, input_tokens=150, output_tokens=4)
    bench = open_bench(
        tmp_path,
        {
            "a/small": reply(draft, output_tokens=50),
            "a/medium": [better, broken],
            "b/large": reply({"b": 3, "confidence": {"b": 0.9}}, input_tokens=150, output_tokens=4),
        },
        routing,
    )
    for _ in range(2):
        bench.router.complete("x.extract", messages=MESSAGES, response_format={"type": "object"})
    redo, correction, top = 100 * 1_000 + 50 * 4_000, 150 * 1_000 + 4 * 4_000, 150 * 5_000 + 4 * 20_000
    again = 100 * 5_000 + 50 * 20_000
    assert saved(bench).correction == (redo - correction) - correction + (again - top)
