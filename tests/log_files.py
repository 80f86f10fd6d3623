"""Small logs with every kind of row: lines as a router writes them, taken in by the real ingester."""

import datetime as dt
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once

TYPES = ("invoice.extract", "ticket.classify", "policy.decide", "report.summarise")
TIERS = ("cheap", "mid", "top")
MODELS = ("openai/gpt-5-nano", "openai/gpt-5-mini", "anthropic/claude-opus-4-5")
PRICES_NUSD = (41_000, 380_123, 9_120_457)
ZONE = ZoneInfo("Europe/Berlin")
END = dt.date(2026, 11, 22)
CONFIG = """\
version: 1
timezone: Europe/Berlin
tiers:
  cheap: [{model: openai/gpt-5-nano}]
  mid: [{model: openai/gpt-5-mini}]
  top: [{model: anthropic/claude-opus-4-5}]
payload_types:
  "*": {path: [cheap, mid, top]}
"""

Line = dict[str, Any]


def write_log(
    home: Home,
    *,
    days: int = 12,
    per_day: int = 96,
    end: dt.date = END,
    types: Sequence[str] = TYPES,
    undated: int = 0,
    demo: bool = False,
    seed: int = 1,
) -> Path:
    """Write a log of ``days`` local days up to ``end`` and return its path; the same arguments give the same rows.

    About every ninth call escalates, every 50th gets no answer, a third are labelled, every 40th has a shadow; the
    limit is hit on the last day but one. ``undated`` calls of a static evaluation have no times.
    """
    home.create()
    home.root.joinpath("routing.yaml").write_text(CONFIG)
    if demo:
        home.demo_marker.write_text(json.dumps({"seed": seed}))
    rng = random.Random(seed)
    first = end - dt.timedelta(days=days - 1)
    midnight = dt.datetime.combine(first, dt.time(), ZONE).timestamp()
    limited = dt.datetime.combine(end - dt.timedelta(days=1), dt.time(), ZONE).timestamp()
    lines: list[Line] = []
    for i in range(days * per_day):
        at_s = midnight + (i + rng.random() * 0.9) * 86_400 / per_day
        hit = limited <= at_s < limited + 86_400 and rng.random() < 0.3
        lines += _call(rng, f"c{i:07}", types[i % len(types)], at_us=int(at_s * 1e6), degraded=hit)
    for i in range(undated):
        lines += _call(rng, f"e{i:07}", types[i % len(types)], at_us=None, degraded=False)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    home.spool.joinpath("import.made-1.jsonl").write_text(text)
    ingest_once(home)
    return home.log


def _call(rng: random.Random, call_id: str, payload_type: str, *, at_us: int | None, degraded: bool) -> Iterator[Line]:
    place = 0 if degraded else rng.choices(range(3), (5, 3, 2))[0]
    answered = rng.random() > 0.02
    escalates = answered and not degraded and rng.random() < 0.11
    last = min(place + escalates, 2)
    source = "router" if at_us is not None else "import"
    latency_ms, cost_nusd = 0.0, 0
    for n, tier in enumerate([place, last] if escalates else [place], start=1):
        attempt = _attempt(rng, call_id, n=n, tier=tier, at_us=at_us)
        status = "failed" if not answered else "invalid" if escalates and n == 1 else "ok"
        latency_ms += attempt["latency_ms"]
        cost_nusd += attempt.get("cost_nusd", 0)
        yield attempt | {"payload_type": payload_type, "source": source, "status": status}
    if rng.random() < 1 / 40:
        shadow = _attempt(rng, call_id, n=9, tier=2, at_us=at_us)
        yield shadow | {"payload_type": payload_type, "source": source, "role": "shadow"}
    served = (
        {"served_attempt_id": f"{call_id}-{1 + escalates}", "tier_served": TIERS[last], "model_served": MODELS[last]}
        if answered
        else {}
    )
    yield {
        "k": "call",
        "call_id": call_id,
        "payload_type": payload_type,
        "tier_planned": TIERS[place],
        "guard_state": "capped" if degraded else "normal",
        "degraded": degraded,
        "escalations": int(escalates),
        "fallbacks": 0,
        "cost_nusd": cost_nusd,
        "attempts": 1 + escalates,
        "critical": False,
        "latency_ms": round(latency_ms, 3),
        "status": "ok" if answered else "failed",
        "source": source,
        "seq": 1,
        **({} if at_us is None else {"ts": at_us}),
        **({} if payload_type == "report.summarise" else {"error_cost_nusd": 250_000_000}),
        **served,
    }
    if answered and rng.random() < 0.33:
        yield _outcome(rng, call_id, at_us)


def _attempt(rng: random.Random, call_id: str, *, n: int, tier: int, at_us: int | None) -> Line:
    latency_ms = round(rng.lognormvariate(6 + tier / 2, 0.6), 3)
    times = {} if at_us is None else {"started_at": at_us, "ended_at": at_us + int(latency_ms * 1000)}
    known = rng.random() > 0.01
    return {
        "k": "attempt",
        "attempt_id": f"{call_id}-{n}",
        "request_id": f"r{call_id}-{n}",
        "call_id": call_id,
        "n": n,
        "role": "serve" if n == 1 else "escalate",
        "tier": TIERS[tier],
        "provider_name": MODELS[tier].split("/")[0],
        "request_model": MODELS[tier],
        "status": "ok",
        "cost_status": "exact" if known else "unknown",
        "latency_ms": latency_ms,
        **({"cost_nusd": PRICES_NUSD[tier] + rng.randrange(100_000)} if known else {}),
        **times,
    }


def _outcome(rng: random.Random, call_id: str, at_us: int | None) -> Line:
    correct = rng.choices((1.0, 0.5, 0.0), (94, 1, 5))[0]
    return {
        "k": "outcome",
        "call_id": call_id,
        "correct": correct,
        "source": "user",
        "label_propensity": 1.0,
        **({"error_nusd": 1_500_000_000} if correct < 1 and rng.random() < 0.3 else {}),
        **({"received_at": at_us + 3_600_000_000} if at_us is not None else {}),
    }
