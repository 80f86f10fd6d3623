"""A log that was deleted, spoilt or replaced is made anew from the segments that are kept, and its sums are proven."""

import gzip
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from router_core.backends.simulated import SimulatedBackend
from router_core.call_log.access import LogBusyError, elected
from router_core.call_log.archive import Archive
from router_core.call_log.home import Home
from router_core.call_log.ingest import Ingester, ingest_once
from router_core.call_log.kept import list_kept
from router_core.call_log.read import reading
from router_core.call_log.segments import list_segments
from router_core.call_log.spool import Spool
from router_core.call_log.verify import differing_calls, missing_numbers, prove, verify
from router_core.errors import ConfigError
from router_core.router import Router
from tests.builders import (
    START_US,
    make_attempt_line,
    make_call_line,
    make_config_bytes,
    make_outcome_line,
    make_started_line,
)
from tests.command_line import Tierwise
from tests.log_files import write_log
from tests.log_processes import fill, write_call
from tests.timing import wait_until

NOW_US = START_US + 86_400_000_000
HOUR_US = 3_600_000_000
DUMP = "SELECT * FROM (FROM calls) UNION ALL BY NAME FROM attempts UNION ALL BY NAME FROM outcomes ORDER BY ALL"
SUMS = """SELECT * FROM (SELECT hour, source, payload_type, status, sum(n) AS n FROM rollup_calls GROUP BY ALL)
    UNION ALL BY NAME FROM rollup_outcomes ORDER BY ALL"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def spool(home: Home) -> Iterator[Spool]:
    spool = Spool(home.spool, worker="w", rotate_bytes=4_000)
    yield spool
    spool.close()


def _rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    with reading(home) as con:
        return con.execute(query).fetchall()


def test_segments_that_are_full_and_read_are_put_away_while_their_writer_lives(home: Home, spool: Spool) -> None:
    for n in range(10):
        write_call(spool, f"c-{n:07}")
    ingest_once(home)

    (left,) = list_segments(home.spool)
    assert [kept.number for kept in list_kept(home.spool)] == list(range(1, left.number))
    assert _rows(home, "SELECT count(*), count(DISTINCT call_id) FROM calls") == [(10, 10)]


@pytest.mark.parametrize("is_compressed", [False, True])
def test_deleted_log_comes_back_as_it_was(home: Home, spool: Spool, is_compressed: bool) -> None:
    fill(home, spool)
    ingest_once(home)
    before, sums = _rows(home, DUMP), _rows(home, SUMS)
    if is_compressed:
        _compress_all(home)
    home.log.unlink()
    report = ingest_once(home)

    assert (_rows(home, DUMP), _rows(home, SUMS)) == (before, sums)
    assert report.quarantined == 0
    assert len(before) == 72
    ingest_once(home)
    assert _rows(home, DUMP) == before


def _compress_all(home: Home) -> None:
    with reading(home) as con:
        offsets = dict(con.execute("SELECT segment, end_offset FROM ledger").fetchall())
    for kept in list_kept(home.spool):
        os.utime(kept.path, (0, 0))
    Archive(home, None).tidy(offsets, NOW_US / 1e6)
    assert {kept.is_compressed for kept in list_kept(home.spool)} == {True}


def test_log_comes_back_in_parts_when_much_is_kept(home: Home, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(home, spool)
    ingest_once(home)
    before = _rows(home, DUMP)
    monkeypatch.setattr("router_core.call_log.archive._BRING_BACK_BYTES_AT_ONCE", 1)
    home.log.unlink()
    ingest_once(home)

    assert _rows(home, DUMP) == before


def test_log_deleted_under_a_running_ingester_comes_back_although_nothing_new_is_written(
    home: Home, spool: Spool
) -> None:
    fill(home, spool)
    ingester = Ingester(home, now_us=lambda: NOW_US)
    ingester.tick()
    before = _rows(home, DUMP)
    home.log.unlink()
    ingester.tick()
    ingester.close()

    assert _rows(home, DUMP) == before


def test_backup_put_in_place_of_the_log_is_brought_up_to_date(home: Home, spool: Spool) -> None:
    write_call(spool, "c-0000001")
    ingester = Ingester(home, now_us=lambda: NOW_US)
    ingester.tick()
    backup = home.root / "backup"
    backup.write_bytes(home.log.read_bytes())
    fill(home, spool)
    spool.close()
    ingester.tick()
    before = _rows(home, DUMP)
    backup.rename(home.log)
    ingester.tick()
    ingester.close()

    assert _rows(home, DUMP) == before


def test_spoilt_log_is_set_aside_and_made_anew(home: Home, spool: Spool) -> None:
    fill(home, spool)
    ingest_once(home)
    before = _rows(home, DUMP)
    home.log.write_bytes(b"not a database " * 1000)
    with pytest.raises(ConfigError, match="tierwise ingest --rebuild"):
        ingest_once(home)
    report = ingest_once(home, rebuild=True)

    assert _rows(home, DUMP) == before
    assert report.replaced is not None
    assert Path(report.replaced).read_bytes().startswith(b"not a database")


@pytest.mark.parametrize(("rebuild", "sums"), [(True, False), (False, True)])
def test_log_that_another_process_writes_is_not_made_anew_beside_it(home: Home, rebuild: bool, sums: bool) -> None:
    ingest_once(home)
    with elected(home), pytest.raises(LogBusyError, match="stop it first"):
        ingest_once(home, rebuild=rebuild, sums=sums)


def test_old_segments_are_removed_only_when_the_log_has_them(home: Home, spool: Spool) -> None:
    write_call(spool, "c-0000001")
    spool.close()
    ingest_once(home)
    (kept,) = list_kept(home.spool)
    os.utime(kept.path, (0, 0))
    home.log.unlink()
    first = Archive(home, 1).tidy({}, NOW_US / 1e6)
    ingest_once(home, keep_days=1)

    assert first == set()
    assert list_kept(home.spool) == []
    assert _rows(home, "SELECT call_id FROM calls") == [("c-0000001",)]


def test_imported_segments_outlast_all_others(home: Home, spool: Spool) -> None:
    write_call(spool, "c-0000001")
    spool.close()
    (home.spool / "import.x-1.jsonl").write_bytes(orjson.dumps(make_call_line(call_id="i", source="import")) + b"\n")
    ingest_once(home)
    for kept in list_kept(home.spool):
        os.utime(kept.path, (0, 0))
    home.log.unlink()
    ingest_once(home, keep_days=1)

    assert [kept.name for kept in list_kept(home.spool)] == ["import.x-1.jsonl"]


def test_command_makes_a_log_anew_whose_file_was_removed(home: Home, spool: Spool, tierwise: Tierwise) -> None:
    write_call(spool, "c-0000001")
    spool.close()
    ingest_once(home)
    home.log.unlink()

    assert "c-0000001" in tierwise("calls").out
    assert stat.S_IMODE(home.log.stat().st_mode) == 0o600


def test_compressed_segments_keep_their_time_their_bytes_and_their_privacy(home: Home, spool: Spool) -> None:
    write_call(spool, "c-0000001")
    spool.close()
    ingest_once(home)
    (kept,) = list_kept(home.spool)
    data = kept.path.read_bytes()
    _compress_all(home)
    (packed,) = list_kept(home.spool)

    assert gzip.decompress(packed.path.read_bytes()) == data
    assert (packed.name, packed.written_s) == (kept.name, 0.0)
    assert stat.S_IMODE(packed.path.stat().st_mode) == 0o600
    assert packed.disk_bytes < len(data) / 3


def test_compression_that_was_killed_leaves_the_segment_whole(home: Home, spool: Spool) -> None:
    write_call(spool, "c-0000001")
    spool.close()
    ingest_once(home)
    (kept,) = list_kept(home.spool)
    kept.path.with_name(kept.name + ".gz").write_bytes(b"half")
    kept.path.with_name(f".{kept.name}.gz").write_bytes(b"half")

    assert list_kept(home.spool) == [kept]


# --- sums


@pytest.fixture
def filled(tmp_path: Path) -> Home:
    home = Home(tmp_path / "filled")
    write_log(home, days=16, per_day=24, undated=20)
    return home


@pytest.fixture(scope="module")
def _few_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("few") / "home"
    write_log(Home(root), days=9, per_day=4, undated=4)
    return root


@pytest.fixture
def few(_few_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(_few_once, tmp_path / "few")


def test_sums_are_proven_against_the_rows(filled: Home) -> None:
    seen: list[tuple[int, int]] = []
    found = verify(filled, lambda done, total: seen.append((done, total)))

    assert {result.rollup: result.differing for result in found} == dict.fromkeys(
        ("rollup_calls", "rollup_attempts", "rollup_latency", "rollup_outcomes"), 0
    )
    assert [result.rows for result in found[:1]] == [16 * 24 + 20]
    assert all(result.sums > 100 for result in found)
    assert seen == [(n, len(seen)) for n in range(1, len(seen) + 1)]
    assert {finding.state for finding in prove(filled)} == {"ok"}


@pytest.mark.parametrize(
    ("spoil", "rollup"),
    [
        ("UPDATE rollup_calls SET n = n + 1 WHERE rowid = 7", "rollup_calls"),
        ("DELETE FROM rollup_attempts WHERE rowid = 7", "rollup_attempts"),
        ("INSERT INTO rollup_latency SELECT * FROM rollup_latency WHERE rowid = 7", "rollup_latency"),
        ("UPDATE rollup_outcomes SET impact_nusd = impact_nusd - 1 WHERE rowid = 7", "rollup_outcomes"),
        ("UPDATE calls SET cost_nusd = coalesce(cost_nusd, 0) + 1 WHERE rowid = 7", "rollup_calls"),
    ],
)
def test_sums_that_are_wrong_are_found_and_computed_anew(filled: Home, spoil: str, rollup: str) -> None:
    with duckdb.connect(str(filled.log)) as con:
        con.execute(spoil)
    found = [result.rollup for result in verify(filled) if result.differing]
    said = [finding for finding in prove(filled) if finding.state == "wrong" and finding.name != "calls"]
    ingest_once(filled, sums=True)

    assert found == [rollup]
    assert [finding.mend for finding in said] == ["tierwise ingest --sums computes them anew"]
    assert [result.rollup for result in verify(filled) if result.differing] == []


def test_costs_that_do_not_follow_from_their_tokens_are_found(filled: Home) -> None:
    priced = {"input_tokens": 500_000, "output_tokens": 100_000, "price_in": 2_000_000_000, "price_out": 1_000_000_000}
    lines = [
        make_attempt_line(attempt_id=f"odd-{n}", request_id=f"r-{n}", cost_nusd=1_100_000_000 + n, **priced)
        for n in range(8)
    ]
    spool = Spool(filled.spool, worker="odd")
    spool.write(*lines)
    spool.close()
    ingest_once(filled)
    (said,) = [finding for finding in prove(filled) if finding.state == "wrong"]

    assert said.name == "receipts"
    assert said.text == "7 requests cost something else than their tokens and prices say: r-7, r-6, r-5, r-4, r-3, ..."
    assert "tierwise calls ID" in said.mend


@pytest.mark.parametrize(
    ("spoil", "is_found"),
    [
        ("UPDATE calls SET cost_nusd = cost_nusd + 1", True),
        ("UPDATE calls SET cost_nusd = NULL", True),
        ("UPDATE calls SET attempts = attempts + 1", True),
        ("DELETE FROM attempts", True),
        ("UPDATE calls SET status = 'interrupted', cost_nusd = 5", False),
        ("UPDATE calls SET source = 'import', cost_nusd = 5", False),
        ("UPDATE attempts SET started_at = started_at + INTERVAL 9 DAY", False),
        ("UPDATE attempts SET started_at = NULL", False),
        ("INSERT INTO attempts SELECT * REPLACE ('shadow' AS role) FROM attempts", False),
    ],
)
def test_calls_that_are_not_the_sum_of_their_attempts_are_found(few: Path, spoil: str, is_found: bool) -> None:
    home = Home(few)
    with duckdb.connect(str(home.log)) as con:
        con.execute(f"{spoil} WHERE call_id = 'c0000007'")
    found = differing_calls(home)

    assert found == (["c0000007"] if is_found else [])


def test_doctor_names_calls_that_are_not_the_sum_of_their_attempts(filled: Home) -> None:
    with duckdb.connect(str(filled.log)) as con:
        con.execute("UPDATE calls SET cost_nusd = cost_nusd + 1, attempts = 0 WHERE call_id = 'c0000007'")
    (said,) = [finding for finding in prove(filled) if finding.name == "calls"]

    assert said.state == "wrong"
    assert said.text == "1 call says something else than its attempts add up to: c0000007"


def test_missing_numbers_are_counted(home: Home, spool: Spool) -> None:
    for seq in (1, 2, 5):
        spool.write(make_call_line(call_id=f"c-{seq}", seq=seq, worker="w"), make_attempt_line(attempt_id=f"a-{seq}"))
    ingest_once(home)

    assert missing_numbers(home) == 2


def test_days_are_right_and_nothing_is_lost_when_clocks_are_hours_apart(home: Home) -> None:
    """Lines are taken in the order of their writing, whatever their writers' clocks say."""
    skews = (-5 * HOUR_US, 0, 7 * HOUR_US)
    spools = [Spool(home.spool, worker=f"w{n}") for n in range(len(skews))]
    for n in range(50):
        for place, spool in enumerate(spools):
            at = START_US + skews[place] + n * HOUR_US // 2
            ids = {"call_id": f"c-{place}-{n}", "attempt_id": f"a-{place}-{n}"}
            spool.write(make_started_line(ids, at=at))
            spool.write(make_attempt_line(**ids, started_at=at), make_call_line(call_id=ids["call_id"], ts=at))
            spool.write(make_outcome_line(call_id=ids["call_id"], received_at=at - 3 * HOUR_US))
    for spool in spools:
        spool.close()
    ingest_once(home, as_of_us=START_US - 86_400_000_000)

    assert _rows(home, "SELECT count(*), count(DISTINCT call_id), count(*) FILTER (status = 'ok') FROM calls") == [
        (150, 150, 150)
    ]
    by_day = "SELECT date_trunc('day', {}) AS day, count(*) FROM {} GROUP BY 1 ORDER BY 1"
    summed = "SELECT date_trunc('day', hour) AS day, sum(n) FROM rollup_calls GROUP BY 1 ORDER BY 1"
    assert _rows(home, by_day.format("ts", "calls")) == _rows(home, summed)
    assert {result.differing for result in verify(home)} == {0}


