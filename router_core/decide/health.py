"""Health of targets: when a failing one is left alone, and for how long."""

from dataclasses import dataclass

from router_core.errors import ErrorKind

# what will not mend by itself within a call: the target is left alone at once, ten times as long
_PERSISTENT: frozenset[ErrorKind] = frozenset({"auth", "not_found", "quota", "missing_key"})
# the request's own fault, or a verdict about its content: says nothing about the target
_NOT_THE_TARGET: frozenset[ErrorKind] = frozenset({"bad_request", "content_policy", "context_overflow"})
_PERSISTENT_FACTOR = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHealth:
    """What is known of one target.

    Attributes:
        failures: Consecutive failures.
        until_us: Instant until which it is left alone; 0 = usable.
        reason: Kind of the failure that set it.
    """

    failures: int = 0
    until_us: int = 0
    reason: ErrorKind | None = None


HEALTHY = TargetHealth()


def after_failure(
    health: TargetHealth,
    *,
    kind: ErrorKind,
    retry_after_us: int | None,
    now_us: int,
    failures: int,
    cooldown_us: int,
) -> TargetHealth:
    """Return the health after a failed request.

    Args:
        health: Health before it.
        kind: How it failed.
        retry_after_us: How long the provider asked to wait; honoured at once.
        now_us: When it failed.
        failures: Consecutive failures after which a target cools down.
        cooldown_us: How long it then cools down.
    """
    if kind in _NOT_THE_TARGET:
        return health
    count = health.failures + 1
    until = health.until_us
    if kind in _PERSISTENT:
        until = now_us + cooldown_us * _PERSISTENT_FACTOR
    elif retry_after_us is not None:
        until = now_us + retry_after_us
    elif count >= failures:
        until = now_us + cooldown_us
    return TargetHealth(failures=count, until_us=max(until, health.until_us), reason=kind)
