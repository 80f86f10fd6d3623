"""Ten thousand proposals that are over cost nothing: every question finds what it needs by an index."""

import sqlite3
from contextlib import closing

import pytest

from router_core.control.store import Store
from tests.decisions import ADA, ANALYST, REASON, Place, make_draft
from tests.many_proposals import fill

COUNT = 10_000
GROWING = ("proposals", "proposal_states", "config_history", "config_bytes", "audit", "optimizer_runs")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    filled = Place(tmp_path_factory.mktemp("many"))
    fill(filled, COUNT)
    return filled


def statements_of(place: Place, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every statement of a round of work, with its values."""
    seen: set[str] = set()
    connect = Store._connect

    def traced(store: Store) -> sqlite3.Connection:
        con = connect(store)
        con.set_trace_callback(seen.add)
        return con

    monkeypatch.setattr(Store, "_connect", traced)
    desk = place.desk
    desk.entries(["open"])
    desk.entries()
    desk.entries(["dismissed", "snoozed"], limit=20)
    desk.counts()
    desk.latest_run()
    (proposal,) = place.publish(make_draft())
    desk.claim(proposal, ADA)
    done = place.apply(proposal)
    place.config.write_bytes(place.config.read_bytes() + b"# by hand\n")
    desk.observe()
    desk.undo(done.seq, ADA, REASON, expected_version=desk.head().version)
    desk.rollback(1, ADA, REASON, expected_version=desk.head().version)
    desk.publish([make_draft("x.classify", ("cheap",))], (), ANALYST)
    desk.dismiss(desk.entries(["open"])[0].proposal.proposal_id, ANALYST, REASON)
    desk.audit(limit=20)
    desk.audit(limit=20, who="ada", action="apply")
    desk.history()
    monkeypatch.undo()
    return seen


def test_no_question_reads_a_table_that_grows_from_end_to_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    statements = {text for text in statements_of(place, monkeypatch) if text.lstrip()[:6] in {"SELECT", "UPDATE"}}
    assert len(statements) > 30
    scans: list[tuple[str, str]] = []
    sorts: list[tuple[str, str]] = []
    with closing(sqlite3.connect(place.home.control)) as con:
        for statement in statements:
            for *_, detail in con.execute(f"EXPLAIN QUERY PLAN {statement}"):
                if detail.startswith("SCAN") and detail.split()[1] in GROWING and "ORDER BY" not in statement:
                    scans.append((detail, statement))
                if "TEMP B-TREE" in detail:
                    sorts.append((detail, statement))
    assert scans == []
    assert [each for each in sorts if "DISTINCT" not in each[1]] == []


def test_counts_and_pages_are_right_among_so_many(place: Place) -> None:
    counts = place.desk.counts()
    assert counts["snoozed"] == COUNT // 3
    listed = place.desk.entries(["snoozed"], limit=50, offset=COUNT // 3 - 10)
    assert len(listed) == 10
    assert {entry.state for entry in listed} == {"snoozed"}
    place.now_us += 400 * 86_400_000_000
    assert place.desk.counts()["snoozed"] == 0
    assert place.desk.counts()["expired"] >= 2 * (COUNT // 3)
    place.now_us -= 400 * 86_400_000_000
