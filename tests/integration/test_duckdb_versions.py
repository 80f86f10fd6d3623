"""One log for both versions of duckdb: each reads and goes on with what the other one has written."""

import subprocess
from pathlib import Path

import duckdb
import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.spool import Spool
from router_core.call_log.verify import verify
from tests.log_processes import write_call
from tests.timing import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
OLD = ROOT / ".venv-duckdb15" / "bin" / "python"
NEW = ROOT / ".venv" / "bin" / "python"
IS_OLD = duckdb.__version__.startswith("1.")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def _write(home: Home, first: int) -> None:
    spool = Spool(home.spool)
    for n in range(first, first + 50):
        write_call(spool, f"c-{n:07}")
    spool.close()


def _elsewhere(code: str, home: Home) -> str:
    """Run code where the other version is installed."""
    other = NEW if IS_OLD else OLD
    if not other.is_file():
        pytest.skip("the environment with the other duckdb is not there; make it: make test-duckdb15")
    lines = (
        "import sys, duckdb",
        "from pathlib import Path",
        "from router_core.call_log.home import Home",
        "from router_core.call_log.ingest import ingest_once",
        "from router_core.call_log.read import reading",
        "home = Home(Path(sys.argv[1]))",
        code,
        "print(duckdb.__version__)",
    )
    command = [str(other), "-c", "\n".join(lines), str(home.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    version = done.stdout.split()[-1]
    assert version != duckdb.__version__
    return done.stdout


def test_log_written_here_is_read_and_gone_on_with_elsewhere(home: Home) -> None:
    _write(home, 0)
    ingest_once(home)
    _write(home, 50)
    said = _elsewhere(
        "with reading(home) as con: print('read', con.execute('SELECT count(*) FROM call_outcomes').fetchall())\n"
        "ingest_once(home)",
        home,
    )

    assert "read [(50,)]" in said
    with reading(home) as con:
        assert con.execute("SELECT count(*), count(DISTINCT call_id) FROM calls").fetchall() == [(100, 100)]
    assert {result.differing for result in verify(home)} == {0}


def test_log_written_elsewhere_is_read_and_gone_on_with_here(home: Home) -> None:
    _write(home, 0)
    _elsewhere("ingest_once(home)", home)
    with reading(home) as con:
        assert con.execute("SELECT count(*) FROM calls_usd").fetchall() == [(50,)]
    _write(home, 50)
    ingest_once(home)

    with reading(home) as con:
        assert con.execute("SELECT count(*), count(DISTINCT call_id) FROM calls").fetchall() == [(100, 100)]
    assert {result.differing for result in verify(home)} == {0}


def test_file_is_of_the_older_storage_version(home: Home) -> None:
    ingest_once(home)

    # storage v1.5.0; what 2.0 makes when it is not told otherwise has a higher one, which 1.5.5 refuses
    with home.log.open("rb") as file:
        header = file.read(64)
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") == 68
