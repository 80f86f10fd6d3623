"""``tierwise import`` in a process of its own, whose memory is measured."""

import subprocess
import sys
from pathlib import Path

from tests.timing import PATIENCE_S

MEASURE = """
import re, sys
from pathlib import Path
from dashboard.cli import main
try:
    main(sys.argv[2:])
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    Path(sys.argv[1]).write_text(peak[1])
"""


def import_measured(folder: Path, file: Path) -> tuple[int, str, int]:
    """Run the command in a process of its own; return exit code, messages, and the most memory it had, MiB."""
    script, peak = folder / "measure.py", folder / "peak"
    script.write_text(MEASURE)
    done = subprocess.run(
        [sys.executable, script, peak, "import", file, "--home", folder / "home"],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stderr, int(peak.read_text()) // 1024
