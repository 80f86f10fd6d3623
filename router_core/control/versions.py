"""The config of a version: the file as it is now, or as history keeps it."""

from router_core.call_log.home import Home
from router_core.config import RoutingConfig, parse
from router_core.control import history
from router_core.control.config_file import calibrations_beside, config_of, config_path_of
from router_core.control.store import Store
from router_core.errors import ConfigError, RouterError


def config_of_version(home: Home, version: str | None) -> RoutingConfig | None:
    """Return the config of a ``config_version``; None where it is not known, or can no longer be used.

    Args:
        home: The home in whose log the version is named.
        version: The version.
    """
    if version is None:
        return None
    try:
        config = config_of(home)
    except ConfigError:
        config = None
    if config is not None and config.content_hash == version:
        return config
    path = config_path_of(home)
    try:
        with Store(home).reading() as con:
            data = history.bytes_of_version(con, version)
        calibrations = dict[str, bytes]() if path is None else calibrations_beside(path)
        return parse(data, source=f"version {version}", calibrations=calibrations)
    except RouterError:
        return None
