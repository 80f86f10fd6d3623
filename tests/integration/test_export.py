"""The log as files: what is in them, that they come back as the same rows, and that nothing is overwritten."""

import csv
import datetime as dt
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from router_core.call_log.export import ExportPlan, ExportReport, FileFormat, export_log
from router_core.call_log.home import Home
from router_core.call_log.importers.own import import_export
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import NoLogError, reading
from router_core.call_log.spool import Spool
from router_core.errors import ConfigError
from tests.builders import START_US, make_attempt_line, make_call_line, make_outcome_line
from tests.log_files import write_log
from tests.log_sources import catch_up, fetch

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
NOW_US = int(NOW.timestamp() * 1e6)
TABLES = ("attempts", "calls", "outcomes")
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("log") / "home")
    write_log(made, days=4, undated=30)
    return made


def export(home: Home, folder: Path, **plan: Any) -> ExportReport:
    return export_log(home, folder, ExportPlan(**plan), now=NOW)


def rows_of(home: Home, table: str) -> list[tuple[Any, ...]]:
    return fetch(home, f"SELECT * FROM {table} ORDER BY ALL")


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_export_comes_back_as_the_same_rows(home: Home, tmp_path: Path, file_format: FileFormat) -> None:
    report = export(home, tmp_path / "out", file_format=file_format, zone="Europe/Berlin")
    copy = Home(tmp_path / "copy")
    brought = import_export(copy, tmp_path / "out", now_us=NOW_US, catch_up=catch_up)
    catch_up(copy)
    assert brought.rows_new == report.rows
    for table in TABLES:
        assert rows_of(copy, table) == rows_of(home, table)
    assert fetch(copy, "SELECT count(*) FROM quarantine") == [(0,)]


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_export_is_for_its_owner_alone(home: Home, tmp_path: Path, file_format: FileFormat) -> None:
    tmp_path.joinpath("out").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        export(home, tmp_path / "out", file_format=file_format)
    finally:
        os.umask(before)
    written = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in written}

    assert modes == {(True, 0o700), (False, 0o600)}


def test_export_brought_back_twice_or_home_again_changes_nothing(home: Home, tmp_path: Path) -> None:
    export(home, tmp_path / "out")
    copy = Home(tmp_path / "copy")
    for turn, target in enumerate((copy, copy, home)):
        report = import_export(target, tmp_path / "out", now_us=NOW_US + turn, catch_up=catch_up)
        catch_up(target)
        assert report.changed is (turn == 0)


def test_odd_texts_come_back_from_csv_and_no_cell_begins_as_a_formula(tmp_path: Path) -> None:
    texts = [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "'quoted",
        "''",
        "\tx",
        "\rx",
        'a"b',
        "a\nb",
        "a,b",
        "",
        " x ",
        "null",
        "é\u202e",
    ]
    home = Home(tmp_path / "home").create()
    spool = Spool(home.spool)
    for n, text in enumerate(texts):
        ids = {"attempt_id": f"a{n}", "call_id": f"c{n}", "payload_type": text, "run": text}
        spool.write(make_attempt_line(**ids, extra={"note": text}, checks=[{"name": text}]))
        spool.write(make_call_line(call_id=f"c{n}", payload_type=text, run=text, tags={"k": text}))
    spool.close()
    ingest_once(home)
    export(home, tmp_path / "out", file_format="csv")
    cells = [cell for row in _csv_rows(tmp_path / "out") for cell in row]
    assert [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "\t", "\r"}] == []
    copy = Home(tmp_path / "copy")
    import_export(copy, tmp_path / "out", now_us=NOW_US, catch_up=catch_up)
    catch_up(copy)
    for table in TABLES:
        assert rows_of(copy, table) == rows_of(home, table)


def _csv_rows(folder: Path) -> Iterator[list[str]]:
    for path in folder.rglob("*.csv"):
        with path.open(newline="") as stream:
            yield from csv.reader(stream)


def test_days_are_those_of_the_zone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    spool = Spool(home.spool)
    midnight = START_US // (24 * HOUR_US) * 24 * HOUR_US
    for n, hour in enumerate((-3, -1, 0, 1)):
        spool.write(make_attempt_line(attempt_id=f"a{n}", call_id=f"c{n}", started_at=midnight + hour * HOUR_US))
    spool.close()
    ingest_once(home)
    day = dt.datetime.fromtimestamp(midnight / 1e6, dt.UTC).date()
    before = day - dt.timedelta(days=1)
    for zone, counts in {"UTC": [(before, 2), (day, 2)], "Europe/Berlin": [(before, 1), (day, 3)]}.items():
        report = export(home, tmp_path / zone.replace("/", "-"), zone=zone)
        found = [(dt.date.fromisoformat(file.day or ""), file.rows) for file in report.files["attempts"]]
        assert found == counts


def test_any_engine_finds_the_days_in_the_folders_names(home: Home, tmp_path: Path) -> None:
    export(home, tmp_path / "out", zone="Europe/Berlin")
    with duckdb.connect() as con:
        found = con.execute(
            f"""SELECT day, count(*) FROM read_parquet('{tmp_path}/out/calls/*/*.parquet', hive_partitioning = true)
                GROUP BY 1 ORDER BY 1 NULLS LAST"""
        ).fetchall()
    wanted = "strftime(timezone('Europe/Berlin', timezone('UTC', ts)), '%Y-%m-%d')"
    days = fetch(home, f"SELECT CAST({wanted} AS DATE), count(*) FROM calls GROUP BY 1 ORDER BY 1 NULLS LAST")
    assert found == days
    assert found[-1] == (None, 30)


