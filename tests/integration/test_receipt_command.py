"""``tierwise calls ID``: what a person reads about one call, and what a program gets."""

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router_core import RouteExhaustedError
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.receipt_text import call_text
from router_core.call_log.receipts import find_calls, newest_calls, receipt_of
from router_core.call_log.spool import Spool
from router_core.call_log.trails import trail_of
from router_core.config import parse
from router_core.errors import CallError, ErrorKind
from router_core.lines import Line
from router_core.types import Request
from tests.builders import make_attempt_line, make_call_line, make_outcome_line, make_started_line
from tests.command_line import Tierwise
from tests.log_sources import PRICE, bring, fetch, langfuse_row, table_row, write_csv, write_jsonl
from tests.routers import ROUTING, bounded, open_bench, reply

# USD per million: 1 in, 0.10 cached, 2 written, 4 out
PRICED = {
    "price_in": 10**9,
    "price_cached": 10**8,
    "price_write": 2 * 10**9,
    "price_out": 4 * 10**9,
    "price_source": "genai-prices",
    "price_date": "2026-09-01",
}
TOKENS = {"input_tokens": 1000, "cached_tokens": 400, "cache_write_5m_tokens": 100, "output_tokens": 50}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / ".tierwise")


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tierwise:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    return Tierwise(capsys)


def log_lines(home: Home, *lines: Line) -> None:
    home.create()
    spool = Spool(home.spool)
    spool.write(*lines)
    spool.close()
    ingest_once(home)


def printed(tierwise: Tierwise, call_id: str = "c-1") -> str:
    """The receipt with runs of blanks as one."""
    ended = tierwise("calls", call_id)
    assert ended.code == 0, ended
    return re.sub(" +", " ", ended.out)


# --- money


def test_each_token_class_is_multiplied_out_to_the_last_nano_dollar(tierwise: Tierwise, home: Home) -> None:
    # 500 × 1 + 400 × 0.1 + 100 × 2 + 20 × 4 + 30 × 5 millionths
    attempt = make_attempt_line(
        **TOKENS, **PRICED, reasoning_tokens=30, cost_nusd=970_000, extra={"price_reasoning": 5 * 10**9}
    )
    log_lines(home, attempt, make_call_line(cost_nusd=970_000))
    out = printed(tierwise)
    for line in (
        "input 500 × $1.00 / 1M = $0.000500000",
        "cached 400 × $0.10 / 1M = $0.000040000",
        "write_5m 100 × $2.00 / 1M = $0.000200000",
        "output 20 × $4.00 / 1M = $0.000080000",
        "reasoning 30 × $5.00 / 1M = $0.000150000",
        "cost $0.000970000 (exact; price: genai-prices, 2026-09-01)",
        "cost $0.000970000 over 1 attempt",
    ):
        assert line in out
    assert "do not add up" not in out


def test_printed_lines_add_up_to_the_printed_cost(tierwise: Tierwise, home: Home) -> None:
    odd = PRICED | {"price_in": 400_001, "price_cached": 333_333, "price_out": 777_777}
    log_lines(home, make_attempt_line(**TOKENS, **odd, cost_nusd=372_222), make_call_line(cost_nusd=372_222))
    got = tierwise("calls", "c-1", "--json").json()["attempts"][0]
    amounts = [int(amount.replace(".", "")) for amount in re.findall(r"= \$(\d+\.\d{9})", printed(tierwise))]
    assert sum(amounts) == sum(line["cost_nusd"] for line in got["lines"]) == got["computed_nusd"]


def test_reported_cost_stands_beside_ours_with_the_difference(tierwise: Tierwise, home: Home) -> None:
    attempt = make_attempt_line(
        **TOKENS, **PRICED, cost_nusd=1_000_000, cost_source_nusd=1_000_000, cost_status="provider"
    )
    log_lines(home, attempt, make_call_line(cost_nusd=1_000_000))
    out = printed(tierwise)
    assert "reported $0.001000000; our prices give $0.000940000: +$0.000060000" in out
    assert "what the provider reported counts" in out
    assert "difference $0.000060000 between what providers reported and our prices give" in out


