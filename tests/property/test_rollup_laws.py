"""Rollups equal the raw rows exactly, whatever comes in, in whatever order, over however many commits."""

import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.rollups import bucket_quantile

HOUR_US = 3_600_000_000
START_US = 497_222 * HOUR_US
PRECEDENCE = {"gold": 0, "user": 1, "judge": 2, "transfer": 3}
Line = dict[str, Any]

_instants = st.none() | st.integers(START_US, START_US + 3 * HOUR_US)
_latencies = st.none() | st.floats(0, 1e6).map(lambda value: round(value, 3))
_calls = st.fixed_dictionaries(
    {
        "ts": _instants,
        "source": st.sampled_from(("router", "import")),
        "payload_type": st.sampled_from(("a", "b")),
        "tier_planned": st.sampled_from((None, "cheap")),
        "tier_served": st.sampled_from((None, "cheap", "top")),
        "status": st.sampled_from(("ok", "failed")),
        "degraded": st.sampled_from((None, False, True)),
        "escalations": st.sampled_from((None, 0, 2)),
        "fallbacks": st.sampled_from((None, 0, 3)),
        "cache_hit": st.sampled_from((None, True)),
        "cost_nusd": st.none() | st.integers(0, 10**15),
        "error_cost_nusd": st.sampled_from((None, 4_000)),
        "latency_ms": _latencies,
    }
)
_attempts = st.fixed_dictionaries(
    {
        "started_at": _instants,
        "source": st.sampled_from(("router", "import")),
        "payload_type": st.sampled_from(("a", "b")),
        "tier": st.sampled_from((None, "cheap")),
        "request_model": st.sampled_from(("m", "n")),
        "role": st.sampled_from(("serve", "shadow")),
        "status": st.sampled_from(("ok", "failed")),
        "cost_status": st.sampled_from(("exact", "estimated", "unknown", "unpriced")),
        "cost_nusd": st.none() | st.integers(0, 10**15),
        "input_tokens": st.none() | st.integers(0, 10**6),
        "latency_ms": _latencies,
    }
)
_outcomes = st.fixed_dictionaries(
    {
        "call": st.integers(0, 9),
        "attempt_id": st.sampled_from((None, "served", "other")),
        "received_at": st.none() | st.integers(0, 5),
        "source": st.sampled_from(tuple(PRECEDENCE)),
        "correct": st.sampled_from((0.0, 0.25, 1.0)),
        "error_nusd": st.none() | st.integers(0, 10**9),
    }
)
_logs = st.tuples(
    st.lists(_calls, max_size=10), st.lists(_attempts, max_size=10), st.lists(_outcomes, max_size=10), st.randoms()
)


def _lines(calls: list[Line], attempts: list[Line], outcomes: list[Line]) -> list[Line]:
    def attempt_id(outcome: Line) -> str | None:
        about = outcome["attempt_id"]
        return about and f"c-{outcome['call']}-{about}"

    made = [
        line | {"k": "call", "call_id": f"c-{n}", "served_attempt_id": f"c-{n}-served"} for n, line in enumerate(calls)
    ]
    made += [line | {"k": "attempt", "call_id": f"c-{n}", "attempt_id": f"a-{n}"} for n, line in enumerate(attempts)]
    made += [
        {name: value for name, value in line.items() if name != "call"}
        | {"k": "outcome", "call_id": f"c-{line['call']}", "attempt_id": attempt_id(line)}
        for line in outcomes
    ]
    return made


def _ingest(home: Home, lines: list[Line], cuts: Iterable[int]) -> None:
    """Ingest the lines in several commits; everything is in an import, so no call is ever interrupted."""
    places = [0, *sorted(cuts), len(lines)]
    for number, (first, last) in enumerate(pairwise(places)):
        data = b"".join(orjson.dumps(line) + b"\n" for line in lines[first:last])
        (home.spool / f"import.x-{number}.jsonl").write_bytes(data)
        ingest_once(home)


def _hour(instant: int | None) -> int | None:
    return None if instant is None else instant - instant % HOUR_US


