"""Network file systems are told from others by what the kernel says is mounted where."""

from pathlib import Path

import pytest

from router_core.call_log.filesystems import filesystem_of, is_network, refuse_network
from router_core.errors import ConfigError

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv/share rw,relatime shared:5 - nfs4 server:/export rw,vers=4.2
31 30 0:41 / /srv/share/own rw,relatime shared:6 - xfs /dev/sdb1 rw
32 22 0:42 / /srv/two\\040words rw,relatime - fuse.sshfs host:/ rw
33 22 0:43 / /srv/covered rw,relatime - nfs server:/old rw
34 33 0:44 / /srv/covered rw,relatime - tmpfs tmpfs rw
35 22 0:45 / /srv/sharedisk rw,relatime - ext4 /dev/sdc1 rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x", "ext4"),
        ("/srv/share/home/.tierwise", "nfs4"),
        ("/srv/share/own/.tierwise", "xfs"),
        ("/srv/two words/x", "fuse.sshfs"),
        ("/srv/covered/x", "tmpfs"),
        ("/srv/sharedisk/x", "ext4"),
    ],
)
def test_file_system_is_that_of_the_nearest_mount(mounts: Path, path: str, kind: str) -> None:
    assert filesystem_of(Path(path), mounts) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse.s3fs", "ceph", "fuse.rclone"])
def test_remote_kinds_are_known(kind: str) -> None:
    assert is_network(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "fuse.ext4", "9p"])
def test_local_kinds_are_let_be(kind: str) -> None:
    assert not is_network(kind)


def test_home_on_a_network_file_system_is_refused_with_a_way_out(mounts: Path) -> None:
    home = Path("/srv/share/.tierwise")
    with pytest.raises(ConfigError, match=r"network file system \(nfs4\).*TIERWISE_ALLOW_NETWORK_HOME=1"):
        refuse_network(home, None, mounts)
    refuse_network(home, "1", mounts)
    refuse_network(Path("/var/lib/x"), None, mounts)


def test_nothing_is_refused_where_the_kernel_tells_nothing(tmp_path: Path) -> None:
    assert filesystem_of(Path("/x"), tmp_path / "missing") is None
    refuse_network(Path("/srv/share"), None, tmp_path / "missing")
