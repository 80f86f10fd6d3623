"""What kind of file system a folder is on: locks of network file systems are not to be relied on."""

import os
from pathlib import Path
from typing import Final

from router_core.errors import ConfigError, Problem

NETWORK_VARIABLE: Final = "TIERWISE_ALLOW_NETWORK_HOME"
_NETWORK: Final = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
        "nfs4", "ocfs2", "orangefs", "smb3", "smbfs",
    }
)  # fmt: skip
# of file systems in user space only these are remote; others (fuse.ext4, fuseblk, fuse-overlayfs) are this machine's
_REMOTE_FUSE: Final = (
    "sshfs", "s3fs", "rclone", "gcsfuse", "goofys", "glusterfs", "ceph", "davfs2", "juicefs", "mountpoint-s3",
)  # fmt: skip


def refuse_network(root: Path, environ_value: str | None, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Refuse a home on a network file system, unless that was asked for.

    Args:
        root: The home; it need not exist yet.
        environ_value: Value of ``TIERWISE_ALLOW_NETWORK_HOME``; anything but nothing allows it.
        mounts: The kernel's list of mounts.

    Raises:
        ConfigError: It is on one.
    """
    kind = filesystem_of(root, mounts)
    if kind is None or environ_value or not is_network(kind):
        return
    message = (
        f"is on a network file system ({kind}), whose locks cannot be relied on: two processes might write the log at"
        f" once and spoil it. Choose a folder on this machine's own disk; or, if only this machine ever uses it and you"
        f" take the risk, set {NETWORK_VARIABLE}=1"
    )
    raise ConfigError(str(root), [Problem(path="home", message=message)])


def is_network(kind: str) -> bool:
    """Return whether this type of file system, as the kernel names it, is remote."""
    return kind in _NETWORK or (kind.startswith("fuse.") and kind.removeprefix("fuse.").startswith(_REMOTE_FUSE))


def filesystem_of(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the type of the file system that holds a path, or will hold it; None where the kernel does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    wanted = Path(os.path.realpath(path))
    found: tuple[int, str] | None = None
    for line in lines:
        # e.g. "36 35 98:0 / /srv/data rw,noatime shared:1 - ext4 /dev/sda1 rw"
        before, separator, after = line.partition(" - ")
        if not separator:
            continue
        mounted = Path(_unescaped(before.split()[4]))
        # of mounts on the same folder the last one is seen
        if wanted.is_relative_to(mounted) and (found is None or len(mounted.parts) >= found[0]):
            found = (len(mounted.parts), after.split()[0])
    return None if found is None else found[1]


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