def test_window_holds_whole_calls_and_their_outcomes(home: Home, tmp_path: Path) -> None:
    since = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    until = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
    report = export(home, tmp_path / "out", since=since, until=until)
    inside = "ts >= '2026-11-20' AND ts < '2026-11-21'"
    calls = fetch(home, f"SELECT count(*) FROM calls WHERE {inside}")
    outcomes = fetch(home, f"SELECT count(*) FROM outcomes JOIN calls USING (call_id) WHERE {inside}")
    assert [(report.rows["calls"],), (report.rows["outcomes"],)] == [*calls, *outcomes]


def test_unmatched_outcomes_lie_with_the_day_they_came_in(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    spool = Spool(home.spool)
    spool.write(make_outcome_line(call_id="nobody"))
    spool.close()
    ingest_once(home)
    report = export(home, tmp_path / "out")
    assert [(file.day is not None, file.rows) for file in report.files["outcomes"]] == [(True, 1)]


def test_only_the_tables_that_are_asked_for_are_written(home: Home, tmp_path: Path) -> None:
    export(home, tmp_path / "out", tables=("calls",))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["calls", "manifest.json"]


def test_manifest_says_what_is_there(home: Home, tmp_path: Path) -> None:
    report = export(home, tmp_path / "out", zone="Europe/Berlin")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["format"], manifest["zone"], manifest["data"]["schema_version"] > 0) == (
        "tierwise-export", "Europe/Berlin", True,
    )  # fmt: skip
    assert {table: facts["rows"] for table, facts in manifest["tables"].items()} == report.rows
    listed = {file["path"] for facts in manifest["tables"].values() for file in facts["files"]}
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.parquet")}
    assert listed == there


@pytest.mark.parametrize("there", ["a file", "a folder with something in it"])
def test_nothing_is_overwritten(home: Home, tmp_path: Path, there: str) -> None:
    target = tmp_path / "out"
    if there == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="never overwritten"):
        export(home, target)
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_empty_folder_may_be_filled(home: Home, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(home, tmp_path / "out").bytes > 0


def test_failed_export_leaves_nothing(home: Home, tmp_path: Path) -> None:
    def fail(_done: int, _total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ConfigError, match=r"--out: cannot be written .*No space left on device.*make room"):
        export_log(home, tmp_path / "out", ExportPlan(), now=NOW, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_place_that_cannot_be_written_is_said(home: Home) -> None:
    with pytest.raises(ConfigError, match="--out: cannot be"):
        export(home, Path("/proc/tierwise/out"))


def test_export_without_a_log_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NoLogError, match="tierwise import"):
        export(Home(tmp_path / "home").create(), tmp_path / "out")


def test_rows_that_come_in_meanwhile_are_left_out(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    write_log(home, days=2)
    late = Spool(home.spool)

    def add(_done: int, _total: int) -> None:
        for n in range(3):
            late.write(make_attempt_line(attempt_id=f"late-{late.dropped}-{n}-{_done}", started_at=START_US))
        ingest_once(home)

    before = fetch(home, "SELECT count(*) FROM attempts")[0][0]
    report = export_log(home, tmp_path / "out", ExportPlan(tables=("attempts",)), now=NOW, progress=add)
    late.close()
    assert report.rows["attempts"] == before


BROKEN: dict[str, tuple[Any, str]] = {
    "no manifest": (None, "no manifest"),
    "no JSON": (b"{", "is no manifest"),
    "something else": (b'{"format": "other"}', "another format"),
    "a list": (b"[]", "is no manifest"),
    "of a newer version": ({"version": 99}, "newer Tierwise"),
    "a table nobody knows": ({"tables": {"secrets": {"rows": 0, "files": []}}}, "unknown table"),
    "a path that leads out": (
        {"tables": {"calls": {"rows": 1, "files": [{"path": "../../etc/passwd", "day": None, "rows": 1}]}}},
        "outside of the folder",
    ),
    "a file that is gone": (
        {"tables": {"calls": {"rows": 1, "files": [{"path": "calls/x.parquet", "day": None, "rows": 1}]}}},
        "1 file that is not there",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_export_is_refused_whole(home: Home, tmp_path: Path, name: str) -> None:
    change, said = BROKEN[name]
    export(home, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    if change is None:
        manifest.unlink()
    else:
        facts = json.loads(manifest.read_text())
        manifest.write_bytes(change if isinstance(change, bytes) else json.dumps(facts | change).encode())
    with pytest.raises(ConfigError, match=said):
        import_export(Home(tmp_path / "copy"), tmp_path / "out", now_us=NOW_US, catch_up=catch_up)
    assert not (tmp_path / "copy").exists()


def test_export_with_a_file_cut_or_lost_rows_is_refused(home: Home, tmp_path: Path) -> None:
    export(home, tmp_path / "out")
    first, second, *_ = sorted((tmp_path / "out" / "attempts").rglob("*.parquet"))
    first.write_bytes(second.read_bytes())
    with pytest.raises(ConfigError, match="rows are there"):
        import_export(Home(tmp_path / "copy"), tmp_path / "out", now_us=NOW_US, catch_up=catch_up)
    first.write_bytes(second.read_bytes()[:-50])
    with pytest.raises(ConfigError, match="damaged"):
        import_export(Home(tmp_path / "copy"), tmp_path / "out", now_us=NOW_US, catch_up=catch_up)


def test_log_stays_open_for_readers_and_writer_between_days(home: Home, tmp_path: Path) -> None:
    opened: list[int] = []

    def look(done: int, _total: int) -> None:
        with reading(home) as log:
            opened.append(len(log.execute("SELECT 1").fetchall()) + done)

    export_log(home, tmp_path / "out", ExportPlan(), now=NOW, progress=look)
    assert len(opened) > 5
