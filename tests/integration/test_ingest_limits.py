"""Values and sums beyond what columns hold: such lines are set aside, and nothing ever stops the ingest."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from router_core.call_log import folding
from router_core.call_log.home import Home
from router_core.call_log.ingest import Ingester, ingest_once
from router_core.call_log.lookup import OwnLookup
from router_core.call_log.read import reading
from router_core.call_log.reports import spend
from router_core.call_log.verify import prove
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line

LARGEST_NUSD = 10**15
CALLS = 9_400
HUGE: dict[str, dict[str, Any]] = {
    "a call's cost": make_call_line(cost_nusd=2**63 - 1),
    "an attempt's cost": make_attempt_line(cost_nusd=2**62),
    "a reported cost": make_attempt_line(cost_source_nusd=-(2**63)),
    "a cost in text": make_attempt_line(cost_nusd=str(2**62)),
    "tokens": make_attempt_line(input_tokens=2**63 - 1),
    "a duration": make_call_line(latency_ms=1e300),
    "the price of an error": make_call_line(error_cost_nusd=2**63 - 1),
    "the cost of an error": make_outcome_line(error_nusd=2**63 - 1),
    "a label": make_outcome_line(correct=-1e300),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def _rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    with reading(home) as con:
        return con.execute(query).fetchall()


def _write(home: Home, name: str, lines: list[dict[str, Any]]) -> None:
    (home.spool / name).write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def _assert_proven(home: Home) -> None:
    assert {finding.state for finding in prove(home)} == {"ok"}


def test_lines_with_huge_values_are_set_aside_and_the_lines_around_them_are_not(home: Home) -> None:
    poison = [line | {"call_id": f"{name} {n}"} for name, line in HUGE.items() for n in range(2)]
    good = [make_call_line(call_id="g-1"), make_attempt_line(call_id="g-1"), make_outcome_line(call_id="g-1")]
    _write(home, "w-1.jsonl", [*good[:1], *poison, *good[1:]])
    report = ingest_once(home)

    assert (report.quarantined, report.rows) == (2 * len(HUGE), {"calls": 1, "attempts": 1, "outcomes": 1})
    reasons = [reason for (reason,) in _rows(home, "SELECT reason FROM quarantine")]
    assert all(" from " in reason and " to " in reason for reason in reasons), reasons
    assert f"cost_nusd: '{2**63 - 1}' is not a whole number from -{LARGEST_NUSD:,} to {LARGEST_NUSD:,}" in reasons
    _assert_proven(home)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A log in which one hour's calls, attempts and labels sum up to more than 2^63 each."""
    home = Home(tmp_path_factory.mktemp("rich") / "home").create()
    ids = [f"c-{n}" for n in range(CALLS)]
    most = {"cost_nusd": LARGEST_NUSD}
    calls = [make_call_line(call_id=i, error_cost_nusd=LARGEST_NUSD, seq=n, **most) for n, i in enumerate(ids)]
    attempts = [make_attempt_line(call_id=i, attempt_id=f"a-{i}", **most) for i in ids]
    _write(home, "w-1.jsonl", [*calls, *attempts, *(make_outcome_line(call_id=i) for i in ids)])
    report = ingest_once(home)
    assert (report.quarantined, report.rows["calls"]) == (0, CALLS)
    return home


def test_sums_beyond_a_column_are_exact_and_the_ingest_goes_on(rich: Home) -> None:
    assert LARGEST_NUSD * CALLS > 2**63
    for rollup in ("rollup_calls", "rollup_attempts"):
        assert _rows(rich, f"SELECT sum(cost_nusd) FROM {rollup}") == [(LARGEST_NUSD * CALLS,)]
    # what the errors cost in one hour is the one sum that stops at the largest number
    assert _rows(rich, "SELECT n_labelled, impact_nusd FROM rollup_outcomes") == [(CALLS, 2**63 - 1)]
    _assert_proven(rich)
    with reading(rich) as con:
        assert [row.calls for row in spend(con, by="tier")] == [CALLS]


def test_sums_beyond_a_column_are_not_folded_and_can_be_made_anew(rich: Home) -> None:
    ingester = Ingester(rich, now_us=lambda: START_US)
    try:
        before = _rows(rich, "SELECT count(*), sum(cost_nusd) FROM rollup_calls")
        lookup = OwnLookup(lambda: ingester._file.attached(START_US))
        (step,) = folding.plan_folds(lookup, "rollup_calls")
        with ingester._file.attached(START_US) as con:
            folding.fold(con, step)
        assert _rows(rich, "SELECT count(*), sum(cost_nusd) FROM rollup_calls") == before
        ingester.recompute_sums()
    finally:
        ingester.close()
    _assert_proven(rich)
