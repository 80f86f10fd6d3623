"""Costs as the log has them: hand-computed sums, rows that explain themselves, days that stay closed."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.receipt_sql import unexplained_requests
from router_core.call_log.receipts import CallReceipt, find_calls, receipt_of
from router_core.call_log.spool import Spool
from router_core.decide.plan import Plan, PlanTarget
from router_core.decide.receipt import receipt
from router_core.errors import CallError, ErrorKind
from router_core.lines import CallFacts, Ended, Line, Sent, attempt_line
from router_core.prices import PriceBook
from router_core.types import Price, Response, Usage
from tests.builders import START_US, make_attempt_line, make_call_line
from tests.routers import Bench, open_bench, reply

ROUTING = """\
version: 1
tiers:
  cheap: [{model: openai/gpt-4o-mini}]
  top: [{model: anthropic/claude-opus-4-5}]
  long: [{model: gemini/gemini-2.5-pro}]
  thinking: [{model: dashscope/qwen-turbo}]
defaults: {accept_at: 0.8, limits: {retries: 1}}
payload_types:
  x.mini: {path: [cheap]}
  x.extract: {path: [cheap, top]}
  x.opus: {path: [top]}
  x.long: {path: [long]}
  x.think: {path: [thinking]}
"""
CHECKED = Usage(
    input_tokens=10_000,
    cached_tokens=6_000,
    cache_write_5m_tokens=1_000,
    cache_write_1h_tokens=500,
    output_tokens=200,
    reasoning_tokens=150,
)


def failure(kind: ErrorKind, *, billed: bool | None) -> CallError:
    return CallError(f"simulated {kind}", kind=kind, billed=billed)


@contextmanager
def log_of(home: Path) -> Generator[duckdb.DuckDBPyConnection]:
    ingest_once(Home(home))
    with reading(Home(home)) as log:
        yield log


def only_call(bench: Bench) -> CallReceipt:
    """The receipt of the only call, from the real log of a closed router."""
    bench.router.close()
    (line,) = bench.lines("call")
    with log_of(bench.home) as log:
        assert unexplained_requests(log) == []
        assert log.execute("SELECT sum(cost_nusd) FROM attempts WHERE role <> 'shadow'").fetchone() == (
            line["cost_nusd"],
        )
        (call,) = find_calls(log, line["call_id"])
        return receipt_of(log, call)


def spool_lines(home: Path, *lines: Line) -> None:
    spool = Spool(Home(home).create().spool)
    spool.write(*lines)
    spool.close()


# --- hand-computed, through the real router; prices are those of the lists on 2026-11-23, USD per million:
# gpt-4o-mini 0.15 in, 0.075 cached, 0.60 out; claude-opus-4-5 5 in, 0.50 cached, 6.25 and 10 written, 25 out, batches
# half of that; gemini-2.5-pro above 200,000 tokens 2.50 in, 15 out; qwen-turbo 0.05 in, 0.20 out, 0.50 reasoning

HAND_COMPUTED: dict[str, tuple[str, str, Response, int, str]] = {
    # 200 × 0.15 + 800 × 0.075 + 100 × 0.60 = 30 + 60 + 60 millionths
    "cached": (
        "x.mini",
        "openai/gpt-4o-mini",
        reply(usage=Usage(input_tokens=1_000, cached_tokens=800, output_tokens=100)),
        150_000,
        "exact",
    ),
    # 2,500 × 5 + 6,000 × 0.50 + 1,000 × 6.25 + 500 × 10 + 200 × 25 = 12,500 + 3,000 + 6,250 + 5,000 + 5,000
    "cache written": ("x.opus", "anthropic/claude-opus-4-5", reply(usage=CHECKED), 31_750_000, "exact"),
    # the same, each class at half its price
    "batch": (
        "x.opus",
        "anthropic/claude-opus-4-5",
        reply(usage=CHECKED, service_tier="batch"),
        15_875_000,
        "exact",
    ),
    # no list has a priority price for it: the standard one stands in, openly
    "tier without a price": (
        "x.opus",
        "anthropic/claude-opus-4-5",
        reply(usage=CHECKED, service_tier="priority"),
        31_750_000,
        "estimated",
    ),
    # 100 × 0.15 + 500 × 0.60: reasoning is inside the output
    "reasoning": (
        "x.mini",
        "openai/gpt-4o-mini",
        reply(usage=Usage(input_tokens=100, output_tokens=500, reasoning_tokens=400)),
        315_000,
        "exact",
    ),
    # 1,000 × 0.05 + 100 × 0.20 + 200 × 0.50 = 50 + 20 + 100
    "reasoning at its own price": (
        "x.think",
        "dashscope/qwen-turbo",
        reply(usage=Usage(input_tokens=1_000, output_tokens=300, reasoning_tokens=200)),
        170_000,
        "exact",
    ),
    # 300,000 × 2.50 + 10 × 15 = 750,000 + 150
    "long": (
        "x.long",
        "gemini/gemini-2.5-pro",
        reply(usage=Usage(input_tokens=300_000, output_tokens=10)),
        750_150_000,
        "exact",
    ),
    "reported by the provider": (
        "x.opus",
        "anthropic/claude-opus-4-5",
        reply(usage=CHECKED, cost_nusd=31_000_000),
        31_000_000,
        "provider",
    ),
    "reported as nothing": (
        "x.opus",
        "anthropic/claude-opus-4-5",
        reply(usage=CHECKED, cost_nusd=0),
        0,
        "provider",
    ),
    # streamed: usage of the last chunk, the first token after 300 ms
    "streamed": (
        "x.mini",
        "openai/gpt-4o-mini",
        reply(usage=Usage(input_tokens=1_000, cached_tokens=800, output_tokens=100), ttft_ms=300.0),
        150_000,
        "exact",
    ),
}


@pytest.mark.parametrize("name", HAND_COMPUTED)
def test_cost_is_the_hand_computed_one(name: str, tmp_path: Path) -> None:
    payload_type, model, answer, nusd, status = HAND_COMPUTED[name]
    bench = open_bench(tmp_path, {model: [answer]}, ROUTING)
    assert bench.ask(payload_type).cost_nusd == nusd
    got = only_call(bench)
    (attempt,) = got.attempts
    assert (got.cost_nusd, attempt.cost_nusd, attempt.cost_status) == (nusd, nusd, status)
    if status != "provider":
        assert (attempt.computed_nusd, attempt.adds_up) == (nusd, True)


def test_reported_and_own_cost_are_both_kept_with_their_difference(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"anthropic/claude-opus-4-5": [reply(usage=CHECKED, cost_nusd=31_000_000)]}, ROUTING)
    bench.ask("x.opus")
    (attempt,) = only_call(bench).attempts
    assert (attempt.cost_source_nusd, attempt.computed_nusd, attempt.drift_nusd) == (31_000_000, 31_750_000, -750_000)
    assert sum(line.cost_nusd for line in attempt.lines) == 31_750_000


def test_escalated_call_costs_the_sum_of_both_steps(tmp_path: Path) -> None:
    # 100 × 0.15 + 10 × 0.60 = 21 and 100 × 5 + 10 × 25 = 750 millionths
    bench = open_bench(tmp_path, {"openai/gpt-4o-mini": [reply(confidence=0.2)]}, ROUTING)
    assert bench.ask("x.extract").cost_nusd == 771_000
    got = only_call(bench)
    assert [(attempt.role, attempt.cost_nusd) for attempt in got.attempts] == [("serve", 21_000), ("escalate", 750_000)]


def test_retried_call_counts_what_was_billed_and_what_may_have_been(tmp_path: Path) -> None:
    # 4 tokens of prompt (19 characters) × 0.15 + 500 tokens nobody has seen yet × 0.60 = 0.6 + 300 millionths
    bench = open_bench(tmp_path, {"openai/gpt-4o-mini": [failure("timeout", billed=None), reply()]}, ROUTING)
    assert bench.ask("x.mini").cost_nusd == 300_600 + 21_000
    got = only_call(bench)
    assert [(a.role, a.cost_nusd, a.cost_status) for a in got.attempts] == [
        ("serve", 300_600, "unknown"),
        ("retry", 21_000, "exact"),
    ]


def test_refused_request_costs_exactly_nothing(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"openai/gpt-4o-mini": [failure("server", billed=False), reply()]}, ROUTING)
    assert bench.ask("x.mini").cost_nusd == 21_000
    assert [(a.cost_nusd, a.cost_status) for a in only_call(bench).attempts] == [(0, "exact"), (21_000, "exact")]


# --- hand-computed, from spool lines: what no router here sends yet


def test_judges_and_samples_are_part_of_the_call_that_they_are_about_and_shadows_are_not(tmp_path: Path) -> None:
    about = {"about_attempt_id": "a-1", "tier": "top"}
    spool_lines(
        tmp_path,
        make_attempt_line(cost_nusd=140_000),
        make_attempt_line(attempt_id="a-2", n=2, role="judge", cost_nusd=12_345, **about),
        make_attempt_line(attempt_id="a-3", n=3, role="sample", cost_nusd=7, **about),
        make_attempt_line(attempt_id="a-4", n=4, role="shadow", cost_nusd=1_000_000, **about),
        make_call_line(cost_nusd=152_352, attempts=3),
    )
    with log_of(tmp_path) as log:
        got = receipt_of(log, find_calls(log, "c-1")[0])
        rolled = log.execute("SELECT sum(cost_nusd) FROM rollup_attempts").fetchone()
    assert (got.cost_nusd, [shadow.cost_nusd for shadow in got.shadows]) == (152_352, [1_000_000])
    assert {a.role: a.about_attempt_id for a in got.attempts} == {"serve": None, "judge": "a-1", "sample": "a-1"}
    assert rolled == (1_152_352,)


def test_items_of_a_packed_request_add_up_to_it_exactly(tmp_path: Path) -> None:
    # three items of one token each at half a nano-dollar: 1.5, rounded to even 2, shared as 1, 1, 0
    priced = {"price_in": 500_000, "price_cached": 500_000, "price_write": 500_000, "price_out": 500_000}
    for i, share in enumerate((1, 1, 0)):
        ids = {"attempt_id": f"a-{i}", "call_id": f"c-{i}", "request_id": "r-packed"}
        spool_lines(
            tmp_path,
            make_attempt_line(**ids, **priced, input_tokens=1, output_tokens=0, cost_nusd=share),
            make_call_line(call_id=f"c-{i}", served_attempt_id=f"a-{i}", cost_nusd=share),
        )
    with log_of(tmp_path) as log:
        receipts = [receipt_of(log, find_calls(log, f"c-{i}")[0]) for i in range(3)]
        hits = log.execute("SELECT count(DISTINCT request_id), sum(cost_nusd) FROM attempts").fetchone()
        assert unexplained_requests(log) == []
    assert [got.attempts[0].items for got in receipts] == [3, 3, 3]
    assert [sum(line.cost_nusd for line in got.attempts[0].lines) for got in receipts] == [1, 1, 0]
    assert hits == (1, 2)


def test_row_that_does_not_explain_its_cost_is_named(tmp_path: Path) -> None:
    priced = {"price_in": 10**9, "price_cached": 10**9, "price_write": 10**9, "price_out": 10**9}
    spool_lines(
        tmp_path,
        make_attempt_line(attempt_id="good", request_id="r-good", **priced, cost_nusd=1_100_000),
        make_attempt_line(attempt_id="odd", request_id="r-odd", **priced, cost_nusd=1_100_001),
        make_attempt_line(attempt_id="other", request_id="r-other", **priced, cost_nusd=5, cost_status="provider"),
    )
    with log_of(tmp_path) as log:
        assert unexplained_requests(log) == ["r-odd"]


@pytest.mark.parametrize("price", [2**62, 10**12])
def test_numbers_beyond_all_bounds_break_no_report(tmp_path: Path, price: int) -> None:
    huge = 10**10  # more than that no line may say
    ids = [{"attempt_id": f"a-{n}", "n": n} for n in range(20)]
    spool_lines(
        tmp_path,
        *(
            make_attempt_line(price_in=price, price_out=price, input_tokens=huge, output_tokens=huge, **of)
            for of in ids
        ),
        make_call_line(),
    )
    with log_of(tmp_path) as log:
        (computed,) = set(log.execute("SELECT computed_nusd FROM attempt_receipts").fetchall())
        assert unexplained_requests(log) == ([] if computed == (None,) else ["r-1"])
        assert len(receipt_of(log, find_calls(log, "c-1")[0]).attempts) == 20


# --- law: a row is enough to compute its cost again

tokens = st.integers(min_value=-10, max_value=10_000_000)
rates = st.integers(min_value=0, max_value=10**12)
usages = st.builds(
    Usage,
    input_tokens=tokens,
    cached_tokens=tokens,
    cache_write_5m_tokens=tokens,
    cache_write_1h_tokens=tokens,
    output_tokens=tokens,
    reasoning_tokens=tokens,
    media_tokens=st.integers(0, 5),
)
plain = st.builds(
    Price,
    input_nusd_per_m=rates,
    cached_nusd_per_m=rates,
    write_5m_nusd_per_m=rates,
    write_1h_nusd_per_m=rates,
    output_nusd_per_m=rates,
    source=st.just("litellm"),
    date=st.just("2026-01-01"),
    reasoning_nusd_per_m=st.none() | rates,
    is_text_only=st.booleans(),
    is_stand_in=st.booleans(),
)
prices = plain | st.builds(
    lambda base, above, long: replace(base, long_above_tokens=above, long_price=long),
    plain,
    st.integers(min_value=0, max_value=1_000_000),
    plain,
)
PLAN = Plan(payload_type="x", config_version="v1")
CALL = CallFacts(call_id="c-1", opened_us=START_US, payload_type="x", run=None, step=None, tags=None, prompt_hash=None)


def logged(n: int, usage: Usage, price: Price) -> Line:
    sent = Sent(
        attempt_id=f"c-1-{n}",
        n=n,
        role="serve",
        tier="t",
        target=PlanTarget(model="a/b"),
        started_us=START_US + n,
        reserved_nusd=0,
        step=0,
        target_index=0,
    )
    got = receipt(usage, price)
    return attempt_line(PLAN, CALL, sent, Ended(ended_us=START_US + n, status="ok", receipt=got, usage=usage))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(usages, prices), min_size=1, max_size=60))
def test_logged_row_alone_gives_its_cost_again(requests: list[tuple[Usage, Price]]) -> None:
    lines = [logged(n, usage, price) for n, (usage, price) in enumerate(requests)]
    with tempfile.TemporaryDirectory() as folder:
        spool_lines(Path(folder), *lines, make_call_line())
        with log_of(Path(folder)) as log:
            rows = log.execute("SELECT computed_nusd, cost_nusd FROM attempt_receipts ORDER BY started_at").fetchall()
            got = receipt_of(log, find_calls(log, "c-1")[0])
            assert unexplained_requests(log) == []
    assert [computed for computed, _ in rows] == [cost for _, cost in rows] == [line["cost_nusd"] for line in lines]
    assert all(a.adds_up in (True, None) for a in got.attempts)
    assert got.cost_nusd == sum(line["cost_nusd"] for line in lines)


# --- closed days


def report(log: duckdb.DuckDBPyConnection) -> list[Any]:
    """Everything that a day's report may draw on."""
    return [
        log.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
        for table in ("attempts", "calls", "attempt_receipts")
    ] + [log.execute("SELECT hour, sum(cost_nusd), sum(n) FROM rollup_attempts GROUP BY 1 ORDER BY 1").fetchall()]


def test_days_stay_as_they_were_when_prices_change(tmp_path: Path) -> None:
    from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot

    model = "openai/gpt-4o-mini"
    bench = open_bench(tmp_path, {model: [reply()]}, ROUTING)
    bench.ask("x.mini")
    bench.router.close()
    shutil.copytree(bench.home / "spool", tmp_path / "kept" / "spool")
    with log_of(bench.home) as log:
        before = report(log)
    # the user's own prices change, and so does the list; then the log is made again from the same lines
    (tmp_path / "routing.yaml").write_text(ROUTING + f"prices: {{{model}: {{input: 100, output: 100}}}}\n")
    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=False))
    try:
        assert get_snapshot().providers == []
        dearer = PriceBook().price(model, START_US)
        assert dearer is not None
        assert dearer.source == "litellm"
        with log_of(bench.home) as log:
            again = report(log)
        with log_of(tmp_path / "kept") as log:
            remade = report(log)
    finally:
        set_custom_snapshot(None)
    assert before == again == remade
