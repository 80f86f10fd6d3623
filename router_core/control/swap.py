"""Other bytes for a file that others may be saving at the same moment: exchanged in one step, and nobody's text lost.

::

    swap = Swap.beside(path, token)
    stage(swap, before, after)        the new bytes lie beside the file, complete and on disk
    put(swap, before, after, ...)     exchange; when another save slipped in, exchange back and raise ConflictError
    tidy(swap, before, after)         remove what lies beside it, unless somebody has written to it

The exchange is ``renameat2(RENAME_EXCHANGE)``: file and staged file trade names, so whatever was in the file is
afterwards beside it, whole, and can be compared. Where that does not exist, the file is looked at once more and then
replaced; its old inode is kept by a second name until it was compared too.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from router_core.errors import ChangeRefusedError, ConflictError

ExchangeFunction = Callable[[Path, Path], None]
StepFunction = Callable[[str], None]

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY})
# every round needs yet another save within microseconds
_MOST_ROUNDS: Final = 20


def exchange(one: Path, other: Path) -> None:
    """Let two files of one folder trade names in one step.

    Raises:
        OSError: It cannot be done; ``ENOSYS`` or ``EINVAL`` where the system does not offer it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        renameat2 = libc.renameat2
    except AttributeError as error:
        raise OSError(errno.ENOSYS, "renameat2 is not there") from error
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(other))


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Names of the files that one exchange uses, all in one folder.

    Attributes:
        target: The file, links followed.
        part: The new bytes while they are being written.
        staged: The new bytes, complete; after the exchange, what was in the file.
        old: The file's old inode, where it was replaced and not exchanged.
        side: Where a text goes that was not to be.
    """

    target: str
    part: str
    staged: str
    old: str
    side: str

    @classmethod
    def beside(cls, path: Path, token: str) -> "Swap":
        """Return the names for an exchange of ``path``; the token sets them apart from all others."""
        target = path.resolve()
        hidden = target.parent / f".{target.name}.{token}"
        return cls(
            target=str(target),
            part=f"{hidden}.part",
            staged=f"{hidden}.new",
            old=f"{hidden}.old",
            side=str(target.parent / f"{target.name}.not-applied-{token}"),
        )

    def names(self) -> dict[str, str]:
        """Return the names, to be stored."""
        return asdict(self)


def stage(swap: Swap, after: bytes, *, at_step: StepFunction) -> None:
    """Write the new bytes beside the file, with its mode, owner and attributes, and see them on disk.

    Raises:
        OSError: They cannot be written.
        ChangeRefusedError: The file belongs to somebody else, who would lose it.
    """
    part, target = Path(swap.part), Path(swap.target)
    status = target.stat()
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _keep_owner(descriptor, status, target)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            _keep_attributes(target, part)
            file.write(after)
            file.flush()
            os.fsync(descriptor)
        at_step("written")
        part.rename(swap.staged)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def put(swap: Swap, before: bytes, after: bytes, *, trade: ExchangeFunction, at_step: StepFunction) -> None:
    """Exchange the file's bytes ``before`` for the staged ones.

    Raises:
        ConflictError: The file did not hold ``before``: another save came in between, and it stays.
        OSError: The file cannot be exchanged; it is as it was.
    """
    staged, target = Path(swap.staged), Path(swap.target)
    try:
        trade(staged, target)
    except FileNotFoundError as error:
        raise ConflictError(
            f"{target} was taken away in this moment; nothing was changed. Try again once it is there", kept=None
        ) from error
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _replace(swap, before, after, at_step)
        return
    at_step("exchanged")
    if staged.read_bytes() != before:
        give_back(swap, after, trade=trade)
    at_step("compared")
    sync_folder(target.parent)


def give_back(swap: Swap, after: bytes, *, trade: ExchangeFunction) -> None:
    """Put back the other's bytes that the exchange took out of the file, keep ours beside it, and say so.

    Raises:
        ConflictError: Always.
    """
    staged, target = Path(swap.staged), Path(swap.target)
    placed = after
    for _ in range(_MOST_ROUNDS):
        next_placed = staged.read_bytes()
        try:
            trade(staged, target)
        except OSError as error:
            raise _kept(swap, "what was in it a moment ago") from error
        if staged.read_bytes() == placed:
            break
        # saved once more since: that text is the newest, and goes back in its turn
        placed = next_placed
    raise _kept(swap, "the change that was not made" if placed == after else "an earlier save")


def tidy(swap: Swap, before: bytes, after: bytes) -> str | None:
    """Remove what lies beside the file; return the name of what could not go, because somebody wrote to it.

    An editor that opened the file before the exchange may write to the old inode after it.
    """
    kept: str | None = None
    for name in (swap.staged, swap.old):
        with suppress(FileNotFoundError):
            # a second name of the file itself holds nothing of its own
            is_second_name = _inode(name) == _inode(swap.target)
            if Path(name).read_bytes() in (before, after) or is_second_name:
                Path(name).unlink()
            else:
                Path(name).rename(swap.side)
                kept = swap.side
    Path(swap.part).unlink(missing_ok=True)
    return kept


def has_swapped(swap: Swap, before: bytes, after: bytes, *, trade: ExchangeFunction) -> bool:
    """Return whether an exchange that was cut off had taken place, from what lies there now.

    Raises:
        ConflictError: It had, over another's save; that is undone now.
    """
    staged, old = _bytes(swap.staged), _bytes(swap.old)
    if staged is None:
        if old is None:
            # somebody may have cleared away what lay beside the file
            return _bytes(swap.target) == after
        if old == before:
            return True
        _restore(swap, after)
    if staged == after:
        return False
    if staged == before:
        return True
    if _bytes(swap.target) == after:
        give_back(swap, after, trade=trade)
    raise _kept(swap, "an earlier save")


def _replace(swap: Swap, before: bytes, after: bytes, at_step: StepFunction) -> None:
    staged, target, old = Path(swap.staged), Path(swap.target), Path(swap.old)
    try:
        # two names for one inode: a save in place after this moment is still seen
        old.hardlink_to(target)
    except FileNotFoundError as error:
        raise ConflictError(f"{target} was taken away in this moment; nothing was changed", kept=None) from error
    except OSError:
        old.write_bytes(target.read_bytes())
    at_step("linked")
    if target.read_bytes() != before or old.read_bytes() != before:
        old.unlink()
        raise _kept(swap, "the change that was not made")
    staged.replace(target)
    at_step("exchanged")
    if old.read_bytes() != before:
        _restore(swap, after)
    at_step("compared")
    sync_folder(target.parent)


def _restore(swap: Swap, after: bytes) -> None:
    """Give the file its old inode back, unless it was saved anew since."""
    target, old = Path(swap.target), Path(swap.old)
    if _bytes(swap.target) == after:
        Path(swap.side).write_bytes(after)
        old.replace(target)
        raise _conflict(swap, "the change that was not made")
    old.rename(swap.side)
    raise _conflict(swap, "an earlier save")


def _kept(swap: Swap, what: str) -> ConflictError:
    with suppress(FileNotFoundError):
        Path(swap.staged).rename(swap.side)
    return _conflict(swap, what)


def _conflict(swap: Swap, what: str) -> ConflictError:
    sync_folder(Path(swap.target).parent)
    return ConflictError(
        f"{swap.target} was saved by somebody else in this moment, and that text stays; {what} is kept in {swap.side}",
        kept=swap.side,
    )


def _keep_owner(descriptor: int, status: os.stat_result, target: Path) -> None:
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) == (status.st_uid, status.st_gid):
        return
    try:
        os.fchown(descriptor, status.st_uid, status.st_gid)
    except PermissionError as error:
        raise ChangeRefusedError(
            f"{target} belongs to user {status.st_uid}, group {status.st_gid}, and this process may not write a file "
            "in their name; run it as that user"
        ) from error


def _keep_attributes(source: Path, copy: Path) -> None:
    # access lists are such attributes; a file system without them says so
    with suppress(OSError, AttributeError):
        for name in os.listxattr(source):
            os.setxattr(copy, name, os.getxattr(source, name))


def sync_folder(folder: Path) -> None:
    """See on disk what was renamed in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _inode(name: str) -> tuple[int, int] | None:
    try:
        status = Path(name).stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _bytes(name: str) -> bytes | None:
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        return None
