"""Jobs that the pages start in processes of their own."""

from pathlib import Path

import pytest

from dashboard import jobs
from dashboard.desk import ImportWish
from dashboard.source import HomeSource
from router_core.call_log.home import Home


def test_a_search_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    found = jobs.search(Home(tmp_path / "nowhere"), tmp_path / "routing.yaml")
    assert not found.ok
    assert found.said
    assert "Traceback" not in found.said


GOOD = b"id,time,model,task,prompt_tokens,completion_tokens,cost\n1,2026-11-01T10:00:00Z,m,t,100,20,0.0002\n"


def test_an_upload_is_tried_without_a_trace_and_then_imported(tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    tried = jobs.import_upload(home, "../../calls.csv", GOOD, ImportWish(), dry_run=True)
    assert tried.ok, tried.said
    assert "1 row read" in tried.said
    assert not home.log.exists()
    done = jobs.import_upload(home, "../../calls.csv", GOOD, ImportWish(), dry_run=False)
    assert done.ok, done.said
    held = HomeSource(home).holdings()
    assert held.rows["calls"] == 1
    assert [each.file for each in held.imports] == ["calls.csv"]
    again = jobs.import_upload(home, "calls.csv", GOOD, ImportWish(), dry_run=False)
    assert again.ok, again.said
    assert HomeSource(home).holdings().rows["calls"] == 1


def test_a_bad_upload_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    done = jobs.import_upload(home, "bad.csv", b"a,b\n1,2\n", ImportWish(), dry_run=False)
    assert not done.ok
    assert done.said
    assert "Traceback" not in done.said
    assert not home.log.exists()


@pytest.mark.parametrize(
    "wish", [ImportWish(format="../x"), ImportWish(maps=("/etc/passwd",)), ImportWish(maps=("=x",))]
)
def test_what_a_browser_sends_names_no_file_of_the_server(tmp_path: Path, wish: ImportWish) -> None:
    home = Home(tmp_path / ".tierwise")
    assert not jobs.import_upload(home, "calls.csv", GOOD, wish, dry_run=True).ok
    assert not home.root.exists()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("calls.csv", "calls.csv"),
        ("../../etc/passwd", "passwd.csv"),
        ("C:\\logs\\my calls.jsonl", "my-calls.jsonl"),
        ("--help", "help.csv"),
        ("", "upload.csv"),
        ("\u202egnp.parquet", "gnp.parquet"),
    ],
)
def test_an_uploads_name_becomes_a_harmless_one(name: str, safe: str) -> None:
    assert jobs.safe_name(name) == safe


def test_a_file_that_is_too_large_is_refused_before_it_is_written() -> None:
    assert "tierwise import FILE" in (jobs.problem_of(ImportWish(), 50_000_001) or "")
    assert jobs.problem_of(ImportWish(), 50_000_000) is None