def test_row_that_was_changed_is_told(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line(**TOKENS, **PRICED, cost_nusd=5), make_call_line())
    out = printed(tierwise)
    assert "these lines do not add up to it" in out
    assert "the call's own line says $0.000140000; what counts is the sum" in out


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"price_source": "pessimistic"}, "pessimistic"),
        ({"extra": {"web_searches": 3}}, "3 web searches cost extra"),
        ({"extra": {"media_tokens": 70}}, "70 tokens of sound or pictures"),
        ({"service_tier": "priority"}, "no list has a price for this service tier"),
        ({"cached_tokens": 5_000, "cost_nusd": 500_000 + 200_000 + 200_000}, "token counts do not add up"),
        ({"cost_status": "unknown"}, "counts at what was set aside for it"),
        ({"cost_status": "unpriced", "cost_nusd": None}, "no price list knew the model"),
        ({"cost_status": "exact", "cost_nusd": 0, "output_tokens": None, "status": "failed"}, "did not charge for it"),
    ],
)
def test_how_a_cost_is_known_is_said_in_words(
    tierwise: Tierwise, home: Home, columns: dict[str, Any], said: str
) -> None:
    plain = {**TOKENS, **PRICED, "cost_nusd": 940_000, "cost_status": "estimated"}
    log_lines(home, make_attempt_line(**(plain | columns)), make_call_line())
    assert said in printed(tierwise)


def test_share_of_a_packed_request_is_named_and_its_lines_sum_to_it(tierwise: Tierwise, home: Home) -> None:
    tiny = dict.fromkeys(("price_in", "price_cached", "price_write", "price_out"), 500_000)
    for i, share in enumerate((1, 1, 0)):
        ids = {"attempt_id": f"a-{i}", "call_id": f"c-{i}", "request_id": "r-1"}
        log_lines(home, make_attempt_line(**ids, **tiny, input_tokens=1, output_tokens=0, cost_nusd=share))
        log_lines(home, make_call_line(call_id=f"c-{i}", served_attempt_id=f"a-{i}", cost_nusd=share))
    out = printed(tierwise, "c-1")
    assert "a share of a request for 3 calls" in out
    assert "input 1 × $0.0005 / 1M = $0.000000001" in out
    assert "do not add up" not in out


# --- attempts


def test_judges_name_what_they_are_about_and_shadows_stand_apart(tierwise: Tierwise, home: Home) -> None:
    log_lines(
        home,
        make_attempt_line(),
        make_attempt_line(attempt_id="a-2", n=2, role="judge", about_attempt_id="a-1", tier="top", cost_nusd=10_000),
        make_attempt_line(attempt_id="a-3", n=3, role="shadow", tier="top", cost_nusd=900_000, answer_match=True),
        make_call_line(cost_nusd=150_000, attempts=2),
    )
    out = printed(tierwise)
    money, shadows = out.split("shadows: made for evidence")
    assert "#2 judge · about #1 · top" in money
    assert "$0.000140000 + $0.000010000\ncost $0.000150000 over 2 attempts" in money
    assert "no part of what the call cost ($0.000900000)" in shadows
    assert "#3 shadow · top" in shadows
    assert "same answer yes" in shadows


def test_checks_confidence_label_and_model_that_answered_are_shown(tierwise: Tierwise, home: Home) -> None:
    attempt = make_attempt_line(
        checks=[{"name": "total_matches", "ms": 0.4, "verdict": "failed"}],
        confidence=0.4,
        response_model="another-model",
        ttft_ms=300.0,
    )
    outcomes = [
        make_outcome_line(source="gold", error_nusd=12_000_000_000),
        make_outcome_line(source="user", correct=1.0),
    ]
    log_lines(home, attempt, make_call_line(tags={"team": "ap"}), *outcomes)
    out = printed(tierwise)
    for text in (
        "total_matches: failed",
        "0.400 (field, uncalibrated)",
        "correct 0.00 (gold, 2026-09-21 15:13:20) · the error cost $12.00",
        "answered by another-model",
        "first token after 0.30 s",
        "tags team=ap",
    ):
        assert text in out


def test_label_of_a_shadow_is_not_the_calls(tierwise: Tierwise, home: Home) -> None:
    log_lines(
        home,
        make_attempt_line(),
        make_attempt_line(attempt_id="a-2", n=2, role="shadow"),
        make_call_line(),
        make_outcome_line(attempt_id="a-2"),
    )
    got = tierwise("calls", "c-1", "--json").json()
    assert (got["attempts"][0]["label"], got["shadows"][0]["label"]["correct"]) == (None, 0.0)
    assert "outcome not known yet" in printed(tierwise)


