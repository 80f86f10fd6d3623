"""A real PostgreSQL server of a test's own: in a temporary folder, on a Unix socket there, and nowhere else."""

import importlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_USER = "postgres"
_START_S = 30.0


def connect(address: str) -> Any:
    """A connection of the optional driver."""
    return importlib.import_module("psycopg").connect(address)


@contextmanager
def running_server() -> Generator[str]:
    """Start a server; yield the address of its database ``litellm``; end it and remove its folder."""
    binaries = _binaries()
    owner = _owner()
    # not in pytest's own folder, into which the server's user cannot look
    folder = Path(tempfile.mkdtemp(prefix="tierwise-pg-"))
    try:
        if owner:
            shutil.chown(folder, _USER)
        data = folder / "data"
        initdb = [binaries / "initdb", "-D", data, "-U", "litellm", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        done = subprocess.run(initdb, cwd=folder, capture_output=True, text=True, check=False, **owner)
        assert done.returncode == 0, done.stderr
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"]
        with (folder / "server.log").open("wb") as said:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-k", folder, *options],
                cwd=folder, stdout=said, stderr=said, **owner,
            )  # fmt: skip
        try:
            _wait(server, f"postgresql://litellm@/postgres?host={folder}", folder / "server.log")
            with connect(f"postgresql://litellm@/postgres?host={folder}") as made:
                made.autocommit = True
                made.execute("CREATE DATABASE litellm")
            yield f"postgresql://litellm@/litellm?host={folder}"
        finally:
            # the fast way to end: it waits for nobody
            server.send_signal(signal.SIGINT)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path:
    """The folder of the newest server's programs."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("initdb")
    if found is None:
        pytest.fail("no PostgreSQL server here; install it: sudo apt-get install postgresql (make test does, as root)")
    return Path(found).resolve().parent


def _owner() -> dict[str, Any]:
    """The user whose server it is: PostgreSQL refuses to be root's."""
    return {"user": _USER, "group": _USER, "extra_groups": []} if os.geteuid() == 0 else {}


def _wait(server: "subprocess.Popen[Any]", address: str, log: Path) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            connect(address).close()
        except importlib.import_module("psycopg").OperationalError:
            assert server.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < until, log.read_text("utf-8")
            time.sleep(0.02)
        else:
            return
