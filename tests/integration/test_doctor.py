"""What the doctor says of a log: whether it could be made anew, what is wrong with its file, and the way out."""

import datetime as dt
import itertools
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from router_core.call_log.doctor import diagnose
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.kept import list_kept
from router_core.call_log.read import reading
from router_core.call_log.report_text import findings_text
from router_core.call_log.spool import Spool
from tests.builders import START_US
from tests.command_line import Tierwise
from tests.log_files import write_log
from tests.log_processes import fill, write_call


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def spool(home: Home) -> Iterator[Spool]:
    spool = Spool(home.spool, worker="w", rotate_bytes=4_000)
    yield spool
    spool.close()


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Home) -> Tierwise:
    monkeypatch.chdir(home.root.parent)
    monkeypatch.setenv("TIERWISE_HOME", str(home.root))
    return Tierwise(capsys)


def _segments(home: Home) -> tuple[str, str, str]:
    findings = diagnose(home, Path("none.yaml"), START_US / 1e6)
    found = next(finding for finding in findings if finding.name == "segments")
    return found.state, found.text, found.mend


def test_doctor_says_how_far_back_a_log_could_be_made_anew_that_forgot_segments(home: Home, spool: Spool) -> None:
    write_call(spool, "c-0000001")
    spool.close()
    with closing(Spool(home.spool, worker="v")) as later:
        write_call(later, "c-0000002")
    ingest_once(home)
    first, second = list_kept(home.spool)
    first.path.unlink()
    with duckdb.connect(str(home.log)) as con:
        # as a log is that was made before it remembered what it forgot
        con.execute("DELETE FROM ledger WHERE segment = ?", [first.name])
        con.execute("DROP TABLE forgotten_segments")

    os.utime(second.path, (START_US / 1e6 + 5 * 86_400, START_US / 1e6 + 5 * 86_400))
    state, text, mend = _segments(home)

    day = dt.datetime.fromtimestamp(START_US / 1e6, dt.UTC).date()
    assert (state, f"back to {day}" in text, "export" in mend) == ("note", True, True)


def test_a_log_is_whole_though_its_segments_were_written_long_after_its_calls(home: Home, spool: Spool) -> None:
    # a copy of a home, calls on a virtual clock, an export that was brought back
    write_call(spool, "c-0000001")
    spool.close()
    ingest_once(home)
    (kept,) = list_kept(home.spool)
    os.utime(kept.path, (START_US / 1e6 + 5 * 86_400, START_US / 1e6 + 5 * 86_400))
    state, text, _ = _segments(home)

    assert (state, "the whole log could be made anew" in text) == ("ok", True)


def test_doctor_names_who_holds_locks_and_kept_segments_that_the_log_lacks(home: Home, spool: Spool) -> None:
    fill(home, spool)
    ingest_once(home)
    with reading(home) as con:
        offsets = dict(con.execute("SELECT segment, end_offset FROM ledger").fetchall())
    lacking = list_kept(home.spool)[0]
    home.spool.joinpath("done", "gone-1.jsonl").write_bytes(lacking.path.read_bytes())
    findings = {finding.name: finding for finding in diagnose(home, Path("none.yaml"), START_US / 1e6)}

    assert len(offsets) > 3
    assert f"pid {os.getpid()} writes lines" in findings["locks"].text
    assert (findings["segments"].state, findings["segments"].mend) == ("wrong", "tierwise ingest brings them in")


def _date_all_as_their_rows(home: Home) -> None:
    for kept in list_kept(home.spool):
        os.utime(kept.path, (START_US / 1e6 + 60, START_US / 1e6 + 60))


def _remove(home: Home, segment: str) -> None:
    next(kept for kept in list_kept(home.spool) if kept.name == segment).path.unlink()


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_doctor_misses_a_kept_segment_that_was_removed_by_hand(home: Home, spool: Spool, is_forgotten: bool) -> None:
    fill(home, spool)
    spool.close()
    ingest_once(home)
    _date_all_as_their_rows(home)
    whole = _segments(home)
    with reading(home) as con:
        row = con.execute("SELECT sum(lines) FROM ledger WHERE segment IN ('w-1.jsonl', 'other-2.jsonl')").fetchone()
    _remove(home, "w-1.jsonl")
    if is_forgotten:  # by the ledger, and then once more
        ingest_once(home)
    _remove(home, "other-2.jsonl")
    if is_forgotten:
        ingest_once(home)
    state, text, mend = _segments(home)

    assert (whole[0], "the whole log could be made anew" in whole[1]) == ("ok", True)
    assert state == "note"
    said = f"2 others that the log has read are not: {row[0] if row else None} lines; that is in calls.duckdb alone"
    assert said in text
    assert "back calls.duckdb up" in mend
    ingest_once(home, rebuild=True)
    assert _segments(home)[0] == "ok"


