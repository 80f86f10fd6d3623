"""Where a log and its control state live on disk."""

import os
from dataclasses import dataclass
from pathlib import Path

from router_core.errors import ConfigError, Problem

HOME_VARIABLE = "TIERWISE_HOME"
CONFIG_NAME = "routing.yaml"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside one home folder.

    Attributes:
        root: The folder itself; created with mode 0700.
    """

    root: Path

    @property
    def spool(self) -> Path:
        """Folder of the append-only segments."""
        return self.root / "spool"

    @property
    def log(self) -> Path:
        """The DuckDB file."""
        return self.root / "calls.duckdb"

    @property
    def unborn_log(self) -> Path:
        """The DuckDB file while it is made; it takes the log's name once it is whole."""
        return self.root / "calls.duckdb.new"

    @property
    def control(self) -> Path:
        """The SQLite control store: budgets now, config history and proposals beside them."""
        return self.root / "control.sqlite"

    @property
    def cache(self) -> Path:
        """The SQLite file of answers kept for retries; there once a config has the cache enabled."""
        return self.root / "cache.sqlite"

    @property
    def alerts(self) -> Path:
        """The SQLite file of alerts that were told; there once one was."""
        return self.root / "alerts.sqlite"

    @property
    def control_lock(self) -> Path:
        """Lock file of whoever changes the config or decides about a proposal."""
        return self.root / "control.lock"

    @property
    def watch_lock(self) -> Path:
        """Lock file that elects the one process that writes the DuckDB file."""
        return self.root / "watch.lock"

    @property
    def demo_marker(self) -> Path:
        """Present when everything in this home was simulated; JSON with the scenario's facts."""
        return self.root / "demo.json"

    @property
    def is_demo(self) -> bool:
        """Whether this home holds simulated data."""
        return self.demo_marker.exists()

    @property
    def demo(self) -> "Home":
        """The demo's own home, below this one and never beside a real log."""
        return Home(self.root / "demo")

    def create(self) -> "Home":
        """Make the folders and return self.

        Raises:
            ConfigError: The folder cannot be made or written.
        """
        try:
            # one by one: mkdir gives its mode to the last folder only
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.spool.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(str(self.root), [_unusable(self.root, error)]) from error
        if not os.access(self.spool, os.W_OK | os.X_OK):
            raise ConfigError(str(self.root), [_unusable(self.root, None)])
        return self


def _unusable(root: Path, error: OSError | None) -> Problem:
    reason = error.strerror if error is not None and error.strerror else "not writable"
    return Problem(
        path="home",
        message=f"cannot keep a log in {root} ({reason}); choose a writable folder with {HOME_VARIABLE} or --home",
    )


def home_beside(config_path: Path, configured: str | None) -> Home:
    """Return the home for a routing config: ``configured`` if given, else ``.tierwise`` beside the file."""
    return Home(Path(configured) if configured else config_path.resolve().parent / ".tierwise")
