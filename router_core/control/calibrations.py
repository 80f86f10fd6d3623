"""The calibration files beside a routing config: read when a config names them, written once, never changed."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from router_core.config.calibration import calibration_id, read_calibration
from router_core.errors import ConfigError, Problem

FOLDER = "calibrations"
_ENDING = ".json"
_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Calibrations(Mapping[str, bytes]):
    """The bytes of the calibrations in a folder, by id, each read when it is asked for.

    Attributes:
        folder: Where they are.
        seen: Name, size in bytes and modification time in nanoseconds of each file: tells whether any has changed.
    """

    folder: Path
    seen: frozenset[tuple[str, int, int]]

    def __getitem__(self, name: str) -> bytes:
        """Return a calibration's bytes; of one that cannot be read, nothing, which no calibration is."""
        if name not in self:
            raise KeyError(name)
        try:
            with (self.folder / f"{name}{_ENDING}").open("rb") as file:
                return file.read(_MAX_BYTES)
        except OSError:
            return b""

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a file."""
        return any(name == known for known, _, _ in self.seen)

    def __iter__(self) -> Iterator[str]:
        """Yield the ids."""
        return iter(sorted(name for name, _, _ in self.seen))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.seen)


def calibrations_beside(config: Path) -> Calibrations:
    """Return the calibrations that a config file may name: the files in ``calibrations/`` beside it."""
    folder = config.parent / FOLDER
    return Calibrations(folder, frozenset(_seen(folder)))


def keep_calibration(config: Path, data: bytes) -> str:
    """Write a calibration beside a config file, unless it is there already, and return its id.

    It appears under its name whole and on disk, or not at all.

    Args:
        config: The routing config.
        data: The file's bytes.

    Raises:
        ConfigError: These bytes are no calibration.
        OSError: It cannot be written.
    """
    # not above: every router that opens loads this module, and few write calibrations
    from router_core.control.swap import sync_folder

    name = calibration_id(data)
    file, wrong = read_calibration(name, data)
    if file is None or wrong:
        raise ConfigError(f"{name}{_ENDING}", [Problem(path="", message=wrong)])
    folder = config.parent / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}{_ENDING}"
    if path.exists() and path.read_bytes() == data:
        return name
    # a name that begins with a dot is no calibration's
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=_ENDING, dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return name


def _seen(folder: Path) -> Iterator[tuple[str, int, int]]:
    try:
        with os.scandir(folder) as found:
            for file in found:
                if file.name.endswith(_ENDING) and not file.name.startswith("."):
                    status = file.stat()
                    yield file.name.removesuffix(_ENDING), status.st_size, status.st_mtime_ns
    except OSError:
        return
