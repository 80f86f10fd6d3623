"""Jobs that the pages start: this program's own commands, each in a process of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from dashboard.desk import Search
from router_core.call_log.home import Home

LONGEST_SEARCH_S: Final = 900
_LONGEST_SAID = 4_000


def search(home: Home, config: Path | None) -> Search:
    """Look for moves in a home's log and publish them, as ``tierwise propose`` does."""
    command = [sys.executable, "-m", "dashboard.cli", "propose", "--home", str(home.root)]
    command += ["--config", str(config)] if config is not None else []
    try:
        done = subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SEARCH_S,
        )
    except subprocess.TimeoutExpired:
        return Search(ok=False, said=f"it took longer than {LONGEST_SEARCH_S} s and was stopped; nothing was changed")
    said = done.stdout if done.returncode == 0 else done.stderr or done.stdout
    return Search(ok=done.returncode == 0, said=said[-_LONGEST_SAID:].strip())
