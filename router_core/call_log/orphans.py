"""What dead workers left in flight, as rows: attempts of unknown outcome and interrupted calls."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router_core.call_log.lines import Batch
from router_core.call_log.schema import ATTEMPT_COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(slots=True)
class _Sums:
    """What a call's attempts add up to, shadows left out."""

    cost_nusd: int = 0
    attempts: int = 0
    escalations: int = 0
    fallbacks: int = 0

    def add(self, role: str | None, cost_nusd: int | None) -> None:
        """Count one attempt."""
        if role == "shadow":
            return
        self.cost_nusd += cost_nusd or 0
        self.attempts += 1
        self.escalations += role in {"escalate", "correct"}
        self.fallbacks += role == "fallback"


def read_orphans(con: "DuckDBPyConnection", workers: Sequence[str]) -> Batch:
    """Return a batch with the rows that dead workers' open items become; it is empty when they left none.

    An item whose attempt line is there after all (another process wrote it) is left out, and so is such a call.

    Args:
        con: The writer's connection, with the log attached.
        workers: Dead workers whose segments are read to the end.
    """
    batch = Batch(may_repeat=True, settled=tuple(workers))
    open_attempts = con.execute(
        """SELECT facts FROM log.pending_attempts
           WHERE worker IN (SELECT unnest(?)) AND attempt_id NOT IN (SELECT attempt_id FROM log.attempts)""",
        [list(workers)],
    ).fetchall()
    open_calls = con.execute(
        """SELECT call_id, any_value(worker), arg_min(facts, rank) FROM log.pending_calls
           WHERE worker IN (SELECT unnest(?)) AND call_id NOT IN (SELECT call_id FROM log.calls)
           GROUP BY call_id""",
        [list(workers)],
    ).fetchall()
    sums: defaultdict[str, _Sums] = defaultdict(_Sums)
    known = con.execute(
        "SELECT call_id, role, cost_nusd FROM log.attempts WHERE call_id IN (SELECT unnest(?))",
        [[call_id for call_id, _, _ in open_calls]],
    ).fetchall()
    for call_id, role, cost_nusd in known:
        sums[call_id].add(role, cost_nusd)
    for (text,) in open_attempts:
        attempt = _unknown_attempt(json.loads(text))
        sums[attempt["call_id"]].add(attempt.get("role"), attempt["cost_nusd"])
        batch.add_row("attempt", attempt)
    for call_id, worker, text in open_calls:
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
