"""Jobs that the pages start: this program's own commands, each in a process of its own."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dashboard.desk import FORMATS, ImportWish, Search
from router_core.call_log.home import Home

LONGEST_SEARCH_S: Final = 900
MOST_UPLOADED_MB: Final = 50
_LONGEST_SAID = 20_000
_ENDINGS = (".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".zst")


def search(home: Home, config: Path | None) -> Search:
    """Look for moves in a home's log and publish them, as ``tierwise propose`` does."""
    options = ["--config", str(config)] if config is not None else []
    return _run(["propose", "--home", str(home.root), *options])


def make_demo(home: Home) -> Search:
    """Simulate the demo below a home, as ``tierwise demo --no-serve`` does."""
    return _run(["demo", "--no-serve", "--home", str(home.root)])


def import_upload(home: Home, name: str, data: bytes, wish: ImportWish, *, dry_run: bool) -> Search:
    """Import an uploaded file, as ``tierwise import`` does: whole, or not at all.

    Args:
        home: Where to.
        name: The file's name, as the browser gives it; only its ending and some letters of it are used.
        data: Its bytes.
        wish: How it is to be read.
        dry_run: Whether to say only what would be imported.
    """
    wrong = problem_of(wish, len(data))
    if wrong is not None:
        return Search(ok=False, said=wrong)
    with tempfile.TemporaryDirectory(prefix="tierwise-upload-") as folder:
        path = Path(folder) / safe_name(name)
        path.write_bytes(data)
        options = [f"--format={wish.format}"]
        options += [f"--tiers={wish.tiers}"] if wish.tiers else []
        options += [f"--map={each}" for each in wish.maps]
        options += [f"--payload-type-from={wish.payload_type_from}"] if wish.payload_type_from else []
        options += ["--skip-bad"] if wish.skip_bad else []
        options += ["--dry-run"] if dry_run else []
        home.create()
        return _run(["import", str(path), "--home", str(home.root), *options])


def problem_of(wish: ImportWish, size: int) -> str | None:
    """Return why a file cannot be imported this way; None = it may be tried."""
    if size > MOST_UPLOADED_MB * 1_000_000:
        return f"larger than {MOST_UPLOADED_MB} MB: import it with tierwise import FILE"
    if wish.format not in FORMATS:
        return "no such format"
    # the command also takes the path of a file there, which nobody names from a browser
    for each in wish.maps:
        if not re.fullmatch(r"[^=\s][^=]*=[^=]+", each):
            return f"{each[:60]!r} is no mapping; write COLUMN=FIELD, one a line"
    return None


def safe_name(name: str) -> str:
    """Return a name for an uploaded file: its last part, of harmless characters, with an ending that is known."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name.replace("\\", "/").rsplit("/", 1)[-1]).strip("-.")[-80:]
    return stem if stem.lower().endswith(_ENDINGS) else f"{stem or 'upload'}.csv"


def _run(arguments: Sequence[str]) -> Search:
    command = [sys.executable, "-m", "dashboard.cli", *arguments]
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
