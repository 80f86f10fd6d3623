"""When a failing target is left alone."""

import pytest

from router_core.decide.health import HEALTHY, TargetHealth, after_failure
from router_core.errors import ErrorKind

NOW_US = 1_000_000_000


def fail(kind: ErrorKind, before: TargetHealth = HEALTHY, retry_after_us: int | None = None) -> TargetHealth:
    return after_failure(
        before, kind=kind, retry_after_us=retry_after_us, now_us=NOW_US, failures=3, cooldown_us=30_000_000
    )


def test_third_failure_in_a_row_cools_the_target_down() -> None:
    second = fail("server", fail("server"))
    third = fail("server", second)
    assert (second.until_us, third.until_us) == (0, NOW_US + 30_000_000)


def test_requested_pause_is_kept_at_the_first_failure() -> None:
    assert fail("rate_limit", retry_after_us=7_000_000).until_us == NOW_US + 7_000_000


@pytest.mark.parametrize("kind", ["auth", "not_found", "quota", "missing_key"])
def test_what_will_not_mend_soon_cools_down_at_once_and_longer(kind: ErrorKind) -> None:
    assert fail(kind).until_us == NOW_US + 300_000_000


@pytest.mark.parametrize("kind", ["bad_request", "content_policy", "context_overflow"])
def test_a_bad_request_says_nothing_about_the_target(kind: ErrorKind) -> None:
    assert fail(kind) is HEALTHY


def test_a_shorter_pause_never_shortens_a_cool_down() -> None:
    cooling = fail("auth")
    assert fail("rate_limit", cooling, retry_after_us=1).until_us == cooling.until_us