# --- as typed


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Home) -> Tierwise:
    monkeypatch.chdir(home.root.parent)
    monkeypatch.setenv("TIERWISE_HOME", str(home.root))
    return Tierwise(capsys)


def test_commands_rebuild_verify_and_mend_a_log(tierwise: Tierwise, home: Home, spool: Spool) -> None:
    fill(home, spool)
    spool.close()
    ingest_once(home)
    with duckdb.connect(str(home.log)) as con:
        con.execute("UPDATE rollup_calls SET n = n + 1")
    found = tierwise("doctor", "--verify")
    mended = tierwise("ingest", "--sums")
    after = tierwise("doctor", "--verify", "--json")
    rebuilt = tierwise("ingest", "--rebuild")
    as_json = tierwise("ingest", "--rebuild", "--json").json()

    assert (found.code, "tierwise ingest --sums" in found.out) == (1, True)
    assert (mended.code, after.code, rebuilt.code) == (0, 0, 0)
    assert {row["state"] for row in after.json() if row["name"].startswith("rollup")} == {"ok"}
    assert "The log was made anew; what it replaced is kept as" in rebuilt.out
    assert as_json["rows"] == {"attempts": 41, "calls": 21, "outcomes": 10}
    assert Path(as_json["replaced"]).is_file()