def test_interrupted_call_says_that_nobody_knows(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_started_line())
    out = printed(tierwise)
    assert "status interrupted" in out
    assert "its process ended before an answer came: what the provider charged is not known" in out


def test_imported_call_has_no_trail(tierwise: Tierwise, home: Home) -> None:
    attempt = make_attempt_line(source="import", started_at=None, ended_at=None, config_version=None)
    call = make_call_line(source="import", ts=None, guard_state=None, config_version=None, reason="imported")
    log_lines(home, attempt, call)
    out = printed(tierwise)
    assert "time (UTC) undated" in out
    assert not re.search("then|began|guard|config|None", out)


# --- decisions


def failure(kind: ErrorKind, **facts: Any) -> CallError:
    return CallError(f"simulated {kind}", kind=kind, **facts)


def test_decisions_are_told_with_the_figures_of_the_config(tierwise: Tierwise, tmp_path: Path) -> None:
    replies = {
        "a/small": [failure("server")],
        "b/small": [reply(confidence=0.5)],
        "a/medium": [reply(text="cut o")],
    }
    bench = open_bench(tmp_path, replies)
    call_id = bench.ask().call_id
    bench.router.close()
    ended = tierwise("calls", call_id, "--home", bench.home)
    out = re.sub(" +", " ", ended.out)
    for text in (
        "began path cheap → mid → top",
        "then failed (server): asked a/small (cheap) again",
        "then failed (server): b/small (cheap) was asked instead, in the same tier",
        "then confidence 0.500 is below 0.8: up to a/medium (mid)",
        "then invalid (failed format): up to b/large (top)",
        "then confidence 0.900 reaches 0.8: served",
    ):
        assert text in out
    assert tierwise("calls", call_id, "--home", bench.home, "--json").json()["trail"]["replays"] is True


def test_without_its_config_a_call_is_told_without_thresholds(tierwise: Tierwise, tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.5)]})
    call_id = bench.ask().call_id
    bench.router.close()
    (tmp_path / "routing.yaml").write_text(ROUTING.replace("accept_at: 0.8", "accept_at: 0.3"))
    out = re.sub(" +", " ", tierwise("calls", call_id, "--home", bench.home).out)
    assert "then confidence 0.500: up to a/medium (mid)" in out
    assert "is not at hand: its thresholds are not shown" in out


def test_call_of_an_older_config_is_told_with_the_thresholds_that_history_keeps(
    tierwise: Tierwise, tmp_path: Path
) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.5)]})
    call_id = bench.ask().call_id
    bench.router.close()
    config = tmp_path / "routing.yaml"
    assert tierwise("history", "--observe", "--config", config, "--home", bench.home).code == 0
    config.write_text(ROUTING.replace("accept_at: 0.8", "accept_at: 0.3"))
    out = re.sub(" +", " ", tierwise("calls", call_id, "--home", bench.home).out)
    assert "then confidence 0.500 is below 0.8: up to a/medium (mid)" in out
    assert "is not at hand" not in out


def test_imported_receipt_says_whose_cost_counts(tierwise: Tierwise, tmp_path: Path) -> None:
    rows = [
        table_row(**{"Cost (USD)": 0.003}),
        table_row(60, **{"Cost (USD)": 0}),
        table_row(120, **{"Cost (USD)": None}),
    ]
    home = Home(tmp_path / "home")
    bring(home, write_csv(tmp_path / "x.csv", rows))
    said = [
        re.sub(" +", " ", tierwise("calls", call_id, "--home", home.root).out)
        for (call_id,) in fetch(home, "SELECT call_id FROM calls ORDER BY ts")
    ]
    assert "what the imported log says counts" in said[0]
    assert "the log says $0.003000000; our prices give $0.002800000: +$0.000200000" in said[0]
    assert "the imported log says 0, which is what tools write that know no price: ours counts" in said[1]
    assert "the imported log says no cost: ours counts, at the prices of its time" in said[2]


