"""Instants and zones as a person writes them."""

import datetime as dt
import re
import zoneinfo

from router_core.errors import ConfigError, Problem

_AGO = re.compile(r"(\d{1,6})([dh])")
_UNITS = {"d": "days", "h": "hours"}


def find_zone(name: str) -> zoneinfo.ZoneInfo:
    """Return the IANA zone of this name.

    Raises:
        ConfigError: There is none.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"no time zone {name!r}; use an IANA name such as Europe/Berlin"
        raise ConfigError("--timezone", [Problem(path="value", message=message)]) from error


def parse_instant(text: str | None, zone: dt.tzinfo, now: dt.datetime, option: str) -> dt.datetime | None:
    """Return an aware instant; None for None.

    Args:
        text: A day (its beginning), an instant, or how long ago: ``2026-11-01``, ``2026-11-01T12:00``, ``7d``, ``24h``.
        zone: Zone of texts without one.
        now: The present instant, aware.
        option: What it was given as, for messages.

    Raises:
        ConfigError: The text is none of these.
    """
    if text is None:
        return None
    try:
        ago = _AGO.fullmatch(text)
        if ago is not None:
            return now - dt.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        instant = dt.datetime.fromisoformat(text)
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no day or instant; write 2026-11-01, 2026-11-01T12:00, 7d or 24h"
        raise ConfigError(option, [Problem(path="value", message=message)]) from error
