"""What the calls of one process know together."""

import threading

import pytest

from router_core.decide.breaker import BreakerRule, Cause, Tally, Usual
from router_core.decide.health import CoolDown
from router_core.health import Breakers, Health

SECOND = 1_000_000
RULE = CoolDown(failures=1, first_us=30 * SECOND)
BREAKER = BreakerRule()


def failed(health: Health, at_us: int, sent_us: int | None = None) -> bool:
    """Fail one request to a/b; whether it begins a cool-down."""
    sent_us = at_us if sent_us is None else sent_us
    got = health.failed("a/b", "server", None, sent_us=sent_us, now_us=at_us, rule=RULE, draw=0.0)
    return got is not None


def test_of_many_requests_after_a_cool_down_exactly_one_is_the_probe() -> None:
    health = Health()
    failed(health, 0)
    began: list[bool] = []
    barrier = threading.Barrier(16)

    def begin() -> None:
        barrier.wait()
        began.append(health.begins("a/b", 30 * SECOND, SECOND))

    threads = [threading.Thread(target=begin) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(began) == [False] * 15 + [True]
    assert health.down(30 * SECOND) == {"a/b"}


def test_answer_to_the_probe_lets_everybody_in() -> None:
    health = Health()
    failed(health, 0)
    assert health.begins("a/b", 30 * SECOND, SECOND)
    health.answered("a/b", 30 * SECOND)
    assert health.down(31 * SECOND) == frozenset()
    assert health.begins("a/b", 31 * SECOND, SECOND)


def test_answer_from_before_the_cool_down_lets_nobody_in() -> None:
    health = Health()
    failed(health, 5 * SECOND)
    health.answered("a/b", 4 * SECOND)
    assert health.down(6 * SECOND) == {"a/b"}


def test_withdrawn_probe_leaves_the_next_request_to_probe() -> None:
    health = Health()
    failed(health, 0)
    assert health.begins("a/b", 30 * SECOND, SECOND)
    health.withdrawn("a/b")
    assert health.begins("a/b", 30 * SECOND, SECOND)


def test_withdrawn_request_to_a_healthy_target_changes_nothing() -> None:
    health = Health()
    health.withdrawn("a/b")
    assert health.down(0) == frozenset()


def test_cool_down_is_told_once() -> None:
    health = Health()
    assert failed(health, 10)
    assert not failed(health, 11, sent_us=9)


def test_forked_child_probes_for_itself() -> None:
    health = Health()
    failed(health, 0)
    assert health.begins("a/b", 30 * SECOND, SECOND)
    health.after_fork()
    assert health.begins("a/b", 30 * SECOND, SECOND)


class Turns:
    """Breakers of one payload type, and how they turned."""

    def __init__(self) -> None:
        self.seen: list[tuple[Cause, bool]] = []
        self.breakers = Breakers(self._turned)

    def _turned(self, kind: str, tier: str, cause: Cause, is_open: bool, tally: Tally, usual: Usual) -> None:
        assert (kind, tier) == ("x", "cheap")
        self.seen.append((cause, is_open))

    def stay(self, at_us: int, times: int = 1, rule: BreakerRule = BREAKER) -> None:
        for _ in range(times):
            self.breakers.stayed("x", "cheap", at_us, rule)

    def leave(self, cause: Cause, at_us: int, times: int = 1, rule: BreakerRule = BREAKER) -> list[bool]:
        return [self.breakers.holds("x", "cheap", cause, at_us, rule) for _ in range(times)]


def test_outage_lets_some_calls_up_and_then_none() -> None:
    turns = Turns()
    turns.stay(0, 30)
    held = turns.leave("failures", SECOND, 60)
    assert held.index(True) == 30  # the 31st failure of 61 calls makes them more than half
    assert all(held[30:])
    assert turns.seen == [("failures", True)]


def test_breaker_closes_when_the_tier_serves_again() -> None:
    turns = Turns()
    assert turns.leave("failures", 0, 40)[-1]
    turns.stay(61 * SECOND, 100)
    assert turns.seen == [("failures", True)]
    turns.stay(61 * SECOND, 21)
    assert turns.seen == [("failures", True), ("failures", False)]
    assert turns.leave("failures", 62 * SECOND) == [False]


def test_failures_and_answers_are_held_apart() -> None:
    turns = Turns()
    turns.stay(0, 20)
    turns.leave("failures", 0, 100)
    assert turns.leave("answers", 0, 5) == [False] * 5


def usual_then_wave(turns: Turns) -> list[bool]:
    """Nine quiet windows, one in five going up; then everybody."""
    for window in range(9):
        turns.stay(window * 60 * SECOND, 80)
        assert not any(turns.leave("answers", window * 60 * SECOND, 20))
    turns.stay(540 * SECOND)
    return turns.leave("answers", 541 * SECOND, 400)


def test_wave_of_unsure_answers_is_held_once_it_is_known_what_is_usual() -> None:
    held = usual_then_wave(Turns())
    assert not held[0]
    assert all(held[150:])


def test_unsure_answers_of_a_new_payload_type_are_never_held() -> None:
    turns = Turns()
    assert not any(turns.leave("answers", 0, 500))


def test_wave_that_stays_becomes_the_usual() -> None:
    turns = Turns()
    usual_then_wave(turns)
    held = [turns.leave("answers", 541 * SECOND + minute * 60 * SECOND, 40)[-1] for minute in range(1, 20)]
    assert held[:9] == [True] * 9
    assert held[10:] == [False] * 9
    assert turns.seen == [("answers", True), ("answers", False)]


def test_what_is_usual_is_not_learned_from_a_wave() -> None:
    turns = Turns()
    usual_then_wave(turns)
    turns.stay(700 * SECOND, 200)
    assert turns.seen[-1] == ("answers", False)
    assert turns.leave("answers", 830 * SECOND, 200)[-1]


@pytest.mark.parametrize("cause", ["failures", "answers"])
def test_switched_off_nothing_is_held(cause: Cause) -> None:
    turns = Turns()
    assert not any(turns.leave(cause, 0, 500, BreakerRule(enabled=False)))


def test_names_made_up_per_call_do_not_grow_without_bound() -> None:
    turns = Turns()
    for number in range(10_050):
        turns.breakers.stayed(f"type-{number}", "cheap", 0, BREAKER)
    assert len(turns.breakers._steps) <= 10_000
