"""A small disk of one's own: ``python -m tests.disks CASE FOLDER`` mounts it, in a mount namespace of its own."""

import datetime as dt
import json
import os
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from router_core.call_log import rollups
from router_core.call_log.access import LogUnavailableError
from router_core.call_log.doctor import diagnose
from router_core.call_log.export import ExportPlan, export_log
from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from router_core.call_log.spool import Spool
from router_core.errors import ConfigError
from router_core.watch import IngestFailedError, ensure_ingested
from tests.builders import make_call_line
from tests.log_processes import write_call
from tests.timing import PATIENCE_S, wait_until


def run_case(case: str, folder: Path) -> dict[str, Any]:
    """Run a case on a small disk mounted on the folder and return what it found."""
    needed = "needs the right to mount a tmpfs: run as root, or where user namespaces may mount (unshare -rm)"
    if subprocess.run(["unshare", *_flags(), "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(needed)
    command = ["unshare", *_flags(), sys.executable, "-m", "tests.disks", case, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"warnings": done.stderr.splitlines()}


def _flags() -> list[str]:
    return ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]


def _mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], check=True)


def _found(home: Home) -> dict[str, Any]:
    with reading(home) as con:
        calls = [call_id for (call_id,) in con.execute("SELECT call_id FROM calls ORDER BY rowid").fetchall()]
        bad = con.execute("SELECT count(*) FROM quarantine").fetchone()
    return {"calls": calls, "quarantined": bad and bad[0]}


def full(folder: Path) -> dict[str, Any]:
    """Log while the disk is full, then make room; the spool's own thread writes what waits."""
    _mount(folder, "size=2m")
    home = Home(folder / "home").create()
    ingest_once(home)
    spool = Spool(home.spool)
    written = 0
    while spool.pending < 100:
        write_call(spool, f"c-{written:07}")
        written += 1
    try:
        ingest_once(home)
        refused = "nothing"
    except LogUnavailableError as error:
        refused = str(error)
    state = {finding.name: finding.state for finding in diagnose(home, folder / "none.yaml", time.time())}
    _mount(folder, "remount", "size=64m")
    wait_until(lambda: not spool.pending, "nothing waits")
    waiting, dropped = spool.pending, spool.dropped
    ingest_once(home)
    spool.close()
    return {
        "written": written,
        "refused": refused,
        "disk": state["disk"],
        "pending": waiting,
        "dropped": dropped,
        **_found(home),
    }


def read_only(folder: Path) -> dict[str, Any]:
    """Log into a folder that cannot be written, then make it writable."""
    _mount(folder, "size=64m")
    home = Home(folder / "home").create()
    ingest_once(home)
    _mount(folder, "remount", "ro")
    spool = Spool(home.spool)
    for n in range(10):
        spool.write(make_call_line(call_id=f"c-{n}"))
    before = spool.pending
    doctor = {
        finding.name: [finding.state, finding.text] for finding in diagnose(home, folder / "none.yaml", time.time())
    }
    _mount(folder, "remount", "rw")
    wait_until(lambda: not spool.pending, "nothing waits")
    waiting = spool.pending
    spool.close()
    ingest_once(home)
    return {"before": before, "pending": waiting, "doctor": doctor, **_found(home)}


def read_only_with_backlog(folder: Path) -> dict[str, Any]:
    """Ask for an up-to-date log in a home that cannot be written while lines wait in its spool."""
    _mount(folder, "size=64m")
    home = Home(folder / "home").create()
    with closing(Spool(home.spool)) as spool:
        write_call(spool, "c-1")
    _mount(folder, "remount", "ro")
    try:
        ensure_ingested(home)
        refused = "nothing"
    except IngestFailedError as error:
        refused = str(error)
    return {"refused": refused}


def full_in_commit(folder: Path) -> dict[str, Any]:
    """Have the disk fill up between the staging of rows and their commit, then make room."""
    _mount(folder, "size=24m")
    home = Home(folder / "home").create()
    spool = Spool(home.spool)
    write_call(spool, "c-0000000")
    ingest_once(home)
    for n in range(1, 2000):
        write_call(spool, f"c-{n:07}")
    filler = folder / "filler"
    real = rollups.compute_deltas

    def fill_the_disk(*arguments: Any) -> list[str]:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        return real(*arguments)

    rollups.compute_deltas = fill_the_disk
    try:
        ingest_once(home)
        refused = "nothing"
    except LogUnavailableError as error:
        refused = str(error)
    rollups.compute_deltas = real
    filler.unlink()
    before = _found(home)
    ingest_once(home)
    spool.close()
    return {"refused": refused, "before": before, **_found(home)}


def full_in_export(folder: Path) -> dict[str, Any]:
    """Export onto a disk that has no room for it."""
    home = Home(folder / "home").create()
    with closing(Spool(home.spool)) as spool:
        for n in range(500):
            write_call(spool, f"c-{n:07}")
    ingest_once(home)
    small = folder / "small"
    small.mkdir()
    _mount(small, "size=16k")
    try:
        export_log(home, small / "out", ExportPlan(), now=dt.datetime.now(dt.UTC))
        refused = "nothing"
    except ConfigError as error:
        refused = str(error)
    return {"refused": refused, "left": [path.name for path in small.iterdir()]}


if __name__ == "__main__":
    cases = {case.__name__: case for case in (full, read_only, read_only_with_backlog, full_in_commit, full_in_export)}
    json.dump(cases[sys.argv[1]](Path(sys.argv[2])), sys.stdout)