def test_doctor_misses_the_segments_of_imports(home: Home) -> None:
    write_log(home, days=1, per_day=4, undated=4)
    _date_all_as_their_rows(home)
    (kept,) = list_kept(home.spool)
    kept.path.unlink()
    removed = _segments(home)
    with duckdb.connect(str(home.log)) as con:
        # as a log is that was made before it remembered what it forgot
        con.execute("DELETE FROM ledger")
        con.execute("DROP TABLE forgotten_segments")
        con.execute("DELETE FROM rollup_calls WHERE source <> 'import'")
    forgotten = _segments(home)

    assert (removed[0], "1 other that the log has read, imports among them, is not" in removed[1]) == ("note", True)
    assert (forgotten[0], "imported rows, of which no segment is kept" in forgotten[1]) == ("note", True)


@pytest.mark.parametrize("how", ["no database", "damaged inside", "empty"])
def test_doctor_reads_all_it_can_beside_a_spoilt_log_and_names_the_way_out(
    home: Home, spool: Spool, tierwise: Tierwise, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # however long the folder's name is, no line is broken
    fill(home, spool)
    ingest_once(home)
    data = bytearray(home.log.read_bytes())
    write_call(spool, "c-later")
    # the blocks behind the three headers
    spoilt = {"no database": b"not a database " * 1000, "damaged inside": data[:12_288] + bytes(len(data) - 12_288)}
    home.log.write_bytes(spoilt.get(how, b""))
    found = tierwise("doctor", "--verify")
    lines = found.out.splitlines()
    by_name = {line[7:22].strip(): (line[:7].strip(), after.strip()) for line, after in itertools.pairwise(lines)}

    assert "\\n" not in found.out
    assert {"disk", "locks", "log", "backlog", "segments"} <= by_name.keys()
    if how == "empty":
        assert by_name["log"] == ("NOTE", "→ tierwise ingest")
    else:
        assert found.code == 1
        assert by_name["log"][0] == by_name["verify"][0] == "WRONG"
        assert "tierwise ingest --rebuild" in by_name["log"][1]
        assert "the log could be made anew from them" in found.out
    assert tierwise("ingest", "--rebuild").code == 0
    assert tierwise("doctor").code == 0


def test_findings_are_broken_into_lines_where_a_terminal_is_narrow(home: Home) -> None:
    home.log.write_bytes(b"not a database " * 1000)
    findings = diagnose(home, Path("none.yaml"), START_US / 1e6)
    narrow, whole = findings_text(findings, 80), findings_text(findings)

    assert max(len(line) for line in narrow.splitlines()) <= 80
    # a path that is longer than a line is cut
    assert "".join(narrow.split()) == "".join(whole.split())
    assert "tierwise ingest --rebuild" in " ".join(narrow.split())


def test_rebuilding_compares_the_rows_and_warns_when_there_are_fewer(
    home: Home, spool: Spool, tierwise: Tierwise
) -> None:
    fill(home, spool)
    spool.close()
    ingest_once(home)
    same = tierwise("ingest", "--rebuild")
    kept = next(kept for kept in list_kept(home.spool) if b'"d-' in kept.path.read_bytes())
    kept.path.unlink()
    fewer = tierwise("ingest", "--rebuild")
    home.log.write_bytes(b"not a database " * 1000)
    unknown = tierwise("ingest", "--rebuild")
    as_json = tierwise("ingest", "--rebuild", "--json").json()

    assert "Rows before: 41 attempts, 21 calls, 0 events, 10 outcomes." in same.out
    assert "Rows now:    41 attempts, 21 calls, 0 events, 10 outcomes." in same.out
    assert "WARNING" not in same.out
    assert "Rows before: 41 attempts, 21 calls" in fewer.out
    assert "fewer than before" in fewer.out
    assert "What it replaced cannot be read" in unknown.out
    assert as_json["rows_before"] == as_json["rows_after"]
    assert as_json["rows_after"]["calls"] < 21