def test_imported_receipt_multiplies_reasoning_out_at_its_own_price_or_says_that_nothing_is_known(
    tierwise: Tierwise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.log_sources.PRICE", replace(PRICE, reasoning_nusd_per_m=20 * 10**9))
    home = Home(tmp_path / "home")
    bring(home, write_jsonl(tmp_path / "x.jsonl", [langfuse_row(total_cost=None, cost_details=None)]))
    bring(home, write_csv(tmp_path / "y.csv", [table_row(0, **{"Cost (USD)": None, "Prompt Tokens": None})]), now_us=9)
    reasoned, unknown = (
        re.sub(" +", " ", tierwise("calls", call_id, "--home", home.root).out)
        for (call_id,) in fetch(home, "SELECT call_id FROM calls ORDER BY starts_with(call_id, 'langfuse') DESC")
    )

    # 200 × 2 + 800 × 0.5 + 60 × 8 + 40 × 20 millionths
    assert "reasoning 40 × $20.00 / 1M = $0.000800000" in reasoned
    assert "cost $0.002080000 (exact; price: override, test)" in reasoned
    assert "do not add up" not in reasoned
    assert "the imported log does not say what it cost, nor what to compute it from" in unknown


def test_degraded_call_says_which_budget_moved_it(tierwise: Tierwise, tmp_path: Path) -> None:
    routing = ROUTING.replace("[cheap, mid, top]", "[mid, top]") + "budgets: [{name: daily, usd: 0.0001}]\n"
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.1)]}, routing)
    bench.ask()
    call_id = bench.ask().call_id
    bench.router.close()
    out = re.sub(" +", " ", tierwise("calls", call_id, "--home", bench.home).out)
    assert "began budget daily was at its limit (capped): one step on the cheapest allowed target" in out
    assert "guard capped · budget daily · degraded" in out
    assert "then confidence 0.100 is below 0.8; valid, and above the limit no call goes up: served" in out


def test_edited_rows_do_not_replay_and_that_is_said(tierwise: Tierwise, tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(confidence=0.5)]})
    call_id = bench.ask().call_id
    bench.router.close()
    for segment in (bench.home / "spool").glob("*.jsonl"):
        segment.write_text(segment.read_text().replace('"confidence":0.5', '"confidence":0.95'))
    assert "do not decide the same again" in tierwise("calls", call_id, "--home", bench.home).out


def test_trail_of_every_kind_of_call_replays_and_is_whole(tmp_path: Path) -> None:
    """Random worlds through the real router, its log and the receipts of it."""
    chance = random.Random(11)
    kinds: list[ErrorKind] = ["server", "timeout", "rate_limit", "auth", "bad_response", "content_policy"]

    def world(request: Request) -> Any:
        if chance.random() < 0.35:
            return failure(chance.choice(kinds), retry_after_s=chance.choice([None, 1.0, 30.0]))
        return reply(text="cut o") if chance.random() < 0.2 else reply(confidence=chance.choice([None, 0.2, 0.6, 0.9]))

    routing = bounded(ROUTING) + "budgets: [{name: daily, usd: 0.03}]\n"
    bench = open_bench(tmp_path, dict.fromkeys(["a/small", "b/small", "a/medium", "b/large"], world), routing)
    for _ in range(150):
        bench.clock.sleep(chance.choice([0, 1, 60]))
        try:
            bench.ask(chance.choice(["x.extract", "x.decide"]))
        except RouteExhaustedError:
            continue
    bench.router.close()
    ingest_once(Home(bench.home))
    config = parse(routing.encode(), source="routing.yaml")
    with reading(Home(bench.home)) as log:
        receipts = [receipt_of(log, call) for call in newest_calls(log, 1_000)]
    assert {receipt.call.degraded for receipt in receipts} == {True, False}
    for receipt in receipts:
        trail = trail_of(receipt, config)
        text = call_text(receipt, trail)
        assert trail.replays is True, text
        assert set(trail.after) == {attempt.attempt_id for attempt in receipt.attempts}
        assert "None" not in text
        assert receipt.cost_nusd == receipt.call.cost_nusd


# --- terminal


