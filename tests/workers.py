"""What the processes of one test run share: a thing that is slow to make is made by the first that asks for it."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

# set by pytest-xdist in its workers, whose temporary folders lie beside each other in the run's
WORKER = "PYTEST_XDIST_WORKER"


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return the run's folder of that name, filled by ``make``; tests must not write to it.

    Whoever asks while it is being made waits; if making it fails, the next one tries again.
    """
    own = factory.getbasetemp()
    run = own.parent if WORKER in os.environ else own
    folder, made = run / f"once-{name}", run / f"once-{name}.made"
    with (run / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
