"""The cost limit of a call: what an estimate may keep it from, what is estimated, and what it says."""

from pathlib import Path
from typing import Any

import pytest

from router_core import RouteExhaustedError
from router_core.testing import failure
from router_core.types import Usage
from tests.routers import ROUTING, Bench, open_bench, reply

DEAR = Usage(input_tokens=100, output_tokens=50_000)


def routing(usd: float, path: str = "[cheap, mid, top]") -> str:
    limits = f"{{accept_at: 0.8, limits: {{cost_usd: {usd}, retries: 1}}}}"
    return ROUTING.replace("{accept_at: 0.8}", limits).replace("[cheap, mid, top]", path)


def reserved_nusd(bench: Bench) -> list[int]:
    return [line["items"][0]["reserved_nusd"] for line in bench.lines("started")]


def test_one_dear_answer_keeps_no_later_call_from_its_first_attempt(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(usage=DEAR), reply()]}, routing(0.001))
    answers = [bench.ask() for _ in range(30)]
    assert [answer.tier for answer in answers] == ["cheap"] * 30
    estimates = reserved_nusd(bench)
    # the second answer halves what is expected, and so on: it does not take sixty of them to forget the first
    assert estimates[1] > 19_000_000
    assert estimates[2] < 11_000_000
    assert estimates[29] < 2_000_000


def test_estimate_of_many_answers_follows_their_size(tmp_path: Path) -> None:
    small = [reply(output_tokens=10) for _ in range(50)] + [reply(output_tokens=1_000)]
    bench = open_bench(tmp_path, {"a/small": small}, routing(0.1))
    for _ in range(130):
        bench.ask()
    estimates = reserved_nusd(bench)
    assert estimates[50] == 4 * 100 + 10 * 400
    assert 4 * 100 + 50 * 400 < estimates[51] < 4 * 100 + 70 * 400
    assert estimates[129] > 4 * 100 + 950 * 400


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_callers_own_limit_bounds_the_estimate(tmp_path: Path, name: str) -> None:
    bench = open_bench(tmp_path, {"a/small": [reply(usage=DEAR), reply(confidence=0.5)]}, routing(0.003))
    bench.ask()
    limits: dict[str, Any] = {name: 50}
    answer = bench.ask(**limits)
    assert reserved_nusd(bench)[1] == 4 * 100 + 50 * 400
    # 50 tokens of a/medium and of b/large are known to fit
    assert [made.tier for made in answer.attempts] == ["cheap", "mid"]
    assert reserved_nusd(bench)[2] == 4 * 1_000 + 50 * 4_000


def test_retry_and_fallback_of_a_call_that_has_spent_nothing_are_not_barred(tmp_path: Path) -> None:
    small: list[Any] = [reply(usage=DEAR), failure("auth")]
    bench = open_bench(tmp_path, {"a/small": small, "b/small": [failure(), reply()]}, routing(0.001))
    bench.ask()
    answer = bench.ask()
    assert [(made.role, made.model) for made in answer.attempts] == [
        ("serve", "a/small"),
        ("fallback", "b/small"),
        ("retry", "b/small"),
    ]


def test_estimate_keeps_a_call_from_a_dearer_tier_and_is_in_the_error(tmp_path: Path) -> None:
    replies = {"a/small": [reply(usage=DEAR), failure("auth")], "b/small": failure("auth")}
    bench = open_bench(tmp_path, replies, routing(0.03))
    bench.ask()
    with pytest.raises(RouteExhaustedError) as caught:
        bench.ask()
    assert bench.asked == ["a/small", "a/small", "b/small"]
    said = (
        "no answer (no_valid_answer: cost_usd, 0.03 of 0.03 USD are left"
        " and a request to a/medium is estimated at 0.200004)"
    )
    assert said in str(caught.value)


def test_request_whose_smallest_answer_does_not_fit_is_not_sent_and_says_why(tmp_path: Path) -> None:
    bench = open_bench(tmp_path, routing=routing(0.00001, "[top]"))
    with pytest.raises(RouteExhaustedError) as caught:
        bench.ask()
    assert bench.asked == []
    assert (
        "(limits: cost_usd, 0.00001 of 0.00001 USD are left and a request to b/large would cost at least 0.000035)"
        " after 0 attempts [nothing was tried]"
    ) in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("attempts: 3", r"\(limits: attempts, 3 were made\) after 3 attempts"),
        ("deadline_s: 1", r"\(limits: deadline_s, 1 s are over\) after 2 attempts"),
    ],
)
def test_other_limits_are_named_too(tmp_path: Path, limits: str, said: str) -> None:
    limited = ROUTING.replace("{accept_at: 0.8}", f"{{accept_at: 0.8, limits: {{{limits}, retries: 9}}}}")
    bench = open_bench(tmp_path, {"b/large": failure("bad_response")}, limited)
    with pytest.raises(RouteExhaustedError, match=said):
        bench.ask("x.decide")


def test_judge_that_is_too_dear_may_still_answer(tmp_path: Path) -> None:
    judged = routing(0.005, "[top]").replace("path: [top], error", "path: [top], confidence: {source: judge}, error")
    bench = open_bench(tmp_path, routing=judged + "judge: {tier: top, same_family: true}\n")
    # a verdict of 500 tokens would cost twice the limit
    assert [made.role for made in bench.ask().attempts] == ["serve"]
