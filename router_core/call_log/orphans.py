"""What dead workers left in flight, as rows: attempts of unknown outcome and interrupted calls."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from router_core.call_log.lines import Batch
from router_core.call_log.lookup import Lookup, Question
from router_core.call_log.schema import ATTEMPT_COLUMNS

_ENDED: Final = "SELECT attempt_id FROM log.attempts WHERE attempt_id IN (SELECT unnest(?))"
_CLOSED: Final = "SELECT call_id FROM log.calls WHERE call_id IN (SELECT unnest(?))"
_KNOWN: Final = """
    SELECT call_id, role, CAST(least(coalesce(sum(cost_nusd), 0), 9223372036854775807) AS BIGINT), count(*)
    FROM log.attempts WHERE call_id IN (SELECT unnest(?)) GROUP BY call_id, role"""


@dataclass(slots=True)
class _Sums:
    """What a call's attempts add up to, shadows left out."""

    cost_nusd: int = 0
    attempts: int = 0
    escalations: int = 0
    fallbacks: int = 0

    def add(self, role: str | None, cost_nusd: int | None, attempts: int = 1) -> None:
        """Count attempts of one role."""
        if role == "shadow":
            return
        self.cost_nusd += cost_nusd or 0
        self.attempts += attempts
        self.escalations += attempts * (role in {"escalate", "correct"})
        self.fallbacks += attempts * (role == "fallback")


def read_orphans(lookup: Lookup, workers: Sequence[str]) -> Batch:
    """Return a batch with the rows that dead workers' open items become; it settles nobody when they left none.

    An item whose attempt line is there after all (another process wrote it) is left out, and so is such a call.

    Args:
        lookup: Answers questions about the log.
        workers: Dead workers whose segments are read to the end.
    """
    attempts, calls = lookup.ask(
        Question(
            """SELECT attempt_id, CAST(facts AS VARCHAR) FROM log.pending_attempts
               WHERE worker IN (SELECT unnest(?)) ORDER BY rowid""",
            (workers,),
        ),
        Question(
            """SELECT call_id, any_value(worker), CAST(arg_min(facts, rank) AS VARCHAR) FROM log.pending_calls
               WHERE worker IN (SELECT unnest(?)) GROUP BY call_id ORDER BY min(rowid)""",
            (workers,),
        ),
    )
    if not attempts and not calls:
        return Batch()
    batch = Batch(may_repeat=True, settled=tuple(workers))
    ended, closed, known = lookup.ask(
        Question(_ENDED, ([attempt_id for attempt_id, _ in attempts],)),
        Question(_CLOSED, ([call_id for call_id, _, _ in calls],)),
        Question(_KNOWN, ([call_id for call_id, _, _ in calls],)),
    )
    sums: defaultdict[str, _Sums] = defaultdict(_Sums)
    for call_id, role, cost_nusd, count in known:
        sums[call_id].add(role, cost_nusd, count)
    are_ended = {attempt_id for (attempt_id,) in ended}
    for attempt_id, text in attempts:
        if attempt_id not in are_ended:
            attempt = _unknown_attempt(json.loads(text))
            sums[attempt["call_id"]].add(attempt.get("role"), attempt["cost_nusd"])
            batch.add_row("attempt", attempt)
    are_closed = {call_id for (call_id,) in closed}
    for call_id, worker, text in calls:
        if call_id not in are_closed:
            batch.add_row("call", _interrupted_call(call_id, worker, json.loads(text), sums[call_id]))
    return batch


def _unknown_attempt(facts: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: facts[name] for name in ATTEMPT_COLUMNS if name in facts}
    return {"source": "router", **known} | {
        "status": "unknown",
        "cost_status": "unknown",
        "cost_nusd": facts.get("reserved_nusd"),
    }


def _interrupted_call(call_id: str, worker: str, facts: Mapping[str, Any], sums: _Sums) -> dict[str, Any]:
    return {"source": "router", **facts} | {
        "call_id": call_id,
        "worker": worker,
        "status": "interrupted",
        "cost_nusd": sums.cost_nusd,
        "attempts": sums.attempts,
        "escalations": sums.escalations,
        "fallbacks": sums.fallbacks,
    }