@pytest.mark.parametrize("width", [20, 40, 79])
def test_no_line_is_longer_than_the_terminal_and_nothing_is_lost(home: Home, width: int) -> None:
    log_lines(
        home,
        make_attempt_line(
            **TOKENS, **PRICED, cost_nusd=940_000, error_type="x" * 150, run="y" * 90, config_version="z"
        ),
        make_call_line(cost_nusd=940_000, run="y" * 90, reason="r" * 150),
    )
    with reading(home) as log:
        receipt = receipt_of(log, find_calls(log, "c-1")[0])
    trail = trail_of(receipt, None)
    lines = call_text(receipt, trail, width).splitlines()
    assert max(map(len, lines)) <= width
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", call_text(receipt, trail))


def test_width_is_that_of_the_terminal_and_pipes_are_not_broken(
    tierwise: Tierwise, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_lines(home, make_attempt_line(**TOKENS, **PRICED, cost_nusd=5), make_call_line())
    assert max(map(len, tierwise("calls", "c-1").out.splitlines())) > 80
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, tierwise("calls", "c-1").out.splitlines())) <= 60


def test_hostile_values_in_a_receipt_stay_text(tierwise: Tierwise, home: Home) -> None:
    evil = "\x1b[2J\u202e" + "x" * 5_000
    facts = {"down": [evil] * 50, "unaffordable": "no list", "guard": {"a": evil}}
    log_lines(
        home,
        make_attempt_line(
            role="serve",
            error_type=evil,
            service_tier=evil,
            response_model=evil,
            price_source=evil,
            price_date=evil,
            checks=[{"name": evil, "ms": evil, "verdict": evil}, evil, 7],
            extra={"facts": facts, "price_write_1h": evil, "web_searches": evil, "price_reasoning": [evil]},
            cost_status="estimated",
        ),
        make_attempt_line(attempt_id="a-2", n=2, role="retry", about_attempt_id=evil, checks={"a": 1}, extra=[1]),
        make_call_line(tags={evil: evil}, extra={"opened": facts}, budget_scope=evil, holdback=evil, guard_state=evil),
        make_outcome_line(source=evil),
    )
    out = tierwise("calls", "c-1").out
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", out)
    assert "x" * 300 not in out
    assert tierwise("calls", "c-1", "--json").code == 0


def test_program_gets_the_same_facts(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line(**TOKENS, **PRICED, cost_nusd=940_000), make_call_line(cost_nusd=940_000))
    got = tierwise("calls", "c-1", "--json").json()
    (attempt,) = got["attempts"]
    assert got.keys() == {"call", "attempts", "shadows", "cost_nusd", "without_cost", "trail"}
    assert {line["name"]: line["cost_nusd"] for line in attempt["lines"]} == {
        "input": 500_000,
        "cached": 40_000,
        "write_5m": 200_000,
        "output": 200_000,
    }
    assert (attempt["price_source"], attempt["price_date"], attempt["adds_up"]) == ("genai-prices", "2026-09-01", True)
    assert got["trail"]["after"] == {"a-1": "confidence 0.900: served"}
    assert attempt["started_at"] == "2026-09-21T14:13:20"


# --- how far our prices are off


def test_spend_shows_how_far_our_prices_are_from_what_providers_report(tierwise: Tierwise, home: Home) -> None:
    # ours: 940,000 each; reported: 1,000,000 and 930,000; the third has no report, the fourth no tokens to compare
    reported = {**TOKENS, **PRICED, "cost_status": "provider"}
    log_lines(
        home,
        make_attempt_line(attempt_id="a-1", **reported, cost_nusd=1_000_000, cost_source_nusd=1_000_000),
        make_attempt_line(attempt_id="a-2", **reported, cost_nusd=930_000, cost_source_nusd=930_000),
        make_attempt_line(attempt_id="a-3", **TOKENS, **PRICED, cost_nusd=940_000),
        make_attempt_line(attempt_id="a-4", input_tokens=None, cost_nusd=7, cost_source_nusd=7, cost_status="provider"),
    )
    (row,) = tierwise("spend", "--json").json()
    assert (row["n_reported"], row["reported_nusd"], row["drift_nusd"]) == (2, 1_930_000, 50_000)
    out = tierwise("spend").out
    assert "Providers reported $0.0019 for 2 of them" in out
    assert "a difference of +$0.0001 (+2.66 %)" in out


def test_spend_without_reports_says_nothing_of_them(tierwise: Tierwise, home: Home) -> None:
    log_lines(home, make_attempt_line())
    assert "Providers reported" not in tierwise("spend").out
