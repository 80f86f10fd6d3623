"""Calls that a free rule answers, and checks of every kind."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from router_core import ConfigError, RouteExhaustedError
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.receipts import find_calls, receipt_of
from router_core.call_log.trails import trail_of
from router_core.config import parse
from tests.routers import MESSAGES, ROUTING, Bench, open_bench, reply

RULES = """\
    pre_checks:
      - {name: order, regex: 'order (?P<answer>[0-9]+)'}
      - {name: greeting, regex: '^(hi|hello)$', answer: {answer: '\\g<1>'}}
      - {name: vendors, table: {ACME: {answer: V-1}}}
      - {name: words, callable: 'tests.pre_check_rules:word_count'}
"""
CHECKED = ROUTING.replace("  x.decide:", f"{RULES}  x.decide:", 1).replace(
    "  x.extract: {path: [cheap, mid, top], error_cost_usd: 0.5}\n",
    "  x.extract:\n    path: [cheap, mid, top]\n    error_cost_usd: 0.5\n",
)
FORMAT = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


def ask(bench: Bench, text: str, **arguments: Any) -> Any:
    return bench.router.complete("x.extract", messages=[{"role": "user", "content": text}], **arguments)


def test_rule_answers_without_any_request_and_the_call_costs_nothing(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=CHECKED)
    answer = ask(bench, "where is order 17?")
    assert (answer.text, answer.tier, answer.model, answer.reason) == (
        "17",
        "pre_check",
        "pre_check/order",
        "pre_check",
    )
    assert (answer.cost_usd, answer.attempts, answer.degraded, answer.cache_hit) == (0, (), False, False)
    assert (answer.confidence.value, answer.confidence.source) == (None, "none")
    assert bench.asked == []
    (call,) = bench.lines()
    assert (call["status"], call["reason"], call["cost_nusd"], call["attempts"]) == ("ok", "pre_check", 0, 0)
    assert (call["tier_planned"], call["tier_served"], call["model_served"]) == (
        "cheap",
        "pre_check",
        "pre_check/order",
    )
    assert "served_attempt_id" not in call
    assert call["extra"]["pre_check"] == "order"
    assert [(each["name"], each["verdict"]) for each in call["extra"]["pre_checks"]] == [("order", "answered")]


def test_answer_of_a_rule_must_pass_the_checks_of_the_call(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply("V-2")]}, CHECKED)
    answer = ask(bench, "hello", response_format=FORMAT)
    assert (answer.parsed, answer.model) == ({"answer": "hello"}, "pre_check/greeting")
    answer = ask(bench, "order 17", response_format=FORMAT)  # "17" is no object, and neither are the words counted one
    assert (answer.tier, bench.asked) == ("cheap", ["a/small"])
    told = [(each["name"], each["verdict"]) for each in bench.lines("call")[-1]["extra"]["pre_checks"]]
    assert told == [("order", "invalid"), ("greeting", "silent"), ("vendors", "silent"), ("words", "invalid")]
    answer = ask(bench, "ACME", response_format=FORMAT, checks=[re.compile("V-2")])
    assert (answer.tier, answer.parsed["answer"]) == ("cheap", "V-2")


def test_rules_of_the_caller_come_first_and_one_that_breaks_harms_nothing(tmp_path: Path) -> None:
    def broken(messages: Any) -> str:
        raise ValueError("a secret")

    bench = open_bench(tmp_path, routing=CHECKED)
    answer = ask(bench, "order 17", pre_checks=[broken, lambda _: None])
    assert answer.model == "pre_check/order"
    answer = ask(bench, "order 17", pre_checks=[lambda _: {"answer": "mine"}], response_format=FORMAT)
    assert answer.parsed == {"answer": "mine"}
    (first, _) = bench.lines("call")
    told = [(each["name"], each["verdict"]) for each in first["extra"]["pre_checks"]]
    assert told == [("broken", "error"), ("<lambda>", "silent"), ("order", "answered")]
    assert "secret" not in str(bench.lines())


def test_rules_of_other_types_are_not_asked(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=CHECKED)
    bench.router.complete("x.decide", messages=[{"role": "user", "content": "order 17"}])
    assert bench.asked == ["b/large"]


def test_rules_of_unknown_types_are_those_of_the_star(tmp_path: Path) -> None:
    star = ROUTING.replace("prices:", '  "*": {path: [mid], pre_checks: [{name: all, table: {hi: ho}}]}\nprices:')
    bench = open_bench(tmp_path, routing=star)
    assert bench.router.complete("unheard.of", messages=[{"role": "user", "content": "hi"}]).text == "ho"
    bench.router.complete("x.decide", messages=[{"role": "user", "content": "hi"}])
    assert bench.asked == ["b/large"]


def test_limit_does_not_keep_a_rule_from_answering(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=CHECKED + "budgets: [{name: d, usd: 0.000001}]\n")
    ask(bench, "", response_format=None)
    assert ask(bench, "order 17").model == "pre_check/order"


def test_function_that_is_not_there_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_bench(tmp_path, routing=CHECKED.replace(":word_count", ":no_such_function"))
    (problem,) = caught.value.problems
    assert problem.path == "payload_types.x.extract.pre_checks[3].callable"
    assert problem.line is not None


def test_log_knows_what_rules_have_answered_and_replays_it(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=CHECKED)
    answers = [ask(bench, "order 17"), ask(bench, "", response_format=None)]
    bench.router.close()
    home = Home(bench.home)
    ingest_once(home)
    config = parse((tmp_path / "routing.yaml").read_bytes(), source="x")
    with reading(home) as log:
        receipts = [receipt_of(log, find_calls(log, answer.call_id)[0]) for answer in answers]
    trails = [trail_of(receipt, config) for receipt in receipts]
    assert [(trail.replays, len(receipt.attempts)) for trail, receipt in zip(trails, receipts, strict=True)] == [
        (True, 0),
        (True, 3),
    ]
    assert trails[0].opening == "pre-check order answered: no model was asked"


class Sure(BaseModel):
    answer: str


@pytest.mark.parametrize(
    ("check", "good", "bad", "name"),
    [
        (re.compile("ye"), "yes", "no", "regex"),
        (Sure, "yes", 5, "Sure"),
        ({"type": "object", "properties": {"answer": {"const": "yes"}}}, "yes", "no", "schema"),
        (lambda text: "yes" in text, "yes", "no", "<lambda>"),
    ],
)
def test_check_of_every_kind_makes_an_answer_invalid_which_counts_and_escalates(
    tmp_path: Path, check: Any, good: Any, bad: Any, name: str
) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(bad)], "a/medium": [reply(good)]})
    answer = bench.router.complete("x.extract", messages=MESSAGES, checks=[check], confidence=lambda _: 0.9)
    assert (answer.tier, [record.status for record in answer.attempts]) == ("mid", ["invalid", "ok"])
    logged = [(line["status"], line["cost_nusd"] > 0, line["checks"]) for line in bench.lines("attempt")]
    assert [(status, costs, [each["name"] for each in checks]) for status, costs, checks in logged] == [
        ("invalid", True, [name]),
        ("ok", True, [name]),
    ]
    assert all(each["ms"] >= 0 for _, _, checks in logged for each in checks)
    assert [each["verdict"] for _, _, checks in logged for each in checks] == ["failed", "passed"]


def test_call_whose_every_answer_is_invalid_tells_what_failed(tmp_path: Path) -> None:
    bench = open_bench(tmp_path)
    with pytest.raises(RouteExhaustedError, match="failed regex;"):
        bench.router.complete("x.extract", messages=MESSAGES, checks=[re.compile("never")])


@pytest.mark.parametrize("check", [re.compile(b"bytes"), 5, {"type": "no such type"}])
def test_check_that_cannot_be_used_is_refused(tmp_path: Path, check: Any) -> None:
    bench = open_bench(tmp_path)
    with pytest.raises((TypeError, ValueError)):
        bench.router.complete("x.extract", messages=MESSAGES, checks=[check])
    assert bench.asked == []
