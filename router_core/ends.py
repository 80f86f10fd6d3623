"""What is told of a call at its end: to whoever catches its error, and to its shadows."""

from collections.abc import Sequence

from router_core.decide.shadow import Served
from router_core.decide.trace import ON_PATH
from router_core.errors import RouteExhaustedError
from router_core.lines import CallFacts, Sent
from router_core.types import AttemptRecord, Role

_UPWARDS: frozenset[Role] = frozenset({"escalate", "correct"})


def ways_taken(records: Sequence[AttemptRecord]) -> tuple[int, int]:
    """Return how many of a call's requests were escalations, and how many fallbacks."""
    escalations = fallbacks = 0
    for made in records:
        if made.role == "fallback":
            fallbacks += 1
        elif made.role in _UPWARDS:
            escalations += 1
    return escalations, fallbacks


def served_how(served: Sent, records: Sequence[AttemptRecord]) -> Served:
    """Return what the rules for shadows ask of a served call."""
    escalations, _ = ways_taken(records)
    # a streamed answer is served even if it turns out invalid
    invalid = any(made.attempt_id == served.attempt_id and made.status == "invalid" for made in records)
    return Served(
        is_accepted=served.step == 0 and not escalations and not invalid,
        answered=frozenset(made.tier for made in records if made.status == "ok" and made.role in ON_PATH),
    )


def exhausted(
    call: CallFacts, reason: str, records: Sequence[AttemptRecord], cost_nusd: int, partial_text: str = ""
) -> RouteExhaustedError:
    """Return the error of a call without an answer; it quotes no answer."""
    tried = "; ".join(f"{made.tier}: {_how(made)}" for made in records) or "nothing was tried"
    count = len(records)
    return RouteExhaustedError(
        f"{call.payload_type}: no answer ({reason}) after {count} attempt{'s' * (count != 1)} [{tried}]",
        call_id=call.call_id,
        attempts=records,
        cost_nusd=cost_nusd,
        partial_text=partial_text,
    )


def _how(record: AttemptRecord) -> str:
    """Return how an attempt ended; the checks' own words are in the error's attempts."""
    failed = [check.name for check in record.checks if check.verdict != "passed"]
    said = record.message or (f"invalid, failed {', '.join(failed)}" if failed else str(record.error_type))
    return said if said.startswith(record.model) else f"{record.model}: {said}"
