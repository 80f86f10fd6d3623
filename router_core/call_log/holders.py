"""Which processes hold a lock on a file, as the kernel tells it."""

from collections.abc import Mapping
from pathlib import Path

_PARTS = 8
_LONGEST = 80


def read_holders(locks: Path = Path("/proc/locks")) -> dict[int, list[int]]:
    """Return the pids that hold a lock, by the file's inode number; empty where there is no such list.

    Processes of another container, which have no pid here, are left out.
    """
    try:
        lines = locks.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    found: dict[int, list[int]] = {}
    for line in lines:
        # e.g. "1: FLOCK  ADVISORY  WRITE 4242 08:01:131074 0 EOF"; "1: -> FLOCK ..." only waits
        parts = line.split()
        if len(parts) != _PARTS or parts[1] not in {"FLOCK", "POSIX"}:
            continue
        pid, inode = int(parts[4]), int(parts[5].rpartition(":")[2])
        if pid > 0 and pid not in found.setdefault(inode, []):
            found[inode].append(pid)
    return found


def holders_of(path: Path, holders: Mapping[int, list[int]]) -> list[int]:
    """Return the pids that hold a lock on a file; [] when it is not there."""
    try:
        return holders.get(path.stat().st_ino, [])
    except OSError:
        return []


def command_of(pid: int) -> str:
    """Return the command line of a process, cut short; empty when it is gone or not ours to see."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\x00", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