def test_segments_are_removed_only_when_that_is_asked_for(
    tierwise: Tierwise, home: Home, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_call(spool, "c-0000001")
    spool.close()
    tierwise("ingest")
    (kept,) = list_kept(home.spool)
    os.utime(kept.path, (0, 0))
    tierwise("ingest")
    still_there = len(list_kept(home.spool))
    monkeypatch.setenv("TIERWISE_KEEP_DAYS", "365")
    tierwise("ingest")

    assert (still_there, list_kept(home.spool)) == (1, [])


def test_commands_and_routers_refuse_a_network_file_system_unless_they_may(
    tierwise: Tierwise, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router_core.call_log.filesystems.filesystem_of", lambda *_: "nfs4")
    config = home.root.parent / "routing.yaml"
    config.write_bytes(make_config_bytes())
    refused = tierwise("ingest")
    with pytest.raises(ConfigError, match="network file system"):
        Router.open(config, home=home.root, backend=SimulatedBackend())
    monkeypatch.setenv("TIERWISE_ALLOW_NETWORK_HOME", "1")
    allowed = tierwise("ingest")
    Router.open(config, home=home.root, backend=SimulatedBackend()).close()

    assert (refused.code, "TIERWISE_ALLOW_NETWORK_HOME=1" in refused.err) == (2, True)
    assert allowed.code == 0


def test_router_writes_as_durably_as_its_config_says_also_after_an_edit(home: Home, tmp_path: Path) -> None:
    config = tmp_path / "routing.yaml"
    config.write_bytes(make_config_bytes(log={"durability": "fsync"}))
    router = Router.open(config, home=home.root, backend=SimulatedBackend())
    at_first = router._spool._syncs_each
    config.write_bytes(make_config_bytes(log={"durability": "fast"}))

    def is_fast() -> bool:
        router.complete("invoice.extract", messages=[{"role": "user", "content": "x"}])
        return not router._spool._syncs_each

    wait_until(is_fast, "the router follows its config")
    router.close()

    assert (at_first, router._spool._syncs_each) == (True, False)
