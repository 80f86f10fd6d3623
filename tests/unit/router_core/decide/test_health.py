"""When a failing target is left alone, and who asks it first again."""

import pytest

from router_core.decide.health import (
    HEALTHY,
    CoolDown,
    TargetHealth,
    after_answer,
    after_failure,
    is_down,
    is_probe,
    probing,
)
from router_core.errors import ErrorKind

NOW_US = 1_000_000_000
SECOND = 1_000_000
RULE = CoolDown(failures=3, first_us=30 * SECOND, longest_us=900 * SECOND)


def fail(
    kind: ErrorKind,
    before: TargetHealth = HEALTHY,
    retry_after_us: int | None = None,
    at_us: int = NOW_US,
    sent_us: int | None = None,
    draw: float = 0.0,
) -> TargetHealth:
    return after_failure(
        before,
        kind=kind,
        retry_after_us=retry_after_us,
        sent_us=at_us if sent_us is None else sent_us,
        now_us=at_us,
        rule=RULE,
        draw=draw,
    )


def cooling(rounds: int = 1) -> TargetHealth:
    """A target that has failed three times, and as many probes after it as there are further rounds."""
    health = fail("server", fail("server", fail("server")))
    for _ in range(rounds - 1):
        health = fail("server", health, at_us=health.until_us)
    return health


def test_third_failure_in_a_row_cools_the_target_down() -> None:
    second = fail("server", fail("server"))
    third = fail("server", second)
    assert (second.until_us, third.until_us) == (0, NOW_US + 30 * SECOND)
    assert not is_down(second, NOW_US)
    assert is_down(third, NOW_US + 30 * SECOND - 1)
    assert not is_down(third, NOW_US + 30 * SECOND)


def test_requested_pause_is_kept_at_the_first_failure() -> None:
    assert fail("rate_limit", retry_after_us=7 * SECOND).until_us == NOW_US + 7 * SECOND


@pytest.mark.parametrize("kind", ["auth", "not_found", "quota", "missing_key"])
def test_what_will_not_mend_soon_cools_down_at_once_and_longer(kind: ErrorKind) -> None:
    assert fail(kind).until_us == NOW_US + 300 * SECOND


@pytest.mark.parametrize("kind", ["bad_request", "content_policy", "context_overflow"])
def test_a_bad_request_says_nothing_about_the_target(kind: ErrorKind) -> None:
    assert fail(kind) is HEALTHY
    cool = cooling()
    assert fail(kind, cool) is cool


def test_a_shorter_pause_never_shortens_a_cool_down() -> None:
    cool = fail("auth")
    assert fail("rate_limit", cool, retry_after_us=1).until_us == cool.until_us


def test_cool_downs_double_up_to_their_bound() -> None:
    lengths = [cooling(n).until_us - (cooling(n).since_us or 0) for n in range(1, 9)]
    assert lengths == [seconds * SECOND for seconds in (30, 60, 120, 240, 480, 900, 900, 900)]


def test_bound_never_shortens_what_a_provider_asks_for() -> None:
    assert (
        fail("rate_limit", cooling(9), retry_after_us=5_000 * SECOND, at_us=10**12).until_us == 10**12 + 5_000 * SECOND
    )


def test_draw_only_lengthens_by_a_fifth_and_ten_seconds_at_most() -> None:
    assert fail("rate_limit", retry_after_us=10 * SECOND, draw=1.0).until_us == NOW_US + 12 * SECOND
    assert fail("auth", draw=1.0).until_us == NOW_US + 310 * SECOND


def test_one_request_probes_after_a_cool_down_and_others_keep_away() -> None:
    cool = cooling()
    over = cool.until_us
    assert (is_probe(cool, over - 1), is_probe(cool, over)) == (False, True)
    probed = probing(cool, over + 20 * SECOND)
    assert is_down(probed, over)
    assert not is_probe(probed, over)
    # a probe that nobody hears of again does not keep the target away for ever
    assert is_probe(probed, over + 20 * SECOND)


def test_answer_to_a_probe_ends_the_matter() -> None:
    cool = cooling(3)
    assert after_answer(probing(cool, cool.until_us + SECOND), cool.until_us) is HEALTHY


def test_failed_probe_cools_down_longer_at_once() -> None:
    cool = cooling()
    again = fail("server", probing(cool, cool.until_us + SECOND), at_us=cool.until_us)
    assert (again.until_us - cool.until_us, again.probed_until_us) == (60 * SECOND, 0)


def test_probe_after_a_requested_pause_that_fails_cools_down_though_it_is_only_the_second_failure() -> None:
    asked = fail("rate_limit", retry_after_us=7 * SECOND)
    assert is_down(fail("server", asked, at_us=asked.until_us), asked.until_us)


def test_probe_refused_for_its_content_leaves_the_next_request_to_probe() -> None:
    cool = cooling()
    refused = fail("content_policy", probing(cool, cool.until_us + SECOND), at_us=cool.until_us)
    assert is_probe(refused, cool.until_us)


def test_answer_from_before_the_cool_down_does_not_clear_it() -> None:
    cool = cooling()
    assert after_answer(cool, NOW_US - 1) is cool
    assert after_answer(cool, NOW_US) is HEALTHY


def test_failures_from_before_the_cool_down_do_not_lengthen_it() -> None:
    cool = cooling()
    assert fail("server", cool, at_us=NOW_US + 5 * SECOND, sent_us=NOW_US - 1) is cool
    assert fail("timeout", cool, at_us=NOW_US + 5 * SECOND, sent_us=NOW_US - 1) is cool


def test_pause_requested_of_a_request_from_before_the_cool_down_is_kept() -> None:
    late = fail("rate_limit", cooling(), retry_after_us=90 * SECOND, at_us=NOW_US + SECOND, sent_us=NOW_US - 1)
    assert (late.until_us, late.since_us, late.rounds) == (NOW_US + 91 * SECOND, NOW_US, 1)


def test_answer_between_failures_begins_the_count_anew() -> None:
    assert after_answer(fail("server", fail("server")), NOW_US - SECOND) is HEALTHY
