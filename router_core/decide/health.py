"""Health of targets: when a failing one is left alone, for how long, and who may ask it first again.

A target cools down after failures in a row, or at once when its provider asks for a pause or will not mend by itself.
When that time is over, one request probes it while all others still keep away; its answer ends the matter, its failure
begins a longer cool-down. Instants are of one clock that never goes back.
"""

from dataclasses import dataclass, replace
from typing import Final

from router_core.errors import ErrorKind

# what will not mend by itself within a call: the target is left alone at once, ten times as long
_PERSISTENT: Final[frozenset[ErrorKind]] = frozenset({"auth", "not_found", "quota", "missing_key"})
# the request's own fault, or a verdict about its content: says nothing about the target
_NOT_THE_TARGET: Final[frozenset[ErrorKind]] = frozenset({"bad_request", "content_policy", "context_overflow"})
_PERSISTENT_FACTOR: Final = 10
# processes that saw the same outage do not all come back in the same moment
_SPREAD: Final = 0.2
_LONGEST_SPREAD_US: Final = 10_000_000
# 2 to the power of more than this is beyond every bound
_MOST_DOUBLINGS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolDown:
    """When targets cool down, and for how long.

    Attributes:
        failures: Failures in a row after which a target is left alone.
        first_us: For how long, the first time; twice as long each further time without an answer in between.
        longest_us: For how long at most, unless the provider itself asks for more.
    """

    failures: int = 3
    first_us: int = 30_000_000
    longest_us: int = 900_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHealth:
    """What is known of one target.

    Attributes:
        failures: Failures in a row.
        since_us: Instant at which its present cool-down began; it lasts, as a matter, until an answer. None = none.
        until_us: Instant until which nobody asks it.
        probed_until_us: Instant until which the answer of a probe is waited for; 0 = nobody probes.
        rounds: Cool-downs since the last answer.
        reason: Kind of the failure that set it.
    """

    failures: int = 0
    since_us: int | None = None
    until_us: int = 0
    probed_until_us: int = 0
    rounds: int = 0
    reason: ErrorKind | None = None


HEALTHY: Final = TargetHealth()


def is_down(health: TargetHealth, now_us: int) -> bool:
    """Return whether a target is left alone: it cools down, or another request is just probing it."""
    return health.since_us is not None and (health.until_us > now_us or health.probed_until_us > now_us)


def is_probe(health: TargetHealth, now_us: int) -> bool:
    """Return whether the next request to a target would be its probe."""
    return health.since_us is not None and not is_down(health, now_us)


def probing(health: TargetHealth, until_us: int) -> TargetHealth:
    """Return the health while a probe is on its way; what it finds is waited for until ``until_us``."""
    return replace(health, probed_until_us=until_us)


def after_answer(health: TargetHealth, sent_us: int) -> TargetHealth:
    """Return the health after an answer to a request that was sent at ``sent_us``.

    An answer to a request from before the present cool-down tells of an older day.
    """
    return health if health.since_us is not None and sent_us < health.since_us else HEALTHY


def after_failure(
    health: TargetHealth,
    *,
    kind: ErrorKind,
    retry_after_us: int | None,
    sent_us: int,
    now_us: int,
    rule: CoolDown,
    draw: float,
) -> TargetHealth:
    """Return the health after a failed request.

    Args:
        health: Health before it.
        kind: How it failed.
        retry_after_us: How long the provider asked to wait; honoured at once, and never shortened.
        sent_us: When it was sent.
        now_us: When it failed.
        rule: When targets cool down, and for how long.
        draw: Uniform 0..1: how much longer than asked or set, by a fifth at most.
    """
    if kind in _NOT_THE_TARGET:
        return replace(health, probed_until_us=0) if health.probed_until_us else health
    # many were on their way when the cool-down began: they tell nothing new, but a provider's wish is a wish
    is_late = health.since_us is not None and sent_us < health.since_us
    if is_late and retry_after_us is None:
        return health
    failures = health.failures + (not is_late)
    cooling_us = _length_us(HEALTHY if is_late else health, kind, retry_after_us, failures, rule)
    if cooling_us is None:
        return replace(health, failures=failures, reason=kind)
    cooling_us += round(draw * min(cooling_us * _SPREAD, _LONGEST_SPREAD_US))
    return TargetHealth(
        failures=failures,
        since_us=health.since_us if is_late else now_us,
        until_us=max(now_us + cooling_us, health.until_us),
        rounds=health.rounds + (not is_late),
        reason=kind,
    )


def _length_us(
    health: TargetHealth, kind: ErrorKind, retry_after_us: int | None, failures: int, rule: CoolDown
) -> int | None:
    """Return how long a target cools down, None = not at all; each time without an answer in between twice as long."""
    asked = retry_after_us or 0
    if kind in _PERSISTENT:
        length = max(rule.first_us * _PERSISTENT_FACTOR, asked)
    elif asked:
        length = asked
    elif failures >= rule.failures or health.since_us is not None:
        length = rule.first_us
    else:
        return None
    return min(length * 2 ** min(health.rounds, _MOST_DOUBLINGS), max(length, rule.longest_us))