def _sums(rows: Iterable[tuple[Any, ...]], n_keys: int) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Sum rows by their first columns, because a rollup may have several rows per key."""
    sums: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in rows:
        key, values = row[:n_keys], row[n_keys:]
        sums[key] = tuple(a + b for a, b in zip(sums.get(key, (0,) * len(values)), values, strict=True))
    return sums


def _expected_calls(calls: list[Line]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    return _sums(
        (
            (
                *(_hour(call["ts"]), call["source"], call["payload_type"]),
                *(call["tier_planned"], call["tier_served"], call["status"]),
                1,
                call["degraded"] is True,
                (call["escalations"] or 0) > 0,
                call["fallbacks"] or 0,
                call["cache_hit"] is True,
                call["cost_nusd"] or 0,
                call["latency_ms"] is not None,
                round((call["latency_ms"] or 0) * 1000),
            )
            for call in calls
        ),
        6,
    )


def _expected_attempts(attempts: list[Line]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    return _sums(
        (
            (
                *(_hour(attempt["started_at"]), attempt["source"], attempt["payload_type"], attempt["tier"]),
                *(attempt["request_model"], attempt["role"], attempt["status"]),
                1,
                attempt["cost_nusd"] is not None,
                attempt["cost_nusd"] or 0,
                attempt["cost_status"] == "unpriced",
                attempt["cost_status"] == "unknown",
                attempt["cost_status"] == "estimated",
                attempt["input_tokens"] or 0,
                attempt["latency_ms"] is not None,
                round((attempt["latency_ms"] or 0) * 1000),
            )
            for attempt in attempts
        ),
        7,
    )


def _winner(labels: list[tuple[int, Line]]) -> Line:
    """Return the label that counts: best source, then latest (undated last), then the one that came last."""

    def rank(label: tuple[int, Line]) -> tuple[int, float, int]:
        received = label[1]["received_at"]
        return -PRECEDENCE[label[1]["source"]], -math.inf if received is None else received, label[0]

    return max(labels, key=rank)[1]


def _impact(label: Line, error_cost_nusd: int | None) -> int | None:
    if label["error_nusd"] is not None:
        return label["error_nusd"]
    if label["correct"] == 1:
        return 0
    return None if error_cost_nusd is None else round((1 - label["correct"]) * error_cost_nusd)


def _expected_outcomes(lines: list[Line]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    unique: dict[tuple[Any, ...], tuple[int, Line]] = {}
    for place, line in enumerate(lines):
        if line["k"] == "outcome":
            unique.setdefault(tuple(sorted((key, str(value)) for key, value in line.items())), (place, line))
    for call in (line for line in lines if line["k"] == "call" and line["status"] == "ok"):
        labels = [
            (place, line)
            for place, line in unique.values()
            if line["call_id"] == call["call_id"] and line["attempt_id"] in {None, call["served_attempt_id"]}
        ]
        if not labels:
            continue
        label = _winner(labels)
        impact, wrong = _impact(label, call["error_cost_nusd"]), 1 - label["correct"]
        key = (_hour(call["ts"]), call["source"], call["payload_type"], call["tier_served"])
        rows.append((*key, 1, wrong, impact or 0, wrong if impact is None else 0))
    return _sums(rows, 4)


def _by_key(home: Home, query: str, n_keys: int) -> Mapping[tuple[Any, ...], tuple[Any, ...]]:
    with reading(home) as con:
        return _sums(con.execute(query).fetchall(), n_keys)


@settings(max_examples=20, deadline=None)
@given(_logs)
def test_rollups_equal_the_raw_rows(log: tuple[list[Line], list[Line], list[Line], Any]) -> None:
    calls, attempts, outcomes, rng = log
    lines = _lines(calls, attempts, outcomes)
    rng.shuffle(lines)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder)).create()
        _ingest(home, lines, [rng.randint(0, len(lines)) for _ in range(2)])

        assert _by_key(
            home,
            """SELECT epoch_us(hour), source, payload_type, tier_planned, tier_served, status, n, degraded, escalated,
                      fallbacks, cache_hits, cost_nusd, n_latency, latency_us FROM rollup_calls""",
            6,
        ) == _expected_calls(calls)
        assert _by_key(
            home,
            """SELECT epoch_us(hour), source, payload_type, tier, request_model, role, status, n, n_cost, cost_nusd,
                      n_unpriced, n_unknown, n_estimated, input_tokens, n_latency, latency_us FROM rollup_attempts""",
            7,
        ) == _expected_attempts(attempts)
        assert _by_key(
            home,
            """SELECT epoch_us(hour), source, payload_type, tier_served, n_labelled, wrong, impact_nusd, wrong_unpriced
               FROM rollup_outcomes""",
            4,
        ) == _expected_outcomes(lines)
        _assert_quantiles_close(home, calls)


def _assert_quantiles_close(home: Home, calls: list[Line]) -> None:
    exact = sorted(call["latency_ms"] for call in calls if call["latency_ms"] is not None)
    counts: Counter[int] = Counter()
    for bucket, n in _by_key(home, "SELECT bucket, n FROM rollup_latency", 1).items():
        counts[bucket[0]] += n[0]
    assert sum(counts.values()) == len(exact)
    for q in (0.5, 0.95):
        found = bucket_quantile(counts, q)
        if found is not None:
            wanted = exact[max(0, math.ceil(q * len(exact)) - 1)]
            assert math.isclose(found, max(wanted, 0.001), rel_tol=0.025)
